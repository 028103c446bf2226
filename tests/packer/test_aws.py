"""L0BaseImage on AWS: the real packer and boto3, a fake EC2, VMs that run."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from cloud import connect, names, wait
from cloud.aws.leftovers import snapshots_of
from cloud.errors import NotFound
from tasks import _settings
from tests.fakes.ec2 import SECRET, Ec2, allowed
from tests.packer.shipped import Ends, Failures, is_as_it_was, watched
from tests.toolkit import ROOT, Ran, Toolkit

L0BASE = ("images.l0base", "--cloud", "aws")
MICRO = {"KM_IMAGES__DEFINITION": str(ROOT / "tests/definitions/micro.toml")}


@pytest.fixture
def ec2(disk: Path, tmp_path: Path) -> Iterator[Ec2]:
    """A region with nothing in it but Canonical's image."""
    with Ec2(tmp_path / "ec2", disk) as region:
        yield region
    assert region.refused == []


@pytest.fixture
def toolkit(ec2: Ec2, tmp_path: Path) -> Toolkit:
    """A toolkit that works in that region."""
    return Toolkit(tmp_path / "home", {**MICRO, **ec2.variables})


def planted(ec2: Ec2, toolkit: Toolkit, token: str, *states: str, days_ago: float = 0, fingerprint: str = "") -> str:
    """A build that came as far as the states say; its AMI. Without a fingerprint it is of today's inputs."""
    if not fingerprint:
        fingerprint = toolkit.run(*L0BASE, "--plan", "--json").json[0]["fingerprint"]
    created = wait.clock.now() - timedelta(days=days_ago)
    moment, build = names.moment(created), names.build_name("MicroImage", created, token)
    tags = {
        names.KIND: "image",
        names.IMAGE: "MicroImage",
        names.BUILD: build,
        names.CREATED: moment,
        names.FINGERPRINT: fingerprint,
        **{f"km-{state}": moment for state in states},
    }
    return ec2.register(build, **tags)


@dataclass
class Shipped:
    """A region whose current image is of older inputs: there is something to build, and something to lose."""

    ec2: Ec2
    toolkit: Toolkit
    ami: str
    before: set[str]
    """The snapshots of strangers."""
    cloud: str = "aws"
    vm: str = "i-"
    parts: tuple[str, ...] = ("VM", "security group")

    def current_is_what_it_was(self) -> None:
        """The current image is what it was, for us and for others."""
        assert current(self.toolkit) == self.ami
        parameter = self.ec2.client("ssm").get_parameter(Name="/kontain/images/MicroImage")
        assert parameter["Parameter"]["Value"] == self.ami

    def left(self) -> list[str]:
        """What there is in the region that no image needs."""
        ec2 = self.ec2.client("ec2")
        groups = ec2.describe_security_groups()["SecurityGroups"]
        amis = ec2.describe_images(Owners=["self"])["Images"]
        needed = {snapshot for ami in amis for snapshot in snapshots_of(ami)}
        snapshots = {each["SnapshotId"] for each in ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"]}
        return [
            *self.vms(),
            *(group["GroupId"] for group in groups if group["GroupName"] != "default"),
            *(ami["ImageId"] for ami in amis if ami["ImageId"] != self.ami),
            *sorted(snapshots - needed - self.before),
        ]

    def vms(self) -> list[str]:
        """The instances that are not terminated."""
        rows = self.ec2.client("ec2").describe_instances()["Reservations"]
        instances = [each for row in rows for each in row["Instances"]]
        return [each["InstanceId"] for each in instances if each["State"]["Name"] != "terminated"]


@pytest.fixture
def shipped(ec2: Ec2, toolkit: Toolkit) -> Shipped:
    ami = planted(ec2, toolkit, "aaaaaa", "proven", "promoted", days_ago=1, fingerprint="0" * 64)
    ec2.client("ssm").put_parameter(Name="/kontain/images/MicroImage", Value=ami, Type="String")
    images = ec2.client("ec2").describe_images()["Images"]
    ec2.calls.clear()
    return Shipped(ec2, toolkit, ami, {snapshot for image in images for snapshot in snapshots_of(image)})


def current(toolkit: Toolkit) -> str:
    rows = toolkit.run("images.list", "--cloud", "aws", "--json").json
    return next((row["id"] for row in rows if row["current"]), "")


@dataclass(frozen=True)
class Built:
    """A build that went well, and what was seen of it."""

    row: dict[str, Any]
    calls: list[tuple[str, dict[str, str]]]
    again: Ran
    calls_again: list[str]
    log: str
    shown: set[str]
    """Where a secret could be read."""
    made: dict[str, dict[str, str]]
    """The tags of everything that there was at its end or before."""
    announced: str


@pytest.fixture(scope="module")
def built(disk: Path, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """One build, proof and promotion in an empty region."""
    folder = tmp_path_factory.mktemp("built")
    with Ec2(folder / "ec2", disk) as region:
        region.ami_lag = 4
        toolkit = Toolkit(folder / "home", {**MICRO, **region.variables})
        with watched(toolkit, SECRET) as shown:
            ran = toolkit.run(*L0BASE, "--json")
        shown |= {name for name, told in (("stdout", ran.out), ("stderr", ran.err)) if SECRET in told}
        assert ran.code == 0, f"{ran.err}\n{toolkit.log()}"
        calls = list(region.calls)
        region.calls.clear()
        again = toolkit.run(*L0BASE)
        calls_again = region.actions()
        tags = region.client("ec2").describe_tags()["Tags"]
        made: dict[str, dict[str, str]] = {}
        for tag in tags:
            made.setdefault(tag["ResourceId"], {})[tag["Key"]] = tag["Value"]
        parameter = region.client("ssm").get_parameter(Name="/kontain/images/MicroImage")["Parameter"]["Value"]
        assert region.refused == []
        return Built(ran.json[0], calls, again, calls_again, toolkit.log(), shown, made, parameter)


@pytest.mark.vm
@pytest.mark.matrix
class TestABuild:
    def test_is_proven_on_two_boots_of_the_image_and_becomes_current(self, built: Built) -> None:
        checks = {(check["name"], check["phase"]) for check in built.row["checks"]}
        assert all(check["ok"] for check in built.row["checks"])
        for name in ("jq", "user-sudo", "core-pattern", "record"):
            assert {(name, "boot"), (name, "reboot")} <= checks
        assert built.row["state"] == "promoted"

    def test_is_booted_from_the_ami_that_packer_made(self, built: Built) -> None:
        started = [given["ImageId"] for action, given in built.calls if action == "ec2:RunInstances"]
        assert len(started) == 2 and started[1] == built.row["id"]

    def test_is_announced_to_other_engines(self, built: Built) -> None:
        assert built.announced == built.row["id"]

    def test_again_is_up_to_date_after_three_calls(self, built: Built) -> None:
        assert built.again.code == 0 and "up to date" in built.again.out
        assert sorted(built.calls_again) == ["ec2:DescribeImages", "ec2:DescribeImages", "ssm:GetParameter"]

    def test_opens_ssh_for_the_caller_alone(self, built: Built) -> None:
        opened = [given for action, given in built.calls if action == "ec2:AuthorizeSecurityGroupIngress"]
        assert len(opened) == 2
        for given in opened:
            assert given["IpPermissions.1.IpRanges.1.CidrIp"] == "127.0.0.1/32"
            assert "IpPermissions.2.IpProtocol" not in given

    def test_makes_no_key_pair_and_proves_with_imdsv2_alone(self, built: Built) -> None:
        assert not any("KeyPair" in action for action, _ in built.calls)
        proof = [given for action, given in built.calls if action == "ec2:RunInstances"][1]
        assert proof["MetadataOptions.HttpTokens"] == "required"

    def test_marks_everything_with_owner_purpose_and_expiry(self, built: Built) -> None:
        kinds = {resource.split("-")[0] for resource in built.made}
        assert {"i", "vol", "ami"} <= kinds
        for resource, tags in built.made.items():
            assert tags[names.KIND] in ("build", "proof", "image"), resource
            assert tags[names.OWNER] and tags[names.IMAGE] == "MicroImage", resource
            assert (names.EXPIRES in tags) == (tags[names.KIND] != "image"), resource
        groups = [given for action, given in built.calls if action == "ec2:CreateSecurityGroup"]
        for given in groups:
            assert names.EXPIRES in given.values() and names.OWNER in given.values()

    def test_waits_until_ec2_has_made_the_image_and_shows_it(self, built: Built) -> None:
        made = built.row["id"]
        looks = [given for action, given in built.calls if action == "ec2:DescribeImages" and made in given.values()]
        assert len(looks) > 8 and built.made[made][names.KIND] == "image"

    def test_shows_no_secret(self, built: Built) -> None:
        assert built.shown == set() and "PRIVATE KEY" not in built.log


BEFORE_ANY_VM = [
    ("RunInstances", "VcpuLimitExceeded", 400, 1, "VcpuLimitExceeded"),
    ("RunInstances", "UnauthorizedOperation", 403, 4, "UnauthorizedOperation"),
    ("CreateSecurityGroup", "UnauthorizedOperation", 403, 4, "ec2:CreateSecurityGroup"),
    ("CreateSecurityGroup", "RequestLimitExceeded", 503, 5, "RequestLimitExceeded"),
    ("CreateSecurityGroup", "InternalError", 500, 5, "InternalError"),
    ("DescribeImages", "AuthFailure", 401, 4, "AuthFailure"),
]


class TestAFailure(Failures):
    @pytest.mark.matrix
    @pytest.mark.parametrize(("action", "code", "status", "exit_code", "told"), BEFORE_ANY_VM)
    def test_of_a_call_has_its_exit_code_and_leaves_nothing(
        self, shipped: Shipped, action: str, code: str, status: int, exit_code: int, told: str
    ) -> None:
        shipped.ec2.fails(action, code, status, times=30)
        ran = shipped.toolkit.run(*L0BASE)
        shipped.ec2.faults.clear()
        assert ran.code == exit_code, ran.err
        assert told in ran.err and "hint: " in ran.err
        is_as_it_was(shipped)

    @pytest.mark.matrix
    def test_of_capacity_is_temporary(self, shipped: Shipped) -> None:
        # packer's own SDK takes the 500 for a fault of EC2's and tries for most of a minute.
        shipped.ec2.fails("RunInstances", "InsufficientInstanceCapacity", 500, times=100)
        ran = shipped.toolkit.run(*L0BASE)
        assert ran.code == 5, ran.err
        is_as_it_was(shipped)

    @pytest.mark.matrix
    def test_because_somebody_takes_the_name_meanwhile_leaves_his(self, shipped: Shipped) -> None:
        with shipped.toolkit.started(*L0BASE) as running:
            running.reaches("Waiting for SSH")
            groups = shipped.ec2.client("ec2").describe_security_groups()["SecurityGroups"]
            (build,) = (group["GroupName"] for group in groups if names.image_of(group["GroupName"]))
            taken = shipped.ec2.register(build)
            ended = running.end()
        assert ended.code == 1 and "InvalidAMIName.Duplicate" in ended.err, ended.err
        assert shipped.left() == [taken]
        shipped.current_is_what_it_was()

    @pytest.mark.matrix
    @pytest.mark.parametrize("action", ["CreateSecurityGroup", "CreateImage"])
    def test_whose_answer_was_lost_leaves_nothing(self, shipped: Shipped, action: str) -> None:
        # SDKs ask again by themselves, and hear that it is there already.
        shipped.ec2.fails(action, "InternalError", 500, after=True)
        ran = shipped.toolkit.run(*L0BASE)
        assert ran.code == 1 and "Duplicate" in ran.err, ran.err
        assert "left behind: nothing" in ran.err
        is_as_it_was(shipped)

    @pytest.mark.matrix
    def test_of_an_image_that_takes_too_long_leaves_nothing(self, shipped: Shipped) -> None:
        shipped.ec2.ami_lag = 100
        ran = shipped.toolkit.but(aws__image_timeout="3").run(*L0BASE)
        assert ran.code == 1, ran.err
        assert "left behind: nothing" in ran.err
        is_as_it_was(shipped)


@pytest.fixture
def unproven(shipped: Shipped) -> Shipped:
    """A region with a newer build too that is not proven, whose VMs never boot."""
    planted(shipped.ec2, shipped.toolkit, "bbbbbb")
    shipped.ec2.guests.boot = lambda *_: None  # type: ignore[method-assign]
    shipped.ec2.calls.clear()
    return replace(shipped, toolkit=shipped.toolkit.but(aws__boot_timeout="3"))


NO_WORD = [("InternalError", 500), pytest.param("NoAnswer", 502, marks=pytest.mark.matrix)]


class TestAProof:
    @pytest.mark.parametrize(("code", "status"), NO_WORD)
    def test_whose_vm_was_started_without_an_answer_asks_again_for_that_vm(
        self, unproven: Shipped, code: str, status: int
    ) -> None:
        unproven.ec2.fails("RunInstances", code, status, after=True)
        ran = unproven.toolkit.run(*L0BASE)
        assert ran.code == 1 and "ssh" in ran.err, ran.err  # the VM was there; it does not boot
        calls = [given for action, given in unproven.ec2.calls if action == "ec2:RunInstances"]
        first, again, other = (given["ClientToken"] for given in calls)
        assert first == again != other  # a VM that does not answer is given up once
        assert len(unproven.ec2.client("ec2").describe_instances()["Reservations"]) == 2
        is_as_it_was(unproven)

    @pytest.mark.parametrize(("code", "status"), NO_WORD)
    def test_whose_vm_runs_though_nobody_ever_says_so_ends_it(self, unproven: Shipped, code: str, status: int) -> None:
        unproven.ec2.fails("RunInstances", code, status, times=2, after=True)
        ran = unproven.toolkit.run(*L0BASE)
        assert ran.code == 5, ran.err
        assert len(unproven.ec2.client("ec2").describe_instances()["Reservations"]) == 1
        assert "left behind: nothing" in ran.err
        is_as_it_was(unproven)

    def test_that_finds_no_room_asks_once(self, unproven: Shipped) -> None:
        unproven.ec2.fails("RunInstances", "InsufficientInstanceCapacity", 500, times=9)
        ran = unproven.toolkit.run(*L0BASE)
        assert ran.code == 5 and "InsufficientInstanceCapacity" in ran.err
        assert unproven.ec2.actions().count("ec2:RunInstances") == 1
        is_as_it_was(unproven)

    def test_that_is_stopped_while_its_vm_takes_long_to_end_leaves_what_prune_removes(self, unproven: Shipped) -> None:
        with unproven.toolkit.but(aws__boot_timeout="180").started(*L0BASE) as running:
            running.reaches("waiting for i-")
            unproven.ec2.lag = 30
            began = time.monotonic()
            running.gets(signal.SIGTERM)
            ended = running.end(60)
            assert ended.code == 130 and time.monotonic() - began < 12
        (group,) = [each for each in unproven.left() if each.startswith("sg-")]
        assert f"security group of a killed build {group}" in ended.err, ended.err
        unproven.current_is_what_it_was()
        pruned = unproven.toolkit.run("images.prune", "--cloud", "aws")
        assert pruned.code == 0, pruned.err
        is_as_it_was(unproven)
        assert unproven.toolkit.run("images.prune", "--cloud", "aws").out == ""


class TestAnEnd(Ends):
    pass


class TestImages:
    def test_of_a_stranger_are_never_looked_at(self, ec2: Ec2, toolkit: Toolkit) -> None:
        ec2.register("MicroImage", owner="666666666666")
        assert "no builds" in toolkit.run("images.list", "--cloud", "aws").out
        assert toolkit.run(*L0BASE, "--plan", "--json").json[0]["reason"] == "there is no build yet"

    def test_from_before_of_exactly_the_name_come_last_and_stay(self, ec2: Ec2, toolkit: Toolkit) -> None:
        plain = ec2.register("MicroImage")
        assert current(toolkit) == plain
        assert toolkit.run("images.prune", "--cloud", "aws", "--keep", "1", "--plan").out == ""
        ours = planted(ec2, toolkit, "aaaaaa", "proven", "promoted", days_ago=1)
        assert current(toolkit) == ours
        rows = toolkit.run("images.list", "--cloud", "aws", "--json").json
        assert {row["id"]: row["state"] for row in rows} == {plain: "plain", ours: "promoted"}

    def test_that_others_do_not_know_of_are_announced(self, ec2: Ec2, toolkit: Toolkit) -> None:
        ami = planted(ec2, toolkit, "aaaaaa", "proven", "promoted")
        assert toolkit.run(*L0BASE, "--plan", "--json").json[0]["steps"] == ["promote"]
        assert toolkit.run(*L0BASE).code == 0
        assert ec2.client("ssm").get_parameter(Name="/kontain/images/MicroImage")["Parameter"]["Value"] == ami

    def test_that_are_proven_wait_for_a_person_who_wants_that(self, ec2: Ec2, toolkit: Toolkit) -> None:
        planted(ec2, toolkit, "aaaaaa", "proven")
        assert toolkit.run(*L0BASE, "--no-promote").code == 0
        assert current(toolkit) == ""
        assert toolkit.run("images.promote", "--cloud", "aws", "aaaaaa").code == 0
        assert current(toolkit) != ""

    def test_are_rolled_back_and_promoted_for_others_too(self, ec2: Ec2, toolkit: Toolkit) -> None:
        older = planted(ec2, toolkit, "aaaaaa", "proven", "promoted", days_ago=2)
        newer = planted(ec2, toolkit, "bbbbbb", "proven", "promoted", days_ago=1)
        for words, now in (
            (("images.rollback", "--cloud", "ec2"), older),
            (("images.promote", "--cloud", "ec2", "bbbbbb"), newer),
        ):
            assert toolkit.run(*words).code == 0
            assert current(toolkit) == now
            told = ec2.client("ssm").get_parameter(Name="/kontain/images/MicroImage")
            assert told["Parameter"]["Value"] == now

    def test_that_are_old_go_with_their_snapshots_but_not_one_that_a_vm_uses(self, ec2: Ec2, toolkit: Toolkit) -> None:
        amis = [
            planted(ec2, toolkit, token, "proven", "promoted", days_ago=days, fingerprint="0" * 64)
            for token, days in (("aaaaaa", 4), ("bbbbbb", 3), ("cccccc", 2))
        ]
        ec2.guests.boot = lambda *_: None  # type: ignore[method-assign]  # nobody looks into it
        ec2.client("ec2").run_instances(ImageId=amis[1], MinCount=1, MaxCount=1, InstanceType="t3.small")
        assert toolkit.run("images.prune", "--cloud", "aws", "--keep", "1").code == 0
        rows = toolkit.run("images.list", "--cloud", "aws", "--json").json
        assert {row["id"] for row in rows} == set(amis[1:])
        assert "ec2:DeleteSnapshot" in ec2.actions()

    def test_of_a_build_under_way_elsewhere_are_left_alone(self, ec2: Ec2, toolkit: Toolkit) -> None:
        expires = wait.clock.now() + timedelta(hours=1)
        build = names.build_name("MicroImage", wait.clock.now(), "dddddd")
        tags = {names.KIND: "build", names.BUILD: build, names.EXPIRES: names.moment(expires)}
        group = ec2.client("ec2").create_security_group(GroupName=build, Description="x")["GroupId"]
        ec2.client("ec2").create_tags(Resources=[group], Tags=[{"Key": k, "Value": v} for k, v in tags.items()])
        ami = ec2.register(build, **tags)
        assert toolkit.run("images.prune", "--cloud", "aws", "--plan").out == ""
        over = {**tags, names.EXPIRES: names.moment(wait.clock.now() - timedelta(hours=1))}
        ec2.client("ec2").create_tags(Resources=[group], Tags=[{"Key": k, "Value": v} for k, v in over.items()])
        assert group in toolkit.run("images.prune", "--cloud", "aws", "--plan").out
        assert ami not in toolkit.run("images.prune", "--cloud", "aws", "--plan").out

    def test_with_some_of_our_tags_are_none_of_ours(self, ec2: Ec2, toolkit: Toolkit) -> None:
        build = names.build_name("MicroImage", wait.clock.now(), "eeeeee")
        ours = {names.KIND: "image", names.IMAGE: "MicroImage", names.BUILD: build}
        ec2.register("somebodys", **ours)
        ec2.register("anothers", **ours, **{names.CREATED: "yesterday"})
        listed = toolkit.run("images.list", "--cloud", "aws")
        assert listed.code == 0 and "no builds" in listed.out
        assert toolkit.run("images.prune", "--cloud", "aws", "--plan").out == ""

    def test_that_ec2_has_not_made_yet_do_not_count(self, ec2: Ec2, toolkit: Toolkit) -> None:
        ami = planted(ec2, toolkit, "aaaaaa", "proven", "promoted")
        assert current(toolkit) == ami
        ec2.ami(ami).state = "pending"
        assert current(toolkit) == ""

    def test_that_are_gone_are_not_found(
        self, ec2: Ec2, toolkit: Toolkit, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        planted(ec2, toolkit, "aaaaaa", "proven")
        for key, text in ec2.variables.items():
            monkeypatch.setenv(key, text)
        images = connect("aws", _settings.load(ec2.variables, tmp_path / "none")).images
        (image,) = images.list("MicroImage")
        images.delete(image)
        with pytest.raises(NotFound, match="is not there any more"):
            images.tag(image, {names.PROMOTED: names.moment(wait.clock.now())})

    def test_under_way_elsewhere_keep_their_snapshots(self, ec2: Ec2, toolkit: Toolkit) -> None:
        build = names.build_name("MicroImage", wait.clock.now(), "dddddd")
        tags = {
            names.KIND: "build",
            names.BUILD: build,
            names.EXPIRES: names.moment(wait.clock.now() + timedelta(hours=1)),
        }
        snapshot = ec2.snapshot(**tags)
        assert toolkit.run("images.prune", "--cloud", "aws", "--plan").out == ""
        ec2.mark(snapshot, **{**tags, names.EXPIRES: names.moment(wait.clock.now() - timedelta(hours=1))})
        assert snapshot in toolkit.run("images.prune", "--cloud", "aws", "--plan").out
        assert toolkit.run("images.prune", "--cloud", "aws").code == 0
        assert snapshot not in [each["SnapshotId"] for each in ec2.client("ec2").describe_snapshots()["Snapshots"]]

    def test_that_are_gone_leave_no_snapshot(self, ec2: Ec2, toolkit: Toolkit) -> None:
        build = names.build_name("MicroImage", wait.clock.now(), "dddddd")
        snapshot = ec2.snapshot(**{names.KIND: "image", names.BUILD: build})
        assert snapshot in toolkit.run("images.prune", "--cloud", "aws", "--plan").out
        # As of an image that is just being made: EC2 does not tell yet of what it consists.
        ec2.register(build)
        assert toolkit.run("images.prune", "--cloud", "aws", "--plan").out == ""


class TestAPlan:
    @pytest.mark.parametrize(
        "settings",
        [
            {"aws__disk": "99"},
            {"aws__encrypted": "true"},
            {"aws__encrypted": "true", "aws__kms_key": "alias/ours"},
            {"aws__encrypted": "true", "aws__kms_key": "alias/another"},
        ],
    )
    def test_is_to_build_when_a_setting_changes_that_shapes_the_image(
        self, ec2: Ec2, toolkit: Toolkit, settings: dict[str, str]
    ) -> None:
        others = toolkit.but(aws__encrypted="true", aws__kms_key="alias/theirs")
        seen = {each.run(*L0BASE, "--plan", "--json").json[0]["fingerprint"] for each in (toolkit, others)}
        changed = toolkit.but(**settings).run(*L0BASE, "--plan", "--json").json[0]
        assert len(seen) == 2 and changed["fingerprint"] not in seen


SSO = """
[profile ours]
sso_start_url = https://example.org/start
sso_region = us-east-2
sso_account_id = 123456789012
sso_role_name = builder
"""


class TestWho:
    """Not logged in, wrongly set, and not answered are three things."""

    @pytest.mark.parametrize(
        ("config", "variables", "code", "told"),
        [
            (SSO, {"AWS_PROFILE": "ours"}, 4, "not logged in to AWS"),
            ("[profile ours]\ncredential_process = false\n", {"AWS_PROFILE": "ours"}, 4, "not logged in to AWS"),
            ("", {"AWS_PROFILE": "nobodys"}, 4, "not logged in to AWS"),
            ("this is no configuration", {}, 2, "AWS can't be asked"),
            ("", {"AWS_ENDPOINT_URL": "nowhere"}, 2, "AWS can't be asked"),
            ("", {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, 5, "AWS does not answer"),
        ],
    )
    def test_has_its_exit_code(
        self, ec2: Ec2, tmp_path: Path, config: str, variables: dict[str, str], code: int, told: str
    ) -> None:
        (tmp_path / "config").write_text(config)
        settings = {**MICRO, **ec2.variables, "AWS_CONFIG_FILE": str(tmp_path / "config"), **variables}
        if "AWS_PROFILE" in variables:
            settings = {key: text for key, text in settings.items() if "KEY" not in key}
        ran = Toolkit(tmp_path / "home", settings).run("images.list", "--cloud", "aws")
        assert ran.code == code and told in ran.err and "hint: " in ran.err, ran.err
        assert "Traceback" not in ran.err


def test_an_answer_that_is_none_of_awss_is_temporary(ec2: Ec2, toolkit: Toolkit) -> None:
    ec2.fails("DescribeImages", "NoAnswer", 502, times=30)
    ran = toolkit.run("images.list", "--cloud", "aws")
    assert ran.code == 5 and "AWS does not answer" in ran.err
    assert ran.out == ""  # nobody knows whether there are builds


class TestThePolicy:
    """The fake refuses whatever the policy does not allow, so all other tests hold it against our calls."""

    def test_allows_what_packer_says_that_it_needs(self) -> None:
        # "IAM Task or Instance Role" in the documentation of packer's plugin amazon; the last line is what it
        # names besides, for who sets a subnet or none.
        wanted = """
            AttachVolume AuthorizeSecurityGroupIngress CopyImage CreateImage CreateKeyPair CreateSecurityGroup
            CreateSnapshot CreateTags CreateVolume DeleteKeyPair DeleteSecurityGroup DeleteSnapshot DeleteVolume
            DeregisterImage DescribeImageAttribute DescribeImages DescribeInstances DescribeInstanceStatus
            DescribeRegions DescribeSecurityGroups DescribeSnapshots DescribeSubnets DescribeTags DescribeVolumes
            DetachVolume GetPasswordData ModifyImageAttribute ModifyInstanceAttribute ModifySnapshotAttribute
            RegisterImage RunInstances StopInstances TerminateInstances

            DescribeInstanceTypeOfferings DescribeVpcs
        """
        assert [action for action in wanted.split() if not allowed(f"ec2:{action}")] == []

    def test_allows_nothing_to_be_done_to_people(self) -> None:
        assert not allowed("iam:CreateUser") and not allowed("ec2:CreateVpc") and not allowed("ssm:DeleteParameter")

    def test_is_held_against_every_call(self, ec2: Ec2, toolkit: Toolkit) -> None:
        ec2.denied.add("ec2:DescribeImages")
        ran = toolkit.run(*L0BASE, "--plan")
        assert ran.code == 4 and "AWS does not allow ec2:DescribeImages" in ran.err


class TestPacker:
    def test_judges_what_is_rendered_for_it(self, toolkit: Toolkit) -> None:
        ran = toolkit.run("images.validate", "--cloud", "aws")
        assert ran.code == 0, ran.err


class TestDoctor:
    def test_tells_who_we_are(self, toolkit: Toolkit) -> None:
        rows = {row["name"]: row for row in toolkit.run("doctor", "--cloud", "aws", "--json").json}
        assert rows["aws"]["state"] == "ok" and "arn:aws:" in rows["aws"]["found"]

    def test_names_a_right_that_is_missing(self, ec2: Ec2, toolkit: Toolkit) -> None:
        ec2.fails("CreateSecurityGroup", "UnauthorizedOperation", 403)
        ran = toolkit.run("doctor", "--cloud", "aws", "--json")
        rows = {row["name"]: row for row in ran.json}
        assert ran.code == 1 and rows["aws"]["state"] == "failed"
        assert "ec2:CreateSecurityGroup" in rows["aws"]["found"] and "policies/aws.json" in rows["aws"]["cure"]

    def test_says_that_nobody_is_logged_in(self, toolkit: Toolkit) -> None:
        ran = toolkit.but().run("doctor", "--cloud", "aws", "--json", prefix=("env", "-u", "AWS_ACCESS_KEY_ID"))
        rows = {row["name"]: row for row in ran.json}
        assert "not logged in to AWS" in rows["aws"]["found"] and rows["aws"]["cure"]


def test_an_answer_that_is_lost_starts_no_second_vm(ec2: Ec2, toolkit: Toolkit) -> None:
    client = ec2.client("ec2")
    ec2.guests.boot = lambda *_: None  # type: ignore[method-assign]  # nobody looks into it
    ec2.fails("RunInstances", "InternalError", 500, after=True)
    started = client.run_instances(
        ImageId=ec2.base, MinCount=1, MaxCount=1, InstanceType="t3.small", ClientToken="once"
    )
    rows = client.describe_instances()["Reservations"]
    assert [row["Instances"][0]["InstanceId"] for row in rows] == [started["Instances"][0]["InstanceId"]]
