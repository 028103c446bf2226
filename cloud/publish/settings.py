"""What can be set about publishing: `[publish]` in settings.toml."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

Seconds = Annotated[float, Meta(gt=0, le=86400)]


class PublishSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Where boxes are published, and for how long a server may be waited for."""

    to: Literal["", "vagrant-cloud", "catalog"]
    """Where, when no `--to` is given."""
    server: str
    """The registry; VAGRANT_SERVER_URL comes first."""
    private: bool
    """Whether a box that we make at the registry is for its own people alone."""
    catalog: str
    """Where the catalog is kept: a folder, or `s3://BUCKET/PREFIX`."""
    address: str
    """Where all the world finds it: `https://...`. Empty: the folder itself, or the bucket's own address."""
    region: str
    """Of the bucket."""
    timeout: Seconds
    """In which a call is answered, to the end of the answer."""
    stall: Seconds
    """For which a transfer may stand still."""
    lag: Seconds
    """In which what was sent can be read, and what was released is listed."""
