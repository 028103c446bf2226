"""Files and folders that several processes use at once: whole or not at all, and locked by who works on them."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

_HALF = re.compile(r"\..+\.(?P<writer>[0-9]+)\.(new|gone)")


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
