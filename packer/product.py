"""The product's files, as its build leaves them: looked at here, brought into a VM by packer."""

from __future__ import annotations

import hashlib
import tarfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from cloud.errors import InputError
from packer.render import readable

ARCHIVE = "kontain.tar.gz"
"""All that goes under /opt/kontain."""
INSTALLER = "kkm.run"
"""Builds and installs the kernel module: a script with an archive behind it (makeself)."""

INSIDE = frozenset(f"bin/{name}" for name in ("km", "krun", "docker_config.sh", "podman_config.sh"))
"""What the archive must have for the rest to work."""

_AGAIN = "--product names the folder of kontain.tar.gz and kkm.run, as km's `make release` leaves them"


@dataclass(frozen=True)
class Product:
    """The product, as it was found."""

    folder: Path
    sums: Mapping[str, str]
    """The checksum of each file, by its name."""


def found(folder: str) -> Product:
    """The product in that folder.

    Raises:
        InputError: a file is missing, or is not what its name says.
    """
    if not folder:
        raise InputError("no product is named", hint=_AGAIN)
    readable(folder)
    root = Path(folder).expanduser().absolute()
    _archive(root / ARCHIVE)
    _installer(root / INSTALLER)
    return Product(root, {name: _sum(root / name) for name in (ARCHIVE, INSTALLER)})


def _archive(path: Path) -> None:
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
    if missing := sorted(INSIDE - names):
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


def _sum(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
