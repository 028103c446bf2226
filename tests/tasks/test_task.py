"""A task's signals: the first ends the work in good order, the second leaves it, however close they come."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from cloud import wait
from tasks import _task
from tests.toolkit import ROOT


def test_the_second_signal_leaves_though_it_comes_before_the_first_one_has_done_anything(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Python runs its handler in the midst of the first one's."""
    left: list[str] = []
    interrupt = wait.interrupt

    def late() -> None:
        if not left:
            _task._interrupted(signal.SIGTERM, None)
        interrupt()

    monkeypatch.setattr(wait, "interrupt", late)
    monkeypatch.setattr(_task, "_leave", lambda: left.append("left"))
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    _task._listen()
    for number, handler in before.items():
        signal.signal(number, handler)
    _task._interrupted(signal.SIGINT, None)
    assert left == ["left"]


LATE = """
import os, signal, sys
from invoke import Context
from invoke.exceptions import Exit
from cloud import wait
from tasks._task import task

class Late:
    def __del__(self):
        os.kill(os.getpid(), signal.{signal})

@task(help={{}})
def ending(context):
    os.kill(os.getpid(), signal.SIGINT)
    wait.pause(1)

late = Late()  # goes with its module, when Python has put the signals' default actions back
try:
    ending(Context())
except Exit as told:
    sys.exit(told.code)
"""


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_second_signal_after_the_work_has_ended_changes_nothing(name: str) -> None:
    argv = [sys.executable, "-c", LATE.format(signal=name)]
    assert subprocess.run(argv, cwd=ROOT, capture_output=True, check=False).returncode == 130


TWICE = """
import os, signal
from invoke import Context
from tasks import ns
from tasks._task import Task

def ending(context):
    for _ in range(2):
        os.kill(os.getpid(), signal.SIGINT)

made = Task(ending)
made.later = ns.task_with_config("{name}")[0].later
made(Context())
"""


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("images.l0base", "left as it is: ./inv images.prune removes it\n"),
        ("boxes.build", "left as it is: ./inv boxes.clean removes it\n"),
        ("boxes.upload", "left as it is: the same command goes on\n"),
        ("boxes.test-upload", "left as it is: ./inv boxes.test-upload removes a trial that is a day old\n"),
        ("runners.start", "left as it is: ./inv runners.reap ends it when its time is over\n"),
        ("images.list", "left as it is\n"),
    ],
)
def test_who_leaves_a_command_is_told_what_becomes_of_what_it_leaves(name: str, told: str) -> None:
    argv = [sys.executable, "-c", TWICE.format(name=name)]
    ran = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 130 and ran.stderr.endswith(told), ran.stderr
