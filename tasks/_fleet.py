"""The fleet, as the page of a workflow's run shows it: VMs, how much of each limit is used, images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tasks import _images, _report, _runners, _vms

if TYPE_CHECKING:
    from cloud.base import Quota
    from tasks import _clouds, _console

_CELLS = 20


def vms(rows: Sequence[_console.Row], quotas: Sequence[_clouds.Answer[Sequence[Quota]]]) -> str:
    """The VMs, the oldest first, and below them a bar for each limit."""
    states = Counter(row["state"] for row in rows)
    told = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
    head = f"### VMs: {len(rows)}" + (f" ({told})" if told else "")
    oldest = sorted(rows, key=lambda row: str(row["created"]))
    tables = [_report.markdown(_vms.VM_COLUMNS, oldest)] if rows else []
    bars = [
        f"- {answer.cloud.name}: `{bar(quota)}` {_runners.limit(quota)}"
        for answer in quotas
        for quota in answer.value or ()
    ]
    unknown = [f"- {answer.cloud.name}: {answer.error.message}" for answer in quotas if answer.error]
    return "\n\n".join(filter(None, [head, *tables, "\n".join([*bars, *unknown])]))


def bar(quota: Quota) -> str:
    """How much of a limit is used: full cells by what runs, shaded ones by kept VMs. What is used shows."""
    used = _cells(quota.used, quota.limit)
    kept = min(used, _cells(quota.kept, quota.limit))
    return "█" * (used - kept) + "▒" * kept + "░" * (_CELLS - used)


def images(rows: Sequence[_console.Row]) -> str:
    """The builds, their age, and which one is current."""
    return f"### Images: {len(rows)}" + (f"\n\n{_report.markdown(_images.BUILD_COLUMNS, rows)}" if rows else "")


def reaped(rows: Sequence[_console.Row], *, plan: bool) -> str:
    """What the reaper has found, and done about it."""
    head = "### Reaper, plan only" if plan else "### Reaper"
    return f"{head}\n\n{_report.markdown(_vms.DUE_COLUMNS, rows) if rows else 'nothing to reap'}"


def _cells(part: int, whole: int) -> int:
    return min(_CELLS, -(-part * _CELLS // max(1, whole)))
