"""A fault at every remote call of start, stop and reap: what holds then, and that a reaper alone clears up the rest.

The calls are learned, not listed: a command is run, its calls are counted at each server, and then it is run once
more for each call and each way in which that call may end. What must hold is said by `holds`: nothing costs anything
that does not say whose it is and until when; a label that is out has a VM that is online; what one cloud does is no
other one's business; no traceback; the same command again comes to its end.

Each call ends in one of eight ways, in turn, so that two commands with the same calls meet others at each of them; with
EVERY_FAULT in the environment each call ends in every way, which takes two hours.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from cloud import names, ssh
from tests.conftest import COUNTED
from tests.fakes.github import KINDS
from tests.toolkit import Ran
from tests.world import CLOUDS, WORDS, World, named, worlds

pytestmark = [pytest.mark.matrix, pytest.mark.timeout(1500)]

START = ("runners.start", *named(*CLOUDS))
STOP = ("runners.stop", *named(*CLOUDS))
REAP = ("runners.reap", *named(*CLOUDS))
WAYS = ("lost", "reset", "refused", "lost", "silent", "denied", "broken", "lost", "capacity", "throttled")
"""How a call may end: done, and nobody hears of it, which is where things are lost; not done, for now or for good."""


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with worlds(tmp_path) as made:
        # Room for all runs of a test.
        made.ec2.vcpus = made.arm.cores = 10_000
        made.arm.families = {}
        # Nobody answers ssh on paper: VMs that boot show that elsewhere.
        monkeypatch.setattr(ssh, "answers", lambda machine: None)
        monkeypatch.setattr(ssh, "run", lambda machine, remote, **_: None)
        yield made


def arm_fault(world: World, server: str, number: int, kind: str) -> None:
    """Let the call of that number, counted from now on, at that server end so."""
    {"aws": world.ec2.fails_at, "azure": world.arm.fails_at, "github": world.hub.fails_at}[server](number, kind)


def disarm(world: World) -> None:
    """All is well again."""
    world.ec2.fails_at(0, "reset")
    world.arm.faults.clear()
    world.hub.fails_at(0, "reset")


def calls(world: World) -> dict[str, int]:
    """How many calls came to each server so far."""
    return {"aws": len(world.ec2.calls), "azure": len(world.arm.calls), "github": len(world.hub.asked)}


IMPATIENT = {"KM_AWS__TIMEOUT": "2", "KM_AZURE__TIMEOUT": "2", "KM_GITHUB__TIMEOUT": "2"}
"""The settings of one who does not wait a minute for a server that says nothing."""

BATCH = 15
"""Runs after which the reaper comes by: what they left, alone, it brings to nothing."""


@dataclass
class Matrix:
    """A command with a fault at each of its calls."""

    world: World
    before: Callable[[World, str], None]
    """Brings about what the command finds, for a run of that number."""
    words: tuple[str, ...]
    holds: Callable[[World, str, str, Ran, dict[str, Any]], Iterator[str]]
    """What does not hold after it, in words: the fault was at that server, in that run."""
    wrong: list[str] = field(default_factory=list)
    told: str = ""
    """How many calls and faults there were."""
    runs: Iterator[int] = field(default_factory=lambda: itertools.count(1000))

    def once(self, server: str = "", number: int = 0, kind: str = "") -> dict[str, int]:
        """Do it once, with one fault; how many calls it made."""
        run = str(next(self.runs))
        words = tuple(run if word == RUN else word for word in self.words)
        self.before(self.world, run)
        begun = calls(self.world)
        if server:
            arm_fault(self.world, server, number, kind)
        ran, out = self.world.step(*words, run=run, **(IMPATIENT if kind == "silent" else {}))
        made = {each: count - begun[each] for each, count in calls(self.world).items()}
        disarm(self.world)
        found = list(self.holds(self.world, server, run, ran, out))
        if "Traceback" in ran.err or "this is a bug" in ran.err:
            found.append(f"a traceback or a bug: {ran.err[-300:]}")
        if any(names.EXPIRES not in vm or names.LABEL not in vm for vm in self.world.there(run)):
            found.append("a VM without tags")
        again, _ = self.world.step(*words, run=run)
        if again.code != 0 and not (again.code == 2 and "no VM is of" in again.err):
            found.append(f"the same command again: {again.code}: {again.err[-300:]}")
        self.wrong += [f"{kind} at call {number} of {server}: {each}" for each in found]
        return made

    def kinds(self, server: str, number: int) -> tuple[str, ...]:
        """The faults of a call: one, in turn, or every one."""
        ways = [way for way in WAYS if server != "github" or way in KINDS]
        if "EVERY_FAULT" in os.environ:
            return tuple(dict.fromkeys(ways))
        # Where in the row it begins is another place for each command, and the same each time.
        return (ways[(number + sum(map(ord, "".join((server, *self.words))))) % len(ways)],)

    def all(self, *servers: str) -> None:
        """Do it with every fault at every call of these servers."""
        learned = self.once()
        assert self.wrong == [], self.wrong
        points = [
            (server, number, kind)
            for server in servers
            for number in range(1, learned[server] + 1)
            for kind in self.kinds(server, number)
        ]
        for count, point in enumerate(points, 1):
            self.once(*point)
            if count % BATCH == 0 or count == len(points):
                self.world.reaped()
        self.told = f"{learned} calls, {len(points)} faults at {', '.join(servers)}"
        assert self.wrong == [], f"{len(self.wrong)} of {len(points)}:\n" + "\n".join(self.wrong[:20])


def started(world: World, run: str) -> None:
    ran, out = world.step(*START, run=run)
    assert ran.code == 0 and all(out["run-ons"].values()), ran.err


def kept(world: World, run: str) -> None:
    started(world, run)
    assert world.step(*STOP, "--keep", run=run)[0].code == 0


def overdue(world: World, run: str) -> None:
    """Runners whose time is over, and that the reaper has seen once."""
    started(world, run)
    world.later(hours=7)
    assert world.run(*REAP).code == 0
    world.later(minutes=30)


def nothing(world: World, run: str) -> None:
    """It finds nothing."""


def a_start(world: World, server: str, run: str, ran: Ran, out: dict[str, Any]) -> Iterator[str]:
    there = {vm[names.LABEL]: vm for vm in world.there(run)}
    online = {label for entry in world.hub.runners if entry.as_told == (True, False) for label in entry.labels}
    for cloud in CLOUDS:
        label = out["run-ons"][WORDS[cloud]]
        if label and (label not in there or label not in online):
            yield f"{cloud}: a label is out without a runner"
        if not label and (left := [vm["id"] for vm in there.values() if vm["cloud"] == cloud]):
            yield f"{cloud}: {left} is left behind: {ran.err[-900:]}"
        if not label and server in CLOUDS and server != cloud:
            yield f"{cloud}: {server}'s fault took its runner: {ran.err[-300:]}"
    if (ran.code == 0) != any(out["run-ons"].values()):
        yield f"ended with {ran.code}"


def a_keeping_stop(world: World, server: str, run: str, ran: Ran, out: dict[str, Any]) -> Iterator[str]:
    vms = world.there(run)
    if sorted(vm["cloud"] for vm in vms) != sorted(CLOUDS):
        yield f"what was to be kept is gone: {[vm['id'] for vm in vms]}"
    done = {vm["cloud"]: vm["state"] in OFF and names.KEPT in vm for vm in vms}
    for cloud in CLOUDS:
        if server not in (cloud, "github") and not done.get(cloud):
            yield f"{cloud}: {server}'s fault kept it from being stopped: {ran.err[-300:]}"
    if ran.code == 0 and not all(done.values()):
        yield "said that it was done, and it was not"


def an_ending(world: World, server: str, run: str, ran: Ran, out: dict[str, Any]) -> Iterator[str]:
    vms = world.there(run)
    if ran.code == 0 and vms:
        yield f"said that it was done, and {[vm['id'] for vm in vms]} are there"
    for vm in vms:
        if vm["cloud"] != server:
            yield f"{vm['cloud']}: {server}'s fault kept it from its end: {ran.err[-300:]}"


def a_resume(world: World, server: str, run: str, ran: Ran, out: dict[str, Any]) -> Iterator[str]:
    vms = world.there(run)
    if sorted(vm["cloud"] for vm in vms) != sorted(CLOUDS):
        yield f"what was kept is gone: {[vm['id'] for vm in vms]}"
    for vm in vms:
        if vm["state"] not in OFF and names.RESUMED not in vm:
            yield f"{vm['cloud']}: it runs, and nobody will stop it"
        if vm["cloud"] != server and vm["state"] in OFF:
            yield f"{vm['cloud']}: {server}'s fault kept it from being started: {ran.err[-300:]}"


OFF = ("stopped", "stopping", "deallocated")
RUN = "RUN"
"""Stands for the number of the run."""

VERBS = {
    "start": (nothing, START, a_start),
    "stop-keep": (started, (*STOP, "--keep"), a_keeping_stop),
    "stop-destroy": (started, (*STOP, "--destroy"), an_ending),
    "reap": (overdue, REAP, an_ending),
    "resume": (kept, ("runners.resume", *named(*CLOUDS), RUN), a_resume),
}


@pytest.mark.parametrize("server", ["aws", "azure", "github"])
@pytest.mark.parametrize("verb", VERBS)
def test_at_any_call_leaves_what_the_next_one_or_the_reaper_ends(
    world: World, verb: str, server: str, record_property: Callable[[str, object], None]
) -> None:
    matrix = Matrix(world, *VERBS[verb])
    matrix.all(server)
    record_property(COUNTED, f"{verb}: {matrix.told}")
