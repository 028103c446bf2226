"""Which version a release has: that of a tag at HEAD, or else an edge, which is one of many between two releases.

A tag `v1.2.3` is a release. Everything else is an edge: `0.1.0-edge.20261129.2` is the second of that day. An edge
belongs to a commit: whoever makes one of the same commit again goes on with the same version.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from cloud import process, wait
from cloud.errors import CommandFailed, InputError, Interrupted, KitError

# Semantic Versioning 2.0.0, item 9, without the build metadata that neither tags nor boxes have.
_PART = r"(?:0|[1-9][0-9]*)"
_WORD = r"(?:0|[1-9][0-9]*|[0-9]*[A-Za-z-][0-9A-Za-z-]*)"
_VERSION = re.compile(rf"(?P<core>{_PART}\.{_PART}\.{_PART})(?:-(?P<pre>{_WORD}(?:\.{_WORD})*))?", re.ASCII)
_EDGE = re.compile(r"edge\.(?P<day>[0-9]{8})\.(?P<number>[1-9][0-9]*)")
_COMMIT = re.compile(r"[0-9a-f]{40}")

_LONGEST = 64
"""Letters that the version of a box has at the most."""


@dataclass(frozen=True)
class Version:
    """A version, and the commit that it is of."""

    text: str
    """Without a v."""
    commit: str
    """All of its 40 letters."""

    @property
    def tag(self) -> str:
        """What it is called in git and at GitHub."""
        return f"v{self.text}"

    @property
    def edge(self) -> bool:
        """Whether it is one between releases, for nobody outside."""
        return _edge(self.text) is not None

    @property
    def prerelease(self) -> bool:
        """Whether it comes before the version that it names, as `1.0.0-rc.1` and every edge."""
        return "-" in self.text


@dataclass(frozen=True)
class Checkout:
    """The product's repository, as it is at hand."""

    folder: Path
    commit: str
    tags: tuple[str, ...]
    """Those at HEAD."""
    changed: tuple[str, ...]
    """Files that git knows and that differ from HEAD."""


def parse(text: str) -> str:
    """A version, read: `v1.2.3` is 1.2.3.

    Raises:
        InputError: it is none.
    """
    bare = text.strip().removeprefix("v")
    if len(bare) > _LONGEST or not _VERSION.fullmatch(bare):
        raise InputError(f"{text!r} is no version of a release", hint="as v1.2.3, or 0.1.0-edge.20261129.1")
    return bare


def look(folder: Path) -> Checkout:
    """The repository in that folder.

    Raises:
        InputError: there is none, or git can't read it.
    """
    try:
        commit = _git(folder, "rev-parse", "--verify", "HEAD^{commit}")
        tags = _git(folder, "tag", "--points-at", "HEAD")
        changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    except CommandFailed as problem:
        raise InputError(
            f"{folder} is no checkout: {problem.message}", hint="--checkout names the product's"
        ) from problem
    if not _COMMIT.fullmatch(commit):
        raise InputError(f"{folder} is no checkout: git says {commit!r}", hint="--checkout names the product's")
    return Checkout(folder, commit, tuple(tags.splitlines()), tuple(line[3:] for line in changed.splitlines()))


def objects(folder: Path, tag: str) -> tuple[str, ...]:
    """What a tag names there: a commit, or an object with a message that does; none where there is no such tag."""
    try:
        return (_git(folder, "rev-parse", "--verify", f"refs/tags/{tag}"),)
    except CommandFailed:
        return ()


def decide(
    told: str, checkout: Checkout | None, noted: Version | None, edges: Callable[[], Iterable[Version]], edge: str
) -> Version:
    """The version that is meant.

    `told` is what somebody says, if anybody does; `noted` what the product's manifest says. `edges` are those that
    there are, looked up only if it takes them. `edge` is what edges lead to.

    Raises:
        InputError: it is not what the checkout is at, the checkout has changes, or nothing says what is meant.
    """
    if checkout and checkout.changed:
        raise InputError(
            f"{checkout.folder} has changes that are not committed, as {checkout.changed[0]}",
            hint="a release is what a commit says: commit them, or take them back",
        )
    if told:
        return _told(parse(told), checkout, noted, edges)
    if checkout is None:
        if noted is None:
            raise InputError("nothing says which version this is", hint="--checkout, or --version v1.2.3")
        parse(noted.text)
        return noted
    released = [tag for tag in checkout.tags if tag.startswith("v") and _VERSION.fullmatch(tag[1:])]
    if len(released) > 1:
        tags = ", ".join(sorted(released, key=_rank))
        raise InputError(
            f"{checkout.folder} is at several releases: {tags}", hint="--version, or RELEASE_TAG, says which is meant"
        )
    if released:
        return Version(released[0][1:], checkout.commit)
    if noted and noted.edge and noted.commit == checkout.commit and _free(noted, edges):
        return noted
    there = [each for each in edges() if each.edge]
    if ours := [each for each in there if each.commit == checkout.commit]:
        return max(ours, key=lambda each: _rank(each.tag))
    day = f"{wait.clock.now():%Y%m%d}"
    today = [found for each in there if (found := _edge(each.text)) and found["day"] == day]
    number = max((int(found["number"]) for found in today), default=0) + 1
    return Version(f"{edge}-edge.{day}.{number}", checkout.commit)


def _told(
    text: str, checkout: Checkout | None, noted: Version | None, edges: Callable[[], Iterable[Version]]
) -> Version:
    if checkout is None:
        if noted is None or noted.text != text:
            raise InputError(
                f"nothing says which commit {text} is of", hint="--checkout names the product's repository"
            )
        return noted
    if not _edge(text) and f"v{text}" not in checkout.tags:
        raise InputError(
            f"v{text} is not the tag of {checkout.folder}, which is at {checkout.commit[:10]}",
            hint=f"git checkout v{text}, or without --version for an edge",
        )
    wanted = Version(text, checkout.commit)
    other = _other(wanted, edges) if wanted.edge and noted != wanted else None
    if other:
        raise InputError(
            f"{text} is of {other.commit[:10]}, and {checkout.folder} is at {checkout.commit[:10]}",
            hint=f"git checkout {other.commit[:10]}, or without --version for an edge of this one",
        )
    return wanted


def _other(wanted: Version, edges: Callable[[], Iterable[Version]]) -> Version | None:
    """The same edge of another commit."""
    return next((each for each in edges() if each.text == wanted.text and each.commit != wanted.commit), None)


def _free(noted: Version, edges: Callable[[], Iterable[Version]]) -> bool:
    """Whether an edge is still its commit's, as far as one can look: another commit may have come first with it."""
    try:
        return _other(noted, edges) is None
    except Interrupted:
        raise
    except KitError:
        return True


def _edge(text: str) -> re.Match[str] | None:
    found = _VERSION.fullmatch(text)
    return _EDGE.fullmatch(found["pre"]) if found and found["pre"] else None


def _rank(tag: str) -> tuple[tuple[int, ...], bool, list[tuple[bool, int, str]]]:
    """How versions follow one another (Semantic Versioning 2.0.0, item 11)."""
    found = _VERSION.fullmatch(tag[1:])
    assert found is not None
    words = found["pre"].split(".") if found["pre"] else []
    core = tuple(map(int, found["core"].split(".")))
    return core, not words, [(not word.isdigit(), int(word) if word.isdigit() else 0, word) for word in words]


def _git(folder: Path, *words: str) -> str:
    # A lock that is not needed would stay where we are killed.
    return process.run(["git", "--no-optional-locks", "-C", folder, *words]).text
