"""What `boxes.upload` and `boxes.test-upload` do: which boxes, where to, and what became of them."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import platformdirs

from cloud import files, wait
from cloud.errors import InputError, Interrupted, KitError, NotFound, PartlyFailed
from cloud.local.store import Store
from cloud.publish import box as boxes_
from cloud.publish import names, plan, trial
from cloud.publish.transfer import Pace
from packer.shelf import Kept, Shelf
from tasks import _boxes, _console, _settings

if TYPE_CHECKING:
    from cloud.publish.box import Box
    from cloud.publish.names import Tag
    from cloud.publish.place import Place
    from tasks._settings import Settings

PATIENCE = 3600.0
"""Seconds that we wait for another one who publishes the same box."""


LOOK = 4.0
"""Seconds for a look at what is left: after an interrupt there are not many."""


@dataclass(frozen=True)
class Wanted:
    """What is to be published as what, and where. Of the files nothing was read but that they are there."""

    settings: Settings
    place: Place
    version: str
    files: tuple[tuple[Path, str, str], ...]
    """Each with the name that it is published as, which may be in the box, and the checksum that its build told."""
    begun: list[Tag] = field(default_factory=list)
    """Boxes of which something may have been sent."""

    def left(self) -> list[str]:
        """What an end before its time has left, having looked, though not for long."""
        with _through(LOOK):
            return [_left(self.place, tag, self.version) for tag in self.begun]


def wanted(
    to: str, systems: Sequence[str], named: Sequence[str], box: str, version: str = "", *, trial: bool = False
) -> Wanted:
    """What the options say, judged as far as that needs no reading and no network.

    Raises:
        InputError: one of them can't be used.
        NotAllowed: there is no token.
    """
    settings = _settings.load()
    told = names.trial() if trial else version or os.environ.get("RELEASE_TAG", "")
    if not told:
        raise InputError("no version is named", hint="--version 1.2.3, or the variable RELEASE_TAG")
    right = names.version(told)
    if right.startswith(names.TRIAL) and not trial:
        raise InputError(f"{right} is a version of boxes.test-upload's", hint="take another one")
    if box:
        names.tag(box)
    if named and systems:
        raise InputError("--file and --os are both given", hint="name the files, or the systems")
    place = place_named(to or settings.publish.to, settings)
    if named:
        chosen = [(Path(each), box, "") for each in dict.fromkeys(named)]
    else:
        there = _there(settings, systems)
        chosen = [(kept.archive, box or kept.told.name, kept.told.sha256) for kept in there]
    for path, _, _ in chosen:
        if not path.is_file():
            raise InputError(f"{path}: there is no such file", hint="./inv boxes.build makes boxes")
    return Wanted(settings, place, right, tuple(chosen))


def _there(settings: Settings, systems: Sequence[str]) -> list[Kept]:
    """The boxes that `boxes.build` has left, of these systems or of all.

    Raises:
        NotFound: there is none.
    """
    there = Shelf(Store.at(settings.local.store).root).all()
    wanted = _boxes.split(systems)
    if missing := [name for name in wanted if name not in {kept.told.os for kept in there}]:
        raise NotFound(f"there is no box of {', '.join(missing)}", hint="./inv boxes.build makes boxes")
    if not there:
        raise NotFound("there are no boxes", hint="./inv boxes.build makes boxes, or name files by --file")
    return [kept for kept in there if not wanted or kept.told.os in wanted]


def place_named(to: str, settings: Settings) -> Place:
    """Where to.

    Raises:
        InputError: it is not said, or no such place.
    """
    if to == "vagrant-cloud":
        from cloud.publish.vagrant_cloud import VagrantCloud

        return VagrantCloud(settings.publish)
    if to == "catalog":
        from cloud.publish.catalog import Catalog

        return Catalog.of(settings.publish)
    if to:
        raise InputError(f"{to!r} is no place for boxes", hint="--to vagrant-cloud, or --to catalog")
    raise InputError("no place is named", hint="--to catalog or --to vagrant-cloud, or the setting publish.to")


def published(
    wanted: Wanted, console: _console.Console, *, replace: bool, release: bool, look: bool
) -> list[dict[str, Any]]:
    """Publish, or only `look`: a row for each provider.

    Raises:
        InputError: something is refused. Nothing was sent.
    """
    boxes = _read(wanted, console)
    with turns(wanted.place, boxes):
        plans = [
            plan.make(wanted.place, tag, wanted.version, of_it, replace=replace, release=release)
            for tag, of_it in boxes.items()
        ]
        if look:
            return [row for each in plans for row in _plan_rows(each)]
        for each in plans:
            plan.agreed(each)
        return [row for each in plans for row in _applied(each, wanted, console)]


def tried(wanted: Wanted, console: _console.Console) -> list[dict[str, Any]]:
    """Publish each box as a trial, add it with vagrant, remove the trial."""
    boxes = _read(wanted, console)
    rows = []
    with turns(wanted.place, boxes):
        for tag, of_it in boxes.items():
            _swept(wanted, tag, console)
            planned = plan.make(wanted.place, tag, wanted.version, of_it, replace=False, release=True)
            with _removed(wanted, tag, console):
                outcome = plan.apply(planned, wanted.place, console.ear(), wanted.settings.publish.lag)
                for number, box in enumerate(of_it, 1):
                    with console.ear().step(f"vagrant box add {tag} {box.provider}", number, len(of_it)):
                        trial.add(wanted.place, tag, wanted.version, box, console.ear())
            rows += [{**row, "state": "added and removed"} for row in _outcome_rows(outcome)]
    return rows


def _swept(wanted: Wanted, tag: Tag, console: _console.Console) -> None:
    """Take away what trials of the box have left that were killed. What can't be taken away the next one finds."""
    try:
        for version in trial.left(wanted.place, tag):
            wanted.place.remove(tag, version)
            console.ear().note(f"removed {tag} {version}, which an earlier trial had left")
    except Interrupted:
        raise
    except KitError as problem:
        console.ear().note(f"what earlier trials of {tag} may have left is not removed: {problem.message}")


@contextmanager
def _removed(wanted: Wanted, tag: Tag, console: _console.Console) -> Iterator[None]:
    """The trial is gone afterwards, whatever becomes of it; also after an interrupt.

    Raises:
        KitError: it could not be removed. Where something else has failed before, that says so too.
    """
    try:
        yield
    except BaseException as ended:
        if problem := _problem_of_removing(wanted, tag, console):
            ended.add_note(f"{_stays(wanted, tag)}: {problem.message}")
        raise
    if problem := _problem_of_removing(wanted, tag, console):
        problem.add_note(_stays(wanted, tag))
        raise problem


def _problem_of_removing(wanted: Wanted, tag: Tag, console: _console.Console) -> KitError | None:
    problem: KitError | None = None
    for _ in range(2):  # once more where the interrupt came meanwhile
        try:
            with _through():
                wanted.place.remove(tag, wanted.version)
        except Interrupted as ended:
            problem = ended
        except KitError as failed:
            return failed
        else:
            console.write(f"removed {tag} {wanted.version}")
            return None
    return problem


def _stays(wanted: Wanted, tag: Tag) -> str:
    later = f"./inv boxes.test-upload removes it when it is {trial.OLD.days} day old"
    return f"{tag} {wanted.version} stays at {wanted.place.name}; {later}"


@contextmanager
def _through(bound: float = 0) -> Iterator[None]:
    """An interrupt that has come does not end this. One that comes does, and so does the `bound` in seconds.

    After an interrupt the watchdog of tasks._task ends it too.
    """
    interrupted, over = wait.interrupted(), threading.Event()

    def end() -> None:
        over.set()
        wait.interrupt()

    wait.resume()
    timer = threading.Timer(bound or threading.TIMEOUT_MAX, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        if interrupted:
            wait.interrupt()
        elif over.is_set():
            wait.resume()


def _applied(planned: plan.Plan, wanted: Wanted, console: _console.Console) -> list[dict[str, Any]]:
    """What became of a plan; one that fails keeps no other box from being published."""
    wanted.begun.append(planned.tag)
    try:
        outcome = plan.apply(planned, wanted.place, console.ear(), wanted.settings.publish.lag)
    except Interrupted:
        raise
    except KitError as problem:
        return [{**row, "state": "failed", "error": problem} for row in _plan_rows(planned)]
    wanted.begun.remove(planned.tag)
    return _outcome_rows(outcome)


def _left(place: Place, tag: Tag, version: str) -> str:
    again = "the same command goes on"
    try:
        found = place.find(tag, version)
    except KitError:
        return f"{tag} {version}: could not look at {place.name} what is there; {again}"
    if found is None:
        return f"{tag} {version}: nothing is there"
    if found.state == "unreleased":
        count = sum(each.hosted for each in found.listed)
        return f"{tag} {version}: not released, nobody sees it; {count} of its files are there; {again}"
    return f"{tag} {version}: {found.state}"


def _read(wanted: Wanted, console: _console.Console) -> dict[Tag, list[Box]]:
    """The boxes, each read as a whole and judged, by the name that it is published as.

    Raises:
        InputError: one of them is no box, or not what was built, or has no name.
    """
    wanted.place.check()
    if wanted.place.notice:
        _console.say(f"warning: {wanted.place.notice}")
    found: dict[Tag, list[Box]] = {}
    for number, (path, name, sha256) in enumerate(wanted.files, 1):
        ear = console.ear()
        with ear.step(f"read {path.name if name == '' else name} {path.parent.name}", number, len(wanted.files)):
            box = as_built(path, sha256, ear)
        if not (name or box.name):
            raise InputError(f"{path} does not tell its name", hint="--box ORG/NAME")
        found.setdefault(names.tag(name or box.name), []).append(box)
    return found


def as_built(path: Path, sha256: str, ear: _console.Ear) -> Box:
    """The box in that file, read as a whole and judged; `sha256` is what its build told, if it is of one.

    Raises:
        InputError: it is no box, or not what was built.
    """
    box = boxes_.read(path, Pace("reading", path.stat().st_size, ear).at)
    if sha256 and box.sha256 != sha256.lower():
        raise InputError(f"{path} is not what was built", hint="./inv boxes.build makes it anew")
    return box


@contextmanager
def turns(place: Place, tags: Iterable[Tag]) -> Iterator[None]:
    """One at a time publishes a box from this machine."""
    from contextlib import ExitStack

    folder = platformdirs.user_state_path("kontain") / "publish"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with ExitStack() as held:
        for tag in sorted(tags, key=str):
            path = folder / f"{place.name}-{tag.org}-{tag.box}.lock"
            what = f"another process has published {tag}"
            waiting = partial(_console.say, f"another process publishes {tag}: waiting")
            held.enter_context(files.turn(path, what=what, timeout=PATIENCE, waiting=waiting))
        yield


def _plan_rows(planned: plan.Plan) -> list[dict[str, Any]]:
    return [
        {
            "box": str(planned.tag),
            "version": planned.version,
            "provider": part.provider,
            "architecture": part.architecture,
            "place": planned.place,
            "state": part.does,
            "why": part.why,
            "release": planned.release,
            "sha256": part.box.sha256 if part.box else part.listed.sha256 if part.listed else "",
            "size": part.box.size if part.box else None,
        }
        for part in planned.parts
    ]


def _outcome_rows(outcome: plan.Outcome) -> list[dict[str, Any]]:
    told = "released" if outcome.released else "sent, not released"
    state = "already published" if outcome.plan.up_to_date else told
    sent = set(outcome.sent)
    return [
        {**row, "state": state, "sent": f"{row['provider']} {row['architecture']}" in sent}
        for row in _plan_rows(outcome.plan)
    ]


def text(rows: Sequence[dict[str, Any]], *, planned: bool = False) -> str:
    """The rows in words, a line each; where they are `planned`, also what follows."""
    lines = []
    for row in rows:
        head = f"{row['box']} {row['version']} {row['provider']} {row['architecture']} at {row['place']}"
        why = f", {row['why']}" if row["state"] in ("check", "upload", "replace", "refused") else ""
        lines.append(f"{head}: {row['state']}{why}")
    for box, version in dict.fromkeys((row["box"], row["version"]) for row in rows if planned):
        if any(row["release"] for row in rows if row["box"] == box):
            lines.append(f"{box} {version}: released when all of it was read back")
    return "\n".join(lines)


def agree(rows: Sequence[dict[str, Any]]) -> None:
    """Raise what has failed.

    Raises:
        PartlyFailed: some of it; else the error itself.
    """
    failed = {row["box"]: row["error"] for row in rows if "error" in row}
    if not failed:
        return
    if len(failed) < len({row["box"] for row in rows}):
        told = "; ".join(f"{box}: {problem.message}" for box, problem in failed.items())
        raise PartlyFailed(told, hint=next(iter(failed.values())).hint)
    raise next(iter(failed.values()))
