"""The network that runners share: from nothing, half-made, twice."""

from __future__ import annotations

import threading

import pytest

from cloud import names, wait
from cloud.azure.cloud import AzureCloud
from cloud.errors import InputError, Interrupted, NotAllowed
from cloud.progress import Silent
from tests.cloud.azure.conftest import RUNNERS, left, opened, order, writes
from tests.fakes.arm import SUBSCRIPTION, Arm

GROUP = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{RUNNERS}"
FIREWALL = f"{GROUP}/providers/Microsoft.Network/networkSecurityGroups/{RUNNERS}"
NETWORK = f"{GROUP}/providers/Microsoft.Network/virtualNetworks/{RUNNERS}"
ALL = [f"resource group {RUNNERS}", f"security group {RUNNERS}", f"virtual network {RUNNERS}"]


def complete(cloud: AzureCloud) -> None:
    cloud.network.complete(Silent())


def test_defect_10_is_made_from_nothing_with_nothing_open(arm: Arm, empty: AzureCloud) -> None:
    assert list(empty.network.missing()) == ALL
    complete(empty)
    assert list(empty.network.missing()) == []
    firewall, network = arm.things[FIREWALL.lower()], arm.things[NETWORK.lower()]
    assert firewall["properties"].get("securityRules", []) == [] and left(arm) == []
    (subnet,) = network["properties"]["subnets"]
    assert network["properties"]["addressSpace"]["addressPrefixes"] == ["10.77.0.0/20"]
    assert subnet["properties"]["addressPrefix"] == "10.77.0.0/20"
    assert subnet["properties"]["networkSecurityGroup"]["id"] == FIREWALL


def test_is_tagged_as_what_it_is(arm: Arm) -> None:
    cloud = opened(arm, own='[azure]\ntags = { team = "km" }\n')
    complete(cloud)
    for path in (GROUP, FIREWALL, NETWORK):
        assert arm.things[path.lower()]["tags"] == {names.KIND: "network", "team": "km"}


def test_a_second_time_changes_nothing(arm: Arm, cloud: AzureCloud) -> None:
    complete(cloud)
    assert writes(arm) == []


def test_is_looked_at_by_three_calls(arm: Arm, cloud: AzureCloud) -> None:
    cloud.network.missing()  # and once by a question for the subscription
    arm.calls.clear()
    assert list(cloud.network.missing()) == [] and len(arm.calls) == 3


@pytest.mark.parametrize(
    ("gone", "missing"),
    [
        ((FIREWALL, NETWORK), ALL[1:]),
        ((NETWORK,), ALL[2:]),
        ((FIREWALL,), ALL[1:2]),
    ],
)
def test_that_was_half_made_is_completed(
    arm: Arm, cloud: AzureCloud, gone: tuple[str, ...], missing: list[str]
) -> None:
    for path in gone:
        del arm.things[path.lower()]
    assert list(cloud.network.missing()) == missing
    complete(cloud)
    assert list(cloud.network.missing()) == [] and len(writes(arm)) == len(missing)
    assert cloud.machines.create(order(arm)).state == "running"


def test_of_somebody_gets_a_subnet_and_keeps_what_it_has(arm: Arm, empty: AzureCloud) -> None:
    arm.put(GROUP, {"location": "westus", "tags": {"owner": "them"}})
    other = {"name": "theirs", "properties": {"addressPrefix": "10.77.8.0/24"}}
    space = {"addressSpace": {"addressPrefixes": ["10.77.0.0/16"]}, "subnets": [other]}
    arm.put(NETWORK, {"location": "westus", "properties": {**space, "provisioningState": "Succeeded"}})
    assert list(empty.network.missing()) == [ALL[1], f"subnet runners in {RUNNERS}"]
    complete(empty)
    assert list(empty.network.missing()) == []
    assert [each["name"] for each in arm.things[NETWORK.lower()]["properties"]["subnets"]] == ["theirs", "runners"]
    assert arm.things[GROUP.lower()]["tags"] == {"owner": "them"}


def test_whose_subnet_lost_its_security_group_is_shut_again(arm: Arm, cloud: AzureCloud) -> None:
    (subnet,) = arm.things[NETWORK.lower()]["properties"]["subnets"]
    del subnet["properties"]["networkSecurityGroup"]
    assert list(cloud.network.missing()) == [f"security group of the subnet runners in {RUNNERS}"]
    complete(cloud)
    assert list(cloud.network.missing()) == []


def test_whose_making_failed_is_made_again(arm: Arm, cloud: AzureCloud) -> None:
    arm.things[NETWORK.lower()]["properties"]["provisioningState"] = "Failed"
    assert list(cloud.network.missing()) == ALL[2:]
    complete(cloud)
    assert list(cloud.network.missing()) == []


def test_keeps_the_rules_of_vms_that_somebody_looks_into(arm: Arm, cloud: AzureCloud) -> None:
    vm = cloud.machines.create(order(arm))
    cloud.machines.reach(vm)
    complete(cloud)
    assert f"ssh-{vm.id}" in left(arm)


@pytest.mark.parametrize(
    ("action", "made"),
    [
        ("Microsoft.Resources/subscriptions/resourceGroups/write", 0),
        ("Microsoft.Network/networkSecurityGroups/write", 1),
        ("Microsoft.Network/virtualNetworks/write", 2),
    ],
)
def test_names_the_right_that_is_missing_and_goes_on_from_there(
    arm: Arm, empty: AzureCloud, action: str, made: int
) -> None:
    arm.rights.remove(action)
    with pytest.raises(NotAllowed, match=action):
        complete(empty)
    assert list(empty.network.missing()) == ALL[made:]
    arm.rights.append(action)
    complete(empty)
    assert list(empty.network.missing()) == []


def test_goes_on_from_where_it_was_stopped(arm: Arm, empty: AzureCloud) -> None:
    arm.lag = 10_000
    timer = threading.Timer(0.5, wait.interrupt)
    timer.start()
    with pytest.raises(Interrupted):
        complete(empty)
    timer.join()
    wait.resume()
    arm.lag = 1
    complete(empty)
    assert list(empty.network.missing()) == []


@pytest.mark.parametrize("told", ["10.77.0.0", "everything", "10.77.0.0/20 ", "::/0"])
def test_a_range_that_is_none_is_refused_as_a_setting(arm: Arm, told: str) -> None:
    with pytest.raises(InputError, match=r"azure\.range"):
        opened(arm, range=told)


@pytest.mark.parametrize("told", ["10.77.0.1/20", "300.1.1.1/20", "10.0.0.0/40"])
def test_a_range_that_is_none_makes_nothing(arm: Arm, told: str) -> None:
    with pytest.raises(InputError, match=r"azure\.range"):
        complete(opened(arm, range=told))
    assert writes(arm) == []
