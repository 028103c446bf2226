"""How many processors VMs may have together on EC2."""

from __future__ import annotations

import pytest

from cloud.aws.cloud import AwsCloud
from cloud.errors import InputError
from tests.cloud.aws.conftest import build_network, opened, order
from tests.fakes.ec2 import Ec2


def numbers(cloud: AwsCloud, size: str = "") -> list[tuple[int, int, int, int]]:
    return [(each.limit, each.used, each.kept, each.each) for each in cloud.quotas(size)]


def test_is_what_runs_against_the_limit_and_what_one_more_takes(ec2: Ec2, cloud: AwsCloud) -> None:
    ec2.vcpus = 9
    assert numbers(cloud) == [(9, 0, 0, 4)]
    one, _ = cloud.machines.create(order(ec2)), cloud.machines.create(order(ec2))
    (quota,) = cloud.quotas("")
    assert (quota.used, quota.short, quota.room) == (8, 3, 0)
    assert "vCPUs in us-east-2" in quota.name
    cloud.machines.stop(one)
    assert numbers(cloud) == [(9, 4, 0, 4)]  # one that is kept takes nothing


def test_counts_others_vms_of_its_kind_and_no_spot(ec2: Ec2, cloud: AwsCloud) -> None:
    client = ec2.client("ec2")
    for kind, options in (
        ("t3.small", {}),
        ("g4dn.xlarge", {}),
        ("m5.large", {"InstanceMarketOptions": {"MarketType": "spot"}}),
    ):
        client.run_instances(ImageId=ec2.base, MinCount=1, MaxCount=1, InstanceType=kind, **options)
    assert numbers(cloud) == [(10_000, 2, 0, 4)]


@pytest.mark.parametrize(("limit", "each"), [(99, 8), (7, 4), (3, 2), (1, 8)])
def test_is_that_of_the_first_type_that_fits_else_of_the_first(
    ec2: Ec2, cloud: AwsCloud, limit: int, each: int
) -> None:
    ec2.vcpus = limit
    assert numbers(cloud, "m5.2xlarge,m5.xlarge,m5.large") == [(limit, 0, 0, each)]


def test_of_a_type_that_is_none_is_refused(cloud: AwsCloud) -> None:
    with pytest.raises(InputError, match="big"):
        cloud.quotas("big")


@pytest.mark.parametrize("size", ["g4dn.xlarge", "m5.xlarge,g4dn.xlarge"])
def test_of_another_family_is_not_told(cloud: AwsCloud, size: str) -> None:
    assert cloud.quotas(size) == ()


@pytest.mark.parametrize("right", ["servicequotas:GetServiceQuota"])
def test_that_we_may_not_read_keeps_nobody_from_starting(ec2: Ec2, cloud: AwsCloud, right: str) -> None:
    ec2.denied.add(right)
    assert cloud.quotas("") == ()
    assert cloud.machines.create(order(ec2)).id


def test_that_nobody_tells_keeps_nobody_from_starting(ec2: Ec2, cloud: AwsCloud) -> None:
    ec2.fails("GetServiceQuota", "NoSuchResourceException", times=9)
    assert cloud.quotas("") == ()


def test_asks_for_a_type_once(ec2: Ec2, clock: object) -> None:
    cloud = opened(ec2)
    build_network(ec2, cloud)
    cloud.quotas("")
    cloud.machines.create(order(ec2))
    assert ec2.actions().count("ec2:DescribeInstanceTypes") == 1
