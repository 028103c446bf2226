"""A catalog in a folder: one that a web server shows, a share, or a disk."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cloud import files, wait
from cloud.errors import DiskFull, InputError, Interrupted, KitError, NotAllowed
from cloud.publish import web
from cloud.publish.transfer import Pace

_PATIENCE = 60.0
"""Seconds that we wait for another one who writes the document."""


class Directory:
    """A folder. All the world may read what is put there."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def check(self) -> None:
        """See that the folder is there, or can be made, and written into."""
        with _told(self._root):
            there = next(path for path in (self._root, *self._root.parents) if path.exists())
            next(there.iterdir(), None)  # where it is no folder, that says so
            if not os.access(there, os.W_OK | os.X_OK):
                raise NotAllowed(f"can't write into {self._root}", hint="look at its owner, or set publish.catalog")

    def keys(self, prefix: str) -> list[str]:
        """Every file in the folder of that name."""
        found = [path for path in (self._root / prefix).rglob("*") if path.is_file()]
        return sorted(str(path.relative_to(self._root)) for path in found if not path.name.startswith("."))

    def put(self, key: str, file: Path, size: int, pace: Pace) -> None:
        """A copy, which is there when it is whole and on the disk."""
        path = self._root / key
        with _told(path):
            _without_halves(path.parent)
            with files.replaced(path) as fresh, open(file, "rb") as source, open(fresh, "xb") as target:
                done = 0
                while block := source.read(web.BLOCK):
                    if wait.interrupted():
                        raise Interrupted
                    target.write(block)
                    done += len(block)
                    pace.at(done)
                target.flush()
                os.fsync(target.fileno())
            _synced(path.parent)

    def read(self, key: str) -> tuple[bytes, str] | None:
        """The document and its checksum."""
        with _told(self._root / key):
            try:
                content = (self._root / key).read_bytes()
            except (FileNotFoundError, NotADirectoryError):
                return None
        return content, hashlib.sha256(content).hexdigest()

    def write(self, key: str, content: bytes, mark: str) -> bool:
        """Under a lock, which everybody takes who writes here."""
        path = self._root / key
        with _told(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = path.with_name(f".{path.name}.lock")
            with files.turn(lock, what=f"another process writes {path}", timeout=_PATIENCE):
                there = self.read(key)
                if (there[1] if there else "") != mark:
                    return False
                _without_halves(path.parent)
                with files.replaced(path) as fresh, open(fresh, "xb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                _synced(path.parent)
                return True

    def remove(self, prefix: str) -> None:
        """The folder of that name."""
        with _told(self._root / prefix):
            files.discard(self._root / prefix)

    def address(self) -> str:
        """The folder itself."""
        return self._root.as_uri()


def _without_halves(folder: Path) -> None:
    """The folder, without what killed processes of this machine were writing there."""
    folder.mkdir(parents=True, exist_ok=True)
    for half in filter(files.is_half, folder.iterdir()):
        files.erase(half)


def _synced(folder: Path) -> None:
    """What was renamed there stays so when the power goes."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """What the system says, as an error of ours."""
    try:
        yield
    except KitError:
        raise
    except PermissionError as problem:
        raise NotAllowed(f"{path}: {problem.strerror}", hint="look at its owner, or set publish.catalog") from problem
    except OSError as problem:
        if problem.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull(f"no room for {path}", hint="make some, then the same command goes on") from problem
        raise InputError(f"{path}: {problem.strerror}", hint="look at publish.catalog") from problem
