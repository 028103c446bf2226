"""A catalog in a folder: one that a web server shows, a share, or a disk."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cloud import files, wait
from cloud.errors import DiskFull, InputError, Interrupted, KitError, NotAllowed
from cloud.publish import web
from cloud.publish.transfer import Pace

_PATIENCE = 60.0
"""Seconds that we wait for another one who writes the document."""


_READ = 0o644
_ENTER = 0o755


class Directory:
    """A folder. All the world may read what is put there, whatever our umask; who may write there is who may write into
    the folder: its group too, if it may.
    """

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

    def begin(self, key: str) -> None:
        """Make the document's folder, and see that its lock is to be had."""
        path = self._root / key
        with _told(path.parent):
            self._made(path.parent)
            os.close(_opened(_lock(path)))

    def put(self, key: str, file: Path, size: int, pace: Pace) -> None:
        """A copy, which is there when it is whole and on the disk."""
        path = self._root / key
        with _told(path):
            self._made(path.parent)
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
                os.fchmod(target.fileno(), _READ)
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
            self._made(path.parent)
            lock = _lock(path)
            os.close(_opened(lock))
            with files.turn(lock, what=f"another process writes {path}", timeout=_PATIENCE):
                there = self.read(key)
                if (there[1] if there else "") != mark:
                    return False
                _without_halves(path.parent)
                with files.replaced(path) as fresh, open(fresh, "xb") as file:
                    file.write(content)
                    file.flush()
                    os.fchmod(file.fileno(), _READ)
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

    def _made(self, folder: Path) -> None:
        """The folder, and those above it: each for all to enter, and for the same to write as that above it.

        One of ours that is not so was made by a process that was killed before it had said so.
        """
        for path in reversed((folder, *folder.parents)):
            there = path.is_dir()
            if there and (path == self._root or not path.is_relative_to(self._root)):
                continue
            path.mkdir(exist_ok=True)
            found = path.stat()
            if found.st_uid == os.geteuid() and (not there or found.st_mode & _ENTER != _ENTER):
                os.chmod(path, _ENTER | _shared(path))


def _without_halves(folder: Path) -> None:
    """Take away what killed processes of this machine were writing there."""
    for half in filter(files.is_half, folder.iterdir()):
        files.erase(half)


def _lock(path: Path) -> Path:
    return path.with_name(f".{path.name}.lock")


def _opened(lock: Path) -> int:
    """The lock's file, open; who may write into its folder may take it.

    Raises:
        OSError: another one has made it, and not for us.
    """
    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _READ)
    except FileExistsError:
        return os.open(lock, os.O_RDWR | os.O_CLOEXEC)
    os.fchmod(descriptor, _READ | _shared(lock) & ~stat.S_ISGID)
    return descriptor


def _shared(path: Path) -> int:
    """What a new file or folder of ours takes over of the folder's mode, and its group, where we may give it that."""
    above = path.parent.stat()
    try:
        os.chown(path, -1, above.st_gid)
    except PermissionError:
        return 0  # another group is none of its writers
    return above.st_mode & (stat.S_IWGRP | stat.S_ISGID)


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
