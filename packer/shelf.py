"""The boxes of this machine: which there are, whole or not at all.

    boxes/<os>/<provider>             a link to the folder of the box that is there now
    boxes/<os>/.<provider>.<token>/   vagrant.box, box.json
    boxes/<os>/catalog.json           what the local vagrant was told of them
    boxes/.work/                      work under way

A box is made in the folder of its work, which is locked, and goes to the others when it is whole. The link is what
changes: who reads through it finds the old box or the new one, never a part and never nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from msgspec import Struct

from cloud import names, typed, wait
from cloud.files import discard, erase, is_half, replaced
from cloud.local import machines
from cloud.work import Work

ARCHIVE = "vagrant.box"
STORY = "box.json"


class Told(Struct, frozen=True, forbid_unknown_fields=True):
    """What box.json says: all that who publishes a box has to know of it."""

    name: str
    os: str
    provider: str
    architecture: str
    fingerprint: str
    sha256: str
    size: int
    """Bytes of the archive."""
    built: str
    """UTC, as ISO 8601 has it."""


@dataclass(frozen=True)
class Kept:
    """A box that is there."""

    told: Told
    archive: Path

    @property
    def built(self) -> datetime:
        """When."""
        return names.parse_moment(self.told.built)


class Shelf:
    """The boxes in a store."""

    def __init__(self, store: Path) -> None:
        self.root = store / "boxes"
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.work = Work(self.root / ".work")

    def begin(self, name: str) -> Path:
        """A folder to work in; what a killed command left of the same work, a VM among it, is gone.

        Raises:
            TemporaryError: another command does it now.
        """
        if not self.work.busy(name):
            machines.remove(self.work.folder(name))
        return self.work.begin(name)

    def finish(self, name: str) -> None:
        """That work is over."""
        self.work.finish(name)

    def get(self, os: str, provider: str) -> Kept | None:
        """The box that is there now; one that can't be read is none."""
        place = self.root / os / provider
        try:
            told = typed.read((place / STORY).read_bytes(), Told)
        except (OSError, ValueError, RecursionError):
            return None
        return Kept(told, place / ARCHIVE) if (place / ARCHIVE).is_file() else None

    def all(self) -> list[Kept]:
        """All of them, by system and provider."""
        places = sorted(path for path in self.root.glob("*/*") if path.is_symlink() and path.name[0] != ".")
        return [kept for place in places if (kept := self.get(place.parent.name, place.name))]

    def put(self, os: str, provider: str, folder: Path) -> Kept:
        """Make the box in that folder, which goes from where it is, the one that is there; the one before goes."""
        place = self.root / os / provider
        # Not by the name of its build: one may be packed again, and what it was packed as before is there until then.
        home = place.with_name(f".{provider}.{wait.clock.token()}")
        home.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.rename(home)
        with replaced(place) as fresh:
            fresh.symlink_to(home.name)
        for other in self._homes(os, provider):
            if other != home:
                discard(other)
        kept = self.get(os, provider)
        assert kept is not None  # it was just written
        return kept

    def remove(self, kept: Kept) -> None:
        """Remove a box."""
        place = self.root / kept.told.os / kept.told.provider
        place.unlink(missing_ok=True)
        for folder in self._homes(kept.told.os, kept.told.provider):
            discard(folder)

    def leftovers(self) -> list[Path]:
        """What killed commands left: work, VMs, half a box."""
        dead = [self.work.folder(name) for name in self.work.dead()]
        halves = [path for path in (*self.root.iterdir(), *self.root.glob("*/.*")) if is_half(path)]
        lost = [
            folder
            for folder in self.root.glob("*/.*")
            if folder.is_dir() and not is_half(folder) and not self.work.busy(folder.parent.name)
            if folder not in {link.resolve() for link in folder.parent.iterdir() if link.is_symlink()}
        ]
        return [*dead, *halves, *(path for path in lost if path.parent != self.root / ".work")]

    def sweep(self, path: Path) -> None:
        """Remove one of them, and the VM that may run in it."""
        if path.is_dir() and not path.is_symlink():
            machines.remove(path)
        else:
            erase(path)

    def _homes(self, os: str, provider: str) -> Iterator[Path]:
        return (path for path in (self.root / os).glob(f".{provider}.*") if path.is_dir() and not path.is_symlink())
