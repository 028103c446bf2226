"""What a release consists of: the product's files with their sums, whose they are, and whether they were tried.

It lies beside the files, and is published with them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from cloud import typed
from cloud.errors import InputError
from cloud.files import write_json
from packer.version import Version

NAME = "manifest.json"

# A name without a folder, that is not the manifest's own: what a manifest names is written here as it says.
_Name = Annotated[str, Meta(pattern=r"^(?!manifest\.json\Z)[A-Za-z0-9][A-Za-z0-9._-]*\Z", max_length=100)]


class Item(Struct, frozen=True, forbid_unknown_fields=True):
    """A file."""

    sha256: str
    size: int
    """Bytes."""


class Manifest(Struct, frozen=True, forbid_unknown_fields=True):
    """All of them."""

    version: str
    commit: Annotated[str, Meta(pattern=r"^[0-9a-f]{40}\Z")]
    files: dict[_Name, Item]
    smoke: str = ""
    """The command that was run with these very files, and went well."""

    @property
    def of(self) -> Version:
        """Whose files they are."""
        return Version(self.version, self.commit)


def read(folder: Path) -> Manifest | None:
    """The manifest in that folder; None where there is none.

    Raises:
        InputError: it can't be read.
    """
    path = folder / NAME
    try:
        return parse(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as problem:
        raise InputError(f"{path}: {problem}", hint="remove it: ./inv release.product writes it anew") from problem


def parse(content: bytes) -> Manifest:
    """A manifest, read.

    Raises:
        ValueError, RecursionError: it is none.
    """
    return typed.read(content, Manifest)


def write(folder: Path, manifest: Manifest) -> None:
    """Put it beside the files, in place of the one before.

    Raises:
        InputError: the folder can't be written to.
    """
    try:
        write_json(folder / NAME, msgspec.to_builtins(manifest))
    except OSError as problem:
        raise InputError(
            f"{folder / NAME} can't be written: {problem.strerror or problem}", hint="is the folder ours, and not full?"
        ) from problem
