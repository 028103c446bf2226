"""What can be set about images and machines on this machine: `[local]` in settings.toml."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

Count = Annotated[int, Meta(ge=1, le=256)]
Gibibytes = Annotated[int, Meta(ge=2, le=2048)]
Mebibytes = Annotated[int, Meta(ge=128, le=1 << 20)]
Seconds = Annotated[int, Meta(ge=1, le=86400)]
Sha256 = Annotated[str, Meta(pattern=r"^([0-9a-f]{64})?\Z")]


class LocalSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Sizes of the VMs, and where their files are."""

    store: str
    """Folder of images and machines; empty: `~/.local/share/kontain`, or XDG_DATA_HOME's."""
    accelerator: Literal["auto", "kvm", "tcg"]
    """`auto` boots a kernel under KVM to see whether it works."""
    cpus: Count
    memory: Mebibytes
    """MiB of a VM, while an image is built and while it runs."""
    disk: Gibibytes
    """GiB of a VM's disk, as the guest sees it; on this machine it takes what is written."""
    boot_timeout: Seconds
    """Seconds in which a VM must answer ssh. A guest without KVM takes 30 to 60."""
    base_url: str
    """A vendor's cloud image to start from instead of a bootstrap; with `base_sha256`."""
    base_sha256: Sha256
