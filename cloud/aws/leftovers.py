"""What builds leave in an account and what is no image: found by tags, and never anything of a build under way."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cloud import names
from cloud.aws import network
from cloud.aws.machines import terminate
from cloud.aws.session import AwsError, Session, tags
from cloud.base import Leftover
from cloud.errors import KitError
from cloud.work import LIFE, Work, left

_OURS = [{"Name": "tag-key", "Values": [names.BUILD]}]
_LIVING = [{"Name": "instance-state-name", "Values": ["pending", "running", "stopping", "stopped"]}]
_FREE = [{"Name": "status", "Values": ["available"]}]
_GONE = ("InvalidAMIID.NotFound", "InvalidAMIID.Unavailable", "InvalidSnapshot.NotFound", "InvalidVolume.NotFound")

DEAD = ("deregistered", "error", "failed", "invalid")
"""States of an AMI of which nothing becomes any more ("DescribeImages")."""

_FOR = re.compile(r"(?:Created by CreateImage\(.*\) for|Copied for DestinationAmi) (ami-[0-9a-f]+)")
"""How EC2 describes a snapshot that it has made for an AMI; written down nowhere, and relied on by many."""

_FOLDER = "folder of a killed build"

# The call that lists them, where they are in its answer, and what is asked for.
_LISTED: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("describe_instances", "Reservations", {"Filters": [*_OURS, *_LIVING]}),
    ("describe_security_groups", "SecurityGroups", {"Filters": _OURS}),
    ("describe_volumes", "Volumes", {"Filters": [*_OURS, *_FREE]}),
    ("describe_images", "Images", {"Owners": ["self"]}),
    ("describe_snapshots", "Snapshots", {"OwnerIds": ["self"], "Filters": _OURS}),
)


@dataclass(frozen=True)
class _Thing:
    """Something that a build has made and that no image needs, as far as its tags tell."""

    what: str
    id: str
    tags: Mapping[str, str]
    lost: bool = False
    """Whether it was of an image that is gone: no build will come back for it."""


def find(session: Session, work: Work) -> list[Leftover]:
    """What killed builds left, in the order in which it can be removed; last the folders here that tell who is dead."""
    dead = work.dead()
    things = [thing for thing in _made(session) if thing.lost or left(thing.tags, dead)]
    return [*map(_told, things), *(Leftover("aws", _FOLDER, name) for name in dead)]


def clear(session: Session, build: str) -> bool:
    """Remove what there is of a build that is over, and is no image; whether all of it is gone.

    Raises:
        KitError: nobody knows what there is.
    """
    gone = True
    for thing in [each for each in _made(session) if each.tags.get(names.BUILD) == build]:
        try:
            _remove(session, thing.id)
        except KitError:
            gone = False
    return gone


def remove(session: Session, work: Work, leftover: Leftover) -> None:
    """Remove one of them. It may be gone already.

    Raises:
        KitError: it is still needed by something that is not gone, or is not gone itself.
    """
    if leftover.what != _FOLDER:
        _remove(session, leftover.id)
        return
    if still := [each.id for each in find(session, work) if each.what != _FOLDER]:
        raise KitError(f"{leftover.id} is needed to tell that {still[0]} is dead", hint="./inv images.prune again")
    work.finish(leftover.id)


def orphans(session: Session, image: str) -> list[tuple[Leftover, Mapping[str, str]]]:
    """Snapshots of an image's AMIs that are gone, with their tags; `remove` removes them."""
    # In this order: the AMI of a copy that has just begun is there before its snapshot.
    snapshots = session.pages("describe_snapshots", "Snapshots", OwnerIds=["self"], Filters=_OURS)
    amis = session.pages("describe_images", "Images", Owners=["self"])
    lost = [thing for thing in _unused(snapshots, amis) if thing.lost and thing.tags.get(names.IMAGE) == image]
    return [(Leftover("aws", "snapshot of an AMI that is gone", thing.id), thing.tags) for thing in lost]


def remove_ami(session: Session, ami: str) -> None:
    """Deregister an AMI, and delete what it consisted of. What of it is gone already is no matter."""
    try:
        told = session.call("ec2", "describe_images", ImageIds=[ami])["Images"]
    except AwsError as error:
        if error.code not in _GONE:
            raise
        return
    snapshots = {snapshot for image in told for snapshot in snapshots_of(image)}
    if any(image["State"] != "available" for image in told):
        # One that is not done does not tell of them yet, and nobody may have tagged them. EC2 says for which AMI
        # they are.
        words = [f"Created by CreateImage(*) for {ami}*", f"Copied for DestinationAmi {ami} *"]
        made = [{"Name": "description", "Values": words}]
        found = session.pages("describe_snapshots", "Snapshots", OwnerIds=["self"], Filters=made)
        snapshots |= {each["SnapshotId"] for each in found}
    _gone_or(session, "deregister_image", ImageId=ami)
    for snapshot in sorted(snapshots):
        _gone_or(session, "delete_snapshot", SnapshotId=snapshot)


def snapshots_of(ami: dict[str, Any]) -> list[str]:
    """The snapshots that an AMI consists of."""
    disks = (disk.get("Ebs", {}) for disk in ami.get("BlockDeviceMappings", []))
    return [disk["SnapshotId"] for disk in disks if disk.get("SnapshotId")]


def _made(session: Session) -> Iterator[_Thing]:
    """All that builds have made and that no image needs, in the order in which it can be removed."""
    with ThreadPoolExecutor(len(_LISTED)) as threads:
        rows, groups, volumes, amis, snapshots = threads.map(
            lambda listed: session.pages(listed[0], listed[1], **listed[2]), _LISTED
        )
    vms = [each for row in rows for each in row["Instances"]]
    for what, things, key in (
        ("VM", vms, "InstanceId"),
        ("security group", groups, "GroupId"),
        ("volume", volumes, "VolumeId"),
    ):
        yield from (_Thing(what, each[key], tags(each)) for each in things)
    yield from (thing for ami in amis if (thing := _half_made(ami)))
    yield from _unused(snapshots, amis)


def _unused(snapshots: Sequence[dict[str, Any]], amis: Sequence[dict[str, Any]]) -> Iterator[_Thing]:
    """The snapshots that no AMI consists of."""
    used = {snapshot for ami in amis for snapshot in snapshots_of(ami)}
    known = {name for ami in amis for name in (str(ami.get("Name", "")), tags(ami).get(names.BUILD, ""))}
    there = {ami["ImageId"] for ami in amis}
    for each in snapshots:
        if each["SnapshotId"] not in used:
            marked = tags(each)
            # A copy that failed is begun anew, and then another AMI has its name.
            orphan = marked[names.BUILD] not in known or not _made_for(each) <= there
            yield _Thing("snapshot", each["SnapshotId"], marked, orphan and marked.get(names.KIND) == "image")


def _made_for(snapshot: dict[str, Any]) -> set[str]:
    """The AMI that EC2 has made a snapshot for, where it says so."""
    found = _FOR.match(str(snapshot.get("Description", "")))
    return {found[1]} if found else set()


def _half_made(ami: dict[str, Any]) -> _Thing | None:
    """An AMI that is of a build and that nobody has made an image of.

    Packer tags an AMI when it is done, and leaves one whose wait it did not survive without tags. Then
    a build's name says enough, unless somebody registered it: EC2 tells of those alone from which VM
    they are that it made an AMI of. A copy has an image's tags from its first moment on; it is a part of none
    once EC2 has given it up.
    """
    known, name = tags(ami), str(ami.get("Name", ""))
    if known.get(names.KIND) == "image" and ami["State"] in DEAD:
        return _Thing("AMI", ami["ImageId"], known, lost=True)
    if known.get(names.KIND) == "build" and names.BUILD in known:
        return _Thing("AMI", ami["ImageId"], known)
    if names.KIND in known or not names.image_of(name) or "SourceInstanceId" not in ami:
        return None
    over = datetime.fromisoformat(ami["CreationDate"]) + LIFE
    as_tagged = {names.KIND: "build", names.BUILD: name, names.EXPIRES: names.moment(over)}
    return _Thing("AMI", ami["ImageId"], as_tagged)


def _told(thing: _Thing) -> Leftover:
    return Leftover("aws", f"{thing.what} of a killed build", thing.id)


def _remove(session: Session, thing: str) -> None:
    kind = thing.partition("-")[0]
    if kind == "i":
        gone = terminate(session, thing, hurried=1)
    elif kind == "sg":
        gone = network.close_group(session, thing)
    else:
        gone = True
        if kind == "ami":
            remove_ami(session, thing)
        elif kind == "vol":
            _gone_or(session, "delete_volume", VolumeId=thing)
        else:
            _gone_or(session, "delete_snapshot", SnapshotId=thing)
    if not gone:
        raise KitError(f"{thing} is not gone yet", hint="./inv images.prune again")


def _gone_or(session: Session, operation: str, **arguments: Any) -> None:
    try:
        session.call("ec2", operation, **arguments)
    except AwsError as error:
        if error.code not in _GONE:
            raise
