"""A fault at every remote call of start, stop and reap: what holds then, and that a reaper alone clears up the rest.

The calls are learned, not listed: a command is run, its calls are counted at each server, and then it is run once
more for each call and each way in which that call may end. What must hold is said by `holds`: nothing costs anything
that does not say whose it is and until when; a label that is out has a VM that is online; what one cloud does is no
other one's business; no traceback; the same command again comes to its end.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.github import KINDS
from tests.toolkit import Ran
from tests.world import CLOUDS, WORDS, World, named, worlds

pytestmark = [pytest.mark.matrix, pytest.mark.timeout(1500)]

START = ("runners.start", *named(*CLOUDS))
STOP = ("runners.stop", *named(*CLOUDS))
REAP = ("runners.reap", *named(*CLOUDS))
FAULTS = (*KINDS, "capacity")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with worlds(tmp_path) as made:
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
    runs: Iterator[int] = field(default_factory=lambda: itertools.count(1000))

    def once(self, server: str = "", number: int = -1, kind: str = "") -> dict[str, int]:
        """Do it once, with one fault; how many calls it made."""
        run = str(next(self.runs))
        self.before(self.world, run)
        begun = calls(self.world)
        if server:
            arm_fault(self.world, server, number, kind)
        ran, out = self.world.step(*self.words, run=run)
        made = {each: count - begun[each] for each, count in calls(self.world).items()}
        disarm(self.world)
        where = f"{kind} at call {number} of {server}"
        self.wrong += [f"{where}: {each}" for each in self.holds(self.world, server, run, ran, out)]
        if "Traceback" in ran.err or "this is a bug" in ran.err:
            self.wrong.append(f"{where}: a traceback or a bug: {ran.err[-300:]}")
        if any(not vm["expires"] or not vm["label"] for vm in self.world.vms()):
            self.wrong.append(f"{where}: a VM without tags")
        again, _ = self.world.step(*self.words, run=run)
        if again.code != 0:
            self.wrong.append(f"{where}: the same command again: {again.code}: {again.err[-300:]}")
        try:
            self.world.reaped()
        except AssertionError as left:
            self.wrong.append(f"{where}: left after the reaper: {left}")
        return made

    def all(self, *servers: str) -> None:
        """Do it with every fault at every call of these servers."""
        learned = self.once()
        assert self.wrong == [], self.wrong
        count = 0
        for server in servers:
            for number in range(1, learned[server] + 1):
                for kind in FAULTS if server != "github" else KINDS:
                    self.once(server, number, kind)
                    count += 1
        print(f"\n{' '.join(self.words)}: {learned} calls, {count} faults")
        assert self.wrong == [], f"{len(self.wrong)} of {count}:\n" + "\n".join(self.wrong[:20])


def started(world: World, run: str) -> None:
    ran, out = world.step(*START, run=run)
    assert ran.code == 0 and all(out["run-ons"].values()), ran.err


def nothing(world: World, run: str) -> None:
    """It finds nothing."""


def a_start(world: World, server: str, run: str, ran: Ran, out: dict[str, Any]) -> Iterator[str]:
    there = {vm["label"]: vm for vm in world.vms()}
    online = {label for entry in world.hub.runners if entry.as_told == (True, False) for label in entry.labels}
    for cloud in CLOUDS:
        label = out["run-ons"][WORDS[cloud]]
        if label and (label not in there or label not in online):
            yield f"{cloud}: a label is out without a runner"
        if not label and any(vm["cloud"] == cloud for vm in there.values()) and "taken back" not in ran.err:
            yield f"{cloud}: a VM without a word: {ran.err[-200:]}"
        if not label and server in CLOUDS and server != cloud:
            yield f"{cloud}: {server}'s fault took its runner: {ran.err[-300:]}"
    if (ran.code == 0) != any(out["run-ons"].values()):
        yield f"ended with {ran.code}"


def a_keeping_stop(world: World, server: str, run: str, ran: Ran, out: dict[str, Any]) -> Iterator[str]:
    vms = world.vms()
    if sorted(vm["cloud"] for vm in vms) != sorted(CLOUDS):
        yield f"what was to be kept is gone: {[vm['id'] for vm in vms]}"
    for vm in vms:
        if vm["cloud"] != server and server != "github" and (vm["state"], bool(vm["kept"])) != ("stopped", True):
            yield f"{vm['cloud']}: {server}'s fault kept it from being stopped: {ran.err[-300:]}"
    if ran.code == 0 and any(vm["state"] != "stopped" or not vm["kept"] for vm in vms):
        yield "said that it was done, and it was not"


def an_ending(world: World, server: str, run: str, ran: Ran, out: dict[str, Any]) -> Iterator[str]:
    vms = world.vms()
    if ran.code == 0 and vms:
        yield f"said that it was done, and {[vm['id'] for vm in vms]} are there"
    for vm in vms:
        if vm["cloud"] != server:
            yield f"{vm['cloud']}: {server}'s fault kept it from its end: {ran.err[-300:]}"


def overdue(world: World, run: str) -> None:
    """Runners whose time is over, and that the reaper has seen once."""
    started(world, run)
    world.later(hours=7)
    assert world.run(*REAP).code == 0
    world.later(minutes=30)


SERVERS = ("aws", "azure", "github")


@pytest.mark.parametrize("server", SERVERS)
def test_of_a_start(world: World, server: str) -> None:
    Matrix(world, nothing, START, a_start).all(server)


@pytest.mark.parametrize("server", SERVERS)
def test_of_a_stop_that_keeps(world: World, server: str) -> None:
    Matrix(world, started, (*STOP, "--keep"), a_keeping_stop).all(server)


@pytest.mark.parametrize("server", SERVERS)
def test_of_a_stop_that_destroys(world: World, server: str) -> None:
    Matrix(world, started, (*STOP, "--destroy"), an_ending).all(server)


@pytest.mark.parametrize("server", SERVERS)
def test_of_a_reaper(world: World, server: str) -> None:
    Matrix(world, overdue, REAP, an_ending).all(server)
