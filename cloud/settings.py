"""What can be set about runners, and where they register: `[runners]` and `[github]` in settings.toml."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

Span = Annotated[str, Meta(pattern=r"^([0-9]+[smhd])+\Z")]


User = Annotated[str, Meta(pattern=r"^[a-z_][a-z0-9_-]{0,31}\Z")]


class RunnersSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """VMs that are runners of GitHub Actions, and how long they live."""

    image: str
    """What they are made from: the current build of it."""
    user: User
    """Who works in them. The image has this user."""
    keys: str
    """Folder of people's public keys, `*.pub`, relative to the project. Where it has none, the caller's own."""
    clouds: list[str]
    """Where VMs are started and looked for when no `--cloud` is given."""
    require: Literal["any", "all"]
    """How many of the clouds must be ready for a start to have done its work."""
    ttl: Span
    """How long a VM lives, at the most."""
    timeout: Span
    """In which it is online, or is taken back."""
    keep: Span
    """How long a VM stays whose job has failed."""
    awake: Span
    """How long a kept VM runs that somebody starts again."""
    grace: Span
    """Between the reaper's two looks at a VM that runs."""
    poll: Annotated[float, Meta(gt=0, le=60)]
    """Seconds between two questions to GitHub whether a runner is online."""


class GithubSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Whose runners they are."""

    api: str
    """GitHub's API, as `https://api.github.com`."""
    server: str
    """Where runners register, as `https://github.com`."""
    repository: str
    """`owner/name` of the repository that runners are for, outside of a workflow."""
    organisation: str
    """The organisation that they belong to; empty: to the repository."""
    margin: Annotated[int, Meta(ge=0, le=365)]
    """Days for which GitHub must still accept an image's own version of the runner."""
    timeout: Annotated[int, Meta(ge=1, le=600)]
    """Seconds that one call may take."""
