"""Folders of work under way: each is locked as long as the process that works in it lives.

A folder whose lock nobody holds tells of work that was killed, and so of what it may have left
elsewhere. What is made in a cloud says in its tags which work it belongs to and when that is over
at the latest, for those who do not share this machine.
"""

from __future__ import annotations

import errno
import getpass
import os
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

from filelock import FileLock

from cloud import names, wait
from cloud.errors import TemporaryError
from cloud.files import discard, erase, held, is_half, lock, replaced

LIFE = timedelta(hours=12)
"""No build or proof lives longer: what says that it does is nobody's."""


class Work:
    """The folders in one folder."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._locks: dict[str, FileLock] = {}

    def begin(self, name: str) -> Path:
        """A new folder, 0700, that is ours; what a killed process left of the same work is gone.

        Raises:
            TemporaryError: another process works on it.
        """
        folder = self._root / name
        busy = TemporaryError(f"another process works on {name}", hint="wait for it, then again")
        if self.busy(name):
            raise busy
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in filter(is_half, self._root.iterdir()):
            erase(path)
        discard(folder)
        try:
            with replaced(folder) as fresh:
                fresh.mkdir(mode=0o700)
                taken = lock(fresh / "lock")
                taken.acquire()
        except OSError as problem:
            if problem.errno in (errno.ENOTEMPTY, errno.EEXIST):
                raise busy from problem  # it began between our look and our folder
            raise
        self._locks[name] = taken
        return folder

    def finish(self, name: str) -> None:
        """The work is over, whatever became of it: its folder goes. It may be gone already.

        It goes at once and with its lock held: a part of it would look like work that was killed.
        """
        try:
            discard(self._root / name)
        except OSError:
            pass  # it stays, and tells that it is dead: `prune` removes it
        finally:
            self.leave(name)

    def leave(self, name: str) -> None:
        """The work is over, and something of it is left elsewhere: its folder stays, to tell that it is dead."""
        if name in self._locks:
            self._locks.pop(name).release()

    def folder(self, name: str) -> Path:
        """The folder of the work of that name."""
        return self._root / name

    def busy(self, name: str) -> bool:
        """Whether a living process of this machine works on it."""
        return held(self._root / name / "lock")

    def dead(self) -> list[str]:
        """The work whose process is gone."""
        if not self._root.exists():
            return []
        return sorted(path.name for path in self._root.iterdir() if path.name[0] != "." and not self.busy(path.name))


def marks(kind: str, image: str, build: str) -> dict[str, str]:
    """The tags of all that work makes in a cloud: what it is for, whose it is, when it is over."""
    return {
        names.KIND: kind,
        names.IMAGE: image,
        names.BUILD: build,
        names.OWNER: owner(os.environ),
        names.EXPIRES: names.moment(wait.clock.now() + LIFE),
    }


def owner(environment: Mapping[str, str]) -> str:
    """Who does it: the repository that Actions runs for, or else the user."""
    return environment.get("GITHUB_REPOSITORY") or getpass.getuser()


def left(tags: Mapping[str, str], dead: list[str]) -> bool:
    """Whether what has these tags was left behind: its work was killed here, or is over by its own word."""
    if tags.get(names.KIND) not in ("build", "proof"):
        return False
    expires = tags.get(names.EXPIRES, "")
    try:
        over = names.parse_moment(expires) < wait.clock.now()
    except ValueError:
        over = False  # somebody has changed it by hand: a person's look is wanted
    return over or tags.get(names.BUILD) in dead
