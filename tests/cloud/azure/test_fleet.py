"""Runners on Azure: its own SDK against a subscription that keeps its books, with VMs on paper."""

from __future__ import annotations

import base64
import dataclasses
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml

from cloud import names, ssh, wait
from cloud.azure.cloud import AzureCloud
from cloud.base import Vm
from cloud.errors import InputError, Interrupted, KitError, NotAllowed, NotFound, TemporaryError
from cloud.progress import Silent
from tests.cloud.azure.conftest import RETRIED, RUNNERS, image, left, opened, order, writes
from tests.fakes.arm import GROUP, Arm

pytestmark = RETRIED

VM_WRITE = "Microsoft.Compute/virtualMachines/write"
RULE_WRITE = "Microsoft.Network/networkSecurityGroups/securityRules/write"
D4, D4D, V4, V3 = "Standard_D4s_v5", "Standard_D4ds_v5", "Standard_D4s_v4", "Standard_D4s_v3"


def body(arm: Arm) -> dict[str, Any]:
    """What the first VM was asked for with."""
    return next(dict(given) for action, given in arm.calls if action == VM_WRITE)


def tried(arm: Arm) -> list[tuple[str, str]]:
    """Sizes and zones that were tried, in order."""
    asked = [given for action, given in arm.calls if action == VM_WRITE]
    return [(each["properties"]["hardwareProfile"]["vmSize"], *each.get("zones", [""])) for each in asked]


@pytest.fixture
def vm(arm: Arm, cloud: AzureCloud) -> Vm:
    made = cloud.machines.create(order(arm, **{names.LABEL: "one"}))
    arm.calls.clear()
    return made


class TestACreate:
    def test_is_one_call_with_an_address_and_a_disk_that_end_with_the_vm(self, arm: Arm, cloud: AzureCloud) -> None:
        vm = cloud.machines.create(order(arm))
        assert writes(arm) == [VM_WRITE]
        told = body(arm)["properties"]
        (interface,) = told["networkProfile"]["networkInterfaceConfigurations"]
        (way,) = interface["properties"]["ipConfigurations"]
        address = way["properties"]["publicIPAddressConfiguration"]
        assert interface["properties"]["deleteOption"] == address["properties"]["deleteOption"] == "Delete"
        disk = told["storageProfile"]["osDisk"]
        assert disk["deleteOption"] == "Delete" and disk["managedDisk"] == {"storageAccountType": "StandardSSD_LRS"}
        assert address["sku"] == {"name": "Standard"}
        assert left(arm) == [f"{vm.id}-disk", vm.id, f"{vm.id}-nic", f"{vm.id}-ip"]

    def test_tags_everything_from_its_one_call_on(self, arm: Arm) -> None:
        cloud = opened(arm, own='[azure]\ntags = { team = "km" }\n')
        prepare(cloud)
        vm = cloud.machines.create(order(arm, **{names.LABEL: "one"}))
        for thing in (arm.things[each.lower()] for each in arm.existing()):
            assert thing["tags"] == vm.tags, thing["id"]
        wanted = {names.KIND: "runner", names.LABEL: "one", "team": "km"}
        assert wanted.items() <= vm.tags.items() and len(vm.tags[names.HOST_KEY]) == 68

    def test_hands_over_user_data_that_can_be_replaced_with_the_host_key_in_it(
        self, arm: Arm, cloud: AzureCloud
    ) -> None:
        vm = cloud.machines.create(order(arm))
        assert "customData" not in body(arm)["properties"]["osProfile"]
        told = yaml.safe_load(arm.user_data(vm.id))
        assert told["write_files"][0]["content"] == "a-token"
        assert told["ssh_keys"]["ed25519_public"].split()[1] == vm.tags[names.HOST_KEY]
        assert told["ssh_keys"]["ed25519_private"].startswith("-----BEGIN OPENSSH PRIVATE KEY-----")

    def test_tells_of_it_as_it_is(self, arm: Arm, cloud: AzureCloud) -> None:
        before = wait.clock.now()
        vm = cloud.machines.create(order(arm))
        assert (vm.cloud, vm.name, vm.state, vm.address, vm.size) == (
            *("azure", "azure-runner-CI-7", "running", "127.0.0.1", D4),
        )
        assert before <= vm.created <= wait.clock.now() and vm.reason == "" and len(vm.id) <= 64
        assert cloud.machines.read(vm) == vm and list(cloud.machines.list()) == [vm]

    def test_follows_the_settings(self, arm: Arm) -> None:
        cloud = opened(arm, runner_disk="64", security_type="Standard", zones="2", runner_sizes=V3)
        prepare(cloud)
        assert cloud.machines.create(order(arm)).size == V3
        told = body(arm)["properties"]
        assert told["storageProfile"]["osDisk"]["diskSizeGB"] == 64 and "securityProfile" not in told
        assert tried(arm) == [(V3, "2")]

    def test_does_not_wait_for_the_agent_in_it(self, arm: Arm, cloud: AzureCloud) -> None:
        arm.lag = 10_000
        assert cloud.machines.create(order(arm)).state == "running"

    def test_with_a_name_that_is_as_long_as_can_be(self, arm: Arm, cloud: AzureCloud) -> None:
        long = dataclasses.replace(order(arm), name="azure-runner-" + "a" * 43)
        assert cloud.machines.create(long).name == long.name


class TestWhereThereIsNoRoom:
    def test_the_sizes_are_tried_in_order(self, arm: Arm, cloud: AzureCloud) -> None:
        arm.fails(VM_WRITE, "SkuNotAvailable", 409, times=2)
        assert cloud.machines.create(order(arm)).size == V4
        assert [size for size, _ in tried(arm)] == [D4, D4D, V4]

    def test_that_shows_later_the_next_size_is_tried_and_the_failed_vm_goes(self, arm: Arm, cloud: AzureCloud) -> None:
        arm.fails(VM_WRITE, "AllocationFailed", 200)
        vm = cloud.machines.create(order(arm))
        assert vm.size == D4D
        assert left(arm) == [f"{vm.id}-disk", vm.id, f"{vm.id}-nic", f"{vm.id}-ip"]

    def test_each_size_is_tried_in_each_zone(self, arm: Arm) -> None:
        cloud = opened(arm, zones="1,3")
        prepare(cloud)
        arm.fails(VM_WRITE, "ZonalAllocationFailed", 409, times=3)
        cloud.machines.create(order(arm, size=f"{D4}, {V3}"))
        assert tried(arm) == [(D4, "1"), (D4, "3"), (V3, "1"), (V3, "3")]

    @pytest.mark.parametrize(
        "code",
        [
            *("SkuNotAvailable", "AllocationFailed", "ZonalAllocationFailed"),
            *("OverconstrainedAllocationRequest", "OverconstrainedZonalAllocationRequest"),
        ],
    )
    @pytest.mark.parametrize("status", [409, 200])
    def test_anywhere_says_what_was_tried_and_leaves_nothing(
        self, arm: Arm, cloud: AzureCloud, code: str, status: int
    ) -> None:
        arm.fails(VM_WRITE, code, status, times=9)
        with pytest.raises(TemporaryError) as told:
            cloud.machines.create(order(arm))
        assert all(f"{size} ({code})" in told.value.message for size in (D4, D4D, V4, V3))
        assert arm.existing() == []

    @pytest.mark.parametrize("told", ["", "QuotaExceeded"])
    def test_because_of_the_quota_of_its_family_the_next_size_is_tried(self, arm: Arm, told: str) -> None:
        cloud = opened(arm, zones="1,3")
        prepare(cloud)
        if told:
            arm.fails(VM_WRITE, told, 409, message="Family quota is exceeded")
        else:
            arm.families = {"standardDSv5Family": 3}
        assert cloud.machines.create(order(arm)).size == D4D
        assert tried(arm) == [(D4, "1"), (D4D, "1")]  # no zone has another quota

    def test_because_of_a_quota_of_each_size_is_told_in_azures_words(self, arm: Arm, cloud: AzureCloud) -> None:
        arm.cores = 3
        with pytest.raises(KitError, match="Total Regional Cores quota") as told:
            cloud.machines.create(order(arm))
        assert not isinstance(told.value, TemporaryError) and "Quotas in the portal" in told.value.hint
        assert "Current Limit: 3" in told.value.message
        assert [size for size, _ in tried(arm)] == [D4, D4D, V4, V3] and arm.existing() == []

    def test_for_one_size_and_no_quota_for_another_is_temporary_and_names_both(
        self, arm: Arm, cloud: AzureCloud
    ) -> None:
        arm.families = {"standardDSv5Family": 3}
        arm.fails(VM_WRITE, "SkuNotAvailable", 409, skip=1)
        with pytest.raises(TemporaryError) as told:
            cloud.machines.create(order(arm, size=f"{D4},{V3}"))
        assert f"{D4} (quota: OperationNotAllowed), {V3} (SkuNotAvailable)" in told.value.message

    def test_because_azure_does_not_allow_something_else_no_other_size_is_tried(
        self, arm: Arm, cloud: AzureCloud
    ) -> None:
        arm.fails(VM_WRITE, "OperationNotAllowed", 409, message="The VM is not deallocated.")
        with pytest.raises(KitError, match="not deallocated"):
            cloud.machines.create(order(arm))
        assert len(tried(arm)) == 1 and arm.existing() == []


class TestACreateThatFails:
    @pytest.mark.parametrize("times", [1, 9])
    def test_because_its_answer_is_lost_leaves_one_vm_or_none(self, arm: Arm, cloud: AzureCloud, times: int) -> None:
        arm.fails(VM_WRITE, "", after=True, times=times)
        if times == 1:
            assert cloud.machines.create(order(arm)).id in left(arm) and len(left(arm)) == 4
        else:
            with pytest.raises(TemporaryError):
                cloud.machines.create(order(arm))
            assert arm.existing() == []

    def test_without_a_network_says_how_to_make_one(self, arm: Arm, empty: AzureCloud) -> None:
        with pytest.raises(NotFound, match="no network") as told:
            empty.machines.create(order(arm))
        assert "setup-network" in told.value.hint
        arm.put(f"/subscriptions/aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee/resourceGroups/{RUNNERS}", {})
        with pytest.raises(NotFound, match="no network"):
            empty.machines.create(order(arm))

    def test_for_a_size_that_is_none_says_so(self, arm: Arm, cloud: AzureCloud) -> None:
        with pytest.raises(InputError, match="Standard_X9"):
            cloud.machines.create(order(arm, size="Standard_X9"))

    def test_for_an_image_that_is_gone_says_so(self, arm: Arm, cloud: AzureCloud) -> None:
        gone = dataclasses.replace(image(arm), id=image(arm).id.replace("2026", "2025"))
        with pytest.raises(NotFound, match="GalleryImageNotFound"):
            cloud.machines.create(dataclasses.replace(order(arm), image=gone))

    def test_for_user_data_that_is_too_large_asks_for_nothing(self, arm: Arm, cloud: AzureCloud) -> None:
        large = {"write_files": [{"path": "/x", "content": "x" * 65_536}]}
        with pytest.raises(InputError, match="more than Azure takes"):
            cloud.machines.create(dataclasses.replace(order(arm), user_data=large))
        assert writes(arm) == []

    def test_for_a_missing_right_names_it(self, arm: Arm, cloud: AzureCloud) -> None:
        arm.rights.remove("Microsoft.Network/virtualNetworks/subnets/join/action")
        with pytest.raises(NotAllowed, match=r"subnets/join/action"):
            cloud.machines.create(order(arm))
        assert arm.existing() == []

    def test_because_it_is_stopped_leaves_nothing(self, arm: Arm, cloud: AzureCloud) -> None:
        arm.lag = 10_000
        arm.fails(VM_WRITE, "AllocationFailed", 200)
        timer = threading.Timer(0.5, wait.interrupt)
        timer.start()
        with pytest.raises(Interrupted):
            cloud.machines.create(order(arm))
        timer.join()
        assert arm.existing() == []


class TestAList:
    def test_is_whole_over_several_pages_the_newest_first(self, arm: Arm, cloud: AzureCloud) -> None:
        arm.cores, arm.page = 100, 2
        made = [cloud.machines.create(order(arm)) for _ in range(5)]
        assert list(cloud.machines.list()) == made[::-1]

    def test_has_nothing_that_is_not_ours(self, arm: Arm, cloud: AzureCloud, vm: Vm) -> None:
        for key, tags in (("somebody", {}), ("proof", {names.KIND: "proof"})):
            there = arm.vm(vm.id)
            path = there["id"].replace(vm.id, key)
            arm.things[path.lower()] = {**there, "id": path, "name": key, "tags": tags}
        assert [each.id for each in cloud.machines.list()] == [vm.id]

    def test_asks_again_for_a_state_that_the_list_of_states_left_out(self, arm: Arm, cloud: AzureCloud, vm: Vm) -> None:
        arm.left_out.add(vm.id)
        assert [each.state for each in cloud.machines.list()] == ["running"]

    def test_is_empty_without_a_resource_group(self, empty: AzureCloud) -> None:
        assert list(empty.machines.list()) == [] and list(empty.machines.halves()) == []

    def test_has_one_that_could_not_be_made_and_whose_end_failed(self, arm: Arm, cloud: AzureCloud) -> None:
        arm.fails(VM_WRITE, "ProvisioningFailed", 200, message="no luck")
        arm.fails("Microsoft.Compute/virtualMachines/delete", "Conflict", 409)
        with pytest.raises(KitError, match="no luck"):
            cloud.machines.create(order(arm))
        (failed,) = cloud.machines.list()
        assert (failed.state, failed.reason) == ("stopped", "ProvisioningFailed: no luck")
        cloud.machines.erase(failed)
        assert arm.existing() == []

    def test_has_none_that_is_on_its_way_out(self, arm: Arm, cloud: AzureCloud, vm: Vm) -> None:
        arm.vm(vm.id)["properties"]["provisioningState"] = "Deleting"
        assert list(cloud.machines.list()) == [] and cloud.machines.read(vm).state == "gone"

    def test_of_strangers_has_vms_of_the_system_before_and_no_others(self, arm: Arm, cloud: AzureCloud, vm: Vm) -> None:
        there = arm.vm(vm.id)
        for name in ("azure-runner-KM-CI-1279", "runner-12-vm", "mail-server"):
            path = there["id"].replace(vm.id, name).replace(RUNNERS, GROUP)
            arm.things[path.lower()] = {**there, "id": path, "name": name, "tags": {}, "state": "deallocated"}
        found = cloud.machines.strangers()
        assert [(each.name, each.state) for each in found] == [
            ("azure-runner-KM-CI-1279", "stopped"),
            ("runner-12-vm", "stopped"),
        ]
        assert all(GROUP in each.id for each in found)


class TestAVm:
    def test_that_is_gone_is_not_found(self, arm: Arm, cloud: AzureCloud, vm: Vm) -> None:
        cloud.machines.erase(vm)
        for verb in (
            lambda: cloud.machines.read(vm),
            lambda: cloud.machines.tag(vm, {names.KEPT: "why"}),
            lambda: cloud.machines.resume(vm),
            lambda: cloud.machines.reach(vm),
            lambda: cloud.machines.forget(vm, {}),
        ):
            with pytest.raises(NotFound, match=vm.id):
                verb()

    def test_that_switched_itself_off_is_billed_and_says_so(self, arm: Arm, cloud: AzureCloud, vm: Vm) -> None:
        arm.switches_itself_off(vm.id)
        seen = cloud.machines.read(vm)
        assert seen.state == "running" and "billed" in seen.reason
        assert cloud.machines.resume(vm).reason == ""

    def test_whose_agent_did_not_answer_runs_and_says_why(self, arm: Arm, cloud: AzureCloud) -> None:
        arm.fails(VM_WRITE, "OSProvisioningTimedOut", 200, message="not in time")
        vm = cloud.machines.create(order(arm))
        cloud.machines.read(vm)
        seen = cloud.machines.read(vm)
        assert (seen.state, seen.reason) == ("running", "OSProvisioningTimedOut: not in time")

    def test_has_its_tags_changed_and_taken_away_and_no_others(self, arm: Arm, cloud: AzureCloud, vm: Vm) -> None:
        assert cloud.machines.tag(vm, {names.KEPT: "why"}).tags == {**vm.tags, names.KEPT: "why"}
        assert cloud.machines.tag(vm, {names.KEPT: None, names.JOB: "a", names.DOOMED: None}).tags == {
            **vm.tags,
            names.JOB: "a",
        }
        assert VM_WRITE not in writes(arm)  # which could bring a VM that is at work into trouble

    def test_forgets_what_it_was_told(self, arm: Arm, cloud: AzureCloud, vm: Vm) -> None:
        cloud.machines.forget(vm, {"users": []})
        assert yaml.safe_load(arm.user_data(vm.id)) == {"users": []}

    def test_is_stopped_so_that_it_is_not_billed_and_comes_back(self, arm: Arm, cloud: AzureCloud, vm: Vm) -> None:
        assert cloud.machines.stop(vm)
        (stopped,) = cloud.machines.list()
        assert (stopped.state, stopped.address) == ("stopped", "")
        assert cloud.machines.stop(vm)
        assert "Microsoft.Compute/virtualMachines/powerOff/action" not in arm.actions()
        assert cloud.machines.resume(vm).state == "running" == cloud.machines.resume(vm).state

    def test_is_switched_off_by_force(self, arm: Arm, cloud: AzureCloud, vm: Vm) -> None:
        assert not cloud.machines.stop(vm, force=True)
        assert [action.split("/")[-2] for action in writes(arm) if "virtualMachines" in action] == [
            "powerOff",
            "deallocate",
        ]
        assert cloud.machines.read(vm).state == "stopped"

    def test_that_is_gone_is_stopped_and_ended_already(self, cloud: AzureCloud, vm: Vm) -> None:
        cloud.machines.erase(vm)
        assert cloud.machines.stop(vm)
        cloud.machines.erase(vm)

    def test_is_ended_with_all_that_belongs_to_it(self, arm: Arm, cloud: AzureCloud, vm: Vm) -> None:
        cloud.machines.reach(vm)
        assert len(left(arm)) == 5
        cloud.machines.erase(vm)
        assert arm.existing() == [] and list(cloud.machines.list()) == []

    def test_is_ended_in_any_state(self, arm: Arm, cloud: AzureCloud, vm: Vm) -> None:
        cloud.machines.stop(vm)
        cloud.machines.erase(vm)
        assert arm.existing() == []

    def test_is_begun_to_be_ended_once_we_are_stopped(self, arm: Arm, cloud: AzureCloud, vm: Vm) -> None:
        cloud.machines.reach(vm)
        wait.interrupt()
        arm.lag = 10_000
        cloud.machines.stop(vm, force=True)
        cloud.machines.erase(vm)
        assert arm.existing() == []

    def test_says_nothing_where_azure_has_no_console_yet(self, arm: Arm, cloud: AzureCloud, vm: Vm) -> None:
        assert cloud.machines.boot_log(vm) == ""
        arm.fails("Microsoft.Compute/virtualMachines/retrieveBootDiagnosticsData/action", "Conflict", 409)
        assert cloud.machines.boot_log(vm) == ""


class TestTheWayIn:
    def rules(self, arm: Arm) -> list[dict[str, Any]]:
        return [thing for key, thing in arm.things.items() if "/securityrules/" in key]

    def test_is_open_for_our_address_to_this_vm_alone(self, arm: Arm, cloud: AzureCloud, vm: Vm) -> None:
        machine = cloud.machines.reach(vm)
        (rule,) = self.rules(arm)
        interface = next(thing for key, thing in arm.things.items() if key.endswith(f"{vm.id}-nic".lower()))
        (way,) = interface["properties"]["ipConfigurations"]
        told = rule["properties"]
        assert told["sourceAddressPrefix"] == "127.0.0.1/32"
        assert told["destinationAddressPrefix"] == way["properties"]["privateIPAddress"]
        assert told["destinationPortRange"] == str(arm.guests.port) and told["access"] == "Allow"
        assert (machine.user, machine.address, machine.port) == ("kontain", "127.0.0.1", arm.guests.port)

    def test_has_the_host_key_of_the_tag_pinned(self, arm: Arm, cloud: AzureCloud, vm: Vm) -> None:
        known = cloud.machines.reach(vm).known_hosts
        assert known.read_text() == f"[127.0.0.1]:{arm.guests.port} ssh-ed25519 {vm.tags[names.HOST_KEY]}\n"
        assert known.stat().st_mode & 0o777 == 0o600 and known.parent.name == "known_hosts"

    def test_has_the_callers_own_keys(self, cloud: AzureCloud, vm: Vm) -> None:
        assert cloud.machines.reach(vm).keys == ()
        folder = Path.home() / ".ssh"
        folder.mkdir()
        ssh.make_key(folder / "id_ed25519", "us")
        (folder / "other.pub").write_text("half a key")
        assert cloud.machines.reach(vm).keys == (folder / "id_ed25519",)

    def test_again_changes_nothing_and_from_elsewhere_only_the_address(
        self, arm: Arm, cloud: AzureCloud, vm: Vm, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        cloud.machines.reach(vm)
        cloud.machines.reach(vm)
        assert writes(arm) == [RULE_WRITE]
        monkeypatch.setattr("cloud.caller.cidr", lambda _: "203.0.113.7/32")
        cloud.machines.reach(vm)
        (rule,) = self.rules(arm)
        assert rule["properties"]["sourceAddressPrefix"] == "203.0.113.7/32"

    def test_is_shut_by_a_stop(self, arm: Arm, cloud: AzureCloud, vm: Vm) -> None:
        cloud.machines.reach(vm)
        cloud.machines.stop(vm)
        assert self.rules(arm) == []

    def test_of_two_vms_at_once_has_two_rules(
        self, arm: Arm, cloud: AzureCloud, vm: Vm, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        other = cloud.machines.create(order(arm))
        monkeypatch.setattr(wait.clock, "token", lambda: "000001")  # both want the same number
        with ThreadPoolExecutor(2) as threads:
            list(threads.map(cloud.machines.reach, (vm, other)))
        assert len({rule["properties"]["priority"] for rule in self.rules(arm)}) == 2

    def test_to_one_whose_host_key_nobody_knows_there_is_none(self, arm: Arm, cloud: AzureCloud, vm: Vm) -> None:
        with pytest.raises(InputError, match="host key"):
            cloud.machines.reach(cloud.machines.tag(vm, {names.HOST_KEY: None}))
        assert self.rules(arm) == []

    def test_to_one_that_is_stopped_there_is_none(self, arm: Arm, cloud: AzureCloud, vm: Vm) -> None:
        cloud.machines.stop(vm)
        with pytest.raises(NotFound, match="stopped"):
            cloud.machines.reach(vm)
        assert self.rules(arm) == []


class TestHalves:
    def test_are_what_vms_that_are_gone_have_left(self, arm: Arm, cloud: AzureCloud, vm: Vm) -> None:
        cloud.machines.reach(vm)
        assert list(cloud.machines.halves()) == []
        path = arm.vm(vm.id)["id"].lower()
        del arm.things[path]
        next(thing for key, thing in arm.things.items() if "/disks/" in key).pop("managedBy")
        found = cloud.machines.halves()
        assert [each.id for each in found] == [f"{vm.id}-nic", f"{vm.id}-ip", f"{vm.id}-disk", vm.id]
        for each in found:
            cloud.machines.remove(each)
            cloud.machines.remove(each)
        assert arm.existing() == [] and list(cloud.machines.halves()) == []

    def test_are_nothing_of_others(self, arm: Arm, cloud: AzureCloud) -> None:
        group = arm.vm(cloud.machines.create(order(arm)).id)["id"].partition("/providers/")[0]
        for path, tags in (
            ("Microsoft.Compute/disks/data", {names.KIND: "runner"}),
            ("Microsoft.Compute/disks/x-disk", {}),
            ("Microsoft.Network/publicIPAddresses/mail-ip", {"km": "no"}),
        ):
            arm.put(f"{group}/providers/{path}", {"tags": tags, "properties": {}})
        taken = {"tags": {names.KIND: "runner"}, "managedBy": "/a/vm", "properties": {}}
        arm.put(f"{group}/providers/Microsoft.Compute/disks/y-disk", taken)
        assert list(cloud.machines.halves()) == []


def prepare(cloud: AzureCloud) -> None:
    cloud.network.complete(Silent())


def test_what_azure_is_told_is_base64_of_all_letters(arm: Arm, cloud: AzureCloud) -> None:
    odd = dataclasses.replace(order(arm), user_data={"write_files": [{"path": "/x", "content": "é 🙂 ' \" \\ $(x)"}]})
    vm = cloud.machines.create(odd)
    told = base64.b64decode(body(arm)["properties"]["userData"]).decode()
    assert told == arm.user_data(vm.id)
    assert yaml.safe_load(told)["write_files"][0]["content"] == "é 🙂 ' \" \\ $(x)"
