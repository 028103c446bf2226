"""Images: build, prove, promote, roll back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invoke.context import Context

from tasks import _console
from tasks._task import task

if TYPE_CHECKING:
    from cloud.base import Cloud, Image
    from packer.definition import Definition
    from packer.pipeline import Outcome, Plan
    from tasks._settings import Settings

_CLOUD = {"cloud": "where: local; may be repeated. Without it the setting images.clouds"}
_NAME = {"name": "another name for the image than its definition's"}
_JSON = {"json": "print the result as JSON"}
_PLAN = {"plan": "say what would be done, look only"}
_YES = {"yes": "install missing system packages without asking"}


@task(
    iterable=["cloud"],
    help=_CLOUD
    | _NAME
    | _JSON
    | _PLAN
    | _YES
    | {
        "force": "build even if nothing has changed",
        "promote": "--no-promote: build and prove, and leave the current image current",
    },
)
def l0base(
    c: Context,
    cloud: list[str],
    name: str = "",
    force: bool = False,
    promote: bool = True,
    plan: bool = False,
    json: bool = False,
    yes: bool = False,
) -> None:
    """Build L0BaseImage, prove it on a booted VM, make it current.

    Nothing is done when nothing that the build reads has changed. The current image stays what
    it is until the new one is proven.

    Example: ./inv images.l0base --cloud local
    """
    from packer import pipeline
    from packer.driver import Packer
    from tasks import _tools

    settings, definition, clouds = _opened(cloud, name)
    plans = [pipeline.plan(definition, each, settings.packer.minimum, force=force, promote=promote) for each in clouds]
    rows = [_plan_row(todo, each) for todo, each in zip(plans, clouds, strict=True)]
    if plan or all(todo.up_to_date for todo in plans):
        _console.result(rows, as_json=json, text=_plan_text(rows))
        return
    _console.say(_plan_text(rows))
    _tools.ensure("images", yes=yes)
    packer = Packer.found(settings.packer)
    with _long_work("images.l0base", clouds) as console:
        made = [
            pipeline.apply(todo, each, packer, settings.images.keep, console)
            for todo, each in zip(plans, clouds, strict=True)
        ]
    _console.result([_outcome_row(each) for each in made], as_json=json, text=_outcome_text(made))


@task(iterable=["cloud"], help=_CLOUD | _NAME | {"output": "folder to write to: a folder for each cloud in it"})
def render(c: Context, cloud: list[str], name: str = "", output: str = "rendered") -> None:
    """Write the files that packer would read, and stop.

    Example: ./inv images.render --cloud local --output /tmp/l0base
    """
    from packer.render import render, write

    settings, definition, clouds = _opened(cloud, name)
    for each in clouds:
        write(render(definition, each.name, each.images.source(), settings.packer.minimum), Path(output) / each.name)
        print(Path(output) / each.name)


@task(iterable=["cloud"], help=_CLOUD | _NAME | _YES)
def validate(c: Context, cloud: list[str], name: str = "", yes: bool = False) -> None:
    """Let packer judge the files that would be rendered.

    Example: ./inv images.validate --cloud local
    """
    import tempfile

    from packer.driver import Packer
    from packer.render import render
    from tasks import _tools

    settings, definition, clouds = _opened(cloud, name)
    _tools.ensure("images", yes=yes)
    packer = Packer.found(settings.packer)
    with _long_work("images.validate", clouds) as console, tempfile.TemporaryDirectory() as folder:
        for number, each in enumerate(clouds, 1):
            with console.step(f"validate {definition.name} on {each.name}", number, len(clouds)):
                place, sample = Path(folder, each.name, "files"), Path(folder, each.name, "sample")
                sample.mkdir(parents=True)
                packer.suffices(each.name)
                packer.place(render(definition, each.name, each.images.source(), settings.packer.minimum), place)
                packer.validate(place, each.images.sample(sample), console)


@task(name="list", iterable=["cloud"], help=_CLOUD | _NAME | _JSON)
def list_builds(c: Context, cloud: list[str], name: str = "", json: bool = False) -> None:
    """Show the builds of the image, and which one is current.

    Example: ./inv images.list --cloud local --json
    """
    from cloud.base import current

    _, definition, clouds = _opened(cloud, name)
    rows: list[_console.Row] = []
    for each in clouds:
        builds = each.images.list(definition.name)
        rows += [_image_row(image, image == current(builds)) for image in builds]
    none = f"no builds of {definition.name}; ./inv images.l0base makes one"
    _console.result(rows, as_json=json, text=_console.table(_BUILD_COLUMNS, rows, none=none))


@task(iterable=["cloud"], positional=["build"], help=_CLOUD | _NAME | {"build": "the build's name, or how it ends"})
def promote(c: Context, build: str, cloud: list[str], name: str = "") -> None:
    """Make a proven build the current one.

    Example: ./inv images.promote --cloud local 1f2e3d
    """
    from packer import promotion

    _, definition, clouds = _opened(cloud, name)
    for each in clouds:
        now = promotion.promote(each, promotion.find(each, definition.name, build))
        print(f"{now.build} is current on {each.name}")


@task(iterable=["cloud"], help=_CLOUD | _NAME)
def rollback(c: Context, cloud: list[str], name: str = "") -> None:
    """Make the build current that was so before.

    Example: ./inv images.rollback --cloud local
    """
    from packer import promotion

    _, definition, clouds = _opened(cloud, name)
    for each in clouds:
        print(f"{promotion.rollback(each, definition.name).build} is current on {each.name}")


@task(iterable=["cloud"], help=_CLOUD | _NAME | _PLAN | {"keep": "builds to keep; 0: the setting images.keep"})
def prune(c: Context, cloud: list[str], name: str = "", keep: int = 0, plan: bool = False) -> None:
    """Remove old builds, and what killed builds left.

    Never the current build, nor one that a machine uses, nor anything of a build under way.

    Example: ./inv images.prune --cloud local --keep 2 --plan
    """
    from packer import promotion

    settings, definition, clouds = _opened(cloud, name)
    for each in clouds:
        found = promotion.superfluous(each, definition.name, keep or settings.images.keep)
        for text in found.words() if plan else promotion.prune(found, each):
            print(f"{'would remove' if plan else 'removed'} {text}")


def _opened(names: list[str], name: str) -> tuple[Settings, Definition, list[Cloud]]:
    """The settings, the definition, and the clouds that were named or else are set.

    Raises:
        InputError: one of them can't be used, or no cloud is meant.
    """
    from cloud import connect
    from cloud.errors import InputError
    from packer.definition import load
    from tasks._settings import load as settings_now

    settings = settings_now()
    chosen = names or settings.images.clouds
    if not chosen:
        raise InputError("no cloud is named", hint="--cloud local builds and runs on this machine")
    definition = load(Path(settings.images.definition), name)
    return settings, definition, [connect(each, settings) for each in dict.fromkeys(chosen)]


@contextmanager
def _long_work(task: str, clouds: list[Cloud]) -> Iterator[_console.Console]:
    """A console for work that takes minutes. When it fails, the error also names the log and, having
    looked, what is left behind.
    """
    from cloud.errors import KitError

    console = _console.Console(task)
    try:
        yield console
    except KitError as error:
        left = [f"{each.what} {each.id}" for cloud in clouds for each in cloud.images.leftovers()]
        error.add_note(f"log: {console.log}")
        error.add_note(
            f"left behind: {'; '.join(left)}: ./inv images.prune removes it" if left else "left behind: nothing"
        )
        raise
    finally:
        console.close()


def _image_row(image: Image, current: bool) -> _console.Row:
    return {
        "build": image.build,
        "cloud": image.cloud,
        "state": image.state,
        "current": current,
        "created": image.created,
        "size": image.size,
        "fingerprint": image.tags.get("km-fingerprint", ""),
        "id": image.id,
    }


_BUILD_COLUMNS: dict[str, Callable[[Any], str]] = {
    "build": str,
    "cloud": str,
    "state": str,
    "current": lambda yes: "current" if yes else "",
    "created": _console.age,
    "size": lambda size: f"{size / 1e6:.0f} MB",
    "id": str,
}


def _plan_row(plan: Plan, cloud: Cloud) -> _console.Row:
    cost = cloud.images.cost()
    return {
        "cloud": plan.cloud,
        "image": plan.definition.name,
        "up_to_date": plan.up_to_date,
        "steps": plan.steps,
        "reason": plan.reason,
        "build": plan.start.build if plan.start else None,
        "fingerprint": plan.fingerprint,
        "base": plan.base.id,
        "minutes": cost.minutes if "build" in plan.steps else "0",
        "space": cost.space if "build" in plan.steps else 0,
        "free": cost.free,
    }


def _plan_text(rows: list[_console.Row]) -> str:
    lines = []
    for row in rows:
        head = f"{row['image']} on {row['cloud']}"
        if row["up_to_date"]:
            lines.append(f"{head} is up to date: {row['reason']}")
        else:
            lines.append(f"{head}: {', '.join(row['steps'])}, because {row['reason']}")
        if row["space"]:
            lines.append(
                f"  takes {row['minutes']} minutes and {row['space'] / 1e9:.1f} GB, "
                f"of {row['free'] / 1e9:.0f} GB that are free"
            )
    return "\n".join(lines)


def _outcome_row(outcome: Outcome) -> _console.Row:
    return {
        **_image_row(outcome.image, outcome.image.state == "promoted"),
        "checks": [vars(check) for check in outcome.checks],
        "seconds": {step: round(took, 1) for step, took in outcome.seconds.items()},
        "pruned": outcome.pruned,
    }


def _outcome_text(outcomes: list[Outcome]) -> str:
    lines = []
    for made in outcomes:
        image = made.image
        took = _console.duration(sum(made.seconds.values()))
        proven = f"{len(made.checks)} checks passed" if made.checks else "proven before"
        lines.append(f"{image.build} on {image.cloud}: {image.state} after {took}, {proven}")
        lines.append(f"  {image.id} ({image.size / 1e6:.0f} MB)")
        lines.append(f"  next: ./inv images.list --cloud {image.cloud}")
    return "\n".join(lines)
