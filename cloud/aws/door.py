"""The way into a runner by ssh: a security group of the VM's own, which has one rule, for the caller's address.

The group that all runners share has nothing open, so a door is one VM's alone. It has a tag that says whose it
is: where that VM is gone, it is a leftover.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cloud import caller, names
from cloud.aws import network
from cloud.aws.session import AwsError, Session, listed, tagged, tags
from cloud.aws.settings import AwsSettings
from cloud.caller import CallerSettings

VM = "km-vm"
"""Tag of a security group: the VM that it is the door of."""

DOOR = "km-door"
"""Tag of a VM for which a door was made, or was about to be. One without it has none, and nobody needs to look."""

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
    if DOOR not in tags(dict(instance)):
        session.soon("create_tags", Resources=[instance["InstanceId"]], Tags=listed([(DOOR, "ssh")]))
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
        network.close_group(session, group, _LETTING_GO)


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
