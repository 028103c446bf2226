"""What every cloud can do, and the values that go in and out.

`images` keeps builds of an image and says which is current; `machines` runs VMs. Each cloud's
package has the same files with the same verbs: who knows one knows all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Protocol

from cloud import names
from cloud.errors import KitError
from cloud.progress import Progress


@dataclass(frozen=True)
class Image:
    """One build of an image, as its cloud tells of it."""

    cloud: str
    name: str
    """The image, as `L0BaseImage`."""
    build: str
    """This build; no other has the name."""
    id: str
    """What the cloud calls it: a path, an AMI's id, a resource id."""
    size: int
    """Bytes that it takes; 0 where its cloud does not tell."""
    created: datetime
    """When the build's inputs were resolved."""
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def state(self) -> str:
        """How far it came: `built`, `proven`, `promoted`, or `withdrawn` after that.

        `plain` is one that this toolkit did not build: an image of exactly that name, from before.
        """
        if names.KIND not in self.tags:
            return "plain"
        for state, tag in (
            ("promoted", names.PROMOTED),
            ("withdrawn", names.WITHDRAWN),
            ("proven", names.PROVEN),
        ):
            if tag in self.tags:
                return state
        return "built"


def newest_first(images: Iterable[Image]) -> list[Image]:
    """The builds in the order in which one looks at them."""
    return sorted(images, key=lambda image: (image.created, image.build), reverse=True)


def current(images: Iterable[Image]) -> Image | None:
    """The newest build that is promoted; where none is, a plain image."""
    newest = newest_first(images)
    ranked = (image for state in ("promoted", "plain") for image in newest if image.state == state)
    return next(ranked, None)


@dataclass(frozen=True)
class Base:
    """What a build starts from, resolved and pinned."""

    id: str
    """Tells this base from every other; part of the fingerprint."""
    source: Mapping[str, str]
    """Where it comes from, for the build record."""
    address: str = field(default="", repr=False)
    """Where it is fetched from, with all that gives access to it: never told."""


LEAST_FREE = 64 << 20
"""Bytes free below which a build is ended: its VM would only see a broken disk."""


@dataclass(frozen=True)
class Cost:
    """What a build takes."""

    minutes: str
    """In words: `4`, `7 to 9`."""
    space: int
    """Bytes of this machine's disk where it writes, at the peak."""
    free: int
    """Bytes that are free there."""

    @property
    def full(self) -> bool:
        """Whether so little is left that a build under way can only break."""
        return self.free < min(self.space, LEAST_FREE)


@dataclass(frozen=True)
class Leftover:
    """Something that a killed build left behind."""

    cloud: str
    what: str
    id: str


@dataclass(frozen=True)
class Build:
    """A build that is under way: its name, and a private folder that ends with it."""

    name: str
    folder: Path


@dataclass(frozen=True)
class Artifact:
    """What packer made."""

    id: str
    """What it calls it: `us-east-2:ami-1`, a resource id; for files no more than a word."""
    files: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Machine:
    """A VM that runs, and how to get into it."""

    cloud: str
    id: str
    user: str
    address: str
    port: int
    key: Path
    known_hosts: Path
    patience: float
    """Seconds in which it answers ssh after its start, or never will."""


class Images(Protocol):
    """Keeps the builds of images."""

    def resolve(self, base: Mapping[str, object]) -> Base:
        """What a definition's base is today. Looks only.

        Raises:
            InputError: it is none that this cloud can start from.
        """

    def source(self) -> Mapping[str, str | int]:
        """What packer's template of this cloud is filled with."""

    def environment(self) -> Mapping[str, str]:
        """The variables out of our environment by which packer gets into this cloud."""

    def cost(self) -> Cost:
        """What a build takes here."""

    def begin(self, build: str) -> Build:
        """Open a build: from now on what it leaves can be told from what is in use."""

    def prepare(self, build: Build, base: Base, progress: Progress) -> Mapping[str, str]:
        """Get ready what packer's source needs (the base, a key, a way in), and name its variables."""

    def sample(self, folder: Path) -> Mapping[str, str]:
        """Such variables for packer to judge the files with, in an empty folder. Nothing is made or fetched."""

    def adopt(self, build: Build, artifact: Artifact, tags: Mapping[str, str]) -> Image:
        """Make an image of what packer built. It is not promoted."""

    def blame(self, words: str) -> type[KitError] | None:
        """The kind of error that packer's last words tell of, where they name one of this cloud's own."""

    def finish(self, build: Build) -> None:
        """Close a build, whatever became of it; nothing but its image stays."""

    def list(self, name: str) -> Sequence[Image]:
        """The builds of an image that are ours, newest first, and a plain image of that name."""

    def tag(self, image: Image, tags: Mapping[str, str | None]) -> Image:
        """Set tags, remove those that are None; the image as it is then."""

    def announce(self, image: Image) -> None:
        """Put the current image where other engines read it. Again is no harm."""

    def announced(self, image: Image) -> bool:
        """Whether they read this one there."""

    def describe(self, image: Image, record: Mapping[str, object]) -> None:
        """Put the build record beside the image."""

    def delete(self, image: Image) -> None:
        """Remove a build and all that belongs to it."""

    def in_use(self, image: Image) -> str:
        """What uses the build, in words; empty when nothing does."""

    def leftovers(self) -> Sequence[Leftover]:
        """What killed builds left. Nothing of a build that is under way."""

    def remove(self, leftover: Leftover) -> None:
        """Remove one of them."""


class Machines(Protocol):
    """Runs VMs."""

    def start(self, image: Image, *, name: str, user: str, tags: Mapping[str, str]) -> Machine:
        """A VM from the image. It boots; nothing is known of it yet but its address."""

    def console(self, machine: Machine) -> str:
        """The last lines that it printed on its console."""

    def destroy(self, machine: Machine) -> None:
        """End it and remove all that belongs to it. It may be gone already."""


class Cloud(Protocol):
    """A place where images are kept and machines run."""

    name: str

    @property
    def images(self) -> Images:
        """Its images."""

    @property
    def machines(self) -> Machines:
        """Its machines."""

    def check(self) -> str:
        """Who we are there and where, by calls that change nothing.

        Raises:
            NotAllowed: we are not logged in, or lack a right; it is named.
            TemporaryError: the cloud does not answer.
        """
