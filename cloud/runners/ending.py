"""The end of a VM and of its runner. They do not wait for each other."""

from __future__ import annotations

from cloud import names, wait
from cloud.base import Cloud, Vm
from cloud.errors import KitError
from cloud.github.runners import Busy, Github

UNDO = 5.0
"""Seconds that taking back a start may wait for anything once the caller has stopped us."""

_SETTLING = 60.0
"""Seconds in which GitHub notices that a runner whose VM has ended is not busy any more."""


def end(vm: Vm, cloud: Cloud, github: Github | None) -> None:
    """End a VM and its runner. The VM goes last, and goes even if GitHub does not answer.

    Raises:
        KitError: the VM is gone, and its entry at GitHub may not be.
    """
    trouble: KitError | None = None
    try:
        if not deregistered(vm, github):
            cloud.machines.stop(vm, force=True)
            deregister(vm, github)
    except KitError as problem:
        trouble = problem
    cloud.machines.erase(vm)
    if trouble:
        raise trouble
    deregistered(vm, github)  # it may have registered between that look and its end


def deregistered(vm: Vm, github: Github | None) -> bool:
    """Remove the VM's runner from GitHub; false when it is busy with a job."""
    name = vm.tags.get(names.RUNNER, "")
    if not github or not name:
        return True
    runner = github.runner(name)
    try:
        if runner:
            github.delete(runner)
    except Busy:
        return False
    return True


def deregister(vm: Vm, github: Github | None) -> None:
    """The same for one whose VM has been stopped: GitHub takes a while to see that its job is dead.

    Raises:
        TimedOut: it still counts as busy.
    """
    wait.until(
        lambda: deregistered(vm, github) or None,
        what=f"GitHub letting go of {vm.tags.get(names.RUNNER)}",
        timeout=UNDO if wait.interrupted() else _SETTLING,
        every=2,
        finish=wait.interrupted(),
        hint="GitHub removes it by itself after 14 days",
    )
