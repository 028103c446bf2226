"""Limits of Azure: of the location, and of a family of sizes."""

from __future__ import annotations

import platformdirs
import pytest

from cloud import names
from cloud.azure.cloud import AzureCloud
from cloud.base import Quota
from cloud.errors import InputError
from tests.cloud.azure.conftest import opened, order
from tests.fakes.arm import Arm

D4, D8, V3 = "Standard_D4s_v5", "Standard_D8s_v5", "Standard_D4s_v3"
SKUS = "Microsoft.Compute/skus/read"


def numbers(quotas: list[Quota]) -> list[tuple[str, int, int, int, int]]:
    return [(each.name, each.limit, each.used, each.kept, each.each) for each in quotas]


def test_are_those_of_the_location_and_of_the_family(arm: Arm, cloud: AzureCloud) -> None:
    arm.families["standardDSv5Family"] = 8
    cloud.machines.create(order(arm))
    assert numbers(list(cloud.quotas(""))) == [
        ("Total Regional vCPUs", 10, 4, 0, 4),
        ("standardDSv5Family vCPUs", 8, 4, 0, 4),
    ]
    assert [quota.room for quota in cloud.quotas("")] == [1, 1]


def test_count_kept_vms_which_azure_counts_too(arm: Arm, cloud: AzureCloud) -> None:
    arm.cores = 20
    kept, other, _ = (cloud.machines.create(order(arm, size=size)) for size in (D4, V3, D4))
    for vm in (kept, other):
        cloud.machines.tag(vm, {names.KEPT: "a job failed"})
        cloud.machines.stop(vm)
    assert numbers(list(cloud.quotas(D4))) == [
        ("Total Regional vCPUs", 20, 12, 8, 4),
        ("standardDSv5Family vCPUs", 20, 8, 4, 4),
    ]


def test_are_of_the_first_size_that_fits_else_of_the_first(arm: Arm, cloud: AzureCloud) -> None:
    arm.families["standardDSv5Family"] = 0
    assert [each.name for each in cloud.quotas(f"{D4},{V3}")][1] == "standardDSv3Family vCPUs"
    arm.families["standardDSv3Family"] = 0
    assert [each.name for each in cloud.quotas(f"{D4},{V3}")][1] == "standardDSv5Family vCPUs"
    assert [each.short for each in cloud.quotas(D8)] == [0, 8]


def test_are_read_over_several_pages(arm: Arm, cloud: AzureCloud) -> None:
    arm.page = 2
    assert len(cloud.quotas(V3)) == 2


def test_look_at_the_long_list_of_sizes_once(arm: Arm, cloud: AzureCloud) -> None:
    cloud.quotas("")
    opened(arm).quotas(V3)
    assert arm.actions().count(SKUS) == 1


def test_read_the_list_again_where_what_was_kept_is_broken(arm: Arm, cloud: AzureCloud) -> None:
    cloud.quotas("")
    (file,) = platformdirs.user_cache_path("kontain").glob("azure-sizes-*")
    for broken in ("", "[]", '{"Standard_D4s_v5": 4}', "{"):
        file.write_text(broken)
        assert len(cloud.quotas("")) == 2


@pytest.mark.parametrize("action", [SKUS, "Microsoft.Compute/locations/*/read"])
def test_are_none_without_the_right_to_see_them(arm: Arm, cloud: AzureCloud, action: str) -> None:
    arm.rights.remove(action)
    assert list(cloud.quotas("")) == []


def test_of_a_size_that_is_not_there_there_are_none(arm: Arm, cloud: AzureCloud) -> None:
    with pytest.raises(InputError, match="Standard_X9"):
        cloud.quotas("Standard_X9")
    assert len(cloud.quotas(f"Standard_X9,{D4}")) == 2
