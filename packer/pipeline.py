"""The order in which an image comes to be: fingerprint, up to date?, build, prove, promote, prune.

`plan` decides and changes nothing; `apply` does what the plan says. Until `promote` the current
image is what it was, and what fails leaves nothing behind.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from cloud import names, wait, work
from cloud.base import Artifact, Base, Build, Cloud, Image, current
from cloud.errors import CommandFailed, DiskFull, InputError, TimedOut
from cloud.progress import Progress
from packer import promotion, proof, record
from packer.definition import Definition
from packer.driver import Packer
from packer.errors import BuildFailed, Stalled
from packer.fingerprint import fingerprint
from packer.render import readable, render

T = TypeVar("T")

ATTEMPTS = 2
"""An emulated guest with two processors hangs once in some thirty boots; the next one does not."""


@dataclass(frozen=True)
class Plan:
    """What is to be done so that the current image is what its definition says."""

    cloud: str
    definition: Definition
    files: Mapping[str, bytes]
    """What packer reads."""
    base: Base
    fingerprint: str
    steps: tuple[str, ...]
    """Some of `build`, `prove`, `promote`, `prune`, in this order; none: it is up to date."""
    start: Image | None
    """The build that the steps go on with; without one a new build is made."""
    reason: str
    variables: Mapping[str, str] = field(default_factory=dict)
    """What packer's files ask for beside what its cloud gives: they are the same from run to run."""
    tags: Mapping[str, str] = field(default_factory=dict)
    """What the image is marked with, beside what every image is."""

    @property
    def up_to_date(self) -> bool:
        """Whether nothing is to be done."""
        return not self.steps


def plan(definition: Definition, cloud: Cloud, oldest: str, *, force: bool = False, promote: bool = True) -> Plan:
    """Look what there is, and say what is missing.

    A build with the same fingerprint that is newer than the current one is gone on with, from the
    first step that it lacks. One that was taken back is left alone: only a person, or `force`,
    brings it again. `oldest` is the oldest packer that the files are for.

    Raises:
        InputError: the definition can't be rendered, or its base can't be had here.
    """
    files = render(definition, cloud.name, cloud.images.source(), oldest)
    with ThreadPoolExecutor(2) as threads:
        listing = threads.submit(cloud.images.list, definition.name)
        base = cloud.images.resolve(definition.base_on(cloud.name))
        builds = listing.result()
    mark = fingerprint(files, base)
    now = current(builds)
    ours = [image for image in builds if image.state != "plain"]
    newer = [image for image in ours if now not in ours or image.created > now.created]
    same = [image for image in newer if image.tags.get(names.FINGERPRINT) == mark]
    last = ("promote", "prune") if promote else ("prune",)

    def decided(steps: tuple[str, ...], start: Image | None, reason: str) -> Plan:
        return Plan(cloud.name, definition, files, base, mark, steps, start, reason)

    if force:
        return decided(("build", "prove", *last), None, "asked for")
    if now is not None and now.tags.get(names.FINGERPRINT) == mark:
        if promote and not cloud.images.announced(now):
            return decided(("promote",), now, "others do not read yet that it is current")
        return decided((), now, "nothing that the build reads has changed")
    if not same:
        why = "there is no build yet" if now is None else f"its inputs differ from those of {now.build}"
        return decided(("build", "prove", *last), None, why)
    newest = same[0]
    match newest.state:
        case "built":
            return decided(("prove", *last), newest, f"{newest.build} was built and not proven")
        case "proven" if promote:
            return decided(last, newest, f"{newest.build} was proven and not promoted")
        case "proven":
            return decided((), newest, f"{newest.build} is built and proven")
    return decided((), newest, f"{newest.build} has these inputs and was taken back; --force builds anew")


@dataclass(frozen=True)
class Outcome:
    """What became of a plan."""

    image: Image
    checks: tuple[proof.Check, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    """How long each step took."""
    pruned: tuple[str, ...] = ()


def apply(plan: Plan, cloud: Cloud, packer: Packer, keep: int, progress: Progress) -> Outcome:
    """Do what the plan says, and nothing when it says nothing.

    Raises:
        KitError: a step failed. The current image is what it was before, and what the failed step
            made is gone again. A build that passed its proof is kept.
    """
    name, created = plan.definition.name, wait.clock.now()
    image = plan.start
    checks: tuple[proof.Check, ...] = ()
    pruned: tuple[str, ...] = ()
    seconds: dict[str, float] = {}
    if plan.steps[:1] == ("build",):
        _room(cloud)
    with _under_way(cloud, image.build if image else names.build_name(name, created, wait.clock.token())) as build:
        for number, step in enumerate(plan.steps, 1):
            began = wait.clock.monotonic()
            with progress.step(f"{step} {build.name}", number, len(plan.steps)):
                if step == "build":
                    image = _build(plan, build, cloud, packer, names.moment(created), progress)
                assert image is not None  # a plan without `build` starts from one
                if step == "prove":
                    image, checks = _prove(plan, image, cloud, progress)
                if step == "promote":
                    image = cloud.images.tag(image, {names.PROMOTED: names.moment(wait.clock.now())})
                    cloud.images.announce(image)
                if step == "prune":
                    pruned = promotion.prune(promotion.superfluous(cloud, name, keep), cloud)
            seconds[step] = wait.clock.monotonic() - began
    assert image is not None
    return Outcome(image, checks, seconds, pruned)


@contextmanager
def _under_way(cloud: Cloud, name: str) -> Iterator[Build]:
    """A build that others can see is being worked on, until the `with` ends."""
    build = cloud.images.begin(name)
    try:
        yield build
    finally:
        cloud.images.finish(build)


def _room(cloud: Cloud) -> None:
    cost = cloud.images.cost()
    if cost.free < cost.space:
        raise InputError(
            f"a build on {cloud.name} needs {cost.space / 1e9:.1f} GB, and {cost.free / 1e9:.1f} GB are free",
            hint="./inv images.prune, or put local.store on a larger disk",
        )


def _build(plan: Plan, build: Build, cloud: Cloud, packer: Packer, created: str, progress: Progress) -> Image:
    tags = {
        **plan.tags,
        names.KIND: "image",
        names.IMAGE: plan.definition.name,
        names.BUILD: build.name,
        names.OWNER: work.owner(os.environ),
        names.CREATED: created,
        names.FINGERPRINT: plan.fingerprint,
    }
    if runner := plan.definition.runner(plan.cloud):
        tags[names.RUNNER] = runner
    readable(str(build.folder))  # packer is given paths in it: better now than after the base is made
    written = record.write(build.folder / "record.json", plan, build.name, created, packer)
    with disk_full_told(cloud):
        variables = {**cloud.images.prepare(build, plan.base, progress), **plan.variables, "record": str(written)}
        with _blamed(cloud):
            artifact = twice(lambda: _packer(plan, build, cloud, packer, variables, progress), progress)
        return cloud.images.adopt(build, artifact, tags)


def _packer(
    plan: Plan, build: Build, cloud: Cloud, packer: Packer, variables: Mapping[str, str], progress: Progress
) -> Artifact:
    folder = build.folder / "packer"
    packer.place(plan.files, folder)

    def watch() -> None:
        if cloud.images.cost().full:
            raise _full(cloud)

    silence = cloud.images.cost().silence
    return packer.build(folder, variables, progress, watch, cloud.images.environment(), silence)


def _prove(plan: Plan, image: Image, cloud: Cloud, progress: Progress) -> tuple[Image, tuple[proof.Check, ...]]:
    """Boot the image, check it, note it. An image that is not proven does not stay."""
    try:
        with disk_full_told(cloud):
            found = twice(lambda: _booted(plan, image, cloud, progress), progress)
        cloud.images.describe(image, {**found.record, "checks": [vars(check) for check in found.checks]})
        return cloud.images.tag(image, {names.PROVEN: names.moment(wait.clock.now())}), found.checks
    except BaseException:
        cloud.images.delete(image)
        raise


def _booted(plan: Plan, image: Image, cloud: Cloud, progress: Progress) -> proof.Proof:
    tags = work.marks("proof", image.name, image.build)
    machine = cloud.machines.start(image, name=f"proof-{wait.clock.token()}", user=plan.definition.user, tags=tags)
    try:
        told = {"build": image.build, "fingerprint": plan.fingerprint}
        return proof.prove(machine, plan.files, told, progress)
    except TimedOut as silent:
        progress.line(f"console: {cloud.machines.console(machine)}")
        raise Stalled(str(silent), hint="the end of its console is in the log") from silent
    finally:
        cloud.machines.destroy(machine)


def twice(attempt: Callable[[], T], progress: Progress) -> T:
    """What the attempt returns; a second one, where the VM of the first one hung."""
    for _ in range(ATTEMPTS - 1):
        try:
            return attempt()
        except Stalled as stalled:
            progress.note(f"{stalled}: once more")
    return attempt()


@contextmanager
def _blamed(cloud: Cloud) -> Iterator[None]:
    """What packer heard from a cloud, as the kind of error that it is."""
    try:
        yield
    except BuildFailed as failed:
        if kind := cloud.images.blame(failed.message):
            raise kind(failed.message, hint=failed.hint) from failed
        raise


@contextmanager
def disk_full_told(cloud: Cloud) -> Iterator[None]:
    """A full disk shows itself in many ways; it is told in one."""
    try:
        yield
    except (OSError, CommandFailed, BuildFailed) as problem:
        output = problem.output if isinstance(problem, CommandFailed) else (str(problem),)
        full = getattr(problem, "errno", None) == errno.ENOSPC
        if full or any("No space left" in line for line in output) or cloud.images.cost().full:
            raise _full(cloud) from problem
        raise


def _full(cloud: Cloud) -> DiskFull:
    return DiskFull(f"the disk that {cloud.name} builds on is full", hint="make room with ./inv images.prune")
