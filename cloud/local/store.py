"""The folders of this machine's images and machines, and who works in them now.

    bases/<id>/         disk.qcow2 that builds start from; made again when it is gone
    builds/<build>/     a build under way: its lock is held as long as its process lives
    images/<build>/     disk.qcow2, image.json; complete since the rename that made it
    machines/<id>/      a VM: overlay, seed, keys, console
    runners/<name>      empty: a VM of that name at GitHub was made here

Folders are 0700, disks and keys 0600: they are nobody else's.
"""

from __future__ import annotations

import platform
import shutil
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import platformdirs

from cloud import wait
from cloud.errors import InputError

_REMEMBERED = wait.LONGEST + timedelta(days=14)
"""How long a runner is of interest: as long as its VM may live, and then until GitHub drops it by itself."""


@dataclass(frozen=True)
class Store:
    """One store. Several processes may use it at once."""

    root: Path

    @classmethod
    def at(cls, folder: str) -> Store:
        """The store in the folder, or in the user's data folder when the text is empty.

        Raises:
            InputError: there can be no folder of that name, or we can't write there; or VMs can't run here at all.
        """
        if (system := platform.system()) != "Linux":  # what a VM does is looked up in /proc
            raise InputError(
                f"local VMs and images need Linux, and this is {system}", hint="--cloud aws or --cloud azure"
            )
        try:
            root = Path(folder).expanduser() if folder else platformdirs.user_data_path("kontain")
            store = cls(root.absolute())
            for path in (store.root, store.bases, store.builds, store.images, store.machines, store.runners):
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

    @property
    def runners(self) -> Path:
        """Notes of which runners VMs here were. GitHub's list has those of other machines, too."""
        return self.root / "runners"

    def remember(self, runner: str) -> None:
        """Make such a note, and drop those that are too old."""
        oldest = (wait.clock.now() - _REMEMBERED).timestamp()
        for note in self.runners.iterdir():
            with suppress(FileNotFoundError):  # another one drops it, too
                if note.stat().st_mtime < oldest:
                    note.unlink()
        (self.runners / runner).touch(mode=0o600)

    def remembers(self, runner: str) -> bool:
        """Whether there is a note of a runner of that name, which may be any text."""
        return any(note.name == runner for note in self.runners.iterdir())

    def free(self) -> int:
        """Bytes that are free here."""
        return shutil.disk_usage(self.root).free
