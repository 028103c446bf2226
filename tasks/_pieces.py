"""The pieces of a release: how one looks at each, and what is done so that it is there.

    product   the files that a release consists of, with their manifest
    smoke     a command that shows that they work
    ami       the release AMI, in each region
    box       a box for each system and provider
    github    the release at GitHub, with the files

A piece that is released is never changed. Where GitHub is a piece, the product is what GitHub has of it (`_kept`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from cloud.errors import InputError, KitError, TemporaryError
from packer import boxes as box_build
from packer import manifest, version
from packer import product as goods_of
from packer.definition import load
from packer.driver import Packer
from packer.manifest import Manifest
from tasks import _boxes, _clouds, _console, _kept, _publish

if TYPE_CHECKING:
    from cloud.aws.cloud import AwsCloud
    from cloud.publish.names import Tag
    from cloud.publish.place import Found, Place
    from packer.box import Box, Provider
    from packer.product import Product
    from packer.shelf import Shelf
    from tasks._kept import Kept
    from tasks._release import Desk
    from tasks._settings import Settings


@dataclass(frozen=True)
class Row:
    """A line of the table."""

    piece: str
    what: str
    """Which one: a folder, a region, a system and its provider, a repository."""
    state: str
    """`missing`; `stale`, of other inputs; `there`; `released`; `unknown`, where one could not look."""
    does: tuple[str, ...]
    """What is done for it, in order; nothing: it is as it is to be, or nothing can be done."""
    why: str


@dataclass(frozen=True)
class Looked:
    """A piece as it is now."""

    rows: tuple[Row, ...]
    act: Callable[[_console.Console], bool]
    """Does what the rows say; whether that was anything."""
    product: Product | None = None
    """Of the product alone: its files, where they are those of the version."""
    error: KitError | None = None
    """Why a part of it could not be looked at; the rest is acted on all the same."""


def _nothing(console: _console.Console) -> bool:
    return False


# The product.


def product(desk: Desk, kept: Kept | None, blind: KitError | None) -> Looked:
    """The files, and whose they are. `kept` is what GitHub has, where it is asked; `blind` why that is not known."""
    if kept and kept.manifest:
        return _of_github(desk, kept, kept.manifest)
    looked = _here(desk)
    return replace(looked, act=_nothing, error=blind) if blind else looked


def _of_github(desk: Desk, kept: Kept, told: Manifest) -> Looked:
    """The same, where GitHub has them: these, and no others."""

    def fetched(state: str, why: str) -> Looked:
        def act(console: _console.Console) -> bool:
            _kept.fetch(desk, kept, console.ear())
            return True

        return Looked((Row("product", str(desk.folder), state, ("fetch",), why),), act)

    try:
        files = goods_of.look(desk.folder, tuple(told.files))
    except InputError:
        return fetched("missing", f"{kept.where} has its files")
    if other := [name for name in told.files if files[name] != told.files[name]]:
        return fetched("stale", f"{other[0]} is not the one of {kept.where}, which stays")
    noted = manifest.read(desk.folder)
    if noted is None or (noted.of, noted.files) != (told.of, told.files):
        return fetched("stale", f"{manifest.NAME} is not the one of {kept.where}")
    return Looked((_whole(desk, files),), _nothing, goods_of.of(desk.folder, files))


def _whole(desk: Desk, files: Mapping[str, manifest.Item]) -> Row:
    size = sum(item.size for item in files.values())
    return Row("product", str(desk.folder), "there", (), f"{len(files)} files, {size / 1e6:.0f} MB")


def _here(desk: Desk) -> Looked:
    """The same, where GitHub does not have them all yet."""
    settings, noted = desk.settings.product, manifest.read(desk.folder)
    build = tuple(settings.build) if desk.checkout else ()

    def looked(state: str, does: tuple[str, ...], why: str, found: Product | None = None) -> Looked:
        act = partial(_make, desk, build if "build" in does else ()) if does else _nothing
        return Looked((Row("product", str(desk.folder), state, does, why),), act, found)

    try:
        files = goods_of.look(desk.folder, settings.files)
        found = goods_of.of(desk.folder, files)
    except InputError as problem:
        return looked("missing", ("build",) if build else (), problem.message)
    if noted and noted.of == desk.version and noted.files == files:
        return Looked((_whole(desk, files),), _nothing, found)
    if noted is None:
        return looked("stale", ("build",) if build else ("note",), f"nothing says that they are of {desk.version.text}")
    if noted.of != desk.version:
        whose = f"{noted.version} of {noted.commit[:10]}"
        return looked("stale", ("build",) if build else ("note",), f"they are {whose}")
    # One that is in the one list and not in the other, too: the setting product.files may be another by now.
    other = next(name for name in (*files, *noted.files) if noted.files.get(name) != files.get(name))
    return looked("stale", ("build",) if build else (), f"{other} is not the one of {manifest.NAME}")


def _make(desk: Desk, commands: Sequence[str], console: _console.Console) -> bool:
    """Build the files, look at them, and write their manifest."""
    settings, ear = desk.settings.product, console.ear()
    for number, command in enumerate(commands, 1):
        assert desk.checkout is not None  # without one there are no commands
        with ear.step(command, number, len(commands)):
            goods_of.run(command, desk.checkout, desk.folder, ear, settings.timeout)
    if desk.checkout and version.look(desk.checkout).commit != desk.version.commit:
        raise KitError(f"{desk.checkout} is at another commit than when this began", hint="the same command once more")
    files = goods_of.look(desk.folder, settings.files)
    manifest.write(desk.folder, Manifest(desk.version.text, desk.version.commit, files))
    return True


def smoke(desk: Desk, kept: Kept | None = None) -> Looked:
    """Whether the files were tried; no row, where nothing is set that tries them."""
    command = desk.settings.product.smoke
    if not command:
        return Looked((), _nothing)
    told = (manifest.read(desk.folder), kept.manifest if kept else None)
    if any(noted and noted.of == desk.version and noted.smoke == command for noted in told):
        return Looked((Row("smoke", command, "there", (), "it went well"),), _nothing)
    why = "it was not run with these files"
    return Looked((Row("smoke", command, "missing", ("run",), why),), partial(_try, desk, command))


def _try(desk: Desk, command: str, console: _console.Console) -> bool:
    ear = console.ear()
    with ear.step(command, 1, 1):
        goods_of.run(command, desk.checkout or desk.folder, desk.folder, ear, desk.settings.product.timeout)
    noted = manifest.read(desk.folder)
    if noted is None or noted.of != desk.version:
        raise KitError(f"{manifest.NAME} is gone since", hint="./inv release.product writes it anew")
    manifest.write(desk.folder, msgspec.structs.replace(noted, smoke=command))
    return True


# The release AMI.


def regions(settings: Settings) -> list[AwsCloud]:
    """AWS, where the AMI is built, and where it is copied to."""
    from cloud.aws.cloud import AwsCloud

    names = dict.fromkeys((settings.aws.region, *settings.release.copies))
    return [AwsCloud(msgspec.structs.replace(settings.aws, region=each), settings.caller) for each in names]


def ami(desk: Desk, product: Product | None, *, force: bool = False) -> Looked:
    """The AMI in each region."""
    from packer import ami as amis

    settings, clouds = desk.settings, regions(desk.settings)
    definition = load(Path(settings.release.definition))
    planned = amis.plan(
        definition, desk.version, clouds, product, settings.release, settings.packer.minimum, force=force
    )
    rows = tuple(Row("ami", each.region, each.state, each.does, each.why) for each in planned.places)
    if planned.foreign:
        return Looked(rows, _nothing, error=InputError(planned.foreign, hint="make another version"))
    if planned.up_to_date:
        return Looked(rows, _nothing)

    def act(console: _console.Console) -> bool:
        # Nor is one proven without it: what is not proven is for nobody.
        if planned.build is None and {"build", "prove"} & set(planned.places[0].does):
            raise InputError("the product is not there, of which the AMI is built", hint="./inv release.product")
        ended = amis.apply(planned, clouds, partial(_packer, desk, "aws"), console.ear)
        _clouds.settle(list(ended.items()))
        return True

    return Looked(rows, act)


def _packer(desk: Desk, cloud: str) -> Packer:
    packer = Packer.found(desk.settings.packer)
    packer.suffices(cloud)
    return packer


# Boxes.


def boxes(desk: Desk, product: Product | None) -> Looked:
    """A box for each system and provider: built here, and published."""
    settings, shelf = _boxes.opened()
    place = _publish.place_named(settings.publish.to, settings)
    place.check()
    meant = _boxes.meant((), settings)
    answers = _clouds.together([partial(_box, desk, box, product, place, shelf) for box in meant], len(meant))
    systems = [system for system, _ in answers if system]
    blind = {box.os: error for box, (_, error) in zip(meant, answers, strict=True) if error}
    rows = [row for system in systems for row in system.rows]
    rows += [Row("box", name, "unknown", (), error.message) for name, error in blind.items()]
    unseen = _clouds.whole([*((system.box.os, None) for system in systems), *blind.items()])

    def act(console: _console.Console) -> bool:
        due = [system for system in systems if any(row.does for row in system.rows)]
        acts = [partial(_published, desk, system, place, shelf, console.ear(system.box.os)) for system in due]
        ended = _clouds.together(acts, settings.boxes.at_once)
        done = [(system.box.os, error) for system, (_, error) in zip(due, ended, strict=True)]
        _clouds.settle([*done, *blind.items()])
        return bool(due)

    return Looked(tuple(rows), act, error=unseen)


@dataclass(frozen=True)
class _System:
    """A system's boxes."""

    box: Box
    tag: Tag
    rows: tuple[Row, ...]
    plan: box_build.Plan | None
    """How they come to be; None: nothing is to be built, or there is no product."""


def _box(desk: Desk, box: Box, product: Product | None, place: Place, shelf: Shelf) -> _System:
    from cloud.publish import names
    from cloud.publish import plan as publication

    tag = names.tag(box.name)
    providers = _boxes.providers((), desk.settings)
    found = place.find(tag, desk.version.text)
    if found and found.state == "released" and {each.provider for each in found.listed} >= set(providers):
        publication.listed(place, tag, desk.version.text, found.listed)
        rows = (Row("box", f"{box.os} {each}", "released", (), f"{tag} at {place.name}") for each in providers)
        return _System(box, tag, tuple(rows), None)
    cloud = _boxes.cloud(desk.settings, box)
    oldest = desk.settings.packer.minimum
    plan = box_build.plan(box, providers, cloud, shelf, product, oldest) if product else None
    steps = partial(_steps, found, plan, shelf, box, release=not desk.version.edge)
    told = [(each, *steps(each)) for each in providers]
    rows = (Row("box", f"{box.os} {each}", state, does, why) for each, state, does, why in told)
    return _System(box, tag, tuple(rows), plan)


def _steps(
    found: Found | None, plan: box_build.Plan | None, shelf: Shelf, box: Box, provider: Provider, *, release: bool
) -> tuple[str, tuple[str, ...], str]:
    """What there is of one provider's box that is not released, what is to be done for it, and why."""
    out = ("release",) if release else ()
    here = shelf.get(box.os, provider)
    listed = [each for each in found.listed if each.key == (provider, box.architecture)] if found else []
    sent = next((each for each in listed if each.hosted), None)
    fresh = here if here and plan and provider not in plan.wanted else None
    if sent and (fresh is None or fresh.told.sha256 == sent.sha256):
        return "there", out, "sent, and not released"
    if sent:
        return "stale", ("upload", *out), "another one was sent"
    if fresh:
        return "there", ("upload", *out), "built, and not sent"
    if here and plan:
        return "stale", ("build", "upload", *out), plan.reason
    return "missing", ("build", "upload", *out), plan.reason if plan else "the product is not there"


def _published(desk: Desk, system: _System, place: Place, shelf: Shelf, ear: _console.Ear) -> None:
    """Build what is to be built, send what is not there, and release it where the version is no edge."""
    from cloud.publish import plan as publication

    settings, does = desk.settings, {step for row in system.rows for step in row.does}
    if "build" in does:
        if system.plan is None:
            raise InputError("the product is not there, of which boxes are built", hint="./inv release.product")
        box_build.apply(system.plan, _boxes.cloud(settings, system.box), _packer(desk, "local"), shelf, ear)
    # Of those alone that are to be sent: what is here of another one may be older than what is there.
    providers = _boxes.providers((), settings)
    due = [each for each, row in zip(providers, system.rows, strict=True) if "upload" in row.does]
    kept = [found for each in due if (found := shelf.get(system.box.os, each))]
    with _publish.turns(place, [system.tag]):
        read = [_publish.as_built(each.archive, each.told.sha256, ear) for each in kept]
        release = not desk.version.edge
        planned = publication.make(place, system.tag, desk.version.text, read, replace=True, release=release)
        publication.apply(planned, place, ear, settings.publish.lag)


# The release at GitHub.


def github(desk: Desk, product: Product | None, kept: Kept) -> Looked:
    """The release with its files: a draft, until somebody says that it is final."""
    there = kept.release
    wanted = _assets(desk) if product else {}

    def looked(state: str, does: tuple[str, ...], why: str, error: KitError | None = None) -> Looked:
        last = ("publish",) if desk.final and state != "released" and not error else ()
        row = Row("github", f"{desk.repository} {desk.version.tag}", state, (*does, *last), why)
        return Looked((row,), partial(_sent, desk, product, wanted) if does else _nothing, error=error)

    if there is None:
        return looked("missing", ("draft", "upload"), "there is no release of this tag")
    has = {each.name: each.sha256 for each in there.assets if each.uploaded}
    lacking = [name for name, (_, sha256) in wanted.items() if has.get(name) not in (sha256, "")]
    if not there.draft:
        why = f"without {lacking[0]}, and it stays as it is" if lacking else f"{len(has)} files"
        # What else is made of the product would be of other files than those that everybody has.
        strange = not kept.manifest and any(name != manifest.NAME for name in lacking)
        error = InputError(f"{there.tag} was released {why}", hint="make another version") if strange else None
        return looked("released", (), why, error)
    if kept.manifest:
        return looked("there", (), f"a draft with {len(kept.manifest.files) + 1} files")
    if there.commit != desk.version.commit:
        why = f"a draft of another commit, {there.commit[:10]}"
        if desk.version.edge:
            return looked("stale", (), why, _taken(desk, there.commit))
        return looked("stale", ("draft", "upload"), why)
    if not product:
        return looked("stale", ("upload",), f"a draft of {len(has)} files that are not all")
    if lacking:
        done = len(wanted) - len(lacking)
        return looked("stale", ("upload",), f"a draft with {done} of {len(wanted)} files")
    return looked("stale", ("upload",), f"a draft whose {manifest.NAME} is not of its files")


def _taken(desk: Desk, commit: str) -> KitError:
    """Two commits of one day may take the same number at once: it belongs to the one that was drafted first."""
    return TemporaryError(
        f"{desk.version.text} is of {commit[:10]} by now, and not of {desk.version.commit[:10]}",
        hint="the same command takes the next number",
    )


def _assets(desk: Desk) -> Mapping[str, tuple[Path, str]]:
    """Each file of the release, with its sum."""
    noted = manifest.read(desk.folder)
    files = {name: (desk.folder / name, item.sha256) for name, item in noted.files.items()} if noted else {}
    whole = goods_of.look(desk.folder, (manifest.NAME,))[manifest.NAME]
    return {**files, manifest.NAME: (desk.folder / manifest.NAME, whole.sha256)}


def _sent(
    desk: Desk, product: Product | None, wanted: Mapping[str, tuple[Path, str]], console: _console.Console
) -> bool:
    """Make the draft, and send what it lacks."""
    if product is None:
        raise InputError("the product is not there, of which a release consists", hint="./inv release.product")
    wanted_as, releases, ear = desk.version, desk.releases, console.ear("github")
    told = "\n".join(f"- {name}: sha256 `{sha256}`" for name, (_, sha256) in wanted.items() if name != manifest.NAME)
    name = f"Kontain {wanted_as.text}"
    text = f"{name}, of {wanted_as.commit}.\n\n{told}\n"
    moves, prerelease = not wanted_as.edge, wanted_as.prerelease
    draft = releases.draft(wanted_as.tag, wanted_as.commit, name, text, prerelease=prerelease, moves=moves)
    if draft.commit != wanted_as.commit and draft.draft:
        raise _taken(desk, draft.commit)
    for number, (name, (path, sha256)) in enumerate(wanted.items(), 1):
        with ear.step(f"send {name}", number, len(wanted)):
            releases.upload(draft, path, sha256, ear)
    return True


def publish(desk: Desk) -> None:
    """Let everybody have it. All else of it is out by then.

    Raises:
        InputError: GitHub has the tag on something else.
    """
    there = desk.releases.find(desk.version.tag)
    if there is None:
        raise KitError(f"{desk.version.tag} is gone from GitHub", hint="the same command makes it anew")
    known = desk.releases.tagged(desk.version.tag)
    # Which commit an object with a message names is known where the checkout has it too.
    here = version.objects(desk.checkout, desk.version.tag) if desk.checkout else ()
    if known and (here or not known.annotated) and known.sha not in (desk.version.commit, *here):
        raise InputError(
            f"{desk.version.tag} of {desk.repository} is on {known.sha[:10]}, and not on {desk.version.commit[:10]}",
            hint="git fetch --tags, or take another version",
        )
    desk.releases.publish(there)
