"""What can be set about AWS: `[aws]` in settings.toml."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

Gibibytes = Annotated[int, Meta(ge=8, le=16384)]
Port = Annotated[int, Meta(ge=1, le=65535)]
Seconds = Annotated[int, Meta(ge=1, le=86400)]
Region = Annotated[str, Meta(pattern=r"^[a-z]{2}(-[a-z]+)+-[0-9]+\Z")]
Id = Annotated[str, Meta(pattern=r"^[a-zA-Z0-9:/_-]*\Z")]


class AwsSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Where images live on EC2, and the VMs that make and prove them."""

    region: Region
    """Of the images. AWS_REGION does not move it."""
    release: str
    """The release of Ubuntu that images start from: one of the definition's."""
    build_type: str
    """The instance type that builds."""
    proof_type: str
    """The instance type that proves: the smallest that will do."""
    disk: Gibibytes
    """GiB of the image's root disk."""
    encrypted: bool
    """Whether disks and images are encrypted. Such an image can be shared only with a key of one's own."""
    kms_key: Id
    """The key that encrypts; empty: the account's own for EBS."""
    subnet: Id
    """Where VMs are started; empty: the default VPC."""
    parameter: Annotated[str, Meta(pattern=r"^(/[a-zA-Z0-9._-]+)+\Z")]
    """Below this name the parameter store holds the id of each image's current build."""
    ssh_port: Port
    """The port of a VM's ssh server, as we reach it."""
    boot_timeout: Seconds
    """Seconds in which a VM must answer ssh."""
    image_timeout: Seconds
    """Seconds in which EC2 must have made an image of a disk: large ones take an hour."""
    poll: Seconds
    """Seconds between two looks at something that EC2 works on."""
    runner_types: list[str]
    """The instance types of runners, in the order in which they are tried where EC2 has no room.

    Those that can run VMs in a VM come first (c8i, m8i, r8i and their flex kinds, since 2026): there `/dev/kvm`
    is there for what is tested. The others cost the same and are nearly always to be had. A type that the
    region does not have is passed over.
    """
    runner_disk: Gibibytes
    """GiB of a runner's disk, and never less than its image's."""
    role: Annotated[str, Meta(pattern=r"^[\w+=,.@-]{0,128}\Z")]
    """The instance profile that runners get; empty: none. Who starts them needs `iam:PassRole` for its role then,
    and their metadata stays open to them, since a role works by that."""
    tags: dict[str, str]
    """Tags that everything of a runner gets besides ours, for a bill or a rule of one's own."""
    vpc: Annotated[str, Meta(pattern=r"^[a-zA-Z0-9._-]{1,64}\Z")]
    """What the network of runners is called: `runners.setup-network` makes it."""
    timeout: Seconds
    """Seconds in which EC2 must have answered a call."""
    range: Annotated[str, Meta(pattern=r"^[0-9.]{7,15}/(1[6-9]|2[0-4])\Z")]
    """The addresses of that network; each zone has a sixteenth of them."""
