"""What can be set about building images: `[images]` and `[packer]` in settings.toml."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

Version = Annotated[str, Meta(pattern=r"^[0-9]+\.[0-9]+\.[0-9]+\Z")]


class ImagesSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Which image, where, and how many builds of it."""

    definition: str
    """The definition of the base image, relative to the project."""
    optional: list[str]
    """Tools of the definition that are only in the image where they are named here."""
    clouds: list[str]
    """Where it is built when no `--cloud` is given."""
    keep: Annotated[int, Meta(ge=1)]
    """How many builds `prune` keeps, the current one among them."""


class PackerSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """The program, and what it may take."""

    binary: str
    minimum: Version
    """The oldest packer for real clouds. Older ones lack IMDSv2, Standard IPs and more."""
    timeout: Annotated[int, Meta(ge=60)]
    """Seconds that a build may take, its cloud's work on the image (its setting image_timeout) aside."""
    silence: Annotated[int, Meta(ge=10)]
    """Seconds without a word from packer after which its VM counts as hung; a cloud's image_timeout comes on top."""
    plugins: dict[str, Version]
    """Packer's plugins and their versions, for packer 1.7 and newer."""


class BoxesSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Vagrant boxes: of which systems, for whom, and where the product is."""

    definitions: str
    """The folder of the boxes' definitions, relative to the project."""
    os: list[str]
    """The systems that are meant when no `--os` is given."""
    providers: list[Literal["libvirt", "virtualbox"]]
    """For whom a box is made when no `--provider` is given."""
    product: str
    """The folder of kontain.tar.gz and kkm.run, when no `--product` is given."""
    at_once: Annotated[int, Meta(ge=1, le=16)]
    """How many systems are worked on side by side: each has a VM with `local.cpus` and `local.memory`."""
