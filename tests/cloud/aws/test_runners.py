"""What starts, stops and reaps runners, over EC2: no part of it knows which cloud it is."""

from __future__ import annotations

from datetime import timedelta

import pytest

from cloud import keep, names, runners, ssh, wait
from cloud.aws.cloud import AwsCloud
from cloud.base import Vm
from cloud.errors import Interrupted, NotFound, TemporaryError, TimedOut
from cloud.progress import Silent
from cloud.runners import NotReady
from tests.cloud.aws.conftest import Quick
from tests.fakes.ec2 import Ec2

RUN = names.Run("kontainapp/km", "CI" * 40, "7", "1234567", "1")


def wanted(**changes: object) -> runners.Wanted:
    told: dict[str, object] = {
        "run": RUN,
        "image": "MicroImage",
        "user": "kontain",
        "keys": (),
        "ttl": timedelta(hours=6),
        "timeout": timedelta(minutes=10),
        "size": {},
    }
    return runners.Wanted(**{**told, **changes})  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def _image(ec2: Ec2, cloud: AwsCloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """An image, and VMs that let everybody in who has opened their door."""
    ec2.register("MicroImage")
    monkeypatch.setattr(ssh, "answers", lambda machine: None)
    monkeypatch.setattr(ssh, "run", lambda machine, command, **options: None)


def start(cloud: AwsCloud, **changes: object) -> Vm:
    plan = runners.plan(wanted(**changes), cloud, None)
    return runners.start(plan, cloud, None, Silent()).vm


def test_a_run_has_a_vm_that_is_kept_looked_into_and_reaped(ec2: Ec2, cloud: AwsCloud, clock: Quick) -> None:
    vm = start(cloud)
    assert vm.state == "running" and [each.id for each in runners.of_run(RUN, cloud)] == [vm.id]
    assert len(vm.name) <= 56 and vm.tags[names.LABEL] == names.label("aws", RUN)
    stopped = runners.stop(vm, keep.Verdict(True, "a test failed"), timedelta(days=7), cloud, None, Silent())
    assert stopped.kept and stopped.vm.state == "stopped" and stopped.vm.tags[names.KEPT] == "a test failed"
    looked_into = runners.resume(stopped.vm, timedelta(hours=4), cloud)
    assert looked_into.state == "running"
    clock.slept += 5 * 3600
    (due,) = runners.due(cloud.machines.list(), timedelta(minutes=10))
    assert due.what == "stop"
    runners.reap(due, cloud, None)
    assert cloud.machines.read(vm).state == "stopped"
    clock.slept += 8 * 86400
    (due,) = runners.due(cloud.machines.list(), timedelta(minutes=10))
    assert due.what == "erase"
    runners.reap(due, cloud, None)
    assert ec2.existing() == [] and cloud.machines.list() == []


def test_a_start_again_ends_what_the_one_before_left(ec2: Ec2, cloud: AwsCloud) -> None:
    before = start(cloud)
    plan = runners.plan(wanted(), cloud, None)
    assert [vm.id for vm in plan.halves] == [before.id] and plan.steps == ("erase", "create", "answer")
    again = runners.start(plan, cloud, None, Silent()).vm
    assert [vm.id for vm in cloud.machines.list()] == [again.id] != [before.id]


def test_a_start_without_a_network_is_refused_with_what_is_missing(ec2: Ec2, cloud: AwsCloud) -> None:
    ec2.client("ec2").delete_security_group(GroupId=cloud.network.place().group)
    with pytest.raises(NotFound, match="there is no security group") as refused:
        runners.plan(wanted(), cloud, None)
    assert "setup-network --cloud aws" in refused.value.hint


def test_a_start_without_room_tells_the_numbers_and_an_eviction_is_no_help(ec2: Ec2, cloud: AwsCloud) -> None:
    ec2.vcpus = 3
    plan = runners.plan(wanted(), cloud, None)
    assert "make room" in plan.steps
    with pytest.raises(TemporaryError, match="0 of 3 On-Demand Standard vCPUs in us-east-2 are used"):
        runners.start(plan, cloud, None, Silent())
    assert ec2.existing() == []


def test_a_start_waits_for_room(ec2: Ec2, cloud: AwsCloud, clock: Quick) -> None:
    ec2.vcpus = 4
    other = start(cloud)
    plan = runners.plan(
        wanted(run=names.Run("a/b", "CI", "8", "2", "1"), wait_quota=timedelta(minutes=20)), cloud, None
    )
    sleep = clock.sleep

    def ends_meanwhile(seconds: float) -> None:
        cloud.machines.erase(other)
        sleep(seconds)

    clock.sleep = ends_meanwhile  # type: ignore[method-assign]
    assert runners.start(plan, cloud, None, Silent()).vm.id != other.id


def test_a_vm_that_never_answers_is_taken_back(ec2: Ec2, cloud: AwsCloud, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(machine: object) -> None:
        wait.until(lambda: None, what="ssh", timeout=60)

    monkeypatch.setattr(ssh, "answers", never)
    monkeypatch.setattr(ec2.guests, "console", lambda name: "kontain: failed: checksum\n")
    with pytest.raises(NotReady, match="another checksum"):
        start(cloud)
    assert ec2.existing() == []


def test_a_start_that_is_interrupted_is_taken_back_without_a_look_at_its_console(
    ec2: Ec2, cloud: AwsCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(machine: object) -> None:
        wait.interrupt()
        wait.pause(1)

    monkeypatch.setattr(ssh, "answers", stopped)
    with pytest.raises(Interrupted):
        start(cloud)
    assert ec2.existing() == [] and "ec2:GetConsoleOutput" not in ec2.actions()


@pytest.mark.parametrize("ran", [False, True])
def test_a_resume_that_nobody_answers_stops_the_vm_again_if_it_was_stopped(
    ec2: Ec2, cloud: AwsCloud, monkeypatch: pytest.MonkeyPatch, ran: bool
) -> None:
    vm = runners.stop(start(cloud), keep.asked(True), timedelta(days=7), cloud, None, Silent()).vm
    if ran:
        vm = runners.resume(vm, timedelta(hours=4), cloud)

    def never(machine: object) -> None:
        wait.until(lambda: None, what="ssh", timeout=60)

    monkeypatch.setattr(ssh, "answers", never)
    with pytest.raises(TimedOut, match="ssh"):
        runners.resume(vm, timedelta(hours=4), cloud)
    assert cloud.machines.read(vm).state == ("running" if ran else "stopped")
    doors = [each for each in ec2.existing() if each.startswith("sg-")]
    assert len(doors) == ran and names.KEPT in cloud.machines.read(vm).tags
