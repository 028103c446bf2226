"""The product as GitHub has it. Once it is whole there, in a draft or for everybody, it is the version's.

Two builds of a commit differ, if only by the times in their archives. So what is made of a version, wherever and
whenever, is made of the files that went to GitHub first.
"""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cloud.errors import InputError
from cloud.progress import Progress, Silent
from packer import manifest
from packer import product as goods_of
from packer.manifest import Manifest

if TYPE_CHECKING:
    from cloud.github.releases import Asset, Release
    from tasks._release import Desk

_LARGEST = 1 << 20
"""Bytes of a manifest. A larger one is none of ours."""


@dataclass(frozen=True)
class Kept:
    """What GitHub has of a version."""

    release: Release | None
    manifest: Manifest | None = None
    """Of its files, where it has all of them; None: not whole, or of another commit."""

    @property
    def where(self) -> str:
        """Its release, for people."""
        assert self.release
        return f"the {'draft' if self.release.draft else 'release'} {self.release.tag} at GitHub"


def look(desk: Desk) -> Kept:
    """The release of that version, and whether it is whole."""
    there = desk.releases.find(desk.version.tag)
    return Kept(there, _whole(desk, there)) if there else Kept(None)


def _whole(desk: Desk, there: Release) -> Manifest | None:
    has = {each.name: each for each in there.assets if each.uploaded}
    if manifest.NAME not in has or (there.draft and there.commit != desk.version.commit):
        return None
    told = _read(desk, has[manifest.NAME])
    if told is None or told.of != desk.version or not {goods_of.ARCHIVE, goods_of.INSTALLER} <= set(told.files):
        return None
    for name, item in told.files.items():
        if name not in has or has[name].size != item.size or has[name].sha256 not in (item.sha256, ""):
            return None
    return told


def _read(desk: Desk, asset: Asset) -> Manifest | None:
    """The manifest at GitHub; by the one that is here, where that is the same."""
    try:
        content = (desk.folder / manifest.NAME).read_bytes()
    except OSError:
        content = b""
    if hashlib.sha256(content).hexdigest() != asset.sha256:
        if asset.size > _LARGEST:
            return None
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, manifest.NAME)
            desk.releases.download(asset, path, Silent())
            content = path.read_bytes()
    try:
        return manifest.parse(content)
    except (ValueError, RecursionError):
        return None


def fetch(desk: Desk, kept: Kept, ear: Progress) -> None:
    """Bring the files here that are not here, or not these; the manifest last.

    Raises:
        InputError: the folder can't be written to.
        KitError: one can't be had, or is not what the manifest says.
    """
    assert kept.release and kept.manifest
    try:
        desk.folder.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise InputError(f"{desk.folder} can't be made: {problem.strerror}", hint="is there a file?") from problem
    sums = {name: item.sha256 for name, item in kept.manifest.files.items()}
    due = [name for name, sha256 in sums.items() if _sum(desk.folder / name) != sha256]
    has = {each.name: each for each in kept.release.assets}
    for number, name in enumerate([*due, manifest.NAME], 1):
        with ear.step(f"fetch {name}", number, len(due) + 1):
            desk.releases.download(has[name], desk.folder / name, ear, sha256=sums.get(name, ""))
            if name.endswith(".run"):
                (desk.folder / name).chmod(0o755)  # as whoever built it left it


def _sum(path: Path) -> str:
    try:
        return goods_of.item(path).sha256
    except InputError:
        return ""
