"""A place where boxes are published: what every one can do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from cloud.publish.box import Box
from cloud.publish.names import Tag
from cloud.publish.transfer import Pace

State = Literal["unreleased", "released", "revoked"]


@dataclass(frozen=True)
class Listed:
    """A provider of a version, as the place tells of it."""

    provider: str
    architecture: str
    sha256: str
    """Lower case; empty where the place has none."""
    hosted: bool
    """Whether the place says that it has the file."""
    url: str
    """Where the file is read."""

    @property
    def key(self) -> tuple[str, str]:
        """What there is once in a version."""
        return self.provider, self.architecture


def same(listed: Sequence[Listed], there: Mapping[tuple[str, str], str]) -> bool:
    """Whether these, by their keys and checksums, are what is listed. Of what has no sha256 the key is all we know."""
    return there.keys() == {each.key for each in listed} and all(
        each.sha256 in ("", there[each.key].lower()) for each in listed
    )


@dataclass(frozen=True)
class Found:
    """A version, as the place tells of it."""

    state: State
    listed: tuple[Listed, ...]


class Place(Protocol):
    """Where boxes go.

    Every call may raise NotAllowed, TemporaryError, or what else of `cloud.errors` the place means; none of them
    changes a version that is released.
    """

    name: str
    limit: int
    """Bytes that a box may have; 0: any."""
    notice: str
    """What whoever publishes here has to know, in one line; may be empty."""

    def check(self) -> None:
        """See that we may publish here, before anything takes long."""

    def find(self, tag: Tag, version: str) -> Found | None:
        """A version; None where there is none."""

    def versions(self, tag: Tag) -> list[str]:
        """All versions of a box of which anything is there, released or not."""

    def begin(self, tag: Tag, version: str) -> None:
        """Make the box and the version that files are put into. They may be there."""

    def put(self, tag: Tag, version: str, box: Box, *, default: bool, pace: Pace) -> None:
        """Send a box's file into a version that is not released.

        `default`: it is what those get who can't say for which architecture.

        Raises:
            Wrong: the place has said that it has it, and has not.
        """

    def verify(self, tag: Tag, version: str, part: Box | Listed, pace: Pace) -> None:
        """Read a file back, as all the world would.

        Raises:
            NotFound: it is not there, or not yet.
            Wrong: it is another one.
        """

    def release(self, tag: Tag, version: str, listed: Sequence[Listed]) -> None:
        """Let everybody have the version. This is all of it, the default architecture of each provider last."""

    def shows(self, tag: Tag, version: str, listed: Sequence[Listed]) -> bool:
        """Whether what `vagrant box add` reads has the version, with just these files."""

    def remove(self, tag: Tag, version: str) -> None:
        """Take a version away that was a trial. It may be gone."""

    def address(self, tag: Tag) -> str:
        """What one gives to `vagrant box add`."""

    def login(self) -> dict[str, str]:
        """The variables with which vagrant may add from here; an empty one is one that it is better without."""
