"""The same build in another region: one whole copy, whatever happens, and nothing else."""

from __future__ import annotations

import json
import threading
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from cloud import names, wait
from cloud.aws.cloud import AwsCloud
from cloud.aws.leftovers import snapshots_of
from cloud.aws.sharing import Audience
from cloud.base import Image
from cloud.errors import InputError, Interrupted, KitError, NotAllowed, NotFound, TemporaryError, TimedOut
from cloud.progress import Silent
from tests.cloud.aws.conftest import Quick, opened
from tests.cloud.aws.test_sharing import FAULTS, built
from tests.fakes.ec2 import POLICY, RELEASE, Ec2

THERE = "eu-central-1"


@pytest.fixture
def cloud(ec2: Ec2, clock: Quick) -> AwsCloud:
    """The cloud at home, with the rights of who makes releases."""
    ec2.policies = (POLICY, RELEASE)
    return opened(ec2)


@pytest.fixture
def there(ec2: Ec2, cloud: AwsCloud) -> AwsCloud:
    """The same cloud in another region."""
    return opened(ec2, region=THERE)


@pytest.fixture
def image(ec2: Ec2) -> Image:
    return built(ec2)


def amis(region: Ec2, name: str = THERE) -> list[dict[str, Any]]:
    """What there is of AMIs in the region."""
    return list(region.client("ec2", name).describe_images(Owners=["self"])["Images"])


def snapshots(region: Ec2, name: str = THERE) -> dict[str, dict[str, str]]:
    """The snapshots in the region, with their tags."""
    found = region.client("ec2", name).describe_snapshots(OwnerIds=["self"])["Snapshots"]
    return {each["SnapshotId"]: {tag["Key"]: tag["Value"] for tag in each.get("Tags", [])} for each in found}


def is_whole(region: Ec2, image: Image, copied: Image) -> None:
    """There is one copy, it is all that its source is, and its snapshots are those that there are."""
    (ami,) = amis(region)
    assert (ami["ImageId"], ami["Name"], ami["State"]) == (copied.id, image.build, "available")
    assert (copied.build, copied.name, copied.tags) == (image.build, image.name, image.tags)
    parts = {key: text for key, text in image.tags.items() if key not in (names.PROVEN, names.PROMOTED)}
    assert snapshots(region) == dict.fromkeys(snapshots_of(ami), parts)
    assert region._disks[copied.id] == region._disks[image.id]


def prune(cloud: AwsCloud) -> list[str]:
    """Remove what is left of killed work; what that was."""
    found = cloud.images.leftovers()
    for each in found:
        cloud.images.remove(each)
    return [each.what for each in found]


def test_a_build_is_the_same_in_another_region(ec2: Ec2, cloud: AwsCloud, there: AwsCloud, image: Image) -> None:
    ec2.ami_lag = 3
    copied = cloud.copy_to(there, image, Silent())
    is_whole(ec2, image, copied)
    assert there.images.list("MicroImage") == [copied] and cloud.images.list("MicroImage")[0].id == image.id
    assert prune(there) == []


def test_one_that_is_there_is_taken_as_it_is(ec2: Ec2, cloud: AwsCloud, there: AwsCloud, image: Image) -> None:
    copied = cloud.copy_to(there, image, Silent())
    there.share(copied, Audience(("111111111111",)))
    assert cloud.copy_to(there, image, Silent()) == copied
    assert len(ec2.given("CopyImage")) == 1 and there.audience(copied) == Audience(("111111111111",))


def test_at_home_a_build_is_its_own_copy(ec2: Ec2, cloud: AwsCloud, image: Image) -> None:
    assert cloud.copy_to(cloud, image, Silent()).id == image.id
    assert ec2.given("CopyImage") == []


def test_one_that_somebody_else_began_is_waited_for(ec2: Ec2, cloud: AwsCloud, there: AwsCloud, image: Image) -> None:
    ec2.ami_lag = 5
    done: list[Image] = []
    both = [threading.Thread(target=lambda: done.append(cloud.copy_to(there, image, Silent()))) for _ in range(2)]
    for each in both:
        each.start()
    for each in both:
        each.join(30)
    assert done[0] == done[1]
    is_whole(ec2, image, done[0])


def test_a_name_that_was_taken_a_moment_ago_is_that_of_a_copy_which_is_waited_for(
    ec2: Ec2, cloud: AwsCloud, there: AwsCloud, image: Image
) -> None:
    ec2.fails("CopyImage", "InvalidAMIName.Duplicate", times=3)
    is_whole(ec2, image, cloud.copy_to(there, image, Silent()))


def test_who_is_interrupted_leaves_a_copy_that_the_next_one_takes_up(
    ec2: Ec2, cloud: AwsCloud, there: AwsCloud, image: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    ec2.ami_lag = 5
    monkeypatch.setattr(wait.clock, "sleep", lambda _: wait.interrupt())
    try:
        with pytest.raises(Interrupted):
            cloud.copy_to(there, image, Silent())
    finally:
        wait.resume()
    monkeypatch.undo()
    assert prune(there) == [], "one that is pending is nobody's garbage"
    is_whole(ec2, image, cloud.copy_to(there, image, Silent()))
    assert len(ec2.given("CopyImage")) == 1


def test_one_that_takes_too_long_goes_on(ec2: Ec2, cloud: AwsCloud, image: Image) -> None:
    ec2.ami_lag = 100
    hurried = opened(ec2, region=THERE, image_timeout="5")
    with pytest.raises(TimedOut, match=rf"ami-\w+ in {THERE}, the copy of {image.build}: not within 5 s") as late:
        cloud.copy_to(hurried, image, Silent())
    assert "waits for it" in late.value.hint and prune(hurried) == []
    ec2._ami_lags.clear()
    is_whole(ec2, image, cloud.copy_to(hurried, image, Silent()))


def test_one_that_fails_says_why_and_does_not_stay(ec2: Ec2, cloud: AwsCloud, there: AwsCloud, image: Image) -> None:
    ec2.copies_fail = {THERE: 1}
    with pytest.raises(KitError, match=f"could not copy {image.build} to {THERE}: Copy image failed with an internal"):
        cloud.copy_to(there, image, Silent())
    assert amis(ec2) == [] and snapshots(ec2) == {}
    is_whole(ec2, image, cloud.copy_to(there, image, Silent()))


@pytest.mark.parametrize("way", ["again", "prune"])
@pytest.mark.parametrize("call", ["DeregisterImage", "DeleteSnapshot"])
def test_one_that_failed_and_could_not_be_removed_goes_later(
    ec2: Ec2, cloud: AwsCloud, there: AwsCloud, image: Image, call: str, way: str
) -> None:
    ec2.copies_fail = {THERE: 1}
    ec2.denied = {f"ec2:{call}"}
    with pytest.raises(KitError, match="it is not gone yet"):
        cloud.copy_to(there, image, Silent())
    ec2.denied = set()
    if way == "prune":
        left = {"DeregisterImage": "AMI of a killed build", "DeleteSnapshot": "snapshot of a killed build"}
        assert prune(there) == [left[call]]
        assert amis(ec2) == [] and snapshots(ec2) == {}
    copied = cloud.copy_to(there, image, Silent())
    prune(there)
    is_whole(ec2, image, copied)


def test_one_that_somebody_removes_meanwhile_is_not_waited_for(
    ec2: Ec2, cloud: AwsCloud, there: AwsCloud, image: Image, clock: Quick, monkeypatch: pytest.MonkeyPatch
) -> None:
    ec2.ami_lag = 100

    def remove(seconds: float) -> None:
        clock.slept += seconds
        for ami in amis(ec2):
            ec2.client("ec2", THERE).deregister_image(ImageId=ami["ImageId"])

    monkeypatch.setattr(clock, "sleep", remove)
    with pytest.raises(KitError, match="is gone"):
        cloud.copy_to(there, image, Silent())
    assert clock.slept < 100


def test_another_image_of_that_name_is_not_taken_for_it(
    ec2: Ec2, cloud: AwsCloud, there: AwsCloud, image: Image
) -> None:
    ec2.register(image.build, region=THERE)
    with pytest.raises(InputError, match="is no copy of it"):
        cloud.copy_to(there, image, Silent())


def test_one_that_is_gone_at_home_is_not_found(ec2: Ec2, cloud: AwsCloud, there: AwsCloud, image: Image) -> None:
    ec2.client("ec2").deregister_image(ImageId=image.id)
    with pytest.raises(NotFound, match=f"{image.build} can't be copied from us-east-2"):
        cloud.copy_to(there, image, Silent())


def test_too_many_copies_at_once_may_go_later(ec2: Ec2, cloud: AwsCloud, there: AwsCloud, image: Image) -> None:
    ec2.fails("CopyImage", "ResourceLimitExceeded")
    with pytest.raises(TemporaryError):
        cloud.copy_to(there, image, Silent())


def test_a_region_that_the_account_has_not_switched_on_is_named(
    ec2: Ec2, cloud: AwsCloud, there: AwsCloud, image: Image
) -> None:
    ec2.fails("DescribeImages", "AuthFailure", 401)
    with pytest.raises(NotAllowed) as refused:
        cloud.copy_to(there, image, Silent())
    assert f"is {THERE} one that the account has switched on?" in refused.value.hint


@pytest.mark.parametrize("key", ["", "alias/images", f"arn:aws:kms:{THERE}:123456789012:key/one"])
def test_a_copy_is_encrypted_as_the_settings_of_its_region_say(
    ec2: Ec2, cloud: AwsCloud, image: Image, key: str
) -> None:
    there = opened(ec2, region=THERE, encrypted="true", kms_key=key)
    snapshot = ec2.ami(cloud.copy_to(there, image, Silent()).id).ebs_snapshot
    assert snapshot.encrypted and (snapshot.kms_key_id or "") == key


def test_a_key_of_another_region_is_refused_before_anything_is_called(ec2: Ec2, cloud: AwsCloud, image: Image) -> None:
    there = opened(ec2, region=THERE, encrypted="true", kms_key="arn:aws:kms:us-east-2:123456789012:key/one")
    ec2.calls.clear()
    with pytest.raises(InputError, match=f"is no key of {THERE}"):
        cloud.copy_to(there, image, Silent())
    assert ec2.calls == []


def test_a_plain_image_is_copied_without_tags(ec2: Ec2, cloud: AwsCloud, there: AwsCloud) -> None:
    ec2.register("L0BaseImage")
    (plain,) = cloud.images.list("L0BaseImage")
    copied = cloud.copy_to(there, plain, Silent())
    assert copied.state == "plain" and cloud.copy_to(there, plain, Silent()) == copied


@pytest.mark.parametrize("fails", [0, 1])
@pytest.mark.parametrize(("kind", "times"), FAULTS)
def test_after_a_fault_at_any_call_the_same_again_ends_with_one_whole_copy(
    ec2: Ec2, clock: Quick, image: Image, kind: str, times: int, fails: int
) -> None:
    cloud, there = opened(ec2), opened(ec2, region=THERE, timeout="1")
    for number in range(1, calls_of_a_copy(ec2, cloud, there, image, fails) + 1):
        ec2.copies_fail = {THERE: fails}
        ec2.fails_at(number, kind, times)
        for _ in range(3):
            try:
                copied = cloud.copy_to(there, image, Silent())
                break
            except KitError as problem:
                assert "\n" not in problem.message  # noqa: PT017  # one that passes is as good
                ec2._at.clear()
        ec2._at.clear()
        prune(there)
        is_whole(ec2, image, copied)
        there.images.delete(copied)
        assert amis(ec2) == [] and snapshots(ec2) == {}


def calls_of_a_copy(region: Ec2, cloud: AwsCloud, there: AwsCloud, image: Image, fails: int) -> int:
    """How many calls one takes to its end, after so many that fail; nothing of it stays."""
    before, region.copies_fail = region._seen, {THERE: fails}
    for _ in range(fails):
        with pytest.raises(KitError):
            cloud.copy_to(there, image, Silent())
    copied = cloud.copy_to(there, image, Silent())
    count = region._seen - before
    there.images.delete(copied)
    assert count >= 5
    return count


def test_all_that_the_policy_gives_for_releases_is_needed(
    ec2: Ec2, cloud: AwsCloud, there: AwsCloud, image: Image
) -> None:
    ec2.policies = (RELEASE,)
    ec2.copies_fail = {THERE: 1}
    with pytest.raises(KitError):
        cloud.copy_to(there, image, Silent())
    there.share(cloud.copy_to(there, image, Silent()), Audience(("111111111111",), ("all",)))
    rights = {right for each in json.loads(RELEASE.read_text())["Statement"] for right in each["Action"]}
    assert rights - {"ec2:CreateTags"} == set(ec2.actions()) & rights - {"ec2:CreateTags"}
    ec2.denied = {"ec2:CreateTags"}
    there.images.delete(there.images.list("MicroImage")[0])
    with pytest.raises(NotAllowed):
        cloud.copy_to(there, image, Silent())


class TestTheFakesOwnRules:
    def copy(self, image: Image, **changed: Any) -> str:
        asked = {"Name": "a-copy", "SourceImageId": image.id, "SourceRegion": "us-east-2", **changed}
        return str(boto3.client("ec2", region_name=THERE).copy_image(**asked)["ImageId"])

    def refused(self, image: Image, **changed: Any) -> str:
        with pytest.raises(ClientError) as told:
            self.copy(image, **changed)
        return str(told.value.response["Error"]["Code"])

    def states(self, ami: str, looks: int) -> list[str]:
        client = boto3.client("ec2", region_name=THERE)
        return [client.describe_images(ImageIds=[ami])["Images"][0]["State"] for _ in range(looks)]

    def test_a_region_has_what_was_made_in_it(self, ec2: Ec2, image: Image) -> None:
        assert amis(ec2) == [] and [each["ImageId"] for each in amis(ec2, "us-east-2")] == [image.id]
        assert ec2.client("ec2", THERE).describe_images()["Images"] == []
        zones = ec2.client("ec2", THERE).describe_availability_zones()["AvailabilityZones"]
        assert {each["RegionName"] for each in zones} == {THERE}

    def test_a_copy_is_pending_then_there_and_boots_what_its_source_boots(self, ec2: Ec2, image: Image) -> None:
        ec2.ami_lag = 2
        ami = self.copy(image)
        assert self.states(ami, 3) == ["pending", "pending", "available"]
        started = ec2.client("ec2", THERE).run_instances(ImageId=ami, MinCount=1, MaxCount=1)
        vm = str(started["Instances"][0]["InstanceId"])
        assert ec2._disks[ami] == ec2.disk and vm in ec2.existing() and ec2.guests.runs(vm)
        ec2.powers_off(vm)
        states = []
        for _ in range(ec2.lag + 1):
            (row,) = ec2.client("ec2", THERE).describe_instances()["Reservations"]
            states.append(row["Instances"][0]["State"]["Name"])
        assert states == ["pending", "stopped"]

    def test_a_copy_that_fails_tells_why_and_of_no_snapshot(self, ec2: Ec2, image: Image) -> None:
        ec2.copies_fail = {THERE: 1}
        ami = self.copy(image)
        assert self.states(ami, 2) == ["pending", "failed"]
        (told,) = boto3.client("ec2", region_name=THERE).describe_images(ImageIds=[ami])["Images"]
        assert told["StateReason"]["Code"] == "Server.InternalError" and snapshots_of(told) == []
        assert self.refused(image) == "InvalidAMIName.Duplicate"

    def test_tags_are_those_that_were_asked_for(self, ec2: Ec2, image: Image) -> None:
        bare, same = self.copy(image), self.copy(image, Name="another", CopyImageTags=True)
        marked = [{"ResourceType": "snapshot", "Tags": [{"Key": "a", "Value": "b"}]}]
        third = self.copy(image, Name="a-third", TagSpecifications=marked)
        told = {each["ImageId"]: {tag["Key"]: tag["Value"] for tag in each.get("Tags", [])} for each in amis(ec2)}
        assert told == {bare: {}, same: image.tags, third: {}}
        assert sorted(map(str, snapshots(ec2).values())) == sorted(map(str, [{}, {}, {"a": "b"}]))

    def test_a_token_makes_one_copy(self, ec2: Ec2, image: Image) -> None:
        ami = self.copy(image, ClientToken="one")
        assert self.copy(image, ClientToken="one") == ami and len(amis(ec2)) == 1
        assert self.refused(image, ClientToken="one", Name="another") == "IdempotentParameterMismatch"
        ec2.client("ec2", THERE).deregister_image(ImageId=ami)
        assert self.copy(image, ClientToken="one") == ami and amis(ec2) == []

    def test_what_can_be_no_copy_is_refused(self, ec2: Ec2, image: Image) -> None:
        assert self.refused(image, SourceRegion="eu-west-1") == "InvalidAMIID.NotFound"
        assert self.refused(image, SourceRegion="mars-north-1") == "InvalidRequest"
        assert self.refused(image, Name="a/b!") == "InvalidAMIName.Malformed"
        assert self.refused(image, KmsKeyId="alias/own") == "InvalidParameterDependency"
        ec2.ami_lag = 2
        half = self.copy(image, Name="half")
        assert self.refused(image, Name="more", SourceRegion=THERE, SourceImageId=half) == "InvalidAMIID.Unavailable"
        assert self.refused(image, Name="half") == "InvalidAMIName.Duplicate"
        ec2.ami(image.id).ebs_snapshot.encrypted = True
        assert self.refused(image, Encrypted=False) == "InvalidRequest"
        vm = [{"ResourceType": "instance", "Tags": [{"Key": "a", "Value": "b"}]}]
        assert self.refused(image, TagSpecifications=vm) == "InvalidParameterValue"

    def test_tags_need_the_right_to_set_them(self, ec2: Ec2, image: Image) -> None:
        ec2.denied = {"ec2:CreateTags"}
        assert self.refused(image, CopyImageTags=True) == "UnauthorizedOperation"
        assert self.copy(image)
