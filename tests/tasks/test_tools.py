"""Programs of the system: seen, brought, or named with the command that brings them."""

from __future__ import annotations

import os
import re

import pytest

from tasks import _tools
from tests.tasks.conftest import Computer
from tests.toolkit import ROOT

APT = """\
echo "$*" >> "$HOME/apt.log"
case "$*" in *" install "*) ;; *) exit ;; esac
echo "Setting up packer"
printf '#!/bin/sh\\necho brought\\n' > {bin}/packer
chmod +x {bin}/packer
"""


@pytest.fixture
def without_packer(computer: Computer) -> Computer:
    """A Debian that lacks packer; its apt-get brings one that is no packer, by which one knows it again."""
    computer.lacks("packer")
    computer.has("newuidmap", "exit 0")  # a machine of root's may lack what the others need
    computer.has("apt-get", APT.replace("{bin}", f"'{computer.bin}'"))
    computer.has("sudo", 'test "$1" = -n && shift && exec "$@"')
    computer.bin.chmod(0o777)
    return computer


def apt_log(computer: Computer) -> str:
    log = computer.home / "apt.log"
    return log.read_text() if log.exists() else ""


def test_where_nothing_is_missing_nobody_is_asked(computer: Computer) -> None:
    computer.has("packer", "echo brought")
    computer.has("apt-get", 'touch "$HOME/apt.log"')
    ran = computer.inv("images.validate", "--cloud", "local", CI="true")
    assert "is not HashiCorp's packer" in ran.err
    assert apt_log(computer) == ""


def test_a_user_without_a_terminal_gets_the_one_command(without_packer: Computer) -> None:
    ran = without_packer.inv("images.validate", "--cloud", "local", user=True)
    assert ran.code == 2
    error, hint = ran.err.splitlines()
    assert re.fullmatch(r"error: not on this machine: packer", error)
    assert hint.startswith("hint: sudo apt-get install packer")
    assert apt_log(without_packer) == ""


def test_a_user_who_says_no_gets_it_too(without_packer: Computer) -> None:
    ran = without_packer.inv("images.validate", "--cloud", "local", user=True, typed="n\n")
    assert ran.code == 2
    assert "missing: packer. Install with apt? [y/N]" in ran.err
    assert "hint: sudo apt-get install packer" in ran.err
    assert apt_log(without_packer) == ""


@pytest.mark.parametrize("how", ["a yes on the terminal", "--yes", "CI", "root"])
def test_what_is_missing_is_installed_for(without_packer: Computer, how: str) -> None:
    if how == "root" and os.geteuid() != 0:
        pytest.skip("we are not root")
    ran = without_packer.but({"CI": "true"} if how == "CI" else {}).inv(
        *("images.validate", "--cloud", "local"),
        *(["--yes"] if how == "--yes" else []),
        user=how != "root",
        typed="y\n" if how.startswith("a yes") else None,
    )
    update, install = apt_log(without_packer).splitlines()
    assert update.endswith(" update")
    assert install.endswith(" install -y --no-install-recommends packer")
    assert "Setting up packer" in ran.err
    assert "is not HashiCorp's packer" in ran.err  # so it went on, with what apt brought


@pytest.mark.parametrize(
    ("script", "code", "told"),
    [
        ("echo 'E: Failed to fetch packer_1.6.6.deb  Could not connect'; exit 100", 5, "apt's sources do not answer"),
        ("echo 'E: Could not get lock /var/lib/dpkg/lock-frontend'; exit 100", 5, "another program has installed"),
        ("echo 'E: Unable to locate package packer'; exit 100", 2, "apt-get: Unable to locate package packer"),
        ("exit 1", 2, "apt-get: not a word"),
        ("exit 0", 2, "apt-get has installed all, and yet there is no packer"),
    ],
    ids=["no network", "locked", "no such package", "silent", "in vain"],
)
def test_apt_that_fails_is_an_error_of_its_kind(without_packer: Computer, script: str, code: int, told: str) -> None:
    without_packer.has("apt-get", script)
    ran = without_packer.inv("images.validate", "--cloud", "local", CI="true")
    assert ran.code == code
    error, hint = ran.err.splitlines()[-2:]
    assert error.startswith(f"error: {told}")
    assert hint.startswith("hint: ")


def test_a_sudo_that_wants_a_password_is_an_error_with_the_command(without_packer: Computer) -> None:
    without_packer.has("sudo", "echo 'sudo: a password is required' >&2; exit 1")
    ran = without_packer.inv("images.validate", "--cloud", "local", user=True, CI="true")
    assert ran.code == 2
    assert "error: sudo wants a password" in ran.err
    assert "hint: sudo apt-get install packer" in ran.err


def test_on_fedora_nothing_is_installed_and_every_package_named(without_packer: Computer) -> None:
    without_packer.lacks("apt-get", "qemu-img", "xorriso", "mmdebstrap")
    without_packer.has("dnf", 'touch "$HOME/dnf.log"')
    ran = without_packer.inv("images.validate", "--cloud", "local", CI="true")
    assert ran.code == 2
    assert "error: not on this machine: packer, qemu-img, xorriso\n" in ran.err  # a bootstrap is Debian's alone
    assert "dnf install qemu-img xorriso; packer is also at HashiCorp" in ran.err
    assert not (without_packer.home / "dnf.log").exists()


def test_a_build_in_a_cloud_asks_for_none_of_what_local_vms_need(without_packer: Computer) -> None:
    without_packer.lacks("qemu-system-x86_64", "qemu-img", "xorriso", "mmdebstrap", "grub-mkimage")
    ran = without_packer.inv("images.validate", "--cloud", "aws", user=True)
    assert ran.code == 2
    assert "error: not on this machine: packer\n" in ran.err
    both = without_packer.inv("images.validate", "--cloud", "aws", "--cloud", "local", user=True)
    assert "error: not on this machine: packer, qemu, qemu-img, xorriso, mmdebstrap, grub-mkimage\n" in both.err


def test_a_vm_asks_for_what_runs_it_and_not_for_what_builds_an_image() -> None:
    needed = {tool.name for tool in _tools.tools() if tool.needed_for("runners")}
    assert needed == {"qemu", "qemu-img", "ssh", "ssh-keygen"}


def test_root_can_do_without_what_gives_others_a_namespace_but_for_the_tests_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tool,) = [tool for tool in _tools.tools() if tool.name == "newuidmap"]
    monkeypatch.setattr(_tools, "_manager", lambda: "apt")
    for uid, local in ((0, False), (1000, True)):
        monkeypatch.setattr(os, "geteuid", lambda uid=uid: uid)
        assert (tool.needed_for("local"), tool.needed_for("test")) == (local, True)


def test_on_an_unknown_system_the_programs_are_named(without_packer: Computer) -> None:
    without_packer.lacks("apt-get", "xorriso")
    ran = without_packer.inv("images.validate", "--cloud", "local", CI="true")
    assert ran.code == 2
    assert "error: not on this machine: packer, xorriso\n" in ran.err


def test_a_packer_of_ones_own_is_the_one_that_has_to_be_there(without_packer: Computer) -> None:
    ran = without_packer.inv("images.validate", "--cloud", "local", CI="true", KM_PACKER__BINARY="/opt/packer")
    assert ran.code == 2
    assert "error: packer.binary is /opt/packer, which is not on this machine" in ran.err
    assert apt_log(without_packer) == ""
    (without_packer.home / "mine").mkdir()
    own = without_packer.home / "mine/packer"
    own.write_text("#!/bin/sh\necho mine\n")
    own.chmod(0o755)
    ran = without_packer.inv("images.validate", "--cloud", "local", CI="true", KM_PACKER__BINARY=str(own))
    assert "is not HashiCorp's packer" in ran.err
    assert apt_log(without_packer) == ""


def test_folders_for_administrators_count_though_no_path_names_them(monkeypatch: pytest.MonkeyPatch) -> None:
    (tool,) = [tool for tool in _tools.tools() if tool.name == "mke2fs"]
    monkeypatch.setenv("PATH", "/nowhere")
    assert tool.path().endswith("/mke2fs")


def test_every_program_of_the_table_tells_its_version_or_has_none_to_tell() -> None:
    there = [tool for tool in _tools.tools() if tool.path()]
    assert all(_tools.version(tool)[0].isdigit() for tool in there if tool.version)


def test_every_command_that_our_guests_scripts_call_is_in_the_table() -> None:
    known = {tool.command or tool.name for tool in _tools.tools()}
    wanted = {"mmdebstrap", "sfdisk", "mke2fs", "grub-mkimage", "qemu-img", "cpio", "lz4", "depmod", "fakeroot"}
    scripts = "".join(path.read_text() for path in [ROOT / "tests/guests/micro.sh", *ROOT.glob("cloud/local/**/*.sh")])
    assert all(re.search(rf"\b{word}\b", scripts) for word in wanted)
    assert wanted <= known
