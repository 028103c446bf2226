"""./inv doctor: what it finds on machines of all kinds, and how soon."""

from __future__ import annotations

import shutil
import time
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest

from cloud.local.store import Store
from tasks import _checks
from tests.tasks.conftest import Computer
from tests.toolkit import Ran


def row(ran: Ran, name: str) -> dict[str, Any]:
    """What the check of that name found."""
    (found,) = [row for row in ran.json if row["name"] == name]
    return dict(found)


def test_a_machine_with_everything_is_ready(computer: Computer) -> None:
    ran = computer.inv("doctor", "--json")
    assert ran.code == 0, ran.out
    assert {row["state"] for row in ran.json} <= {"ok", "warning"}
    assert all(set(row) == {"name", "state", "found", "cure"} for row in ran.json)
    assert all(row["cure"] for row in ran.json if row["state"] != "ok")
    assert row(ran, "dependencies")["state"] == "ok"


def test_a_person_gets_a_table(computer: Computer) -> None:
    ran = computer.inv("doctor")
    assert ran.out.split()[:4] == ["name", "state", "found", "cure"]
    assert "qemu-img" in ran.out


@pytest.mark.parametrize(
    ("script", "found"),
    [
        ("exec sleep 60", "is not HashiCorp's packer: no answer within 1 s"),
        ("cat > /dev/null; echo '0 0'", "is not HashiCorp's packer: it tells no version"),
        ("echo 'Packer v1'", "is not HashiCorp's packer: it tells no version"),
    ],
    ids=["hangs", "cracklib's", "strange"],
)
def test_another_program_called_packer_is_named_as_such(
    computer: Computer, checkout_with_a_hasty_table: Path, script: str, found: str
) -> None:
    computer.has("packer", script)
    began = time.monotonic()
    ran = computer.run(checkout_with_a_hasty_table / "inv", "doctor", "--json")
    assert time.monotonic() - began < 30
    assert ran.code == 1
    assert row(ran, "packer")["state"] == "failed"
    assert row(ran, "packer")["found"] == f"{computer.bin / 'packer'} {found}"
    assert "packer.binary" in row(ran, "packer")["cure"]
    assert "error: not ready: packer\nhint: " in ran.err


@pytest.fixture
def checkout_with_a_hasty_table(computer: Computer, tmp_path: Path) -> Path:
    """The project with a second instead of ten for packer."""
    tree = tmp_path / "hasty"
    shutil.copytree(computer.tree, tree, symlinks=True, ignore=shutil.ignore_patterns(".venv"))
    (tree / ".venv").symlink_to(computer.tree / ".venv")
    table = tree / "tasks/tools.toml"
    table.write_text(table.read_text().replace('name = "packer"\n', 'name = "packer"\nseconds = 1\n'))
    return tree


def test_a_packer_that_is_too_old_for_real_clouds_is_a_warning(computer: Computer) -> None:
    computer.has("packer", "echo 'Packer v1.6.6'")
    ran = computer.inv("doctor", "--json")
    assert row(ran, "packer")["state"] == "warning"
    assert "real clouds will be refused" in row(ran, "packer")["found"]
    assert "1.14.1" in row(ran, "packer")["cure"]
    computer.has("packer", "echo 'Packer v1.14.2-dev'")
    assert row(computer.inv("doctor", "--json"), "packer")["state"] == "ok"
    assert row(computer.inv("doctor", "--json", KM_PACKER__MINIMUM="1.14.10"), "packer")["state"] == "warning"


def test_what_is_missing_fails_with_the_command_that_brings_it(computer: Computer) -> None:
    computer.lacks("xorriso")
    computer.has("apt-get", "exit 1")
    ran = computer.inv("doctor", "--json")
    assert ran.code == 1
    assert row(ran, "xorriso")["state"] == "failed"
    assert row(ran, "xorriso")["cure"].endswith("apt-get install xorriso")


class TestAMachineThatRunsNoVms:
    """It builds in a cloud."""

    def test_lacks_nothing_when_it_lacks_what_they_need(self, computer: Computer) -> None:
        computer.lacks("qemu-system-x86_64", "qemu-img", "xorriso", "mmdebstrap", "grub-mkimage")
        computer.has("apt-get", "exit 1")
        ran = computer.inv("doctor", "--json", "--cloud", "aws")
        for name in ("qemu", "qemu-img", "xorriso", "mmdebstrap", "grub-mkimage"):
            assert row(ran, name)["state"] == "warning"
            assert row(ran, name)["cure"]
        assert row(ran, "accelerator")["state"] in ("ok", "warning")

    def test_may_say_so_in_the_settings(self, computer: Computer) -> None:
        computer.lacks("xorriso")
        assert row(computer.inv("doctor", "--json", KM_IMAGES__CLOUDS="azure"), "xorriso")["state"] == "warning"
        both = computer.inv("doctor", "--json", KM_IMAGES__CLOUDS="azure,local")
        assert row(both, "xorriso")["state"] == "failed"

    def test_still_needs_what_every_build_needs(self, computer: Computer) -> None:
        computer.lacks("ssh-keygen")
        assert row(computer.inv("doctor", "--json", "--cloud", "aws"), "ssh-keygen")["state"] == "failed"


def test_what_only_our_tests_need_is_a_warning(computer: Computer) -> None:
    computer.lacks("shellcheck")
    ran = computer.inv("doctor", "--json")
    assert ran.code == 0, ran.out
    assert row(ran, "shellcheck")["state"] == "warning"


def test_a_program_that_can_not_run_is_a_finding(computer: Computer) -> None:
    (computer.bin / "git").unlink()
    (computer.bin / "git").write_bytes(b"\x7fELF of another machine")
    (computer.bin / "git").chmod(0o755)
    ran = computer.inv("doctor", "--json")
    assert row(ran, "git")["state"] == "failed"
    assert "Traceback" not in ran.err


def test_settings_that_do_not_load_fail_one_by_one(computer: Computer) -> None:
    ran = computer.inv("doctor", "--json", KM_LOCAL__CPUS="many")
    assert ran.code == 1
    assert row(ran, "settings")["state"] == "failed"
    assert "KM_LOCAL__CPUS" in row(ran, "settings")["found"]
    assert row(ran, "git")["state"] == "ok"


def test_dependencies_of_another_day_are_a_warning(computer: Computer, checkout_with_a_hasty_table: Path) -> None:
    tree = checkout_with_a_hasty_table
    (tree / "requirements.lock").write_text("# of tomorrow\n")
    python = tree / ".venv/bin/python"
    ran = computer.run(python, "-P", "-m", "tasks", "doctor", "--json", PYTHONPATH=str(tree))
    assert row(ran, "dependencies")["state"] == "warning"
    assert "./inv" in row(ran, "dependencies")["cure"]


def test_an_accelerator_that_is_set_is_not_looked_for(computer: Computer) -> None:
    ran = computer.inv("doctor", "--json", KM_LOCAL__ACCELERATOR="tcg")
    assert row(ran, "accelerator")["found"] == "tcg, set by local.accelerator"


def test_a_disk_that_is_too_full_for_a_build_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setenv("KM_LOCAL__STORE", str(tmp_path))
    monkeypatch.setattr("cloud.local.store.shutil.disk_usage", lambda _: usage(9 << 30, 8 << 30, 1 << 30))
    assert Store.at(str(tmp_path)).free() == 1 << 30
    (disk,) = [found for found in _checks.look() if found.name == "disk"]
    assert disk.state == "failed"
    assert "1 GB free" in disk.found
    assert "./inv images.prune" in disk.cure


def test_a_bug_in_one_check_hides_no_other_finding(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KM_LOCAL__STORE", str(tmp_path))
    monkeypatch.setattr(_checks, "_disk", lambda: dict[str, _checks.Finding]()["disk"])
    found = {each.name: each for each in _checks.look()}
    assert found["disk"].state == "failed" and found["disk"].found.startswith("a bug of ours at test_doctor.py:")
    assert found["git"].state == "ok"
