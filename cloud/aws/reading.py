"""Instances as EC2 tells of them, as VMs."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Literal

from cloud.aws.launch import FULL, place
from cloud.aws.session import tags
from cloud.base import Vm

State = Literal["starting", "running", "stopping", "stopped", "gone"]

_STATES: dict[str, State] = {
    "pending": "starting",
    "running": "running",
    "stopping": "stopping",
    "stopped": "stopped",
    "shutting-down": "gone",
    "terminated": "gone",
}

LIVING = ["pending", "running", "stopping", "stopped"]

_BY_PEOPLE = ("Client.UserInitiatedShutdown", "Client.InstanceInitiatedShutdown")
"""Somebody ended it, or it ended itself: what its console says tells more than EC2 does."""


def vm(instance: dict[str, Any], port: int) -> Vm:
    """The VM that an instance is."""
    known = tags(instance)
    address = instance.get("PublicIpAddress", "")
    return Vm(
        cloud="aws",
        id=instance["InstanceId"],
        name=known.get("Name", instance["InstanceId"]),
        state=_STATES[instance["State"]["Name"]],
        address=f"{address}:{port}" if address and port != 22 else address,
        size=instance["InstanceType"],
        created=min(_moments(instance)).astimezone(UTC),
        tags=known,
        reason=_reason(instance),
        full=place(instance["InstanceType"], instance["Placement"]["AvailabilityZone"]) if _no_room(instance) else "",
    )


def _moments(instance: dict[str, Any]) -> list[datetime]:
    """Since when it is there: each start sets its own time anew, what is joined to it was joined once."""
    joined = [disk.get("Ebs", {}) for disk in instance.get("BlockDeviceMappings", [])]
    joined += [card.get("Attachment", {}) for card in instance.get("NetworkInterfaces", [])]
    return [instance["LaunchTime"], *(each["AttachTime"] for each in joined if "AttachTime" in each)]


def _no_room(instance: dict[str, Any]) -> bool:
    """Whether EC2 ended it at its launch since it had no room after all ("Instance terminates immediately")."""
    word = str(instance.get("StateReason", {}).get("Code", ""))
    return word.removeprefix("Server.") in FULL and _STATES[instance["State"]["Name"]] == "gone"


def _reason(instance: dict[str, Any]) -> str:
    told = instance.get("StateReason", {})
    word, message = str(told.get("Code", "")), str(told.get("Message", ""))
    if word in _BY_PEOPLE or _STATES[instance["State"]["Name"]] in ("starting", "running"):
        return ""
    # EC2's messages begin with the code, and most say more.
    return message if message.startswith(word) else f"{word}: {message}"
