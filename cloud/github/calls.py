"""Calls of GitHub's REST API: the token, pages, waiting, and what errors say.

"Rate limits for the REST API" and "Using pagination in the REST API" in GitHub's documentation.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from functools import cached_property
from itertools import count
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from msgspec import Struct

from cloud import http, typed, wait
from cloud.errors import InputError, KitError, NotAllowed, TemporaryError
from cloud.settings import GithubSettings

if TYPE_CHECKING:
    import requests

T = TypeVar("T")
U = TypeVar("U")

PATIENCE = 60.0
"""Seconds that a call may wait, all in all, because GitHub says that we ask too often."""

LATER = "the same command may work later"

HEADERS = {
    "Accept": "application/vnd.github+json",
    "User-Agent": "kontain-vms",
    "X-GitHub-Api-Version": "2022-11-28",
}

_PAGE = 100
"""Rows of a page, at the most."""


class TooOften(TemporaryError):
    """GitHub wants no more calls for a while. Nothing was done."""


class _Problem(Struct):
    message: str = ""
    errors: Any = None


class Calls:
    """Who asks GitHub, with a token, about a repository. Threads may share it.

    Every call raises:
        NotAllowed: there is no token, or a right is missing; the message names it.
        TemporaryError: GitHub does not answer, is busy for longer than a minute, or answers what can't be read.
        InputError: the repository is no `owner/name`, or GitHub's address none.
        KitError: GitHub refuses for another reason, which the message has.
        Interrupted: an interrupt came while it had to wait.
    """

    def __init__(self, settings: GithubSettings, token: str, repository: str, *, right: str, login: str) -> None:
        """`login` is the hint for who has no token, or one without `right`, the right that most calls need."""
        self.settings = settings
        self._token = token.strip()
        self._repository = repository
        self._right = right
        self._login = login

    @property
    def slug(self) -> str:
        """The repository, as `owner/name`."""
        if not re.fullmatch(r"[\w.-]+/[\w.-]+", self._repository, re.ASCII):
            raise InputError(
                f"{self._repository!r} is no repository at GitHub", hint="GITHUB_REPOSITORY, or github.repository"
            )
        return self._repository

    @property
    def repo(self) -> str:
        """The repository's path."""
        return f"/repos/{self.slug}"

    @property
    def host(self) -> str:
        """Whom we ask, for people."""
        try:
            return urlsplit(self.settings.api).hostname or self.settings.api
        except ValueError:
            return self.settings.api

    def pages(
        self, kind: type[T], rows: Callable[[T], list[U]], path: str, what: str, right: str, **query: str
    ) -> Iterator[U]:
        """The rows of all pages."""
        for page in count(1):
            asked: dict[str, str | int] = {"per_page": _PAGE, "page": page, **query}
            answer = self.ask("GET", path, what, right, query=asked)
            yield from rows(self.decoded(kind, answer, what))
            if "next" not in answer.links:
                return

    def decoded(self, kind: type[T], answer: requests.Response, what: str) -> T:
        """What an answer says."""
        try:
            return typed.read(answer.content, kind)
        except (ValueError, RecursionError) as problem:
            raise TemporaryError(
                f"asked to {what}, GitHub answers what can't be read: {problem}",
                hint=f"does {self.host} lead to GitHub's API, and no proxy answers in its place?",
            ) from problem

    def ask(
        self,
        method: str,
        path: str,
        what: str,
        right: str,
        *,
        query: Mapping[str, str | int] | None = None,
        body: dict[str, Any] | None = None,
        fine: tuple[int, ...] = (),
        once: bool = False,
    ) -> requests.Response:
        """The answer to a call, if it went well or its status is one of the fine ones.

        `once`: a call that must not be made again where nobody knows what came of it.
        """
        import requests

        address = f"{self.settings.api.rstrip('/')}{path}"

        def act() -> requests.Response:
            return self._session.request(
                method, address, params=query, json=body, timeout=self.settings.timeout, auth=self.sign
            )

        def asked() -> requests.Response:
            try:
                return act() if once else http.persistently(act, http.BROKEN)
            except (requests.exceptions.RequestException, ValueError) as problem:
                raise self._away(problem) from problem

        return self.answered(asked, what, right, fine)

    def answered(
        self, act: Callable[[], requests.Response], what: str, right: str, fine: tuple[int, ...] = ()
    ) -> requests.Response:
        """The answer that an act gets, which is done again after as long as GitHub says, if it says so."""
        if not self._token:
            raise NotAllowed("there is no token for GitHub", hint=self._login)
        if not (self._token.isascii() and self._token.isprintable()):
            raise NotAllowed("the token for GitHub is none: it has letters that no token has", hint=self._login)
        # What is asked after an interrupt cleans up: it waits for nothing.
        patience = 0.0 if wait.interrupted() else PATIENCE
        while True:
            answer = act()
            if answer.ok or answer.status_code in fine:
                return answer
            seconds = _told_to_wait(answer)
            if seconds is None:
                raise self.refused(answer, what, right)
            if seconds > patience:
                moment = wait.clock.now() + timedelta(seconds=seconds)
                raise TooOften(
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
        session.headers.update(HEADERS)
        return session

    def sign(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """The request with the token."""
        # As a header of the session it would give way to what ~/.netrc has for that host.
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request

    def _away(self, problem: Exception) -> KitError:
        if isinstance(problem, ValueError):  # all ways of being no address
            return InputError(f"{self.host} is no address of GitHub's API", hint="GITHUB_API_URL, or github.api")
        return TemporaryError(f"{self.host} does not answer: {type(problem).__name__}", hint=LATER)

    def refused(self, answer: requests.Response, what: str, right: str) -> KitError:
        """What an answer means that is no success."""
        reason = self.reason(answer)
        match answer.status_code:
            case 401:
                return NotAllowed(f"GitHub does not know the token ({reason})", hint=f"it may be over; {self._login}")
            case 403:
                missing = answer.headers.get("X-Accepted-GitHub-Permissions", "").replace("=", ": ") or right
                given = f"give the token that right, in a workflow by `permissions: {right.lower()}`"
                return NotAllowed(
                    f"GitHub does not let us {what}: the right {missing} is missing ({reason})",
                    hint=self._login if right == self._right else given,
                )
            case 404:
                return NotAllowed(
                    f"GitHub does not let us {what} ({reason})",
                    hint=f"it is not there, or the token lacks {right}: who may not see a thing is told 404",
                )
            case status if status >= 500:
                return TemporaryError(f"{self.host} answers {status}: {reason}", hint=LATER)
        return KitError(f"GitHub does not {what}: {reason} ({answer.status_code})")

    def reason(self, answer: requests.Response) -> str:
        """Why GitHub refuses, as it says. Whoever answers in its place might send our token back."""
        return _message(answer).replace(self._token, "***")


def errors(answer: requests.Response) -> list[dict[str, str]]:
    """What GitHub finds wrong with a call, each with its `field`, its `code` and perhaps a `message`."""
    try:
        told = typed.read(answer.content, _Problem).errors
    except (ValueError, RecursionError):
        return []
    rows = [row for row in told if isinstance(row, dict)] if isinstance(told, list) else []
    return [{str(key): text for key, text in row.items() if isinstance(text, str)} for row in rows]


def _message(answer: requests.Response) -> str:
    try:
        said = typed.read(answer.content, _Problem).message
    except (ValueError, RecursionError):
        said = ""
    # "Validation Failed" alone helps nobody.
    wrong = [each.get("message") or " ".join(each.get(key, "") for key in ("field", "code")) for each in errors(answer)]
    said = ": ".join(filter(None, (said, ", ".join(wrong).strip())))
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
