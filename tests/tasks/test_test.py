"""./inv test: what it runs, leaves out and says at the end, on a small suite."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time

import pytest

from tests.tasks.conftest import Computer

GOOD = """\
import pytest


def test_good() -> None:
    pass


@pytest.mark.matrix
def test_long() -> None:
    pass


@pytest.mark.vm
def test_machine() -> None:
    pass
"""


@pytest.fixture
def small(developer: Computer) -> Computer:
    """A suite of three tests, checked with nothing but what it needs."""
    (developer.tree / "tests/test_small.py").write_text(GOOD)
    project = developer.tree / "pyproject.toml"
    text = project.read_text().replace('files = ["tasks", "packer", "cloud", "tests"]', 'files = ["tests"]')
    project.write_text(text.replace("[tool.ruff]\n", '[tool.ruff]\ninclude = ["tests/*"]\n'))
    for script in developer.tree.glob("*/**/*.sh"):
        script.unlink()
    return developer


def closing_line(text: str) -> str:
    return text.rstrip().splitlines()[-1]


def test_all_that_passes_ends_with_pytests_own_line(small: Computer) -> None:
    ran = small.inv("test")
    assert ran.code == 0, ran.err + ran.out
    assert re.findall(r"^=== (.*)$", ran.err, re.MULTILINE) == [
        *("ruff check", "ruff format", "mypy", "import-linter"),
        *("actionlint", "zizmor", "workflow schema", "action schema", "shellcheck", "pytest"),
    ]
    assert re.search(r" 2 passed in ", closing_line(ran.out))


def test_all_brings_the_matrices(small: Computer) -> None:
    ran = small.inv("test", "--all", "--only", "good or long")
    assert ran.code == 0
    assert re.search(r"2 passed, 1 deselected", closing_line(ran.out))
    assert re.findall(r"^=== (.*)$", ran.err, re.MULTILINE) == ["pytest"]


def test_whatever_fails_all_the_rest_is_run_and_all_failures_named(small: Computer) -> None:
    (small.tree / "tests/test_small.py").write_text("import os\ndef test_bad():\n    assert not 1\n")
    (small.tree / "cloud/bad.sh").write_text("cd $1\n")
    ran = small.inv("test")
    assert ran.code == 1
    assert "failed: ruff check, ruff format, mypy, shellcheck" in ran.err
    assert "1 failed" in closing_line(ran.out)


LATE = """\
from pathlib import Path

import pytest


@pytest.mark.parametrize("number", range({count}))
def test_late(number: int) -> None:
    seen = Path(f"seen-{{number}}")
    late = {always} or not seen.exists()
    seen.touch()
    assert not late
"""


@pytest.mark.parametrize(
    ("count", "always", "code", "said"),
    [
        (1, False, 0, "failed beside others, and not alone: tests/test_small.py::test_late[0]"),
        (1, True, 1, "failed beside others: tests/test_small.py::test_late[0]"),
        (4, False, 1, "=== pytest"),
    ],
)
def test_a_few_that_fail_beside_others_are_run_once_more_alone_and_named(
    small: Computer, count: int, always: bool, code: int, said: str
) -> None:
    (small.tree / "tests/test_small.py").write_text(LATE.format(count=count, always=always))
    ran = small.inv("test")
    assert ran.code == code, ran.err + ran.out
    assert ran.err.rstrip().splitlines()[-1] == said


def test_lint_alone_runs_no_test(small: Computer) -> None:
    (small.tree / "tests/test_small.py").write_text(GOOD + "\n\nassert False  # noqa: B011, PT015\n")
    ran = small.inv("test", "--only", "lint")
    assert ran.code == 0, ran.err + ran.out
    assert "pytest" not in ran.err


def test_what_a_person_lacks_is_left_out_and_named(small: Computer) -> None:
    small.lacks("shellcheck", "xorriso")
    ran = small.inv("test")
    assert ran.code == 0, ran.err
    assert "left out, since not on this machine: xorriso, shellcheck" in ran.err
    assert "=== shellcheck" not in ran.err
    assert re.search(r" 1 passed in ", closing_line(ran.out))


def test_in_ci_it_is_a_failure(small: Computer) -> None:
    small.lacks("shellcheck")
    small.has("apt-get", "exit 0")
    ran = small.inv("test", CI="true")
    assert ran.code == 2
    assert "there is no shellcheck" in ran.err
    assert "===" not in ran.err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_reaches_pytest_which_cleans_up(small: Computer, number: signal.Signals) -> None:
    (small.tree / "tests/test_small.py").write_text(
        "import pathlib, time, pytest\n"
        "@pytest.fixture\n"
        "def made():\n    yield\n    pathlib.Path('cleaned').touch()\n"
        "def test_slow(made):\n    pathlib.Path('begun').touch()\n    time.sleep(60)\n"
    )
    with subprocess.Popen([small.tree / "inv", "test", "--only", "slow"], env=small.environment) as process:
        while not (small.tree / "begun").exists():
            assert process.poll() is None
            time.sleep(0.05)
        os.kill(process.pid, number)
        assert process.wait(10) == 130
    assert (small.tree / "cleaned").exists()
