"""./inv, from a fresh checkout on."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.tasks.conftest import Computer


def test_from_any_folder_and_by_any_name_it_finds_the_tasks(computer: Computer, tmp_path: Path) -> None:
    link = tmp_path / "kit"
    link.symlink_to(computer.tree / "inv")
    trap = tmp_path / "tasks.py"
    trap.write_text("raise SystemExit('the wrong tasks')")
    ways: list[tuple[str | Path, Path]] = [
        (computer.tree / "inv", tmp_path),
        ("../inv", computer.tree / "cloud"),
        ("./inv", computer.tree),
        (link, tmp_path),
    ]
    for command, folder in ways:
        ran = computer.run(command, "--version", cwd=folder)
        assert (ran.code, ran.out.split()[0], ran.err) == (0, "kontain-vms", "")


def test_the_folder_that_one_stands_in_stays(computer: Computer, tmp_path: Path) -> None:
    ran = computer.inv("images.render", "--cloud", "local", "--output", "out", cwd=tmp_path)
    assert ran.code == 0, ran.err
    assert (tmp_path / "out/local/image.pkr.hcl").exists()


def test_programs_that_tasks_run_do_not_see_our_modules(computer: Computer) -> None:
    computer.has("packer", 'echo "Packer v1.2.${PYTHONPATH:-3}"')
    (row,) = [row for row in computer.inv("doctor", "--json").json if row["name"] == "packer"]
    assert row["found"].startswith("1.2.3")


def test_a_set_up_that_was_killed_is_done_again_even_by_two_at_once(bare: Computer) -> None:
    first = subprocess.Popen(
        [bare.tree / "inv"], env=bare.environment, start_new_session=True, stderr=subprocess.DEVNULL
    )
    while not (bare.tree / ".venv/bin/python").exists():
        time.sleep(0.01)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    assert not (bare.tree / ".venv/requirements.lock").exists()
    two = [
        subprocess.Popen(
            [bare.tree / "inv", "--version"],
            env=bare.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    ended = [each.communicate(timeout=60) for each in two]
    assert [out.split()[0] for out, _ in ended] == ["kontain-vms"] * 2, ended
    told = [line for _, err in ended for line in err.splitlines()]
    # One makes it. Each may wait: for the other one, or for what the first one's end takes.
    assert told.count("setting up .venv from requirements.lock") == 1, told
    assert set(told) <= {"setting up .venv from requirements.lock", "waiting for another ./inv, which sets up .venv"}


def test_pips_settings_for_elsewhere_do_no_harm(bare: Computer, tmp_path: Path) -> None:
    (tmp_path / "constraints").write_text("invoke==1.0\n")
    harm = {
        "PIP_USER": "1",
        "PIP_TARGET": str(tmp_path / "target"),
        "PIP_PREFIX": str(tmp_path / "prefix"),
        "PIP_REQUIRE_VIRTUALENV": "1",
        "PIP_CONSTRAINT": str(tmp_path / "constraints"),
    }
    ran = bare.but(harm).inv("--version")
    assert ran.out.startswith("kontain-vms"), ran.err
    assert not (tmp_path / "target").exists()
    assert list(bare.tree.glob(".venv/lib/*/site-packages/invoke/__pycache__"))


def test_packages_that_do_not_come_are_an_error_and_no_half_venv(bare: Computer) -> None:
    lock = bare.tree / "requirements.lock"
    lock.write_text(lock.read_text().replace("sha256:", "sha256:0000"))
    ran = bare.inv("--version")
    assert ran.code == 1
    assert "error: what requirements.lock names could not be installed\nhint: " in ran.err
    assert not (bare.tree / ".venv/requirements.lock").exists()


def test_without_a_python_that_will_do_it_says_so(bare: Computer) -> None:
    bare.has("python3", "exit 127")
    ran = bare.inv("--list")
    assert ran.code == 2
    assert ran.err.splitlines()[0] == "error: there is no Python 3.11 or newer on this machine"


@pytest.fixture
def split(bare: Computer) -> Computer:
    """A Debian with Python but without python3-venv, whose apt-get brings it."""
    bare.has("python3", f"echo '{bare.bin}/python3.11'")
    bare.has("python3.11", 'case "$*" in *ensurepip*) test -e "$HOME/brought" ;; *) echo a venv; exit 9 ;; esac')
    bare.has("apt-get", 'echo "$*" >> "$HOME/apt.log"; case "$*" in *install*) touch "$HOME/brought" ;; esac')
    bare.has("sudo", 'test "$1" = -n && shift && exec "$@"')
    return bare


def apt_log(computer: Computer) -> str:
    log = computer.home / "apt.log"
    return log.read_text() if log.exists() else ""


def test_a_user_without_a_terminal_gets_the_one_command(split: Computer) -> None:
    ran = split.inv("--list", user=True)
    assert ran.code == 2
    assert ran.err == "error: python3.11-venv is missing\nhint: sudo apt-get install python3.11-venv\n"
    assert apt_log(split) == ""
    assert not (split.tree / ".venv").exists()


def test_a_user_who_says_no_gets_it_too(split: Computer) -> None:
    ran = split.inv("--list", user=True, typed="n\n")
    assert ran.code == 2
    assert "Install it with apt? [y/N]" in ran.err
    assert "sudo apt-get install python3.11-venv" in ran.err
    assert apt_log(split) == ""


@pytest.mark.parametrize("how", ["a yes on the terminal", "--yes", "CI", "root"])
def test_it_is_installed_for(split: Computer, how: str) -> None:
    if how == "root" and os.geteuid() != 0:
        pytest.skip("we are not root")
    ran = split.but({"CI": "true"} if how == "CI" else {}).inv(
        *(["doctor", "--yes"] if how == "--yes" else ["--list"]),
        user=how != "root",
        typed="y\n" if how.startswith("a yes") else None,
    )
    assert "installing python3.11-venv" in ran.err
    update, install = apt_log(split).splitlines()
    assert update.endswith(" update")
    assert install.endswith(" install -y --no-install-recommends python3.11-venv")
    assert (ran.code, ran.out) == (9, "a venv\n")  # where the test's own Python ends


def test_apt_that_fails_is_an_error_with_the_command(split: Computer) -> None:
    split.has("apt-get", "echo 'E: no network' >&2; exit 100")
    ran = split.inv("--list", user=True, CI="true")
    assert ran.code == 2
    assert ran.err.endswith(
        "error: python3.11-venv could not be installed\nhint: sudo apt-get install python3.11-venv\n"
    )


def test_without_apt_it_names_what_is_missing(split: Computer) -> None:
    split.lacks("apt-get")
    ran = split.inv("--list")
    assert ran.code == 2
    assert "has no modules venv and ensurepip" in ran.err
