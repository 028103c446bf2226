"""Names and tags: what may be called what. Pure.

A tag is a key and a text on anything we make, in any cloud. Everything is found by its tags.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

from cloud.errors import InputError

KIND = "km-kind"
"""What the thing is for: `image`, `build`, `proof`."""
IMAGE = "km-image"
"""The image that this is a build of."""
BUILD = "km-build"
"""The build that this is, or is a part of."""
OWNER = "km-owner"
"""Who made it: a user, or the repository that a workflow ran for."""
EXPIRES = "km-expires"
"""When nobody needs it any more, at the latest."""
CREATED = "km-created"
"""When the build's inputs were resolved: the newest of these is the newest build."""
FINGERPRINT = "km-fingerprint"
"""The sum of all that the build read."""
PROVEN = "km-proven"
"""When it was booted and every check passed."""
PROMOTED = "km-promoted"
"""When it was made the current one."""
WITHDRAWN = "km-withdrawn"
"""When it was taken back, by a rollback or by promoting an older one."""

# AWS: 3 to 128 of a few characters (CreateImage). Azure: 80 of letters, digits, dots, hyphens
# and underscores, ending in a letter, digit or underscore (gallery naming rules). A build's name
# adds 24 characters to the image's.
_IMAGE_NAME = re.compile(r"[A-Za-z][A-Za-z0-9._-]{1,48}[A-Za-z0-9]")
_BUILD_NAME = re.compile(rf"(?P<image>{_IMAGE_NAME.pattern})-[0-9]{{8}}T[0-9]{{6}}Z-[0-9a-f]{{6}}")
_STAMP = "%Y%m%dT%H%M%SZ"


def image_name(text: str) -> str:
    """The text, if every cloud accepts it as an image's name.

    Raises:
        InputError: it is not one.
    """
    if not _IMAGE_NAME.fullmatch(text):
        raise InputError(
            f"{text!r} can't name an image",
            hint="3 to 50 letters, digits, dots, hyphens or underscores, a letter first",
        )
    return text


def build_name(image: str, created: datetime, token: str) -> str:
    """A name that no other build of the image has: `L0BaseImage-20261122T200000Z-1f2e3d`."""
    return f"{image}-{created.astimezone(UTC).strftime(_STAMP)}-{token}"


def image_of(build: str) -> str:
    """The image that a build of that name is of; empty for what is no such name."""
    found = _BUILD_NAME.fullmatch(build)
    return found["image"] if found else ""


def time_of(build: str) -> datetime:
    """When the build of that name began, to the second.

    Raises:
        ValueError: it is no such name.
    """
    return datetime.strptime(build.rsplit("-", 2)[-2], _STAMP).replace(tzinfo=UTC)


def moment(time: datetime) -> str:
    """A time as it is written in a tag: UTC, to the microsecond, sorts as text."""
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_moment(text: str) -> datetime:
    """The time that `moment` wrote.

    Raises:
        ValueError: the text is something else.
    """
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
