"""What a cloud promises, the same for every one: `cloud/base.py`, held from outside.

This machine's VMs boot; those of AWS and Azure are on paper, behind their own SDKs.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from cloud import connect, names, userdata, wait
from cloud.base import Cloud, Image, Order, Vm, current
from cloud.errors import InputError, NotFound
from cloud.progress import Silent
from tasks import _settings
from tests.conftest import Built
from tests.fakes.ec2 import POLICY
from tests.world import worlds


@dataclass(frozen=True)
class Place:
    """A cloud with an image and a network."""

    cloud: Cloud
    size: str
    mute: Callable[[], None]
    """Let nobody read a console any more."""

    @property
    def image(self) -> Image:
        image = current(self.cloud.images.list("MicroImage"))
        assert image
        return image

    def order(self, size: str = "", **tags: str) -> Order:
        """A VM as a start orders one."""
        told = {
            names.KIND: "runner",
            names.LABEL: "one",
            names.EXPIRES: names.moment(wait.clock.now()),
            names.RUN_ID: "4711",
            **tags,
        }
        data = userdata.login("kontain", []) | {"write_files": [{"path": "/etc/told", "content": "a secret"}]}
        return Order("local-runner-CI-1", self.image, size or self.size, "kontain", data, told)

    def becomes(self, vm: Vm, state: Literal["running", "stopped"]) -> Vm:
        """The VM, as soon as it is in that state."""

        def look() -> Vm | None:
            now = self.cloud.machines.read(vm)
            return now if now.state == state else None

        return wait.until(look, what=f"{vm.id} {state}", timeout=120, every=0.2)


@pytest.fixture(params=[pytest.param("local", marks=pytest.mark.vm), "aws", "azure"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    here = request.param == "local"
    with local(request.getfixturevalue("built"), tmp_path) if here else far(request.param, tmp_path) as made:
        yield made


@contextmanager
def local(built: Built, folder: Path) -> Iterator[Place]:
    shutil.copytree(built.toolkit.store, folder / "store")
    settings = _settings.load({**built.toolkit.settings, "KM_LOCAL__STORE": str(folder / "store")})
    cloud = connect("local", settings)

    def mute() -> None:
        for file in folder.glob("store/machines/*/console.log"):
            file.unlink()
            file.mkdir()

    yield Place(cloud, "1x256", mute)
    for vm in cloud.machines.list():
        cloud.machines.erase(vm)


@contextmanager
def far(name: str, folder: Path) -> Iterator[Place]:
    with worlds(folder) as world, pytest.MonkeyPatch.context() as patched:
        for key, text in world.settings.items():
            patched.setenv(key, text)
        # Somebody who may make networks, too.
        world.ec2.policies = (POLICY, POLICY.with_name("aws-network.json"))

        def mute() -> None:
            world.ec2.denied.add("ec2:GetConsoleOutput")
            console = "Microsoft.Compute/virtualMachines/retrieveBootDiagnosticsData/action"
            world.arm.fails(console, "AuthorizationFailed", 403, times=99)

        yield Place(connect(name, _settings.load()), "", mute)
        assert world.ec2.refused == world.arm.refused == []


def test_a_vm_lives_from_its_order_to_its_end(place: Place) -> None:
    machines = place.cloud.machines
    vm = machines.create(place.order())
    assert (vm.cloud, vm.tags[names.LABEL], vm.tags[names.KIND]) == (place.cloud.name, "one", "runner")
    assert [each.id for each in machines.list()] == [vm.id]
    assert place.becomes(vm, "running").address
    assert place.cloud.images.in_use(place.image) != ""

    assert machines.tag(vm, {names.KEPT: "why", names.JOB: "where"}).tags[names.KEPT] == "why"
    now = machines.tag(vm, {names.KEPT: None, names.JOB: "there"})
    assert names.KEPT not in now.tags and now.tags[names.JOB] == "there" and now.tags[names.LABEL] == "one"
    assert machines.read(vm).tags == now.tags
    machines.forget(vm, {"write_files": []})
    assert isinstance(machines.boot_log(vm), str)

    machine = machines.reach(now)
    assert (machine.id, machine.user) == (vm.id, "kontain")
    known = machine.known_hosts.read_text()
    assert machine.address in known and len(known.splitlines()) == 1
    assert machines.reach(now).known_hosts.read_text() == known  # again is no harm

    machines.stop(vm, force=True)
    assert place.becomes(vm, "stopped").address == "" or place.cloud.name == "azure"  # where an address stays
    assert machines.stop(vm)  # again is no harm
    assert machines.resume(vm).state == "running" and machines.resume(vm).state == "running"

    machines.erase(vm)
    assert list(machines.list()) == []
    machines.erase(vm)  # again is no harm
    assert machines.stop(vm)
    assert list(machines.halves()) == []


def test_a_vm_that_is_gone_is_not_found(place: Place) -> None:
    machines = place.cloud.machines
    vm = machines.create(place.order())
    machines.erase(vm)
    with pytest.raises(NotFound):
        machines.tag(vm, {names.KEPT: "why"})
    with pytest.raises(NotFound):
        machines.resume(vm)
    with pytest.raises(NotFound):
        machines.reach(vm)
    assert machines.boot_log(vm) == ""
    try:
        assert machines.read(vm).state == "gone"
    except NotFound:
        pass  # not every cloud remembers


def test_a_console_that_can_not_be_read_is_an_empty_one(place: Place) -> None:
    vm = place.cloud.machines.create(place.order())
    place.mute()
    assert place.cloud.machines.boot_log(vm) == ""


def test_what_can_not_be_ordered_is_refused_and_nothing_is_made(place: Place) -> None:
    with pytest.raises(InputError):
        place.cloud.machines.create(place.order(size="no such size"))
    assert list(place.cloud.machines.list()) == [] and list(place.cloud.machines.halves()) == []


def test_two_of_the_same_name_are_two(place: Place) -> None:
    machines = place.cloud.machines
    made = [machines.create(place.order()) for _ in range(2)]
    assert len({vm.id for vm in made}) == 2 and len({vm.name for vm in made}) == 1
    assert {vm.id for vm in machines.list()} == {vm.id for vm in made}
    machines.erase(made[0])
    assert [vm.id for vm in machines.list()] == [made[1].id]


def test_its_network_is_there_and_making_it_again_changes_nothing(place: Place) -> None:
    assert list(place.cloud.network.missing()) == []
    place.cloud.network.complete(Silent())
    assert list(place.cloud.network.missing()) == []


def test_its_limits_are_numbers_that_fit_together(place: Place) -> None:
    for quota in place.cloud.quotas(""):
        assert quota.name and quota.each > 0 and 0 <= quota.kept <= quota.used <= quota.limit
        assert (quota.short == 0) == (quota.room > 0)


def test_there_are_no_strangers_and_no_leftovers_where_nothing_was_made(place: Place) -> None:
    assert list(place.cloud.machines.strangers()) == []
    assert list(place.cloud.machines.halves()) == []
    assert list(place.cloud.machines.list()) == [] and list(place.cloud.images.leftovers()) == []


def test_it_says_who_we_are(place: Place) -> None:
    assert place.cloud.check()
