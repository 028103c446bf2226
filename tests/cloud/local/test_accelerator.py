"""KVM is used where a kernel boots under it, and nowhere else."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from cloud.local import accelerator
from cloud.local.store import Store
from tests.guests import micro_disk

pytestmark = pytest.mark.vm


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """A kernel that boots, out of the micro guest's disk."""
    folder = tmp_path_factory.mktemp("kernel")
    disk = micro_disk(request.config.cache.mkdir("guests"))
    subprocess.run(["qemu-img", "convert", "-O", "raw", disk, folder / "raw"], check=True)
    dump = f"dump /boot/vmlinuz {folder / 'vmlinuz'}"
    subprocess.run(["debugfs", "-R", dump, f"{folder / 'raw'}?offset=1048576"], check=True, capture_output=True)
    return folder / "vmlinuz"


def test_a_kernel_that_comes_up_is_seen(kernel: Path) -> None:
    assert accelerator.boots(kernel, "tcg", deadline=60)


def test_one_that_hangs_is_given_up_in_time(kernel: Path) -> None:
    assert not accelerator.boots(kernel, "tcg", deadline=0.5)


def test_what_is_no_kernel_does_not_boot(tmp_path: Path) -> None:
    (tmp_path / "vmlinuz").write_bytes(b"no kernel")
    assert not accelerator.boots(tmp_path / "vmlinuz", "tcg", deadline=10)


def test_without_a_kernel_to_boot_kvm_is_not_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accelerator, "HOST_KERNELS", tmp_path)
    assert accelerator.choose("auto", Store.at(str(tmp_path / "store"))) == "tcg"


def test_what_was_found_holds_until_the_machine_boots_again(tmp_path: Path, kernel: Path) -> None:
    store = Store.at(str(tmp_path))
    (store.bases / "some").mkdir()
    (store.bases / "some/vmlinuz").symlink_to(kernel)
    accelerator.choose("auto", store)
    assert accelerator.known(store) in ("kvm", "tcg")
    told = (tmp_path / "accelerator.json").read_text()
    (tmp_path / "accelerator.json").write_text(told.replace('"boot": "', '"boot": "another-'))
    assert accelerator.known(store) == ""


@pytest.mark.parametrize("setting", ["kvm", "tcg"])
def test_a_setting_is_not_questioned(tmp_path: Path, setting: str) -> None:
    assert accelerator.choose(setting, Store.at(str(tmp_path))) == setting
