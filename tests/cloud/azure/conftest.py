"""A subscription with an image, and a network for runners; the cloud as a command sees it."""

from __future__ import annotations

import copy
import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cloud import names, userdata, wait
from cloud.azure.cloud import AzureCloud
from cloud.base import Image, Order
from cloud.progress import Silent
from tasks import _settings
from tests.fakes.arm import Arm
from tests.fakes.guests import Paper

RUNNERS = "kontain-runners"
RETRIED = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
"""For tests in which the SDK asks again: it forgets to close the connection of an answer that it has not read."""


@pytest.fixture(autouse=True)
def _forgotten() -> Iterator[None]:
    """What the SDK forgot to close ends with its test, and not in the midst of another one."""
    yield
    gc.collect()
    gc.freeze()  # what stays is looked at once: the SDKs' modules are most of it, and each look took longer than a test


@pytest.fixture
def arm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Arm]:
    """A subscription with nothing in it but the resource group of the images; its VMs are on paper."""
    (tmp_path / "disk").touch()
    with Arm(tmp_path / "arm", tmp_path / "disk", paper=Paper(), pace="") as subscription:
        for key, text in subscription.variables.items():
            monkeypatch.setenv(key, text)
        yield subscription
    assert subscription.refused == []


def opened(arm: Arm, own: str = "", **settings: str) -> AzureCloud:
    """The cloud with these settings, those of a file first: `opened(arm, runner_disk="64")`."""
    file = arm.folder / "settings.toml"
    file.write_text(own)
    changed = {f"KM_AZURE__{key.upper()}": text for key, text in settings.items()}
    told = _settings.load({**arm.variables, "KM_AZURE__RUNNER_POLL": "0.05", **changed}, file)
    return AzureCloud(told.azure, told.caller)


@pytest.fixture
def empty(arm: Arm) -> AzureCloud:
    """The cloud, without a network for runners."""
    return opened(arm)


@pytest.fixture
def cloud(arm: Arm, empty: AzureCloud) -> AzureCloud:
    """The cloud, with a network for runners."""
    if not _made:
        empty.network.complete(Silent())
        _made.update(copy.deepcopy(arm.things))
        arm.calls.clear()
    arm.things = copy.deepcopy(_made)
    return empty


_made: dict[str, Any] = {}
"""What is there with a network, made once: it is the same each time, and took longer than most tests."""


def image(arm: Arm) -> Image:
    """A version in the gallery."""
    made = arm.put("galleries/kontain/images/MicroImage/versions/2026.1101.120000", {"location": "westus"})
    return Image("azure", "MicroImage", "MicroImage-1", made, 0, wait.clock.now())


def order(arm: Arm, size: str = "", **tags: str) -> Order:
    """A runner, whose user data has a token in it."""
    data = userdata.login("kontain", []) | {"write_files": [{"path": "/etc/told", "content": "a-token"}]}
    return Order("azure-runner-CI-7", image(arm), size, "kontain", data, {names.KIND: "runner", **tags})


def writes(arm: Arm) -> list[str]:
    """The calls that changed something, in order."""
    return [action for action in arm.actions() if not action.endswith(("/read", "DiagnosticsData/action"))]


def left(arm: Arm) -> list[str]:
    """All that is billed or lets somebody in, by its name."""
    return [each.rpartition("/")[2] for each in arm.existing()]
