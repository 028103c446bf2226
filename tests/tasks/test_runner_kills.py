"""SIGKILL at every remote call that changes anything: what is left has tags, and a stop or the reaper ends it.

The command is a process of its own here. It dies when a server has done what it asked for, before it hears of that.
Between two such calls it knows no more than after the first one.
"""

from __future__ import annotations

import itertools
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cloud import names
from tests.conftest import COUNTED
from tests.tasks.test_runner_faults import OFF, REAP, RUN, START, STOP, kept, nothing, overdue, started
from tests.toolkit import Toolkit
from tests.world import CLOUDS, World, named, worlds

pytestmark = [pytest.mark.matrix, pytest.mark.timeout(900)]

VERBS = {
    "start": (nothing, START),
    "stop-keep": (started, (*STOP, "--keep")),
    "stop-destroy": (started, (*STOP, "--destroy")),
    "stop-destroy-kept": (kept, (*STOP, "--destroy")),
    "reap": (overdue, REAP),
    "resume": (kept, ("runners.resume", *named(*CLOUDS), RUN)),
}


class Killer:
    """Ends a process when so many changes were made at all servers together."""

    def __init__(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        self.process: subprocess.Popen[bytes] | None = None
        self.left = 0
        self._guard = threading.Lock()
        ec2, arm, hub = world.ec2, world.arm, world.hub
        changes = {
            "ec2": lambda service, action, *_: not action.startswith(("Describe", "Get")),
            "arm": lambda method, host, *_: method != "GET" and host.startswith("management"),
            "hub": lambda method, target, *_: method != "GET" and target.startswith("/repos/"),
        }
        monkeypatch.setattr(ec2, "_done", self._after(ec2._done, changes["ec2"]))
        monkeypatch.setattr(arm, "answer", self._after(arm.answer, changes["arm"]))
        monkeypatch.setattr(hub, "answer", self._after(hub.answer, changes["hub"]))

    def _after(self, answer: Callable[..., Any], changes: Callable[..., bool]) -> Callable[..., Any]:
        def act(*arguments: Any) -> Any:
            told = answer(*arguments)
            if changes(*arguments):
                with self._guard:
                    self.left -= 1
                    if self.left == 0 and self.process:
                        self.process.kill()
            return told

        return act


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with worlds(tmp_path) as made:
        made.ec2.vcpus = made.arm.cores = 10_000
        made.arm.pace = ""
        yield made


@pytest.mark.parametrize("verb", VERBS)
def test_at_any_change_leaves_what_a_stop_or_the_reaper_ends(
    world: World, verb: str, monkeypatch: pytest.MonkeyPatch, record_property: Callable[[str, object], None]
) -> None:
    before, words = VERBS[verb]
    killer = Killer(world, monkeypatch)
    own = {"KM_RUNNERS__POLL": "0.2", "KM_AZURE__RUNNER_POLL": "1"}
    if verb == "resume":
        own |= {"KM_AWS__BOOT_TIMEOUT": "3", "KM_AZURE__BOOT_TIMEOUT": "3"}
    for number in itertools.count(1):
        run = str(1000 + number)
        before(world, run)
        toolkit = Toolkit(world.home, {**world.settings, **world.workflow(run), **own})
        with toolkit.started(*(run if word == RUN else word for word in words)) as running:
            killer.process, killer.left = running.process, number
            ended = running.end(120)
            killer.process = None
        # Nobody answers ssh on paper: a resume that was let live has changed all that it changes by then.
        assert ended.code in (-signal.SIGKILL, 1 if verb == "resume" else 0), ended.err
        there = world.there(run)
        assert all(names.EXPIRES in vm and names.LABEL in vm for vm in there), there
        if verb == "resume":
            assert all(vm["state"] in OFF or names.RESUMED in vm for vm in there), there
        if verb in ("stop-keep", "resume"):
            assert len(there) == 2  # whoever is killed, what is to be kept is
        stopped, _ = world.step(*STOP, "--destroy", run=run)
        assert stopped.code == 0, stopped.err
        assert world.there(run) == []
        if number % 5 == 0 or ended.code != -signal.SIGKILL:
            world.reaped()
        if ended.code != -signal.SIGKILL:
            record_property(COUNTED, f"{verb}: killed at {number - 1} changes")
            break
    assert number > 2
