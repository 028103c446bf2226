"""What VMs of runners left when they went: interfaces, addresses, disks, and rules that let somebody into them."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from cloud import names
from cloud.azure import firewall
from cloud.azure.body import ADDRESS, DISK, INTERFACE
from cloud.azure.session import Session, missing_is_none
from cloud.azure.settings import AzureSettings
from cloud.base import Leftover
from cloud.errors import KitError

_RULE = "ssh rule of a VM that is gone"

_KINDS = {
    # In the order in which they can be removed: an interface holds its address.
    "interface of a VM that is gone": ("network", "network_interfaces", "list", INTERFACE),
    "address of a VM that is gone": ("network", "public_ip_addresses", "list", ADDRESS),
    "disk of a VM that is gone": ("compute", "disks", "list_by_resource_group", DISK),
}


def find(session: Session, settings: AzureSettings) -> list[Leftover]:
    """All of it, in the order in which it can be removed.

    A VM is there before what it consists of: what is seen before the VMs are, and is of none of them, is left.
    """
    with ThreadPoolExecutor(len(_KINDS) + 1) as threads:
        parts = {
            what: threads.submit(_listed, session, f"{service}:{group}.{verb}", settings.runner_group)
            for what, (service, group, verb, _) in _KINDS.items()
        }
        rules = threads.submit(lambda: missing_is_none(lambda: firewall.opened(session, settings)) or [])
        seen = {what: part.result() for what, part in parts.items()}
        opened = rules.result()
    vms = {str(raw.name).lower() for raw in _listed(session, "compute:virtual_machines.list", settings.runner_group)}
    left = [Leftover("azure", what, str(each.name)) for what in _KINDS for each in _of_none(what, seen[what], vms)]
    return [*left, *(Leftover("azure", _RULE, vm) for vm in opened if vm.lower() not in vms)]


def remove(session: Session, settings: AzureSettings, leftover: Leftover) -> None:
    """Remove one of them. It may be gone already.

    Raises:
        KitError: it is not gone. An interface is held for three minutes after its VM could not be made (NicReserved).
    """
    if leftover.what == _RULE:
        gone = firewall.shut(session, settings, leftover.id)
    else:
        service, group, _, _ = _KINDS[leftover.what]
        gone = session.remove(
            *(service, f"{group}.begin_delete", settings.runner_group, leftover.id),
            polling_interval=settings.runner_poll,
        )
    if not gone:
        raise KitError(f"{leftover.id} is not gone yet", hint="./inv runners.reap again")


def _listed(session: Session, where: str, group: str) -> list[Any]:
    service, _, operation = where.partition(":")
    return missing_is_none(lambda: session.list(service, operation, group)) or []


def _of_none(what: str, parts: list[Any], vms: set[str]) -> Iterator[Any]:
    """Those that are ours, and whose VM is not there."""
    end = _KINDS[what][-1]
    for part in parts:
        name = str(part.name).lower()
        ours = (part.tags or {}).get(names.KIND) == "runner" and name.endswith(end)
        # Somebody may have put the disk of one that is gone into a VM of his own.
        if ours and name.removesuffix(end) not in vms and not getattr(part, "managed_by", None):
            yield part
