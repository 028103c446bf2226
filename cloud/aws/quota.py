"""How many processors VMs may have together in the region, and how many have been taken."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from cloud.aws.catalogue import Catalogue, Type
from cloud.aws.session import Session, where
from cloud.base import Quota
from cloud.errors import InputError, KitError

_STANDARD = "L-1216C47A"
"""Service Quotas' code for "Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances", in processors."""

_OTHERS = ("dl", "hpc", "inf", "mac", "trn")
"""Families that begin like a standard one, and have limits of their own."""


class Quotas:
    """The one limit that runners meet. It counts what runs: one that is stopped takes nothing of it."""

    def __init__(self, session: Session, catalogue: Catalogue) -> None:
        self._session = session
        self._catalogue = catalogue

    def of(self, size: str) -> Sequence[Quota]:
        """The limit, for the first of the types that fits, else for the first.

        None where nobody tells us: EC2 itself refuses what is too much.

        Raises:
            InputError: there is no such type.
        """
        with ThreadPoolExecutor(3) as threads:
            types = threads.submit(self._catalogue.types, size)
            limit = threads.submit(self._limit)
            used = threads.submit(self._used)
            wanted = [each for each in types.result() if _standard(each.name)]
            if len(wanted) < len(types.result()):
                return ()  # one of another family fits perhaps, and its limit is another
            if limit.result() is None or used.result() is None:
                return ()
        found = [self._quota(each, limit.result() or 0, used.result() or 0) for each in wanted]
        return [next((quota for quota in found if not quota.short), found[0])]

    def _quota(self, each: Type, limit: int, used: int) -> Quota:
        name = f"On-Demand Standard vCPUs in {self._session.region}"
        return Quota(name, limit, used, 0, each.processors)

    def _limit(self) -> int | None:
        try:
            told = self._session.call("service-quotas", "get_service_quota", ServiceCode="ec2", QuotaCode=_STANDARD)
            return int(told["Quota"]["Value"])
        except InputError:
            raise
        except KitError:
            return None  # without the right, or where there is no such service, a start goes on

    def _used(self) -> int | None:
        try:
            rows = self._session.pages(
                "describe_instances", "Reservations", Filters=where(instance_state_name=["pending", "running"])
            )
        except InputError:
            raise
        except KitError:
            return None
        return sum(_processors(each) for row in rows for each in row["Instances"] if _counts(each))


def _processors(instance: dict[str, Any]) -> int:
    told = instance.get("CpuOptions", {})
    return int(told.get("CoreCount", 0)) * int(told.get("ThreadsPerCore", 0))


def _counts(instance: dict[str, Any]) -> bool:
    """Whether it is one of those that the limit is of: on demand, and not on a host of one's own."""
    if instance.get("InstanceLifecycle") or instance.get("Placement", {}).get("Tenancy") == "host":
        return False
    return _standard(instance["InstanceType"])


def _standard(name: str) -> bool:
    return name[0] in "acdhimrtz" and not name.startswith(_OTHERS)
