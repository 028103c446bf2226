"""VMs of this machine that outlive the command which made them: found by tags, stopped, started, ended."""

from __future__ import annotations

import dataclasses
import json
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import psutil
import pytest

from cloud import names, process, ssh, userdata, wait
from cloud.base import Image, Order, Vm
from cloud.errors import InputError, KitError, NotFound
from cloud.local.cloud import LocalCloud
from cloud.local.settings import LocalSettings
from tasks import _settings
from tests.conftest import Built
from tests.toolkit import eventually

pytestmark = pytest.mark.vm

TOLD = "canary-of-the-seed"


@pytest.fixture(scope="module")
def cloud(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCloud]:
    """A store with a finished image and nothing else."""
    store = tmp_path_factory.mktemp("machines") / "store"
    shutil.copytree(built.toolkit.store, store)
    made = LocalCloud(settings(built, store))
    yield made
    for vm in made.machines.list():
        made.machines.erase(vm)


def settings(built: Built, store: Path) -> LocalSettings:
    told = _settings.load({**built.toolkit.settings}).local
    return msgspec.structs.replace(told, store=str(store))


def image(cloud: LocalCloud) -> Image:
    (found,) = cloud.images.list("MicroImage")
    return found


def order(cloud: LocalCloud, **tags: str) -> Order:
    data = userdata.login("kontain", []) | {"write_files": [{"path": "/etc/told", "content": TOLD}]}
    return Order("local-runner-CI-1", image(cloud), "1x256", "kontain", data, {names.KIND: "runner", **tags})


@pytest.fixture(scope="module")
def vm(cloud: LocalCloud) -> Vm:
    """One that answers ssh."""
    made = cloud.machines.create(order(cloud, **{names.LABEL: "one"}))
    ssh.answers(cloud.machines.reach(made))
    return made


def said(cloud: LocalCloud, vm: Vm, command: str) -> str:
    return ssh.run(cloud.machines.reach(vm), command).text


def test_is_found_with_its_tags_by_another_process(cloud: LocalCloud, vm: Vm) -> None:
    other = LocalCloud(cloud.machines._settings)
    (found,) = other.machines.list()
    assert (found.id, found.state, found.tags[names.LABEL], found.size) == (vm.id, "running", "one", "1x256")
    assert found.address.startswith("127.0.0.1:")
    assert said(cloud, vm, "cat /etc/told") == TOLD


def test_listens_for_ssh_on_this_machine_alone_and_keeps_its_files_to_itself(cloud: LocalCloud, vm: Vm) -> None:
    folder = cloud.machines.reach(vm).known_hosts.parent
    process = psutil.Process(int((folder / "pid").read_text()))
    listening = {each.laddr.ip for each in process.net_connections() if each.status == psutil.CONN_LISTEN}
    assert listening == {"127.0.0.1"}
    assert folder.stat().st_mode & 0o077 == 0
    for name in ("disk.qcow2", "seed.iso", "key", "host_key", "machine.json"):
        assert (folder / name).stat().st_mode & 0o077 == 0, name


def test_keeps_its_image_from_being_pruned(cloud: LocalCloud, vm: Vm) -> None:
    assert cloud.images.in_use(image(cloud)) == f"machine {vm.id}"
    assert cloud.images.leftovers() == []


def test_has_its_tags_changed_and_taken_away(cloud: LocalCloud, vm: Vm) -> None:
    assert cloud.machines.tag(vm, {names.KEPT: "why"}).tags[names.KEPT] == "why"
    assert names.KEPT not in cloud.machines.tag(vm, {names.KEPT: None}).tags


def test_forgets_what_it_was_told(cloud: LocalCloud, vm: Vm) -> None:
    seed = "sudo sh -c 'blockdev --flushbufs /dev/vdb; grep -ac {} /dev/vdb'"
    cloud.machines.forget(vm, {"write_files": []})
    ran = ssh.run(cloud.machines.reach(vm), seed.format(TOLD), check=False)
    assert ran.lines[-1:] == ("0",)
    assert said(cloud, vm, seed.format("ssh_authorized_keys")) != "0"  # who may log in stays


def test_stops_by_its_power_button_and_comes_back_with_its_disk(cloud: LocalCloud, vm: Vm) -> None:
    ssh.run(cloud.machines.reach(vm), "echo kept > ~/file && sync")
    assert cloud.machines.stop(vm)
    (stopped,) = cloud.machines.list()
    assert (stopped.state, stopped.address) == ("stopped", "")
    assert cloud.machines.stop(vm)  # again is no harm
    running = cloud.machines.resume(vm)
    assert running.state == "running" and cloud.machines.resume(vm).address == running.address
    ssh.answers(cloud.machines.reach(running))
    assert said(cloud, running, "cat ~/file") == "kept"


def test_one_that_does_not_listen_is_switched_off(cloud: LocalCloud, vm: Vm) -> None:
    folder = cloud.machines.reach(vm).known_hosts.parent
    process = psutil.Process(int((folder / "pid").read_text()))
    process.suspend()
    assert not cloud.machines.stop(vm)
    # A process that has given its memory back may still be on its way out.
    eventually(lambda: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE, "end of the VM", 10)


def test_one_that_goes_while_others_want_its_turn_is_no_trouble_to_them(cloud: LocalCloud, tmp_path: Path) -> None:
    """Without any VM, and so often enough to meet it at every point."""
    bare = LocalCloud(msgspec.structs.replace(cloud.machines._settings, store=str(tmp_path / "bare")))
    problems: list[BaseException] = []

    def act(verb: str, vm: Vm) -> None:
        try:
            getattr(bare.machines, verb)(vm)
        except BaseException as problem:  # noqa: BLE001  # told below
            problems.append(problem)

    for number in range(40):
        folder = tmp_path / "bare/machines" / f"vm-{number}"
        folder.mkdir()
        (folder / "machine.json").write_text('{"tags": {}}')
        vm = Vm("local", folder.name, "vm", "running", "", "", wait.clock.now(), {})
        threads = [threading.Thread(target=act, args=(verb, vm)) for verb in ("stop", "erase", "stop", "erase")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not folder.exists()
    assert problems == []


@pytest.mark.matrix
def test_two_who_stop_and_end_it_at_once_take_turns(cloud: LocalCloud) -> None:
    vm = cloud.machines.create(order(cloud))
    problems: list[BaseException] = []

    def act(verb: str) -> None:
        try:
            getattr(LocalCloud(cloud.machines._settings).machines, verb)(vm)
        except BaseException as problem:  # noqa: BLE001  # told below
            problems.append(problem)

    threads = [threading.Thread(target=act, args=(verb,)) for verb in ("stop", "erase", "stop", "erase")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert vm.id not in [each.id for each in cloud.machines.list()]
    cloud.machines.erase(vm)  # gone already
    with pytest.raises(NotFound):
        cloud.machines.tag(vm, {names.KEPT: "why"})


def test_one_that_could_not_be_started_is_not_there(cloud: LocalCloud) -> None:
    before = [each.id for each in cloud.machines.list()]
    with pytest.raises(KitError, match="qemu"):  # its machine has 255 processors at the most
        cloud.machines.create(dataclasses.replace(order(cloud), size="300x128"))
    assert [each.id for each in cloud.machines.list()] == before and cloud.machines.halves() == []


def test_its_disk_is_no_smaller_than_that_of_its_image(built: Built, cloud: LocalCloud, tmp_path: Path) -> None:
    """Its end would be cut off."""
    small = LocalCloud(msgspec.structs.replace(settings(built, tmp_path / "store"), disk=1))
    made = small.machines.create(order(cloud))
    disk = tmp_path / "store/machines" / made.id / "disk.qcow2"
    told = process.run(["qemu-img", "info", "-U", "--output=json", disk]).text
    small.machines.erase(made)
    assert json.loads(told)["virtual-size"] == 2 << 30


@pytest.mark.parametrize("size", ["big", "2x", "x4096", "2x4096 ", "2X4096", "0x0"])
def test_a_size_that_is_none_is_refused(cloud: LocalCloud, size: str) -> None:
    with pytest.raises(InputError, match="size"):
        cloud.machines.create(Order("x", image(cloud), size, "kontain", {}, {names.KIND: "runner"}))


def test_what_a_killed_command_began_is_found_and_removed(cloud: LocalCloud) -> None:
    store = Path(cloud.machines._store.machines)
    (store / ".local-runner-CI-1-aaaaaa.999999.new").mkdir()
    (half,) = cloud.machines.halves()
    cloud.machines.remove(half)
    assert cloud.machines.halves() == []
