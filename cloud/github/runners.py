"""GitHub, by its REST API: the runners of a repository or an organisation, and the jobs of a run.

"REST API endpoints for self-hosted runners" in GitHub's documentation. A call that got no answer may have
been done all the same; each one here may be made again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, TypeVar
from urllib.parse import quote

from msgspec import Meta, Struct

from cloud.errors import KitError, NotFound
from cloud.github.calls import LATER, Calls
from cloud.settings import GithubSettings

T = TypeVar("T")

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


class Github:
    """GitHub for one repository and its runners, or its organisation's. Threads may share it.

    Every call raises what those of `Calls` do.
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
        # What a token must be allowed, to manage runners ("Permissions required for fine-grained tokens").
        self._right = "Self-hosted runners: write" if settings.organisation else "Administration: write"
        self._calls = Calls(settings, token, repository, right=self._right, login=_TOKEN)

    @property
    def url(self) -> str:
        """Where runners register, as config.sh wants it."""
        return f"{self.settings.server.rstrip('/')}/{self._owner}"

    def check(self) -> str:
        """Whose runners we may see, and where, by a call that changes nothing."""
        self._read(_Runners, self._runners, self._list, per_page=1)
        return f"runners of {self._owner} at {self._calls.host}"

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
        answer = self._calls.ask("POST", path, what, self._right, body=body, fine=(409,))
        if answer.status_code == 409:
            there = self.runner(name)
            if there and (there.online or there.busy or there.version):
                raise KitError(f"GitHub has a runner {name} already", hint="a runner's name can't be used again")
            if there:
                self.delete(there)
            answer = self._calls.ask("POST", path, what, self._right, body=body)
        config = self._calls.decoded(_Jit, answer, what).encoded_jit_config
        self._secret(config)
        return config

    def delete(self, runner: Runner) -> None:
        """Remove a runner from the list. It may be gone already.

        Raises:
            Busy: it works on a job.
        """
        path, what = f"{self._runners}/{runner.id}", f"remove the runner {runner.name} of {self._owner}"
        answer = self._calls.ask("DELETE", path, what, self._right, fine=(404, 422))
        if answer.status_code == 422:
            raise Busy(f"GitHub does not let go of the runner {runner.name}: {self._calls.reason(answer)}", hint=LATER)

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
        answer = self._calls.ask("GET", path, what, self._right, fine=(404,))
        if answer.status_code == 404:
            raise NotFound(f"GitHub does not know the runner {version}", hint="it may be too old")
        told = self._calls.decoded(_Deprecation, answer, what)
        moments = [each for each in (told.registration_deprecates_at, told.runtime_deprecates_at) if each]
        return min(moments).astimezone(UTC) if moments else None

    def jobs(self, run_id: str, attempt: str) -> list[Job]:
        """The jobs of an attempt of a run."""
        path = f"{self._calls.repo}/actions/runs/{quote(run_id, safe='')}/attempts/{quote(attempt, safe='')}/jobs"
        what = f"list the jobs of run {run_id} of {self._calls.slug}"
        return [_job(each) for each in self._calls.pages(_Jobs, lambda page: page.jobs, path, what, "Actions: read")]

    def timed_out(self, job: Job) -> bool:
        """Whether a job was ended because its time was over. GitHub calls that cancelled; an annotation tells."""
        path = f"{self._calls.repo}/check-runs/{job.id}/annotations"
        what = f"read the annotations of job {job.name} of {self._calls.slug}"
        told = self._calls.pages(list[_Annotation], lambda page: page, path, what, "Checks: read")
        return any("exceeded the maximum execution time" in (each.message or "") for each in told)

    # Where things are.

    @property
    def _owner(self) -> str:
        """Whose the runners are."""
        return self.settings.organisation or self._calls.slug

    @property
    def _runners(self) -> str:
        owner = quote(self.settings.organisation, safe="")
        return f"{f'/orgs/{owner}' if owner else self._calls.repo}/actions/runners"

    @property
    def _list(self) -> str:
        return f"list the runners of {self._owner}"

    # Calls.

    def _listed(self, **query: str) -> Iterator[Runner]:
        path, what = self._runners, self._list
        for each in self._calls.pages(_Runners, lambda page: page.runners, path, what, self._right, **query):
            labels = tuple(label.name for label in each.labels)
            yield Runner(each.id, each.name, each.status == "online", each.busy, labels, each.version or "")

    def _read(self, kind: type[T], path: str, what: str, **query: int) -> T:
        return self._calls.decoded(kind, self._calls.ask("GET", path, what, self._right, query=query), what)

    def _made(self, kind: type[T], path: str, what: str) -> T:
        return self._calls.decoded(kind, self._calls.ask("POST", path, what, self._right), what)


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
