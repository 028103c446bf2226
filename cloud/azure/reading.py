"""What Azure tells of VMs, in the words of `cloud.base`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any, Literal

from cloud import names
from cloud.azure.body import ADDRESS
from cloud.azure.session import Session, missing_is_none
from cloud.azure.settings import AzureSettings
from cloud.base import Vm
from cloud.errors import NotFound

State = Literal["starting", "running", "stopping", "stopped", "gone"]

_STATES: dict[str, State] = {
    "starting": "starting",
    "running": "running",
    "stopping": "stopping",
    "deallocating": "stopping",
    "deallocated": "stopped",
    # One that has switched itself off keeps its processors, and is billed ("States and billing of VMs").
    "stopped": "running",
    "unknown": "running",
}
_OFF = "has switched itself off, and is billed all the same"
_NETWORK_API = "2024-05-01"


def find(session: Session, settings: AzureSettings) -> list[Vm]:
    """All runners, the newest first. No call tells of tags and state at once: two are put together (list of
    "Virtual Machines" in its REST reference; azure-rest-api-specs#42411).
    """
    group = settings.runner_group
    with ThreadPoolExecutor(3) as threads:
        asked = threads.submit(
            lambda: missing_is_none(lambda: session.list("compute", "virtual_machines.list", group)) or []
        )
        states = threads.submit(statuses, session)
        addresses = threads.submit(_addresses, session, settings)
        ours = [raw for raw in asked.result() if (raw.tags or {}).get(names.KIND) == "runner"]
        known = states.result()
        # The list of states leaves out one now and then.
        late = threads.map(lambda raw: _view(session, group, raw.name), [raw for raw in ours if _key(raw) not in known])
        known |= {_key(raw): _told(raw) for raw in late if raw is not None}
        found = [
            vm(raw, known[_key(raw)], addresses.result().get(str(raw.name).lower(), ""))
            for raw in ours
            if _key(raw) in known
        ]
    return sorted((each for each in found if each.state != "gone"), key=lambda each: (each.created, each.id))[::-1]


def read(session: Session, settings: AzureSettings, name: str) -> Vm:
    """One runner as it is now.

    Raises:
        NotFound: it is gone.
    """
    with ThreadPoolExecutor(2) as threads:
        view = threads.submit(_view, session, settings.runner_group, name)
        address = threads.submit(_address, session, settings, name)
        raw = view.result()
        if raw is None:
            raise gone(name)
        return vm(raw, _told(raw), address.result())


def glance(session: Session, settings: AzureSettings, name: str) -> Vm | None:
    """The same without its address; None for one that is not there."""
    raw = _view(session, settings.runner_group, name)
    return None if raw is None else vm(raw, _told(raw), "")


def gone(name: str) -> NotFound:
    """What is said of one that is not there."""
    return NotFound(f"{name} is not there any more", hint="./inv runners.list --cloud azure")


def statuses(session: Session) -> dict[str, Sequence[Any]]:
    """What Azure says of the state of each VM of the subscription."""
    told = session.list("compute", "virtual_machines.list_all", status_only="true")
    return {_key(raw): _told(raw) for raw in told if raw.instance_view is not None}


def vm(raw: Any, told: Iterable[Any], address: str, *, name: str = "") -> Vm:
    """A VM out of its two halves: its description, and what is said of its state."""
    state, reason = _state(str(raw.provisioning_state or ""), told)
    size = raw.hardware_profile.vm_size  # the SDK has words of its own for some of them
    return Vm(
        cloud="azure",
        id=str(raw.name),
        name=name or str(raw.name).rpartition("-")[0],
        state=state,
        address=address if state in ("starting", "running") else "",
        size=str(getattr(size, "value", size)),
        created=(raw.time_created or datetime.fromtimestamp(0, UTC)).astimezone(UTC),
        tags=dict(raw.tags or {}),
        reason=reason,
    )


def _state(provisioning: str, told: Iterable[Any]) -> tuple[State, str]:
    power, reason = "", ""
    for each in told:
        kind, _, word = str(each.code).partition("/")
        if kind == "PowerState":
            power = word
        elif kind == "ProvisioningState" and word.lower().startswith("failed"):
            code = word.partition("/")[2] or "ProvisioningFailed"
            reason = f"{code}: {each.message}" if each.message else code
    if provisioning == "Deleting":
        return "gone", reason
    if power == "stopped":
        return "running", _OFF
    if power:
        # One that runs although its agent did not answer in time is a runner if it says so at GitHub.
        return _STATES.get(power, "running"), reason
    return ("stopped", reason or "ProvisioningFailed") if provisioning == "Failed" else ("starting", reason)


def _view(session: Session, group: str, name: str) -> Any:
    return missing_is_none(lambda: session.call("compute", "virtual_machines.get", group, name, expand="instanceView"))


def _told(raw: Any) -> Sequence[Any]:
    return (raw.instance_view.statuses if raw.instance_view is not None else None) or ()


def _key(raw: Any) -> str:
    return str(raw.id).lower()


def _addresses(session: Session, settings: AzureSettings) -> dict[str, str]:
    path = f"resourceGroups/{settings.runner_group}/providers/Microsoft.Network/publicIPAddresses"
    found = missing_is_none(lambda: session.pages(path, _NETWORK_API)) or []
    return {
        each["name"].lower().removesuffix(ADDRESS): each.get("properties", {}).get("ipAddress", "") for each in found
    }


def _address(session: Session, settings: AzureSettings, name: str) -> str:
    group = f"/subscriptions/{session.subscription}/resourceGroups/{settings.runner_group}"
    path = f"{group}/providers/Microsoft.Network/publicIPAddresses/{name}{ADDRESS}"
    found: Any = missing_is_none(
        lambda: session.call("resources", "resources.get_by_id", path, api_version=_NETWORK_API)
    )
    return str((found.properties or {}).get("ipAddress", "")) if found is not None else ""
