"""What can be set about what is built: `[images]`, `[packer]`, `[boxes]`, `[product]`, `[release]` in settings.toml."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from cloud.aws.settings import Region

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
    at_once: Annotated[int, Meta(ge=1, le=16)]
    """How many systems are worked on side by side: each has a VM with `local.cpus` and `local.memory`."""


class ProductSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """The product: what is inside boxes and release AMIs, and what a release consists of."""

    checkout: str
    """The folder of its repository, when no `--checkout` is given; empty: its files are taken as they are."""
    folder: str
    """The folder of its files, when no `--product` is given: relative to the checkout, or else to where one stands."""
    build: list[str]
    """The commands that make the files, in order. Each is run in the checkout, without a shell."""
    files: list[Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*\Z", max_length=100)]]
    """The files that a release consists of. `kontain.tar.gz` and `kkm.run` are among them."""
    smoke: str
    """A command that shows that the files work; empty: none. It is run where the files are, and PRODUCT names the
    folder."""
    timeout: Annotated[int, Meta(ge=1, le=86400)]
    """Seconds that one of these commands may take."""


class ReleaseSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """A release: what it is called, and who may use its AMI."""

    pieces: list[Literal["ami", "box", "github"]]
    """What a release has besides the product."""
    repository: str
    """`owner/name` at GitHub of the product, where its releases are; empty: that of `[github]`."""
    edge: Version
    """The version that builds between releases lead to: they are `0.1.0-edge.20261129.1` where this is 0.1.0."""
    definition: str
    """The definition of the release AMI, relative to the project; it is built in `aws.region`."""
    copies: list[Region]
    """Other regions that a release's AMI is copied to. An edge's is not."""
    accounts: list[Annotated[str, Meta(pattern=r"^[0-9]{12}\Z")]]
    """AWS accounts that may use a release's AMI. An edge's is for its own account alone."""
    groups: list[Literal["all"]]
    """`all` is everybody, and wants `public` besides."""
    public: bool
    """Whether a release's AMI may be for everybody."""
    tags: dict[str, str]
    """Tags of the AMI besides ours. `{version}`, `{commit}`, `{base}` and `{time}` are filled in."""
    keep: Annotated[int, Meta(ge=1)]
    """How many edge AMIs `release.retire` leaves, in each region."""
