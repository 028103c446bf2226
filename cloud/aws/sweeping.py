"""What is left of runners that are gone: disks, network cards and doors, found by their tags.

Nothing of a VM that is there is one of these, in whatever state it is, and nothing that is just being started.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

from cloud import names, wait
from cloud.aws import network
from cloud.aws.door import VM
from cloud.aws.session import AwsError, Session, tagged, tags, where
from cloud.base import Leftover
from cloud.errors import KitError

_START = timedelta(minutes=10)
"""What is younger may be of a VM that EC2 does not tell of yet."""

_OURS = tagged(**{names.KIND: "runner"})
_THERE = where(instance_state_name=["pending", "running", "stopping", "stopped", "shutting-down"])
_FREE = where(status="available")

_LISTED: tuple[tuple[str, str, list[dict[str, Any]]], ...] = (
    ("describe_volumes", "Volumes", [*_OURS, *_FREE]),
    ("describe_network_interfaces", "NetworkInterfaces", [*_OURS, *_FREE]),
    ("describe_security_groups", "SecurityGroups", _OURS),
    # Last: what is of a VM that was started meanwhile is not looked at any more.
    ("describe_instances", "Reservations", _THERE),
)

_GONE = ("InvalidVolume.NotFound", "InvalidNetworkInterfaceID.NotFound")


def halves(session: Session) -> Sequence[Leftover]:
    """All of it."""
    with ThreadPoolExecutor(len(_LISTED)) as threads:
        volumes, cards, groups, rows = threads.map(
            lambda each: session.pages(each[0], each[1], Filters=each[2]), _LISTED
        )
    vms = [each for row in rows for each in row["Instances"]]
    there, keys = {each["InstanceId"] for each in vms}, {tags(each).get(names.HOST_KEY) for each in vms}

    def lost(thing: dict[str, Any]) -> bool:
        return tags(thing).get(names.HOST_KEY) not in keys

    return [
        *(
            Leftover("aws", "disk of a runner that is gone", each["VolumeId"])
            for each in volumes
            if lost(each) and each["CreateTime"] < wait.clock.now() - _START
        ),
        *(
            Leftover("aws", "network card of a runner that is gone", each["NetworkInterfaceId"])
            for each in cards
            if lost({"Tags": each.get("TagSet", [])}) and _over(each)
        ),
        *(
            Leftover("aws", "way in of a runner that is gone", each["GroupId"])
            for each in groups
            if tags(each).get(VM, "") and tags(each)[VM] not in there
        ),
    ]


def remove(session: Session, leftover: Leftover) -> None:
    """Remove one of them. It may be gone already.

    Raises:
        KitError: something still has it.
    """
    kind = leftover.id.partition("-")[0]
    if kind == "sg":
        if not network.close_group(session, leftover.id):
            raise KitError(f"{leftover.id} is not gone yet", hint="./inv runners.reap again")
        return
    try:
        if kind == "vol":
            session.call("ec2", "delete_volume", VolumeId=leftover.id)
        else:
            session.call("ec2", "delete_network_interface", NetworkInterfaceId=leftover.id)
    except AwsError as error:
        if error.code not in _GONE:
            raise


def _over(card: dict[str, Any]) -> bool:
    """Whether the time of its VM is over: EC2 does not say when a card was made."""
    try:
        return names.parse_moment(tags({"Tags": card.get("TagSet", [])}).get(names.EXPIRES, "")) < wait.clock.now()
    except ValueError:
        return False
