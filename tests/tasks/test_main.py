"""What ./inv answers before a task runs."""

from __future__ import annotations

import subprocess
import tomllib
from pathlib import Path

import pytest

from tests.tasks.conftest import Computer, base_python
from tests.toolkit import ROOT


@pytest.mark.parametrize(
    "words",
    [
        ["frobnicate"],
        ["--frobnicate"],
        ["images.list", "--frobnicate"],
        ["images.promote"],
        ["images.prune", "--keep", "many"],
        ["--help", "frobnicate"],
        ["--list", "frobnicate"],
        ["--list", "--list-format", "frobnicate"],
        ["-f", "/frobnicate", "settings"],
    ],
    ids=" ".join,
)
def test_bad_input_is_two_lines_and_exit_2(computer: Computer, words: list[str]) -> None:
    ran = computer.inv(*words)
    assert ran.code == 2
    assert ran.out == ""
    first, second = ran.err.splitlines()
    assert first.startswith("error: ")
    assert second.startswith("hint: ./inv --list")


def test_a_broken_configuration_of_invokes_own_is_two_lines_too(computer: Computer) -> None:
    (computer.home / ".invoke.yaml").write_text("{: x")
    ran = computer.inv("--list")
    assert ran.code == 2
    assert len(ran.err.splitlines()) == 2


def test_the_version_is_the_projects(computer: Computer) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert computer.inv("--version").out == f"{project['name']} {project['version']}\n"


def test_a_bare_inv_lists_the_tasks(computer: Computer) -> None:
    ran = computer.inv()
    assert ran.code == 0
    assert "doctor" in ran.out and "images.l0base" in ran.out


def test_a_reader_who_has_enough_is_no_error(computer: Computer) -> None:
    ran = computer.run("sh", "-c", "./inv --list-format json --list | true")
    assert ran.err == ""


def test_listing_loads_no_library_but_invoke_and_platformdirs(computer: Computer) -> None:
    python = computer.tree / ".venv/bin/python"
    ran = computer.run(python, "-P", "-X", "importtime", "-m", "tasks", "--list", PYTHONPATH=str(computer.tree))
    assert "images.l0base" in ran.out
    loaded = {line.split("|")[-1].strip().partition(".")[0] for line in ran.err.splitlines()}
    assert "invoke" in loaded
    assert not loaded & {"msgspec", "rich", "requests", "jinja2", "qemu", "pycdlib", "filelock", "boto3", "azure"}


def test_inv_of_another_installation_says_what_to_run(computer: Computer, tmp_path: Path) -> None:
    subprocess.run([base_python(), "-m", "venv", "--without-pip", tmp_path], check=True)
    (library,) = tmp_path.glob("lib/python*/site-packages")
    for part in computer.tree.glob(".venv/lib/python*/site-packages/invoke*"):
        (library / part.name).symlink_to(part)
    ran = computer.run(tmp_path / "bin/python", "-m", "invoke", "--list")
    assert ran.code == 1
    assert "run ./inv" in ran.err
    assert "Traceback" not in ran.err
