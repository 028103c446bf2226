"""Runners on AWS and Azure at once: what a workflow sees of them, and what becomes of them in days and weeks."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cloud import names, ssh
from cloud.errors import TimedOut
from cloud.local.store import Store
from tests.fakes.ec2 import SECRET
from tests.fakes.github import ACTIONS
from tests.toolkit import Ran, Toolkit
from tests.world import CLOUDS, World, named, worlds

BOTH = named(*CLOUDS)
START = ("runners.start", *BOTH)
STOP = ("runners.stop", *BOTH)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with worlds(tmp_path) as made:
        yield made
        assert made.ec2.refused == [] and made.arm.refused == []


def started(world: World, *words: str, **told: str) -> dict[str, str]:
    """The labels of runners that are online on both clouds."""
    ran, out = world.step(*START, *words, **told)
    assert ran.code == 0, ran.err
    assert all(out["run-ons"].values()), ran.err
    return dict(out["run-ons"])


class TestAStart:
    def test_makes_a_runner_on_each_cloud_and_puts_out_its_label(self, world: World) -> None:
        labels = started(world)
        assert set(labels) == {"ec2", "azure"}
        assert labels["ec2"].startswith("ec2-runner-KM-CI-Pipeline-4711-")
        assert sorted(vm["label"] for vm in world.vms()) == sorted(labels.values())
        assert sorted(label for entry in world.hub.runners for label in entry.labels if "runner" in label) == sorted(
            labels.values()
        )

    @pytest.mark.parametrize("by_hand", [False, True])
    def test_whose_vm_ec2_takes_back_for_want_of_room_gets_one_in_the_next_place(
        self, world: World, by_hand: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # Nobody answers ssh on paper.
        monkeypatch.setattr(ssh, "answers", lambda machine: None)
        monkeypatch.setattr(ssh, "run", lambda machine, remote, **_: None)
        world.ec2.dies = ("Server.InsufficientInstanceCapacity", "Insufficient capacity to satisfy instance request")
        ran = world.run("runners.start", "--cloud", "aws", "--no-register", "--name", "mine") if by_hand else None
        if not ran:
            ran, out = world.step("runners.start", "--cloud", "aws")
            assert out["run-ons"]["ec2"] in [label for entry in world.hub.runners for label in entry.labels]
        assert ran.code == 0 and "there was no room after all: m8i.xlarge in us-east-2" in ran.err, ran.err
        asked = [
            (given["InstanceType"], given["NetworkInterface.1.SubnetId"]) for given in world.ec2.given("RunInstances")
        ]
        assert len(asked) == len(set(asked)) == 2
        assert len(world.vms("aws")) == 1 and len(world.hub.runners) == (0 if by_hand else 1)

    def test_whose_vm_ec2_takes_back_for_another_reason_has_failed(self, world: World) -> None:
        world.ec2.dies = ("Client.VolumeLimitExceeded", "Volume limit exceeded")
        ran, _ = world.step("runners.start", "--cloud", "aws")
        assert ran.code == 1 and "Volume limit exceeded" in ran.err
        assert world.existing() == []

    @pytest.mark.parametrize("broken", ["ec2", "azure"])
    def test_defect_2_that_fails_on_one_cloud_leaves_the_other_ones_runner_and_nothing_of_its_own(
        self, world: World, broken: str
    ) -> None:
        world.player.broken = {f"{broken}-runner"}
        ran, out = world.step(*START)
        assert ran.code == 0
        other = {"ec2": "azure", "azure": "ec2"}[broken]
        assert out["run-ons"][broken] == "" and out["run-ons"][other] != ""
        assert out["status"][broken]["state"] == "failed" and "online" in out["status"][broken]["reason"]
        assert f"::warning title=no runner on {'aws' if broken == 'ec2' else 'azure'}::" in ran.err
        assert [vm["label"] for vm in world.vms()] == [out["run-ons"][other]]

    def test_defect_3_whose_vm_azure_refuses_at_the_last_moment_leaves_nothing_there(self, world: World) -> None:
        quota = "exceeding approved Total Regional Cores quota. Current Limit: 50, Current Usage: 50"
        world.arm.fails("Microsoft.Compute/virtualMachines/write", "OperationNotAllowed", 409, times=9, message=quota)
        ran, out = world.step(*START)
        assert ran.code == 0 and out["run-ons"]["azure"] == "" and "quota" in out["status"]["azure"]["reason"]
        assert world.arm.existing() == [] and [vm["cloud"] for vm in world.vms()] == ["aws"]

    @pytest.mark.parametrize(("code", "status"), [("UnauthorizedOperation", 403), ("RequestLimitExceeded", 503)])
    def test_whose_console_nobody_may_read_tells_why_it_failed_and_leaves_nothing(
        self, world: World, code: str, status: int
    ) -> None:
        world.ec2.fails("GetConsoleOutput", code, status, times=9999)
        world.player.broken = {"ec2-runner"}
        ran, out = world.step("runners.start", "--cloud", "aws", "--timeout", "30s")
        assert ran.code == 1 and "online at GitHub: not within 30 s" in out["status"]["ec2"]["reason"], ran.err
        assert "left behind: nothing" in ran.err and world.existing() == []

    def test_whose_console_nobody_may_read_is_ready_as_any_other(self, world: World) -> None:
        assert world.ec2.paper is not None
        world.player.plays(world.ec2.paper, 0.5)  # there is time to look at it before
        world.ec2.fails("GetConsoleOutput", "UnauthorizedOperation", 403, times=9999)
        started(world)
        assert "ec2:GetConsoleOutput" in world.ec2.actions()

    def test_defect_24_gives_no_later_step_of_its_job_a_key(self, world: World, tmp_path: Path) -> None:
        environment, path = tmp_path / "environment", tmp_path / "path"
        ran, _ = world.step(*START, GITHUB_ENV=str(environment), GITHUB_PATH=str(path))
        assert ran.code == 0 and not environment.exists() and not path.exists()
        told = ran.out + ran.err + (world.home / "output").read_text()
        assert SECRET not in told

    def test_defect_30_takes_no_resource_group_of_its_own_and_its_vm_has_the_name_that_is_told(
        self, world: World
    ) -> None:
        before = {key for key in world.arm.things if "/providers/" not in key}
        started(world)
        started(world, run="4712")
        assert {key for key in world.arm.things if "/providers/" not in key} == before
        names_told = [vm["id"] for vm in world.vms("azure")]
        assert len(names_told) == 2
        assert all(each.startswith("azure-runner-KM-CI-Pipeline-471") for each in names_told)

    def test_that_is_to_be_reached_from_somewhere_opens_its_port_for_that_alone(self, world: World) -> None:
        began = len(world.ec2.calls)
        started(world, "--ssh-cidr", "203.0.113.0/24")
        opened = [told for call, told in world.ec2.calls[began:] if call == "ec2:AuthorizeSecurityGroupIngress"]
        assert [told["IpPermissions.1.IpRanges.1.CidrIp"] for told in opened] == ["203.0.113.0/24"]
        (rule,) = [thing for key, thing in world.arm.things.items() if "/securityrules/" in key]
        assert rule["properties"]["sourceAddressPrefix"] == "203.0.113.0/24"
        assert world.step(*STOP, "--destroy")[0].code == 0
        assert world.existing() == []

    def test_that_is_there_is_reached_from_somewhere_too(self, world: World) -> None:
        started(world)
        ran = world.run(*START, "--ssh-cidr", "203.0.113.7/32", "--plan", "--json", **world.workflow("4711"))
        assert [row["steps"] for row in ran.json] == [["open ssh"]] * 2
        started(world, "--ssh-cidr", "203.0.113.7/32")
        assert len([key for key in world.arm.things if "/securityrules/" in key]) == 1

    def test_from_what_is_no_network_makes_nothing(self, world: World) -> None:
        ran = world.run(*START, "--no-register", "--ssh-cidr", "203.0.113.7/8")
        assert ran.code == 2 and "--ssh-cidr 203.0.113.7/8 is no network" in ran.err and world.existing() == []

    def test_that_fails_on_one_cloud_fails_where_all_are_required(self, world: World) -> None:
        world.player.broken = {"azure-runner"}
        ran, out = world.step(*START, "--require", "all")
        assert ran.code == 3 and out["run-ons"]["ec2"] != ""

    def test_of_whose_right_one_is_missing_says_which_and_makes_nothing(self, world: World) -> None:
        ran, out = world.step(*START, GH_TOKEN=ACTIONS)
        assert ran.code == 4 and "administration" in ran.err.lower()
        assert out["run-ons"] == {"ec2": "", "azure": ""} and world.existing() == []

    def test_again_changes_nothing_also_in_a_later_attempt(self, world: World) -> None:
        labels, before = started(world), world.existing()
        assert started(world, attempt="2") == labels
        assert world.existing() == before

    def test_without_a_network_says_how_to_make_one(self, world: World) -> None:
        ran, out = world.step("runners.start", "--cloud", "aws", KM_AWS__VPC="elsewhere")
        assert ran.code == 2 and "there is no VPC elsewhere" in ran.err
        assert "hint: ./inv runners.setup-network --cloud aws" in ran.err and out["run-ons"] == {"ec2": ""}
        assert world.existing() == []

    def test_by_hand_needs_no_github(self, world: World) -> None:
        calls = len(world.hub.calls)
        ran = world.run(*START, "--no-register", "--plan", "--json")
        assert ran.code == 0 and [row["steps"] for row in ran.json] == [["create", "answer"]] * 2, ran.err
        assert len(world.hub.calls) == calls


class TestAStop:
    def test_keeps_the_vm_of_the_cloud_whose_job_failed_and_that_one_alone(self, world: World) -> None:
        labels = started(world)
        for cloud, conclusion in (("ec2", "failure"), ("azure", "success")):
            world.hub.add_job(f"test-{cloud}", conclusion, labels=[labels[cloud]], run=4711)
        ran, _ = world.step(*STOP)
        assert ran.code == 0, ran.err
        (vm,) = world.vms()
        assert (vm["label"], vm["state"]) == (labels["ec2"], "stopped") and vm["kept"].startswith("job test-ec2 failed")
        assert world.hub.runners == []

    def test_twice_changes_nothing(self, world: World) -> None:
        started(world)
        assert world.step(*STOP, "--keep")[0].code == 0
        before = [(vm["id"], vm["state"]) for vm in world.vms()]
        assert world.step(*STOP, "--keep")[0].code == 0
        assert [(vm["id"], vm["state"]) for vm in world.vms()] == before

    @pytest.mark.parametrize("away", ["ec2", "azure"])
    def test_while_one_cloud_is_away_does_the_others_part(self, world: World, away: str) -> None:
        started(world)
        if away == "ec2":
            world.ec2.fails("DescribeInstances", "InternalError", 500, times=99)
        else:
            world.arm.fails("Microsoft.Compute/virtualMachines/read", "ServiceUnavailable", 503, times=99)
        ran, _ = world.step(*STOP, "--destroy")
        assert ran.code in (3, 5), ran.err
        world.ec2.faults.clear()
        world.arm.faults.clear()
        assert [vm["cloud"] for vm in world.vms()] == [{"ec2": "aws", "azure": "azure"}[away]]


class TestALaterAttempt:
    """What becomes of the VM that the first one has kept, when the second one's jobs came to that."""

    def ended(self, world: World, conclusion: str, *between: str) -> dict[str, str]:
        """States of the VMs by id, after the second attempt, of which the first VM is the kept one."""
        label = started(world)["ec2"]
        world.hub.add_job("test", "failure", labels=[label], run=4711)
        assert world.step("runners.stop", "--cloud", "aws")[0].code == 0
        (self.kept,) = world.vms("aws")
        if between:
            assert world.run(*between[:1], "--cloud", "aws", "4711", *between[1:]).code == 0
        (self.before,) = world.vms("aws")
        assert world.step("runners.start", "--cloud", "aws", attempt="2")[1]["run-ons"]["ec2"] == label
        world.hub.add_job("test", conclusion, labels=[label], run=4711, attempt=2)
        ran, _ = world.step("runners.stop", "--cloud", "aws", attempt="2")
        assert ran.code == 0, ran.err
        return {vm["id"]: vm["state"] for vm in world.vms("aws")}

    def test_defect_26_that_went_well_ends_it(self, world: World) -> None:
        assert self.ended(world, "success") == {}

    def test_that_was_cancelled_leaves_it_as_it_is(self, world: World) -> None:
        assert self.ended(world, "cancelled") == {self.kept["id"]: "stopped"}
        assert world.vms("aws") == [self.before]

    @pytest.mark.parametrize("conclusion", ["success", "failure"])
    def test_leaves_it_as_it_is_where_somebody_has_extended_it(self, world: World, conclusion: str) -> None:
        assert self.ended(world, conclusion, "runners.extend", "20d")[self.kept["id"]] == "stopped"
        assert self.before in world.vms("aws") and self.before["expires"] > self.kept["expires"]

    @pytest.mark.parametrize("conclusion", ["success", "failure"])
    def test_leaves_it_as_it_is_where_somebody_is_in_it(
        self, world: World, monkeypatch: pytest.MonkeyPatch, conclusion: str
    ) -> None:
        monkeypatch.setattr(ssh, "answers", lambda machine: None)
        monkeypatch.setattr(ssh, "run", lambda machine, remote, **_: None)
        assert self.ended(world, conclusion, "runners.resume")[self.kept["id"]] == "running"
        assert self.before in world.vms("aws")
        assert world.step(*STOP, "--destroy")[0].code == 0  # who asks for that gets it
        assert world.vms("aws") == []

    def test_ends_it_where_it_was_extended_before_it_was_kept(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(ssh, "run", lambda machine, remote, **_: None)
        started(world)
        assert world.run("runners.extend", *BOTH, "4711", "1h").code == 0
        assert self.ended(world, "success") == {}


class TestWhatFails:
    """Whatever it was, the last line says what there still is, having looked."""

    @pytest.mark.parametrize("words", [("runners.resume", *BOTH, "4711"), ("runners.ssh", "--cloud", "aws", "4711")])
    def test_of_a_resume_leaves_the_vms_stopped_and_says_until_when_they_stay(
        self, world: World, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
    ) -> None:
        def never(machine: object) -> None:
            raise TimedOut("ssh: not within 180 s")

        started(world)
        assert world.step(*STOP, "--keep")[0].code == 0
        monkeypatch.setattr(ssh, "answers", never)
        ran = world.run(*words)
        assert ran.code == 1 and "ssh: not within 180 s" in ran.err
        last = ran.err.splitlines()[-1]
        assert last.startswith("left behind: ") and "./inv runners.reap ends it then" in last
        clouds = [word for word in words if word in CLOUDS]
        for vm in world.vms(*clouds):
            assert vm["state"] == "stopped" and f"{vm['id']} (stopped, until {vm['expires'][:10]} " in last
        assert [each for each in world.ec2.existing() if each.startswith("sg-")] == []

    def test_of_a_stop_says_that_nothing_is_left_or_what(self, world: World) -> None:
        started(world)
        world.hub.fails("* /repos/*", 502, times=99)
        ran, _ = world.step(*STOP, "--keep")
        assert ran.code == 5 and ran.err.count("(stopped, until ") == 2 == len(world.vms()), ran.err
        assert ran.err.splitlines()[-1].startswith("left behind: ")
        ran, _ = world.step(*STOP, "--destroy")
        assert ran.code == 5 and ran.err.splitlines()[-1] == "left behind: nothing"

    def test_of_a_vm_that_can_not_be_looked_at_says_that(self, world: World) -> None:
        started(world)
        (vm,) = world.vms("aws")
        world.ec2.fails_at(3, "denied", times=99)
        ran, _ = world.step("runners.stop", "--cloud", "aws", "--keep")
        assert ran.code == 4 and f"left behind: {vm['id']} (could not be looked at): " in ran.err, ran.err


class TestRoom:
    """Azure counts the processors of VMs that are kept, too."""

    def full(self, world: World) -> list[str]:
        """Kept VMs, until no more fits; their runs in the order in which their time is over."""
        for number in itertools.count(1000):
            ran, out = world.step("runners.start", "--cloud", "azure", run=str(number))
            if not out["run-ons"]["azure"]:
                assert ran.code == 5 and "--evict" in ran.err, ran.err
                return [str(each) for each in range(1000, number)]
            world.hub.add_job("test", "failure", labels=[out["run-ons"]["azure"]], run=number)
            assert world.step("runners.stop", "--cloud", "azure", run=str(number))[0].code == 0
            world.later(hours=1)
        raise AssertionError

    def test_that_is_missing_is_told_with_the_numbers(self, world: World) -> None:
        kept = self.full(world)
        assert len(kept) >= 2
        ran, _ = world.step("runners.start", "--cloud", "azure", run="2000")
        assert "of them by kept VMs, and" in ran.err and len(world.vms("azure")) == len(kept)
        listed = world.run("runners.list", *BOTH)
        assert "room for 0 more runners" in listed.out

    def test_is_made_by_the_end_of_the_one_that_would_go_next(self, world: World) -> None:
        first, *rest = self.full(world)
        ran, out = world.step("runners.start", "--cloud", "azure", "--evict", run="2000")
        assert ran.code == 0 and out["run-ons"]["azure"], ran.err
        runs = [vm["run"] for vm in world.vms("azure")]
        assert first not in runs and set(runs) == {*rest, "2000"}

    def test_is_waited_for_as_long_as_was_said(self, world: World) -> None:
        kept = self.full(world)
        before = world.clock.ahead
        ran, _ = world.step("runners.start", "--cloud", "azure", "--wait-quota", "20m", run="2000")
        assert ran.code == 5 and 1100 < world.clock.ahead - before < 1300
        assert [vm["run"] for vm in world.vms("azure")][::-1] == kept  # nobody's VM goes for it


class TestAWeek:
    def test_after_a_failed_job_its_vm_is_gone_and_not_a_day_before(self, world: World) -> None:
        started(world)
        assert world.step(*STOP, "--keep")[0].code == 0
        world.later(days=6, hours=23)
        assert world.run("runners.reap", *BOTH).out.strip() == "nothing to reap"
        world.later(hours=2)
        assert world.run("runners.reap", *BOTH).code == 0
        assert world.vms() == [] and world.existing() == []

    def test_may_be_made_longer(self, world: World) -> None:
        started(world)
        assert world.step(*STOP, "--keep")[0].code == 0
        world.later(days=6)
        assert world.run("runners.extend", *BOTH, "4711", "3d").code == 0
        world.later(days=3)
        assert world.run("runners.reap", *BOTH).out.strip() == "nothing to reap"
        world.later(days=2)
        assert world.run("runners.reap", *BOTH).code == 0
        assert world.existing() == []

    def test_of_runs_that_nobody_stops_leaves_nothing_running(self, world: World) -> None:
        for number in range(1000, 1003):
            world.step(*START, run=str(number))
        world.later(hours=7)
        assert world.run("runners.reap", *BOTH).code == 0
        assert world.vms() != []  # they run: the reaper looks twice
        world.later(minutes=30)
        assert world.run("runners.reap", *BOTH).code == 0
        assert world.existing() == [] and world.hub.runners == []


class TestTheReaper:
    def test_asks_github_for_its_list_and_for_no_runner_that_is_not_on_it(self, world: World) -> None:
        started(world)
        assert world.step(*STOP, "--keep")[0].code == 0
        world.later(days=8)
        asked = len(world.hub.asked)
        assert world.run("runners.reap", *BOTH).code == 0
        assert len(world.hub.asked) - asked == len(CLOUDS) and world.existing() == []

    def test_shows_what_the_system_before_left_and_never_touches_it(self, world: World) -> None:
        before = world.strangers()
        plan = world.run("runners.reap", *BOTH, "--plan", "--json").json
        assert sorted(row["label"] for row in plan if row["what"] == "leave alone") == [
            "azure-runner-KM-CI-77",
            "ec2-runner-KM-CI-77",
        ]
        assert "of the system before this one" in world.run("runners.list", *BOTH).out
        world.later(days=400)
        assert world.run("runners.reap", *BOTH).code == 0
        stop = world.run(*STOP, "--name", "ec2-runner-KM-CI-77", "--destroy")
        assert stop.code == 2 and "no VM is of" in stop.err
        assert set(before) <= set(world.existing())

    def test_takes_the_entry_of_a_vm_that_is_gone_and_no_other(self, world: World) -> None:
        labels = started(world)
        gone = world.hub.add_runner("gone", labels=[names.label("aws", names.Run("a/b", "X", "1", "9", "1"))])
        gone.as_told = (False, False)
        other = world.hub.add_runner("somebodys", labels=["gpu"], online=False)
        young = world.hub.add_runner("young", labels=[labels["ec2"]], online=False, version=None)
        assert world.run("runners.reap", *BOTH).code == 0
        assert gone not in world.hub.runners
        assert {entry.name for entry in world.hub.runners} >= {other.name, young.name}
        assert len(world.hub.runners) == 4

    def test_on_a_machine_leaves_the_entries_of_other_machines_alone(self, world: World) -> None:
        label = names.label("local", names.Run("a/b", "X", "1", "9", "1"))
        ours, theirs = (world.hub.add_runner(name, labels=[label], online=False) for name in ("ours", "theirs"))
        store = Store.at(str(world.home / "store"))
        store.remember("ours")
        reap = ("runners.reap", "--cloud", "local")
        assert world.run(*reap, KM_LOCAL__STORE=str(store.root)).code == 0
        assert ours not in world.hub.runners and theirs in world.hub.runners


class TestAtOnce:
    """Commands that are processes of their own, at the same time."""

    def together(self, world: World, *commands: tuple[str, ...], run: str = "4711") -> list[Ran]:
        world.arm.pace = ""
        own = {"KM_RUNNERS__POLL": "0.2", "KM_AZURE__RUNNER_POLL": "0.5"}
        toolkit = Toolkit(world.home, {**world.settings, **world.workflow(run), **own})
        with ThreadPoolExecutor(len(commands)) as threads:
            return list(threads.map(lambda words: toolkit.run(*words), commands))

    def test_two_starts_of_a_run_have_one_label_and_one_stop_ends_all(self, world: World) -> None:
        ran = self.together(world, (*START, "--json"), (*START, "--json"))
        assert [each.code for each in ran] == [0, 0], ran
        assert ran[0].json["run-ons"] == ran[1].json["run-ons"], ran
        assert world.step(*STOP, "--destroy")[0].code == 0
        assert world.existing() == [] and world.hub.runners == []

    def test_two_stops_and_a_reaper_come_to_the_same_end(self, world: World) -> None:
        started(world)
        ran = self.together(world, (*STOP, "--destroy"), (*STOP, "--destroy"), ("runners.reap", *BOTH))
        assert {each.code for each in ran} <= {0, 2}, ran
        assert world.existing() == [] and world.hub.runners == []

    def test_a_stop_that_keeps_and_one_that_destroys_leave_no_runner(self, world: World) -> None:
        started(world)
        ran = self.together(world, (*STOP, "--keep"), (*STOP, "--destroy"))
        assert ran[1].code == 0, ran
        assert world.step(*STOP, "--destroy")[0].code == 0
        assert world.existing() == [] and world.hub.runners == []


def test_what_takes_more_than_one_page_is_found_to_the_last(world: World) -> None:
    world.ec2.page, world.arm.page = 5, 2  # EC2 has no smaller one
    world.arm.cores = 100
    for number in range(1000, 1006):
        assert world.step(*START, run=str(number))[0].code == 0
    assert len(world.vms()) == 12
    world.later(hours=7)
    assert world.run("runners.reap", *BOTH).code == 0
    world.later(minutes=30)
    assert world.run("runners.reap", *BOTH).code == 0
    assert world.existing() == [] and world.hub.runners == []


class TestANetwork:
    def test_is_made_once(self, world: World) -> None:
        plan = world.setup("runners.setup-network", *BOTH, "--plan")
        assert plan.out.splitlines() == ["aws: nothing to be made", "azure: nothing to be made"]
        calls = len(world.ec2.calls)
        assert world.setup("runners.setup-network", *BOTH).code == 0
        assert all("Describe" in action for action, _ in world.ec2.calls[calls:])
