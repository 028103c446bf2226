"""Runners on EC2: boto3 against a region that keeps its books, with VMs on paper."""

from __future__ import annotations

import base64
import json
import stat
import threading
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from moto.ec2.models.instances import StateReason

from cloud import names, ssh, userdata, wait
from cloud.aws.cloud import AwsCloud
from cloud.aws.session import AwsError
from cloud.base import Cloud, Vm
from cloud.errors import InputError, Interrupted, KitError, NotAllowed, NotFound, TemporaryError
from tests.cloud.aws.conftest import Quick, build_network, opened, order
from tests.fakes import ec2_rules
from tests.fakes.ec2 import Ec2

TYPES = ["m8i.xlarge", "m8i-flex.xlarge", "m5.xlarge", "m5a.xlarge"]
ZONES = ["us-east-2a", "us-east-2b", "us-east-2c"]


@pytest.fixture
def vm(ec2: Ec2, cloud: AwsCloud) -> Vm:
    """One that runs."""
    made = running(cloud, cloud.machines.create(order(ec2)))
    ec2.calls.clear()
    return made


def running(cloud: AwsCloud, vm: Vm) -> Vm:
    seen = [cloud.machines.read(vm) for _ in range(3)]
    assert seen[-1].state == "running"
    return seen[-1]


def asked(region: Ec2, action: str = "RunInstances") -> list[dict[str, str]]:
    return [given for call, given in region.calls if call == f"ec2:{action}"]


def places(region: Ec2) -> list[tuple[str, str]]:
    """Type and zone of each question for a VM."""
    zones = {each["SubnetId"]: each["AvailabilityZone"] for each in region.client("ec2").describe_subnets()["Subnets"]}
    return [(given["InstanceType"], zones[given["NetworkInterface.1.SubnetId"]]) for given in asked(region)]


def told(region: Ec2, vm: Vm) -> dict[str, Any]:
    rows = region.client("ec2").describe_instances(InstanceIds=[vm.id])["Reservations"]
    return dict(rows[0]["Instances"][0])


def tags_of(region: Ec2) -> dict[str, dict[str, str]]:
    """The tags of each thing of each VM."""
    made: dict[str, dict[str, str]] = {}
    for tag in region.client("ec2").describe_tags()["Tags"]:
        if tag["ResourceId"].split("-")[0] in ("i", "vol", "eni"):
            made.setdefault(tag["ResourceId"], {})[tag["Key"]] = tag["Value"]
    return made


class TestAVm:
    def test_is_one_call_with_all_that_it_is(self, ec2: Ec2, cloud: AwsCloud) -> None:
        made = cloud.machines.create(order(ec2, **{names.LABEL: "one"}))
        assert made.state == "starting" and made.name == "ec2-runner-CI-7" and made.size == TYPES[0]
        (given,) = asked(ec2)
        assert given["MetadataOptions.HttpTokens"] == "required"
        assert given["MetadataOptions.HttpPutResponseHopLimit"] == "1"
        assert given["InstanceInitiatedShutdownBehavior"] == "terminate"
        assert given["CpuOptions.NestedVirtualization"] == "enabled"
        assert given["NetworkInterface.1.AssociatePublicIpAddress"] == "true"
        assert given["BlockDeviceMapping.1.Ebs.VolumeSize"] == "32"
        assert given["ClientToken"].startswith("ec2-runner-CI-7-") and len(given["ClientToken"]) <= 64
        assert "IamInstanceProfile.Name" not in given
        assert not any("KeyPair" in action or "KeyName" in given for action in ec2.actions())
        assert [vm.id for vm in cloud.machines.list()] == [made.id]

    def test_has_its_tags_on_everything_from_the_first_call_on(self, ec2: Ec2) -> None:
        cloud = opened(ec2, '[aws.tags]\nteam = "km"\n')
        build_network(ec2, cloud)
        made = cloud.machines.create(order(ec2, **{names.LABEL: "one"}))
        found = tags_of(ec2)
        assert sorted(thing.split("-")[0] for thing in found) == ["eni", "i", "vol"]
        for tags in found.values():
            assert tags == found[made.id]
            assert tags[names.KIND] == "runner" and tags[names.LABEL] == "one" and tags["team"] == "km"
            assert tags["Name"] == "ec2-runner-CI-7" and tags["km-user"] == "kontain" and tags[names.HOST_KEY]
        assert not {"CreateTags", "ModifyInstanceAttribute"} & {action.partition(":")[2] for action in ec2.actions()}

    def test_gets_a_host_key_of_its_own(self, ec2: Ec2, cloud: AwsCloud) -> None:
        made = [cloud.machines.create(order(ec2)) for _ in range(2)]
        data = [base64.b64decode(given["UserData"]).decode() for given in asked(ec2)]
        for vm, text in zip(made, data, strict=True):
            given = json.loads(text.removeprefix("#cloud-config\n"))
            assert given["ssh_keys"]["ed25519_public"].split()[1] == vm.tags[names.HOST_KEY]
            assert "PRIVATE KEY" in given["ssh_keys"]["ed25519_private"]
            assert given["write_files"][0]["path"] == "/etc/told"
            assert given["users"][0]["name"] == "kontain"
        assert made[0].tags[names.HOST_KEY] != made[1].tags[names.HOST_KEY]

    def test_has_nested_virtualisation_where_its_type_offers_it_alone(self, ec2: Ec2, cloud: AwsCloud) -> None:
        cloud.machines.create(order(ec2, "m5.xlarge"))
        assert "CpuOptions.NestedVirtualization" not in asked(ec2)[0]

    def test_has_the_role_of_the_settings_and_then_metadata_that_stay_open(self, ec2: Ec2) -> None:
        ec2.client("iam").create_instance_profile(InstanceProfileName="ours")
        cloud = opened(ec2, role="ours")
        build_network(ec2, cloud)
        vm = running(cloud, cloud.machines.create(order(ec2)))
        assert asked(ec2)[0]["IamInstanceProfile.Name"] == "ours"
        cloud.machines.forget(vm, {})
        assert told(ec2, vm)["MetadataOptions"]["HttpEndpoint"] == "enabled"

    def test_has_a_disk_that_is_never_smaller_than_its_images(self, ec2: Ec2) -> None:
        for disk, wanted in ((8, 15), (77, 77)):  # moto's images have 15 GiB
            cloud = opened(ec2, runner_disk=str(disk))
            if cloud.network.missing():
                build_network(ec2, cloud)
            cloud.machines.create(order(ec2))
            assert asked(ec2)[-1]["BlockDeviceMapping.1.Ebs.VolumeSize"] == str(wanted)

    def test_of_a_user_data_that_is_too_large_is_refused_before_any_call(self, ec2: Ec2, cloud: AwsCloud) -> None:
        wanted = order(ec2)
        large = replace(wanted, user_data={**wanted.user_data, "write_files": [{"content": "x" * 16_000}]})
        with pytest.raises(InputError, match="16384"):
            cloud.machines.create(large)
        assert asked(ec2) == []

    def test_adds_no_more_to_its_user_data_than_there_is_room_for(self, ec2: Ec2, cloud: AwsCloud) -> None:
        wanted = replace(order(ec2), name="ec2-runner-" + "x" * 45)
        cloud.machines.create(wanted)
        (given,) = asked(ec2)
        added = len(base64.b64decode(given["UserData"])) - len(userdata.write(wanted.user_data))
        assert added < userdata._KEYS_OF_OURS and len(given["ClientToken"]) == 63

    def test_of_an_image_that_is_gone_is_not_found(self, ec2: Ec2, cloud: AwsCloud) -> None:
        with pytest.raises(NotFound, match="ami-0123"):
            cloud.machines.create(order(ec2, image="ami-0123456789abcdef0"))

    def test_without_a_network_is_not_found_and_says_how_to_make_one(self, ec2: Ec2, empty: AwsCloud) -> None:
        with pytest.raises(NotFound, match="no network kontain-runners") as refused:
            empty.machines.create(order(ec2))
        assert "runners.setup-network" in refused.value.hint

    @pytest.mark.parametrize("size", ["big", "m5.xlarge,", "m5", "M5.xlarge", "m5.*", "m5.xlage"])
    def test_of_no_type_is_refused(self, ec2: Ec2, cloud: AwsCloud, size: str) -> None:
        with pytest.raises(InputError, match="instance type"):
            cloud.machines.create(order(ec2, size))
        assert asked(ec2) == []

    def test_takes_the_settings_types_that_the_region_has(self, ec2: Ec2) -> None:
        cloud = opened(ec2, runner_types="m99.xlarge,m5.xlarge")
        build_network(ec2, cloud)
        assert cloud.machines.create(order(ec2)).size == "m5.xlarge"
        with pytest.raises(InputError, match=r"m98\.xlarge"):
            opened(ec2, runner_types="m98.xlarge").machines.create(order(ec2))

    def test_leaves_no_key_on_this_machine(
        self, ec2: Ec2, cloud: AwsCloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "tmp").mkdir()
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
        cloud.machines.create(order(ec2))
        assert list((tmp_path / "tmp").iterdir()) == []


class TestRoom:
    @pytest.mark.parametrize(
        "code",
        [
            "InsufficientInstanceCapacity",
            "InsufficientHostCapacity",
            "Unsupported",
            "InsufficientFreeAddressesInSubnet",
            "UnfulfillableCapacity",
        ],
    )
    def test_defect_16_is_looked_for_in_each_zone_then_with_the_next_type(
        self, ec2: Ec2, cloud: AwsCloud, code: str
    ) -> None:
        ec2.fails("RunInstances", code, 500 if code.endswith("Capacity") else 400, times=4)
        made = cloud.machines.create(order(ec2))
        assert places(ec2) == [*((TYPES[0], zone) for zone in ZONES), (TYPES[1], ZONES[0]), (TYPES[1], ZONES[1])]
        assert made.size == TYPES[1] and len(cloud.machines.list()) == 1
        assert len({given["ClientToken"] for given in asked(ec2)}) == 5

    def test_that_is_nowhere_is_temporary_and_names_what_was_tried(self, ec2: Ec2, cloud: AwsCloud) -> None:
        ec2.fails("RunInstances", "InsufficientInstanceCapacity", 500, times=99)
        with pytest.raises(TemporaryError) as refused:
            cloud.machines.create(order(ec2, "m5.xlarge,m4.xlarge"))
        assert places(ec2) == [(size, zone) for size in ("m5.xlarge", "m4.xlarge") for zone in ZONES]
        for size, zone in places(ec2):
            assert f"{size} in {zone} (InsufficientInstanceCapacity)" in refused.value.message
        assert ec2.existing() == []

    def test_of_the_quota_is_there_for_a_smaller_type_where_a_larger_one_is_too_much(
        self, ec2: Ec2, cloud: AwsCloud
    ) -> None:
        ec2.vcpus = 5
        assert cloud.machines.create(order(ec2, "m5.2xlarge,m5.xlarge")).size == "m5.xlarge"
        assert places(ec2) == [("m5.2xlarge", ZONES[0]), ("m5.xlarge", ZONES[0])]  # no zone has another quota

    def test_that_the_quota_has_for_no_type_is_told_in_ec2s_words(self, ec2: Ec2, cloud: AwsCloud) -> None:
        ec2.vcpus = 7
        cloud.machines.create(order(ec2))
        ec2.calls.clear()
        with pytest.raises(KitError, match="VcpuLimitExceeded") as refused:
            cloud.machines.create(order(ec2))
        assert not isinstance(refused.value, TemporaryError) and "Service Quotas" in refused.value.hint
        assert places(ec2) == [(size, ZONES[0]) for size in TYPES]

    def test_that_is_nowhere_for_one_type_and_in_no_quota_for_another_is_temporary_and_names_both(
        self, ec2: Ec2, cloud: AwsCloud
    ) -> None:
        ec2.vcpus = 5
        ec2.fails("RunInstances", "InsufficientInstanceCapacity", 500, times=3)
        with pytest.raises(TemporaryError) as refused:
            cloud.machines.create(order(ec2, "m5.xlarge,m5.2xlarge"))
        assert all(f"m5.xlarge in {zone} (Insuff" in refused.value.message for zone in ZONES)
        assert "m5.2xlarge (quota: VcpuLimitExceeded)" in refused.value.message and ec2.existing() == []

    @pytest.mark.parametrize(
        ("code", "kind"), [("InvalidParameterValue", AwsError), ("UnauthorizedOperation", NotAllowed)]
    )
    def test_is_not_looked_for_after_any_other_refusal(
        self, ec2: Ec2, cloud: AwsCloud, code: str, kind: type[KitError]
    ) -> None:
        ec2.fails("RunInstances", code, 403, times=99)
        with pytest.raises(kind, match=code):
            cloud.machines.create(order(ec2))
        assert len(asked(ec2)) == 1 and ec2.existing() == []

    def test_is_waited_for_while_ec2_is_asked_too_much(self, ec2: Ec2, cloud: AwsCloud, clock: Quick) -> None:
        ec2.fails("RunInstances", "RequestLimitExceeded", 503, times=5)
        cloud.machines.create(order(ec2))
        assert len(asked(ec2)) == 6 and len({given["ClientToken"] for given in asked(ec2)}) == 1
        assert 30 < clock.slept < 120

    def test_is_not_waited_for_without_end(self, ec2: Ec2, cloud: AwsCloud) -> None:
        ec2.fails("RunInstances", "RequestLimitExceeded", 503, times=99)
        with pytest.raises(TemporaryError, match="RequestLimitExceeded"):
            cloud.machines.create(order(ec2))
        assert ec2.existing() == []


LOST = [("InternalError", 500), ("NoAnswer", 502)]


class TestAnAnswer:
    @pytest.mark.parametrize(("code", "status"), LOST)
    def test_that_is_lost_is_asked_for_again_with_the_same_token(
        self, ec2: Ec2, cloud: AwsCloud, code: str, status: int
    ) -> None:
        ec2.fails("RunInstances", code, status, after=True)
        made = cloud.machines.create(order(ec2))
        first, again = (given["ClientToken"] for given in asked(ec2))
        assert first == again and [vm.id for vm in cloud.machines.list()] == [made.id]

    @pytest.mark.parametrize(("code", "status"), LOST)
    def test_that_never_comes_leaves_no_vm(self, ec2: Ec2, cloud: AwsCloud, code: str, status: int) -> None:
        ec2.fails("RunInstances", code, status, times=2, after=True)
        with pytest.raises(TemporaryError):
            cloud.machines.create(order(ec2))
        assert len(asked(ec2)) == 2 and len(asked(ec2, "TerminateInstances")) == 1
        assert ec2.existing() == [] and cloud.machines.list() == []

    def test_that_is_interrupted_leaves_no_vm(self, ec2: Ec2, cloud: AwsCloud, clock: Quick) -> None:
        ec2.fails("RunInstances", "InternalError", 500, after=True)
        clock.sleep = lambda seconds: wait.interrupt()  # type: ignore[method-assign]  # of this test
        with pytest.raises(Interrupted):
            cloud.machines.create(order(ec2))
        assert ec2.existing() == []

    @pytest.mark.parametrize("kind", ["reset", "lost"])
    def test_whose_line_is_cut_starts_one_vm(self, ec2: Ec2, cloud: AwsCloud, kind: str) -> None:
        cloud.machines.list()
        ec2.fails_at(5, kind)  # after three looks side by side, and the network's second
        made = cloud.machines.create(order(ec2))
        assert [vm.id for vm in cloud.machines.list()] == [made.id]
        assert len(asked(ec2)) == 2


def test_one_that_died_at_its_launch_tells_why(ec2: Ec2, cloud: AwsCloud) -> None:
    ec2.dies = ("Server.InsufficientInstanceCapacity", "Insufficient capacity to satisfy instance request")
    vm = cloud.machines.create(order(ec2))
    now = cloud.machines.read(vm)
    assert now.state == "gone" and now.tags[names.KIND] == "runner"
    assert now.reason == "Server.InsufficientInstanceCapacity: Insufficient capacity to satisfy instance request"
    assert cloud.machines.list() == []


def test_one_that_ends_itself_leaves_nothing_and_says_so_on_its_console(ec2: Ec2, cloud: AwsCloud, vm: Vm) -> None:
    ec2.powers_off(vm.id)
    now = cloud.machines.read(vm)
    assert now.state == "gone" and now.reason == ""
    assert ec2.existing() == []


def test_one_that_ec2_does_not_know_yet_is_waited_for(ec2: Ec2, cloud: AwsCloud) -> None:
    vm = cloud.machines.create(order(ec2))
    ec2.fails("DescribeInstances", "InvalidInstanceID.NotFound")
    assert cloud.machines.read(vm) == vm
    for action, act in (
        ("CreateTags", lambda: cloud.machines.tag(vm, {"a": "b"})),
        ("ModifyInstanceMetadataOptions", lambda: cloud.machines.forget(vm, {})),
        ("TerminateInstances", lambda: cloud.machines.erase(vm)),
    ):
        ec2.fails(action, "InvalidInstanceID.NotFound", times=2)
        act()
    assert ec2.existing() == []


class TestAList:
    def test_has_ours_alone_the_newest_first(self, ec2: Ec2, cloud: AwsCloud) -> None:
        ours = [cloud.machines.create(order(ec2)) for _ in range(3)]
        for kind in ("proof", "build", "network"):
            cloud.machines.create(replace(order(ec2), tags={names.KIND: kind}))
        ec2.client("ec2").run_instances(ImageId=ec2.base, MinCount=1, MaxCount=1, InstanceType="t3.small")
        listed = cloud.machines.list()
        assert {vm.id for vm in listed} == {vm.id for vm in ours}
        assert [(vm.created, vm.id) for vm in listed] == sorted(((vm.created, vm.id) for vm in listed), reverse=True)

    def test_of_several_pages_is_whole(self, ec2: Ec2, cloud: AwsCloud) -> None:
        ours = {cloud.machines.create(order(ec2)).id for _ in range(7)}
        ec2.page = 2
        assert {vm.id for vm in cloud.machines.list()} == ours
        assert len(cloud.network.place().subnets) == 3 and cloud.network.missing() == []
        assert next(iter(cloud.quotas(""))).used == 28

    def test_tells_each_state(self, ec2: Ec2, cloud: AwsCloud) -> None:
        ec2.lag = 2
        vm = cloud.machines.create(order(ec2))
        assert [cloud.machines.list()[0].state for _ in range(3)] == ["starting", "starting", "running"]
        ec2.client("ec2").stop_instances(InstanceIds=[vm.id])
        assert [cloud.machines.list()[0].state for _ in range(3)] == ["stopping", "stopping", "stopped"]
        cloud.machines.erase(vm)
        assert cloud.machines.list() == [] and cloud.machines.read(vm).state == "gone"

    def test_tells_since_when_it_is_there_and_not_since_its_last_start(self, ec2: Ec2, cloud: AwsCloud, vm: Vm) -> None:
        ec2_rules.instance(vm.id).launch_time = "2035-01-01T00:00:00.000Z"
        assert cloud.machines.read(vm).created == vm.created

    def test_of_strangers_has_the_action_befores_without_a_tag(self, ec2: Ec2, cloud: AwsCloud, vm: Vm) -> None:
        client = ec2.client("ec2")
        for name in ("ec2-runner-CI-3", "somebody", "my-ec2-runner-CI-3"):
            made = client.run_instances(ImageId=ec2.base, MinCount=1, MaxCount=1, InstanceType="t3.small")
            ec2.mark(made["Instances"][0]["InstanceId"], Name=name)
        assert [each.name for each in cloud.machines.strangers()] == ["ec2-runner-CI-3"]
        assert [each.id for each in cloud.machines.list()] == [vm.id]


class TestTags:
    def test_are_set_and_removed(self, cloud: AwsCloud, vm: Vm) -> None:
        assert cloud.machines.tag(vm, {names.KEPT: "why", names.JOB: "j"}).tags[names.KEPT] == "why"
        now = cloud.machines.tag(vm, {names.KEPT: None, names.JOB: "k"})
        assert now == cloud.machines.read(vm)
        assert names.KEPT not in now.tags and now.tags[names.JOB] == "k" and now.tags[names.KIND] == "runner"

    def test_of_one_that_is_gone_are_not_found(self, cloud: AwsCloud, vm: Vm, clock: Quick) -> None:
        cloud.machines.erase(vm)
        with pytest.raises(NotFound, match=vm.id):
            cloud.machines.tag(vm, {names.KEPT: "why"})
        never = replace(vm, id="i-0123456789abcdef0", created=vm.created - timedelta(hours=1))
        with pytest.raises(NotFound, match="i-0123"):
            cloud.machines.tag(never, {"a": "b"})
        with pytest.raises(NotFound, match="i-0123"):
            cloud.machines.read(never)

    def test_are_no_longer_than_ec2_takes(self, cloud: AwsCloud, vm: Vm) -> None:
        with pytest.raises(AwsError, match="InvalidParameterValue"):
            cloud.machines.tag(vm, {names.KEPT: "x" * 257})


def test_what_it_was_told_nobody_reads_any_more(ec2: Ec2, cloud: AwsCloud, vm: Vm) -> None:
    cloud.machines.forget(vm, userdata.login("kontain", []))
    options = told(ec2, vm)["MetadataOptions"]
    assert (options["HttpEndpoint"], options["HttpTokens"]) == ("disabled", "required")


class TestAStop:
    def test_keeps_the_disk_and_lets_nobody_end_it_from_inside(self, ec2: Ec2, cloud: AwsCloud, vm: Vm) -> None:
        cloud.machines.reach(vm)
        assert cloud.machines.stop(vm) is True
        (stopped,) = cloud.machines.list()
        assert (stopped.state, stopped.address, stopped.reason) == ("stopped", "", "")
        calls = [action for action in ec2.actions() if action in ("ec2:ModifyInstanceAttribute", "ec2:StopInstances")]
        assert calls[-2:] == ["ec2:ModifyInstanceAttribute", "ec2:StopInstances"]
        assert asked(ec2, "StopInstances")[0].get("Force") != "true"
        assert not any(each.startswith("sg-") for each in ec2.existing())
        cloud.machines.resume(vm)
        ec2.powers_off(vm.id)
        assert cloud.machines.read(vm).state == "stopped"
        assert [each.split("-")[0] for each in ec2.existing()] == ["eni", "i", "vol"]

    def test_again_is_no_harm_and_nor_is_one_of_what_is_gone(self, ec2: Ec2, cloud: AwsCloud, vm: Vm) -> None:
        assert cloud.machines.stop(vm) and cloud.machines.stop(vm) and cloud.machines.stop(vm, force=True)
        assert len(asked(ec2, "StopInstances")) == 1
        cloud.machines.erase(vm)
        assert cloud.machines.stop(vm)

    def test_by_force_does_not_wait_for_the_guest(self, ec2: Ec2, cloud: AwsCloud, vm: Vm) -> None:
        assert cloud.machines.stop(vm, force=True) is False
        assert asked(ec2, "StopInstances")[0]["Force"] == "true"
        assert cloud.machines.read(vm).state == "stopped"

    def test_of_one_that_does_not_listen_switches_it_off(
        self, ec2: Ec2, cloud: AwsCloud, vm: Vm, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("cloud.aws.fleet._STOPPED", 5.0)
        ec2.lag = 20
        assert cloud.machines.stop(vm) is False
        assert [given.get("Force") for given in asked(ec2, "StopInstances")] == ["false", "true"]
        assert cloud.machines.read(vm).state == "stopped"

    def test_of_one_that_is_just_starting_waits_until_it_can_be_stopped(self, ec2: Ec2, cloud: AwsCloud) -> None:
        ec2.lag = 3
        vm = cloud.machines.create(order(ec2))
        assert cloud.machines.stop(vm)
        assert cloud.machines.read(vm).state == "stopped" and len(asked(ec2, "StopInstances")) == 1

    def test_that_is_interrupted_has_been_ordered(self, ec2: Ec2, cloud: AwsCloud, vm: Vm, clock: Quick) -> None:
        ec2.lag = 9
        clock.sleep = lambda seconds: wait.interrupt()  # type: ignore[method-assign]  # of this test
        with pytest.raises(Interrupted):
            cloud.machines.stop(vm)
        assert len(asked(ec2, "StopInstances")) == 1
        assert cloud.machines.stop(vm, force=True) is False  # takes a second, and does not raise

    def test_goes_on_when_its_door_can_not_be_shut(self, ec2: Ec2, cloud: AwsCloud, vm: Vm) -> None:
        cloud.machines.reach(vm)
        ec2.denied.add("ec2:DeleteSecurityGroup")
        with pytest.raises(NotAllowed, match="ec2:DeleteSecurityGroup"):
            cloud.machines.stop(vm)
        assert cloud.machines.read(vm).state == "stopped"

    def test_of_one_that_ends_under_our_hands_is_one_of_what_is_gone(
        self, ec2: Ec2, cloud: AwsCloud, vm: Vm, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        session, call = cloud.machines._session, cloud.machines._session.call

        def ends_first(service: str, operation: str, **arguments: Any) -> dict[str, Any]:
            if operation == "stop_instances":
                ec2.client("ec2").terminate_instances(InstanceIds=[vm.id])
            return call(service, operation, **arguments)

        monkeypatch.setattr(session, "call", ends_first)
        assert cloud.machines.stop(vm) is True


class TestAResume:
    def test_runs_the_same_disk_at_another_address(self, ec2: Ec2, cloud: AwsCloud, vm: Vm) -> None:
        cloud.machines.stop(vm)
        again = cloud.machines.resume(vm)
        assert (again.state, again.id) == ("running", vm.id) and again.address
        assert cloud.machines.resume(vm).address == again.address
        assert len(asked(ec2, "StartInstances")) == 1

    def test_of_one_that_is_still_stopping_waits_for_that(self, ec2: Ec2, cloud: AwsCloud, vm: Vm) -> None:
        ec2.lag = 3
        ec2.client("ec2").stop_instances(InstanceIds=[vm.id])
        assert cloud.machines.resume(vm).state == "running"

    def test_of_one_that_somebody_else_stopped_keeps_it_as_well(self, ec2: Ec2, cloud: AwsCloud, vm: Vm) -> None:
        ec2.client("ec2").stop_instances(InstanceIds=[vm.id])
        cloud.machines.resume(vm)
        ec2.powers_off(vm.id)
        assert cloud.machines.read(vm).state == "stopped"

    def test_of_one_that_is_gone_is_not_found(self, cloud: AwsCloud, vm: Vm) -> None:
        cloud.machines.erase(vm)
        with pytest.raises(NotFound, match=vm.id):
            cloud.machines.resume(vm)

    def test_that_ec2_takes_back_tells_why(
        self, ec2: Ec2, cloud: AwsCloud, vm: Vm, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        cloud.machines.stop(vm)
        old, new = (f"Server.{word}: it said" for word in ("ScheduledStop", "InsufficientInstanceCapacity"))
        ec2_rules.instance(vm.id).state_reason = StateReason(old, "Server.ScheduledStop")
        start = ec2_rules.instance(vm.id).start

        def fails() -> Any:
            done = start()
            ec2_rules.instance(vm.id).stop()
            ec2_rules.instance(vm.id).state_reason = StateReason(new, "Server.InsufficientInstanceCapacity")
            return done

        monkeypatch.setattr(ec2_rules.instance(vm.id), "start", fails)
        with pytest.raises(TemporaryError, match=new):
            cloud.machines.resume(vm)

    def test_without_room_is_temporary(self, ec2: Ec2, cloud: AwsCloud, vm: Vm) -> None:
        cloud.machines.stop(vm)
        ec2.fails("StartInstances", "InsufficientInstanceCapacity", 500, times=9)
        with pytest.raises(TemporaryError, match="InsufficientInstanceCapacity"):
            cloud.machines.resume(vm)


def rules(region: Ec2) -> list[tuple[int, list[str]]]:
    """Port and addresses of each rule that lets somebody in, of all groups of runners."""
    groups = region.client("ec2").describe_security_groups()["SecurityGroups"]
    found = [rule for group in groups for rule in group["IpPermissions"] if group["GroupName"] != "default"]
    return [
        (
            rule["FromPort"],
            [each.get("CidrIp") or each["CidrIpv6"] for each in [*rule["IpRanges"], *rule["Ipv6Ranges"]]],
        )
        for rule in found
    ]


class TestAWayIn:
    def test_defect_11_is_shut_until_somebody_wants_in(self, ec2: Ec2, cloud: AwsCloud, vm: Vm) -> None:
        assert rules(ec2) == []

    def test_defect_11_is_open_for_our_address_alone_and_by_the_key_of_its_tag(
        self, ec2: Ec2, cloud: AwsCloud, vm: Vm
    ) -> None:
        ssh.make_key(Path.home() / ".ssh-key", "not there")
        (Path.home() / ".ssh").mkdir()
        ssh.make_key(Path.home() / ".ssh/id_ours", "me")
        (Path.home() / ".ssh/config").touch()
        machine = cloud.machines.reach(vm)
        assert rules(ec2) == [(9, ["127.0.0.1/32"])]
        assert machine.keys == (Path.home() / ".ssh/id_ours",)
        assert (machine.user, machine.address, machine.port) == ("kontain", "127.0.0.1", 9)
        assert machine.known_hosts.read_text() == f"[127.0.0.1]:9 ssh-ed25519 {vm.tags[names.HOST_KEY]}\n"
        assert stat.S_IMODE(machine.known_hosts.stat().st_mode) == 0o600
        assert stat.S_IMODE(machine.known_hosts.parent.stat().st_mode) == 0o700
        assert machine.known_hosts.is_relative_to(Path.home() / ".cache/kontain/known_hosts")

    def test_twice_is_once(self, ec2: Ec2, cloud: AwsCloud, vm: Vm) -> None:
        cloud.machines.reach(vm)
        ec2.calls.clear()
        cloud.machines.reach(vm)
        assert ec2.actions() == ["ec2:DescribeInstances", "ec2:DescribeSecurityGroups"]

    @pytest.mark.parametrize("address", ["192.0.2.7/32", "2001:db8::7/128"])
    def test_is_ours_again_from_another_address_and_no_more_the_one_befores(
        self, ec2: Ec2, cloud: AwsCloud, vm: Vm, address: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        cloud.machines.reach(vm)
        monkeypatch.setattr("cloud.caller.cidr", lambda us: address)
        cloud.machines.reach(vm)
        assert rules(ec2) == [(9, [address])]

    def test_is_that_vms_and_no_others(self, ec2: Ec2, cloud: AwsCloud, vm: Vm) -> None:
        other = running(cloud, cloud.machines.create(order(ec2)))
        cloud.machines.reach(vm)
        groups = {each.id: told(ec2, each)["NetworkInterfaces"][0]["Groups"] for each in (vm, other)}
        assert (len(groups[vm.id]), len(groups[other.id])) == (2, 1)
        cloud.machines.reach(other)
        cloud.machines.erase(cloud.machines.read(other))
        assert rules(ec2) == [(9, ["127.0.0.1/32"])]
        assert len(told(ec2, vm)["NetworkInterfaces"][0]["Groups"]) == 2

    def test_that_two_open_at_once_is_one(self, ec2: Ec2, cloud: AwsCloud, vm: Vm) -> None:
        ec2.fails("CreateSecurityGroup", "InternalError", 500, after=True)
        ec2.fails("AuthorizeSecurityGroupIngress", "InternalError", 500, after=True)
        cloud.machines.reach(vm)  # boto3 asks again by itself, and hears that it is there
        assert rules(ec2) == [(9, ["127.0.0.1/32"])]

    def test_of_one_whose_key_nobody_knows_is_refused(self, ec2: Ec2, cloud: AwsCloud, vm: Vm) -> None:
        with_none = cloud.machines.tag(vm, {names.HOST_KEY: None})
        with pytest.raises(InputError, match=names.HOST_KEY):
            cloud.machines.reach(with_none)
        assert rules(ec2) == []

    def test_of_one_that_just_starts_is_open_as_soon_as_it_has_an_address(self, ec2: Ec2, cloud: AwsCloud) -> None:
        ec2.lag = 3
        vm = cloud.machines.create(order(ec2))
        assert vm.address == "" and cloud.machines.reach(vm).address == "127.0.0.1"
        ec2.fails("DescribeInstances", "InvalidInstanceID.NotFound", times=2)  # one is asked once more each time
        assert cloud.machines.reach(vm).address == "127.0.0.1"

    def test_of_a_group_that_ec2_does_not_know_yet_is_waited_for(self, ec2: Ec2, cloud: AwsCloud, vm: Vm) -> None:
        ec2.fails("AuthorizeSecurityGroupIngress", "InvalidGroup.NotFound", times=2)
        ec2.fails("ModifyInstanceAttribute", "InvalidGroup.NotFound", times=2)
        cloud.machines.reach(vm)
        assert rules(ec2) == [(9, ["127.0.0.1/32"])]

    def test_of_one_that_does_not_run_is_not_found(self, ec2: Ec2, cloud: AwsCloud, vm: Vm) -> None:
        cloud.machines.stop(vm)
        with pytest.raises(NotFound, match="stopped"):
            cloud.machines.reach(vm)
        assert rules(ec2) == []


class TestAConsole:
    def test_is_all_that_it_printed(self, ec2: Ec2, cloud: AwsCloud, vm: Vm, monkeypatch: pytest.MonkeyPatch) -> None:
        assert cloud.machines.boot_log(vm) == ""
        monkeypatch.setattr(ec2.guests, "console", lambda name: "booting\nkontain: failed: é\n")
        assert cloud.machines.boot_log(vm) == "booting\nkontain: failed: é\n"
        assert asked(ec2, "GetConsoleOutput")[-1]["Latest"] == "true"

    def test_of_an_old_type_is_what_ec2_has(self, ec2: Ec2, cloud: AwsCloud, vm: Vm) -> None:
        ec2.fails("GetConsoleOutput", "UnsupportedOperation")
        assert cloud.machines.boot_log(vm) == ""
        assert "Latest" not in asked(ec2, "GetConsoleOutput")[-1]

    def test_of_one_that_nobody_knows_is_empty(self, cloud: AwsCloud, vm: Vm) -> None:
        assert cloud.machines.boot_log(replace(vm, id="i-0123456789abcdef0")) == ""


class TestAnEnd:
    @pytest.mark.parametrize("state", ["starting", "running", "stopping", "stopped"])
    def test_comes_in_any_state_and_leaves_nothing(self, ec2: Ec2, cloud: AwsCloud, state: str) -> None:
        vm = cloud.machines.create(order(ec2))
        if state != "starting":
            running(cloud, vm)
            cloud.machines.reach(vm)
        ec2.lag = 3
        if state in ("stopping", "stopped"):
            ec2.client("ec2").stop_instances(InstanceIds=[vm.id])
        while cloud.machines.read(vm).state != state:
            pass
        cloud.machines.erase(cloud.machines.read(vm))
        assert cloud.machines.list() == [] and ec2.existing() == [] and cloud.machines.halves() == []
        assert not list((Path.home() / ".cache/kontain/known_hosts").glob("*"))

    def test_again_is_no_harm(self, cloud: AwsCloud, vm: Vm) -> None:
        cloud.machines.erase(vm)
        cloud.machines.erase(vm)
        cloud.machines.erase(replace(vm, id="i-0123456789abcdef0", created=vm.created - timedelta(hours=1)))

    def test_of_one_that_never_had_a_door_asks_for_none(self, ec2: Ec2, cloud: AwsCloud, vm: Vm) -> None:
        began = len(ec2.calls)
        cloud.machines.erase(vm)
        assert [call for call, _ in ec2.calls[began:]] == ["ec2:TerminateInstances"]

    def test_of_one_for_which_somebody_else_made_a_door_since_leaves_that_to_the_reaper(
        self, ec2: Ec2, cloud: AwsCloud, vm: Vm
    ) -> None:
        opened(ec2).machines.reach(vm)
        cloud.machines.erase(vm)
        for _ in range(3):  # it ends in a look or two
            for door in cloud.machines.halves():
                cloud.machines.remove(door)
        assert ec2.existing() == []

    def test_comes_though_its_door_can_not_be_shut(self, ec2: Ec2, cloud: AwsCloud, vm: Vm) -> None:
        cloud.machines.reach(vm)
        known = cloud.machines.read(vm)
        ec2.denied.add("ec2:DescribeSecurityGroups")
        cloud.machines.erase(known)
        assert cloud.machines.list() == []

    def test_of_a_proof_and_of_a_runner_do_not_meet(self, ec2: Ec2, cloud: AwsCloud, vm: Vm) -> None:
        assert cloud.images.leftovers() == []


def test_two_who_stop_and_end_it_at_once_do_not_meet(ec2: Ec2, cloud: AwsCloud, vm: Vm) -> None:
    cloud.machines.reach(vm)
    known = cloud.machines.read(vm)
    problems: list[BaseException] = []

    def act(verb: str) -> None:
        try:
            getattr(opened(ec2).machines, verb)(known)
        except BaseException as problem:  # noqa: BLE001  # told below
            problems.append(problem)

    threads = [threading.Thread(target=act, args=(verb,)) for verb in ("stop", "erase", "stop", "erase")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    for _ in range(3):  # a door is a half once its VM has ended, and that takes a look or two
        for half in cloud.machines.halves():
            cloud.machines.remove(half)
    assert ec2.existing() == []


class TestAHalf:
    def test_is_the_door_of_a_vm_that_is_gone(self, ec2: Ec2, cloud: AwsCloud, vm: Vm) -> None:
        cloud.machines.reach(vm)
        assert cloud.machines.halves() == []
        ec2.client("ec2").terminate_instances(InstanceIds=[vm.id])
        (half,) = cloud.machines.halves()
        assert half.id.startswith("sg-") and "way in" in half.what
        cloud.machines.remove(half)
        cloud.machines.remove(half)  # gone already
        assert cloud.machines.halves() == [] and ec2.existing() == []

    def disk(self, region: Ec2, **tags: str) -> str:
        made = str(region.client("ec2").create_volume(AvailabilityZone="us-east-2a", Size=8)["VolumeId"])
        region.mark(made, **{names.KIND: "runner", names.HOST_KEY: "gone", **tags})
        return made

    def test_is_a_disk_of_a_vm_that_is_gone_once_no_start_can_need_it(
        self, ec2: Ec2, cloud: AwsCloud, clock: Quick
    ) -> None:
        made = self.disk(ec2)
        self.disk(ec2, **{names.KIND: "another"})
        assert cloud.machines.halves() == []
        clock.slept += 3600
        (half,) = cloud.machines.halves()
        assert half.id == made
        cloud.machines.remove(half)
        cloud.machines.remove(half)
        assert cloud.machines.halves() == []

    def test_is_no_disk_that_somebody_took_out_of_a_kept_vm(
        self, ec2: Ec2, cloud: AwsCloud, clock: Quick, vm: Vm
    ) -> None:
        self.disk(ec2, **{names.HOST_KEY: vm.tags[names.HOST_KEY]})
        clock.slept += 3600
        assert cloud.machines.halves() == []

    def test_is_a_card_of_a_vm_that_is_gone_once_its_time_is_over(
        self, ec2: Ec2, cloud: AwsCloud, clock: Quick
    ) -> None:
        subnet = next(iter(cloud.network.place().subnets.values()))
        card = ec2.client("ec2").create_network_interface(SubnetId=subnet)["NetworkInterface"]["NetworkInterfaceId"]
        ends = names.moment(wait.clock.now() + timedelta(hours=1))
        ec2.mark(card, **{names.KIND: "runner", names.HOST_KEY: "gone", names.EXPIRES: ends})
        assert cloud.machines.halves() == []
        clock.slept += 7200
        (half,) = cloud.machines.halves()
        assert half.id == card
        cloud.machines.remove(half)
        cloud.machines.remove(half)
        assert cloud.machines.halves() == []


def test_aws_is_a_cloud_for_runners(cloud: AwsCloud) -> None:
    runs: Cloud = cloud  # the type checker's to say
    assert (runs.name, runs.machines.pause) == ("aws", 1.0)
