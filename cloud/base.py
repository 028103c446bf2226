"""What every cloud can do, and the values that go in and out.

`images` keeps builds of an image and says which is current; `machines` runs VMs. Each cloud's
package has the same files with the same verbs: who knows one knows all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, Protocol

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
    silence: float = 0
    """Seconds that packer may say nothing while its cloud makes an image of the VM, beside packer.silence."""

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
    keys: tuple[Path, ...]
    """Private keys of which one lets us in; where there is none, the caller's agent has it."""
    known_hosts: Path
    """Has its host key."""
    patience: float
    """Seconds in which it answers ssh after its start, or never will."""


@dataclass(frozen=True)
class Order:
    """A VM that is wanted, and that is to outlive the command that asks for it."""

    name: str
    """What people call it. Several may have it; the id that its cloud gives is its own alone."""
    image: Image
    size: str
    """Its cloud's word for how large it is; empty: as the settings say."""
    user: str
    """Who works in it."""
    user_data: Mapping[str, Any]
    """What cloud-init is told."""
    tags: Mapping[str, str]
    """On everything of it, from its cloud's first call on."""
    full: tuple[str, ...] = ()
    """Places, in its cloud's words, that turned out to have no room: they are not tried again."""


@dataclass(frozen=True)
class Vm:
    """A VM that outlives the command that made it, as its cloud tells of it now."""

    cloud: str
    id: str
    """No other has it."""
    name: str
    state: Literal["starting", "running", "stopping", "stopped", "gone"]
    """`stopped` costs no more than its disk, `gone` nothing: its cloud still knows why it ended."""
    address: str
    """Where its ssh port is; empty where it has none now."""
    size: str
    created: datetime
    tags: Mapping[str, str]
    reason: str = ""
    """Why its cloud ended it or could not start it, in its words; empty where it says nothing."""
    full: str = ""
    """The place, in its cloud's words, that after its cloud's yes had no room for it; empty where that is not why."""


@dataclass(frozen=True)
class Quota:
    """How much of something VMs may have together, as processors of a region."""

    name: str
    """What it is a limit of, in its cloud's words."""
    limit: int
    used: int
    kept: int
    """Of what is used: by VMs that are kept for somebody to look into."""
    each: int
    """What one more runner takes."""

    @property
    def room(self) -> int:
        """How many more runners fit."""
        return max(0, self.limit - self.used) // max(1, self.each)

    @property
    def short(self) -> int:
        """How much is missing for one more; 0 when it fits."""
        return max(0, self.used + self.each - self.limit)


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


class Fleet(Machines, Protocol):
    """VMs that outlive the command that made them: found by their tags, stopped, started, ended."""

    pause: float
    """Seconds between two looks at one VM, as often as its cloud likes to be asked."""

    def create(self, order: Order) -> Vm:
        """Such a VM. It boots; that it works is to be seen elsewhere.

        Where its cloud has no room for the first size in the first place, or our quota none for that size, the
        next ones are tried, in order.

        Raises:
            InputError: there is no such size, its user data is too large, or there is no network for it.
            TemporaryError: there is no room for it in any place.
            KitError: our quota has no room for any of its sizes; the message has its cloud's numbers.
        """

    def list(self) -> Sequence[Vm]:
        """All of them, the newest first. What is not ours is not among them, and what is gone neither."""

    def read(self, vm: Vm) -> Vm:
        """The VM as it is now; `gone`, with its reason, as long as its cloud remembers it.

        Raises:
            NotFound: its cloud does not know it any more.
        """

    def strangers(self) -> Sequence[Vm]:
        """VMs of the system before, which have its names and none of our tags: to be shown, never to be touched."""

    def tag(self, vm: Vm, tags: Mapping[str, str | None]) -> Vm:
        """Set tags, remove those that are None; the VM as it is then.

        Raises:
            NotFound: it is gone.
        """

    def forget(self, vm: Vm, user_data: Mapping[str, Any]) -> None:
        """Let nobody read any more what it was created with: other user data in its place, or none at all."""

    def stop(self, vm: Vm, *, force: bool = False) -> bool:
        """Stop it so that it costs no more than its disk, which stays. It may be stopped already, or gone.

        Nobody gets into it any more, and it does not end itself for good if somebody who looks into it
        switches it off. True when it ended by itself; false when it had to be switched off, as `force`
        does at once.
        """

    def resume(self, vm: Vm) -> Vm:
        """Start it again, and wait until it runs. It may be running already.

        Raises:
            NotFound: it is gone.
        """

    def reach(self, vm: Vm) -> Machine:
        """How to get into one that runs. Its ssh port is open for our address from now on, and for no other.

        Raises:
            InputError: its host key is not known.
            NotFound: it has no address: it does not run.
        """

    def boot_log(self, vm: Vm) -> str:
        """What it printed on its console, as far as its cloud has it; empty where it has none yet.

        It is a help, and never a reason why something else is not done: one that can't be read, whatever
        the reason, is an empty one. Nothing is raised.
        """

    def erase(self, vm: Vm) -> None:
        """End it, in any state, and remove all that belongs to it. It may be gone already.

        Its cloud has begun to, and `list` does not tell of it any more; its disks may take longer.
        """

    def had(self, runner: str) -> bool:
        """Whether the VM of that runner, which by its label was of this cloud, was one that `list` would tell of.

        Where each one sees only the VMs that he has made, those of others are there though they are not listed.
        """

    def halves(self) -> Sequence[Leftover]:
        """What killed commands left of VMs that are none: nothing that one under way still needs."""

    def remove(self, leftover: Leftover) -> None:
        """Remove one of them. It may be gone already."""


class Network(Protocol):
    """What runners share: made once, by hand, and used by every start."""

    def missing(self) -> Sequence[str]:
        """What of it is not there or not as it is to be, in words, in the order in which it is made."""

    def complete(self, progress: Progress) -> None:
        """Make what is missing, and leave what is there.

        Raises:
            NotAllowed: a right is missing, which is named. What was made by then is used the next time.
        """


class Cloud(Protocol):
    """A place where images are kept and machines run."""

    name: str

    @property
    def images(self) -> Images:
        """Its images."""

    @property
    def machines(self) -> Fleet:
        """Its machines."""

    @property
    def network(self) -> Network:
        """What runners there are joined to."""

    def quotas(self, size: str) -> Sequence[Quota]:
        """Its limits, all that a VM of that size counts against; empty: as the settings say. None where it has none."""

    def check(self) -> str:
        """Who we are there and where, by calls that change nothing.

        Raises:
            NotAllowed: we are not logged in, or lack a right; it is named.
            TemporaryError: the cloud does not answer.
        """
