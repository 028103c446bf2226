"""What killed builds left in an account: found by tags, and never anything of a build under way."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

from cloud import names, wait
from cloud.aws import network
from cloud.aws.machines import terminate
from cloud.aws.session import AwsError, Session, tags
from cloud.base import Leftover
from cloud.errors import KitError
from cloud.work import LIFE, Work, left

_OURS = [{"Name": "tag-key", "Values": [names.BUILD]}]
_LIVING = [{"Name": "instance-state-name", "Values": ["pending", "running", "stopping", "stopped"]}]
_GONE = ("InvalidAMIID.NotFound", "InvalidAMIID.Unavailable", "InvalidSnapshot.NotFound", "InvalidVolume.NotFound")

_FOLDER = "folder of a killed build"

# What is told, the call that lists it, and where it is in the answer; in the order in which it can be removed.
_THINGS: tuple[tuple[str, str, str, str, dict[str, Any]], ...] = (
    ("VM", "describe_instances", "Reservations", "InstanceId", {"Filters": [*_OURS, *_LIVING]}),
    ("security group", "describe_security_groups", "SecurityGroups", "GroupId", {"Filters": _OURS}),
    (
        "volume",
        "describe_volumes",
        "Volumes",
        "VolumeId",
        {"Filters": [*_OURS, {"Name": "status", "Values": ["available"]}]},
    ),
    ("AMI", "describe_images", "Images", "ImageId", {"Owners": ["self"]}),
    ("snapshot", "describe_snapshots", "Snapshots", "SnapshotId", {"OwnerIds": ["self"], "Filters": _OURS}),
)


def find(session: Session, work: Work) -> list[Leftover]:
    """All of it, in the order in which it can be removed; last the folders here that tell what is dead."""
    dead = work.dead()
    with ThreadPoolExecutor(len(_THINGS)) as threads:
        answers = list(threads.map(lambda thing: session.pages(thing[1], thing[2], **thing[4]), _THINGS))
    amis = answers[3]
    used = {snapshot for ami in amis for snapshot in snapshots_of(ami)}
    found: list[Leftover] = []
    for (what, _, key, id_key, _), answer in zip(_THINGS, answers, strict=True):
        things = [each for row in answer for each in row["Instances"]] if key == "Reservations" else answer
        for thing in things:
            build = tags(thing).get(names.BUILD, "")
            if what == "AMI":
                over = _half_made(thing, dead)
            elif what == "snapshot":
                # One that no AMI needs: its AMI went, or never was.
                over = thing["SnapshotId"] not in used and not work.busy(build)
            else:
                over = left(tags(thing), dead)
            if over:
                found.append(Leftover("aws", f"{what} of a killed build", thing[id_key]))
    return [*found, *(Leftover("aws", _FOLDER, name) for name in dead)]


def _half_made(ami: dict[str, Any], dead: Sequence[str]) -> bool:
    """Whether nobody will ever make an image of that AMI.

    Packer tags an AMI when it is done, and leaves one whose wait it did not survive without tags: a
    build's name says enough.
    """
    known, name = tags(ami), str(ami.get("Name", ""))
    if known.get(names.KIND) == "image" or not names.image_of(name):
        return False
    old = wait.clock.now() - datetime.fromisoformat(ami["CreationDate"]) > LIFE
    return old or name in dead


def remove(session: Session, work: Work, leftover: Leftover) -> None:
    """Remove one of them. It may be gone already.

    Raises:
        KitError: it is still needed by something that is not gone.
    """
    thing = leftover.id
    if leftover.what == _FOLDER:
        if still := [each.id for each in find(session, work)[: -len(work.dead()) or None]]:
            raise KitError(f"{thing} is needed to tell that {still[0]} is dead", hint="./inv images.prune again")
        work.finish(thing)
    elif thing.startswith("i-"):
        terminate(session, thing, network.PATIENCE)
    elif thing.startswith("sg-"):
        if not network.close_group(session, thing):
            raise KitError(f"{thing} is still used", hint="./inv images.prune again")
    elif thing.startswith("ami-"):
        remove_ami(session, thing)
    elif thing.startswith("vol-"):
        _gone_or(session, "delete_volume", VolumeId=thing)
    else:
        _gone_or(session, "delete_snapshot", SnapshotId=thing)


def remove_ami(session: Session, ami: str) -> None:
    """Deregister an AMI, and delete what it consisted of. What of it is gone already is no matter."""
    try:
        told = session.call("ec2", "describe_images", ImageIds=[ami])["Images"]
    except AwsError as error:
        if error.code not in _GONE:
            raise
        return
    snapshots = [snapshot for image in told for snapshot in snapshots_of(image)]
    _gone_or(session, "deregister_image", ImageId=ami)
    for snapshot in snapshots:
        _gone_or(session, "delete_snapshot", SnapshotId=snapshot)


def snapshots_of(ami: dict[str, Any]) -> list[str]:
    """The snapshots that an AMI consists of."""
    disks = (disk.get("Ebs", {}) for disk in ami.get("BlockDeviceMappings", []))
    return [disk["SnapshotId"] for disk in disks if disk.get("SnapshotId")]


def _gone_or(session: Session, operation: str, **arguments: Any) -> None:
    try:
        session.call("ec2", operation, **arguments)
    except AwsError as error:
        if error.code not in _GONE:
            raise
