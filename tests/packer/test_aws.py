"""L0BaseImage on AWS: the real packer and boto3, a fake EC2, VMs that run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from cloud import names, wait
from tests.fakes.ec2 import Ec2, allowed
from tests.packer.shipped import Ends, Failures, is_as_it_was
from tests.toolkit import ROOT, Ran, Toolkit

L0BASE = ("images.l0base", "--cloud", "aws")
MICRO = {"KM_IMAGES__DEFINITION": str(ROOT / "tests/definitions/micro.toml")}


@pytest.fixture
def ec2(disk: Path, tmp_path: Path) -> Iterator[Ec2]:
    """A region with nothing in it but Canonical's image."""
    with Ec2(tmp_path / "ec2", disk) as region:
        yield region


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
        return [
            *self.vms(),
            *(group["GroupId"] for group in groups if group["GroupName"] != "default"),
            *(ami["ImageId"] for ami in amis if ami["ImageId"] != self.ami),
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
    ec2.calls.clear()
    return Shipped(ec2, toolkit, ami)


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
    made: dict[str, dict[str, str]]
    """The tags of everything that there was at its end or before."""
    announced: str


@pytest.fixture(scope="module")
def built(disk: Path, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """One build, proof and promotion in an empty region."""
    folder = tmp_path_factory.mktemp("built")
    with Ec2(folder / "ec2", disk) as region:
        toolkit = Toolkit(folder / "home", {**MICRO, **region.variables})
        ran = toolkit.run(*L0BASE, "--json")
        assert ran.code == 0, f"{ran.err}\n{toolkit.log()}"
        calls = list(region.calls)
        region.calls.clear()
        again = toolkit.run(*L0BASE)
        calls_again = region.actions()
        tags = region.client("ec2").describe_tags()["Tags"]
        made: dict[str, dict[str, str]] = {}
        for tag in tags:
            made.setdefault(tag["ResourceId"], {})[tag["Key"]] = tag["Value"]
        parameter = region.client("ssm").get_parameter(Name="/kontain/images/MicroImage")
        return Built(ran.json[0], calls, again, calls_again, toolkit.log(), made, parameter["Parameter"]["Value"])


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

    def test_shows_no_secret(self, built: Built) -> None:
        assert "canary-secret" not in built.log and "PRIVATE KEY" not in built.log


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
        assert [each for each in shipped.left() if each != taken] == []
        shipped.current_is_what_it_was()


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


def test_an_answer_that_is_none_of_awss_is_temporary(ec2: Ec2, toolkit: Toolkit) -> None:
    ec2.fails("DescribeImages", "NoAnswer", 502, times=30)
    ran = toolkit.run("images.list", "--cloud", "aws")
    assert ran.code == 5 and "AWS does not answer" in ran.err
    assert ran.out == ""  # nobody knows whether there are builds


class TestThePolicy:
    """The fake refuses whatever the policy does not allow, so all other tests hold it against our calls."""

    def test_allows_what_packer_says_that_it_needs(self) -> None:
        # "IAM Task or Instance Role" in the documentation of packer's plugin amazon.
        wanted = """
            AttachVolume AuthorizeSecurityGroupIngress CopyImage CreateImage CreateKeyPair CreateSecurityGroup
            CreateSnapshot CreateTags CreateVolume DeleteKeyPair DeleteSecurityGroup DeleteSnapshot DeleteVolume
            DeregisterImage DescribeImageAttribute DescribeImages DescribeInstances DescribeInstanceStatus
            DescribeRegions DescribeSecurityGroups DescribeSnapshots DescribeSubnets DescribeTags DescribeVolumes
            DetachVolume GetPasswordData ModifyImageAttribute ModifyInstanceAttribute ModifySnapshotAttribute
            RegisterImage RunInstances StopInstances TerminateInstances
        """
        assert [action for action in wanted.split() if not allowed(f"ec2:{action}")] == []

    def test_allows_nothing_to_be_done_to_people(self) -> None:
        assert not allowed("iam:CreateUser") and not allowed("ec2:CreateVpc") and not allowed("ssm:DeleteParameter")

    def test_is_held_against_every_call(self, ec2: Ec2, toolkit: Toolkit, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("tests.fakes.ec2.allowed", lambda call: call != "ec2:DescribeImages")
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
