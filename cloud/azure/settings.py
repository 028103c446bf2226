"""What can be set about Azure: `[azure]` in settings.toml."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

Gibibytes = Annotated[int, Meta(ge=30, le=4095)]
Port = Annotated[int, Meta(ge=1, le=65535)]
Seconds = Annotated[int, Meta(ge=1, le=86400)]
Name = Annotated[str, Meta(pattern=r"^[a-zA-Z0-9]([a-zA-Z0-9._-]{0,78}[a-zA-Z0-9])?\Z")]
Network = Annotated[str, Meta(pattern=r"^[0-9]{1,3}(\.[0-9]{1,3}){3}/[0-9]{1,2}\Z")]
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
    runner_sizes: list[str]
    """Sizes of runners, in the order in which they are tried. All of these can run VMs of their own: newer ones want
    disks that an image of the first kind can't have (NVMe), older ones can't."""
    zones: list[str]
    """Availability zones of runners, in the order in which they are tried; none: Azure chooses."""
    runner_disk: Annotated[int, Meta(ge=0, le=4095)]
    """GiB of a runner's disk; 0: as large as its image's."""
    runner_group: Name
    """The resource group of all runners and their network; `runners.setup-network` makes it."""
    network: Annotated[str, Meta(pattern=r"^[a-zA-Z0-9]([a-zA-Z0-9._-]{0,62}[a-zA-Z0-9_])?\Z")]
    """The virtual network of runners, and its security group."""
    range: Network
    """The addresses in it, as `10.77.0.0/20`."""
    tags: dict[str, str]
    """Tags that all that runners consist of has besides ours."""
    runner_poll: Annotated[float, Meta(gt=0, le=60)]
    """Seconds between two looks at a runner that Azure works on."""
    timeout: Seconds
    """Seconds in which Azure must have answered a call; what it works on for longer is not meant."""
    endpoint: Endpoint
    """The resource manager of another Azure (a sovereign cloud, Azure Stack); empty: the public one."""
