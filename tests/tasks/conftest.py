"""Checkouts of the project and machines to use them on, for tests of what a person types first."""

from __future__ import annotations

import os
import pty
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from tasks import _tools
from tests.ci import ci
from tests.toolkit import ROOT, Ran

__all__ = ["ci"]  # a fixture for the tests here

NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")


CALLER = dict(os.environ)
"""The environment before tests get one of their own: packages come from where this machine gets them."""


PROGRAMS = (
    *("cat", "chmod", "cmp", "cp", "dirname", "env", "flock", "id", "mkdir", "realpath", "rm"),
    *("setpriv", "sh", "sleep", "touch", "true"),
)
"""What every system has, of which the wrapper, the tasks and the tests' own scripts make use."""


def base_python() -> str:
    """The system's own Python where it will do, since everybody may run it."""
    system = Path("/usr/bin/python3.11")
    return str(system) if system.exists() else os.path.realpath(sys.executable)


@dataclass(frozen=True)
class Computer:
    """A checkout, and one folder of programs as the whole PATH.

    What is in this machine's folders for administrators is there all the same. There is no apt-get
    and no sudo but those that a test puts there.
    """

    tree: Path
    bin: Path
    home: Path
    variables: dict[str, str] = field(default_factory=dict)

    def has(self, program: str, script: str) -> None:
        """Put a shell script there as that program."""
        path = self.bin / program
        path.unlink(missing_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def lacks(self, *programs: str) -> None:
        """Take programs away."""
        for program in programs:
            (self.bin / program).unlink(missing_ok=True)

    def but(self, variables: dict[str, str]) -> Computer:
        """The same, with more variables."""
        return replace(self, variables={**self.variables, **variables})

    @property
    def environment(self) -> dict[str, str]:
        """All that a command gets to see of ours: where packages come from."""
        wanted = ("PIP_", "SSL_", "REQUESTS_", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
        kept = {key: text for key, text in CALLER.items() if key.upper().startswith(wanted)}
        own = {"PATH": str(self.bin), "HOME": str(self.home), "KM_LOCAL__STORE": str(self.home / "store")}
        return {**kept, **own, **self.variables}

    def inv(
        self, *words: str, cwd: Path | None = None, user: bool = False, typed: str | None = None, **variables: str
    ) -> Ran:
        """Run ./inv: as a user without rights, or on a terminal where `typed` is typed."""
        return self.run(self.tree / "inv", *words, cwd=cwd, user=user, typed=typed, **variables)

    def run(
        self,
        *words: str | Path,
        cwd: Path | None = None,
        user: bool = False,
        typed: str | None = None,
        **variables: str,
    ) -> Ran:
        """Run a command on this machine."""
        prefix = NOBODY if user and os.geteuid() == 0 else ()
        ours, theirs = pty.openpty()
        os.write(ours, (typed or "").encode())
        ended = subprocess.run(
            [*prefix, *words],
            cwd=cwd or self.tree,
            env={**self.environment, **variables},
            stdin=subprocess.DEVNULL if typed is None else theirs,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if typed is None else theirs,
            text=True,
            timeout=120,
            check=False,
        )
        os.close(theirs)
        shown = _all_of(ours)
        return Ran(ended.returncode, ended.stdout, shown if typed is not None else ended.stderr)


def _all_of(terminal: int) -> str:
    """What was shown on a terminal that nobody uses any more."""
    shown = b""
    with os.fdopen(terminal, "rb", buffering=0) as screen:
        try:
            while part := screen.read(1 << 16):
                shown += part
        except OSError:
            pass  # so Linux tells the end
    return shown.decode()


@pytest.fixture(scope="session")
def space() -> Iterator[Path]:
    """A folder that every user can look into, as pytest's own are not."""
    with tempfile.TemporaryDirectory(prefix="inv ", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture(scope="session")
def programs() -> dict[str, str]:
    """The programs of a machine that has all that we need, and where they are on this one."""
    ours = [tool.command or tool.name for tool in _tools.tools()]
    found = {name: shutil.which(name) for name in (*PROGRAMS, *ours)}
    return {"python3": base_python(), **{name: path for name, path in found.items() if path}}


@pytest.fixture(scope="session")
def checkout(space: Path) -> Callable[[], Path]:
    """Makes a checkout of the project as it is now, without a .venv."""

    def make() -> Path:
        tree = Path(tempfile.mkdtemp(dir=space, prefix="tree "))
        tree.chmod(0o755)
        listed = subprocess.run(
            ["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
        )
        for name in filter(None, listed.stdout.split("\0")):
            if (ROOT / name).is_file():
                (tree / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, tree / name)
        return tree

    return make


@pytest.fixture(scope="session")
def shipped(checkout: Callable[[], Path], programs: dict[str, str], space: Path) -> Path:
    """A checkout whose .venv ./inv has made: for tests that change nothing in it."""
    computer = _computer(checkout(), programs, space).but({"HOME": CALLER["HOME"]})
    ran = computer.inv("--version")
    assert ran.code == 0, ran.err
    assert "setting up .venv" in ran.err
    return computer.tree


@pytest.fixture
def computer(shipped: Path, programs: dict[str, str], space: Path) -> Computer:
    """A machine where ./inv has been run before."""
    return _computer(shipped, programs, space)


@pytest.fixture
def bare(checkout: Callable[[], Path], programs: dict[str, str], space: Path) -> Computer:
    """A machine where ./inv is run for the first time; its lock names Invoke alone."""
    made = _computer(checkout(), programs, space)
    lock = made.tree / "requirements.lock"
    blocks = re.findall(r"^\S.*\n(?: .*\n)*", lock.read_text(), re.MULTILINE)
    lock.write_text("".join(block for block in blocks if block.startswith(("invoke=", "platformdirs="))))
    return made


@pytest.fixture
def developer(checkout: Callable[[], Path], programs: dict[str, str], space: Path) -> Computer:
    """A machine of one who changes the project: this run's own .venv, and a small suite."""
    made = _computer(checkout(), programs, space)
    (made.tree / ".venv").symlink_to(sys.prefix)
    shutil.rmtree(made.tree / "tests")
    (made.tree / "tests").mkdir()
    return made


def _computer(tree: Path, programs: dict[str, str], space: Path) -> Computer:
    folder = Path(tempfile.mkdtemp(dir=space, prefix="computer "))
    folder.chmod(0o755)
    (folder / "bin").mkdir()
    for name, path in programs.items():
        (folder / "bin" / name).symlink_to(path)
    (folder / "home").mkdir(mode=0o777)
    (folder / "home").chmod(0o777)
    return Computer(tree, folder / "bin", folder / "home")
