"""Whether we may do what a build does: the role in docs/policies/azure.json, against the rights that we have."""

from __future__ import annotations

import json
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from cloud.azure.session import RIGHTS, Session
from cloud.errors import NotAllowed

ROLE = Path(__file__).resolve().parents[2] / "docs" / "policies" / "azure.json"
_API = "2022-04-01"


def check(session: Session, group: str) -> None:
    """Compare the two, without doing anything ("Permissions - List For Resource Group" in its REST reference).

    Raises:
        NotAllowed: a right is missing; it is named.
    """
    scope = f"/subscriptions/{session.subscription}/resourceGroups/{group}"
    told = session.call(
        "resources",
        "resources.get_by_id",
        f"{scope}/providers/Microsoft.Authorization/permissions",
        api_version=_API,
    )
    for action in json.loads(ROLE.read_text())["Actions"]:
        if not any(_gives(permission, action) for permission in told["value"]):
            raise NotAllowed(f"Azure does not allow {action} in {group}", hint=RIGHTS)


def _gives(permission: dict[str, Any], action: str) -> bool:
    def among(key: str) -> bool:
        return any(fnmatchcase(action.lower(), right.lower()) for right in permission.get(key) or ())

    return among("actions") and not among("notActions")
