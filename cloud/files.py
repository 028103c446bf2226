"""Files and folders that several processes use at once: whole or not at all, and locked by who works on them."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from cloud import wait

# No process has a number of more than seven digits (Linux's PID_MAX_LIMIT is 2^22).
_HALF = re.compile(r"\..+\.(?P<writer>[1-9][0-9]{0,6})\.(new|gone)")


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
    return found is not None and not _lives(int(found["writer"]))


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # it is another user's
    return True


def lock(path: Path) -> FileLock:
    """A lock on that file, which ends with its holder, however that ends."""
    return FileLock(path, mode=0o600)


@contextmanager
def turn(path: Path, *, what: str, timeout: float, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """The lock on that file for as long as the `with` lasts. Whoever waits for it hears an interrupt.

    `waiting` is called once, before the wait, when another one has it.

    Raises:
        TimedOut: `what`, the lock, was not to be had within `timeout` seconds.
        Interrupted: an interrupt came first.
    """
    taken = lock(path)
    if not _taken(taken):
        waiting()
        wait.until(lambda: _taken(taken), what=what, timeout=timeout, every=0.2)
    try:
        yield
    finally:
        taken.release()


@contextmanager
def turn_in(folder: Path, *, what: str, timeout: float) -> Iterator[None]:
    """Hold the lock of a folder that another one may remove meanwhile; where it is gone, there is nothing to hold.

    Not by FileLock, which would make the file's folder again, and trips over one that goes just then.

    Raises:
        TimedOut: `what`, the lock, was not to be had within `timeout` seconds.
        Interrupted: an interrupt came first.
    """
    try:
        descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except (FileNotFoundError, NotADirectoryError):
        yield
        return

    def look() -> bool | None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return None
        return True

    try:
        wait.until(look, what=what, timeout=timeout, every=0.2)
        yield
    finally:
        os.close(descriptor)


def _taken(wanted: FileLock) -> bool | None:
    try:
        wanted.acquire(blocking=False)
    except Timeout:
        return None
    return True


def held(path: Path) -> bool:
    """Whether a living process holds the lock on that file.

    A look makes nothing. FileLock would: the file, and its folder, which may have gone since.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
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
    """Remove a folder so that nobody ever sees a part of it, even if we are killed meanwhile.

    It may be gone already, or go while we are at it: another one removes it too.
    """
    gone = path.with_name(f".{path.name}.{os.getpid()}.gone")
    try:
        os.replace(path, gone)
    except FileNotFoundError:
        return
    erase(gone)


def erase(path: Path) -> None:
    """Remove a file or a folder. It may be gone already, or another one may be removing it just now."""
    while os.path.lexists(path):
        try:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
        except FileNotFoundError:
            pass  # a part of it went under our hands: the rest is looked at again
