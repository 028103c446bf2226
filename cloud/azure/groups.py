"""Resource groups of builds and proofs: each holds all that belongs to one, and goes with it."""

from __future__ import annotations

from cloud.azure.session import Session

PATIENCE = 1200.0
"""Seconds in which Azure removes a group with a VM in it."""
_AT_ONCE = "Microsoft.Compute/virtualMachines"
"""VMs in it are not shut down first ("Resource Groups - Delete", forceDeletionTypes)."""


def remove(session: Session, group: str) -> bool:
    """Remove a group and all that is in it; whether it is gone already."""
    deletion = "resource_groups.begin_delete"
    return session.remove("resources", deletion, group, force_deletion_types=_AT_ONCE, timeout=PATIENCE)
