"""Room for one more VM, where a cloud counts what all of them take."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta

from cloud import names, wait
from cloud.base import Cloud, Quota, Vm
from cloud.errors import TemporaryError, TimedOut
from cloud.github.runners import Github
from cloud.progress import Progress
from cloud.runners import ending

_LETTING_GO = 180.0
"""Seconds in which a cloud has removed a VM, and does not count it any more."""


def make(
    cloud: Cloud,
    size: str,
    *,
    patience: timedelta,
    evict: bool,
    every: float,
    github: Github | None,
    progress: Progress,
) -> None:
    """Wait until one more VM fits; with `evict`, those kept VMs that would be the next to go anyway go now.

    Raises:
        TemporaryError: it does not fit; the message has the numbers.
    """
    kept = _soonest(cloud) if evict else iter(())
    told = ""
    deadline = wait.clock.monotonic() + patience.total_seconds()
    while short := _short(cloud, size):
        words = "; ".join(map(_numbers, short))
        if words != told:
            progress.note(f"{cloud.name}: {words}")
            told = words
        # Where kept VMs do not count, as on AWS, the end of one makes no room.
        if any(quota.kept for quota in short) and (vm := next(kept, None)):
            progress.note(f"{vm.id} was kept ({vm.tags[names.KEPT]}) and goes before its time")
            ending.end(vm, cloud, github)
            _let_go(cloud, size, short, every)
        elif wait.clock.monotonic() >= deadline:
            raise TemporaryError(
                f"no room for one more VM on {cloud.name}: {words}",
                hint="--wait-quota 20m waits for room, --evict ends kept VMs, a smaller --size takes less",
            )
        else:
            wait.pause(every)


def _numbers(quota: Quota) -> str:
    """What is used of it, in words."""
    used = f"{quota.used} of {quota.limit} {quota.name} are used"
    return f"{used}, {quota.kept} of them by kept VMs, and {quota.each} are needed"


def _short(cloud: Cloud, size: str) -> list[Quota]:
    return [quota for quota in cloud.quotas(size) if quota.short]


def _let_go(cloud: Cloud, size: str, before: list[Quota], every: float) -> None:
    """Wait until a VM that was ended does not count any more: before that the next one's end would be for nothing."""

    def look() -> bool | None:
        return _short(cloud, size) != before or None

    with suppress(TimedOut):
        wait.until(look, what="room", timeout=_LETTING_GO, every=every)


def _soonest(cloud: Cloud) -> Iterator[Vm]:
    """Kept VMs, in the order in which their time is over. One that somebody looks into is none of them."""
    kept = [vm for vm in cloud.machines.list() if names.KEPT in vm.tags and vm.state == "stopped"]
    yield from sorted(kept, key=lambda vm: vm.tags.get(names.EXPIRES, ""))
