"""The way into a runner by ssh: a security group of the VM's own, which has one rule, for the caller's address.

The group that all runners share has nothing open, so a door is one VM's alone. It has a tag that says whose it
is: where that VM is gone, it is a leftover.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import platformdirs

from cloud import caller, names
from cloud.aws import ending
from cloud.aws.session import AwsError, Session, listed, tagged
from cloud.aws.settings import AwsSettings
from cloud.caller import CallerSettings
from cloud.files import erase, replaced

VM = "km-vm"
"""The VM that a security group is the door of."""

_LETTING_GO = 10.0
"""Seconds in which EC2 lets go of a group that no VM has any more."""

_NO_CARD = ("IncorrectInstanceState", "InvalidInstanceID.NotFound")


def open_door(
    session: Session, settings: AwsSettings, us: CallerSettings, instance: Mapping[str, Any], marks: Mapping[str, str]
) -> None:
    """Let our address in, and no other. It may be let in already.

    Raises:
        TemporaryError: our address can't be found out, or AWS is busy.
    """
    cidr = caller.cidr(us)
    door = next(iter(_doors(session, instance["InstanceId"])), None) or _made(session, instance, marks)
    port = {"IpProtocol": "tcp", "FromPort": settings.ssh_port, "ToPort": settings.ssh_port}
    ours = {"Ipv6Ranges": [{"CidrIpv6": cidr}]} if ":" in cidr else {"IpRanges": [{"CidrIp": cidr}]}
    others = [rule for rule in door.get("IpPermissions", []) if not _is(rule, port, cidr)]
    if len(others) == len(door.get("IpPermissions", [])):
        try:
            session.soon("authorize_security_group_ingress", GroupId=door["GroupId"], IpPermissions=[{**port, **ours}])
        except AwsError as error:
            if error.code != "InvalidPermission.Duplicate":
                raise
    if others:
        session.call("ec2", "revoke_security_group_ingress", GroupId=door["GroupId"], IpPermissions=others)
    joined = _joined(instance)
    if door["GroupId"] not in joined:
        session.soon("modify_instance_attribute", InstanceId=instance["InstanceId"], Groups=[*joined, door["GroupId"]])


def shut_door(session: Session, instance: str) -> None:
    """Let nobody in any more. What can't go yet, since its VM is just ending, is a leftover."""
    for door in _doors(session, instance):
        group = door["GroupId"]
        try:
            rows = session.pages("describe_instances", "Reservations", InstanceIds=[instance])
            if rows and group in (joined := _joined(rows[0]["Instances"][0])):
                left = [each for each in joined if each != group]
                session.call("ec2", "modify_instance_attribute", InstanceId=instance, Groups=left)
        except AwsError as error:
            if error.code not in _NO_CARD:
                raise
        _remove(session, group)


def _doors(session: Session, instance: str) -> list[dict[str, Any]]:
    return session.pages("describe_security_groups", "SecurityGroups", Filters=tagged(**{VM: instance}))


def _made(session: Session, instance: Mapping[str, Any], marks: Mapping[str, str]) -> dict[str, Any]:
    name = f"kontain-ssh-{instance['InstanceId']}"
    marked = {**marks, "Name": name, VM: instance["InstanceId"], names.KIND: "runner"}
    try:
        made = session.call(
            "ec2",
            "create_security_group",
            GroupName=name,
            Description="ssh from the address of who looks into it",
            VpcId=instance["VpcId"],
            TagSpecifications=[{"ResourceType": "security-group", "Tags": listed(marked.items())}],
        )
    except AwsError as error:
        if error.code != "InvalidGroup.Duplicate":
            raise
        # Made at the same time by somebody else, or by ourselves, whose answer was lost.
        wanted = [{"Name": "group-name", "Values": [name]}]
        (made,) = session.pages("describe_security_groups", "SecurityGroups", Filters=wanted)
    return made


def _is(rule: Mapping[str, Any], port: Mapping[str, Any], cidr: str) -> bool:
    ranges = [each["CidrIp"] for each in rule.get("IpRanges", [])]
    ranges += [each["CidrIpv6"] for each in rule.get("Ipv6Ranges", [])]
    return ranges == [cidr] and all(rule.get(key) == value for key, value in port.items())


def _joined(instance: Mapping[str, Any]) -> list[str]:
    """The groups of its first network card; what an instance itself tells of them may be empty."""
    cards = instance.get("NetworkInterfaces", [])
    return [group["GroupId"] for group in (cards[0]["Groups"] if cards else instance.get("SecurityGroups", []))]


def _remove(session: Session, group: str) -> None:
    def gone() -> bool | None:
        try:
            session.call("ec2", "delete_security_group", GroupId=group)
        except AwsError as error:
            if error.code == "DependencyViolation":
                return None
            if error.code != "InvalidGroup.NotFound":
                raise
        return True

    ending.seen(gone, what=f"end of {group}", patience=_LETTING_GO, hurried=1)


def known_hosts(instance: str) -> Path:
    """The file that has the VM's host key, below the caller's cache."""
    safe = re.sub(r"[^A-Za-z0-9-]", "_", instance)
    return platformdirs.user_cache_path("kontain") / "known_hosts" / f"aws-{safe}"


def pin(instance: str, address: str, port: int, key: str) -> Path:
    """Write that file: this key, at this address, and no other."""
    path = known_hosts(instance)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with replaced(path) as fresh:
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "w", encoding="ascii") as file:
            file.write(f"{address if port == 22 else f'[{address}]:{port}'} ssh-ed25519 {key}\n")
    return path


def unpin(instance: str) -> None:
    """Forget its host key. Nobody may have known it."""
    erase(known_hosts(instance))


def own_keys(home: Path) -> tuple[Path, ...]:
    """The caller's private keys: those whose public half lies beside them."""
    halves = ((path, path.with_name(path.name + ".pub")) for path in sorted((home / ".ssh").glob("*")))
    return tuple(path for path, public in halves if path.is_file() and public.is_file())
