"""What the reaper finds on each cloud, and what it does with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from tasks import _clouds, _console, _runners, _vms

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta

    from cloud.base import Cloud, Leftover, Vm
    from cloud.github.runners import Github, Runner
    from cloud.runners import Due
    from tasks._settings import Settings


@dataclass(frozen=True)
class Found:
    """What is to be done on a cloud."""

    due: Sequence[Due]
    halves: Sequence[Leftover]
    orphans: Sequence[Runner]
    """Entries at GitHub of VMs that are gone."""
    strangers: Sequence[Vm]
    listed: frozenset[str] | None
    """The runners that GitHub has, by name; None where it was not asked, or did not say."""

    def rows(self, cloud: str) -> list[_console.Row]:
        """All of it, for people and programs."""
        return [
            *map(_vms.due_row, self.due),
            *map(_vms.half_row, self.halves),
            *(_vms.orphan_row(cloud, each) for each in self.orphans),
            *map(_vms.left_alone_row, self.strangers),
        ]


def look(
    clouds: Sequence[Cloud], settings: Settings, grace: timedelta, *, strangers: bool
) -> tuple[list[tuple[Cloud, Found]], list[_clouds.Answer[Any]]]:
    """What is found on each of them, all at once, and how each look-up ended: one that fails hides no other's find."""
    from cloud import runners

    # First GitHub: what has registered by then has a VM that can be seen after that.
    entries = _clouds.ask(clouds, lambda _: _runners.entries(settings))
    looks: list[Callable[[Cloud], Any]] = [
        lambda cloud: cloud.machines.list(),
        lambda cloud: cloud.machines.halves(),
        lambda cloud: cloud.machines.strangers() if strangers else (),
    ]
    acts = [(cloud, partial(each, cloud)) for each in looks for cloud in clouds]
    answers = _clouds.side_by_side(acts, len(acts))
    parts = (answers[number : number + len(clouds)] for number in range(0, len(answers), len(clouds)))
    found = []
    for cloud, told, vms, halves, others in zip(clouds, entries, *parts, strict=True):
        # Without its VMs nobody can tell which entries are of none.
        lost = runners.orphans(told.value or (), vms.value, cloud) if vms.value is not None else ()
        due = runners.due(vms.value or (), grace)
        listed = None if told.value is None else frozenset(each.name for each in told.value)
        found.append((cloud, Found(due, halves.value or (), lost, others.value or (), listed)))
    return found, [*entries, *answers]


def act(cloud: Cloud, found: Found, settings: Settings) -> list[tuple[Cloud, Callable[[], object]]]:
    """What is done about it, each by itself: what fails leaves the rest alone."""
    from cloud import names, runners

    ours = _runners.repository(settings)
    github: Github = _runners.github(settings, ours)

    def of(vm: Vm) -> Github | None:
        # Thousands of VMs whose runners went long ago are no reason to ask GitHub as often.
        tags, here = vm.tags, found.listed is not None and vm.tags.get(names.REPO) == names.tag_value(ours)
        return None if here and tags.get(names.RUNNER) not in (found.listed or ()) else _runners.github(settings, vm)

    return [
        *((cloud, partial(runners.reap, each, cloud, of(each.vm))) for each in found.due),
        *((cloud, partial(cloud.machines.remove, each)) for each in found.halves),
        *((cloud, partial(github.delete, each)) for each in found.orphans),
    ]
