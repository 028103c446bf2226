"""GitHub, by its REST API: the runners of a repository or an organisation, and the jobs of a run.

"REST API endpoints for self-hosted runners" and "Rate limits for the REST API" in GitHub's
documentation. A call that got no answer may have been done all the same; each one here may be made again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from itertools import count
from typing import TYPE_CHECKING, Annotated, Any, TypeVar
from urllib.parse import quote, urlsplit

from msgspec import Meta, Struct

from cloud import http, typed, wait
from cloud.errors import InputError, KitError, NotAllowed, NotFound, TemporaryError
from cloud.settings import GithubSettings

if TYPE_CHECKING:
    import requests

T = TypeVar("T")
U = TypeVar("U")

PATIENCE = 60.0
"""Seconds that a call may wait, all in all, because GitHub says that we ask too often."""

_PAGE = 100
"""Rows of a page, at the most."""

_LATER = "the same command may work later"
_TOKEN = "set GH_TOKEN; the GITHUB_TOKEN of Actions can't manage runners"  # noqa: S105  # a hint, no token

_FILE = re.compile(r"actions-runner-linux-x64-(\d+\.\d+\.\d+)\.tar\.gz")


class Busy(KitError):
    """The runner works on a job, and GitHub does not let go of it before that has ended."""


@dataclass(frozen=True)
class Runner:
    """A runner, as GitHub has it on its list."""

    id: int
    name: str
    online: bool
    busy: bool
    """It works on a job, or did when it was last heard of."""
    labels: tuple[str, ...]
    version: str
    """Of its program; empty until it was online once."""


@dataclass(frozen=True)
class Download:
    """The runner's program for Linux on x64, in the version that GitHub wants now."""

    version: str
    url: str
    sha256: str
    filename: str


@dataclass(frozen=True)
class Job:
    """A job of a run."""

    id: int
    name: str
    url: str
    """Where people look at it; may be empty."""
    status: str
    """`queued`, `in_progress`, `completed` and others."""
    conclusion: str | None
    """How it ended: `success`, `failure`, `cancelled` and others; None as long as that is not known."""
    labels: tuple[str, ...]
    """Those that it asks of a runner."""
    runner_name: str
    """Whom it was given to; empty: nobody yet."""
    failed_step: str
    """The first step that failed; empty where none did."""


# What GitHub writes, as far as we read it.


class _Label(Struct):
    name: str


class _Runner(Struct):
    id: int
    name: str
    status: str
    busy: bool
    labels: list[_Label]
    version: str | None = None


class _Runners(Struct):
    runners: list[_Runner]


class _Token(Struct):
    token: Annotated[str, Meta(min_length=1)]


class _Jit(Struct):
    encoded_jit_config: Annotated[str, Meta(min_length=1)]


class _Application(Struct):
    os: str
    architecture: str
    download_url: str
    filename: str
    sha256_checksum: str = ""


_Moment = Annotated[datetime, Meta(tz=True)]


class _Deprecation(Struct):
    registration_deprecates_at: _Moment | None = None
    runtime_deprecates_at: _Moment | None = None


class _Step(Struct):
    name: str
    conclusion: str | None = None


class _Job(Struct):
    id: int
    name: str
    html_url: str | None
    status: str
    conclusion: str | None
    labels: list[str]
    runner_name: str | None
    steps: list[_Step] = []


class _Jobs(Struct):
    jobs: list[_Job]


class _Annotation(Struct):
    message: str | None


class _Problem(Struct):
    message: str = ""


class Github:
    """GitHub for one repository and its runners, or its organisation's. Threads may share it.

    Every call raises:
        NotAllowed: there is no token, or a right is missing; the message names it.
        TemporaryError: GitHub does not answer, is busy for longer than a minute, or answers what can't be read.
        InputError: the repository is no `owner/name`, or GitHub's address none.
        KitError: GitHub refuses for another reason, which the message has.
        Interrupted: an interrupt came while it had to wait.
    """

    def __init__(
        self,
        settings: GithubSettings,
        token: str,
        repository: str,
        secret: Callable[[str], None] = lambda text: None,
    ) -> None:
        """`secret` is told every secret that GitHub hands out, before anybody else knows it."""
        self.settings = settings
        self._secret = secret
        self._token = token.strip()
        self._repository = repository

    @property
    def url(self) -> str:
        """Where runners register, as config.sh wants it."""
        return f"{self.settings.server.rstrip('/')}/{self._owner}"

    def check(self) -> str:
        """Whose runners we may see, and where, by a call that changes nothing."""
        self._read(_Runners, self._runners, self._list, per_page=1)
        return f"runners of {self._owner} at {self._host}"

    def runner(self, name: str) -> Runner | None:
        """The runner of exactly that name; None where there is none."""
        return next((each for each in self._listed(name=name) if each.name == name), None)

    def runners(self) -> list[Runner]:
        """All runners."""
        return list(self._listed())

    def registration_token(self) -> str:
        """What lets a VM register as a runner within the next hour. A secret."""
        path = f"{self._runners}/registration-token"
        token = self._made(_Token, path, f"make a registration token for {self._owner}").token
        self._secret(token)
        return token

    def jit(self, name: str, labels: Sequence[str]) -> str:
        """A runner for one job, and what its VM needs to be it. A secret.

        One of that name that never was online is replaced: the answer that told us of it may have been lost.
        """
        path, what = f"{self._runners}/generate-jitconfig", f"make the runner {name} for {self._owner}"
        body = {"name": name, "runner_group_id": 1, "labels": list(labels), "work_folder": "_work"}
        answer = self._ask("POST", path, what, self._right, body=body, fine=(409,))
        if answer.status_code == 409:
            there = self.runner(name)
            if there and (there.online or there.busy or there.version):
                raise KitError(f"GitHub has a runner {name} already", hint="a runner's name can't be used again")
            if there:
                self.delete(there)
            answer = self._ask("POST", path, what, self._right, body=body)
        config = self._decoded(_Jit, answer, what).encoded_jit_config
        self._secret(config)
        return config

    def delete(self, runner: Runner) -> None:
        """Remove a runner from the list. It may be gone already.

        Raises:
            Busy: it works on a job.
        """
        path, what = f"{self._runners}/{runner.id}", f"remove the runner {runner.name} of {self._owner}"
        answer = self._ask("DELETE", path, what, self._right, fine=(404, 422))
        if answer.status_code == 422:
            raise Busy(f"GitHub does not let go of the runner {runner.name}: {self._reason(answer)}", hint=_LATER)

    def download(self) -> Download:
        """The program that a runner is made of."""
        what = f"list what runners of {self._owner} are made of"
        for each in self._read(list[_Application], f"{self._runners}/downloads", what):
            named = _FILE.fullmatch(each.filename)
            if (each.os, each.architecture) == ("linux", "x64") and named and each.sha256_checksum:
                return Download(named[1], each.download_url, each.sha256_checksum, each.filename)
        raise KitError(f"GitHub offers no runner for Linux on x64 with a checksum to {self._owner}")

    def ends(self, version: str) -> datetime | None:
        """When GitHub stops to accept a version of the runner; None: that is not known yet.

        Raises:
            NotFound: GitHub does not know this version.
        """
        path = f"{self._runners}/deprecations/{quote(version, safe='')}"
        what = f"ask how long the runner {version} is accepted"
        answer = self._ask("GET", path, what, self._right, fine=(404,))
        if answer.status_code == 404:
            raise NotFound(f"GitHub does not know the runner {version}", hint="it may be too old")
        told = self._decoded(_Deprecation, answer, what)
        moments = [each for each in (told.registration_deprecates_at, told.runtime_deprecates_at) if each]
        return min(moments).astimezone(UTC) if moments else None

    def jobs(self, run_id: str, attempt: str) -> list[Job]:
        """The jobs of an attempt of a run."""
        path = f"{self._repo}/actions/runs/{quote(run_id, safe='')}/attempts/{quote(attempt, safe='')}/jobs"
        what = f"list the jobs of run {run_id} of {self._repository}"
        return [_job(each) for each in self._pages(_Jobs, lambda page: page.jobs, path, what, "Actions: read")]

    def timed_out(self, job: Job) -> bool:
        """Whether a job was ended because its time was over. GitHub calls that cancelled; an annotation tells."""
        path = f"{self._repo}/check-runs/{job.id}/annotations"
        what = f"read the annotations of job {job.name} of {self._repository}"
        told = self._pages(list[_Annotation], lambda page: page, path, what, "Checks: read")
        return any("exceeded the maximum execution time" in (each.message or "") for each in told)

    # Where things are.

    @property
    def _owner(self) -> str:
        """Whose the runners are."""
        return self.settings.organisation or self._slug

    @property
    def _slug(self) -> str:
        """The repository, as `owner/name`."""
        if not re.fullmatch(r"[\w.-]+/[\w.-]+", self._repository, re.ASCII):
            raise InputError(
                f"{self._repository!r} is no repository at GitHub", hint="GITHUB_REPOSITORY, or github.repository"
            )
        return self._repository

    @property
    def _repo(self) -> str:
        return f"/repos/{self._slug}"

    @property
    def _runners(self) -> str:
        owner = quote(self.settings.organisation, safe="")
        return f"{f'/orgs/{owner}' if owner else self._repo}/actions/runners"

    @property
    def _right(self) -> str:
        """What a token must be allowed, to manage runners ("Permissions required for fine-grained tokens")."""
        return "Self-hosted runners: write" if self.settings.organisation else "Administration: write"

    @property
    def _list(self) -> str:
        return f"list the runners of {self._owner}"

    @property
    def _host(self) -> str:
        try:
            return urlsplit(self.settings.api).hostname or self.settings.api
        except ValueError:
            return self.settings.api

    # Calls.

    def _listed(self, **query: str) -> Iterator[Runner]:
        for each in self._pages(_Runners, lambda page: page.runners, self._runners, self._list, self._right, **query):
            labels = tuple(label.name for label in each.labels)
            yield Runner(each.id, each.name, each.status == "online", each.busy, labels, each.version or "")

    def _pages(
        self, kind: type[T], rows: Callable[[T], list[U]], path: str, what: str, right: str, **query: str
    ) -> Iterator[U]:
        """The rows of all pages."""
        for page in count(1):
            asked: dict[str, str | int] = {"per_page": _PAGE, "page": page, **query}
            answer = self._ask("GET", path, what, right, query=asked)
            yield from rows(self._decoded(kind, answer, what))
            if "next" not in answer.links:
                return

    def _read(self, kind: type[T], path: str, what: str, **query: int) -> T:
        return self._decoded(kind, self._ask("GET", path, what, self._right, query=query), what)

    def _made(self, kind: type[T], path: str, what: str) -> T:
        return self._decoded(kind, self._ask("POST", path, what, self._right), what)

    def _decoded(self, kind: type[T], answer: requests.Response, what: str) -> T:
        try:
            return typed.read(answer.content, kind)
        except (ValueError, RecursionError) as problem:
            raise TemporaryError(
                f"asked to {what}, GitHub answers what can't be read: {problem}",
                hint=f"does {self._host} lead to GitHub's API, and no proxy answers in its place?",
            ) from problem

    def _ask(
        self,
        method: str,
        path: str,
        what: str,
        right: str,
        *,
        query: Mapping[str, str | int] | None = None,
        body: dict[str, Any] | None = None,
        fine: tuple[int, ...] = (),
    ) -> requests.Response:
        """The answer to a call, if it went well or its status is one of the fine ones."""
        import requests

        if not self._token:
            raise NotAllowed("there is no token for GitHub", hint=_TOKEN)
        if not (self._token.isascii() and self._token.isprintable()):
            raise NotAllowed("the token for GitHub is none: it has letters that no token has", hint=_TOKEN)
        address = f"{self.settings.api.rstrip('/')}{path}"
        # What is asked after an interrupt cleans up: it waits for nothing.
        patience = 0.0 if wait.interrupted() else PATIENCE
        while True:
            try:
                answer = http.persistently(
                    lambda: self._session.request(
                        method, address, params=query, json=body, timeout=self.settings.timeout, auth=self._sign
                    ),
                    http.BROKEN,
                )
            except (requests.exceptions.RequestException, ValueError) as problem:
                raise self._away(problem) from problem
            if answer.ok or answer.status_code in fine:
                return answer
            seconds = _told_to_wait(answer)
            if seconds is None:
                raise self._refused(answer, what, right)
            if seconds > patience:
                moment = wait.clock.now() + timedelta(seconds=seconds)
                raise TemporaryError(
                    f"this token has asked GitHub too often, and may again at {moment:%H:%M:%S} UTC",
                    hint="who else uses it? The token of an app has a limit of its own",
                )
            patience -= seconds
            wait.pause(seconds)

    @cached_property
    def _session(self) -> requests.Session:
        """Connections stay open from call to call. Two threads may make one each; the other is dropped."""
        import requests

        session = requests.Session()
        session.headers["Accept"] = "application/vnd.github+json"
        session.headers["User-Agent"] = "kontain-vms"
        session.headers["X-GitHub-Api-Version"] = "2022-11-28"
        return session

    def _sign(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        # As a header of the session it would give way to what ~/.netrc has for that host.
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request

    def _away(self, problem: Exception) -> KitError:
        if isinstance(problem, ValueError):  # all ways of being no address
            return InputError(f"{self._host} is no address of GitHub's API", hint="GITHUB_API_URL, or github.api")
        return TemporaryError(f"{self._host} does not answer: {type(problem).__name__}", hint=_LATER)

    def _refused(self, answer: requests.Response, what: str, right: str) -> KitError:
        reason = self._reason(answer)
        match answer.status_code:
            case 401:
                return NotAllowed(f"GitHub does not know the token ({reason})", hint=f"it may be over; {_TOKEN}")
            case 403:
                missing = answer.headers.get("X-Accepted-GitHub-Permissions", "").replace("=", ": ") or right
                given = f"give the token that right, in a workflow by `permissions: {right.lower()}`"
                return NotAllowed(
                    f"GitHub does not let us {what}: the right {missing} is missing ({reason})",
                    hint=_TOKEN if right == self._right else given,
                )
            case 404:
                return NotAllowed(
                    f"GitHub does not let us {what} ({reason})",
                    hint=f"it is not there, or the token lacks {right}: who may not see a thing is told 404",
                )
            case status if status >= 500:
                return TemporaryError(f"{self._host} answers {status}: {reason}", hint=_LATER)
        return KitError(f"GitHub does not {what}: {reason} ({answer.status_code})")

    def _reason(self, answer: requests.Response) -> str:
        """Why GitHub refuses, as it says. Whoever answers in its place might send our token back."""
        return _message(answer).replace(self._token, "***")


def _job(told: _Job) -> Job:
    failed = next((step.name for step in told.steps if step.conclusion == "failure"), "")
    return Job(
        id=told.id,
        name=told.name,
        url=told.html_url or "",
        status=told.status,
        conclusion=told.conclusion,
        labels=tuple(told.labels),
        runner_name=told.runner_name or "",
        failed_step=failed,
    )


def _message(answer: requests.Response) -> str:
    try:
        said = typed.read(answer.content, _Problem).message
    except (ValueError, RecursionError):
        said = ""
    return (said or answer.reason or f"status {answer.status_code}")[:300]


def _told_to_wait(answer: requests.Response) -> float | None:
    """Seconds after which GitHub wants to be asked again; None when that is not why it refuses."""
    if answer.status_code not in (403, 429):
        return None
    headers = answer.headers
    if (after := headers.get("Retry-After", "")).isdecimal():
        return max(1.0, float(after))
    if headers.get("X-RateLimit-Remaining") == "0" and (reset := headers.get("X-RateLimit-Reset", "")).isdecimal():
        return max(1.0, float(reset) - _sent(answer) + 1)  # it tells whole seconds
    if answer.status_code == 429 or "secondary rate limit" in _message(answer):
        return PATIENCE  # "wait for at least one minute"
    return None


def _sent(answer: requests.Response) -> float:
    """When GitHub answered, by its own clock, as seconds of Unix; by ours where it does not say."""
    from email.utils import parsedate_to_datetime

    try:
        return parsedate_to_datetime(answer.headers["Date"]).timestamp()
    except (KeyError, ValueError):
        return wait.clock.now().timestamp()
