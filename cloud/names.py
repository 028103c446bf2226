"""Names and tags: what may be called what. Pure.

A tag is a key and a text on anything we make, in any cloud. Everything is found by its tags.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256

from cloud import NAMES, WORDS
from cloud.errors import InputError

KIND = "km-kind"
"""What the thing is for: `image`, `build`, `proof`, `runner`, `network`."""
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
RELEASE = "km-release"
"""The version of the release that an image is a part of."""
COMMIT = "km-commit"
"""The product's commit that this version is of."""
PRODUCT = "km-product"
"""The sum of the product's files that are inside."""
LABEL = "km-label"
"""The label by which jobs ask for this runner, and no other."""
RUNNER = "km-runner"
"""The runner's name at GitHub. On an image: the version of the runner's program that is in it."""
REPO = "km-repo"
"""The repository whose run it serves, as `owner/name`."""
RUN_ID = "km-run-id"
"""That run. A re-run of it has the same."""
RUN_NUMBER = "km-run-number"
"""The run's number among those of its workflow, as people say it."""
RUN_ATTEMPT = "km-run-attempt"
"""Which attempt of the run has made it."""
WORKFLOW = "km-workflow"
"""The name of the run's workflow."""
USER = "km-user"
"""Who works in the VM: the name to log in with."""
HOST_KEY = "km-host-key"
"""The VM's public ssh host key, without its kind: ed25519. By that we know whom we talk to."""
KEPT = "km-kept-because"
"""Why it was not destroyed with the run's end."""
JOB = "km-job"
"""The address of the job for which it was kept."""
EXTENDED = "km-extended"
"""When somebody let it live longer: whose hand is on it, once it is kept, keeps it from the end that a run brings."""
DOOMED = "km-doomed"
"""When the reaper first saw that its time was over while it ran."""
RESUMED = "km-resumed-until"
"""When a kept one that somebody has started again is stopped again."""

# AWS: 3 to 128 of a few characters (CreateImage). Azure: 80 of letters, digits, dots, hyphens
# and underscores, ending in a letter, digit or underscore (gallery naming rules). A build's name
# adds 24 characters to the image's.
_IMAGE_NAME = re.compile(r"[A-Za-z][A-Za-z0-9._-]{1,48}[A-Za-z0-9]")
_BUILD_NAME = re.compile(rf"(?P<image>{_IMAGE_NAME.pattern})-[0-9]{{8}}T[0-9]{{6}}Z-[0-9a-f]{{6}}")
_STAMP = "%Y%m%dT%H%M%SZ"

# What CI and people call a cloud.
_WORD = {name: name for name in NAMES} | {name: word for word, name in WORDS.items()}
_CLOUD = {word: name for name, word in _WORD.items()}

# With a hyphen and six letters behind it (a label's sum, a VM's token) a name is 63 letters long:
# a DNS label's limit, that of Azure too (Azure, "naming rules and restrictions"). It is the
# narrowest: a VM's name and computer name on Azure have 64, a runner's name at GitHub has 64,
# a resource group's 90, a tag's value 256, a label at GitHub 256.
_NAME = 56
_REST = _NAME - len("azure-runner-")

# The end of a part that stands for more than words with a blank between them: `CI/CD` is `CI-CD-x1f2e3d`.
# Its `x` tells it from a run's number.
_MARKED = re.compile(r"(?:.*-)?x[0-9a-f]{6}")
_NUMBER = re.compile(r"[A-Za-z0-9]{1,16}")
_LABEL = re.compile(rf"(?P<word>[a-z0-9]+)-runner-[a-z0-9-]{{3,{_REST}}}-[0-9a-f]{{6}}", re.IGNORECASE | re.ASCII)
_LABEL_LIMIT = 256
_TAG_LIMIT = 256


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


@dataclass(frozen=True)
class Run:
    """A run of a workflow. All of it is as GitHub's variables say it, so it is any text."""

    repository: str
    """`owner/name`."""
    workflow: str
    """The workflow's name; where it has none, the path of its file."""
    number: str
    """Which of the workflow's runs it is. A re-run has the same."""
    id: str
    """No other run at GitHub has it. A re-run has the same."""
    attempt: str
    """`1`, and one more with each re-run."""


def machine_name(cloud: str, run: Run) -> str:
    """What people call the VM of a run, in every attempt: `ec2-runner-KM-CI-Pipeline-1279` for `KM CI Pipeline`.

    Letters, digits and hyphens only, 56 at most: a name in every cloud and at GitHub, also with a hyphen
    and a token of six letters behind it, as a single VM is called. Where more than a blank had to be
    replaced, or something cut, a part of the text's sum tells it from others.
    """
    number = run.number
    if not _NUMBER.fullmatch(number) or _MARKED.fullmatch(number):
        number = _mark(number)
    # The same on each cloud, though another's word is shorter.
    room = _REST - len(f"-{number}")
    return f"{_WORD.get(cloud, cloud)}-runner-{_safe(run.workflow, room)}-{number}"


def label(cloud: str, run: Run) -> str:
    """The label by which the run's jobs ask for its VM in that cloud, in every attempt; 63 letters at most.

    GitHub compares labels without regard to case, and so do we. No other run has it: neither one of
    another repository nor one of a workflow of the same name.
    """
    return f"{machine_name(cloud, run)}-{_sum(run.repository.lower(), run.id)}"


def is_label(text: str) -> str:
    """The cloud that a label of ours asks for; empty for what is no such label."""
    found = _LABEL.fullmatch(text)
    return _CLOUD.get(found["word"].lower(), "") if found else ""


def extra_labels(texts: Iterable[str]) -> list[str]:
    """Labels that somebody wants besides ours, each once, whatever its case, as it was first written.

    Raises:
        InputError: one can't be a label.
    """
    labels: dict[str, str] = {}
    for text in texts:
        if (
            not 0 < len(text) <= _LABEL_LIMIT
            or text != text.strip()
            or not text.isprintable()
            or any(letter in text for letter in ",'\"`")
        ):
            raise InputError(
                f"{text!r} can't be a label",
                hint=f"1 to {_LABEL_LIMIT} letters, without commas, quotes, line breaks, or blanks at its ends",
            )
        labels.setdefault(text.casefold(), text)
    return list(labels.values())


def tag_value(text: str) -> str:
    """The text as a tag's value that every cloud accepts: what it can't hold is `_`, what is too long is cut.

    AWS: 256 letters, digits, blanks and `_.:/=+-@`, and no `aws:` before them (what its services
    allow in common; EC2 allows more). Azure: 256 of any. Letters beyond 16 bits count twice with
    some, so they are none.
    """
    kept = "".join(
        letter if (letter.isalnum() and letter <= "\uffff") or letter in " _.:/=+-@" else "_"
        for letter in " ".join(text.split())
    )
    if kept[:4].lower() == "aws:":
        kept = f"{kept[:3]}_{kept[4:]}"
    return kept[:_TAG_LIMIT].rstrip()


def tag_values(tags: Mapping[str, str]) -> dict[str, str]:
    """Tags with values that every cloud accepts."""
    return {key: tag_value(text) for key, text in tags.items()}


def _safe(text: str, room: int) -> str:
    """The text in letters, digits and hyphens, within so many letters; the same for no two texts.

    Blanks and not hyphens are what becomes a hyphen without a mark, since workflows have names of words.
    """
    words = re.findall(r"[A-Za-z0-9]+", text)
    clean = "-".join(words)
    if " ".join(words) == text and 0 < len(text) <= room and not _MARKED.fullmatch(clean):
        return clean
    mark = _mark(text)
    return "-".join(part for part in (clean[: room - len(f"-{mark}")].rstrip("-"), mark) if part)


def _mark(text: str) -> str:
    return f"x{_sum(text)}"


def _sum(*texts: str) -> str:
    # Variables of the environment may hold what is no text: Python reads that as lone surrogates.
    return sha256("\0".join(texts).encode(errors="surrogatepass")).hexdigest()[:6]
