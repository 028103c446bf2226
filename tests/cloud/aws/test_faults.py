"""The life of a runner on EC2 with a fault at each of its calls: it goes on, or it leaves what is found and removed."""

from __future__ import annotations

import json

import pytest

from cloud import names, wait
from cloud.aws.cloud import AwsCloud
from cloud.errors import KitError
from tests.cloud.aws.conftest import Quick, order
from tests.fakes.ec2 import POLICY, Ec2


def life(region: Ec2, cloud: AwsCloud) -> list[str]:
    """All that happens to one; which steps were done."""
    done = ["quota"] if cloud.quotas("") else []
    vm = cloud.machines.create(order(region, **{names.EXPIRES: names.moment(wait.clock.now())}))
    cloud.machines.forget(vm, {})
    cloud.machines.reach(vm)
    vm = cloud.machines.tag(vm, {names.KEPT: "why", names.DOOMED: None})
    done.append(f"stopped {cloud.machines.stop(vm)}")
    vm = cloud.machines.resume(vm)
    cloud.machines.reach(vm)
    cloud.machines.boot_log(vm)
    cloud.machines.erase(vm)
    return done


def calls_of_a_life(region: Ec2, cloud: AwsCloud) -> int:
    life(region, cloud)  # types are asked for once in a process
    before = region._seen
    assert life(region, cloud) == ["quota", "stopped True"]
    return region._seen - before


def is_clean(region: Ec2, cloud: AwsCloud, clock: Quick) -> None:
    """What is left, `list` and `halves` tell of; when they have been heard nothing is."""
    clock.slept += 3600
    for vm in cloud.machines.list():
        assert vm.tags[names.KIND] == "runner" and names.EXPIRES in vm.tags
        cloud.machines.erase(vm)
    for half in cloud.machines.halves():
        cloud.machines.remove(half)
    assert region.existing() == []


ALL = ("reset", "throttled", "broken", "capacity")
KINDS = ["lost", *(pytest.param(kind, marks=pytest.mark.matrix) for kind in ALL)]


@pytest.mark.parametrize("kind", KINDS)
def test_a_fault_that_passes_is_not_noticed(ec2: Ec2, cloud: AwsCloud, clock: Quick, kind: str) -> None:
    count = calls_of_a_life(ec2, cloud)
    assert count > 20
    for number in range(1, count + 1):
        ec2.fails_at(number, kind)
        done = life(ec2, cloud)
        # Who may not know the limit goes on without it.
        assert done[-1] == "stopped True", (number, ec2.actions()[-40:])
        is_clean(ec2, cloud, clock)


@pytest.mark.parametrize("kind", ["denied", *(pytest.param(kind, marks=pytest.mark.matrix) for kind in ("refused",))])
def test_a_fault_that_stays_ends_it_with_one_line_and_leaves_what_is_found(
    ec2: Ec2, cloud: AwsCloud, clock: Quick, kind: str
) -> None:
    count = calls_of_a_life(ec2, cloud)
    for number in range(1, count + 1):
        ec2.fails_at(number, kind, times=200)
        try:
            life(ec2, cloud)
        except KitError as problem:
            assert "\n" not in problem.message  # noqa: PT017  # one that passes is as good
        ec2._at.clear()
        is_clean(ec2, cloud, clock)


@pytest.mark.parametrize("kind", ["lost", "broken"])
def test_silence_that_stays_ends_it_and_leaves_what_is_found(
    ec2: Ec2, cloud: AwsCloud, clock: Quick, kind: str
) -> None:
    count = calls_of_a_life(ec2, cloud)
    for number in range(1, count + 1, 3):
        ec2.fails_at(number, kind, times=200)
        with pytest.raises(KitError):
            life(ec2, cloud)
        ec2._at.clear()
        is_clean(ec2, cloud, clock)


def test_all_that_the_policy_gives_for_runners_is_needed(
    ec2: Ec2, cloud: AwsCloud, clock: Quick, monkeypatch: pytest.MonkeyPatch
) -> None:
    vm = cloud.machines.create(order(ec2))
    cloud.machines.reach(vm)
    monkeypatch.setattr("cloud.caller.cidr", lambda us: "192.0.2.7/32")
    cloud.machines.reach(vm)
    cloud.machines.erase(vm)
    assert life(ec2, cloud) and cloud.network.missing() == []
    subnet = next(iter(cloud.network.place().subnets.values()))
    card = ec2.client("ec2").create_network_interface(SubnetId=subnet)["NetworkInterface"]["NetworkInterfaceId"]
    ends = names.moment(wait.clock.now())
    ec2.mark(card, **{names.KIND: "runner", names.HOST_KEY: "gone", names.EXPIRES: ends})
    is_clean(ec2, cloud, clock)
    statements = {each["Sid"]: each["Action"] for each in json.loads(POLICY.read_text())["Statement"]}
    assert set(statements["Runners"]) <= set(ec2.actions())
