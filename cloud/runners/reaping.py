"""The reaper: what is due of what there is, and doing that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from cloud import names, wait
from cloud.base import Cloud, Vm
from cloud.github.runners import Github, Runner
from cloud.runners import ending


def expires(vm: Vm) -> datetime | None:
    """When nobody needs it any more; None where its tag says nothing that can be read."""
    return _moment(vm, names.EXPIRES)


def _moment(vm: Vm, tag: str) -> datetime | None:
    try:
        return names.parse_moment(vm.tags.get(tag, ""))
    except ValueError:
        return None


@dataclass(frozen=True)
class Due:
    """What the reaper has to do with a VM, and why."""

    vm: Vm
    what: str
    """`erase`, `doom` (the first look at one that runs), `spare` (doomed, and not due any more), `stop`."""
    why: str


def due(vms: Sequence[Vm], grace: timedelta) -> list[Due]:
    """What is to be done with these VMs now. What is not ours, or says no time, is left alone.

    One that is stopped goes as soon as its time is over. One that runs is looked at twice, so that who
    extends it, or a clock that is wrong for a moment, has a chance.
    """
    now = wait.clock.now()
    found = []
    for vm in vms:
        end, doomed, awake = (_moment(vm, tag) for tag in (names.EXPIRES, names.DOOMED, names.RESUMED))
        if vm.tags.get(names.KIND) != "runner" or end is None:
            continue
        over = f"expired {end:%Y-%m-%d %H:%M} UTC"
        if end <= now and (vm.state == "stopped" or (doomed and doomed + grace <= now)):
            found.append(Due(vm, "erase", over))
        elif end <= now and not doomed:
            found.append(Due(vm, "doom", f"{over} and runs: it goes at the next look"))
        elif end > now and doomed:
            found.append(Due(vm, "spare", "was extended"))
        elif end > now and awake and awake <= now and vm.state == "running":
            found.append(Due(vm, "stop", "was started to be looked into, and its time is over"))
    return found


def reap(what: Due, cloud: Cloud, github: Github | None) -> None:
    """Do that.

    Raises:
        KitError: it could not be done, or not all of it.
    """
    match what.what:
        case "erase":
            ending.end(what.vm, cloud, github)
        case "doom":
            cloud.machines.tag(what.vm, {names.DOOMED: names.moment(wait.clock.now())})
        case "spare":
            cloud.machines.tag(what.vm, {names.DOOMED: None})
        case "stop":
            cloud.machines.stop(what.vm)
            cloud.machines.tag(what.vm, {names.RESUMED: None})


def orphans(entries: Sequence[Runner], vms: Sequence[Vm], cloud: Cloud) -> list[Runner]:
    """GitHub's entries of runners whose VM in that cloud is gone: offline, by a label of ours, and of none of its VMs.

    VMs that the cloud does not show us, as those of another machine, are none that are gone.

    One that was never online may be of a VM that is just being made; GitHub drops it after a day by itself.
    """
    known = {vm.tags.get(names.RUNNER) for vm in vms}
    return [
        entry
        for entry in entries
        if not entry.online
        and not entry.busy
        and entry.version
        and entry.name not in known
        and any(names.is_label(label) == cloud.name for label in entry.labels)
        and cloud.machines.had(entry.name)
    ]
