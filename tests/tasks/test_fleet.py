"""The fleet on the page of a run: what each of its lines says."""

from __future__ import annotations

import pytest

from cloud.base import Quota
from tasks import _fleet


def quota(used: int, kept: int = 0, limit: int = 40) -> Quota:
    return Quota(name="vCPUs", limit=limit, used=used, kept=kept, each=4)


@pytest.mark.parametrize(
    ("told", "bar"),
    [
        (quota(0), "░" * 20),
        (quota(20), "█" * 10 + "░" * 10),
        (quota(20, kept=8), "█" * 6 + "▒" * 4 + "░" * 10),
        (quota(1), "█" + "░" * 19),
        (quota(40), "█" * 20),
        (quota(60), "█" * 20),
        (quota(60, kept=60), "▒" * 20),
        (quota(0, limit=0), "░" * 20),
    ],
)
def test_a_bar_shows_what_is_used_and_how_much_of_that_by_kept_vms(told: Quota, bar: str) -> None:
    assert _fleet.bar(told) == bar


def test_a_cloud_without_vms_and_builds_says_so() -> None:
    assert _fleet.vms([], []) == "### VMs: 0"
    assert _fleet.images([]) == "### Images: 0"
    assert _fleet.reaped([], plan=True) == "### Reaper, plan only\n\nnothing to reap"
