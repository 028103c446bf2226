"""What is to be done so that a version is published; shown, or applied.

A version that is released never changes: the same content is left alone, other content is refused. It is released when
all of its files were read back, and not before. What is interrupted leaves a version that nobody sees; the next run
looks at it, and sends what is not there.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import replace as replaced
from typing import Literal

from cloud import wait
from cloud.errors import InputError, KitError, NotFound, TemporaryError, TimedOut
from cloud.progress import Progress
from cloud.publish.box import Box
from cloud.publish.download import Wrong
from cloud.publish.names import Tag
from cloud.publish.place import Found, Listed, Place
from cloud.publish.transfer import Pace

Does = Literal["there", "check", "upload", "replace", "refused"]

SENDINGS = 3
"""How often a file is sent that is not there afterwards, or not as it was."""


@dataclass(frozen=True)
class Part:
    """A provider of the version, and what is to be done for it.

    there    it is published, with this content
    check    the place says that it has it, unreleased: it is read back, and sent only if it is not so
    upload   it is sent
    replace  the same, over other content that is unreleased
    refused  `why` tells
    """

    provider: str
    architecture: str
    does: Does
    why: str
    box: Box | None = None
    """None: it is at the place alone, from another run."""
    listed: Listed | None = None
    default: bool = False

    def __str__(self) -> str:
        return f"{self.provider} {self.architecture}"


@dataclass(frozen=True)
class Plan:
    """All that is to be done, in order."""

    place: str
    tag: Tag
    version: str
    parts: tuple[Part, ...]
    release: bool
    """Whether the version is released at the end."""
    released: bool
    """Whether it is so already."""

    @property
    def up_to_date(self) -> bool:
        """Whether nothing is to be done."""
        return all(part.does == "there" for part in self.parts)

    @property
    def changes(self) -> int:
        """How many files may be sent."""
        return sum(part.does in ("check", "upload", "replace") and part.box is not None for part in self.parts)


@dataclass(frozen=True)
class Outcome:
    """What became of a plan."""

    plan: Plan
    sent: tuple[str, ...]
    """The parts whose files were sent, as they are written."""
    released: bool


def make(place: Place, tag: Tag, version: str, boxes: Sequence[Box], *, replace: bool, release: bool) -> Plan:
    """Look, and say what is to be done. Without boxes: with what other runs have sent.

    Raises:
        InputError: two boxes are for the same provider and architecture; or there are none, here and there.
    """
    keys = [(box.provider, box.architecture) for box in boxes]
    if twice := next((key for key in keys if keys.count(key) > 1), None):
        raise InputError(f"two boxes are for {' '.join(twice)}", hint="name one of them")
    found = place.find(tag, version)
    if not keys and found is None:
        raise InputError(f"no box of {tag} is named", hint="./inv boxes.build makes boxes")
    others = [each for each in found.listed if each.key not in keys] if found else []
    defaults = _defaults([*keys, *(each.key for each in others)])
    parts = [_part(place, found, box, replace) for box in boxes]
    parts += [_other(each, others, found) for each in others if found]
    parts = [replaced(part, default=(part.provider, part.architecture) in defaults) for part in parts]
    parts.sort(key=lambda part: (part.provider, part.default, part.architecture))
    released = found is not None and found.state == "released"
    return Plan(place.name, tag, version, tuple(parts), release and not released, released)


def _defaults(keys: Sequence[tuple[str, str]]) -> set[tuple[str, str]]:
    """For each provider the architecture that those get who can't say which they want."""
    first: dict[str, tuple[str, str]] = {}
    for key in sorted(keys, key=lambda key: (key[1] != "amd64", key)):
        first.setdefault(key[0], key)
    return set(first.values())


def _part(place: Place, found: Found | None, box: Box, replace: bool) -> Part:
    def part(does: Does, why: str, listed: Listed | None = None) -> Part:
        return Part(box.provider, box.architecture, does, why, box, listed)

    mine = [each for each in found.listed if each.key == (box.provider, box.architecture)] if found else []
    same = any(each.sha256 == box.sha256 for each in mine)
    listed = next((each for each in mine if each.sha256 == box.sha256), mine[0] if mine else None)
    if found and found.state == "revoked":
        return part("refused", "the version was revoked, and can't be released again: take another version")
    if found and found.state == "released":
        if same:
            return part("there", "already published", listed)
        other = "with other content" if listed else "without this provider"
        return part("refused", f"the version is released {other}, and stays as it is: take another version", listed)
    if place.limit and box.size > place.limit:
        size = f"it has {box.size / (1 << 30):.1f} GiB, and {place.name} takes {place.limit >> 30} GiB at the most"
        return part("refused", f"{size}: --to catalog takes any size")
    if listed is None:
        return part("upload", "it is not there", listed)
    if not same and listed.sha256 and not replace:
        return part("refused", "other content is there, unreleased: --replace puts this one in its place", listed)
    if not same:
        return part("replace" if listed.sha256 else "upload", "other content is there, unreleased", listed)
    return (
        part("check", "sent by an earlier run", listed) if listed.hosted else part("upload", "it was not sent", listed)
    )


def _other(listed: Listed, others: Sequence[Listed], found: Found) -> Part:
    """A provider that is at the place, and not among our boxes."""
    if found.state == "released":
        return Part(listed.provider, listed.architecture, "there", "already published", listed=listed)
    if [each.key for each in others].count(listed.key) > 1:
        why = "other runs have sent two of it: publish the right one too, or take another version"
        return Part(listed.provider, listed.architecture, "refused", why, listed=listed)
    if not (listed.hosted and listed.sha256):
        why = "the version has it without a file: publish its box too, or take another version"
        return Part(listed.provider, listed.architecture, "refused", why, listed=listed)
    return Part(listed.provider, listed.architecture, "check", "of another run", listed=listed)


def agreed(plan: Plan) -> None:
    """See that nothing in the plan is refused.

    Raises:
        InputError: something is; nothing was sent.
    """
    for part in plan.parts:
        if part.does == "refused":
            why, _, hint = part.why.partition(": ")
            raise InputError(f"{plan.tag} {plan.version} at {plan.place}, {part}: {why}", hint=hint)


def apply(plan: Plan, place: Place, progress: Progress, lag: float) -> Outcome:
    """Do it. `lag`: seconds in which what was sent can be read. Where it is done, see that the world sees that.

    Raises:
        InputError: something in it is refused; nothing was sent.
        KitError: it failed; the version is not released, unless another one has released it.
    """
    agreed(plan)
    if plan.up_to_date:
        listed(place, plan.tag, plan.version, [part.listed for part in plan.parts if part.listed])
        return Outcome(plan, (), plan.released)
    tag, version = plan.tag, plan.version
    numbers, steps = itertools.count(1), len(plan.parts) + plan.release
    place.begin(tag, version)
    sent = []
    for part in plan.parts:
        with progress.step(f"{part} of {tag} {version}", next(numbers), steps):
            if _settled(plan, part, place, progress, lag):
                sent.append(str(part))
    if plan.release:
        with progress.step(f"release {tag} {version}", next(numbers), steps):
            _release(plan, place, lag)
    return Outcome(plan, tuple(sent), plan.release)


def _settled(plan: Plan, part: Part, place: Place, progress: Progress, lag: float) -> bool:
    """The file is there and was read back; whether it was sent for that."""
    if part.does == "check":
        subject = part.box or part.listed
        assert subject is not None
        try:
            _read_back(plan, subject, place, progress, lag)
        except (Wrong, TimedOut) as problem:
            if part.box is None:
                raise KitError(
                    f"{part} of {plan.tag} {plan.version}, of another run, is not whole: {problem.message}",
                    hint="publish its box too, or take another version",
                ) from problem
            progress.note(f"{part}: what an earlier run sent is not whole")
        else:
            return False
    assert part.box is not None
    for number in range(1, SENDINGS + 1):
        try:
            pace = Pace(f"{part}, sending", part.box.size, progress)
            place.put(plan.tag, plan.version, part.box, default=part.default, pace=pace)
            _read_back(plan, part.box, place, progress, lag)
        except (Wrong, TimedOut) as problem:
            if number == SENDINGS:
                raise TemporaryError(
                    f"{part} of {plan.tag} {plan.version} was sent {number} times, and is not there: {problem.message}",
                    hint="the version is not released; the same command goes on",
                ) from problem
            progress.note(f"{part}: sent, but {problem.message}; once more")
        else:
            break
    return True


def _read_back(plan: Plan, subject: Box | Listed, place: Place, progress: Progress, lag: float) -> None:
    size = subject.size if isinstance(subject, Box) else 0
    pace = Pace(f"{subject.provider} {subject.architecture}, reading back", size, progress)

    def look() -> bool | None:
        try:
            place.verify(plan.tag, plan.version, subject, pace)
        except NotFound:
            return None
        return True

    wait.until(look, what=f"{subject.provider} {subject.architecture} can be read", timeout=lag, every=2)


def _release(plan: Plan, place: Place, lag: float) -> None:
    """Look once more that the version is what was read back, then let everybody have it."""
    found = place.find(plan.tag, plan.version)
    there = found.listed if found else ()
    rows = [
        each for part in plan.parts for each in there if each.hosted and (*each.key, each.sha256) == _identity(part)
    ]
    if found is None or len(rows) != len(plan.parts) or {each.key for each in there} != {each.key for each in rows}:
        raise TemporaryError(
            f"{plan.tag} {plan.version} is not what was sent: somebody else works on it",
            hint="later, again",
        )
    if found.state != "released":
        place.release(plan.tag, plan.version, rows)
    listed(place, plan.tag, plan.version, rows, lag)


def listed(place: Place, tag: Tag, version: str, rows: Sequence[Listed], lag: float = 0) -> None:
    """See that who adds the box finds the version, which is released with these files; within `lag` seconds.

    Raises:
        TemporaryError: it is not there, or not yet.
    """
    try:
        wait.until(lambda: place.shows(tag, version, rows) or None, what="it is listed", timeout=lag, every=2)
    except TimedOut as problem:
        told = f"{tag} {version} is released, and not listed{f' within {lag:.0f} s' if lag else ''}"
        raise TemporaryError(told, hint="the same command looks again") from problem


def _identity(part: Part) -> tuple[str, str, str]:
    whole = part.box or part.listed
    return part.provider, part.architecture, whole.sha256 if whole else ""
