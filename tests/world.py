"""All that a team has, on paper: both clouds, GitHub, VMs that are played. The toolkit runs in this process.

So a command takes a fraction of a second, and a test can put a fault at each of its calls. The SDKs, HTTP and TLS
are the real ones.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import os
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from cloud import names, wait
from tasks import _actions, ns
from tasks.__main__ import Toolkit as Program
from tests.ci import outputs
from tests.fakes import ec2_rules
from tests.fakes.arm import Arm
from tests.fakes.ec2 import POLICY, Ec2
from tests.fakes.github import REPOSITORY, Hub
from tests.fakes.guests import Paper
from tests.fakes.player import Player
from tests.toolkit import Ran

CLOUDS = ("aws", "azure")
WORDS = {"aws": "ec2", "azure": "azure"}


class Hasty(wait.Clock):
    """A clock that is ahead by all that was slept: years pass in seconds."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def now(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=self.ahead)

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead

    def sleep(self, seconds: float) -> None:
        self.ahead += seconds
        super().sleep(min(seconds, 0.02))


@dataclass
class World:
    """Both clouds with an image and a network, and GitHub."""

    home: Path
    hub: Hub
    ec2: Ec2
    arm: Arm
    player: Player
    clock: Hasty
    settings: Mapping[str, str] = field(default_factory=dict)

    def run(self, *words: str, **variables: str) -> Ran:
        """Run a command, to its end."""
        said, told = io.StringIO(), io.StringIO()
        with pytest.MonkeyPatch.context() as patched:
            for key, text in {**self.settings, **variables}.items():
                patched.setenv(key, text)
            # Actions shows ten annotations of a step: each command here is a step.
            patched.setattr(_actions, "_told", {kind: itertools.count(1) for kind in ("error", "warning")})
            with contextlib.redirect_stdout(said), contextlib.redirect_stderr(told):
                code = _ran(["inv", *words])
        return Ran(code, said.getvalue(), told.getvalue())

    def setup(self, *words: str) -> Ran:
        """Run a command as somebody who may make networks: who starts runners may not."""
        self.ec2.policies = (POLICY.with_name("aws-network.json"),)
        try:
            return self.run(*words)
        finally:
            self.ec2.policies = (POLICY,)

    def step(self, *words: str, attempt: str = "1", run: str = "4711", **variables: str) -> tuple[Ran, dict[str, Any]]:
        """A step of a workflow's run: how it ended, and what it put out."""
        output = self.home / "output"
        output.write_text("")
        ran = self.run(*words, **{**self.workflow(run, attempt), **variables})
        return ran, outputs(output.read_text())

    def workflow(self, run: str, attempt: str = "1") -> dict[str, str]:
        """What Actions gives to a step of that run."""
        return {
            "GITHUB_ACTIONS": "true",
            "GITHUB_REPOSITORY": REPOSITORY,
            "GITHUB_WORKFLOW": "KM CI Pipeline",
            "GITHUB_RUN_NUMBER": run[:4],
            "GITHUB_RUN_ID": run,
            "GITHUB_RUN_ATTEMPT": attempt,
            "GITHUB_ACTOR": "somebody",
            "GITHUB_OUTPUT": str(self.home / "output"),
            "GITHUB_STEP_SUMMARY": str(self.home / "summary"),
        }

    def vms(self, *clouds: str) -> list[dict[str, Any]]:
        """The VMs there are, as `runners.list` tells of them."""
        ran = self.run("runners.list", *named(*clouds or CLOUDS), "--json")
        assert ran.code == 0, ran.err
        return list(json.loads(ran.out))

    def there(self, run: str) -> list[dict[str, str]]:
        """What the clouds themselves know of a run's VMs: their tags, and cloud, id and state."""
        found = []
        for each in ec2_rules.instances():
            tags = ec2_rules.backend().tags[each.id]  # its own get_tags looks through all tags there are
            if each._state.name not in ("terminated", "shutting-down"):
                found.append({**tags, "cloud": "aws", "id": each.id, "state": each._state.name})
        for key, thing in self.arm.things.items():
            if re.search(r"/virtualmachines/[^/]+$", key):
                found.append(
                    {**thing["tags"], "cloud": "azure", "id": thing["name"], "state": thing.get("state", "running")}
                )
        return [each for each in found if each.get(names.RUN_ID) == run]

    def existing(self) -> list[str]:
        """All that costs anything, in both clouds."""
        return [*self.ec2.existing(), *self.arm.existing()]

    def strangers(self) -> list[str]:
        """A VM on each cloud that the system before this one left: its ids."""
        started = self.ec2.client("ec2").run_instances(ImageId=self.ec2.base, MinCount=1, MaxCount=1)
        instance = str(started["Instances"][0]["InstanceId"])
        self.ec2.mark(instance, Name="ec2-runner-KM-CI-77")
        disk = {"createOption": "FromImage", "deleteOption": "Delete"}
        properties = {"hardwareProfile": {"vmSize": "Standard_D4s_v5"}, "storageProfile": {"osDisk": disk}}
        vm = {"location": "westus", "properties": {**properties, "provisioningState": "Succeeded", "vmId": "x"}}
        return [instance, self.arm.put("virtualMachines/azure-runner-KM-CI-77", vm)]

    def later(self, **span: float) -> None:
        """Let time pass."""
        self.clock.ahead += timedelta(**span).total_seconds()

    def reaped(self) -> None:
        """Much later, and after the reaper's looks, nothing is left anywhere."""
        self.later(days=400)
        for _ in range(4):
            ran = self.run("runners.reap", *named(*CLOUDS))
            assert ran.code == 0, ran.err
            if ran.out.strip() == "nothing to reap":
                break
            self.later(hours=1)
        assert self.existing() == []
        assert [entry.name for entry in self.hub.runners if entry.version] == []


def named(*clouds: str) -> list[str]:
    """These clouds, as one types them."""
    return [word for cloud in clouds for word in ("--cloud", cloud)]


def _ran(argv: list[str]) -> int:
    try:
        Program(namespace=ns, binary="inv", binary_names=["inv"]).run(argv)
    except SystemExit as end:
        return int(end.code or 0)
    return 0


@contextlib.contextmanager
def worlds(home: Path, aws: float = 0.02, azure: float = 0.02, *, hasty: bool = True) -> Iterator[World]:
    """A world with images and networks, and nothing else in it.

    `aws` and `azure` are how many seconds VMs take there to be online. Who is not `hasty` has real time.
    """
    disk = home / "disk"
    disk.touch()
    with (
        Hub() as hub,
        Ec2(home / "ec2", disk, paper=Paper()) as ec2,
        Arm(home / "arm", disk, paper=Paper()) as arm,
        pytest.MonkeyPatch.context() as patched,
    ):
        player = Player(hub)
        for fake, boot in ((ec2, aws), (arm, azure)):
            assert fake.paper is not None
            player.plays(fake.paper, boot)
        clock = Hasty()
        if hasty:
            patched.setattr(wait, "clock", clock)
            slept = time.sleep
            # SDKs wait between two tries by themselves.
            patched.setattr(time, "sleep", lambda seconds: slept(min(seconds, 0.01)))
        settings = {
            "CI": "true",
            "HOME": str(home),
            "KM_RUNNERS__IMAGE": "MicroImage",
            "KM_RUNNERS__TIMEOUT": "10m",
            "KM_RUNNERS__POLL": "1",
            **hub.variables,
            **ec2.variables,
            **arm.variables,
        }
        world = World(home, hub, ec2, arm, player, clock, settings)
        planted(world)
        made = world.setup("runners.setup-network", *named(*CLOUDS))
        assert made.code == 0, made.err
        try:
            yield world
        finally:
            player.close()


def planted(world: World) -> None:
    """A promoted image on each cloud."""
    created = datetime.now(UTC)
    moment, build = names.moment(created), names.build_name("MicroImage", created, "aaaaaa")
    tags = {names.KIND: "image", names.IMAGE: "MicroImage", names.BUILD: build, names.CREATED: moment}
    tags |= {names.PROVEN: moment, names.PROMOTED: moment}
    world.ec2.register(build, **tags)
    place = {"location": "westus"}
    identifier = {"publisher": "kontain", "offer": "ci", "sku": "MicroImage"}
    kind = {"osType": "Linux", "osState": "Generalized", "identifier": identifier}
    world.arm.put("galleries/kontain", place)
    world.arm.put("galleries/kontain/images/MicroImage", {**place, "properties": kind})
    published = {"excludeFromLatest": False, "targetRegions": [{"name": "westus"}]}
    properties = {"publishingProfile": published, "storageProfile": {"source": {"id": "/somewhere"}}}
    version = "galleries/kontain/images/MicroImage/versions/2026.1125.1"
    world.arm.put(version, {**place, "tags": tags, "properties": properties})
    assert os.environ.get("AWS_ACCESS_KEY_ID") is None
