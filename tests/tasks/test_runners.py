"""Runners from outside: the command line, GitHub as a server, VMs that boot, jobs that run in them."""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from cloud import names, wait
from packer.definition import PROVISION
from tests.ci import REAP, RUN, START, STOP, Ci, Step
from tests.fakes.github import ACTIONS, ORGANISATION, TIME_LIMIT, TOKEN, archive
from tests.killed import COMMAND
from tests.toolkit import ROOT, Toolkit, definition_with, eventually

pytestmark = pytest.mark.vm

PAST = names.moment(datetime(2020, 1, 1, tzinfo=UTC))


def test_a_runner_whose_job_failed_is_kept_looked_into_and_reaped(ci: Ci) -> None:
    step = ci.step(*START)
    assert step.ran.code == 0, f"{step.ran.err}\n{ci.toolkit.log()}"
    label = step.outputs["run-ons"]["local"]
    assert label.startswith("local-runner-KM-CI-Pipeline-1279-")
    status = step.outputs["status"]["local"]
    assert status["state"] == "ready" and status["reason"] == "" and status["address"].startswith("127.0.0.1:")
    assert label in step.summary and "| local | ready |" in step.summary
    assert [line for line in step.ran.err.splitlines() if line.startswith("::")] == [
        "::group::start runners",
        *(f"::add-mask::{token}" for token in ci.hub.tokens),
        "::endgroup::",
    ]

    job = ci.failing_job(label)
    stopped = ci.step(*STOP, needs={"test": {"result": "failure", "outputs": {}}})
    assert stopped.ran.code == 0, stopped.ran.err
    (vm,) = ci.vms()
    assert (vm["state"], vm["label"], vm["who"]) == ("stopped", label, "somebody")
    assert vm["kept"] == "job test-km failed at step Run the tests" and vm["job"]
    assert ci.hub.runners == []  # no runner any more

    found = ci.toolkit.run("runners.ssh", "--cloud", "local", "1279", "--", "cat /actions-runner/_work/km/km/result")
    assert (found.code, found.out.strip()) == (0, "what the job wrote"), found.err
    secrets = [TOKEN, *ci.hub.tokens, job.secret]
    look = f"sudo grep -rslaE '{'|'.join(secrets)}' / /dev/vdb --exclude-dir=proc --exclude-dir=sys; echo looked"
    assert ci.toolkit.run("runners.ssh", "--cloud", "local", label, "--", look).out.split() == ["looked"]
    kept = ci.toolkit.run(
        "runners.ssh", "--cloud", "local", label, "--", "ls -A /actions-runner; ls /actions-runner/_work"
    )
    assert not {".credentials", ".credentials_rsaparams", ".runner", "ready", "_temp"} & set(kept.out.split())
    assert ci.hub.runners == []  # and it has not become one again

    ci.tagged(vm, expires=PAST)
    assert ci.toolkit.run(*REAP).code == 0
    assert ci.vms() != []  # somebody is in it: the reaper looks twice
    ci.tagged(vm, doomed=PAST)
    assert ci.toolkit.run(*REAP).code == 0
    ci.is_empty()


def test_defect_4_a_runner_whose_jobs_went_well_is_destroyed_whoever_stops_it(ci: Ci) -> None:
    label = ci.started()
    for name in ("build", "test"):
        job = ci.hub.queue_job(label, f"echo {name} >> ~/seen; cat ~/seen", name=name, run=RUN)
        assert job.wait() == "success", job.log
    assert job.log.split() == ["build", "test"]  # one after the other, on the same VM
    ci.hub.add_job("lint", "failure", run=RUN)  # elsewhere: that is none of ours
    needs = {"test": {"result": "success"}, "lint": {"result": "failure"}}
    # Defect 4: whoever started it, a stop by somebody else ends it too.
    stopped = ci.step(*STOP, needs=needs, GITHUB_ACTOR="dependabot[bot]")
    assert stopped.ran.code == 0 and "destroyed" in stopped.ran.out
    ci.is_empty()


def test_a_vm_without_a_runner_is_one_to_work_in(ci: Ci) -> None:
    started = ci.toolkit.run(*START, "--no-register", "--name", "mine", "--size", "local=1x320")
    assert started.code == 0, started.err
    ran = ci.toolkit.run("runners.ssh", "--cloud", "local", "mine", "--", "sudo id -u; exit 7")
    assert (ran.code, ran.out.strip()) == (7, "0")
    assert ci.hub.calls == []
    assert ci.toolkit.run(*STOP, "--name", "mine", "--destroy").code == 0
    ci.is_empty()


def test_a_kept_vm_is_looked_into_for_a_while_and_stays_longer_if_asked_to(ci: Ci) -> None:
    assert ci.toolkit.run(*START, "--no-register", "--name", "mine").code == 0
    (vm,) = ci.vms()
    assert ci.toolkit.run(*STOP, "--run", vm["run"], "--keep", "--keep-for", "1d").code == 0
    resumed = ci.toolkit.run("runners.resume", "--cloud", "local", vm["run"], "--for", "2h")
    assert resumed.code == 0 and f"./inv runners.ssh --cloud local {vm['id']}" in resumed.out, resumed.err
    timer = "cat /etc/systemd/system/kontain-expire.timer"
    awake = ci.toolkit.run("runners.ssh", "--cloud", "local", vm["run"], "--", timer)
    soon = datetime.fromisoformat(awake.out.split("OnCalendar=")[1].splitlines()[0].replace(" UTC", "+00:00"))
    assert timedelta(hours=1, minutes=55) < soon - wait.clock.now() < timedelta(hours=2)
    assert ci.toolkit.run("runners.extend", "--cloud", "local", vm["run"], "3d").code == 0
    (longer,) = ci.vms()
    moment = names.parse_moment(longer["expires"])
    assert timedelta(days=3, hours=23) < moment - wait.clock.now() < timedelta(days=4)
    told = ci.toolkit.run("runners.ssh", "--cloud", "local", vm["run"], "--", timer)
    assert f"{moment:%Y-%m-%d %H:%M:%S} UTC" in told.out
    ci.tagged(vm, resumed_until=PAST)
    reaped = ci.toolkit.run(*REAP, "--json")
    assert [row["what"] for row in reaped.json] == ["stop"]
    assert [row["state"] for row in ci.vms()] == ["stopped"]
    assert ci.toolkit.run(*REAP).out.strip() == "nothing to reap"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("runners.ssh", "--cloud", "local", "nobody"), "no VM is of 'nobody'"),
        (("runners.resume", "--cloud", "local", "nobody"), "no VM is of 'nobody'"),
        (("runners.extend", "--cloud", "local", "nobody", "for ever"), "no span of time"),
        (("runners.stop", "--cloud", "local"), "which run is meant?"),
        (("runners.stop", "--cloud", "local", "--run", "1", "--keep", "--destroy"), "contradict"),
        (("runners.stop", "--cloud", "local", "--run", "1", "--needs", "/no/such/file"), "--needs /no/such/file"),
        (("runners.start",), "no cloud is named"),
        (("runners.start", "--cloud", "local", "--require", "some"), "--require some"),
        (("runners.start", "--cloud", "local", "--no-register", "--size", "aws=big"), "for which cloud?"),
        (("runners.start", "--cloud", "local", "--no-register", "--size", "big"), "no size of a local VM"),
        (("runners.start", "--cloud", "local", "--no-register", "--labels", "a,b"), "can't be a label"),
        (("runners.start", "--cloud", "local", "--no-register", "--ttl", "0s"), "no span of time"),
    ],
)
def test_what_can_not_be_done_is_one_line_and_touches_nothing(ci: Ci, words: tuple[str, ...], told: str) -> None:
    ran = ci.toolkit.run(*words)
    assert ran.code == 2 and told in ran.err, ran.err
    assert len([line for line in ran.err.splitlines() if line.startswith(("error: ", "hint: "))]) == 2, ran.err
    ci.is_empty()


@pytest.mark.parametrize(
    ("days", "source"),
    [(None, "the image"), (30, "the image"), (13, "download"), (-1, "download"), ("unknown", "download")],
)
def test_the_images_own_runner_is_taken_as_long_as_github_accepts_it(ci: Ci, days: Any, source: str) -> None:
    (file,) = ci.toolkit.store.glob("images/*/image.json")
    told = json.loads(file.read_text())
    told["tags"]["km-runner"] = "2.300.0"
    file.write_text(json.dumps(told))
    if days != "unknown":
        ends = None if days is None else wait.clock.now() + timedelta(days=days)
        ci.hub.deprecations["2.300.0"] = (None, ends)
    (row,) = ci.toolkit.run(*START, "--plan", "--json").json
    assert row["runner"] == ("2.300.0" if source == "the image" else ci.hub.version)
    assert (row["from"] == "the image") == (source == "the image")
    assert row["steps"] == ["create", "register"]
    assert ci.hub.registrations == 0 and ci.vms() == []


@pytest.mark.matrix
def test_the_images_own_runner_is_what_its_vm_runs(ci: Ci, tmp_path: Path) -> None:
    version = ci.hub.version
    file = f"actions-runner-linux-x64-{version}.tar.gz"
    definition = definition_with(
        tmp_path / "definitions",
        {step: (PROVISION / step).read_text() for step in ("downloads.sh", "downloads.check.sh")},
    )
    definition.write_text(
        definition.read_text().replace('"record"]', '"downloads", "record"]')
        + f"""
[[download]]
url = "{ci.hub.guest_url}/actions/runner/releases/download/v{version}/{file}"
sha256 = "{hashlib.sha256(archive(version)).hexdigest()}"
to = "/opt/kontain/{file}"
clouds = ["local"]
"""
    )
    toolkit = ci.toolkit.but(images__definition=str(definition))
    built = toolkit.run("images.l0base", "--cloud", "local")
    assert built.code == 0, f"{built.err}\n{toolkit.log()[-3000:]}"
    ci.hub.fails("GET */releases/download/*", 404, times=99)
    label = ci.started()
    assert ci.hub.queue_job(label, "true", run=RUN).wait() == "success"
    assert ci.step(*STOP).ran.code == 0
    ci.is_empty()


class TestAnotherStart:
    def test_of_a_run_that_has_its_runner_changes_nothing(self, ci: Ci) -> None:
        label = ci.started()
        before, calls = ci.vms(), len(ci.hub.calls)
        again = ci.step(*START, attempt="2")
        assert (again.ran.code, again.outputs["run-ons"]["local"]) == (0, label)
        assert ci.vms() == before
        assert all(method == "GET" for method, _ in ci.hub.calls[calls:])

    def test_defect_26_and_7_of_a_later_attempt_has_the_same_label_and_its_green_stop_takes_the_kept_one_too(
        self, ci: Ci
    ) -> None:
        label = ci.started()
        ci.failing_job(label)
        assert ci.step(*STOP).ran.code == 0
        again = ci.step(*START, attempt="2")
        assert again.outputs["run-ons"]["local"] == label
        assert sorted(vm["state"] for vm in ci.vms()) == ["running", "stopped"]
        assert ci.hub.queue_job(label, "true", run=RUN, attempt=2).wait() == "success"
        assert ci.step(*STOP, attempt="2").ran.code == 0
        ci.is_empty()


class TestARunner:
    def test_defect_22_comes_back_after_its_vm_has_rebooted(self, ci: Ci) -> None:
        label = ci.started()
        (entry,) = ci.hub.runners
        ci.hub.queue_job(label, "sudo sh -c '(sleep 1; reboot) > /dev/null 2>&1 &'", run=RUN).wait()
        ci.hub.is_offline(entry.name)
        assert ci.hub.queue_job(label, "cat /proc/sys/kernel/random/boot_id", run=RUN).wait() == "success"
        assert ci.step(*STOP).ran.code == 0
        ci.is_empty()

    def test_defect_12_leaves_no_token_to_the_jobs_of_its_vm(self, ci: Ci) -> None:
        label = ci.started("--labels", "big")
        token = "|".join(ci.hub.tokens)
        look = f"sudo grep -rslE '{token}' / /dev/vdb --exclude-dir=proc --exclude-dir=sys --exclude-dir=_work; env"
        job = ci.hub.queue_job([label, "big"], look, run=RUN)
        job.wait()
        assert "/" not in [line[0] for line in job.log.splitlines() if line], job.log
        assert not any(token in job.log for token in ci.hub.tokens)

    def test_defect_21_of_an_organisation_serves_its_repositories_whatever_is_left_of_that_name(self, ci: Ci) -> None:
        name = "local-runner-KM-CI-Pipeline-1279"
        ci.hub.add_runner(name, owner=ORGANISATION, online=False)
        label = ci.started(KM_GITHUB__ORGANISATION=ORGANISATION)
        (left, ours) = ci.hub.runners
        assert ours.owner == ORGANISATION and ours.name.startswith(f"{name}-") and left.name == name
        assert ci.hub.queue_job(label, "true", run=RUN).wait() == "success"
        assert ci.step(*STOP, KM_GITHUB__ORGANISATION=ORGANISATION).ran.code == 0
        assert ci.hub.runners == [left]  # not ours to remove
        assert ci.vms() == []

    def test_that_takes_one_job_is_gone_after_it(self, ci: Ci) -> None:
        label = ci.started("--ephemeral")
        assert ci.hub.registrations == 0
        assert ci.hub.queue_job(label, "true", run=RUN).wait() == "success"
        ci.hub.reached(lambda: ci.hub.runners == [], "end of the runner for one job")
        assert ci.step(*STOP).ran.code == 0
        ci.is_empty()

    def test_switches_its_vm_off_when_its_time_is_over(self, ci: Ci) -> None:
        ci.started("--ttl", "30s")
        eventually(lambda: ci.vms()[0]["state"] == "stopped", "end of the VM by its own timer", 120)
        (entry,) = ci.hub.runners
        assert not ci.hub.online(entry.name)
        ci.tagged(ci.vms()[0], expires=PAST)
        assert ci.toolkit.run(*REAP).code == 0
        ci.is_empty()


class TestAStop:
    def test_defect_1_of_a_busy_runner_ends_its_vm_first_and_its_entry_then(self, ci: Ci) -> None:
        label = ci.started()
        job = ci.hub.queue_job(label, "sleep 600", run=RUN)
        job.starts()
        stopped = ci.step(*STOP, needs={"test": {"result": "cancelled"}})
        assert stopped.ran.code == 0 and "destroyed" in stopped.ran.out, stopped.ran.err
        ci.is_empty()

    def test_defect_9_keeps_the_vm_of_a_job_that_hit_its_time_limit(self, ci: Ci) -> None:
        label = ci.started()
        job = ci.hub.queue_job(label, "sleep 600", name="hangs", run=RUN)
        job.starts()
        ci.hub.cancel(job, TIME_LIMIT.format("it", 10))
        job.wait()
        assert ci.step(*STOP, needs={"test": {"result": "cancelled"}}).ran.code == 0
        (vm,) = ci.vms()
        assert vm["kept"] == "job hangs hit its time limit"

    def test_without_githubs_word_goes_by_what_the_jobs_came_to(self, ci: Ci) -> None:
        ci.started()
        ci.hub.fails("GET */jobs", 403, times=9)
        stopped = ci.step(*STOP, needs={"test": {"result": "failure"}})
        assert stopped.ran.code == 0 and "the results of the jobs decide" in stopped.ran.err
        (vm,) = ci.vms()
        assert (vm["state"], vm["kept"]) == ("stopped", "needs: test failed")

    def test_defect_25_keeps_what_nobody_can_tell_about_and_warns(self, ci: Ci) -> None:
        ci.started()
        ci.hub.fails("GET */jobs", 403, times=9)
        stopped = ci.step(*STOP, needs='{"test": nonsense')
        assert stopped.ran.code == 0
        assert "::warning title=runner on local::needs could not be read" in stopped.ran.err
        assert [vm["state"] for vm in ci.vms()] == ["stopped"]

    def test_defect_5_and_18_while_github_is_away_ends_the_vm_and_says_what_stays(self, ci: Ci) -> None:
        ci.started()
        ci.hub.fails("* /repos/*", 502, times=99)
        stopped = ci.step(*STOP, "--destroy")
        assert stopped.ran.code == 5 and "answers 502" in stopped.ran.err
        assert ci.vms() == [] and ci.toolkit.processes() == []

    def test_of_a_run_without_a_vm_has_nothing_to_do(self, ci: Ci) -> None:
        stopped = ci.step(*STOP)
        assert (stopped.ran.code, stopped.ran.out.strip()) == (0, "there is no VM of that run")

    def test_twice_and_a_reaper_at_once_come_to_the_same_end(self, ci: Ci) -> None:
        ci.started()
        ci.tagged(ci.vms()[0], expires=PAST, doomed=PAST)
        with ci.toolkit.started(*STOP, "--run", "1279", "--destroy") as one:
            others = [ci.toolkit.run(*words) for words in ((*STOP, "--run", "1279", "--destroy"), REAP)]
            assert one.end().code in (0, 2), one.end().err
        assert {ran.code for ran in others} <= {0, 2}, [ran.err for ran in others]
        ci.is_empty()


class TestAFailedStart:
    def told(self, ci: Ci, *words: str) -> Step:
        step = ci.step(*START, *words)
        assert step.ran.code != 0
        assert step.outputs["run-ons"] == {"local": ""}  # defects 2 and 34: always there, and empty
        assert step.outputs["status"]["local"]["state"] == "failed"
        assert "::error title=no runner on local::" in step.ran.err
        assert step.ran.err.count("\nerror: ") + step.ran.err.startswith("error: ") == 1
        ci.is_empty()
        return step

    def test_defect_23_because_of_a_wrong_checksum_says_so(self, ci: Ci) -> None:
        ci.hub.fails("GET */releases/download/*", 200, times=99, body=b"something else")
        step = self.told(ci, "--timeout", "40s")
        assert "has another checksum" in step.outputs["status"]["local"]["reason"]

    def test_defect_23_because_the_download_is_not_there_says_so(self, ci: Ci) -> None:
        ci.hub.fails("GET */releases/download/*", 404, times=99)
        assert "not there (404)" in self.told(ci, "--timeout", "40s").outputs["status"]["local"]["reason"]

    def test_because_github_lets_nobody_register_says_so(self, ci: Ci) -> None:
        ci.hub.fails("POST */registration-token", 500, times=99)
        assert self.told(ci).ran.code == 5
        assert not any("machine" in name for name in ci.toolkit.left())

    def test_defect_33_because_of_a_missing_right_names_it_and_makes_nothing(self, ci: Ci) -> None:
        step = ci.step(*START, GH_TOKEN=ACTIONS)
        assert step.ran.code == 4 and "administration" in step.ran.err.lower()
        assert step.outputs["run-ons"] == {"local": ""}
        ci.is_empty()

    def test_defect_17_because_there_is_no_image_says_how_to_make_one(self, ci: Ci) -> None:
        step = self.told(ci, "--image", "NoSuchImage")
        assert step.ran.code == 2 and "./inv images.l0base" in step.ran.err

    def test_because_of_a_setting_writes_its_outputs_all_the_same(self, ci: Ci) -> None:
        step = ci.step(*START, KM_RUNNERS__TTL="for ever")
        assert step.ran.code == 2 and step.outputs["run-ons"] == {"local": ""}

    def test_of_an_unknown_cloud_leaves_no_job_waiting(self, ci: Ci) -> None:
        step = ci.step("runners.start", "--cloud", "moon", "--cloud", "ec2")
        assert step.ran.code == 2 and step.outputs["run-ons"] == {"moon": "", "ec2": ""}

    def test_by_an_interrupt_leaves_nothing(self, ci: Ci) -> None:
        with ci.toolkit.started(*START) as running:
            running.reaches("register local-runner")
            running.gets(signal.SIGINT)
            ended = running.end(12)
        assert ended.code == 130 and "left behind: nothing" in ended.err, ended.err
        ci.is_empty()

    def test_by_a_second_interrupt_leaves_what_stop_finds(self, ci: Ci) -> None:
        with ci.toolkit.started(*START, "--name", "twice") as running:
            running.reaches("register local-runner")
            running.gets(signal.SIGINT)
            time.sleep(0.05)
            running.gets(signal.SIGINT)
            assert running.end(5).code == 130
            ran = ci.toolkit.run(*STOP, "--name", "twice", "--destroy")
        assert ran.code == 0 or "no VM is of" in ran.err, ran.err
        ci.is_empty()


def killed_at(change: int, toolkit: Toolkit, *words: str) -> int:
    """How a command ended that is killed at one of its changes to the store, if it makes so many."""
    argv = [sys.executable, "-c", COMMAND, str(change), *words]
    return subprocess.run(argv, env=toolkit.environment, cwd=ROOT, capture_output=True, check=False).returncode


class TestAKill:
    """SIGKILL: what is left has tags, and `stop` and `reap` find it."""

    @pytest.mark.matrix
    @pytest.mark.parametrize(
        "point", ["create local", "register local", "downloading", "registering", "has been started"]
    )
    def test_of_a_start_leaves_what_a_stop_ends(self, ci: Ci, point: str) -> None:
        with ci.toolkit.started(*START, "--name", "dies") as running:
            running.reaches(point)
            running.process.kill()
            running.process.wait()
            ran = ci.toolkit.run(*STOP, "--name", "dies", "--destroy")
            assert ran.code == 0 or "no VM is of" in ran.err, ran.err
            assert ci.toolkit.run(*REAP).code == 0
        ci.is_empty()

    @pytest.mark.matrix
    @pytest.mark.parametrize(("change", "verb"), [(0, "--keep"), (1, "--destroy"), (2, "--keep"), (4, "--destroy")])
    def test_of_a_stop_leaves_what_the_next_one_ends(self, ci: Ci, verb: str, change: int) -> None:
        """At every change of both: in test_runner_kills.py, where VMs cost nothing."""
        ci.started()
        ended = killed_at(change, ci.toolkit, *STOP, "--run", "1279", verb)
        assert ended in (-signal.SIGKILL, 0)
        gone_after_a_stop(ci, "1279")

    @pytest.mark.matrix
    @pytest.mark.parametrize("change", [0, 1, 2, 4])
    def test_of_a_resume_leaves_what_a_stop_ends_and_the_reaper_stops(self, ci: Ci, change: int) -> None:
        assert ci.toolkit.run(*START, "--no-register", "--name", "mine").code == 0
        (vm,) = ci.vms()
        assert ci.toolkit.run(*STOP, "--run", vm["run"], "--keep").code == 0
        ended = killed_at(change, ci.toolkit, "runners.resume", "--cloud", "local", vm["run"], "--for", "1s")
        assert ended == -signal.SIGKILL
        time.sleep(1)  # whoever started it has had it for so long
        reaped = ci.toolkit.run(*REAP)
        assert reaped.code == 0, reaped.err
        assert [each["state"] for each in ci.vms()] == ["stopped"]
        gone_after_a_stop(ci, vm["run"])

    @pytest.mark.matrix
    @pytest.mark.parametrize("change", range(5))
    def test_of_a_reaper_leaves_what_the_next_one_ends(self, ci: Ci, change: int) -> None:
        ci.started()
        ci.tagged(ci.vms()[0], expires=PAST, doomed=PAST)
        killed_at(change, ci.toolkit, *REAP)
        reaped = ci.toolkit.run(*REAP)
        assert reaped.code == 0, reaped.err
        ci.is_empty()


def gone_after_a_stop(ci: Ci, run: str) -> None:
    """What there is has tags, and a stop and a reaper leave nothing of it."""
    assert all(vm["label"] and vm["expires"] for vm in ci.vms())
    last = ci.toolkit.run(*STOP, "--run", run, "--destroy")
    assert last.code == 0 or "no VM is of" in last.err, last.err
    assert ci.toolkit.run(*REAP).code == 0
    ci.is_empty()
