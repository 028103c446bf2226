"""What `boxes.build` leaves: a folder a box, with the box and what is known of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import platformdirs
from msgspec import Struct

from cloud import typed
from cloud.errors import InputError, NotFound

FILE, RECORD = "vagrant.box", "box.json"


class Built(Struct, frozen=True):
    """A built box, as its `box.json` tells; what else stands there is not read."""

    name: str
    os: str
    provider: str
    sha256: str
    folder: str = ""

    @property
    def file(self) -> Path:
        """The box."""
        return Path(self.folder) / FILE


def root(store: str) -> Path:
    """Where built boxes are: in the store of the setting `local.store`, or in the user's data folder."""
    return (Path(store).expanduser() if store else platformdirs.user_data_path("kontain")).absolute() / "boxes"


def boxes(folder: Path, systems: Sequence[str] = ()) -> list[Built]:
    """The boxes in there, of these systems or of all.

    Raises:
        NotFound: there is none.
        InputError: a record can't be read.
    """
    found = [_read(record) for record in sorted(folder.glob(f"*/*/{RECORD}"))]
    chosen = [each for each in found if not systems or each.os in systems]
    if missing := [name for name in systems if name not in {each.os for each in found}]:
        raise NotFound(f"there is no box of {', '.join(missing)}", hint="./inv boxes.build makes boxes")
    if not chosen:
        raise NotFound("there are no boxes", hint="./inv boxes.build makes boxes, or name files by --file")
    return chosen


def _read(record: Path) -> Built:
    try:
        told = typed.read(record.read_bytes(), Built)
    except (OSError, ValueError, RecursionError) as problem:
        raise InputError(f"{record}: {problem}", hint="./inv boxes.build makes the box anew") from problem
    return Built(told.name, told.os, told.provider, told.sha256, str(record.parent))
