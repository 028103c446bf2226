"""A definition: what an image is, as data. One TOML file each in `packer/definitions/`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from cloud import names, typed
from cloud.errors import InputError, NotFound

ROOT = Path(__file__).resolve().parents[1]
DEFINITIONS = ROOT / "packer" / "definitions"
PROVISION = ROOT / "packer" / "provision"

# In tools.tsv a tab and a line end separate; and these words meet a shell in the guest. The end is
# \Z: before a last line end there is a $ too.
Word = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9+._-]*\Z", max_length=64)]
Line = Annotated[str, Meta(pattern=r"^[^\s\x00-\x1f\x7f]([^\x00-\x1f\x7f]*[^\s\x00-\x1f\x7f])?\Z", max_length=400)]
_Version = Annotated[str, Meta(pattern=r"^([0-9]+(\.[0-9]+)*)?\Z")]
_User = Annotated[str, Meta(pattern=r"^[a-z_][a-z0-9_-]{0,30}\Z")]
Address = Annotated[str, Meta(pattern=r"^https?://[A-Za-z0-9._:/%~+-]+\Z", max_length=400)]
_Suite = Annotated[str, Meta(pattern=r"^[A-Za-z0-9./_ -]*\Z", max_length=64)]
Sha256 = Annotated[str, Meta(pattern=r"^([0-9a-f]{64})?\Z")]

DISTRIBUTION = ("apt", "dnf")
"""The sources of tools that every guest has: what its distribution brings."""

# Where `cloud/runners.py` lets a VM look for it.
_RUNNER = re.compile(r"/opt/kontain/actions-runner-linux-x64-(?P<version>[0-9.]+)\.tar\.gz")


class Repository(Struct, frozen=True, forbid_unknown_fields=True):
    """A vendor's apt repository: trusted for what one key signs, and for nothing else."""

    url: Address
    key: Address
    """Where its key is fetched from."""
    fingerprint: Annotated[str, Meta(pattern=r"^[0-9A-F]{40}\Z")]
    """Of the one key that is believed, in full: whoever serves another one is refused."""
    suite: _Suite = ""
    """Empty: the guest's own, as `jammy`; `/` where there is none."""
    components: _Suite = ""


class Download(Struct, frozen=True, forbid_unknown_fields=True):
    """A file that lies in the image, so that VMs need not fetch it."""

    url: Address
    sha256: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
    to: Annotated[str, Meta(pattern=r"^(/[A-Za-z0-9+._-]+)+\Z")]
    """Where it lies."""
    clouds: list[str]


class Tool(Struct, frozen=True, forbid_unknown_fields=True):
    """A program that is in the image: where it comes from and how one sees that it is there."""

    name: Word
    source: Word
    """`apt` or `dnf`: what the distribution has; or the name of a repository."""
    version: _Version
    """Of the distribution's: the oldest that will do; empty: any. Of a repository's: exactly this one."""
    check: Line
    """Prints the version in the image, or fails."""
    clouds: list[str]
    package: Word | None = None
    optional: bool = False
    """Only where the setting images.optional names it."""

    @property
    def installed_as(self) -> str:
        """What its source calls it."""
        return self.package or self.name


class Start(Struct, frozen=True, forbid_unknown_fields=True):
    """What an image starts from on one cloud: a bootstrap, or a vendor's image with its checksum."""

    packages: list[Word] | None = None
    kernel: Mapping[str, list[Word]] = {}
    """The kernel's packages, by distribution."""
    release: Mapping[str, Mapping[str, str]] = {}
    """A cloud's own images by release of Ubuntu: what they are called there."""
    url: str = ""
    sha256: Sha256 = ""


class Definition(Struct, frozen=True, forbid_unknown_fields=True):
    """An image: what it starts from, what is done to it, and what must then be true."""

    name: str
    description: str
    user: _User
    """Who works in it."""
    steps: list[Word]
    """Scripts of the provision folder, in order; each has a check beside it. `clean` comes last."""
    base: Mapping[str, Start]
    """What it starts from, by cloud."""
    tool: list[Tool] = []
    repository: Mapping[Word, Repository] = {}
    """Where tools come from that the distribution does not have, or has too old."""
    download: list[Download] = []
    plugin: Mapping[Word, Annotated[str, Meta(pattern=r"^[0-9]+(\.[0-9]+){2}\Z")]] = {}
    """Packer's plugins by HashiCorp, with their versions, where packer itself is among the tools."""
    optional: list[str] = []
    """The tools of those that are optional which it has."""
    provision: str = ""
    """The folder of the scripts, relative to the file; empty: packer/provision."""
    folder: Path = PROVISION

    def tools(self, cloud: str) -> list[Tool]:
        """The tools that it has on that cloud."""
        return [
            tool for tool in self.tool if cloud in tool.clouds and (not tool.optional or tool.name in self.optional)
        ]

    def repositories(self, cloud: str) -> Mapping[str, Repository]:
        """The repositories that its tools there come from."""
        sources = {tool.source for tool in self.tools(cloud)}
        return {name: repository for name, repository in self.repository.items() if name in sources}

    def downloads(self, cloud: str) -> list[Download]:
        """The files that lie in it there."""
        return [download for download in self.download if cloud in download.clouds]

    def runner(self, cloud: str) -> str:
        """The version of GitHub's runner that lies in the image as a file; empty where none does."""
        found = (_RUNNER.fullmatch(download.to) for download in self.downloads(cloud))
        return next((match["version"] for match in found if match), "")

    def plugins(self, cloud: str) -> Mapping[str, str]:
        """The plugins of packer that it has there."""
        return self.plugin if "packer" in {tool.name for tool in self.tools(cloud)} else {}

    def base_on(self, cloud: str) -> Mapping[str, Any]:
        """What it starts from on that cloud; a bootstrap takes the tools from apt with it.

        Raises:
            InputError: there is none for that cloud.
        """
        if cloud not in self.base:
            raise InputError(f"{self.name} has no base on {cloud}", hint="see [base] in its definition")
        start = self.base[cloud]
        base = {key: value for key, value in msgspec.structs.asdict(start).items() if value}
        if start.packages is not None:
            apt = [tool.installed_as for tool in self.tools(cloud) if tool.source in DISTRIBUTION]
            base["packages"] = [*start.packages, *apt]
        return base


def load(path: Path, name: str = "", optional: Sequence[str] = ()) -> Definition:
    """The definition in that file; `name` is another name for the image, `optional` are tools to have besides.

    Raises:
        InputError: it is missing, or it can't be understood; the message says where.
    """
    path = path if path.is_absolute() else ROOT / path
    try:
        told = msgspec.toml.decode(path.read_bytes())
        definition: Definition = typed.convert(told, Definition)
    except OSError as problem:
        raise NotFound(f"no definition {path}: {problem.strerror}", hint="see packer/definitions/") from problem
    except (msgspec.MsgspecError, ValueError, RecursionError) as problem:
        raise InputError(f"{path.name}: {problem}", hint=f"mend {path}") from problem
    folder = path.parent / definition.provision if definition.provision else PROVISION
    definition = msgspec.structs.replace(definition, name=name or definition.name, folder=folder)
    definition = msgspec.structs.replace(definition, optional=[*definition.optional, *optional])
    try:
        names.image_name(definition.name)
    except InputError as problem:
        raise InputError(f"{'--name' if name else path.name}: {problem}", hint=problem.hint) from problem
    for contradiction in _contradictions(definition):
        raise InputError(f"{path.name}: {contradiction}", hint=f"mend {path}")
    for step in (*definition.steps, "clean"):
        for script in (f"{step}.sh", f"{step}.check.sh"):
            if not (folder / script).is_file():
                raise InputError(f"{path.name}: the step {step!r} has no {script}", hint=f"look into {folder}")
    return definition


def _contradictions(definition: Definition) -> Iterator[str]:
    """What no single field shows."""
    for tool in definition.tool:
        if unknown := sorted(set(tool.clouds) - set(definition.base)):
            yield f"tool {tool.name} is for {unknown[0]!r}, which has no base"
        if tool.source not in DISTRIBUTION and tool.source not in definition.repository:
            yield f"tool {tool.name} comes from {tool.source!r}, which is no repository"
        if tool.source not in DISTRIBUTION and not tool.version:
            yield f"tool {tool.name} comes from a vendor and has no version"
    for download in definition.download:
        if unknown := sorted(set(download.clouds) - set(definition.base)):
            yield f"{download.to} is for {unknown[0]!r}, which has no base"
    known = {tool.name for tool in definition.tool if tool.optional}
    for name in definition.optional:
        if name not in known:
            yield f"there is no optional tool {name!r}"
    for cloud in definition.base:
        names = [tool.name for tool in definition.tools(cloud)]
        for name in names:
            if names.count(name) > 1:
                yield f"there are two tools {name} on {cloud}"
