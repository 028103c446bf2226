"""The folders of this machine's images and machines, and who works in them now.

    bases/<id>/         disk.qcow2 that builds start from; made again when it is gone
    builds/<build>/     a build under way: its lock is held as long as its process lives
    images/<build>/     disk.qcow2, image.json; complete since the rename that made it
    machines/<id>/      a VM: overlay, seed, keys, console

Folders are 0700, disks and keys 0600: they are nobody else's.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import platformdirs
from filelock import FileLock, Timeout

from cloud.errors import InputError

_HALF = re.compile(r"\..+\.(?P<writer>[0-9]+)\.(new|gone)")


@dataclass(frozen=True)
class Store:
    """One store. Several processes may use it at once."""

    root: Path

    @classmethod
    def at(cls, folder: str) -> Store:
        """The store in the folder, or in the user's data folder when the text is empty.

        Raises:
            InputError: there can be no folder of that name, or we can't write there.
        """
        try:
            root = Path(folder).expanduser() if folder else platformdirs.user_data_path("kontain")
            store = cls(root.absolute())
            for path in (store.root, store.bases, store.builds, store.images, store.machines):
                path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except (OSError, ValueError, RuntimeError) as problem:  # the last one: ~nobody has no home
            raise InputError(
                f"can't keep images in {folder or 'the data folder'}: {problem}",
                hint="set local.store, or KM_LOCAL__STORE, to a folder of yours",
            ) from problem
        return store

    @property
    def bases(self) -> Path:
        """What builds start from."""
        return self.root / "bases"

    @property
    def builds(self) -> Path:
        """Builds under way, and what killed ones left."""
        return self.root / "builds"

    @property
    def images(self) -> Path:
        """Finished builds."""
        return self.root / "images"

    @property
    def machines(self) -> Path:
        """VMs."""
        return self.root / "machines"

    def free(self) -> int:
        """Bytes that are free here."""
        return shutil.disk_usage(self.root).free


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """A file or folder to write that takes the place of `path` when all went well.

    A reader sees the old one or the new one, never a part.
    """
    fresh = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        yield fresh
        os.replace(fresh, path)
    finally:
        erase(fresh)


def is_half(path: Path) -> bool:
    """Whether the path was being written, or removed, by a process that is gone."""
    found = _HALF.fullmatch(path.name)
    return found is not None and not Path("/proc", found["writer"]).exists()


def lock(path: Path) -> FileLock:
    """A lock on that file, which ends with its holder, however that ends."""
    return FileLock(path, mode=0o600)


def held(path: Path) -> bool:
    """Whether a living process holds the lock on that file."""
    if not path.exists():
        return False
    taken = lock(path)
    try:
        taken.acquire(blocking=False)
    except Timeout:
        return True
    taken.release()
    return False


def write_json(path: Path, value: Mapping[str, object]) -> None:
    """Write the value, whole or not at all, readable by its owner only."""
    with replaced(path) as fresh:
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "w", encoding="utf-8") as file:
            json.dump(value, file, indent=2, sort_keys=True)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())


def discard(path: Path) -> None:
    """Remove a folder so that nobody ever sees a part of it, even if we are killed meanwhile."""
    gone = path.with_name(f".{path.name}.{os.getpid()}.gone")
    os.replace(path, gone)
    erase(gone)


def erase(path: Path) -> None:
    """Remove a file or a folder; it may be gone already."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
