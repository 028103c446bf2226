"""A region with an image, and a network for runners; the cloud as a command sees it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from cloud import names, userdata, wait
from cloud.aws.cloud import AwsCloud
from cloud.base import Image, Order
from cloud.progress import Silent
from tasks import _settings
from tests.fakes.ec2 import NETWORK, POLICY, Ec2
from tests.fakes.guests import Paper


class Quick(wait.Clock):
    """A clock of which no wait takes time: what sleeps wakes at once, later."""

    def __init__(self) -> None:
        self.slept = 0.0

    def now(self) -> datetime:
        return super().now() + timedelta(seconds=self.slept)

    def monotonic(self) -> float:
        return super().monotonic() + self.slept

    def sleep(self, seconds: float) -> None:
        self.slept += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Quick:
    """Time that passes as one waits."""
    quick = Quick()
    monkeypatch.setattr("botocore.endpoint.time", SimpleNamespace(sleep=quick.sleep))
    monkeypatch.setattr(wait, "clock", quick)
    return quick


@pytest.fixture
def ec2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ec2]:
    """A region with nothing in it but Canonical's image; its VMs are on paper."""
    (tmp_path / "disk").touch()
    with Ec2(tmp_path / "ec2", tmp_path / "disk", paper=Paper()) as region:
        for key, text in region.variables.items():
            monkeypatch.setenv(key, text)
        yield region
    assert region.refused == []


def opened(region: Ec2, /, own: str = "", **settings: str) -> AwsCloud:
    """The cloud with these settings, those of a file first: `opened(ec2, poll="2", region="eu-west-1")`."""
    file = region.folder / "settings.toml"
    file.write_text(own)
    changed = {f"KM_AWS__{key.upper()}": text for key, text in settings.items()}
    told = _settings.load({**region.variables, **changed}, file)
    return AwsCloud(told.aws, told.caller)


def build_network(region: Ec2, cloud: AwsCloud) -> None:
    """Make the network of runners, as somebody who has the rights for that."""
    region.policies = (NETWORK,)
    cloud.network.complete(Silent())
    region.policies = (POLICY,)
    region.calls.clear()


@pytest.fixture
def empty(ec2: Ec2, clock: Quick) -> AwsCloud:
    """The cloud, without a network for runners."""
    return opened(ec2)


@pytest.fixture
def cloud(ec2: Ec2, empty: AwsCloud) -> AwsCloud:
    """The cloud, with a network for runners."""
    build_network(ec2, empty)
    return empty


def order(region: Ec2, size: str = "", image: str = "", **tags: str) -> Order:
    """A runner, whose user data has a token in it."""
    base = Image("aws", "MicroImage", "MicroImage-1", image or region.base, 0, wait.clock.now(), {})
    data = userdata.login("kontain", []) | {"write_files": [{"path": "/etc/told", "content": "a-token"}]}
    return Order("ec2-runner-CI-7", base, size, "kontain", data, {names.KIND: "runner", **tags})
