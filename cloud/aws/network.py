"""The firewall of a VM that builds or proves: a security group of its own, open for our address alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cloud import caller
from cloud.aws import ending
from cloud.aws.session import AwsError, Session, listed
from cloud.aws.settings import AwsSettings
from cloud.caller import CallerSettings

PATIENCE = 300.0
"""Seconds in which EC2 ends a VM, and in which it lets go of a group after that."""


def open_group(session: Session, settings: AwsSettings, us: CallerSettings, name: str, tags: Mapping[str, str]) -> str:
    """Make a group with these tags that lets ssh in from our address; its id.

    Raises:
        TemporaryError: our address can't be found out, or AWS is busy.
    """
    cidr = caller.cidr(us)
    place: dict[str, Any] = {"VpcId": _network_of(session, settings.subnet)} if settings.subnet else {}
    group = session.call(
        "ec2",
        "create_security_group",
        GroupName=name,
        Description="ssh from the address of who builds",
        TagSpecifications=[{"ResourceType": "security-group", "Tags": listed(tags.items())}],
        **place,
    )["GroupId"]
    rule = {"IpProtocol": "tcp", "FromPort": settings.ssh_port, "ToPort": settings.ssh_port}
    ranges = {"Ipv6Ranges": [{"CidrIpv6": cidr}]} if ":" in cidr else {"IpRanges": [{"CidrIp": cidr}]}
    try:
        session.call("ec2", "authorize_security_group_ingress", GroupId=group, IpPermissions=[{**rule, **ranges}])
    except BaseException:
        close_group(session, group)
        raise
    return str(group)


def close_group(session: Session, group: str, patience: float = PATIENCE) -> bool:
    """Remove a group, as soon as no VM uses it, within so many seconds; whether it is gone. It may be gone already."""

    def gone() -> bool | None:
        try:
            session.call("ec2", "delete_security_group", GroupId=group)
        except AwsError as error:
            if error.code == "DependencyViolation":
                return None
            if error.code != "InvalidGroup.NotFound":
                raise
        return True

    return ending.seen(gone, what=f"end of {group}", patience=patience, hurried=1)


def _network_of(session: Session, subnet: str) -> str:
    return str(session.call("ec2", "describe_subnets", SubnetIds=[subnet])["Subnets"][0]["VpcId"])
