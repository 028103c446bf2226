"""Clouds: where images are kept and machines run. Imports nothing else of ours.

`connect` opens one by name and imports its package, and so its SDK, only then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloud.errors import InputError

if TYPE_CHECKING:
    from cloud.base import Cloud
    from cloud.local.settings import LocalSettings

NAMES = ("local",)


def connect(name: str, local: LocalSettings) -> Cloud:
    """The cloud of that name, ready to be asked.

    Raises:
        InputError: there is no cloud of that name.
    """
    match name:
        case "local":
            from cloud.local import LocalCloud

            return LocalCloud(local)
    raise InputError(f"unknown cloud {name!r}", hint=f"choose from: {', '.join(NAMES)}")
