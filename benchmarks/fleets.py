"""A start on both clouds against one on the slower of them, and a reaper of thousands against the bare calls.

Both clouds, GitHub and the VMs are those of the tests, on paper: what is measured is what the toolkit adds.
"""

from __future__ import annotations

import argparse
import collections
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
from _measure import report

from cloud import names
from tests.fakes.ec2 import SECRET, USER
from tests.world import World, named, worlds

LATER = 3.0
"""Seconds by which both may be later than the slower one alone."""
REAPER = 1.5
AT_ONCE = 8


def main(aws: float, azure: float, machines: int) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as place, worlds(Path(place), aws, azure, hasty=False) as world:
        both = _seconds(lambda: _started(world, "1000", "aws", "azure"))
        slower = "aws" if aws > azure else "azure"
        alone = _seconds(lambda: _started(world, "1001", slower))
        print(f"start, boots of {aws:g} s and {azure:g} s: {both:.3f} s")
        print(f"{slower} alone: {alone:.3f} s")
        print(f"later by: {both - alone:.2f} s, to reach: {LATER:g}")
        for words in (
            ("runners.start", *named("aws", "azure")),
            ("runners.list", *named("aws", "azure")),
            ("runners.stop", *named("aws", "azure"), "--keep"),
            ("runners.stop", *named("aws", "azure"), "--destroy"),
        ):
            print(f"calls, {words[0]} {words[-1] if words[-1][:2] == '--' else ''}: {_calls(world, words)}")
    bare, ours = (_cleared(machines, act) for act in (_bare, _reaped))
    report(f"reap of {machines}", ours, "page reads and deletes alone", bare, REAPER)


def _cleared(machines: int, act: Callable[[World], None]) -> float:
    """How long it takes in a world of its own: what another one has ended would be read there too."""
    with tempfile.TemporaryDirectory() as place, worlds(Path(place)) as world:
        _expired(world, machines)
        seconds = _seconds(lambda: act(world))
        assert world.vms("aws") == []
        return seconds


def _seconds(act: Callable[[], None]) -> float:
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def _started(world: World, run: str, *clouds: str) -> None:
    ran, out = world.step("runners.start", *named(*clouds), run=run)
    assert ran.code == 0 and all(out["run-ons"].values()), ran.err


def _calls(world: World, words: tuple[str, ...]) -> str:
    """How many calls a command makes at each server."""
    servers: dict[str, list[Any]] = {"aws": world.ec2.calls, "azure": world.arm.calls, "github": world.hub.asked}
    before = {name: len(calls) for name, calls in servers.items()}
    ran, _ = world.step(*words, run="1002")
    assert ran.code == 0, ran.err
    made = collections.Counter({name: len(calls) - before[name] for name, calls in servers.items()})
    return ", ".join(f"{count} of {name}" for name, count in made.items())


def _expired(world: World, machines: int) -> None:
    """VMs whose time is over, and that the reaper has seen once."""
    past = names.moment(datetime(2020, 1, 1, tzinfo=UTC))
    tags = {
        names.KIND: "runner",
        names.LABEL: "x",
        names.EXPIRES: past,
        names.DOOMED: past,
        names.REPO: world.hub.repositories[0],
    }
    marked = [{"Key": key, "Value": text} for key, text in tags.items()]
    client = world.ec2.client("ec2")
    for count in [1000] * (machines // 1000) + [machines % 1000] * bool(machines % 1000):
        client.run_instances(
            ImageId=world.ec2.base,
            MinCount=count,
            MaxCount=count,
            InstanceType="t3.small",
            TagSpecifications=[{"ResourceType": "instance", "Tags": marked}],
        )


def _bare(world: World) -> None:
    """Read all pages of what costs, and end each VM, as many at the same time as the reaper does."""
    keys = {"aws_access_key_id": USER, "aws_secret_access_key": SECRET}
    client = boto3.client("ec2", region_name="us-east-2", endpoint_url=world.ec2.url, **keys)

    def pages(operation: str) -> list[dict[str, Any]]:
        ours = [{"Name": f"tag:{names.KIND}", "Values": ["runner"]}]
        return list(client.get_paginator(operation).paginate(Filters=ours))

    with ThreadPoolExecutor(AT_ONCE) as threads:
        kinds = ("describe_volumes", "describe_network_interfaces", "describe_security_groups")
        others = [threads.submit(pages, kind) for kind in kinds]
        told = pages("describe_instances")
        found = [each["InstanceId"] for page in told for row in page["Reservations"] for each in row["Instances"]]
        for each in others:
            each.result()
        list(threads.map(lambda instance: client.terminate_instances(InstanceIds=[instance]), found))


def _reaped(world: World) -> None:
    ran = world.run("runners.reap", "--cloud", "aws")
    assert ran.code == 0, ran.err[-500:]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--aws", type=float, default=40, help="seconds that VMs take there to be online")
    parser.add_argument("--azure", type=float, default=65)
    parser.add_argument("--machines", type=int, default=5000)
    told = parser.parse_args()
    main(told.aws, told.azure, told.machines)
