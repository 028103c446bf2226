"""What can be set about Azure: `[azure]` in settings.toml."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

Gibibytes = Annotated[int, Meta(ge=30, le=4095)]
Port = Annotated[int, Meta(ge=1, le=65535)]
Seconds = Annotated[int, Meta(ge=1, le=86400)]
Name = Annotated[str, Meta(pattern=r"^[a-zA-Z0-9]([a-zA-Z0-9._-]{0,78}[a-zA-Z0-9])?\Z")]
Endpoint = Annotated[str, Meta(pattern=r"^(https://[^\s/]+)?\Z")]


class AzureSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Where images live on Azure, and the VMs that make and prove them."""

    location: Name
    """Of the images, as `westus`."""
    resource_group: Name
    """Where the gallery is. It exists: who made the account made it."""
    gallery: Annotated[str, Meta(pattern=r"^[a-zA-Z0-9]([a-zA-Z0-9._]{0,78}[a-zA-Z0-9])?\Z")]
    """The Compute Gallery of the images; made when it is not there. No hyphens (gallery naming rules)."""
    release: str
    """The release of Ubuntu that images start from: one of the definition's."""
    build_size: Name
    """The size of the VM that builds."""
    proof_size: Name
    """The size of the VM that proves: the smallest that will do."""
    disk: Gibibytes
    """GiB of the image's disk."""
    security_type: Literal["TrustedLaunch", "Standard"]
    """TrustedLaunch makes VMs with a vTPM; only a gallery holds such images."""
    secure_boot: bool
    """Refuses kernel modules that are not signed, as Kontain's own is not."""
    replicas: Annotated[int, Meta(ge=1, le=100)]
    """Copies of a version in its region: more let more VMs start at once."""
    ssh_port: Port
    """The port of a VM's ssh server, as we reach it."""
    boot_timeout: Seconds
    """Seconds in which a VM must answer ssh."""
    image_timeout: Seconds
    """Seconds in which Azure must have made and copied an image's version."""
    poll: Seconds
    """Seconds between two looks at something that Azure works on."""
    endpoint: Endpoint
    """The resource manager of another Azure (a sovereign cloud, Azure Stack); empty: the public one."""
