"""GitHub as a server: the runners of repositories and organisations, the jobs of runs, what runners are made of.

It keeps runners, tokens and jobs, and releases as `github_releases` has them, and holds every call and every answer of
its own against GitHub's description of its API (tests/data/github-openapi.json, cut from @octokit/openapi 23.0.2, MIT).
What it hands out as the runner's program is the stub in tests/fakes/runner: config.sh and run.sh as people know them,
which speak to this server alone. They register, take jobs and do them, on whatever machine they are unpacked.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import re
import secrets
import socket
import struct
import tarfile
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qsl, urlencode, urlsplit

from openapi_core import OpenAPI
from openapi_core.exceptions import OpenAPIError
from openapi_core.testing import MockRequest, MockResponse

from cloud import wait
from tests.fakes import github_releases
from tests.fakes.github_releases import Release
from tests.fakes.github_wire import Answer, Call, Received, Refusal, error, moment
from tests.fakes.silence import until_he_hangs_up

REPOSITORY = "kontainapp/km"
ORGANISATION = "kontainapp"
VERSION = "2.337.0"
"""Of the runner's program, that GitHub wants now."""

TOKEN = "canary-of-one-who-may-all-5d07"  # noqa: S105  # it opens nothing but this
READER = "canary-of-one-who-may-look-91b2"
ACTIONS = "canary-of-a-workflow-by-itself-c3e8"
"""The GITHUB_TOKEN of a workflow."""
RELEASER = "canary-of-a-workflow-that-may-write-e6d0"
"""The GITHUB_TOKEN of a workflow with `permissions: contents: write`, which is all that it has."""
STRANGER = "canary-of-one-who-sees-nothing-77fa"
EXPIRES = timedelta(hours=1)
"""How long a registration token is good."""

TIME_LIMIT = "The job running on runner {} has exceeded the maximum execution time of {} minutes."
LOST = "The self-hosted runner lost communication with the server."

UPLOADS = github_releases.UPLOADS
_SPEC = Path(__file__).resolve().parents[1] / "data" / "github-openapi.json"
_STUB = Path(__file__).parent / "runner"
_ARCHIVE = re.compile(r"/actions/runner/releases/download/v(?P<v>[\d.]+)/actions-runner-linux-x64-(?P=v)\.tar\.gz")
_RUNNERS = ("administration", "organization_self_hosted_runners")
_SCOPE = r"/(?:repos/(?P<repository>[^/]+/[^/]+)|orgs/(?P<organisation>[^/]+))"


@dataclass
class Fault:
    """How calls are to end, some times. `after`: the work was done, and its answer is lost."""

    call: str
    """`METHOD path`, with stars as a shell has them."""
    status: int
    times: int = 1
    after: bool = False
    delay: float = 0
    """Seconds before anything is done or answered."""
    reset: bool = False
    """The connection ends without an answer."""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    silent: bool = False
    """The caller ends the connection: he has waited long enough."""


KINDS = {
    "refused": Fault("*", 422),
    "reset": Fault("*", 0, reset=True),
    "silent": Fault("*", 0, reset=True, silent=True),
    "lost": Fault("*", 0, after=True, reset=True),
    "throttled": Fault("*", 429, headers={"Retry-After": "1"}),
    "broken": Fault("*", 500),
    "denied": Fault("*", 403),
}
"""How any call may end."""


@dataclass(eq=False)
class Entry:
    """A runner on the list."""

    id: int
    owner: str
    """The repository, or the organisation."""
    name: str
    labels: dict[str, str]
    """Each with its type: `read-only` are those that a runner has by itself."""
    ephemeral: bool = False
    version: str | None = None
    credential: str = field(default_factory=lambda: secrets.token_hex(16))
    heard: float | None = None
    """When it was last heard of, on the machine's own clock; None: never, or it has said that it goes."""
    job: Job | None = None
    as_told: tuple[bool, bool] | None = None
    """Whether it is online and busy, where a test says so and nothing runs behind it."""


@dataclass(eq=False)
class Job:
    """A job of a run: a script, which a runner that has its labels does in its work folder."""

    hub: Hub
    id: int
    name: str
    labels: tuple[str, ...]
    repository: str
    run: int
    attempt: int
    script: str = ""
    limit: float | None = None
    """Seconds after which it is ended."""
    status: Literal["queued", "in_progress", "completed"] = "queued"
    conclusion: str | None = None
    runner: str = ""
    """Whom it was given to. As long as that one does not begin, it is still queued."""
    steps: list[tuple[str, str | None]] = field(default_factory=list)
    annotations: list[str] = field(default_factory=list)
    log: str = ""
    """What its script printed, once it has ended."""
    secret: str = field(default_factory=lambda: f"ghs_lent{secrets.token_hex(12)}")
    """What its runner is lent for it, and must not keep."""
    cancelling: bool = False
    created: datetime = field(default_factory=lambda: datetime.now(UTC))
    began: float | None = None
    ended: datetime | None = None

    def wait(self, within: float = 60) -> str:
        """Wait for its end; how it ended."""
        self.hub.reached(lambda: self.status == "completed", f"end of job {self.name}", within)
        assert self.conclusion
        return self.conclusion

    def starts(self, within: float = 60) -> None:
        """Wait until a runner works on it."""
        self.hub.reached(lambda: self.status != "queued", f"job {self.name} taken by a runner", within)

    def cancel(self) -> None:
        """End it, as a person does."""
        self.hub.cancel(self)

    def ends(self, conclusion: str) -> None:
        """Note how it ended. Under the hub's guard."""
        self.status, self.conclusion, self.ended = "completed", conclusion, datetime.now(UTC)
        self.steps = [(name, how or conclusion) for name, how in self.steps]


@dataclass
class Hub:
    """GitHub, with a repository and its organisation. A violation of GitHub's description fails the `with`."""

    guest_host: str = "10.0.2.2"
    """This machine, as a VM calls it: QEMU's user network, in "Network emulation"."""
    silence: float = 5.0
    """Seconds without a word after which a runner is offline. After as many more, the job that it had has failed."""
    hold: float = 2.0
    """Seconds for which a runner waits for a job before it is told that there is none."""
    repositories: list[str] = field(default_factory=lambda: [REPOSITORY])
    organisations: list[str] = field(default_factory=lambda: [ORGANISATION])
    version: str = VERSION
    deprecations: dict[str, tuple[datetime | None, datetime | None]] = field(default_factory=dict)
    """When a version may not register any more, and when it gets no more jobs. Other versions are unknown."""
    rights: dict[str, dict[str, str] | None] = field(
        default_factory=lambda: {
            TOKEN: dict.fromkeys((*_RUNNERS, "actions", "checks", "contents"), "write"),
            READER: dict.fromkeys((*_RUNNERS, "actions", "contents"), "read"),
            ACTIONS: dict.fromkeys(("actions", "checks", "contents"), "read"),
            RELEASER: {"contents": "write"},
            STRANGER: None,
        }
    )
    """What each token may; None: it sees nothing, as if nothing were there."""
    tells_rights: bool = True
    """Whether a refusal names the right that is missing."""
    remaining: int = 5000
    """Calls until the rate limit, which `resets` at that second of Unix."""
    resets: float = field(default_factory=lambda: time.time() + 3600)
    asked: list[Call] = field(default_factory=list)
    """Every call that came to the API, with all of it."""
    violations: list[str] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    runners: list[Entry] = field(default_factory=list)
    jobs: list[Job] = field(default_factory=list)
    tokens: dict[str, tuple[str, str, datetime]] = field(default_factory=dict)
    """Those that runners register with, or are removed: what for, whose, until when."""
    releases: list[Release] = field(default_factory=list)
    tags: dict[tuple[str, str], str] = field(default_factory=dict)
    """Of each repository, with what they are put on."""
    branches: list[str] = field(default_factory=lambda: ["master"])
    immutable: bool = True
    """Whether releases of these repositories can't be changed once they are published."""
    tells_digest: bool = True
    """Whether files are told with their sums."""
    streams: bool = False
    """Whether it gives out files itself, and names no other host for that."""
    signatures: dict[str, github_releases.Asset] = field(default_factory=dict)
    """What opens which file, where they are stored."""

    def __enter__(self) -> Hub:
        self._ids = count(1000)
        self._news = threading.Condition(threading.RLock())
        self._over = False
        self._counted, self._nth = count(1), (0, "")
        self.deprecations.setdefault(self.version, (None, None))
        self._server = _Server(("127.0.0.1", 0), type("Bound", (_Handler,), {"hub": self}))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self.guest_url = f"http://{self.guest_host}:{self._server.server_port}"
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        with self._news:
            self._over = True
            self._news.notify_all()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        assert kind is not None or not self.violations, self.violations

    # For tests.

    @property
    def variables(self) -> dict[str, str]:
        """The environment of one who works here."""
        return {
            "GITHUB_API_URL": self.url,
            "GITHUB_SERVER_URL": self.guest_url,
            "GH_TOKEN": TOKEN,
            "KM_GITHUB__REPOSITORY": self.repositories[0],
        }

    @property
    def calls(self) -> list[tuple[str, str]]:
        """Method and path of every call that came to the API, in order. What runners ask is not among them."""
        return [(call.method, call.path) for call in self.asked]

    @property
    def registrations(self) -> int:
        """How many registration tokens were made."""
        return sum(what == "registration" for what, _, _ in self.tokens.values())

    def fails(
        self,
        call: str,
        status: int = 500,
        *,
        times: int = 1,
        after: bool = False,
        delay: float = 0,
        reset: bool = False,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> None:
        """Let the next calls like `GET */actions/runners` end so; with a delay and status 0, as always but later."""
        self.faults.append(Fault(call, status, times, after, delay, reset, headers or {}, body))

    def fails_at(self, number: int, kind: str) -> None:
        """Let the call of that number, counted from now on, end in one of KINDS."""
        self._counted, self._nth = count(1), (number, kind)

    def exhausts(self, seconds: float) -> None:
        """Let the rate limit be used up for so long."""
        self.remaining, self.resets = 0, int(time.time() + seconds)

    def add_runner(
        self,
        name: str,
        *,
        owner: str = REPOSITORY,
        online: bool = True,
        busy: bool = False,
        labels: Sequence[str] = (),
        version: str | None = VERSION,
    ) -> Entry:
        """A runner that is on the list and no more."""
        with self._news:
            entry = Entry(next(self._ids), owner, name, _labels(labels), version=version, as_told=(online, busy))
            self.runners.append(entry)
            return entry

    def add_release(
        self,
        tag: str,
        files: Mapping[str, bytes] | None = None,
        *,
        draft: bool = False,
        commit: str = "master",
        repository: str = REPOSITORY,
    ) -> Release:
        """A release with these files."""
        with self._news:
            made = Release(next(self._ids), repository, tag, commit, draft=True)
            for name, content in (files or {}).items():
                made.add(next(self._ids), name, content)
            self.releases.append(made)
            if not draft:
                github_releases.publish(self, made)
            return made

    def release(self, tag: str) -> Release:
        """The one release of that tag, draft or not."""
        with self._news:
            (found,) = (each for each in self.releases if each.tag == tag)
            return found

    def find(self, name: str) -> Entry | None:
        """The runner of that name."""
        with self._news:
            return next((each for each in self.runners if each.name == name), None)

    def online(self, name: str) -> bool:
        """Whether there is such a runner, and it was heard of just now."""
        with self._news:
            entry = self.find(name)
            return entry is not None and self._online(entry)

    def queue_job(
        self,
        labels: str | Sequence[str],
        script: str,
        *,
        name: str = "test",
        step: str = "Run the tests",
        run: int | str = 1,
        attempt: int | str = 1,
        repository: str = REPOSITORY,
        limit: float | None = None,
    ) -> Job:
        """A job that waits for a runner with these labels; `limit` seconds after it was taken it is ended."""
        wanted = (labels,) if isinstance(labels, str) else tuple(labels)
        with self._news:
            job = Job(self, next(self._ids), name, wanted, repository, int(run), int(attempt), script, limit)
            job.steps = [("Set up job", "success"), (step, None)]
            self.jobs.append(job)
            self._news.notify_all()
            return job

    def add_job(
        self,
        name: str,
        conclusion: str | None,
        *,
        labels: Sequence[str] = ("ubuntu-24.04",),
        steps: Sequence[tuple[str, str]] = (("Set up job", "success"),),
        annotations: Sequence[str] = (),
        run: int | str = 1,
        attempt: int | str = 1,
        repository: str = REPOSITORY,
        runner: str = "",
    ) -> Job:
        """A job that nobody here does: one that has ended, or without a conclusion is under way for ever."""
        with self._news:
            job = Job(self, next(self._ids), name, tuple(labels), repository, int(run), int(attempt))
            job.steps, job.annotations, job.runner = list(steps), list(annotations), runner
            job.status = "in_progress"
            if conclusion:
                job.ends(conclusion)
            self.jobs.append(job)
            return job

    def reached(self, look: Callable[[], bool], what: str, within: float = 60) -> None:
        """Wait until a look at what is here is true."""
        deadline = time.monotonic() + within
        with self._news:
            self._settle()
            while not look():
                assert time.monotonic() < deadline, f"not within {within:.0f} s: {what}"
                self._news.wait(0.1)
                self._settle()

    def is_online(self, name: str, within: float = 60) -> None:
        """Wait until the runner is."""
        self.reached(lambda: self.online(name), f"runner {name} online", within)

    def is_offline(self, name: str, within: float = 60) -> None:
        """Wait until the runner is offline, or gone."""
        self.reached(lambda: not self.online(name), f"runner {name} offline", within)

    def removal_token(self, owner: str = REPOSITORY) -> str:
        """What `config.sh remove` wants."""
        return str(self._token("remove", owner)["token"])

    def cancel(self, job: Job, annotation: str = "") -> None:
        """End a job, for that reason."""
        with self._news:
            if job.status == "completed" or job.cancelling:
                return
            job.annotations += [annotation] if annotation else []
            job.cancelling = True
            if job.status == "queued":
                job.ends("cancelled")
            self._news.notify_all()

    # Answers.

    def answer(self, method: str, target: str, headers: Any, body: bytes | Received) -> Answer:
        """The answer to a request."""
        path = urlsplit(target).path
        fault = self._fault(f"{method} {path}")
        if fault:
            time.sleep(fault.delay)
            if fault.after or not (fault.status or fault.reset):
                answer = self._answer(method, target, headers, body)
                if not fault.after:
                    return answer
            elif isinstance(body, Received) and (fault.reset or fault.status >= 500):
                self._answer(method, target, headers, replace(body, whole=False))
            elif path.startswith(("/repos/", "/orgs/", UPLOADS)):
                self._note(method, target, headers, body)
            told = fault.body if fault.body is not None else json.dumps(error(fault.status, "as was asked for"))
            sent = told if isinstance(told, bytes) else told.encode()
            return Answer(fault.status, sent, dict(fault.headers), reset=fault.reset, silent=fault.silent)
        return self._answer(method, target, headers, body)

    def _fault(self, call: str) -> Fault | None:
        with self._news:
            number, kind = self._nth
            if " /_runner/" not in call and next(self._counted) == number:
                return KINDS[kind]
            for fault in self.faults:
                if fault.times and fnmatchcase(call, fault.call):
                    fault.times -= 1
                    return fault
        return None

    def _answer(self, method: str, target: str, headers: Any, body: bytes | Received) -> Answer:
        path = urlsplit(target).path
        if path.startswith(github_releases.STORAGE):
            with self._news:
                return github_releases.stored(self, target, headers)
        if path.startswith("/_runner/") and isinstance(body, bytes):
            return self._to_runner(path, body.decode())
        if found := _ARCHIVE.fullmatch(path):
            return Answer(200, archive(found["v"]), {"Content-Type": "application/gzip"})
        with self._news:
            self._settle()
            call = self._note(method, target, headers, body)
            answer = self._to_api(call)
            if answer.reset:
                return answer
            if wrong := contract().answer(call, answer):
                return self._violated(wrong)
            limits = {"X-RateLimit-Limit": "5000", "X-RateLimit-Remaining": str(self.remaining)}
            return Answer(
                answer.status, answer.body, {**limits, "X-RateLimit-Reset": str(int(self.resets)), **answer.headers}
            )

    def _note(self, method: str, target: str, headers: Any, body: bytes | Received) -> Call:
        split = urlsplit(target)
        received = body if isinstance(body, Received) else None
        given = json.loads(body) if body and isinstance(body, bytes) else None
        path = split.path.removeprefix(UPLOADS.rstrip("/")) if received else split.path
        query = dict(parse_qsl(split.query, keep_blank_values=True))
        call = Call(method, path, query, headers, given, received)
        with self._news:
            self.asked.append(call)
        return call

    def _violated(self, wrong: str) -> Answer:
        self.violations.append(wrong)
        return Answer(500, error(500, f"this is no call of GitHub's API: {wrong}"))

    def _to_api(self, call: Call) -> Answer:
        try:
            self._let_in(call)
            if wrong := contract().request(call):
                return self._violated(wrong)
            for method, pattern, right, do in _ROUTES:
                found = re.fullmatch(_SCOPE + pattern, call.path)
                if found and call.method == method:
                    owner = self._allowed(call, found, right)
                    return do(self, call, owner, found)
        except Refusal as refusal:
            return refusal.answer
        return self._violated(f"{call.method} {call.path} is nothing that this fake can do")

    def _let_in(self, call: Call) -> None:
        if not call.headers.get("User-Agent"):
            raise Refusal(403, "Request forbidden by administrative rules.")
        if call.headers.get("Authorization", "").removeprefix("Bearer ") not in self.rights:
            raise Refusal(401, "Bad credentials")
        if time.time() >= self.resets:
            self.remaining, self.resets = 5000, time.time() + 3600
        if not self.remaining:
            raise Refusal(403, "API rate limit exceeded for user ID 1.")
        self.remaining -= 1

    def _allowed(self, call: Call, found: re.Match[str], right: str) -> str:
        """Whose it is about, if the one who asks may."""
        owner = found["repository"] or found["organisation"]
        known = self.repositories if found["repository"] else self.organisations
        rights = self.rights[call.headers["Authorization"].removeprefix("Bearer ")]
        there = next((each for each in known if each.lower() == owner.lower()), None)
        if rights is None or there is None:
            raise Refusal(404, "Not Found")
        if found["organisation"] and right == "administration":
            right = "organization_self_hosted_runners"
        level = "read" if call.method == "GET" else "write"
        if rights.get(right) not in (level, "write"):
            named = {"X-Accepted-GitHub-Permissions": f"{right}={level}"} if self.tells_rights else {}
            raise Refusal(403, "Resource not accessible by integration", named)
        return there

    def may_write(self, call: Call, right: str) -> bool:
        """Whether the one who asks has that right, for more than a look."""
        return (self.rights[call.headers["Authorization"].removeprefix("Bearer ")] or {}).get(right) == "write"

    def number(self) -> int:
        """An id that nothing has."""
        return next(self._ids)

    def _listed(self, call: Call, owner: str, _: re.Match[str]) -> Answer:
        ours = [each for each in self.runners if each.owner == owner]
        if name := call.query.get("name"):
            ours = [each for each in ours if name.lower() in each.name.lower()]
        rows, headers = self.page(call, ours)
        return Answer(200, {"total_count": len(ours), "runners": [self._told(each) for each in rows]}, headers)

    def _told(self, entry: Entry) -> dict[str, Any]:
        labels = [
            {"id": number, "name": name, "type": kind} for number, (name, kind) in enumerate(entry.labels.items())
        ]
        return {
            "id": entry.id,
            "name": entry.name,
            "os": "linux",
            "status": "online" if self._online(entry) else "offline",
            "busy": _busy(entry),
            "labels": labels,
            "runner_group_id": 1,
            "ephemeral": entry.ephemeral,
            "version": entry.version,
        }

    def page(self, call: Call, rows: list[Any]) -> tuple[list[Any], dict[str, str]]:
        """The rows of the page that is asked for, and where the others are."""
        each = min(int(call.query.get("per_page", 30)), 100)
        page = int(call.query.get("page", 1))
        last = max(1, -(-len(rows) // each))
        where = {"prev": page - 1, "next": page + 1, "last": last, "first": 1}
        there = {rel: at for rel, at in where.items() if (at > page if rel in ("next", "last") else at < page)}
        links = [
            f'<{self.url}{call.path}?{urlencode({**call.query, "page": at})}>; rel="{rel}"'
            for rel, at in there.items()
            if 1 <= at <= last
        ]
        return rows[(page - 1) * each : page * each], {"Link": ", ".join(links)} if links else {}

    def _one(self, owner: str, found: re.Match[str]) -> Entry:
        for entry in self.runners:
            if entry.owner == owner and entry.id == int(found["id"]):
                return entry
        raise Refusal(404, "Not Found")

    def _shown(self, _: Call, owner: str, found: re.Match[str]) -> Answer:
        return Answer(200, self._told(self._one(owner, found)))

    def _deleted(self, _: Call, owner: str, found: re.Match[str]) -> Answer:
        entry = self._one(owner, found)
        if _busy(entry):
            raise Refusal(422, f'Bad request - Runner "{entry.name}" is still running a job"')
        self.runners.remove(entry)
        return Answer(204)

    def _made_token(self, _: Call, owner: str, found: re.Match[str]) -> Answer:
        return Answer(201, self._token(found["what"], owner))

    def _token(self, what: str, owner: str) -> dict[str, str]:
        token, until = f"A{secrets.token_hex(14).upper()}", wait.clock.now() + EXPIRES
        with self._news:
            self.tokens[token] = (what, owner, until)
        return {"token": token, "expires_at": until.isoformat()}

    def _made_jit(self, call: Call, owner: str, _: re.Match[str]) -> Answer:
        name, labels = call.body["name"], call.body["labels"]
        if call.body["runner_group_id"] != 1:
            raise Refusal(404, "Not Found")
        if any(each.owner == owner and each.name.lower() == name.lower() for each in self.runners):
            raise Refusal(409, f"Already exists - A runner with the name {name} already exists.")
        if wrong := _ill_named(name, labels):
            raise Refusal(422, wrong)
        entry = Entry(next(self._ids), owner, name, dict.fromkeys(labels, "custom"), ephemeral=True)
        self.runners.append(entry)
        files = {
            ".runner": {
                "agentId": entry.id,
                "agentName": name,
                "poolId": 1,
                "poolName": "Default",
                "serverUrl": f"{self.guest_url}/_runner",
                "gitHubUrl": f"{self.guest_url}/{owner}",
                "workFolder": call.body.get("work_folder", "_work"),
                "ephemeral": True,
                "disableUpdate": False,
            },
            ".credentials": {"scheme": "OAuth", "data": {"clientId": str(entry.id)}},
            ".credentials_rsaparams": {"d": entry.credential},
        }
        packed = {file: base64.b64encode(json.dumps(held).encode()).decode() for file, held in files.items()}
        config = base64.b64encode(json.dumps(packed).encode()).decode()
        return Answer(201, {"runner": self._told(entry), "encoded_jit_config": config})

    def _downloads(self, *_: object) -> Answer:
        rows = []
        for system, processor in (("osx", "x64"), ("linux", "arm64"), ("linux", "x64"), ("win", "x64")):
            file = f"actions-runner-{system}-{processor}-{self.version}.{'zip' if system == 'win' else 'tar.gz'}"
            ours = (system, processor) == ("linux", "x64")
            rows.append(
                {
                    "os": system,
                    "architecture": processor,
                    "download_url": f"{self.guest_url}/actions/runner/releases/download/v{self.version}/{file}",
                    "filename": file,
                    "sha256_checksum": hashlib.sha256(archive(self.version)).hexdigest() if ours else "0" * 64,
                }
            )
        return Answer(200, rows)

    def _deprecated(self, _: Call, __: str, found: re.Match[str]) -> Answer:
        if found["version"] not in self.deprecations:
            raise Refusal(404, "Not Found")
        registration, runtime = self.deprecations[found["version"]]
        told = {"runner_version": found["version"], "runtime_deprecates_at": moment(runtime)}
        # GitHub leaves this one out as long as there is no date.
        return Answer(200, {**told, "registration_deprecates_at": moment(registration)} if registration else told)

    def _jobs(self, call: Call, owner: str, found: re.Match[str]) -> Answer:
        wanted = (owner, int(found["run"]), int(found["attempt"]))
        ours = [job for job in self.jobs if (job.repository, job.run, job.attempt) == wanted]
        if not ours:
            raise Refusal(404, "Not Found")
        rows, headers = self.page(call, ours)
        return Answer(200, {"total_count": len(ours), "jobs": [self._job(job) for job in rows]}, headers)

    def _job(self, job: Job) -> dict[str, Any]:
        api, page = f"{self.url}/repos/{job.repository}", f"https://github.com/{job.repository}/actions/runs/{job.run}"
        name = (job.runner or None) if job.status != "queued" else None
        runner = self.find(name) if name else None
        steps = [
            {
                "name": step,
                "status": "completed" if how else job.status,
                "conclusion": how,
                "number": number,
                "started_at": moment(job.created),
                "completed_at": moment(job.ended) if how else None,
            }
            for number, (step, how) in enumerate(job.steps, 1)
            if job.status != "queued"
        ]
        return {
            "id": job.id,
            "node_id": f"CR_{job.id}",
            "run_id": job.run,
            "run_url": f"{api}/actions/runs/{job.run}",
            "run_attempt": job.attempt,
            "head_sha": "0" * 40,
            "head_branch": "master",
            "workflow_name": "CI",
            "name": job.name,
            "url": f"{api}/actions/jobs/{job.id}",
            "html_url": f"{page}/job/{job.id}",
            "check_run_url": f"{api}/check-runs/{job.id}",
            "status": job.status,
            "conclusion": job.conclusion,
            "created_at": moment(job.created),
            "started_at": moment(job.created),
            "completed_at": moment(job.ended),
            "labels": list(job.labels),
            "runner_id": runner.id if runner else None,
            "runner_name": name,
            "runner_group_id": 1 if name else None,
            "runner_group_name": "Default" if name else None,
            "steps": steps,
        }

    def _annotations(self, call: Call, owner: str, found: re.Match[str]) -> Answer:
        job = next((job for job in self.jobs if job.repository == owner and job.id == int(found["id"])), None)
        if job is None:
            raise Refusal(404, "Not Found")
        place = {"path": ".github", "blob_href": "", "start_line": 1, "end_line": 1}
        none = {"start_column": None, "end_column": None, "title": "", "raw_details": ""}
        rows, headers = self.page(call, job.annotations)
        told = [{**place, **none, "annotation_level": "failure", "message": message} for message in rows]
        return Answer(200, told, headers)

    # The runners' side, in a language of ours: lines of `key=value`, an empty line, a text.

    def _to_runner(self, path: str, body: str) -> Answer:
        head, _, text = body.partition("\n\n")
        given = dict(line.partition("=")[::2] for line in head.splitlines())
        verbs: dict[str, Callable[[dict[str, str], str], Answer]] = {
            "register": self._registers,
            "remove": self._removes,
            "poll": self._polls,
            "result": self._reports,
            "leave": self._leaves,
        }
        with self._news:
            self._settle()
            try:
                return verbs[path.removeprefix("/_runner/")](given, text)
            except Refusal as refusal:
                return Answer(refusal.status, refusal.message.encode())
            finally:
                self._news.notify_all()

    def _registers(self, given: dict[str, str], _: str) -> Answer:
        owner = self._lent("registration", given)
        registration, _runtime = self.deprecations.get(given["version"], (None, None))
        if registration and registration <= wait.clock.now():
            raise Refusal(403, f"Runner version v{given['version']} is deprecated and cannot be registered.")
        labels = [each.strip() for each in given["labels"].split(",") if each.strip()]
        if wrong := _ill_named(given["name"], labels):
            raise Refusal(400, wrong)
        named = _labels(labels, bare=bool(given["bare"]))
        there = next((x for x in self.runners if (x.owner, x.name.lower()) == (owner, given["name"].lower())), None)
        if there and not given["replace"]:
            raise Refusal(409, f"A runner exists with the same name {there.name}.")
        made = Entry(next(self._ids), owner, given["name"], named, bool(given["ephemeral"]), given["version"])
        how = "Runner successfully added"
        if there:
            self._taken_back(there)
            how, made.id = "Successfully replaced the runner", there.id
            self.runners.remove(there)
        self.runners.append(made)
        return Answer(200, f"{made.id} {made.credential} {how}\n".encode())

    def _lent(self, what: str, given: dict[str, str]) -> str:
        """Whose a token is that a runner shows."""
        kind, owner, until = self.tokens.get(given["token"], ("", "", datetime.min.replace(tzinfo=UTC)))
        if kind != what or until <= wait.clock.now() or given.get("for", owner).lower() != owner.lower():
            raise Refusal(404, "NotFound")
        return owner

    def _removes(self, given: dict[str, str], _: str) -> Answer:
        owner = self._lent("remove", given)
        for entry in [x for x in self.runners if (x.owner, x.credential) == (owner, given["credential"])]:
            self._taken_back(entry)
            self.runners.remove(entry)
        return Answer(200, b"")

    def _known(self, given: dict[str, str]) -> Entry:
        for entry in self.runners:
            if entry.credential == given["credential"]:
                return entry
        raise Refusal(401, "The runner registration has been deleted from the server.")

    def _polls(self, given: dict[str, str], _: str) -> Answer:
        entry = self._known(given)
        _registration, runtime = self.deprecations.get(given["version"], (None, None))
        if runtime and runtime <= wait.clock.now():
            entry.heard = None
            raise Refusal(403, "deprecated")
        entry.heard, entry.version = time.monotonic(), given["version"]
        if not given.get("job"):
            self._taken_back(entry)  # the answer with that job was lost, or the one who had it
        self._news.notify_all()
        deadline = entry.heard + (0 if given.get("session") else self.hold)
        while True:
            if given.get("job"):
                if self._unwanted(entry):
                    return Answer(200, b"cancel\n")
            elif job := self._next(entry):
                head = f"{job.id} {job.secret} {job.repository} {job.name}\n"
                return Answer(200, (head + job.script).encode())
            left = deadline - time.monotonic()
            if left <= 0 or self._over:
                return Answer(204)
            self._news.wait(min(left, 0.2))
            if entry not in self.runners:
                raise Refusal(401, "The runner registration has been deleted from the server.")

    def _unwanted(self, entry: Entry) -> bool:
        """Whether the job that a runner works on is to be ended. That it works on it, it tells by asking."""
        job = entry.job
        if job and job.status == "queued":
            job.status, job.began = "in_progress", time.monotonic()
        if job and job.limit and job.began and time.monotonic() > job.began + job.limit:
            self.cancel(job, TIME_LIMIT.format(entry.name, max(1, round(job.limit / 60))))
        return job is None or job.cancelling

    def _next(self, entry: Entry) -> Job | None:
        """Give the runner the job that waits longest for one like it."""
        have = {label.lower() for label in entry.labels}
        for job in self.jobs:
            wants = {label.lower() for label in job.labels}
            ours = entry.owner in (job.repository, job.repository.partition("/")[0])
            if job.status == "queued" and not job.runner and ours and wants <= have:
                entry.job, job.runner = job, entry.name
                return job
        return None

    def _reports(self, given: dict[str, str], text: str) -> Answer:
        entry = self._known(given)
        entry.heard = time.monotonic()
        job = entry.job
        if job and job.id == int(given["job"]):
            job.log = text
            job.ends({"Succeeded": "success", "Failed": "failure", "Canceled": "cancelled"}[given["result"]])
            entry.job = None
            if entry.ephemeral:
                self.runners.remove(entry)
        return Answer(200, b"")

    def _leaves(self, given: dict[str, str], _: str) -> Answer:
        self._known(given).heard = None
        return Answer(200, b"")

    def _taken_back(self, entry: Entry) -> None:
        """Take the job from a runner that will not end it: one that it has not begun goes to another."""
        job, entry.job = entry.job, None
        if job and job.status == "queued":
            job.runner = ""
        elif job and job.status == "in_progress":
            job.annotations.append(LOST)
            job.ends("cancelled" if job.cancelling else "failure")

    def _online(self, entry: Entry) -> bool:
        if entry.as_told:
            return entry.as_told[0]
        return entry.heard is not None and time.monotonic() < entry.heard + self.silence

    def _settle(self) -> None:
        """Let time have its effect: the job of a runner that is long gone has failed."""
        for entry in self.runners:
            if entry.job and (entry.heard is None or time.monotonic() > entry.heard + 2 * self.silence):
                self._taken_back(entry)


_ROUTES: tuple[tuple[str, str, str, Callable[[Hub, Call, str, re.Match[str]], Answer]], ...] = (
    # (method, path behind whose it is, GitHub's name of the right, what is done)
    ("GET", r"/actions/runners", "administration", Hub._listed),
    ("GET", r"/actions/runners/downloads", "administration", Hub._downloads),
    ("POST", r"/actions/runners/(?P<what>registration|remove)-token", "administration", Hub._made_token),
    ("POST", r"/actions/runners/generate-jitconfig", "administration", Hub._made_jit),
    ("GET", r"/actions/runners/(?P<id>\d+)", "administration", Hub._shown),
    ("DELETE", r"/actions/runners/(?P<id>\d+)", "administration", Hub._deleted),
    ("GET", r"/actions/runners/deprecations/(?P<version>[^/]+)", "administration", Hub._deprecated),
    ("GET", r"/actions/runs/(?P<run>\d+)/attempts/(?P<attempt>\d+)/jobs", "actions", Hub._jobs),
    ("GET", r"/check-runs/(?P<id>\d+)/annotations", "checks", Hub._annotations),
    *github_releases.ROUTES,
)


class Contract:
    """GitHub's description of its API, and what calls and answers have that is not in it."""

    UNDESCRIBED = re.compile(_SCOPE + r"/actions/runners/deprecations/[^/]+")
    """New in September 2026, and not in the description yet."""
    ANYWHERE = (400, 401, 403, 404, 429, 500)
    """No sense, not logged in, no right, not there, too often, broken: described for no call or few, told at any.

    That DELETE of a runner answers 404 is one of these.
    """
    CHANGED = re.compile(_SCOPE + r"/releases/(?:assets/)?\d+")
    """What can be changed: that a change is refused (422) is described for what is new alone."""

    FILE = re.compile(_SCOPE + r"/releases/assets/\d+")
    """What may be asked for its content: that it is sent (200), and not only where it is (302), is said in words."""

    def __init__(self) -> None:
        self._spec = json.loads(_SPEC.read_text(), object_hook=_meant)
        self._openapi = OpenAPI.from_dict(self._spec)
        self._known: dict[bytes, str] = {}
        # The words of a path before its parameters: `downloads` is no runner's id.
        paths = sorted(self._spec["paths"], key=lambda path: path.count("{"))
        self._paths = [(re.compile(re.sub(r"\{[^}]+\}", "[^/]+", path)), path) for path in paths]

    def request(self, call: Call) -> str:
        """What is wrong with a call; empty where nothing is."""
        if self.UNDESCRIBED.fullmatch(call.path) and call.method == "GET":
            return ""
        operation = self._operation(call)
        if operation is None:
            return f"{call.method} {call.path} is not described"
        given = operation.get("parameters", [])
        names = {self._meant(each)["name"] for each in given if self._meant(each)["in"] == "query"}
        content = operation.get("requestBody", {}).get("content", {})
        fields = content.get("application/json", {}).get("schema", {}).get("properties", {})
        unknown = [*(set(call.query) - names), *(set(call.body or ()) - set(fields))]
        if unknown:
            return f"{call.method} {call.path} has no {', '.join(sorted(unknown))}"
        if not call.headers.get("X-GitHub-Api-Version"):
            return f"{call.method} {call.path} names no version of the API"
        return self._wrong(call, "", lambda: self._openapi.validate_request(_request(call)))

    def answer(self, call: Call, answer: Answer) -> str:
        """What is wrong with an answer; empty where nothing is."""
        operation = self._operation(call)
        described = operation is not None and str(answer.status) in operation["responses"]
        if not described and (answer.status in self.ANYWHERE or self.UNDESCRIBED.fullmatch(call.path)):
            return ""
        if not described and answer.status == 422 and self.CHANGED.fullmatch(call.path):
            return ""
        if not described:
            return f"{call.method} {call.path} never answers {answer.status}"
        if answer.headers.get("Content-Type") == github_releases.BINARY and self.FILE.fullmatch(call.path):
            return ""
        told = MockResponse(answer.sent, answer.status, answer.headers)
        about = (answer.status, answer.sent, answer.headers)
        return self._wrong(call, repr(about), lambda: self._openapi.validate_response(_request(call), told))

    def _operation(self, call: Call) -> Any:
        path = next((path for pattern, path in self._paths if pattern.fullmatch(call.path)), None)
        return self._spec["paths"][path].get(call.method.lower()) if path else None

    def _meant(self, described: dict[str, Any]) -> dict[str, Any]:
        for name in described.get("$ref", "#").split("/")[1:]:
            described = (self._spec if name == "components" else described)[name]
        return described

    def _wrong(self, call: Call, answer: str, check: Callable[[], None]) -> str:
        about = (call.method, call.path, call.query, call.body, call.headers.get("Content-Type"), bool(call.received))
        # Polls ask the same and hear the same many times.
        digest = hashlib.sha256(f"{about} {answer}".encode()).digest()
        if digest not in self._known:
            self._known[digest] = _found(check)
        return self._known[digest]


def _found(check: Callable[[], None]) -> str:
    try:
        check()
    except OpenAPIError as problem:
        causes = [f"{each.json_path} {each.message}" for each in getattr(problem.__cause__, "schema_errors", ())]
        return "; ".join(causes) or f"{type(problem).__name__}: {problem}"
    return ""


def _meant(described: dict[str, Any]) -> dict[str, Any]:
    """What GitHub means, and does not list.

    Where none of a list of words may be there too, that is one of them. And a file may be a `starter`, as "Upload a
    release asset" says.
    """
    if described.get("nullable") and None not in described.get("enum", [None]):
        described["enum"].append(None)
    if described.get("enum") == ["uploaded", "open"]:
        described["enum"].append("starter")
    return described


@cache
def contract() -> Contract:
    """The description, read once."""
    return Contract()


def _request(call: Call) -> MockRequest:
    if call.received:
        kind = call.headers.get("Content-Type", "")
        return MockRequest("https://uploads.github.com", call.method, call.path, args=call.query, content_type=kind)
    body = json.dumps(call.body).encode() if call.body is not None else b""
    return MockRequest("https://api.github.com", call.method, call.path, args=call.query, data=body)


@cache
def archive(version: str) -> bytes:
    """The stub, as actions/runner's archive of that version; the same bytes each time."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar:
        files = {f"./{path.relative_to(_STUB)}": path for path in _STUB.rglob("*") if path.is_file()}
        contents = {name: (path.read_bytes(), path.stat().st_mode & 0o100) for name, path in files.items()}
        contents["./bin/version"] = (f"{version}\n".encode(), 0)
        folder = tarfile.TarInfo("./bin")
        folder.type, folder.mode = tarfile.DIRTYPE, 0o755
        tar.addfile(folder)
        for name, (content, runs) in sorted(contents.items()):
            told = tarfile.TarInfo(name)
            told.size, told.mode = len(content), 0o755 if runs else 0o644
            tar.addfile(told, io.BytesIO(content))
    return gzip.compress(packed.getvalue(), mtime=0)


class _Server(ThreadingHTTPServer):
    request_queue_size = 128
    """Else who calls at the same time as five others waits for a second."""

    def handleerror(self, *_: object) -> None:
        """A caller who went away is no error."""


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    """Else each answer takes 40 ms longer."""

    def log_message(self, format: str, *args: object) -> None:
        pass

    def _any(self) -> None:
        body = self._received() if self.path.startswith(UPLOADS) else self._read()
        try:
            answer = self.hub.answer(self.command, self.path, self.headers, body)
        except Exception as bug:  # noqa: BLE001  # nobody would learn of it
            self.hub.violations.append(f"{self.command} {self.path}: a bug in the fake: {bug!r}")
            answer = Answer(500, error(500, "a bug in the fake"))
        if answer.reset:
            self.close_connection = True
            if answer.silent:
                until_he_hangs_up(self.connection)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return
        self.send_response(answer.status)
        sent = {"Content-Type": "application/json; charset=utf-8", **answer.headers}
        for key, text in {**sent, "Content-Length": str(len(answer.sent))}.items():
            if key != "Content-Length" or answer.status != 204:
                self.send_header(key, text)
        self.end_headers()
        self.wfile.write(answer.sent)

    def _read(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _received(self) -> Received:
        """A file, which is kept if it is small."""
        announced = self.headers.get("Content-Length")
        left, size, summed = int(announced or 0), 0, hashlib.sha256()
        kept = b""
        try:
            while block := self.rfile.read(min(left - size, 1 << 18)):
                summed.update(block)
                size += len(block)
                kept += block if left <= github_releases.KEPT else b""
        except OSError:
            pass  # he went away in the middle
        self.close_connection = self.close_connection or size < left or announced is None
        content = kept if len(kept) == size else None
        return Received(size, summed.hexdigest(), size == left, announced is not None, content)

    do_GET = do_PUT = do_PATCH = do_POST = do_DELETE = _any  # noqa: N815  # so http.server calls them


def _busy(entry: Entry) -> bool:
    return entry.job is not None or bool(entry.as_told and entry.as_told[1])


def _labels(labels: Iterable[str], *, bare: bool = False) -> dict[str, str]:
    own = () if bare else ("self-hosted", "Linux", "X64")
    return {**dict.fromkeys(own, "read-only"), **dict.fromkeys(labels, "custom")}


def _ill_named(name: str, labels: Sequence[str]) -> str:
    """What GitHub has against a name or labels."""
    if not 1 <= len(name) <= 64:
        return "Runner name must be between 1 and 64 characters."
    if any(not 1 <= len(label) <= 256 or "," in label for label in labels):
        return "Label must be between 1 and 256 characters, without commas."
    return ""
