"""A workflow that starts a runner, has jobs on it and stops it, run by act: expressions, outputs and `needs` are real.

Its jobs run in the VM: a step's shell hands its script to the runner there (tests/on_runner.py).
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from cloud import names
from tests import on_runner
from tests.ci import REAP, Ci
from tests.fakes.github import REPOSITORY
from tests.toolkit import ROOT, eventually

pytestmark = [pytest.mark.vm, pytest.mark.matrix]

ACT = Path(sys.prefix, "bin", "act")
RUN = names.Run(repository=REPOSITORY, workflow="KM CI Pipeline", number="1", id="1", attempt="1")
LABEL = names.label("local", RUN)


@dataclass(frozen=True)
class Ended:
    code: int
    said: str


def begun(ci: Ci, folder: Path, jobs: str = "", **variables: str) -> subprocess.Popen[str]:
    """The workflow, under way."""
    checkout = folder / "checkout"
    (checkout / ".github/workflows").mkdir(parents=True)
    shutil.copy(ROOT / "tests/data/workflows/run.yml", checkout / ".github/workflows")
    git = ["git", "-C", str(checkout), "-c", "user.name=a", "-c", "user.email=a@example.com"]
    for words in (
        ["init", "-q", "-b", "main"],
        ["remote", "add", "origin", f"https://github.com/{REPOSITORY}.git"],
        ["add", "."],
        ["commit", "-qm", "x"],
    ):
        subprocess.run([*git, *words], check=True)
    told = {
        **ci.toolkit.environment,
        "TOOLKIT": sys.executable,
        "PATH": os.pathsep.join((str(on_runner.program(folder / "bin")), ci.toolkit.environment["PATH"])),
        on_runner.WHERE: jobs,
        "RESULT": "0",
        **variables,
    }
    options = [part for key, text in told.items() for part in ("--env", f"{key}={text}")]
    on_this_machine = [f"--platform={name}=-self-hosted" for name in ("ubuntu-24.04", LABEL)]
    return subprocess.Popen(
        [ACT, "workflow_dispatch", *on_this_machine, *options],
        cwd=checkout,
        env={
            **ci.toolkit.environment,
            "XDG_CACHE_HOME": str(folder / "cache"),
            "XDG_CONFIG_HOME": str(folder / "config"),
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def run(ci: Ci, folder: Path, **variables: str) -> Ended:
    """The workflow, from its first job to its last."""
    with on_runner.dispatched(ci.hub, folder / "jobs", run=1) as jobs, begun(ci, folder, jobs, **variables) as act:
        said, _ = act.communicate(timeout=240)
    return Ended(act.returncode, said)


def test_whose_jobs_go_well_leaves_nothing(ci: Ci, tmp_path: Path) -> None:
    ended = run(ci, tmp_path)
    assert ended.code == 0, ended.said
    assert "test ran where build ran on local-runner-KM-CI-Pipeline-1-" in ended.said
    assert [(job.name, job.conclusion) for job in ci.hub.jobs] == [("build", "success"), ("test", "success")]
    ci.is_empty()


def test_one_of_whose_jobs_fails_keeps_its_vm(ci: Ci, tmp_path: Path) -> None:
    ended = run(ci, tmp_path, RESULT="1")
    assert ended.code != 0 and "test ran where build ran" in ended.said, ended.said
    (vm,) = ci.vms()
    kept = "job test failed at step Run the tests"
    assert (vm["state"], vm["label"], vm["kept"]) == ("stopped", LABEL, kept), ended.said


def test_one_of_whose_jobs_fails_keeps_its_vm_though_github_does_not_tell_of_jobs(ci: Ci, tmp_path: Path) -> None:
    ci.hub.fails("GET */jobs", 403, times=9)
    assert run(ci, tmp_path, RESULT="1").code != 0
    (vm,) = ci.vms()
    assert (vm["state"], vm["kept"]) == ("stopped", "needs: test failed")


def test_whose_start_fails_has_no_jobs_that_wait(ci: Ci, tmp_path: Path) -> None:
    ended = run(ci, tmp_path, KM_RUNNERS__IMAGE="NoSuchImage")
    assert ended.code != 0 and ci.hub.jobs == [], ended.said
    ci.is_empty()


def test_that_is_cancelled_leaves_what_its_stop_or_the_reaper_ends(ci: Ci, tmp_path: Path) -> None:
    with begun(ci, tmp_path) as act:
        eventually(lambda: "register local-runner" in ci.toolkit.log() or act.poll() is not None, "a VM that boots")
        os.killpg(act.pid, signal.SIGINT)
        act.communicate(timeout=60)
    stopped = ci.step("runners.stop", "--cloud", "local", "--destroy", GITHUB_RUN_ID="1").ran
    assert stopped.code == 0, stopped.err
    assert ci.toolkit.run(*REAP).code == 0
    ci.is_empty()
