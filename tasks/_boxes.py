"""What the tasks of `boxes` do: which boxes are meant, what is shown of them."""

from __future__ import annotations

import os as system
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import msgspec

from cloud import connect
from cloud.base import Cloud
from cloud.errors import InputError, KitError, NotFound
from cloud.local.store import Store
from packer import box as definitions
from packer import boxes, product, registration, trial
from packer.box import PROVIDERS, Box, Provider
from packer.driver import Packer
from packer.render import render
from packer.shelf import Kept, Shelf
from tasks import _clouds, _console, _settings, _tools

if TYPE_CHECKING:
    from tasks._settings import Settings


def build(
    os: Sequence[str], provider: Sequence[str], folder: str, *, force: bool, plan: bool, as_json: bool, yes: bool
) -> None:
    """Build what is missing."""
    settings, shelf = opened()
    systems, whom = meant(os, settings), providers(provider, settings)
    brought = product.found(product.place(settings.product, folder))
    oldest = settings.packer.minimum

    def planned(box: Box) -> boxes.Plan:
        return boxes.plan(box, whom, cloud(settings, box), shelf, brought, oldest, force=force)

    answers = _clouds.together([partial(planned, box) for box in systems], 1)
    plans = [each for each, _ in answers if each]
    rows = [_plan_row(each) for each in plans]
    wanted = [each for each in plans if not each.up_to_date]
    ended: dict[str, KitError | None] = {box.os: error for box, (_, error) in zip(systems, answers, strict=True)}
    if plan or not wanted:
        if rows:
            _console.result(rows, as_json=as_json, text=_plan_text(rows))
        _clouds.settle(list(ended.items()))
        return
    _console.say(_plan_text(rows))
    _tools.ensure("images", "local", yes=yes)
    packer = Packer.found(settings.packer)
    with _console.long_work("boxes.build", partial(left, shelf)) as console:

        def made(each: boxes.Plan) -> boxes.Outcome:
            ear = console.ear(each.box.os if len(wanted) > 1 else "")
            return boxes.apply(each, cloud(settings, each.box), packer, shelf, ear)

        outcomes = _clouds.together([partial(made, each) for each in wanted], settings.boxes.at_once)
        ended |= {each.box.os: error for each, (_, error) in zip(wanted, outcomes, strict=True)}
        done = [outcome for outcome, _ in outcomes if outcome]
        if done:
            built = [_outcome_row(kept, outcome) for outcome in done for kept in outcome.boxes]
            _console.result(built, as_json=as_json, text=_outcome_text(done))
        _clouds.settle(list(ended.items()))


def register(os: Sequence[str], provider: Sequence[str], version: str, *, plan: bool, as_json: bool, yes: bool) -> None:
    """Give the local vagrant what is on the shelf."""
    settings, shelf = opened()
    groups = _groups(os, provider, settings, shelf)
    wanted = version or system.environ.get("RELEASE_TAG", "")
    versions = [registration.version_of(wanted, group) for group in groups]
    rows: list[_console.Row] = [
        {"name": kept.told.name, "provider": kept.told.provider, "version": each, "sha256": kept.told.sha256}
        for group, each in zip(groups, versions, strict=True)
        for kept in group
    ]
    text = "\n".join(f"{row['name']} {row['version']} for {row['provider']}" for row in rows)
    if plan:
        _console.result(rows, as_json=as_json, text=f"would register:\n{text}")
        return
    _tools.ensure("boxes", yes=yes)
    acts = [partial(registration.register, group, each, shelf) for group, each in zip(groups, versions, strict=True)]
    answers = _clouds.together(acts, 1)
    new = {(box.name, box.provider): added for boxes, _ in answers for box, added in (boxes or {}).items()}
    keys = [(row["name"], row["provider"]) for row in rows]
    rows = [{**row, "added": new[key]} for row, key in zip(rows, keys, strict=True) if key in new]
    if rows:
        _console.result(rows, as_json=as_json, text="\n".join(map(_registered_text, rows)))
    _clouds.settle([(group[0].told.os, error) for group, (_, error) in zip(groups, answers, strict=True)])


def _registered_text(row: _console.Row) -> str:
    state = "is registered" if row["added"] else "is there already"
    return f"{row['name']} {row['version']} for {row['provider']} {state}"


def test(os: Sequence[str], provider: Sequence[str], *, as_json: bool, yes: bool) -> None:
    """Boot what is on the shelf."""
    settings, shelf = opened()
    groups = _groups(os, provider, settings, shelf)
    tried = [(kept, _load(settings, kept.told.os)) for group in groups for kept in group]
    _tools.ensure("trials", yes=yes)
    with _console.long_work("boxes.test", partial(left, shelf)) as console:

        def one(number: int, kept: Kept, box: Box) -> trial.Trial:
            ear = console.ear()
            source = cloud(settings, box).images.source()
            files = render(box.definition, "local", source, settings.packer.minimum)
            with ear.step(f"test {kept.told.os} for {kept.told.provider}", number, len(tried)):
                return trial.run(kept, box, files, settings.local, shelf, ear)

        acts = [partial(one, number, kept, box) for number, (kept, box) in enumerate(tried, 1)]
        answers = _clouds.together(acts, 1)
        found = [each for each, _ in answers if each]
        if found:
            rows = [_trial_row(each) for each in found]
            _console.result(rows, as_json=as_json, text="\n".join(map(_trial_text, rows)))
        named = [f"{kept.told.os} for {kept.told.provider}" for kept, _ in tried]
        _clouds.settle([(name, error) for name, (_, error) in zip(named, answers, strict=True)])


def show(os: Sequence[str], provider: Sequence[str], *, as_json: bool) -> None:
    """Show what is on the shelf."""
    settings, shelf = opened()
    rows = [_row(kept) for kept in _there(os, provider, settings, shelf)]
    _console.result(rows, as_json=as_json, text=_console.table(_COLUMNS, rows, none=_NONE))


def clean(os: Sequence[str], provider: Sequence[str], *, plan: bool) -> None:
    """Clear the shelf, but for systems that are being built."""
    settings, shelf = opened()
    there = _there(os, provider, settings, shelf)
    systems = split(os) or [*definitions.names(Path(settings.boxes.definitions)), *(kept.told.os for kept in there)]
    busy = [name for name in dict.fromkeys(systems) if shelf.work.busy(name)]
    gone: list[tuple[str, Callable[[], object]]] = [
        (f"box of {kept.told.os} for {kept.told.provider}", partial(shelf.remove, kept))
        for kept in there
        if kept.told.os not in busy
    ]
    images = connect("local", settings).images
    gone += [
        (f"disk {image.build}", partial(images.delete, image))
        for name in dict.fromkeys(systems)
        for image in images.list(f"box-{name}")
        if name not in busy
    ]
    gone += [(f"left behind {path}", partial(shelf.sweep, path)) for path in shelf.leftovers()]
    for name in busy:
        print(f"left alone {name}: it is being built")
    for words, remove in gone:
        if not plan:
            remove()
        print(f"{'would remove' if plan else 'removed'} {words}")


_NONE = "no boxes; ./inv boxes.build makes some"


def opened() -> tuple[Settings, Shelf]:
    settings = _settings.load()
    return settings, Shelf(Store.at(settings.local.store).root)


def meant(os: Sequence[str], settings: Settings) -> list[Box]:
    """The boxes of the systems that are named, or else set."""
    named = split(os) or list(settings.boxes.os)
    if not named:
        raise InputError("no system is named", hint="--os ubuntu-24.04, or set boxes.os")
    return [_load(settings, each) for each in dict.fromkeys(named)]


def _load(settings: Settings, os: str) -> Box:
    return definitions.load(Path(settings.boxes.definitions), os)


def providers(named: Sequence[str], settings: Settings) -> list[Provider]:
    wanted = list(dict.fromkeys(split(named) or settings.boxes.providers))
    for each in wanted:
        if each not in PROVIDERS:
            raise InputError(f"unknown provider {each!r}", hint=f"choose from: {', '.join(PROVIDERS)}")
    if not wanted:
        raise InputError("no provider is named", hint="--provider libvirt, or set boxes.providers")
    return cast("list[Provider]", wanted)


def split(words: Iterable[str]) -> list[str]:
    """Words that may be several, with commas between them."""
    return [each.strip() for word in words for each in word.split(",") if each.strip()]


def _there(os: Sequence[str], provider: Sequence[str], settings: Settings, shelf: Shelf) -> list[Kept]:
    """What is on the shelf of what is named; of nothing, all of it.

    Raises:
        NotFound: a system is named that there is no definition of.
    """
    for each in (systems := split(os)):
        _load(settings, each)
    whom = providers(provider, settings) if provider else list(PROVIDERS)
    return [kept for kept in shelf.all() if (not systems or kept.told.os in systems) and kept.told.provider in whom]


def _groups(os: Sequence[str], provider: Sequence[str], settings: Settings, shelf: Shelf) -> list[list[Kept]]:
    """The boxes on the shelf of what is named, a list a system; of nothing, all of it.

    Raises:
        NotFound: there is none of what is named.
    """
    kept = _there(os, provider, settings, shelf)
    systems = list(dict.fromkeys(split(os) or [each.told.os for each in kept]))
    groups = [[each for each in kept if each.told.os == name] for name in systems]
    for name, group in zip(systems, groups, strict=True):
        for wanted in split(provider) if group else [""]:
            if not any(wanted in ("", each.told.provider) for each in group):
                raise NotFound(f"no box of {name}{f' for {wanted}' if wanted else ''}", hint="./inv boxes.build")
    if not groups:
        raise NotFound("no boxes are there", hint="./inv boxes.build makes some")
    return groups


def cloud(settings: Settings, box: Box) -> Cloud:
    """This machine, on which the box is built: its disk is the box's own, and so is what it starts from."""
    local = msgspec.structs.replace(settings.local, disk=box.disk, base_url="", base_sha256="")
    return connect("local", msgspec.structs.replace(settings, local=local))


def left(shelf: Shelf) -> list[str]:
    """What killed work left there, having looked."""
    left = [str(path) for path in shelf.leftovers()]
    return [f"left behind: {'; '.join(left)}: ./inv boxes.clean removes it" if left else "left behind: nothing"]


def _row(kept: Kept) -> _console.Row:
    told = kept.told
    return {
        "os": told.os,
        "provider": told.provider,
        "name": told.name,
        "architecture": told.architecture,
        "size": told.size,
        "built": kept.built,
        "sha256": told.sha256,
        "fingerprint": told.fingerprint,
        "file": str(kept.archive),
    }


_COLUMNS: dict[str, Callable[[Any], str]] = {
    "os": str,
    "provider": str,
    "name": str,
    "size": lambda size: f"{size / 1e6:.0f} MB",
    "built": _console.age,
    "file": str,
}


def _plan_row(plan: boxes.Plan) -> _console.Row:
    return {
        "os": plan.box.os,
        "name": plan.box.name,
        "up_to_date": plan.up_to_date,
        "providers": plan.wanted,
        "build": "build" in plan.build.steps,
        "reason": plan.reason,
        "base": plan.build.base.id,
        "fingerprints": plan.marks,
    }


def _plan_text(rows: Sequence[_console.Row]) -> str:
    lines = []
    for row in rows:
        if row["up_to_date"]:
            lines.append(f"{row['os']} is up to date: {row['reason']}")
        else:
            steps = [*(["build"] if row["build"] else []), *(f"pack for {each}" for each in row["providers"])]
            lines.append(f"{row['os']}: {', '.join(steps)}, because {row['reason']}")
    return "\n".join(lines)


def _outcome_row(kept: Kept, outcome: boxes.Outcome) -> _console.Row:
    return {**_row(kept), "seconds": {part: round(took, 1) for part, took in outcome.seconds.items()}}


def _outcome_text(outcomes: Sequence[boxes.Outcome]) -> str:
    lines = []
    for outcome in outcomes:
        for kept in outcome.boxes:
            lines.append(f"{kept.told.name} for {kept.told.provider}: {kept.told.size / 1e6:.0f} MB")
            lines.append(f"  {kept.archive}")
        lines.append(f"  built in {_console.duration(sum(outcome.seconds.values()))}")
        lines.append(f"  next: ./inv boxes.test --os {outcome.boxes[0].told.os}")
    return "\n".join(lines)


def _trial_row(found: trial.Trial) -> _console.Row:
    return {
        "os": found.kept.told.os,
        "provider": found.kept.told.provider,
        "how": found.how,
        "checks": [vars(check) for check in found.checks],
        "seconds": round(found.seconds, 1),
    }


def _trial_text(row: _console.Row) -> str:
    head = f"{row['os']} for {row['provider']}: {len(row['checks'])} checks passed"
    return f"{head} in {_console.duration(row['seconds'])}\n  by {row['how']}"
