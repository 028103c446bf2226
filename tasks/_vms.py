"""VMs as rows: for programs with all that is known, for people as tables."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from cloud import names
from tasks import _console

if TYPE_CHECKING:
    from cloud.base import Leftover, Vm
    from cloud.github.runners import Runner
    from cloud.runners import Due, Plan, Stopped


def vm_row(vm: Vm) -> _console.Row:
    """A VM, for programs."""
    tags = vm.tags
    return {
        "label": tags.get(names.LABEL, ""),
        "cloud": vm.cloud,
        "state": vm.state,
        "address": vm.address,
        "created": vm.created,
        "expires": tags.get(names.EXPIRES, ""),
        "kept": tags.get(names.KEPT, ""),
        "job": tags.get(names.JOB, ""),
        "who": tags.get(names.OWNER, ""),
        "run": tags.get(names.RUN_NUMBER, ""),
        "id": vm.id,
        "size": vm.size,
    }


def _left(text: str) -> str:
    """How long there is still until a moment that is written in a tag."""
    from cloud import wait

    try:
        until = names.parse_moment(text)
    except ValueError:
        return text
    now = wait.clock.now()
    return f"in {_console.age(now - (until - now))}" if until > now else "over"


_BEFORE = "of the system before this one"


def stranger_row(vm: Vm) -> _console.Row:
    """A VM that is none of ours."""
    return {**vm_row(vm), "label": vm.name, "kept": _BEFORE}


def left_alone_row(vm: Vm) -> _console.Row:
    """The same, for the reaper."""
    return {"cloud": vm.cloud, "what": "leave alone", "id": vm.id, "label": vm.name, "why": f"{_BEFORE}: {vm.state}"}


VM_COLUMNS: dict[str, Callable[[Any], str]] = {
    "label": str,
    "cloud": str,
    "state": str,
    "address": str,
    "created": _console.age,
    "expires": _left,
    "kept": str,
    "job": str,
    "who": str,
    "id": str,
}


def plan_row(plan: Plan) -> _console.Row:
    """What a start would do on a cloud."""
    return {
        "cloud": plan.cloud,
        "steps": list(plan.steps),
        "label": plan.label,
        "name": plan.name,
        "image": plan.image.build,
        "runner": plan.cached or (plan.download.version if plan.download else ""),
        "from": "" if not plan.download else "the image" if plan.cached else plan.download.url,
        "there": plan.there.id if plan.there else "",
        "erase": [vm.id for vm in plan.halves],
    }


PLAN_COLUMNS: dict[str, Callable[[Any], str]] = {
    "cloud": str,
    "steps": lambda steps: ", ".join(steps) or "none: it is there",
    "label": str,
    "image": str,
    "runner": str,
    "erase": ", ".join,
}


def stopped_row(stopped: Stopped) -> _console.Row:
    """What became of a VM."""
    return {
        "cloud": stopped.vm.cloud,
        "id": stopped.vm.id,
        "state": "kept" if stopped.kept else "destroyed",
        "why": stopped.why,
        "job": stopped.vm.tags.get(names.JOB, ""),
        "expires": stopped.vm.tags.get(names.EXPIRES, "") if stopped.kept else "",
        "warning": stopped.warning,
    }


STOPPED_COLUMNS: dict[str, Callable[[Any], str]] = {
    "cloud": str,
    "id": str,
    "state": str,
    "why": str,
    "expires": lambda text: _left(text) if text else "",
}


def due_row(due: Due) -> _console.Row:
    """What the reaper does with a VM."""
    label = due.vm.tags.get(names.LABEL, "")
    return {"cloud": due.vm.cloud, "what": due.what, "id": due.vm.id, "label": label, "why": due.why}


def half_row(half: Leftover) -> _console.Row:
    """What the reaper does with what is no VM yet, or none any more."""
    return {"cloud": half.cloud, "what": "erase", "id": half.id, "label": "", "why": half.what}


def orphan_row(cloud: str, entry: Runner) -> _console.Row:
    """What the reaper does with an entry at GitHub."""
    label = next(iter(entry.labels), "")
    return {
        "cloud": cloud,
        "what": "erase",
        "id": entry.name,
        "label": label,
        "why": "GitHub's entry of a VM that is gone",
    }


DUE_COLUMNS: dict[str, Callable[[Any], str]] = {"cloud": str, "what": str, "id": str, "label": str, "why": str}
