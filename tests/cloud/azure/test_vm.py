"""A runner's VM on Azure that really boots."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloud import names, ssh, userdata
from cloud.azure.cloud import AzureCloud
from cloud.progress import Silent
from tests.cloud.azure.conftest import opened, order
from tests.fakes.arm import Arm

pytestmark = pytest.mark.vm


@pytest.fixture
def arm(disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Arm]:
    """A subscription whose VMs are micro guests."""
    with Arm(tmp_path / "arm", disk, pace="") as subscription:
        for key, text in subscription.variables.items():
            monkeypatch.setenv(key, text)
        yield subscription
    assert subscription.refused == []


@pytest.fixture
def cloud(arm: Arm) -> AzureCloud:
    made = opened(arm)
    made.network.complete(Silent())
    return made


def test_lets_its_owner_in_and_finds_his_files_again_after_a_stop(arm: Arm, cloud: AzureCloud) -> None:
    folder = Path.home() / ".ssh"
    folder.mkdir(mode=0o700)
    ours = ssh.make_key(folder / "id_ed25519", "us")
    vm = cloud.machines.create(dataclasses.replace(order(arm), user_data=userdata.login("kontain", [ours], sudo=True)))
    machine = cloud.machines.reach(vm)
    ssh.answers(machine)
    ssh.run(machine, "echo kept > ~/file && sync")
    assert vm.tags[names.HOST_KEY] in cloud.machines.boot_log(vm)
    assert cloud.machines.stop(vm)
    again = cloud.machines.reach(cloud.machines.resume(vm))
    ssh.answers(again)
    assert ssh.run(again, "cat ~/file").text == "kept"
    cloud.machines.erase(vm)
    assert arm.existing() == []
