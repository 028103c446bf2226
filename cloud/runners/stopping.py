"""Stop a run's VM: destroyed, or kept for somebody to look into what failed on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from cloud import keep, names, wait
from cloud.base import Cloud, Vm
from cloud.errors import KitError
from cloud.github.runners import Github, Job
from cloud.progress import Progress
from cloud.runners import ending


@dataclass(frozen=True)
class Stopped:
    """What became of a run's VM."""

    vm: Vm
    kept: bool
    why: str
    warning: str = ""


def verdict(vm: Vm, needs: Mapping[str, str] | None, github: Github, jobs: Sequence[Job] | None) -> keep.Verdict:
    """Whether a VM is kept. `jobs` are those of its run's last attempt; None: nobody can tell.

    One that an earlier attempt has kept, and that somebody looks into or has extended since, stays.
    """
    label, tags = vm.tags.get(names.LABEL, ""), vm.tags
    before = keep.Verdict(True, tags[names.KEPT], tags.get(names.JOB, "")) if names.KEPT in tags else None
    if before and (names.EXTENDED in tags or _looked_into(vm)):
        return replace(before, stays=True)
    if jobs is None or not label:
        return keep.decide(label, needs, None, before)
    try:
        return keep.decide(label, needs, [_seen(job, label, github) for job in jobs], before)
    except KitError as problem:
        why = "GitHub does not tell whether a job hit its time limit"
        warning = f"{why}: kept ({problem.message})"
        return replace(before, warning=warning, stays=True) if before else keep.Verdict(True, why, warning=warning)


def _looked_into(vm: Vm) -> bool:
    return vm.state == "running" and names.RESUMED in vm.tags


def _seen(job: Job, label: str, github: Github) -> keep.Job:
    # A time limit shows as `cancelled`, as a person's stop does: an annotation tells them apart.
    ours = label.lower() in (each.lower() for each in job.labels)
    late = ours and job.conclusion == "cancelled" and github.timed_out(job)
    return keep.Job(
        name=job.name,
        url=job.url,
        labels=job.labels,
        conclusion=job.conclusion,
        status=job.status,
        failed_step=job.failed_step,
        timed_out=late,
    )


def of_run(run: names.Run, cloud: Cloud) -> list[Vm]:
    """All VMs of a run, of every attempt, in whatever state."""
    return [
        vm
        for vm in cloud.machines.list()
        if vm.tags.get(names.REPO) == names.tag_value(run.repository)
        and vm.tags.get(names.RUN_ID) == names.tag_value(run.id)
    ]


def stop(
    vm: Vm, decided: keep.Verdict, keep_for: timedelta, cloud: Cloud, github: Github | None, progress: Progress
) -> Stopped:
    """Destroy the VM, or stop it and keep it so long. Either way it is no runner any more.

    Raises:
        KitError: part of that could not be done; the rest is.
    """
    if not decided.keep:
        ending.end(vm, cloud, github)
        return Stopped(vm, False, decided.why, decided.warning)
    if decided.stays and _looked_into(vm):
        return Stopped(vm, True, decided.why, decided.warning)
    if not decided.stays:
        expires = wait.clock.now() + keep_for
        marks = {names.KEPT: decided.why, names.JOB: decided.job, names.EXPIRES: names.moment(expires)}
        gone = dict.fromkeys((names.DOOMED, names.RESUMED, names.EXTENDED))
        # First of all: whatever comes, it says why it is there and until when.
        vm = cloud.machines.tag(vm, {**names.tag_values(marks), **gone})
    trouble: KitError | None = None
    idle = True
    try:
        idle = ending.deregistered(vm, github)
    except KitError as problem:
        trouble = problem
    if not cloud.machines.stop(vm):
        progress.note(f"{vm.id} did not end by itself: its runner's credentials are worthless, and still on its disk")
    if not idle:
        ending.deregister(vm, github)
    if trouble:
        raise trouble
    return Stopped(cloud.machines.read(vm), True, decided.why, decided.warning)
