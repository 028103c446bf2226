"""One fault at each call of each verb: what it is about is done, or nothing of it is left, or it is found again."""

from __future__ import annotations

from contextlib import suppress

import pytest

from cloud import names
from cloud.azure.cloud import AzureCloud
from cloud.base import Vm
from cloud.errors import KitError
from tests.cloud.azure.conftest import RETRIED, left, opened, order
from tests.fakes.arm import KINDS, Arm

pytestmark = RETRIED

FOR_EVER = 99
"""More often than the SDK asks again."""


def whole(arm: Arm, id: str) -> bool:
    return left(arm) == [f"{id}-disk", id, f"{id}-nic", f"{id}-ip"]


@pytest.mark.parametrize("kind", ["reset", "lost", "throttled", "broken"])
@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_a_create_gets_over_what_happens_once(arm: Arm, cloud: AzureCloud, kind: str, number: int) -> None:
    arm.fails_at(number, kind)
    assert whole(arm, cloud.machines.create(order(arm)).id)


@pytest.mark.parametrize("kind", ["refused", "denied", "capacity"])
@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_a_create_that_is_refused_something_leaves_nothing_or_one_vm(
    arm: Arm, cloud: AzureCloud, kind: str, number: int
) -> None:
    arm.fails_at(number, kind)
    try:
        assert whole(arm, cloud.machines.create(order(arm)).id)
    except KitError:
        assert arm.existing() == []


VERBS = ["create", "stop", "resume", "reach", "forget", "tag", "erase"]


@pytest.mark.matrix
@pytest.mark.parametrize(
    ("number", "kind"),
    # How long nothing is said makes no difference to which call it is.
    [*((number, kind) for number in (1, 2, 3) for kind in KINDS if kind != "silent"), (2, "silent")],
)
@pytest.mark.parametrize("verb", VERBS)
def test_when_azure_is_away_from_then_on_what_there_is_is_found_again(
    arm: Arm, cloud: AzureCloud, monkeypatch: pytest.MonkeyPatch, verb: str, number: int, kind: str
) -> None:
    # The SDK asks again, and takes its time between: not here.
    monkeypatch.setattr("azure.core.pipeline.policies.RetryPolicy.get_backoff_time", lambda *_: 0)
    machines = opened(arm, timeout="1").machines if kind == "silent" else cloud.machines
    vm = None if verb == "create" else machines.create(order(arm))
    if vm and verb == "resume":
        machines.stop(vm)
    arm.fails_at(number, kind, times=FOR_EVER)
    with suppress(KitError):
        match verb, vm:
            case "create", _:
                machines.create(order(arm))
            case "forget", Vm():
                machines.forget(vm, {})
            case "tag", Vm():
                machines.tag(vm, {names.KEPT: "why", names.JOB: None})
            case _:
                getattr(machines, verb)(vm)
    arm.faults.clear()
    for found in machines.list():
        assert found.tags[names.KIND] == "runner"
        machines.erase(found)
    for half in machines.halves():
        machines.remove(half)
    assert arm.existing() == []
