"""What runners are joined to on AWS: made once, from nothing or from a half, and then left alone."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cloud import names
from cloud.aws.cloud import AwsCloud
from cloud.errors import InputError, KitError, NotAllowed, NotFound
from cloud.progress import Silent
from tests.cloud.aws.conftest import build_network, opened, order
from tests.fakes.ec2 import NETWORK, POLICY, Ec2, allowed

WHOLE = ["VPC kontain-runners", "internet gateway", "route to the internet", "subnet", "security group"]
WRITES = ("Create", "Attach", "Authorize", "Replace", "Modify", "Delete", "Associate", "Revoke")


class Told(Silent):
    """What a person sees."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def writes(region: Ec2) -> list[str]:
    calls = (action.removeprefix("ec2:") for action in region.actions())
    return [call for call in calls if call.startswith(WRITES)]


def parts(region: Ec2) -> dict[str, list[dict[str, Any]]]:
    """All that is tagged as a network's, by kind."""
    client, ours = region.client("ec2"), [{"Name": f"tag:{names.KIND}", "Values": ["network"]}]
    return {
        "vpcs": client.describe_vpcs(Filters=ours)["Vpcs"],
        "gateways": client.describe_internet_gateways(Filters=ours)["InternetGateways"],
        "tables": client.describe_route_tables(Filters=ours)["RouteTables"],
        "subnets": client.describe_subnets(Filters=ours)["Subnets"],
        "groups": client.describe_security_groups(Filters=ours)["SecurityGroups"],
    }


class TestANetwork:
    def test_that_is_not_there_says_so_in_order_and_looks_only(self, ec2: Ec2, empty: AwsCloud) -> None:
        ec2.calls.clear()
        assert empty.network.missing() == WHOLE
        assert writes(ec2) == [] and len(ec2.calls) == 5

    def test_is_made_from_nothing_whole_and_shut(self, ec2: Ec2, empty: AwsCloud) -> None:
        ec2.policies, told = (NETWORK,), Told()
        empty.network.complete(told)
        assert empty.network.missing() == []
        made = parts(ec2)
        assert [len(each) for each in made.values()] == [1, 1, 1, 3, 1]
        (vpc,), (gateway,), (table,), (group,) = (made[kind] for kind in ("vpcs", "gateways", "tables", "groups"))
        assert vpc["CidrBlock"] == "10.0.0.0/16" and gateway["Attachments"][0]["VpcId"] == vpc["VpcId"]
        assert ("0.0.0.0/0", gateway["InternetGatewayId"]) in [
            (route["DestinationCidrBlock"], route["GatewayId"]) for route in table["Routes"]
        ]
        assert table["Associations"][0]["Main"]
        assert group["IpPermissions"] == [] and group["VpcId"] == vpc["VpcId"]
        zones = [each["AvailabilityZone"] for each in made["subnets"]]
        assert sorted(zones) == ["us-east-2a", "us-east-2b", "us-east-2c"]
        assert len({each["CidrBlock"] for each in made["subnets"]}) == 3
        assert len(told.notes) == 7 and vpc["VpcId"] in told.notes[0]

    def test_twice_writes_nothing(self, ec2: Ec2, empty: AwsCloud) -> None:
        build_network(ec2, empty)
        ec2.policies, told = (NETWORK,), Told()
        empty.network.complete(told)
        assert writes(ec2) == [] and told.notes == []

    @pytest.mark.parametrize("done", range(11))
    @pytest.mark.parametrize("kind", ["denied", "lost"])
    def test_defect_14_that_is_half_made_is_completed(self, ec2: Ec2, empty: AwsCloud, done: int, kind: str) -> None:
        ec2.policies = (NETWORK,)
        empty.network.missing()
        ec2.fails_at(6 + done, kind, times=1 if kind == "denied" else 4)
        with pytest.raises(KitError):
            empty.network.complete(Silent())
        if kind == "denied":
            assert empty.network.missing() != []
        empty.network.complete(Silent())
        assert empty.network.missing() == []
        made = parts(ec2)
        assert [len(each) for each in made.values()] == [1, 1, 1, 3, 1]

    def test_lacks_a_right_that_is_named(self, ec2: Ec2, empty: AwsCloud) -> None:
        ec2.denied.add("ec2:CreateSubnet")
        ec2.policies = (NETWORK,)
        with pytest.raises(NotAllowed, match="CreateSubnet"):
            empty.network.complete(Silent())
        ec2.denied.clear()
        empty.network.complete(Silent())
        assert len(parts(ec2)["vpcs"]) == 1

    def test_in_a_zone_more_is_one_for_runners_all_the_same(self, ec2: Ec2, cloud: AwsCloud) -> None:
        (gone, *_) = parts(ec2)["subnets"]
        ec2.client("ec2").delete_subnet(SubnetId=gone["SubnetId"])
        assert cloud.network.missing() == [] and len(cloud.network.place().subnets) == 2
        build_network(ec2, cloud)
        assert len(cloud.network.place().subnets) == 3

    def test_leaves_anothers_subnets_their_addresses(self, ec2: Ec2, cloud: AwsCloud) -> None:
        gone, *_ = sorted(parts(ec2)["subnets"], key=lambda each: str(each["CidrBlock"]))
        client = ec2.client("ec2")
        client.delete_subnet(SubnetId=gone["SubnetId"])
        client.create_subnet(VpcId=gone["VpcId"], CidrBlock="10.0.0.0/24", AvailabilityZone="us-east-2a")
        build_network(ec2, cloud)
        ours = sorted(each["CidrBlock"] for each in parts(ec2)["subnets"])
        assert ours == ["10.0.16.0/20", "10.0.32.0/20", "10.0.48.0/20"]

    def test_of_the_same_name_that_is_not_tagged_is_none_of_ours(self, ec2: Ec2, empty: AwsCloud) -> None:
        theirs = ec2.client("ec2").create_vpc(CidrBlock="10.1.0.0/16")["Vpc"]["VpcId"]
        ec2.mark(theirs, Name="kontain-runners")
        assert empty.network.missing() == WHOLE

    def test_defect_15_has_the_name_and_the_addresses_of_the_settings(self, ec2: Ec2, cloud: AwsCloud) -> None:
        other = opened(ec2, vpc="another", range="10.9.0.0/20")
        assert other.network.missing() == ["VPC another", *WHOLE[1:]]
        build_network(ec2, other)
        assert cloud.network.missing() == [] and other.network.missing() == []
        blocks = sorted(each["CidrBlock"] for each in parts(ec2)["vpcs"])
        assert blocks == ["10.0.0.0/16", "10.9.0.0/20"]
        assert not set(cloud.network.place().subnets.values()) & set(other.network.place().subnets.values())

    def test_of_addresses_that_are_none_is_refused(self, ec2: Ec2) -> None:
        ec2.policies = (NETWORK,)
        with pytest.raises(InputError, match=r"aws\.range"):
            opened(ec2, range="10.0.0.1/16").network.complete(Silent())
        assert parts(ec2)["vpcs"] == []

    def test_defect_15_that_two_began_at_once_is_the_same_for_everybody(self, ec2: Ec2, cloud: AwsCloud) -> None:
        (vpc,) = parts(ec2)["vpcs"]
        extra = ec2.client("ec2").create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        ec2.mark(extra, **{names.KIND: "network", "Name": "kontain-runners"})
        build_network(ec2, cloud)
        assert cloud.network.missing() == []
        assert {each["VpcId"] for each in parts(ec2)["subnets"]} <= {vpc["VpcId"], extra}

    def test_that_lost_its_way_out_gets_another(self, ec2: Ec2, cloud: AwsCloud) -> None:
        (gateway,), (vpc,) = parts(ec2)["gateways"], parts(ec2)["vpcs"]
        client, known = ec2.client("ec2"), gateway["InternetGatewayId"]
        client.detach_internet_gateway(InternetGatewayId=known, VpcId=vpc["VpcId"])
        client.delete_internet_gateway(InternetGatewayId=known)
        assert cloud.network.missing() == ["internet gateway", "route to the internet"]
        build_network(ec2, cloud)
        assert cloud.network.missing() == []

    def test_without_its_group_takes_no_runner(self, ec2: Ec2, cloud: AwsCloud) -> None:
        ec2.client("ec2").delete_security_group(GroupId=cloud.network.place().group)
        with pytest.raises(NotFound, match="no network"):
            cloud.machines.create(order(ec2))
        assert cloud.network.missing() == ["security group"]


class TestTheRights:
    def test_to_make_it_are_all_needed(self, ec2: Ec2, empty: AwsCloud) -> None:
        build_network(ec2, empty)
        (gateway,), (vpc,) = parts(ec2)["gateways"], parts(ec2)["vpcs"]
        client, known = ec2.client("ec2"), gateway["InternetGatewayId"]
        client.detach_internet_gateway(InternetGatewayId=known, VpcId=vpc["VpcId"])
        client.delete_internet_gateway(InternetGatewayId=known)
        client.delete_security_group(GroupId=empty.network.place().group)
        client.delete_subnet(SubnetId=parts(ec2)["subnets"][0]["SubnetId"])
        ec2.policies = (NETWORK,)
        empty.network.complete(Silent())
        other = opened(ec2, vpc="another")
        other.network.complete(Silent())
        (statement,) = json.loads(NETWORK.read_text())["Statement"]
        assert set(statement["Action"]) <= set(ec2.actions())

    def test_to_make_it_are_not_those_of_who_starts_runners(self) -> None:
        for call in ("CreateVpc", "CreateSubnet", "CreateInternetGateway", "CreateRoute"):
            assert allowed(f"ec2:{call}", NETWORK) and not allowed(f"ec2:{call}", POLICY)
        assert not allowed("ec2:RunInstances", NETWORK) and not allowed("iam:PassRole", POLICY)
