"""What a box and its versions may be called.

A version must be one to RubyGems: `v1.0.0` in a catalog makes all of it unreadable to Vagrant. A tag's two names stand
in addresses and in paths.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from cloud import wait
from cloud.errors import InputError

# Gem::Version::VERSION_PATTERN, without the blanks around it that Ruby strips.
_VERSION = re.compile(r"[0-9]+(\.[0-9a-zA-Z]+)*(-[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?", re.ASCII)
# A letter or a digit at both ends: neither `.` nor `..` is a folder's name, nor is `-x` an option.
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,62}[A-Za-z0-9])?")

ARCHITECTURES = (
    *("amd64", "i386", "arm", "arm64", "ppc64le", "ppc64", "mips64le", "mips64", "mipsle", "mips", "s390x"),
    "unknown",
)
"""Those that Vagrant knows; `unknown` is that of boxes from before it knew any."""

TRIAL = "0.0.0-test"
"""How versions begin that are published to be removed again."""

_TRIAL = re.compile(re.escape(TRIAL) + r"\.([0-9]{14})\.[0-9a-z]{6}")


@dataclass(frozen=True)
class Tag:
    """A box's name: `ORG/BOX`."""

    org: str
    box: str

    def __str__(self) -> str:
        return f"{self.org}/{self.box}"


def tag(text: str) -> Tag:
    """A box's name, read.

    Raises:
        InputError: it is none.
    """
    org, _, box = text.partition("/")
    if not (_NAME.fullmatch(org) and _NAME.fullmatch(box)):
        raise InputError(f"{text!r} is no box's name", hint="as kontain/ubuntu-kkm-beta3: letters, digits, . _ -")
    return Tag(org, box)


def version(text: str) -> str:
    """A version as Vagrant takes it: RELEASE_TAG's `v1.2.3` is 1.2.3.

    Raises:
        InputError: it is none.
    """
    bare = text.strip().removeprefix("v")
    if len(bare) > 64 or not _VERSION.fullmatch(bare):
        raise InputError(f"{text!r} is no version of a box", hint="as 1.2.3, or 0.1.0-edge.20261126.1")
    return bare


def trial() -> str:
    """A version that nobody else has: not above any real one, and told from all others."""
    return f"{TRIAL}.{wait.clock.now():%Y%m%d%H%M%S}.{wait.clock.token()}"


def tried(version: str) -> datetime | None:
    """When a trial of that version began; None: it is none of `trial`'s."""
    found = _TRIAL.fullmatch(version)
    try:
        return datetime.strptime(found[1], "%Y%m%d%H%M%S").replace(tzinfo=UTC) if found else None
    except ValueError:
        return None
