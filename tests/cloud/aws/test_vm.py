"""A runner on EC2 that is a real VM: into it, out of it, and back to its disk."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from cloud import names, ssh, userdata
from tests.cloud.aws.conftest import build_network, opened, order
from tests.fakes.ec2 import Ec2

pytestmark = pytest.mark.vm


@pytest.fixture
def ec2(disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ec2]:
    """A region whose VMs run."""
    with Ec2(tmp_path / "ec2", disk) as region:
        for key, text in region.variables.items():
            monkeypatch.setenv(key, text)
        yield region
    assert region.refused == []


def test_a_runner_is_reached_by_its_pinned_key_and_keeps_its_disk(ec2: Ec2) -> None:
    (Path.home() / ".ssh").mkdir()
    public = ssh.make_key(Path.home() / ".ssh/id_ed25519", "me")
    cloud = opened(ec2)
    build_network(ec2, cloud)
    wanted = replace(order(ec2), user_data=userdata.login("kontain", [public], sudo=True))
    vm = cloud.machines.create(wanted)
    machine = cloud.machines.reach(vm)
    ssh.answers(machine)
    ssh.run(machine, "echo kept > ~/file && sync")
    assert cloud.machines.boot_log(vm) != ""
    assert cloud.machines.stop(vm)
    vm = cloud.machines.resume(cloud.machines.tag(vm, {names.RESUMED: "x"}))
    again = cloud.machines.reach(vm)
    ssh.answers(again)
    assert ssh.run(again, "cat ~/file").lines[-1] == "kept"
    ssh.run(again, "sudo poweroff", check=False)
    while cloud.machines.read(vm).state == "running":
        cloud.machines.read(vm)
    assert cloud.machines.read(vm).state == "stopped"
    cloud.machines.erase(vm)
    assert ec2.existing() == [] and cloud.machines.list() == []
