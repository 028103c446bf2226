"""What runners are joined to: a VPC with a way out, a subnet in each zone, and a security group with nothing open.

All of it is found by its tags. The security group is made last: where it is, the rest was there once.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from cloud import names
from cloud.aws.session import Session, listed, tagged, tags, where
from cloud.aws.settings import AwsSettings
from cloud.errors import InputError, NotFound
from cloud.progress import Progress

_ANYWHERE = "0.0.0.0/0"

Thing = dict[str, Any]


@dataclass(frozen=True)
class Place:
    """Where a runner can be started."""

    subnets: Mapping[str, str]
    """Of each zone, one."""
    group: str


@dataclass(frozen=True)
class _Parts:
    """What there is of the network."""

    vpc: Thing | None
    gateway: Thing | None
    routes: Thing | None
    subnets: Sequence[Thing]
    group: Thing | None

    @property
    def attached(self) -> bool:
        return bool(self.gateway and self.gateway.get("Attachments"))

    @property
    def routed(self) -> bool:
        return bool(self.routes and self.gateway and _way_out(self.routes) == self.gateway["InternetGatewayId"])


class AwsNetwork:
    """The network that has the settings' name."""

    def __init__(self, session: Session, settings: AwsSettings) -> None:
        self._session = session
        self._settings = settings

    def missing(self) -> Sequence[str]:
        """What of it is not there. A zone that AWS has opened since is no reason to start nothing."""
        parts = self._parts()
        there = {
            f"VPC {self._settings.vpc}": parts.vpc,
            "internet gateway": parts.attached,
            "route to the internet": parts.routed,
            "subnet": parts.subnets,
            "security group": parts.group,
        }
        return [what for what, found in there.items() if not found]

    def place(self) -> Place:
        """Where a runner can be started, by two calls.

        Raises:
            NotFound: there is no such network, or it is not whole.
        """
        with ThreadPoolExecutor(2) as threads:
            subnets = threads.submit(self._ours, "describe_subnets", "Subnets")
            groups = threads.submit(self._ours, "describe_security_groups", "SecurityGroups")
            found = sorted(groups.result(), key=lambda group: str(group["VpcId"]))
            group = found[0] if found else None
            zones = [each for each in subnets.result() if group and each["VpcId"] == group["VpcId"]]
        if not group or not zones:
            raise NotFound(
                f"runners have no network {self._settings.vpc} in {self._session.region}",
                hint="./inv runners.setup-network --cloud aws",
            )
        subnets_of = {str(each["AvailabilityZone"]): str(each["SubnetId"]) for each in zones}
        return Place(dict(sorted(subnets_of.items())), group["GroupId"])

    def complete(self, progress: Progress) -> None:
        """Make what is missing, in the order in which one part needs the other."""
        parts = self._parts()
        vpc = parts.vpc or self._make_vpc(progress)
        gateway = self._open(vpc["VpcId"], parts, progress)
        if not parts.routed:
            self._route(vpc["VpcId"], gateway, progress)
        self._fill(vpc, parts.subnets, progress)
        if not parts.group:
            made = self._make(
                "create_security_group",
                "security-group",
                VpcId=vpc["VpcId"],
                GroupName=self._settings.vpc,
                Description="runners: nothing is open",
            )
            progress.note(f"security group {made['GroupId']}")

    def _make_vpc(self, progress: Progress) -> Thing:
        try:
            cidr = str(ipaddress.ip_network(self._settings.range))
        except ValueError as problem:
            raise InputError(f"aws.range: {problem}", hint="as 10.0.0.0/16") from problem
        vpc: Thing = self._make("create_vpc", "vpc", CidrBlock=cidr)["Vpc"]
        progress.note(f"VPC {vpc['VpcId']}, {vpc['CidrBlock']}")
        return vpc

    def _open(self, vpc: str, parts: _Parts, progress: Progress) -> str:
        """The gateway of the VPC, made and attached."""
        gateway = parts.gateway or self._make("create_internet_gateway", "internet-gateway")["InternetGateway"]
        known = str(gateway["InternetGatewayId"])
        if not parts.attached:
            self._once("attach_internet_gateway", InternetGatewayId=known, VpcId=vpc)
            progress.note(f"internet gateway {known}")
        return known

    def _route(self, vpc: str, gateway: str, progress: Progress) -> None:
        """The way out, in the VPC's own table: so no subnet can be without it."""
        main = [*where(vpc_id=vpc), {"Name": "association.main", "Values": ["true"]}]
        (table,) = self._session.pages("describe_route_tables", "RouteTables", Filters=main)
        known = table["RouteTableId"]
        if (now := _way_out(table)) != gateway:
            change = "replace_route" if now else "create_route"
            self._once(change, RouteTableId=known, DestinationCidrBlock=_ANYWHERE, GatewayId=gateway)
        self._once("create_tags", Resources=[known], Tags=listed(self._marks().items()))
        progress.note(f"route to the internet, in {known}")

    def _fill(self, vpc: Thing, there: Sequence[Thing], progress: Progress) -> None:
        """A subnet in each zone that has none. One that somebody else has put there keeps its addresses."""
        zones = self._session.call(
            "ec2",
            "describe_availability_zones",
            Filters=where(state="available", zone_type="availability-zone", opt_in_status="opt-in-not-required"),
        )["AvailabilityZones"]
        done = {each["AvailabilityZone"] for each in there}
        lacking = sorted(zone["ZoneName"] for zone in zones if zone["ZoneName"] not in done)
        if not lacking:
            return
        others = self._session.pages("describe_subnets", "Subnets", Filters=where(vpc_id=vpc["VpcId"]))
        taken = [ipaddress.ip_network(each["CidrBlock"]) for each in others]
        whole = ipaddress.ip_network(vpc["CidrBlock"])
        free = [part for part in whole.subnets(4) if not any(part.overlaps(other) for other in taken)]
        if len(free) < len(lacking):
            raise InputError(f"{vpc['VpcId']} has no addresses left for {', '.join(lacking)}", hint="set aws.vpc")
        for zone, part in zip(lacking, free, strict=False):
            made = self._make(
                "create_subnet", "subnet", VpcId=vpc["VpcId"], CidrBlock=str(part), AvailabilityZone=zone
            )["Subnet"]
            progress.note(f"subnet {made['SubnetId']} in {zone}, {part}")

    def _parts(self) -> _Parts:
        asked = (
            ("describe_vpcs", "Vpcs"),
            ("describe_internet_gateways", "InternetGateways"),
            ("describe_route_tables", "RouteTables"),
            ("describe_subnets", "Subnets"),
            ("describe_security_groups", "SecurityGroups"),
        )
        with ThreadPoolExecutor(len(asked)) as threads:
            vpcs, gateways, tables, subnets, groups = threads.map(lambda each: self._ours(*each), asked)
        # Of two that were begun at once, everybody takes the same.
        vpc = min(vpcs, key=lambda each: str(each["VpcId"]), default=None)
        known = vpc["VpcId"] if vpc else ""

        def inside(things: Sequence[Thing]) -> list[Thing]:
            return [each for each in things if each["VpcId"] == known]

        ours = [each for each in gateways if known in [place["VpcId"] for place in each.get("Attachments", [])]]
        free = [each for each in gateways if not each.get("Attachments")]
        gateway = next(iter(ours or free), None)
        return _Parts(vpc, gateway, next(iter(inside(tables)), None), inside(subnets), next(iter(inside(groups)), None))

    def _ours(self, operation: str, key: str) -> list[Thing]:
        found = self._session.pages(operation, key, Filters=tagged(**self._marks()))
        return [each for each in found if tags(each).get(names.KIND) == "network"]

    def _marks(self) -> dict[str, str]:
        return {names.KIND: "network", "Name": self._settings.vpc}

    def _make(self, operation: str, kind: str, **arguments: Any) -> Thing:
        marked = {**self._settings.tags, **self._marks()}
        spec = [{"ResourceType": kind, "Tags": listed(marked.items())}]
        return self._once(operation, TagSpecifications=spec, **arguments)

    def _once(self, operation: str, **arguments: Any) -> Thing:
        """One call: nothing here has a token, so what an SDK asks for again would be made again."""
        return self._session.soon(operation, once=True, **arguments)


def _way_out(table: Thing) -> str:
    """Where a route table sends what goes to the internet; empty: nowhere."""
    for route in table.get("Routes", []):
        if route.get("DestinationCidrBlock") == _ANYWHERE:
            return str(route.get("GatewayId", "nowhere"))
    return ""
