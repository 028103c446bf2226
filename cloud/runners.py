"""Runner VMs over any cloud: start, stop, resume, reap. The cloud is the database: no file remembers anything.

What decides (`plan`, `keep`, `due`) looks and changes nothing; what acts (`start`, `stop`, `reap`) does what was
decided. A VM and its entry at GitHub do not wait for each other, and the VM goes last: as long as it is there,
`stop` and `reap` find by its tags what else belongs to it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from cloud import console, keep, names, ssh, userdata, wait, work
from cloud.base import Image, Order, RunnerCloud, Vm, current
from cloud.errors import InputError, KitError, NotFound, TimedOut
from cloud.github import Busy, Download, Github, Job
from cloud.progress import Progress

KIND = "runner"

UNDO = 5.0
"""Seconds that taking back a start may wait for anything once the caller has stopped us."""

_SETTLING = 60.0
"""Seconds in which GitHub notices that a runner whose VM has ended is not busy any more."""


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

    @property
    def steps(self) -> tuple[str, ...]:
        """What is done, in order."""
        if self.there:
            return ()
        return (*(("erase",) if self.halves else ()), "create", *(("register",) if self.download else ("answer",)))


def plan(wanted: Wanted, cloud: RunnerCloud, github: Github | None) -> Plan:
    """Look what there is, all at once: the image, VMs of this run, what GitHub wants a runner to be.

    Without `github` the VM is one to work in by hand.

    Raises:
        NotFound: there is no such image.
    """
    label = names.label(cloud.name, wanted.run)
    with ThreadPoolExecutor(4) as threads:
        images = threads.submit(cloud.images.list, wanted.image)
        machines = threads.submit(cloud.machines.list)
        download = threads.submit(github.download) if github else None
        online = threads.submit(github.runners) if github else None
        image = current(images.result())
        if image is None:
            raise NotFound(
                f"there is no {wanted.image} on {cloud.name}", hint=f"./inv images.l0base --cloud {cloud.name}"
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


def start(plan: Plan, cloud: RunnerCloud, github: Github | None, progress: Progress) -> Started:
    """Do what the plan says, and return when the VM is ready: its runner online at GitHub, or ssh that answers.

    Raises:
        NotReady: it is not within its time; the message has the cause, where its console tells one.
        KitError: the cloud, or GitHub, refused. In each case nothing of it is left.
    """
    if plan.there:
        progress.note(f"{plan.there.id} is there and online")
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
                        _end(half, cloud, github)
                elif step == "create":
                    told = _told(plan, github)
                    vm = _create(plan, told, cloud)
                    progress.note(vm.id)  # before anything is waited for
                elif step == "register":
                    assert vm and told and github  # the steps before this one
                    _online(plan, vm, cloud, github, progress)
                    cloud.machines.forget(vm, userdata.runner(told.forgotten()))
                else:
                    assert vm is not None
                    _answers(vm, cloud)
            seconds[step] = wait.clock.monotonic() - began
        assert vm is not None
        return Started(_now(cloud, vm), plan.label, seconds)
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


def _create(plan: Plan, told: userdata.Runner, cloud: RunnerCloud) -> Vm:
    run = plan.wanted.run
    tags = {
        names.KIND: KIND,
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
    return cloud.machines.create(Order(plan.name, plan.image, size, plan.wanted.user, data, _fit(tags)))


def _fit(tags: Mapping[str, str]) -> dict[str, str]:
    return {key: names.tag_value(text) for key, text in tags.items()}


def _online(plan: Plan, vm: Vm, cloud: RunnerCloud, github: Github, progress: Progress) -> None:
    """Wait until GitHub says that the runner is online; what its console says meanwhile is shown."""
    shown = 0

    def look() -> bool | None:
        nonlocal shown
        lines = cloud.machines.boot_log(vm).splitlines()
        for line in lines[shown:]:
            progress.line(line)
            if "kontain: failed: " in line:  # setup.sh has given up: nothing will come
                raise NotReady(f"{vm.id} could not become a runner{_cause(cloud, vm)}", hint=_HINT)
        shown = max(shown, len(lines))
        seen = github.runner(vm.tags[names.RUNNER])
        if seen and seen.online:
            return True
        if _now(cloud, vm).state == "stopped":
            raise NotReady(f"{vm.id} has ended by itself{_cause(cloud, vm)}", hint=_HINT)
        return None

    try:
        timeout = plan.wanted.timeout.total_seconds()
        wait.until(look, what=f"{vm.id} online at GitHub", timeout=timeout, every=plan.wanted.poll)
    except TimedOut as late:
        raise NotReady(f"{late}{_cause(cloud, vm)}", hint=_HINT) from late


def _answers(vm: Vm, cloud: RunnerCloud) -> None:
    """Wait until the VM lets us in, and knows its end."""
    try:
        machine = cloud.machines.reach(vm)
        ssh.answers(machine)
        ssh.run(machine, "cloud-init status --wait > /dev/null || [ $? -eq 2 ]", timeout=machine.patience)
    except TimedOut as late:
        raise NotReady(f"{late}{_cause(cloud, vm)}", hint=_HINT) from late


_HINT = "the end of its console is in the log"


def _cause(cloud: RunnerCloud, vm: Vm) -> str:
    cause = console.cause(cloud.machines.boot_log(vm))
    return f": {cause}" if cause else ""


def _take_back(
    told: userdata.Runner | None, vm: Vm | None, cloud: RunnerCloud, github: Github | None, progress: Progress
) -> None:
    """Leave nothing of a start that failed. What can't be ended now is tagged, and `reap` ends it."""
    try:
        if vm is not None:
            for line in cloud.machines.boot_log(vm).splitlines()[-40:]:
                progress.line(f"console: {line}")
            _end(vm, cloud, github)
        elif told and told.jit and github and (runner := github.runner(told.name)):
            github.delete(runner)  # such a runner is on the list before it has a VM
    except KitError as problem:
        progress.note(f"{vm.id if vm else cloud.name}: not all could be taken back: {problem.message}")


def _now(cloud: RunnerCloud, vm: Vm) -> Vm:
    """The VM as it is now.

    Raises:
        NotFound: it is gone.
    """
    for each in cloud.machines.list():
        if each.id == vm.id:
            return each
    raise NotFound(f"{vm.id} is gone", hint="./inv runners.list")


def _end(vm: Vm, cloud: RunnerCloud, github: Github | None) -> None:
    """End a VM and its runner. The VM goes last, and goes even if GitHub does not answer.

    Raises:
        KitError: the VM is gone, and its entry at GitHub may not be.
    """
    trouble: KitError | None = None
    try:
        if not _deregistered(vm, github):
            cloud.machines.stop(vm, force=True)
            _deregister(vm, github)
    except KitError as problem:
        trouble = problem
    cloud.machines.erase(vm)
    if trouble:
        raise trouble
    _deregistered(vm, github)  # it may have registered between that look and its end


def _deregistered(vm: Vm, github: Github | None) -> bool:
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


def _deregister(vm: Vm, github: Github | None) -> None:
    """The same for one whose VM has been stopped: GitHub takes a while to see that its job is dead.

    Raises:
        TimedOut: it still counts as busy.
    """
    wait.until(
        lambda: _deregistered(vm, github) or None,
        what=f"GitHub letting go of {vm.tags.get(names.RUNNER)}",
        timeout=UNDO if wait.interrupted() else _SETTLING,
        every=2,
        finish=wait.interrupted(),
        hint="GitHub removes it by itself after 14 days",
    )


@dataclass(frozen=True)
class Stopped:
    """What became of a run's VM."""

    vm: Vm
    kept: bool
    why: str
    warning: str = ""


def verdict(vm: Vm, needs: Mapping[str, str] | None, github: Github, jobs: Sequence[Job] | None) -> keep.Verdict:
    """Whether a VM is kept. `jobs` are those of its run's last attempt; None: nobody can tell."""
    label = vm.tags.get(names.LABEL, "")
    if jobs is None or not label:
        return keep.decide(label, needs, None)
    try:
        return keep.decide(label, needs, [_seen(job, label, github) for job in jobs])
    except KitError as problem:
        why = "GitHub does not tell whether a job hit its time limit"
        return keep.Verdict(True, why, warning=f"{why}: kept ({problem.message})")


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


def of_run(run: names.Run, cloud: RunnerCloud) -> list[Vm]:
    """All VMs of a run, of every attempt, in whatever state."""
    return [
        vm
        for vm in cloud.machines.list()
        if vm.tags.get(names.REPO) == names.tag_value(run.repository)
        and vm.tags.get(names.RUN_ID) == names.tag_value(run.id)
    ]


def stop(
    vm: Vm, decided: keep.Verdict, keep_for: timedelta, cloud: RunnerCloud, github: Github | None, progress: Progress
) -> Stopped:
    """Destroy the VM, or stop it and keep it so long. Either way it is no runner any more.

    Raises:
        KitError: part of that could not be done; the rest is.
    """
    if not decided.keep:
        _end(vm, cloud, github)
        return Stopped(vm, False, decided.why, decided.warning)
    expires = wait.clock.now() + keep_for
    marks = {names.KEPT: decided.why, names.JOB: decided.job, names.EXPIRES: names.moment(expires)}
    # First of all: whatever comes, it says why it is there and until when.
    vm = cloud.machines.tag(vm, {**_fit(marks), names.DOOMED: None, names.RESUMED: None})
    trouble: KitError | None = None
    idle = True
    try:
        idle = _deregistered(vm, github)
    except KitError as problem:
        trouble = problem
    if not cloud.machines.stop(vm):
        progress.note(f"{vm.id} did not end by itself: its runner's credentials are worthless, and still on its disk")
    if not idle:
        _deregister(vm, github)
    if trouble:
        raise trouble
    return Stopped(_now(cloud, vm), True, decided.why, decided.warning)


def resume(vm: Vm, awake: timedelta, cloud: RunnerCloud) -> Vm:
    """Start a VM again for somebody who looks into it. It is stopped again after so long.

    Raises:
        TimedOut: it does not answer ssh.
    """
    until = wait.clock.now() + awake
    vm = cloud.machines.tag(vm, {names.RESUMED: names.moment(until)})
    cloud.machines.resume(vm)
    machine = cloud.machines.reach(vm)
    ssh.answers(machine)
    # In the VM as well, for where no reaper comes by. What it says of that is for its own users.
    ssh.run(machine, f"sudo shutdown -P +{max(1, round(awake.total_seconds() / 60))}", check=False, timeout=30)
    return _now(cloud, vm)


def extend(vm: Vm, longer: timedelta, cloud: RunnerCloud) -> Vm:
    """Let a VM live longer: from its end on, or from now on where that is over.

    Raises:
        KitError: it runs, and its own timer could not be told; its tag is changed all the same.
    """
    now = wait.clock.now()
    until = max(expires(vm) or now, now) + longer
    vm = cloud.machines.tag(vm, {names.EXPIRES: names.moment(until), names.DOOMED: None})
    if vm.state == "running":
        timer = userdata.expiry(until)
        command = "sudo tee /etc/systemd/system/kontain-expire.timer > /dev/null && sudo systemctl daemon-reload"
        restart = "sudo systemctl restart kontain-expire.timer < /dev/null > /dev/null 2>&1"
        ssh.run(cloud.machines.reach(vm), f"{command} && {restart}", stdin=timer.encode())
    return vm


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
        if vm.tags.get(names.KIND) != KIND or end is None:
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


def reap(what: Due, cloud: RunnerCloud, github: Github | None) -> None:
    """Do that.

    Raises:
        KitError: it could not be done, or not all of it.
    """
    match what.what:
        case "erase":
            _end(what.vm, cloud, github)
        case "doom":
            cloud.machines.tag(what.vm, {names.DOOMED: names.moment(wait.clock.now())})
        case "spare":
            cloud.machines.tag(what.vm, {names.DOOMED: None})
        case "stop":
            cloud.machines.stop(what.vm)
            cloud.machines.tag(what.vm, {names.RESUMED: None})


def find(named: str, vms: Sequence[Vm]) -> list[Vm]:
    """The VMs that a person means: by id, label, name or run number.

    Raises:
        NotFound: there is none.
    """
    for tag in ("id", names.LABEL, "name", names.RUN_NUMBER, names.WORKFLOW):
        found = [vm for vm in vms if named and named in (getattr(vm, tag, None), vm.tags.get(tag))]
        if found:
            return found
    raise NotFound(f"no VM is of {named!r}", hint="./inv runners.list")


def keys(folder: Path, home: Path) -> tuple[str, ...]:
    """The public keys in a folder's `*.pub` files; where there are none, those of the caller.

    Raises:
        InputError: a file holds something else.
    """
    found: dict[str, None] = {}
    for place in (folder, home / ".ssh"):
        for file in sorted(place.glob("*.pub")):
            found.update(dict.fromkeys(_keys_in(file)))
        if found:
            break
    return tuple(found)


def _keys_in(file: Path) -> list[str]:
    """The keys of a file, without what people wrote behind them: that can be any text."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as problem:
        raise InputError(f"{file} can't be read: {problem}", hint="a public key is a line of text") from problem
    found = []
    for line in lines:
        if not line.strip() or line.startswith("#"):
            continue
        words = line.split()
        if len(words) < 2 or not ssh.is_public(words[0], words[1]):
            raise InputError(f"{file} holds something that is no public key", hint="as ssh-keygen writes it: id_*.pub")
        found.append(f"{words[0]} {words[1]}")
    return found
