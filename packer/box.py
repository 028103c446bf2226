"""A box: what Vagrant users get, as data. One folder each in `vagrant/`, with a `box.toml`.

A box is an image of this machine (`Definition`) in an archive of its provider's form.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from cloud import typed
from cloud.errors import InputError, NotFound
from packer.definition import PROVISION, ROOT, Definition, Line, Sha256, Start, Tool, Word

BOX = "box.toml"

Provider = Literal["libvirt", "virtualbox"]
PROVIDERS: tuple[Provider, ...] = ("libvirt", "virtualbox")

STEPS = ("updates", "packages", "kernel", "docker", "user", "vagrant", "product", "record")
"""Scripts of packer/provision, in order: the product comes when all is there that it wants to find."""


Place = Annotated[str, Meta(pattern=r"^((https?://|/)[A-Za-z0-9._:/%~+-]+)?\Z", max_length=400)]
"""An address, or a path of this machine; or none."""


class VendorBase(Struct, frozen=True, forbid_unknown_fields=True):
    """What a box starts from: a vendor's cloud image with its checksum, or a bootstrap of these packages."""

    url: Place = ""
    sha256: Sha256 = ""
    sums: Place = ""
    """Where the vendor tells the checksum."""
    packages: list[Word] | None = None
    kernel: Mapping[str, list[Word]] = {}


class Box(Struct, frozen=True, forbid_unknown_fields=True):
    """What `box.toml` tells."""

    name: Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9._-]*/[a-z0-9][a-z0-9._-]*\Z", max_length=100)]
    """Under which people find it: organisation and box."""
    description: Line
    guest: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_]+\Z", max_length=30)]
    """What VirtualBox calls its system: `VBoxManage list ostypes`."""
    manager: Literal["apt", "dnf"]
    """Who brings its packages."""
    base: VendorBase
    packages: Mapping[Word, Line] = {}
    """What it has of its distribution, and what prints each version."""
    disk: Annotated[int, Meta(ge=2, le=2048)] = 20
    """GiB of its disk, as the guest sees it."""
    memory: Annotated[int, Meta(ge=128, le=1 << 20)] = 2048
    """MiB that a VM gets whose Vagrantfile says nothing."""
    cpus: Annotated[int, Meta(ge=1, le=256)] = 2
    architecture: Literal["amd64"] = "amd64"
    user: Literal["vagrant"] = "vagrant"
    """Who works in it; Vagrant logs in by this name unless it is told another one."""
    steps: tuple[Word, ...] = STEPS
    provision: str = ""
    """The folder of the scripts, relative to the file; empty: packer/provision."""
    os: str = ""
    """Its folder's name: what `--os` takes."""
    folder: Path = PROVISION

    @property
    def definition(self) -> Definition:
        """The image that its disk is."""
        tools = [Tool(package, self.manager, "", check, ["local"]) for package, check in self.packages.items()]
        base = Start(packages=self.base.packages, kernel=self.base.kernel, url=self.base.url, sha256=self.base.sha256)
        return Definition(
            name=f"box-{self.os}",
            description=self.description,
            user=self.user,
            steps=list(self.steps),
            base={"local": base},
            tool=tools,
            folder=self.folder,
        )

    def pinned(self) -> None:
        """See to it that its base is the one that the vendor means.

        Raises:
            InputError: it has no checksum.
        """
        if self.base.url and not self.base.sha256:
            where = f", as {self.base.sums} tells it" if self.base.sums else ""
            raise InputError(
                f"{self.os}: {BOX} has no checksum of {self.base.url}",
                hint=f"put sha256 into [base] of {self.os}/{BOX}{where}",
            )


def names(folder: Path) -> list[str]:
    """The systems that there are boxes of."""
    return sorted(path.parent.name for path in _absolute(folder).glob(f"*/{BOX}"))


def load(folder: Path, os: str) -> Box:
    """The box of that system.

    Raises:
        NotFound: there is none.
        InputError: its file can't be understood; the message says where.
    """
    known = names(folder)
    if os not in known:
        raise NotFound(f"no box of {os!r}", hint=f"choose from: {', '.join(known) or 'none'}, see boxes.definitions")
    path = _absolute(folder) / os / BOX
    try:
        box = typed.convert(msgspec.toml.decode(path.read_bytes()), Box)
    except (msgspec.MsgspecError, OSError, ValueError, RecursionError) as problem:
        raise InputError(f"{os}/{BOX}: {problem}", hint=f"mend {path}") from problem
    if bool(box.base.url) == (box.base.packages is not None):
        raise InputError(f"{os}/{BOX}: [base] has either a url or packages", hint=f"mend {path}")
    scripts = path.parent / box.provision if box.provision else PROVISION
    for step in (*box.steps, "clean"):
        for script in (f"{step}.sh", f"{step}.check.sh"):
            if not (scripts / script).is_file():
                raise InputError(f"{os}/{BOX}: the step {step!r} has no {script}", hint=f"look into {scripts}")
    return msgspec.structs.replace(box, os=os, folder=scripts)


def _absolute(folder: Path) -> Path:
    return folder if folder.is_absolute() else ROOT / folder
