"""Start a run's VM on one cloud: what is done, and doing it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta

from cloud import console, names, ssh, userdata, wait, work
from cloud.base import Cloud, Image, Order, Quota, Vm, current
from cloud.errors import KitError, NotFound, TemporaryError, TimedOut
from cloud.github.runners import Download, Github
from cloud.progress import Progress
from cloud.runners import ending, room


@dataclass(frozen=True)
class Wanted:
    """What a start asks for, the same on each cloud."""

    run: names.Run
    image: str
    user: str
    keys: tuple[str, ...]
    ttl: timedelta
    timeout: timedelta
    size: Mapping[str, str]
    """A size for some of the clouds."""
    labels: tuple[str, ...] = ()
    """Labels that a runner has besides its own."""
    ephemeral: bool = False
    """It takes one job and no more."""
    ssh: bool = False
    """Its ssh port is open from the start on, for our address; else only when somebody asks to get in."""
    wait_quota: timedelta = timedelta()
    """How long it waits for its cloud's quota to have room for one more VM."""
    evict: bool = False
    """Kept VMs go before their time, one after the other, where there is no room else."""
    poll: float = 3.0


@dataclass(frozen=True)
class Plan:
    """What a start does on one cloud."""

    cloud: str
    wanted: Wanted
    name: str
    label: str
    image: Image
    download: Download | None
    """What the runner is made from; without one the VM registers nowhere."""
    cached: str
    """The version that the image has as a file and GitHub still accepts for long enough."""
    there: Vm | None
    """A VM that an earlier start of this run made, and whose runner is online: nothing is to be done."""
    halves: tuple[Vm, ...]
    """What is left of an earlier start of this run that came to no end."""
    quotas: tuple[Quota, ...] = ()

    @property
    def steps(self) -> tuple[str, ...]:
        """What is done, in order."""
        if self.there:
            return ("open ssh",) if self.wanted.ssh else ()
        short = any(quota.short for quota in self.quotas)
        return (
            *(("erase",) if self.halves else ()),
            *(("make room",) if short else ()),
            "create",
            *(("register",) if self.download else ("answer",)),
            *(("open ssh",) if self.wanted.ssh else ()),
        )


def plan(wanted: Wanted, cloud: Cloud, github: Github | None) -> Plan:
    """Look what there is, all at once: the image, a network, room, VMs of this run, what GitHub wants a runner to be.

    Without `github` the VM is one to work in by hand.

    Raises:
        NotFound: there is no such image, or no network for runners.
    """
    label = names.label(cloud.name, wanted.run)
    with ThreadPoolExecutor(6) as threads:
        images = threads.submit(cloud.images.list, wanted.image)
        machines = threads.submit(cloud.machines.list)
        missing = threads.submit(cloud.network.missing)
        quotas = threads.submit(cloud.quotas, wanted.size.get(cloud.name, ""))
        download = threads.submit(github.download) if github else None
        online = threads.submit(github.runners) if github else None
        image = current(images.result())
        if image is None:
            raise NotFound(
                f"there is no {wanted.image} on {cloud.name}", hint=f"./inv images.l0base --cloud {cloud.name}"
            )
        if missing.result():
            raise NotFound(
                f"runners have no network on {cloud.name}: there is no {', no '.join(missing.result())}",
                hint=f"./inv runners.setup-network --cloud {cloud.name}",
            )
        ours = [vm for vm in machines.result() if vm.tags.get(names.LABEL) == label and names.KEPT not in vm.tags]
        ready = {runner.name for runner in (online.result() if online else ()) if runner.online}
        there = [vm for vm in ours if vm.state == "running" and vm.tags.get(names.RUNNER) in ready]
        return Plan(
            cloud=cloud.name,
            wanted=wanted,
            name=names.machine_name(cloud.name, wanted.run),
            label=label,
            image=image,
            download=download.result() if download else None,
            cached=_fresh(image, github) if github else "",
            there=there[0] if there else None,
            halves=tuple(vm for vm in ours if vm not in there),
            quotas=tuple(quotas.result()),
        )


def _fresh(image: Image, github: Github) -> str:
    """The image's own version of the runner, if GitHub accepts it for longer than the margin."""
    version = image.tags.get(names.RUNNER, "")
    if not version:
        return ""
    try:
        ends = github.ends(version)
    except NotFound:
        return ""
    enough = wait.clock.now() + timedelta(days=github.settings.margin)
    return version if ends is None or ends > enough else ""


class NotReady(KitError):
    """A VM was started and did not become what it was to be; it has been taken back."""


@dataclass(frozen=True)
class Started:
    """A VM that is ready."""

    vm: Vm
    label: str
    seconds: Mapping[str, float]
    """How long each step took."""


def start(plan: Plan, cloud: Cloud, github: Github | None, progress: Progress) -> Started:
    """Do what the plan says, and return when the VM is ready: its runner online at GitHub, or ssh that answers.

    Raises:
        NotReady: it is not within its time; the message has the cause, where its console tells one.
        KitError: the cloud, or GitHub, refused. In each case nothing of it is left.
    """
    if plan.there:
        progress.note(f"{plan.there.id} is there and online")
        if plan.steps:
            cloud.machines.reach(plan.there)
        return Started(plan.there, plan.label, {})
    seconds: dict[str, float] = {}
    vm: Vm | None = None
    told: userdata.Runner | None = None
    try:
        for number, step in enumerate(plan.steps, 1):
            began = wait.clock.monotonic()
            with progress.step(f"{step} {plan.name}", number, len(plan.steps)):
                if step == "erase":
                    for half in plan.halves:
                        ending.end(half, cloud, github)
                elif step == "make room":
                    room.make(
                        cloud,
                        plan.wanted.size.get(plan.cloud, ""),
                        patience=plan.wanted.wait_quota,
                        evict=plan.wanted.evict,
                        every=max(cloud.machines.pause, plan.wanted.poll),
                        github=github,
                        progress=progress,
                    )
                elif step == "create":
                    told = _told(plan, github)
                    vm = _create(plan, told, cloud)
                    progress.note(vm.id)  # before anything is waited for
                elif step in ("register", "answer"):
                    assert vm and told  # the step before this one
                    full: tuple[str, ...] = ()
                    while place := _full(step, plan, vm, cloud, github, progress):
                        progress.note(f"{vm.id}: there was no room after all: {place}")
                        ending.end(vm, cloud, github)
                        full, told = (*full, place), _told(plan, github)
                        vm = _create(plan, told, cloud, full)
                        progress.note(vm.id)
                    if step == "register":
                        cloud.machines.forget(vm, userdata.runner(told.forgotten()))
                else:
                    assert vm is not None
                    cloud.machines.reach(vm)
            seconds[step] = wait.clock.monotonic() - began
        assert vm is not None
        return Started(cloud.machines.read(vm), plan.label, seconds)
    except BaseException:
        _take_back(told, vm, cloud, github, progress)
        raise


def _told(plan: Plan, github: Github | None) -> userdata.Runner:
    wanted = plan.wanted
    told = userdata.Runner(
        user=wanted.user,
        keys=wanted.keys,
        ends=wait.clock.now() + wanted.ttl,
        patience=int(wanted.timeout.total_seconds()) + 300,
    )
    if not github or not plan.download:
        return told
    name = f"{plan.name}-{wait.clock.token()}"
    labels = (plan.label, *wanted.labels)
    return replace(
        told,
        name=name,
        labels=labels,
        url=github.url,
        download=plan.download.url,
        sha256=plan.download.sha256,
        cached=f"/opt/kontain/actions-runner-linux-x64-{plan.cached}.tar.gz" if plan.cached else "",
        token="" if wanted.ephemeral else github.registration_token(),
        jit=github.jit(name, labels) if wanted.ephemeral else "",
    )


def _create(plan: Plan, told: userdata.Runner, cloud: Cloud, full: tuple[str, ...] = ()) -> Vm:
    run = plan.wanted.run
    tags = {
        names.KIND: "runner",
        names.LABEL: plan.label,
        names.REPO: run.repository,
        names.RUN_ID: run.id,
        names.RUN_NUMBER: run.number,
        names.RUN_ATTEMPT: run.attempt,
        names.WORKFLOW: run.workflow,
        names.RUNNER: told.name,
        names.OWNER: os.environ.get("GITHUB_ACTOR") or work.owner(os.environ),
        names.IMAGE: plan.image.build,
        names.EXPIRES: names.moment(told.ends),
    }
    size = plan.wanted.size.get(plan.cloud, "")
    data = userdata.runner(told)
    order = Order(plan.name, plan.image, size, plan.wanted.user, data, names.tag_values(tags), full)
    return cloud.machines.create(order)


def _full(step: str, plan: Plan, vm: Vm, cloud: Cloud, github: Github | None, progress: Progress) -> str:
    """Wait until the VM is what it is to be. The place that had no room for it after all; empty where all is well."""
    try:
        if step == "register":
            assert github  # it would have no such step
            _online(plan, vm, cloud, github, progress)
        else:
            _answers(vm, cloud)
    except (NotReady, NotFound):
        with suppress(KitError):  # what failed first is what is to be told
            if place := cloud.machines.read(vm).full:
                return place
        raise
    return ""


def _online(plan: Plan, vm: Vm, cloud: Cloud, github: Github, progress: Progress) -> None:
    """Wait until GitHub says that the runner is online; what its console says meanwhile is shown."""
    shown, looked = 0, float("-inf")

    def look_into() -> None:
        nonlocal shown, looked
        looked = wait.clock.monotonic()
        lines = cloud.machines.boot_log(vm).splitlines()
        for line in lines[shown:]:
            progress.line(line)
            if "kontain: failed: " in line:  # setup.sh has given up: nothing will come
                raise NotReady(f"{vm.id} could not become a runner{_cause(cloud, vm)}", hint=_HINT)
        shown = max(shown, len(lines))
        now = cloud.machines.read(vm)
        if now.state in ("stopped", "gone") or now.reason:
            why = f": {now.reason}" if now.reason else _cause(cloud, vm)
            raise NotReady(f"{vm.id} has ended by itself{why}", hint=_HINT)

    def look() -> bool | None:
        # Who does not answer for a moment says nothing about the VM: its time goes on.
        with suppress(TemporaryError):
            seen = github.runner(vm.tags[names.RUNNER])
            if seen and seen.online:
                return True
        with suppress(TemporaryError):
            if wait.clock.monotonic() - looked >= cloud.machines.pause:
                look_into()
        return None

    try:
        timeout = plan.wanted.timeout.total_seconds()
        wait.until(look, what=f"{vm.id} online at GitHub", timeout=timeout, every=plan.wanted.poll)
    except TimedOut as late:
        raise NotReady(f"{late}{_cause(cloud, vm)}", hint=_HINT) from late


def _answers(vm: Vm, cloud: Cloud) -> None:
    """Wait until the VM lets us in, and knows its end."""
    try:
        machine = cloud.machines.reach(vm)
        ssh.answers(machine)
        ssh.run(machine, "cloud-init status --wait > /dev/null || [ $? -eq 2 ]", timeout=machine.patience)
    except TimedOut as late:
        raise NotReady(f"{late}{_cause(cloud, vm)}", hint=_HINT) from late


_HINT = "the end of its console is in the log"


def _cause(cloud: Cloud, vm: Vm) -> str:
    cause = console.cause(cloud.machines.boot_log(vm))
    return f": {cause}" if cause else ""


def _take_back(
    told: userdata.Runner | None, vm: Vm | None, cloud: Cloud, github: Github | None, progress: Progress
) -> None:
    """Leave nothing of a start that failed. What can't be ended now is tagged, and `reap` ends it."""
    try:
        if vm is not None:
            # Who has stopped us waits for no console.
            for line in () if wait.interrupted() else cloud.machines.boot_log(vm).splitlines()[-40:]:
                progress.line(f"console: {line}")
            ending.end(vm, cloud, github)
        elif told and told.jit and github and (runner := github.runner(told.name)):
            github.delete(runner)  # such a runner is on the list before it has a VM
    except KitError as problem:
        progress.note(f"{vm.id if vm else cloud.name}: not all could be taken back: {problem.message}")
