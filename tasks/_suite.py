"""What `test` runs: each check is a program with our outputs, so that one sees it live."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from filelock import FileLock

from cloud import process, wait
from cloud.errors import Interrupted, KitError, MissingTool
from tasks import _console, _tools
from tasks._settings import ROOT

LOCK = ROOT / "requirements-dev.lock"

FEW = 3
"""Tests that may fail beside others; more are no accident."""

_FAILED = ROOT / ".pytest_cache/v/cache/lastfailed"
"""Where pytest notes what failed."""

PYTHON = (sys.executable, "-m")

# The tests of a file stay together, since they share what took long to make.
SIDE_BY_SIDE = ["-n", "3", "--dist", "loadfile", "--no-loadscope-reorder"]


def _github(pattern: str) -> list[str]:
    return sorted(str(path.relative_to(ROOT)) for path in (ROOT / ".github").glob(pattern))


_WORKFLOWS = [*_github("workflows/*.yml"), *_github("examples/*.yml")]
_SCHEMA = ("check_jsonschema", "--builtin-schema")

_BINARIES = Path(sys.prefix, "bin")

# By module and not by script: a script knows only the folder that it was installed in.
CHECKS: dict[str, Sequence[str | Path]] = {
    "ruff check": [*PYTHON, "ruff", "check"],
    "ruff format": [*PYTHON, "ruff", "format", "--check"],
    "mypy": [*PYTHON, "mypy"],
    "import-linter": [sys.executable, "-c", "from importlinter.cli import lint_imports_command as main; main()"],
    "actionlint": [_BINARIES / "actionlint", *_WORKFLOWS],
    "zizmor": [_BINARIES / "zizmor", "--offline", "--quiet", ".github"],
    "workflow schema": [*PYTHON, *_SCHEMA, "vendor.github-workflows", *_WORKFLOWS],
    "action schema": [*PYTHON, *_SCHEMA, "vendor.github-actions", *_github("actions/*/action.yml")],
}


def run(*, everything: bool, only: str, yes: bool) -> int:
    """Run the checks, then the tests; return 0 if all of it passed, else 1.

    Raises:
        MissingTool: in CI, a program is missing.
        KitError: what the tests need could not be installed.
    """
    left_out = _bring(yes=yes)
    failed = [] if only not in ("", "lint") else [name for name, argv in _checks() if not _passes(name, argv)]
    if failed:
        _console.say(f"\nfailed: {', '.join(failed)}")
    if left_out:
        _console.say(f"\nleft out, since not on this machine: {', '.join(left_out)}")
    if only == "lint":
        return 1 if failed else 0
    tested = _tested(_pytest(everything, only, machines=left_out in ([], ["shellcheck"])), whole=not only)
    return 0 if tested and not failed else 1


def _tested(argv: Sequence[str], *, whole: bool) -> bool:
    """Run the tests. A few that fail beside others are run once more, alone, and named, whatever comes of it.

    VMs without KVM share two processors with all else here: what then comes too late is seen to be late, and what is
    broken fails again. CPython's own tests do the same (`regrtest --rerun`).
    """
    if whole:
        _FAILED.unlink(missing_ok=True)
    code = _ended("pytest", argv)
    if code != 1 or not whole or not _FAILED.exists():
        return code == 0
    again = sorted(json.loads(_FAILED.read_text()))
    if len(again) > FEW:
        return False
    passed = _passes("pytest, alone", [*PYTHON, "pytest", *again])
    _console.say(f"\nfailed beside others{', and not alone' if passed else ''}: {', '.join(again)}")
    return passed


def _bring(*, yes: bool) -> list[str]:
    """Install what the tests need; return the names of the programs that are missing all the same."""
    if Path(sys.prefix) != ROOT / ".venv":
        raise KitError("these dependencies are not the project's own", hint="run ./inv, not inv")
    try:
        _tools.ensure("test", yes=yes)
    except MissingTool as refusal:
        if os.environ.get("CI") == "true":
            raise
        _console.say(f"{refusal.message}\n  {refusal.hint}")
    installed = Path(sys.prefix) / LOCK.name
    with FileLock(f"{installed}.lock"):
        if not installed.exists() or installed.read_bytes() != LOCK.read_bytes():
            _console.say(f"installing what {LOCK.name} names")
            environment = {key: text for key, text in os.environ.items() if key not in _PIP_ELSEWHERE}
            process.run([*PYTHON, *_PIP, "-r", LOCK], env=environment, on_line=_console.say, timeout=900)
            shutil.copy(LOCK, installed)
    return [tool.name for tool in _tools.missing("test")]


_PIP = (
    *("pip", "install", "-q", "--disable-pip-version-check"),
    *("--no-user", "--target=", "--compile", "--require-hashes"),
)
_PIP_ELSEWHERE = ("PIP_PREFIX", "PIP_ROOT", "PIP_CONSTRAINT")
"""A user's settings that bring other packages, or put them elsewhere. `inv` does the same."""


def _checks() -> Iterator[tuple[str, Sequence[str | Path]]]:
    yield from CHECKS.items()
    if shellcheck := shutil.which("shellcheck"):
        yield "shellcheck", [shellcheck, "inv", ".ci/run", *_scripts()]


def _scripts() -> list[str]:
    """All shell scripts, without those in hidden folders, which others wrote."""
    found = []
    for folder, folders, files in os.walk(ROOT):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [os.path.relpath(os.path.join(folder, name), ROOT) for name in sorted(files) if name.endswith(".sh")]
    return found


def _pytest(everything: bool, only: str, *, machines: bool) -> list[str]:
    marks = ([] if everything else ["not matrix"]) + ([] if machines else ["not vm"])
    chosen = ["-k", only] if only else SIDE_BY_SIDE
    return [*PYTHON, "pytest", *(["-m", " and ".join(marks)] if marks else []), *chosen]


def _passes(name: str, argv: Sequence[str | Path]) -> bool:
    return _ended(name, argv) == 0


def _ended(name: str, argv: Sequence[str | Path]) -> int:
    """Run a check under its name; its exit code.

    It has a session of its own, since a Ctrl-C on a terminal would reach it a second time with ours,
    and pytest takes the second as an order to drop its clean-up.

    Raises:
        Interrupted: an interrupt came; the check was given the time to clean up.
    """
    _console.say(f"\n=== {name}")
    with subprocess.Popen(argv, cwd=ROOT, start_new_session=True) as child:
        try:
            while child.poll() is None:
                wait.pause(0.05)
        except Interrupted:
            os.killpg(child.pid, signal.SIGINT)
            try:
                child.wait(process.GRACE)
            except subprocess.TimeoutExpired:
                os.killpg(child.pid, signal.SIGKILL)
            raise
    return child.returncode
