"""Who may use an AMI: given once and again, never taken away, with a fault at each call."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from hypothesis import example, given
from hypothesis import strategies as st

from cloud import names, wait
from cloud.aws import sharing
from cloud.aws.cloud import AwsCloud
from cloud.aws.sharing import Audience
from cloud.base import Image
from cloud.errors import InputError, KitError, NotAllowed, NotFound
from tests.cloud.aws.conftest import Quick, opened
from tests.fakes import ec2_rules
from tests.fakes.ec2 import CANONICAL, POLICY, RELEASE, Ec2

ONE, TWO, THREE = "111111111111", "222222222222", "333333333333"
BOTH = Audience((ONE, TWO))
EVERYBODY = Audience((), ("all",))

_ALL = [
    (kind, times)
    for kind in (*ec2_rules.KINDS, *ec2_rules.CUT)
    for times in (1, 200)
    if (kind, times) != ("silent", 200)
]
_SHORT = (("denied", 1), ("lost", 1), ("lost", 200))
FAULTS = [pytest.param(*each, marks=() if each in _SHORT else pytest.mark.matrix) for each in _ALL]
"""How calls end, and how many of them in a row; silence takes real time, so there is one of it."""


def built(region: Ec2, name: str = "MicroImage-20261101T100000Z-aaaaaa") -> Image:
    """A build at home, promoted, with what a proven one has of tags."""
    moment = names.moment(wait.clock.now())
    tags = {
        names.KIND: "image",
        names.IMAGE: "MicroImage",
        names.BUILD: name,
        names.OWNER: "somebody",
        names.CREATED: moment,
        names.FINGERPRINT: "0" * 64,
        names.PROVEN: moment,
        names.PROMOTED: moment,
    }
    ami = region.register(name, **tags)
    return Image("aws", "MicroImage", name, ami, 0, names.parse_moment(moment), tags)


def readers(region: Ec2, image: Image) -> set[str]:
    """The accounts that can read all its snapshots."""
    return set(region.ami(image.id).ebs_snapshot.create_volume_permission_userids)


@pytest.fixture
def cloud(ec2: Ec2, clock: Quick) -> AwsCloud:
    """The cloud, with the rights that releases need, and no others."""
    ec2.policies = (RELEASE,)
    return opened(ec2)


@pytest.fixture
def image(ec2: Ec2) -> Image:
    return built(ec2)


def test_nobody_may_use_a_fresh_image(cloud: AwsCloud, image: Image) -> None:
    assert cloud.audience(image) == Audience()


def test_accounts_may_start_it_and_copy_it(ec2: Ec2, cloud: AwsCloud, image: Image) -> None:
    cloud.share(image, BOTH)
    assert cloud.audience(image) == BOTH and readers(ec2, image) == {ONE, TWO}


def test_again_is_no_harm_and_changes_nothing_of_the_image(ec2: Ec2, cloud: AwsCloud, image: Image) -> None:
    cloud.share(image, Audience((TWO, ONE, TWO)))
    ec2.calls.clear()
    cloud.share(image, BOTH)
    assert cloud.audience(image) == BOTH and "ec2:ModifyImageAttribute" not in ec2.actions()


def test_nothing_is_taken_away(cloud: AwsCloud, ec2: Ec2, image: Image) -> None:
    cloud.share(image, BOTH)
    cloud.share(image, Audience((THREE,), ("all",)))
    cloud.share(image, Audience())
    assert cloud.audience(image) == Audience((ONE, TWO, THREE), ("all",)) and readers(ec2, image) == {ONE, TWO, THREE}


def test_everybody_may_use_a_public_one_and_read_no_snapshot(ec2: Ec2, cloud: AwsCloud, image: Image) -> None:
    cloud.share(image, EVERYBODY)
    assert cloud.audience(image) == EVERYBODY and readers(ec2, image) == set()
    assert not ec2.ami(image.id).ebs_snapshot.create_volume_permission_groups


def test_organizations_are_left_alone(ec2: Ec2, cloud: AwsCloud, image: Image) -> None:
    theirs = {"OrganizationArn": "arn:aws:organizations::111111111111:organization/o-1234567890"}
    ec2.ami(image.id).launch_permissions.append(theirs)
    assert cloud.audience(image) == Audience()
    cloud.share(image, BOTH)
    assert theirs in ec2.ami(image.id).launch_permissions


@given(st.text(max_size=14).filter(lambda text: not (text.isascii() and text.isdigit() and len(text) == 12)))
@example("1111-1111-1111")
@example("11111111111")
@example("111111111111\n")
@example("\u0661" * 12)
def test_what_is_no_account_is_said_to_be_none(text: str) -> None:
    with pytest.raises(InputError, match="is no AWS account") as refused:
        sharing.check(Audience((ONE, text)))
    assert "\n" not in refused.value.message and "12 digits" in refused.value.hint


@pytest.mark.parametrize("wanted", [Audience((ONE, "1111-1111-1111")), Audience((), ("everyone",))])
def test_nothing_is_called_for_what_can_be_no_audience(
    ec2: Ec2, cloud: AwsCloud, image: Image, wanted: Audience
) -> None:
    ec2.calls.clear()
    with pytest.raises(InputError):
        cloud.share(image, wanted)
    assert ec2.calls == []


def test_an_account_that_blocks_public_images_is_told_so(ec2: Ec2, cloud: AwsCloud, image: Image) -> None:
    ec2.block_public = True
    with pytest.raises(NotAllowed, match="blocks public AMIs") as refused:
        cloud.share(image, EVERYBODY)
    assert "disable-image-block-public-access" in refused.value.hint
    cloud.share(image, BOTH)
    assert cloud.audience(image) == BOTH


@pytest.mark.parametrize(("key", "wanted"), [(None, BOTH), (None, EVERYBODY), ("alias/own", EVERYBODY)])
def test_an_encrypted_one_is_refused_and_the_way_out_is_told(
    ec2: Ec2, cloud: AwsCloud, image: Image, key: str | None, wanted: Audience
) -> None:
    snapshot = ec2.ami(image.id).ebs_snapshot
    snapshot.encrypted, snapshot.kms_key_id = True, key
    with pytest.raises(InputError, match="is encrypted, and can't be shared so") as refused:
        cloud.share(image, wanted)
    assert "aws.kms_key" in refused.value.hint
    assert cloud.audience(image) == Audience()


def test_one_with_a_key_of_ones_own_can_be_shared_with_accounts(ec2: Ec2, cloud: AwsCloud, image: Image) -> None:
    snapshot = ec2.ami(image.id).ebs_snapshot
    snapshot.encrypted, snapshot.kms_key_id = True, "alias/own"
    cloud.share(image, BOTH)
    assert cloud.audience(image) == BOTH


@pytest.mark.parametrize("code", ["InvalidAMIAttributeItemValue", "InvalidUserID.Malformed"])
def test_an_account_that_aws_does_not_know_is_said_to_be_none(
    ec2: Ec2, cloud: AwsCloud, image: Image, code: str
) -> None:
    ec2.fails("ModifyImageAttribute", code)
    with pytest.raises(InputError, match=code):
        cloud.share(image, BOTH)


@pytest.mark.parametrize("wanted", [BOTH, EVERYBODY])
def test_one_that_is_gone_is_not_found(ec2: Ec2, cloud: AwsCloud, image: Image, wanted: Audience) -> None:
    ec2.client("ec2").deregister_image(ImageId=image.id)
    never = replace(image, id="ami-00000000000000000")
    for each in (image, never):
        with pytest.raises(NotFound, match="not there any more"):
            cloud.audience(each)
        with pytest.raises(NotFound, match="not there any more"):
            cloud.share(each, wanted)


@pytest.mark.parametrize(("kind", "times"), FAULTS)
def test_after_a_fault_at_any_call_the_same_again_does_it(ec2: Ec2, clock: Quick, kind: str, times: int) -> None:
    cloud = opened(ec2, timeout="1")
    wanted = Audience((ONE, TWO), ("all",))
    for number in range(1, 5):
        image = built(ec2, f"MicroImage-20261101T1000{number:02}Z-aaaaaa")
        ec2.fails_at(number, kind, times)
        try:
            cloud.share(image, wanted)
        except KitError as problem:
            assert "\n" not in problem.message  # noqa: PT017  # one that passes is as good
        ec2._at.clear()
        cloud.share(image, wanted)
        assert cloud.audience(image) == wanted and readers(ec2, image) == {ONE, TWO}


@pytest.mark.parametrize("right", ["DescribeImageAttribute", "ModifyImageAttribute", "ModifySnapshotAttribute"])
def test_a_right_that_is_missing_is_named(ec2: Ec2, cloud: AwsCloud, image: Image, right: str) -> None:
    ec2.denied = {f"ec2:{right}"}
    with pytest.raises(NotAllowed, match=f"ec2:{right}"):
        cloud.share(image, BOTH)


class TestTheFakesOwnRules:
    def refused(self, operation: str, **arguments: Any) -> str:
        with pytest.raises(ClientError) as told:
            getattr(boto3.client("ec2", region_name="us-east-2"), operation)(**arguments)
        return str(told.value.response["Error"]["Code"])

    def add(self, image: Image, **permission: str) -> str:
        return self.refused("modify_image_attribute", ImageId=image.id, LaunchPermission={"Add": [permission]})

    def test_what_is_no_account_or_group(self, ec2: Ec2, image: Image) -> None:
        assert self.add(image, UserId="1111-1111-1111") == "InvalidAMIAttributeItemValue"
        assert self.add(image, Group="everyone") == "InvalidAMIAttributeItemValue"
        snapshot = ec2.ami(image.id).ebs_snapshot.id
        asked = {"Attribute": "createVolumePermission", "OperationType": "add", "UserIds": ["1"]}
        code = self.refused("modify_snapshot_attribute", SnapshotId=snapshot, **asked)
        assert code == "InvalidAMIAttributeItemValue" and readers(ec2, image) == set()

    def test_what_is_another_accounts(self, ec2: Ec2, image: Image) -> None:
        theirs = replace(image, id=ec2.base)
        assert ec2.ami(ec2.base).owner_id == CANONICAL and self.add(theirs, UserId=ONE) == "AuthFailure"

    def test_what_an_account_blocks(self, ec2: Ec2, image: Image) -> None:
        ec2.block_public = True
        assert self.add(image, Group="all") == "OperationNotPermitted"
        asked = {"Attribute": "launchPermission", "OperationType": "add", "UserGroups": ["all"]}
        assert self.refused("modify_image_attribute", ImageId=image.id, **asked) == "OperationNotPermitted"

    def test_what_another_region_has(self, ec2: Ec2, image: Image) -> None:
        with pytest.raises(ClientError, match=r"InvalidAMIID\.NotFound"):
            ec2.client("ec2", "eu-central-1").describe_image_attribute(ImageId=image.id, Attribute="launchPermission")

    def test_what_the_policy_does_not_allow(self, ec2: Ec2, image: Image) -> None:
        ec2.policies = (POLICY.with_name("aws-network.json"),)
        assert self.add(image, UserId=ONE) == "UnauthorizedOperation"
        assert ec2.refused == ["ec2:ModifyImageAttribute"]
        ec2.refused.clear()
