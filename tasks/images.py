"""Images: build, prove, promote, roll back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from invoke.context import Context

from tasks import _console
from tasks._task import task

if TYPE_CHECKING:
    from cloud.base import Cloud, Image
    from packer.definition import Definition
    from packer.pipeline import Outcome
    from tasks._settings import Settings

_CLOUD = {"cloud": "where: aws, azure or local; may be repeated. Without it the setting images.clouds"}
_NAME = {"name": "another name for the image than its definition's"}
_JSON = {"json": "print the result as JSON"}
_PLAN = {"plan": "say what would be done, look only"}
_YES = {"yes": "install missing system packages without asking"}


@task(
    later="./inv images.prune removes it",
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
    from tasks import _clouds, _images, _tools

    settings, definition, clouds = _opened(cloud, name)
    oldest = settings.packer.minimum
    planned = _clouds.ask(clouds, lambda each: pipeline.plan(definition, each, oldest, force=force, promote=promote))
    plans = {answer.cloud.name: answer.value for answer in planned if answer.value}
    rows = [_images.plan_row(plans[each.name], each) for each in clouds if each.name in plans]
    wanted = [each for each in clouds if each.name in plans and not plans[each.name].up_to_date]
    if plan or not wanted:
        if rows:
            _console.result(rows, as_json=json, text=_images.plan_text(rows))
        _clouds.agree(planned)
        return
    _console.say(_images.plan_text(rows))
    _tools.ensure(*_images.purposes(wanted), yes=yes)
    packer = Packer.found(settings.packer)
    with _console.long_work("images.l0base", lambda: _images.left_behind(clouds)) as console:

        def build(each: Cloud) -> Outcome:
            packer.suffices(each.name)
            ear = console.ear(each.name if len(clouds) > 1 else "")
            return pipeline.apply(plans[each.name], each, packer, settings.images.keep, ear)

        made = _clouds.ask(wanted, build)
        outcomes = [answer.value for answer in made if answer.value]
        if outcomes:
            _console.result(
                [_images.outcome_row(each) for each in outcomes], as_json=json, text=_images.outcome_text(outcomes)
            )
        done = {answer.cloud.name: answer for answer in made}
        _clouds.agree([done.get(answer.cloud.name, answer) for answer in planned])


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


@task(later="./inv images.prune removes it", iterable=["cloud"], help=_CLOUD | _NAME | _YES)
def validate(c: Context, cloud: list[str], name: str = "", yes: bool = False) -> None:
    """Let packer judge the files that would be rendered.

    Example: ./inv images.validate --cloud local
    """
    import tempfile

    from packer.driver import Packer
    from packer.render import render
    from tasks import _images, _tools

    settings, definition, clouds = _opened(cloud, name)
    _tools.ensure(*_images.purposes(clouds), yes=yes)
    packer = Packer.found(settings.packer)
    with (
        _console.long_work("images.validate", lambda: _images.left_behind(clouds)) as console,
        tempfile.TemporaryDirectory() as folder,
    ):
        for number, each in enumerate(clouds, 1):
            with console.ear().step(f"validate {definition.name} on {each.name}", number, len(clouds)):
                place, sample = Path(folder, each.name, "files"), Path(folder, each.name, "sample")
                sample.mkdir(parents=True)
                packer.suffices(each.name)
                packer.place(render(definition, each.name, each.images.source(), settings.packer.minimum), place)
                packer.validate(place, each.images.sample(sample), console.ear())


@task(name="list", iterable=["cloud"], help=_CLOUD | _NAME | _JSON)
def list_builds(c: Context, cloud: list[str], name: str = "", json: bool = False) -> None:
    """Show the builds of the image, and which one is current.

    Example: ./inv images.list --cloud local --json
    """
    from cloud.base import current
    from tasks import _actions, _clouds, _fleet, _images

    _, definition, clouds = _opened(cloud, name)
    found = _clouds.ask(clouds, lambda each: each.images.list(definition.name))
    rows: list[_console.Row] = []
    for builds in (answer.value or () for answer in found):
        rows += [_images.image_row(image, image == current(builds)) for image in builds]
    unseen = any(answer.error for answer in found)
    none = "" if unseen else f"no builds of {definition.name}; ./inv images.l0base makes one"
    _actions.summary(_fleet.images(rows))
    _console.result(rows, as_json=json, text=_console.table(_images.BUILD_COLUMNS, rows, none=none))
    _clouds.agree(found)


@task(iterable=["cloud"], positional=["build"], help=_CLOUD | _NAME | {"build": "the build's name, or how it ends"})
def promote(c: Context, build: str, cloud: list[str], name: str = "") -> None:
    """Make a proven build the current one.

    Example: ./inv images.promote --cloud local 1f2e3d
    """
    from packer import promotion

    _, definition, clouds = _opened(cloud, name)
    _made_current(clouds, lambda each: promotion.promote(each, promotion.find(each, definition.name, build)))


@task(iterable=["cloud"], help=_CLOUD | _NAME)
def rollback(c: Context, cloud: list[str], name: str = "") -> None:
    """Make the build current that was so before.

    Example: ./inv images.rollback --cloud local
    """
    from packer import promotion

    _, definition, clouds = _opened(cloud, name)
    _made_current(clouds, lambda each: promotion.rollback(each, definition.name))


@task(iterable=["cloud"], help=_CLOUD | _NAME | _PLAN | {"keep": "builds to keep; 0: the setting images.keep"})
def prune(c: Context, cloud: list[str], name: str = "", keep: int = 0, plan: bool = False) -> None:
    """Remove old builds, and what killed builds left.

    Never the current build, nor one that a machine uses, nor anything of a build under way.

    Example: ./inv images.prune --cloud local --keep 2 --plan
    """
    from cloud.errors import InputError
    from packer import promotion
    from tasks import _clouds

    if keep < 0:
        raise InputError(f"--keep {keep}: so many can't be kept", hint="--keep 1 keeps the current build alone")
    settings, definition, clouds = _opened(cloud, name)

    def removed(each: Cloud) -> tuple[str, ...]:
        found = promotion.superfluous(each, definition.name, keep or settings.images.keep)
        return found.words() if plan else promotion.prune(found, each)

    answers = _clouds.ask(clouds, removed)
    for answer in answers:
        for text in answer.value or ():
            print(f"{'would remove' if plan else 'removed'} {text}")
    _clouds.agree(answers)


def _made_current(clouds: list[Cloud], act: Callable[[Cloud], Image]) -> None:
    """Do it on each cloud, and say what is current there now."""
    from tasks import _clouds

    answers = _clouds.ask(clouds, act)
    for answer in answers:
        if answer.value:
            print(f"{answer.value.build} is current on {answer.cloud.name}")
    _clouds.agree(answers)


def _opened(names: list[str], name: str) -> tuple[Settings, Definition, list[Cloud]]:
    """The settings, the definition, and the clouds that were named or else are set.

    Raises:
        InputError: one of them can't be used, or no cloud is meant.
    """
    from cloud import WORDS, connect
    from cloud.errors import InputError
    from packer.definition import load
    from tasks._settings import load as settings_now

    settings = settings_now()
    chosen = names or settings.images.clouds
    if not chosen:
        raise InputError("no cloud is named", hint="--cloud local builds and runs on this machine")
    definition = load(Path(settings.images.definition), name, settings.images.optional)
    canonical = dict.fromkeys(WORDS.get(each, each) for each in chosen)
    return settings, definition, [connect(each, settings) for each in canonical]
