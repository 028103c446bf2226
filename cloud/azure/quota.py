"""How many processors VMs may have together: in the location, and of one family of sizes. Both must fit."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import platformdirs

from cloud import names
from cloud.azure.session import Session
from cloud.azure.settings import AzureSettings
from cloud.base import Quota, Vm
from cloud.errors import InputError, NotAllowed
from cloud.files import write_json

_ALL = "cores"
"""What Azure calls the limit of a location ("Usage - List" in its REST reference)."""


def look(
    session: Session, settings: AzureSettings, sizes: Sequence[str], vms: Callable[[], Sequence[Vm]]
) -> list[Quota]:
    """The limits that a VM of the first size counts against that fits; of the first one where none does.

    Azure counts kept VMs as well: a VM that is deallocated keeps its part ("vCPU quotas").

    Raises:
        InputError: there is none of these sizes in the location.
    """
    try:
        with ThreadPoolExecutor(3) as threads:
            asked = threads.submit(session.list, "compute", "usage.list", settings.location)
            there = threads.submit(vms)
            known = _sizes(session, settings.location, sizes)
            kept = [vm for vm in there.result() if vm.state == "stopped" and names.KEPT in vm.tags]
            used = {str(each.name.value).lower(): each for each in asked.result()}
    except NotAllowed:
        return []  # a start is not to fail because we may not see what it is about
    of_kept = [known[vm.size] for vm in kept if vm.size in known]
    found = [_of(known[size], used, of_kept) for size in sizes if size in known]
    if not found:
        raise InputError(
            f"Azure has no VMs of size {' or '.join(sizes)} in {settings.location}",
            hint="--size, or azure.runner_sizes",
        )
    return next((each for each in found if not any(quota.short for quota in each)), found[0])


def _of(size: tuple[str, int], used: dict[str, Any], kept: list[tuple[str, int]]) -> list[Quota]:
    family, cores = size
    return [
        Quota(
            name=str(used[name].name.localized_value or name),
            limit=int(used[name].limit),
            used=int(used[name].current_value),
            kept=sum(count for of, count in kept if name in (_ALL, of)),
            each=cores,
        )
        for name in (_ALL, family)
        if name in used
    ]


def _sizes(session: Session, location: str, wanted: Sequence[str]) -> dict[str, tuple[str, int]]:
    """Family and processors of each size. The list is megabytes long and a size never changes: it is kept."""
    file = platformdirs.user_cache_path("kontain") / f"azure-sizes-{location}.json"
    try:
        known = {name: (str(family), int(cores)) for name, (family, cores) in json.loads(file.read_text()).items()}
    except (OSError, ValueError, AttributeError, TypeError):
        known = {}
    if any(size not in known for size in wanted):
        told = session.list("compute", "resource_skus.list", filter=f"location eq '{location}'")
        known = {str(sku.name): _size(sku) for sku in told if sku.resource_type == "virtualMachines"}
        file.parent.mkdir(parents=True, exist_ok=True)
        write_json(file, known)
    return known


def _size(sku: Any) -> tuple[str, int]:
    cores = next((each.value for each in sku.capabilities or () if each.name == "vCPUs"), "0")
    return str(sku.family).lower(), int(cores)
