"""GitHub over the wire: what we ask, what we make of its answers, and the runner's stub that other tests boot."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import requests

from cloud import http, wait
from cloud.errors import InputError, Interrupted, KitError, NotAllowed, NotFound, TemporaryError
from cloud.github.runners import Busy, Github, Job, Runner
from cloud.settings import GithubSettings
from tests.fakes import github as fake
from tests.fakes.github import ACTIONS, ORGANISATION, READER, REPOSITORY, STRANGER, TOKEN, VERSION, Hub, archive
from tests.toolkit import eventually

LIST = f"/repos/{REPOSITORY}/actions/runners"


class Hasty(wait.Clock):
    """A clock that notes how long it was to sleep, and does not."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Hasty:
    hasty = Hasty()
    monkeypatch.setattr(wait, "clock", hasty)
    return hasty


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub(guest_host="127.0.0.1", silence=4, hold=0.5) as running:
        yield running


def client(
    hub: Hub,
    token: str = TOKEN,
    repository: str = REPOSITORY,
    *,
    organisation: str = "",
    api: str = "",
    timeout: int = 20,
) -> Github:
    """GitHub, as a toolkit with these settings sees it."""
    settings = GithubSettings(
        api=api or hub.url,
        server=hub.guest_url,
        repository="",
        organisation=organisation,
        margin=14,
        timeout=timeout,
    )
    return Github(settings, token, repository)


@pytest.fixture
def github(hub: Hub) -> Github:
    return client(hub)


EVERYTHING: dict[str, Callable[[Github], object]] = {
    "check": lambda github: github.check(),
    "runner": lambda github: github.runner("any"),
    "runners": lambda github: github.runners(),
    "registration_token": lambda github: github.registration_token(),
    "jit": lambda github: github.jit("any", ["a-label"]),
    "delete": lambda github: github.delete(Runner(7, "any", False, False, (), "")),
    "download": lambda github: github.download(),
    "ends": lambda github: github.ends(VERSION),
    "jobs": lambda github: github.jobs("1", "1"),
    "timed_out": lambda github: github.timed_out(Job(7, "any", "", "completed", "cancelled", (), "", "")),
}


def said(ask: Callable[[], object]) -> str:
    """All that an error tells, if one comes."""
    try:
        ask()
    except KitError as error:
        return f"{error.message} {error.hint} {error!r} {error.__cause__!r}"
    return ""


every_call = pytest.mark.parametrize("ask", EVERYTHING.values(), ids=EVERYTHING)


class TestTheListOfRunners:
    def test_is_empty_where_there_are_none(self, github: Github) -> None:
        assert github.runners() == []

    def test_has_all_pages(self, hub: Hub, github: Github) -> None:
        for number in range(201):
            hub.add_runner(f"runner-{number}")
        assert [each.name for each in github.runners()] == [f"runner-{number}" for number in range(201)]
        assert [call.query for call in hub.asked] == [{"per_page": "100", "page": str(page)} for page in (1, 2, 3)]

    def test_takes_no_page_more_than_there_is(self, hub: Hub, github: Github) -> None:
        for number in range(100):
            hub.add_runner(f"runner-{number}")
        assert len(github.runners()) == 100
        assert hub.calls == [("GET", LIST)]

    def test_tells_what_a_runner_is_and_does(self, hub: Hub, github: Github) -> None:
        hub.add_runner("busy", busy=True, labels=["ec2-runner-CI-7"])
        hub.add_runner("away", online=False)
        hub.add_runner("new", online=False, version=None)
        busy, away, new = github.runners()
        assert (busy.online, busy.busy, busy.version) == (True, True, VERSION)
        assert busy.labels == ("self-hosted", "Linux", "X64", "ec2-runner-CI-7")
        assert (away.online, away.busy) == (False, False)
        assert new.version == ""

    def test_gives_one_by_its_exact_name_in_one_call(self, hub: Hub, github: Github) -> None:
        for number in range(50):
            hub.add_runner(f"runner-{number}")
            hub.add_runner(f"runner-{number}-again")
        found = github.runner("runner-14")
        assert found
        assert found.name == "runner-14"
        assert github.runner("runner-") is None
        assert hub.calls == [("GET", LIST)] * 2
        assert hub.asked[0].query["name"] == "runner-14"

    def test_is_that_of_the_repository_alone(self, hub: Hub, github: Github) -> None:
        hub.add_runner("another's", owner=ORGANISATION)
        assert github.runners() == []


class TestARunner:
    def test_is_gone_once_it_is_deleted(self, hub: Hub, github: Github) -> None:
        hub.add_runner("it")
        hub.add_runner("another")
        (it,) = (each for each in github.runners() if each.name == "it")
        github.delete(it)
        assert [each.name for each in github.runners()] == ["another"]

    def test_defect_20_leaves_nothing_of_one_call_to_the_next_one(self, hub: Hub, github: Github) -> None:
        for name in ("a", "b"):
            hub.add_runner(name)
        one = github.runner("a")
        assert one
        with ThreadPoolExecutor(2) as threads:
            threads.submit(github.delete, one)
            threads.submit(github.runner, "b")
        github.runners()
        first, *_, last = hub.asked
        assert (first.query["name"], "name" in last.query, last.path) == (
            "a",
            False,
            f"/repos/{REPOSITORY}/actions/runners",
        )
        assert {call.query["name"] for call in hub.asked if "name" in call.query} == {"a", "b"}

    def test_may_be_gone_already(self, hub: Hub, github: Github) -> None:
        hub.add_runner("it")
        (it,) = github.runners()
        github.delete(it)
        github.delete(it)

    def test_that_is_busy_is_not_let_go(self, hub: Hub, github: Github) -> None:
        hub.add_runner("it", busy=True)
        with pytest.raises(Busy, match="still running a job") as refused:
            github.delete(github.runners()[0])
        assert refused.value.exit_code == 1
        assert hub.find("it")

    def test_registers_with_a_token(self, hub: Hub, github: Github) -> None:
        token = github.registration_token()
        what, owner, until = hub.tokens[token]
        assert (what, owner) == ("registration", REPOSITORY)
        assert until > wait.clock.now()

    def test_registers_at_the_address_of_its_repository(self, hub: Hub, github: Github) -> None:
        assert github.url == f"{hub.guest_url}/{REPOSITORY}"


class TestARunnerForOneJob:
    def test_is_on_the_list_with_the_labels_that_were_told_and_no_others(self, hub: Hub, github: Github) -> None:
        github.jit("it", ["self-hosted", "my-label"])
        (it,) = github.runners()
        assert (it.name, it.labels, it.online, it.version) == ("it", ("self-hosted", "my-label"), False, "")
        assert hub.asked[0].body["runner_group_id"] == 1

    def test_is_made_anew_when_the_answer_was_lost(self, hub: Hub, github: Github, clock: Hasty) -> None:
        hub.fails("POST */generate-jitconfig", reset=True, after=True)
        config = github.jit("it", ["my-label"])
        (it,) = hub.runners
        assert it.credential in _unpacked(config)

    def test_replaces_one_of_its_name_that_never_was_online(self, hub: Hub, github: Github) -> None:
        first = github.jit("it", ["my-label"])
        second = github.jit("it", ["my-label"])
        assert first != second
        (it,) = hub.runners
        assert it.credential in _unpacked(second)

    @pytest.mark.parametrize("online", [True, False])
    def test_leaves_one_of_its_name_alone_that_was_online(self, hub: Hub, github: Github, online: bool) -> None:
        hub.add_runner("it", online=online)
        with pytest.raises(KitError, match="has a runner it already"):
            github.jit("it", ["my-label"])
        assert [each.name for each in hub.runners] == ["it"]

    def test_needs_a_name_that_github_takes(self, github: Github) -> None:
        with pytest.raises(KitError, match=r"between 1 and 64 characters\. \(422\)"):
            github.jit("x" * 65, ["my-label"])


def _unpacked(config: str) -> str:
    decode = '@base64d | fromjson | .[".credentials_rsaparams"] | @base64d'
    told = subprocess.run(["jq", "-Rr", decode], input=config, capture_output=True, text=True, check=True)
    return told.stdout


class TestTheProgram:
    def test_is_that_for_linux_on_x64(self, hub: Hub, github: Github) -> None:
        told = github.download()
        assert told.version == VERSION
        assert told.filename == f"actions-runner-linux-x64-{VERSION}.tar.gz"
        assert told.url.startswith(hub.guest_url)
        assert told.url.endswith(told.filename)

    def test_has_the_checksum_of_what_is_at_its_address(self, github: Github, tmp_path: Path) -> None:
        told = github.download()
        (tmp_path / "it").write_bytes(requests.get(told.url, timeout=10).content)
        line = f"{told.sha256}  {tmp_path / 'it'}\n"
        subprocess.run(["sha256sum", "-c", "-"], input=line, text=True, check=True, capture_output=True)

    @pytest.mark.parametrize(
        "row",
        [
            {"os": "linux", "architecture": "arm64"},
            {"os": "linux", "architecture": "x64", "sha256_checksum": ""},
            {"os": "linux", "architecture": "x64", "filename": "runner.tar.gz"},
        ],
    )
    def test_that_can_not_be_checked_is_refused(self, hub: Hub, github: Github, row: dict[str, str]) -> None:
        whole = {"filename": "actions-runner-linux-x64-2.337.0.tar.gz", "download_url": "", "sha256_checksum": "0"}
        hub.fails("GET */downloads", 200, body=json.dumps([{**whole, **row}]).encode())
        with pytest.raises(KitError, match="no runner for Linux on x64"):
            github.download()

    def test_of_today_has_no_end_yet(self, github: Github) -> None:
        assert github.ends(VERSION) is None

    def test_that_github_does_not_know_is_said_to_be_none(self, github: Github) -> None:
        with pytest.raises(NotFound):
            github.ends("2.1.0/../x")

    @pytest.mark.parametrize(("registration", "runtime", "ends"), [(None, 5, 5), (3, None, 3), (3, 5, 3), (5, 3, 3)])
    def test_ends_when_the_first_of_both_does(
        self, hub: Hub, github: Github, registration: int | None, runtime: int | None, ends: int
    ) -> None:
        def day(number: int | None) -> datetime | None:
            return datetime(2026, 12, number, tzinfo=UTC) if number else None

        hub.deprecations["2.336.0"] = (day(registration), day(runtime))
        assert github.ends("2.336.0") == day(ends)


class TestTheJobsOfARun:
    def test_are_told_with_all_that_decides(self, hub: Hub, github: Github) -> None:
        steps = [("Set up job", "success"), ("Build", "success"), ("Run the tests", "failure"), ("Upload", "failure")]
        hub.add_job("test-km", "failure", labels=["ec2-7"], steps=steps, runner="ec2-runner", run=98, attempt=2)
        (job,) = github.jobs("98", "2")
        assert (job.name, job.status, job.conclusion) == ("test-km", "completed", "failure")
        assert (job.labels, job.runner_name, job.failed_step) == (("ec2-7",), "ec2-runner", "Run the tests")
        assert job.url == f"https://github.com/{REPOSITORY}/actions/runs/98/job/{job.id}"

    def test_may_wait_or_be_under_way(self, hub: Hub, github: Github) -> None:
        hub.queue_job("nobody-has-it", "true")
        hub.add_job("under way", None)
        waits, works = github.jobs("1", "1")
        assert (waits.status, waits.conclusion, waits.runner_name, waits.failed_step) == ("queued", None, "", "")
        assert (works.status, works.conclusion) == ("in_progress", None)

    def test_have_all_pages(self, hub: Hub, github: Github) -> None:
        for number in range(130):
            hub.add_job(f"matrix ({number})", "success")
        assert len(github.jobs("1", "1")) == 130

    def test_are_those_of_the_attempt(self, hub: Hub, github: Github) -> None:
        hub.add_job("first", "failure", attempt=1)
        hub.add_job("second", "success", attempt=2)
        assert [job.name for job in github.jobs("1", "2")] == ["second"]

    def test_can_not_be_told_of_a_run_that_is_not_there(self, github: Github) -> None:
        with pytest.raises(NotAllowed, match=f"list the jobs of run 404 of {REPOSITORY}") as refused:
            github.jobs("404", "1")
        assert "Actions: read" in refused.value.hint

    def test_may_be_read_by_the_workflow_itself(self, hub: Hub) -> None:
        hub.add_job("test", "success")
        assert len(client(hub, ACTIONS).jobs("1", "1")) == 1

    @pytest.mark.parametrize(
        ("annotations", "late"),
        [
            ([fake.TIME_LIMIT.format("ec2-runner", 360)], True),
            (["The operation was canceled."] * 120 + [fake.TIME_LIMIT.format("ec2-runner", 360)], True),
            (["The operation was canceled."], False),
            ([], False),
        ],
    )
    def test_timed_out_where_an_annotation_says_so(
        self, hub: Hub, github: Github, annotations: list[str], late: bool
    ) -> None:
        hub.add_job("test", "cancelled", annotations=annotations)
        assert github.timed_out(github.jobs("1", "1")[0]) is late


class TestAnOrganisation:
    @pytest.fixture
    def github(self, hub: Hub) -> Github:
        return client(hub, organisation=ORGANISATION)

    def test_has_runners_of_its_own(self, hub: Hub, github: Github) -> None:
        hub.add_runner("of the repository")
        hub.add_runner("of the organisation", owner=ORGANISATION)
        assert [each.name for each in github.runners()] == ["of the organisation"]
        assert github.url == f"{hub.guest_url}/{ORGANISATION}"
        assert github.check() == f"runners of {ORGANISATION} at 127.0.0.1"

    def test_registers_and_removes_them(self, hub: Hub, github: Github) -> None:
        assert hub.tokens[github.registration_token()][1] == ORGANISATION
        github.jit("it", ["my-label"])
        github.delete(github.runners()[0])
        assert github.download().version == VERSION
        assert github.ends(VERSION) is None
        assert {path.split("/")[1] for _, path in hub.calls} == {"orgs"}

    def test_names_its_own_right(self, hub: Hub) -> None:
        hub.tells_rights = False
        with pytest.raises(NotAllowed, match="the right Self-hosted runners: write is missing"):
            client(hub, READER, organisation=ORGANISATION).registration_token()

    def test_has_no_jobs_of_its_own(self, hub: Hub, github: Github) -> None:
        hub.add_job("test", "success")
        assert len(github.jobs("1", "1")) == 1


class TestEveryCall:
    @every_call
    def test_wants_a_token(self, hub: Hub, ask: Callable[[Github], object]) -> None:
        with pytest.raises(NotAllowed, match="there is no token for GitHub") as refused:
            ask(client(hub, ""))
        assert refused.value.exit_code == 4
        assert "GH_TOKEN" in refused.value.hint
        assert "GITHUB_TOKEN of Actions can't manage runners" in refused.value.hint
        assert not hub.calls

    @every_call
    def test_wants_one_that_github_knows(self, hub: Hub, ask: Callable[[Github], object]) -> None:
        with pytest.raises(NotAllowed, match=r"does not know the token \(Bad credentials\)") as refused:
            ask(client(hub, "over"))
        assert refused.value.exit_code == 4
        assert "GH_TOKEN" in refused.value.hint

    @every_call
    def test_wants_a_repository(self, hub: Hub, ask: Callable[[Github], object]) -> None:
        for repository in ("", "km", "a/b/c", "a /b", "https://github.com/a/b"):
            with pytest.raises(InputError, match="is no repository at GitHub") as refused:
                ask(client(hub, repository=repository))
            assert "GITHUB_REPOSITORY" in refused.value.hint

    @every_call
    def test_asks_a_server_again_that_is_broken(
        self, hub: Hub, github: Github, clock: Hasty, ask: Callable[[Github], object]
    ) -> None:
        hub.add_job("test", "success")
        hub.jobs[0].id = 7
        hub.fails("* /repos/*", 502, times=2)
        ask(github)
        assert clock.slept == [1, 2]

    @every_call
    def test_ends_in_words_when_it_stays_so(
        self, hub: Hub, github: Github, clock: Hasty, ask: Callable[[Github], object]
    ) -> None:
        hub.fails("* /repos/*", 503, times=99)
        with pytest.raises(TemporaryError, match=r"127\.0\.0\.1 answers 503: as was asked for") as refused:
            ask(github)
        assert (refused.value.exit_code, refused.value.hint) == (5, "the same command may work later")
        assert len(hub.calls) == 5

    @every_call
    def test_is_made_again_when_its_answer_is_lost(
        self, hub: Hub, github: Github, clock: Hasty, ask: Callable[[Github], object]
    ) -> None:
        hub.add_job("test", "success")
        hub.jobs[0].id = 7
        hub.fails("* /repos/*", reset=True, after=True)
        ask(github)
        assert clock.slept == [1]

    @every_call
    @pytest.mark.parametrize("body", [b"<html>who are you?</html>", b"", b"{}", b"[[]]", b'{"token": 7}', b"\xff"])
    def test_tells_an_answer_that_is_none_in_one_line(
        self, hub: Hub, github: Github, ask: Callable[[Github], object], body: bytes
    ) -> None:
        hub.fails("* /repos/*", 200, body=body, times=9)
        if ask is EVERYTHING["delete"] or (ask is EVERYTHING["ends"] and body.startswith(b"{")):
            ask(github)  # it reads no body, or needs none of its fields
            return
        with pytest.raises(TemporaryError, match="answers what can't be read") as told:
            ask(github)
        assert "no proxy answers in its place" in told.value.hint

    @every_call
    def test_never_tells_the_token(
        self, hub: Hub, clock: Hasty, ask: Callable[[Github], object], caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level("DEBUG")
        for status, body in (
            (401, None),
            (403, None),
            (418, None),
            (500, None),
            (200, b"<html>"),
            (418, TOKEN.encode()),
        ):
            for token in (TOKEN, f" {TOKEN}\n", f"{TOKEN}\nX-Evil: 1", f"{TOKEN}\u20ac"):
                echo = json.dumps({"message": f"so {TOKEN} is no good"}).encode()
                hub.fails("* /repos/*", status, times=9, body=echo if body is None else body)
                github = client(hub, token)
                assert TOKEN not in said(partial(ask, github))
                assert TOKEN not in f"{github!r} {github}"
                hub.faults.clear()
        assert TOKEN not in caplog.text

    @every_call
    def test_keeps_to_githubs_own_description(self, hub: Hub, github: Github, ask: Callable[[Github], object]) -> None:
        hub.add_job("test", "cancelled", annotations=["x"])
        hub.jobs[0].id = 7
        ask(github)
        assert not hub.violations
        (first, *_) = hub.asked
        assert first.headers["Authorization"] == f"Bearer {TOKEN}"
        assert first.headers["Accept"] == "application/vnd.github+json"
        assert first.headers["X-GitHub-Api-Version"] == "2022-11-28"
        assert first.headers["User-Agent"] == "kontain-vms"


class TestARightThatIsMissing:
    @pytest.mark.parametrize("token", [READER, ACTIONS])
    def test_is_named_as_github_names_it(self, hub: Hub, token: str) -> None:
        with pytest.raises(NotAllowed, match="the right administration: write is missing") as refused:
            client(hub, token).registration_token()
        assert refused.value.exit_code == 4
        assert "GITHUB_TOKEN of Actions can't manage runners" in refused.value.hint

    def test_is_named_where_github_does_not(self, hub: Hub) -> None:
        hub.tells_rights = False
        with pytest.raises(NotAllowed, match="the right Administration: write is missing"):
            client(hub, READER).registration_token()

    def test_is_named_for_jobs_too(self, hub: Hub) -> None:
        hub.add_job("test", "cancelled")
        job = client(hub).jobs("1", "1")[0]
        with pytest.raises(NotAllowed, match="the right checks: read is missing") as refused:
            client(hub, READER).timed_out(job)
        assert "`permissions: checks: read`" in refused.value.hint

    def test_can_show_as_nothing_being_there(self, hub: Hub) -> None:
        with pytest.raises(NotAllowed, match=rf"list the runners of {REPOSITORY} \(Not Found\)") as refused:
            client(hub, STRANGER).check()
        assert "who may not see a thing is told 404" in refused.value.hint

    def test_looks_as_a_repository_that_is_not_there_does(self, hub: Hub) -> None:
        with pytest.raises(NotAllowed, match="list the runners of kontainapp/none"):
            client(hub, repository="kontainapp/none").check()


class TestWhoAsksTooOften:
    def test_waits_as_long_as_github_says(self, hub: Hub, github: Github, clock: Hasty) -> None:
        hub.fails("GET *", 429, headers={"Retry-After": "17"}, times=2)
        assert github.runners() == []
        assert clock.slept == [17, 17]

    def test_waits_for_the_limits_end(self, hub: Hub, github: Github) -> None:
        hub.exhausts(1)
        began = time.monotonic()
        assert github.runners() == []
        assert 0.1 < time.monotonic() - began < 30

    def test_is_told_when_that_is_not_soon(self, hub: Hub, github: Github, clock: Hasty) -> None:
        hub.exhausts(1800)
        with pytest.raises(TemporaryError, match=r"may again at \d\d:\d\d:\d\d UTC") as refused:
            github.runners()
        assert refused.value.exit_code == 5
        assert clock.slept == []
        soon = wait.clock.now() + timedelta(seconds=1800)
        assert any(f"{soon + timedelta(seconds=off):%H:%M:%S}" in refused.value.message for off in range(-3, 4))

    def test_waits_no_longer_than_a_minute_in_all(self, hub: Hub, github: Github, clock: Hasty) -> None:
        hub.fails("GET *", 403, headers={"Retry-After": "25"}, times=9)
        with pytest.raises(TemporaryError):
            github.runners()
        assert clock.slept == [25, 25]

    @pytest.mark.parametrize("status", [403, 429])
    def test_waits_a_minute_where_github_does_not_say_how_long(
        self, hub: Hub, github: Github, clock: Hasty, status: int
    ) -> None:
        hub.fails("GET *", status, body=b'{"message": "You have exceeded a secondary rate limit."}')
        assert github.runners() == []
        assert clock.slept == [60]

    def test_lacks_no_right(self, hub: Hub, github: Github, clock: Hasty) -> None:
        hub.fails("GET *", 403, headers={"X-RateLimit-Remaining": "7"})
        with pytest.raises(NotAllowed):
            github.runners()
        assert clock.slept == []

    def test_is_let_go_by_an_interrupt(self, hub: Hub, github: Github) -> None:
        hub.fails("GET *", 403, headers={"Retry-After": "55"})
        later = threading.Timer(0.2, wait.interrupt)
        later.start()
        began = time.monotonic()
        with pytest.raises(Interrupted):
            github.runners()
        assert time.monotonic() - began < 20
        later.join()


class TestAfterAnInterrupt:
    @pytest.fixture(autouse=True)
    def _interrupted(self) -> None:
        wait.interrupt()

    def test_a_call_is_made_all_the_same(self, hub: Hub, github: Github) -> None:
        hub.add_runner("it")
        github.delete(github.runners()[0])
        assert hub.runners == []

    def test_it_is_made_once_and_tells_its_own_error(self, hub: Hub, github: Github) -> None:
        hub.fails("GET *", 502, times=9)
        with pytest.raises(TemporaryError, match="answers 502"):
            github.runners()
        assert len(hub.calls) == 1

    def test_it_waits_for_no_limit(self, hub: Hub, github: Github) -> None:
        hub.exhausts(5)
        with pytest.raises(TemporaryError, match="asked GitHub too often"):
            github.runners()


class TestAServer:
    def test_that_is_away_is_told_in_one_line(self, hub: Hub, clock: Hasty) -> None:
        with socket.create_server(("127.0.0.1", 0)) as door:
            port = door.getsockname()[1]
        with pytest.raises(TemporaryError, match=r"^127\.0\.0\.1 does not answer: ConnectionError$") as refused:
            client(hub, api=f"http://127.0.0.1:{port}").check()
        assert refused.value.exit_code == 5
        assert len(clock.slept) == len(http.PAUSES)

    def test_that_is_too_slow_is_asked_again(self, hub: Hub, clock: Hasty) -> None:
        hub.fails("GET *", 200, delay=1.5)
        assert client(hub, timeout=1).runners() == []
        assert clock.slept == [1]

    def test_that_takes_a_moment_is_waited_for(self, hub: Hub, github: Github, clock: Hasty) -> None:
        hub.fails("GET *", 0, delay=0.3)
        assert github.runners() == []
        assert clock.slept == []

    @pytest.mark.parametrize("api", ["", "api.github.com", "http://", "http://[", "ftp://api.github.com", "http://.x"])
    def test_whose_address_is_none_is_an_error_of_input(self, hub: Hub, clock: Hasty, api: str) -> None:
        settings = GithubSettings(api=api, server="", repository="", organisation="", margin=14, timeout=1)
        with pytest.raises(InputError, match="no address of GitHub's API") as refused:
            Github(settings, TOKEN, REPOSITORY).check()
        assert "GITHUB_API_URL" in refused.value.hint

    def test_may_be_an_enterprises_with_a_path(self, hub: Hub) -> None:
        github = client(hub, api=f"{hub.url}/api/v3/")
        hub.fails(f"GET /api/v3{LIST}", 200, body=b'{"total_count": 0, "runners": []}')
        assert github.runners() == []

    def test_is_asked_with_our_token_and_not_with_another_of_netrc(self, hub: Hub, github: Github) -> None:
        netrc = Path(os.environ["HOME"]) / ".netrc"
        netrc.write_text("machine 127.0.0.1 login somebody password else\n")
        netrc.chmod(0o600)
        assert github.runners() == []

    def test_may_be_asked_by_many_threads_at_once(self, hub: Hub, github: Github) -> None:
        for number in range(20):
            hub.add_runner(f"runner-{number}")
        found: list[Runner | None] = []
        threads = [
            threading.Thread(target=lambda number=number: found.append(github.runner(f"runner-{number}")))
            for number in range(20)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(each.name for each in found if each) == sorted(each.name for each in hub.runners)


class TestTheFake:
    """It says no where GitHub does: else what passes here would say little."""

    @pytest.fixture
    def hub(self) -> Iterator[Hub]:
        with Hub(guest_host="127.0.0.1") as running:
            yield running
            running.violations.clear()

    @pytest.mark.parametrize(
        ("method", "path", "body", "wrong"),
        [
            ("GET", "/repos/kontainapp/km/actions/agents", None, "is not described"),
            ("PATCH", "/repos/kontainapp/km/actions/runners", None, "is not described"),
            ("GET", "/repos/kontainapp/km/actions/runners?perpage=1", None, "has no perpage"),
            ("GET", "/repos/kontainapp/km/actions/runners?per_page=many", None, "per_page"),
            ("GET", "/repos/kontainapp/km/actions/runners/it", None, "runner_id"),
            ("POST", "/repos/kontainapp/km/actions/runners/registration-token", {"a": 1}, "has no a"),
            ("POST", "/repos/kontainapp/km/actions/runners/generate-jitconfig", {"name": "x"}, "runner_group_id"),
            (
                "POST",
                "/repos/kontainapp/km/actions/runners/generate-jitconfig",
                {"name": "x", "labels": [], "runner_group_id": 1},
                "should be non-empty",
            ),
            ("GET", "/repos/kontainapp/km/releases/latest", None, "nothing that this fake can do"),
        ],
    )
    def test_knows_a_call_that_github_does_not_describe(
        self, hub: Hub, method: str, path: str, body: object, wrong: str
    ) -> None:
        headers = {"Authorization": f"Bearer {TOKEN}", "X-GitHub-Api-Version": "2022-11-28"}
        answer = requests.request(method, hub.url + path, json=body, headers=headers, timeout=10)
        assert answer.status_code == 500
        (told,) = hub.violations
        assert wrong in told

    def test_wants_the_version_of_the_api_to_be_named(self, hub: Hub) -> None:
        requests.get(hub.url + LIST, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=10)
        assert "names no version" in hub.violations[0]

    @pytest.mark.parametrize(
        ("told", "wrong"),
        [
            ({"id": 1, "name": "it", "os": "linux", "status": "online", "labels": []}, "busy"),
            ({"id": "1", "name": "it", "os": "linux", "status": "online", "busy": False, "labels": []}, "integer"),
        ],
    )
    def test_knows_an_answer_of_its_own_that_github_never_gives(
        self, hub: Hub, clock: Hasty, monkeypatch: pytest.MonkeyPatch, told: dict[str, Any], wrong: str
    ) -> None:
        monkeypatch.setattr(Hub, "_told", lambda *_: told)
        hub.add_runner("it")
        with pytest.raises(TemporaryError, match="answers 500"):
            client(hub).runners()
        assert wrong in hub.violations[0]

    def test_fails_whoever_did_not_look(self) -> None:
        def careless() -> None:
            with Hub() as hub:
                headers = {"Authorization": f"Bearer {TOKEN}"}
                requests.get(f"{hub.url}/repos/{REPOSITORY}/nothing", headers=headers, timeout=10)

        with pytest.raises(AssertionError, match="is not described"):
            careless()

    def test_makes_the_same_archive_each_time(self) -> None:
        first = archive(VERSION)
        archive.cache_clear()
        assert archive(VERSION) == first

    def test_counts_tokens_and_lets_them_end(self, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
        token = client(hub).registration_token()
        assert hub.registrations == 1

        class Later(wait.Clock):
            def now(self) -> datetime:
                return datetime.now(UTC) + timedelta(minutes=61)

        lines = {"for": REPOSITORY, "token": token, "name": "it", "labels": "", "version": VERSION}
        body = "".join(f"{key}={text}\n" for key, text in {**lines, "bare": "", "replace": "", "ephemeral": ""}.items())
        assert requests.post(f"{hub.url}/_runner/register", data=body, timeout=10).status_code == 200
        monkeypatch.setattr(wait, "clock", Later())
        assert requests.post(f"{hub.url}/_runner/register", data=body, timeout=10).status_code == 404


@dataclass
class Stub:
    """The runner's program, unpacked in a folder that belongs to a user without rights."""

    folder: Path
    hub: Hub
    env: dict[str, str]

    def command(self, *words: str, user: bool = True) -> list[str]:
        """The command as that user, who can't be root."""
        nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
        return [*(nobody if user and os.geteuid() == 0 else ()), str(self.folder / words[0]), *words[1:]]

    def run(self, *words: str, env: Mapping[str, str] | None = None, user: bool = True) -> tuple[int, str]:
        """Run one of its scripts to the end: its code, and all that it printed."""
        ended = subprocess.run(
            self.command(*words, user=user),
            env={**self.env, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            check=False,
        )
        return ended.returncode, ended.stdout

    def configure(self, name: str = "it", *words: str, labels: str = "my-label") -> tuple[int, str]:
        """Register it, as the toolkit does."""
        token = client(self.hub).registration_token()
        told = ("--url", f"{self.hub.guest_url}/{REPOSITORY}", "--name", name, "--labels", labels)
        fixed = ("--unattended", "--no-default-labels", "--work", "_work", "--disableupdate")
        return self.run("config.sh", *fixed, *told, *words, env={"ACTIONS_RUNNER_INPUT_TOKEN": token})

    def started(self, **env: str) -> Running:
        """Let it take jobs."""
        with open(self.folder / "printed", "w") as out:
            process = subprocess.Popen(
                self.command("run.sh"),
                env={**self.env, **env},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        return Running(self, process)

    def has(self, file: str) -> bool:
        return (self.folder / file).exists()


@dataclass
class Running:
    """A runner that takes jobs."""

    stub: Stub
    process: subprocess.Popen[bytes]

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)

    def ends(self) -> int:
        """Wait for its end; its code."""
        return self.process.wait(60)

    @property
    def printed(self) -> str:
        return (self.stub.folder / "printed").read_text()


@pytest.fixture
def stub(hub: Hub) -> Iterator[Stub]:
    folder = Path(tempfile.mkdtemp(prefix="actions-runner-"))  # no folder of pytest's can be entered by others
    subprocess.run(["tar", "-xz", "-C", folder], input=archive(VERSION), check=True)
    folder.chmod(0o755)
    if os.geteuid() == 0:
        for path in (folder, *folder.rglob("*")):
            shutil.chown(path, 65534, 65534)
    yield Stub(folder, hub, {"PATH": os.environ["PATH"], "LANG": "C.UTF-8"})
    shutil.rmtree(folder)


class TestTheStub:
    def test_registers_and_comes_online(self, hub: Hub, github: Github, stub: Stub) -> None:
        code, printed = stub.configure()
        assert (code, hub.violations) == (0, []), printed
        assert "√ Runner successfully added" in printed
        assert "√ Settings Saved." in printed
        (listed,) = github.runners()
        assert (listed.name, listed.labels, listed.online, listed.version) == ("it", ("my-label",), False, VERSION)
        told = json.loads((stub.folder / ".runner").read_text())
        assert (told["agentId"], told["workFolder"], told["ephemeral"]) == (listed.id, "_work", False)
        assert (stub.folder / ".credentials_rsaparams").stat().st_mode & 0o077 == 0
        with stub.started() as running:
            hub.is_online("it")
            eventually(lambda: "Listening for Jobs" in running.printed, "its word")
            assert f"Current runner version: '{VERSION}'" in running.printed

    def test_does_jobs_one_after_another_in_one_work_folder(self, hub: Hub, github: Github, stub: Stub) -> None:
        stub.configure()
        with stub.started() as running:
            first = hub.queue_job("my-label", 'echo built; pwd; echo mine >file; test "$CI" = true', name="build")
            second = hub.queue_job(["MY-LABEL"], "cat file; exit 3", name="test all")
            assert (first.wait(), second.wait()) == ("success", "failure")
            eventually(lambda: "Failed" in running.printed, "its word")
        assert first.log == f"built\n{stub.folder}/_work/km/km\n"
        assert second.log == "mine\n"
        assert "Running job: build" in running.printed
        assert "Job build completed with result: Succeeded" in running.printed
        assert "Job test all completed with result: Failed" in running.printed
        told = {job.name: job for job in github.jobs("1", "1")}
        assert (told["test all"].runner_name, told["test all"].failed_step) == ("it", "Run the tests")
        assert told["build"].labels == ("my-label",)
        lent = stub.folder / "_work/_temp" / f"git-credentials-{first.id}.config"
        assert first.secret in lent.read_text()

    def test_is_busy_while_it_works(self, hub: Hub, github: Github, stub: Stub) -> None:
        stub.configure()
        with stub.started():
            job = hub.queue_job("my-label", "until [ -e go ]; do sleep 0.1; done")
            job.starts()
            time.sleep(hub.silence + 0.5)
            (it,) = github.runners()
            assert it.online
            assert it.busy
            with pytest.raises(Busy):
                github.delete(it)
            (stub.folder / "_work/km/km/go").touch()
            assert job.wait() == "success"
            github.delete(it)

    def test_takes_no_job_of_others(self, hub: Hub, stub: Stub) -> None:
        stub.configure()
        hub.repositories.append("else/where")
        other = hub.queue_job("another-label", "true")
        elsewhere = hub.queue_job("my-label", "true", repository="else/where")
        with stub.started():
            assert hub.queue_job("my-label", "true").wait() == "success"
        assert (other.status, elsewhere.status) == ("queued", "queued")

    @pytest.mark.parametrize("late", [True, False])
    def test_ends_a_job_that_is_cancelled_and_all_that_it_started(
        self, hub: Hub, github: Github, stub: Stub, late: bool
    ) -> None:
        stub.configure()
        with stub.started() as running:
            script = "(sleep 600; true) & echo $! >child; sleep 600"
            job = hub.queue_job("my-label", script, limit=1 if late else None)
            job.starts()
            child = stub.folder / "_work/km/km/child"
            eventually(lambda: child.exists() and child.read_text(), "its child")
            if not late:
                job.cancel()
            assert job.wait() == "cancelled"
            eventually(lambda: "completed with result: Canceled" in running.printed, "its word")
            assert github.timed_out(github.jobs("1", "1")[0]) is late
            eventually(lambda: not Path(f"/proc/{child.read_text().strip()}").exists(), "end of its child")

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_is_offline_at_once_when_it_is_told_to_end(self, hub: Hub, stub: Stub, number: signal.Signals) -> None:
        stub.configure()
        with stub.started() as running:
            hub.is_online("it")
            began = time.monotonic()
            running.process.send_signal(number)
            assert running.ends() == 0
            assert time.monotonic() - began < 10
            assert not hub.online("it")
            assert "Exiting..." in running.printed
        assert hub.find("it")

    def test_takes_its_job_with_it_when_it_is_told_to_end(self, hub: Hub, stub: Stub) -> None:
        stub.configure()
        with stub.started() as running:
            job = hub.queue_job("my-label", "sleep 600")
            job.starts()
            running.process.send_signal(signal.SIGINT)
            assert running.ends() == 0
            assert job.wait() == "cancelled"

    def test_that_is_killed_is_offline_after_a_while_and_its_job_has_failed(
        self, hub: Hub, github: Github, stub: Stub
    ) -> None:
        stub.configure()
        with stub.started() as running:
            job = hub.queue_job("my-label", "exec sleep 20")
            job.starts()
            eventually(lambda: "Running job" in running.printed, "its word")
            os.killpg(running.process.pid, signal.SIGKILL)
            running.ends()
            hub.is_offline("it")
            assert job.wait() == "failure"
            github.delete(github.runners()[0])

    def test_starts_again_as_the_same_runner(self, hub: Hub, stub: Stub) -> None:
        stub.configure()
        for _ in range(2):
            with stub.started():
                assert hub.queue_job("my-label", "true").wait() == "success"
        assert len(hub.runners) == 1

    def test_goes_on_when_github_was_away(self, hub: Hub, stub: Stub) -> None:
        stub.configure()
        with stub.started() as running:
            hub.is_online("it")
            hub.fails("POST /_runner/poll", 502)
            eventually(lambda: "Runner reconnected." in running.printed, "its word")
            assert "Runner connect error: 502. Retrying until reconnected." in running.printed

    def test_for_one_job_takes_one_and_is_gone(self, hub: Hub, stub: Stub) -> None:
        stub.configure("it", "--ephemeral")
        first, second = hub.queue_job("my-label", "true"), hub.queue_job("my-label", "true")
        with stub.started() as running:
            assert running.ends() == 0
        assert (first.conclusion, second.status) == ("success", "queued")
        assert not hub.runners
        assert not stub.has(".runner")
        assert not stub.has(".credentials")
        assert not stub.has(".credentials_rsaparams")

    def test_needs_no_registration_with_a_jit_configuration(self, hub: Hub, github: Github, stub: Stub) -> None:
        config = github.jit("it", ["my-label"])
        job = hub.queue_job("my-label", 'echo "$RUNNER_NAME ${ACTIONS_RUNNER_INPUT_JITCONFIG-unknown}"')
        with stub.started(ACTIONS_RUNNER_INPUT_JITCONFIG=config) as running:
            assert running.ends() == 0
        assert (job.conclusion, job.log) == ("success", "it unknown\n")
        assert not hub.runners

    def test_of_an_organisation_does_jobs_of_its_repositories(self, hub: Hub, stub: Stub) -> None:
        github = client(hub, organisation=ORGANISATION)
        job = hub.queue_job("my-label", "true")
        with stub.started(ACTIONS_RUNNER_INPUT_JITCONFIG=github.jit("it", ["my-label"])):
            assert job.wait() == "success"

    def test_can_be_removed(self, hub: Hub, stub: Stub) -> None:
        stub.configure()
        code, printed = stub.run("config.sh", "remove", "--token", hub.removal_token())
        assert (code, "√ Runner removed successfully" in printed) == (0, True), printed
        assert not hub.runners
        assert not stub.has(".runner")
        assert stub.configure()[0] == 0

    def test_ends_when_it_was_removed_behind_its_back(self, hub: Hub, github: Github, stub: Stub) -> None:
        stub.configure()
        with stub.started() as running:
            hub.is_online("it")
            github.delete(github.runners()[0])
            assert running.ends() == 0
            assert "The runner registration has been deleted from the server" in running.printed

    @pytest.mark.parametrize(("wanted", "code"), [("1", 7), ("", 0)])
    def test_says_when_github_finds_it_too_old(self, hub: Hub, stub: Stub, wanted: str, code: int) -> None:
        stub.configure()
        hub.deprecations[VERSION] = (None, wait.clock.now())
        with stub.started(ACTIONS_RUNNER_RETURN_VERSION_DEPRECATED_EXIT_CODE=wanted) as running:
            assert running.ends() == code
            assert f"Runner version v{VERSION} is deprecated and cannot receive messages." in running.printed
        assert not hub.online("it")

    def test_that_is_too_old_does_not_register(self, hub: Hub, stub: Stub) -> None:
        hub.deprecations[VERSION] = (wait.clock.now(), None)
        code, printed = stub.configure()
        assert (code, "Http response code: 403" in printed) == (1, True)
        assert not stub.has(".runner")

    def test_does_not_run_as_root(self, stub: Stub, tmp_path: Path) -> None:
        (tmp_path / "id").write_text("#!/bin/sh\necho 0\n")
        (tmp_path / "id").chmod(0o755)
        tmp_path.chmod(0o755)
        path = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
        for script in ("config.sh", "run.sh"):
            code, printed = stub.run(script, env=path, user=False)
            assert code == 1
            assert "Must not run" in printed
        _, printed = stub.run("run.sh", env={**path, "RUNNER_ALLOW_RUNASROOT": "1"}, user=False)
        assert "Runner is not configured." in printed

    def test_is_configured_once(self, hub: Hub, stub: Stub) -> None:
        stub.configure()
        code, printed = stub.configure("other", "--replace")
        assert (code, "because it is already configured" in printed) == (1, True)
        assert [each.name for each in hub.runners] == ["it"]

    def test_has_a_name_of_its_own_unless_it_replaces_another(self, hub: Hub, stub: Stub) -> None:
        there = hub.add_runner("IT")
        code, printed = stub.configure()
        assert (code, "A runner exists with the same name IT." in printed) == (1, True)
        code, printed = stub.configure("it", "--replace")
        assert (code, "√ Successfully replaced the runner" in printed) == (0, True)
        assert [(each.name, each.id) for each in hub.runners] == [("it", there.id)]

    @pytest.mark.parametrize(
        ("words", "says"),
        [
            (("--unattended",), "Invalid configuration provided for url"),
            (("--unattended", "--url", "URL"), "Invalid configuration provided for token"),
            (("--unattended", "--url", "URL", "--token", "no-token"), "Http response code: 404"),
            (("--url", "URL", "--token", "x"), "Without --unattended"),
            (("--unattended", "--no-default-labels", "--url", "URL", "--token", "x"), "provided for labels"),
            (("--unattented",), "Unrecognized command-line input arguments: '--unattented'"),
            (("--unattended", "--url"), "Invalid configuration provided for url"),
            (("--unattended", "--url", "http://127.0.0.1:1/a/b", "--token", "x"), "Http response code: 000"),
        ],
    )
    def test_refuses_what_the_real_one_does(self, hub: Hub, stub: Stub, words: tuple[str, ...], says: str) -> None:
        url = f"{hub.guest_url}/{REPOSITORY}"
        code, printed = stub.run("config.sh", *(url if word == "URL" else word for word in words))
        assert code == 1
        assert says in printed
        assert not stub.has(".runner")

    def test_gets_every_argument_by_environment_too(self, hub: Hub, stub: Stub) -> None:
        told = {"url": f"{hub.guest_url}/{REPOSITORY}", "token": client(hub).registration_token(), "name": "it"}
        told |= {"labels": "a,b", "work": "elsewhere", "unattended": "true", "ephemeral": "1"}
        variables = {f"ACTIONS_RUNNER_INPUT_{key.upper()}": text for key, text in told.items()}
        code, printed = stub.run("config.sh", env=variables)
        assert code == 0, printed
        (it,) = hub.runners
        assert (list(it.labels), it.ephemeral) == (["self-hosted", "Linux", "X64", "a", "b"], True)
        assert json.loads((stub.folder / ".runner").read_text())["workFolder"] == "elsewhere"

    def test_lets_nobody_see_its_secrets_in_the_list_of_processes(self, hub: Hub, stub: Stub) -> None:
        programs = stub.folder / "programs"
        programs.mkdir(mode=0o755)
        for name in ("curl", "jq", "cat"):
            wrapped = f'#!/bin/sh\necho "$0 $@" >>"{stub.folder}/argv"\nexec {shutil.which(name)} "$@"\n'
            (programs / name).write_text(wrapped)
            (programs / name).chmod(0o755)
        stub.env["PATH"] = f"{programs}:{os.environ['PATH']}"
        stub.configure()
        credential = hub.runners[0].credential
        with stub.started():
            assert hub.queue_job("my-label", "true").wait() == "success"
        argv = (stub.folder / "argv").read_text()
        assert "/curl " in argv
        assert credential not in argv
        assert not any(token in argv for token in hub.tokens)

    def test_is_clean_to_shellcheck(self) -> None:
        folder = Path(fake.__file__).parent / "runner"
        files = [path for path in folder.rglob("*") if path.is_file()]
        ended = subprocess.run(
            ["shellcheck", "--shell=sh", *files], capture_output=True, text=True, check=False, timeout=60
        )
        assert ended.returncode == 0, ended.stdout
