"""Resource groups of builds and proofs: each holds all that belongs to one, and goes with it."""

from __future__ import annotations

from cloud import wait
from cloud.azure.session import Session, missing_is_none
from cloud.errors import TimedOut

PATIENCE = 1200.0
"""Seconds in which Azure removes a group with a VM in it."""
_AT_ONCE = "Microsoft.Compute/virtualMachines"
"""VMs in it are not shut down first ("Resource Groups - Delete", forceDeletionTypes)."""


def remove(session: Session, group: str) -> bool:
    """Remove a group and all that is in it; whether it is gone already."""
    deletion = ("resources", "resource_groups.begin_delete", group)
    try:
        missing_is_none(lambda: session.call(*deletion, force_deletion_types=_AT_ONCE, timeout=PATIENCE))
    except TimedOut:
        return False
    return not wait.interrupted()
