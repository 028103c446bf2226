"""The product's files, as its build leaves them: made and looked at here, brought into a VM by packer."""

from __future__ import annotations

import hashlib
import os
import shlex
import tarfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from cloud import process
from cloud.errors import InputError
from cloud.progress import Progress
from packer.manifest import NAME, Item
from packer.render import readable
from packer.settings import ProductSettings

ARCHIVE = "kontain.tar.gz"
"""All that goes under /opt/kontain."""
INSTALLER = "kkm.run"
"""Builds and installs the kernel module: a script with an archive behind it (makeself)."""

INSIDE = frozenset(f"bin/{name}" for name in ("km", "krun", "docker_config.sh", "podman_config.sh"))
"""What the archive must have for the rest to work."""

_AGAIN = "--product names the folder of kontain.tar.gz and kkm.run, as km's `make release` leaves them; or --checkout"


@dataclass(frozen=True)
class Product:
    """The product, as it was found."""

    folder: Path
    sums: Mapping[str, str]
    """The checksum of each file, by its name."""

    @property
    def mark(self) -> str:
        """One text for all of them."""
        told = "".join(f"{sha256}  {name}\n" for name, sha256 in sorted(self.sums.items()))
        return hashlib.sha256(told.encode()).hexdigest()


def check(settings: ProductSettings) -> None:
    """Whether a release can consist of these files.

    Raises:
        InputError: one is lacking that goes into every VM, or one would be in the manifest's place.
    """
    if lacking := [each for each in (ARCHIVE, INSTALLER) if each not in settings.files]:
        raise InputError(f"product.files has no {lacking[0]}", hint=f"{ARCHIVE} and {INSTALLER} are among them")
    if NAME in settings.files:
        raise InputError(f"product.files has {NAME}", hint="it is written anew, and is with them in any case")


def place(settings: ProductSettings, folder: str = "", checkout: str = "") -> Path:
    """Where the files are: the folder that is named, or the one that is set, in the checkout where there is one.

    Raises:
        InputError: as `path`.
    """
    root = path(checkout or settings.checkout)
    return path(folder) if folder else root / settings.folder


def path(text: str) -> Path:
    """A folder as somebody names it, made whole.

    Raises:
        InputError: `~` stands before a name that nobody has here.
    """
    try:
        return Path(text).expanduser().absolute()
    except RuntimeError as problem:
        raise InputError(f"{text}: {problem}", hint="write the whole path") from problem


def found(folder: Path) -> Product:
    """The product in that folder, as it goes into a VM.

    Raises:
        InputError: a file is missing, or is not what its name says.
    """
    return of(folder, look(folder, (ARCHIVE, INSTALLER)))


def of(folder: Path, files: Mapping[str, Item]) -> Product:
    """The same, where its files were looked at already.

    Raises:
        InputError: packer can't be told the folder.
    """
    readable(str(folder))
    return Product(folder, {name: files[name].sha256 for name in (ARCHIVE, INSTALLER)})


def look(folder: Path, names: Sequence[str]) -> dict[str, Item]:
    """These files, each with its sum and its size.

    Raises:
        InputError: a file is missing, or is not what its name says.
    """
    for name in names:
        if name == ARCHIVE:
            _archive(folder / name, INSIDE)
        elif name.endswith(".tar.gz"):
            _archive(folder / name, frozenset())
        elif name.endswith(".run"):
            _installer(folder / name)
    return {name: item(folder / name) for name in names}


_SECRETS = ("AWS_", "AZURE_", "ACTIONS_", "GH_", "GITHUB_TOKEN", "SP_", "VAGRANT_CLOUD_", "HCP_", "ATLAS_")


def run(command: str, where: Path, folder: Path, progress: Progress, timeout: float) -> None:
    """Run one of the product's own commands, without our secrets in its environment. PRODUCT names its files' folder.

    Raises:
        KitError: it failed, is not there, or took too long.
        InputError: it is no command.
    """
    try:
        argv = shlex.split(command)
    except ValueError as problem:
        raise InputError(f"{command!r} is no command: {problem}", hint="see [product] in the settings") from problem
    if not argv:
        raise InputError("an empty text is no command", hint="see [product] in the settings")
    # With a slash it is in `where`, as for a shell that stands there.
    if "/" in argv[0]:
        argv[0] = str(where / argv[0])
    kept = {key: text for key, text in os.environ.items() if not key.startswith(_SECRETS)}
    process.run(argv, cwd=where, env={**kept, "PRODUCT": str(folder)}, on_line=progress.line, timeout=timeout)


def _archive(path: Path, inside: frozenset[str]) -> None:
    try:
        with tarfile.open(path, "r:gz") as archive:
            names = set()
            for member in archive:
                place = PurePosixPath(member.name)
                if place.is_absolute() or ".." in place.parts:
                    raise _bad(path, f"would put {member.name!r} outside of /opt/kontain")
                names.add(str(place))
    except OSError as problem:  # tarfile's own are no OSError, gzip's are
        raise _bad(path, problem.strerror or str(problem)) from problem
    except (tarfile.TarError, EOFError, zlib.error, ValueError) as problem:
        raise _bad(path, str(problem) or type(problem).__name__) from problem
    if missing := sorted(inside - names):
        raise _bad(path, f"has no {missing[0]}")


def _installer(path: Path) -> None:
    try:
        with open(path, "rb") as file:
            head = file.read(2)
    except OSError as problem:
        raise _bad(path, problem.strerror or str(problem)) from problem
    if head != b"#!":
        raise _bad(path, "is no program that a shell runs")


def _bad(path: Path, why: str) -> InputError:
    return InputError(f"the product's {path}: {why}", hint=_AGAIN)


def item(path: Path) -> Item:
    """A file's sum and size.

    Raises:
        InputError: it can't be read.
    """
    try:
        with open(path, "rb") as file:
            return Item(hashlib.file_digest(file, "sha256").hexdigest(), os.fstat(file.fileno()).st_size)
    except OSError as problem:
        raise _bad(path, problem.strerror or str(problem)) from problem
