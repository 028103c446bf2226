"""HTTP to a registry and to its storage: who gets to see the token, what is tried again, and what an error says.

requests would put a `.netrc` entry in the place of our token, and its messages hold whole addresses, signatures too:
so it looks at nothing of the user's but the proxies that we hand it, and no message of its is shown. Its time-out is
that of each read, which a server that sends a byte now and then never meets, and an interrupt does not end it: so a
thread asks, and we look at the clock.
"""

from __future__ import annotations

import io
import json
import logging
import os
import random
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from cloud import wait
from cloud.errors import InputError, Interrupted, KitError, NotAllowed, NotFound, TemporaryError

if TYPE_CHECKING:
    import requests

BLOCK = 1 << 21
"""Bytes that are read from a file and handed to the network at a time: fewer cost calls, plain and by TLS, and far more
leave the processor's cache (benchmarks/upload.py)."""

TRIES = 5
"""How often something is asked for that does not work."""

AGAIN = (408, 425, 429, 499, 500, 502, 503, 504)
"""What a server answers that is busy, or has trouble of its own. 499 is HCP's, when what is behind it is slow."""

LONGEST = 300.0
"""Seconds that a server may make us wait until we are asked again ourselves."""

LARGEST = 32 << 20
"""Bytes that an answer may have which is no box. Vagrant reads no catalog of more than 20 MiB."""

_CHUNK = 1 << 18
_LOOK = 0.1
"""Seconds between two looks at what ends the waiting for an answer."""

LATER = "it may pass: the same command later goes on where this one ended"
_LOGIN = "set VAGRANT_CLOUD_TOKEN, or HCP_CLIENT_ID and HCP_CLIENT_SECRET, to what may write there"


class Refused(KitError):
    """A server refuses a call, with that `status`."""

    def __init__(self, message: str, status: int, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.status = status


def session() -> requests.Session:
    """A session without a login, which sends a file in large blocks."""
    import requests
    from requests.adapters import HTTPAdapter

    # Under Invoke's --debug they would log addresses with their signatures.
    for name in ("urllib3", "botocore", "boto3", "s3transfer"):
        logging.getLogger(name).setLevel(logging.INFO)

    class Large(HTTPAdapter):
        def init_poolmanager(self, *args: Any, **keywords: Any) -> None:
            super().init_poolmanager(*args, **keywords, blocksize=BLOCK)

    made = requests.Session()
    made.trust_env = False
    made.verify = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or True
    for scheme in ("http://", "https://"):
        made.mount(scheme, Large())
    return made


def ask(
    session: requests.Session,
    method: str,
    url: str,
    *,
    timeout: float,
    headers: Mapping[str, str] | None = None,
    follow: bool = False,
    stream: bool = False,
    sent: Callable[[], bool] = lambda: True,
    **body: Any,
) -> requests.Response:
    """Ask once. Nothing is followed to another address, unless that is wanted.

    The answer is there within `timeout` seconds, all of it; of a `stream` that is no error it is the head, and `blocks`
    reads the rest. What is sent may last longer, as long as it moves: the time begins when all of it is `sent`.

    Raises:
        InputError: it is no address.
        TemporaryError: there was no answer, or not in time.
        KitError: the answer is too large for one.
        Interrupted: an interrupt came.
    """
    import requests

    if wait.interrupted():
        raise Interrupted
    asked = _Asked()
    wanted = {"headers": headers, "timeout": (timeout, timeout), "allow_redirects": follow, "stream": True, **body}

    def work() -> None:
        try:
            answer = session.request(method, url, proxies=requests.utils.get_environ_proxies(url), **wanted)
            if not (stream and answer.ok):
                _whole(answer, asked.over)
            if asked.over.is_set():
                answer.close()
            asked.answer = answer
        except Exception as problem:  # noqa: BLE001  # raised again where it is waited for
            asked.problem = problem
        finally:
            asked.ended.set()

    threading.Thread(target=work, daemon=True).start()
    try:
        _awaited(asked.ended, sent, timeout, url)
        if asked.problem:
            raise asked.problem
    except requests.exceptions.RequestException as problem:
        raise failed(problem, url) from None
    except ValueError:  # what requests and urllib3 find to be no address
        raise InputError(f"{public(url)} is no address", hint="look at publish.server and VAGRANT_SERVER_URL") from None
    finally:
        asked.over.set()
    assert asked.answer is not None
    return asked.answer


class _Asked:
    """What becomes of a call."""

    def __init__(self) -> None:
        self.answer: requests.Response | None = None
        self.problem: Exception | None = None
        self.ended = threading.Event()
        self.over = threading.Event()
        """Nobody waits for it any more."""


def _awaited(ended: threading.Event, sent: Callable[[], bool], timeout: float, url: str) -> None:
    deadline = float("inf")
    while not ended.wait(min(_LOOK, timeout)):
        now = wait.clock.monotonic()
        if wait.interrupted():
            raise Interrupted
        if deadline == float("inf") and sent():
            deadline = now + timeout
        if now >= deadline:
            raise TemporaryError(f"{_host(url)} does not answer within {timeout:g} s", hint=LATER)


def _whole(answer: requests.Response, over: threading.Event) -> None:
    """Take in the content, so that the answer has it, for as long as it is waited for."""
    content = io.BytesIO()
    for block in blocks(answer):
        content.write(block)
        if over.is_set():
            break
        if content.tell() > LARGEST:
            answer.close()
            told = f"{_host(answer.url)} answers with more than {LARGEST >> 20} MiB"
            raise KitError(told, hint="something between us? look at publish.server and publish.address")
    content.seek(0)
    answer.raw = content


def blocks(answer: requests.Response) -> Iterator[bytes]:
    """A stream's content, as it comes: each read returns what is there, and does not wait for more.

    Raises:
        TemporaryError: it broke off, or stood still for the time-out of the call.
    """
    import urllib3

    try:
        while block := answer.raw.read1(_CHUNK, decode_content=True):
            yield block
    except (urllib3.exceptions.HTTPError, OSError) as problem:
        raise failed(problem, answer.url) from None


def failed(problem: Exception, url: str) -> KitError:
    """What requests raised as an error of ours, without its words."""
    import requests

    if isinstance(problem, requests.exceptions.SSLError):
        return KitError(f"{_host(url)} is not trusted: {type(problem).__name__}", hint="set REQUESTS_CA_BUNDLE")
    if isinstance(problem, ValueError):  # InvalidURL, MissingSchema ...
        return InputError(f"{public(url)} is no address", hint="look at publish.server and VAGRANT_SERVER_URL")
    return TemporaryError(f"{_host(url)} does not answer: {type(problem).__name__}", hint=LATER)


def persistently(act: Callable[[], requests.Response]) -> requests.Response:
    """The answer, asked for again where that may help, after as long as the server says.

    Raises:
        TemporaryError: it does not answer, or wants to be left alone for long.
        Interrupted: an interrupt came.
    """
    answer: requests.Response | None
    for tried in range(1, TRIES + 1):
        try:
            answer = act()
        except TemporaryError:
            if tried == TRIES:
                raise
            answer = None
        if answer is not None and (answer.status_code not in AGAIN or tried == TRIES):
            return answer
        wait.pause(pause(tried, answer))
    raise AssertionError("unreachable")


def pause(tried: int, answer: requests.Response | None = None) -> float:
    """Seconds until the next try: what the server says, or twice as long each time, not all at the same moment.

    Raises:
        TemporaryError: the server says more than LONGEST.
    """
    told = _told_pause(answer.headers) if answer is not None else None
    if answer is not None and told is not None and told > LONGEST:
        raise TemporaryError(f"{_host(answer.url)} wants no more calls for {told:.0f} s", hint=LATER)
    return max(told or 0.0, 2.0 ** (tried - 1) * random.uniform(0.5, 1.0))


def _told_pause(headers: Mapping[str, str]) -> float | None:
    """`Retry-After` in seconds, or one of the two headers that hold a moment since 1970."""
    for name, since in (("Retry-After", 0.0), ("x-hcp-vagrant-limit-retry-after", None), ("X-RateLimit-Reset", None)):
        text = headers.get(name, "")
        if name == "X-RateLimit-Reset" and headers.get("X-RateLimit-Remaining", "0") != "0":
            continue  # it is always there, and means something when nothing remains
        if text.isascii() and text.isdigit() and len(text) < 12:
            return max(0.0, int(text) - (wait.clock.now().timestamp() if since is None else since))
    return None


def refusal(answer: requests.Response, what: str) -> KitError:
    """The error that an answer means which is none of success: what was asked for, and what the server says."""
    status = answer.status_code
    said = words(answer)
    told = f"{what}: {_host(answer.url)} answers {status}{f': {said}' if said else ''}"
    if status in (401, 402, 403):
        return NotAllowed(told, hint=_LOGIN)
    if status in AGAIN or status >= 500:
        return TemporaryError(told, hint=LATER)
    if status == 404:
        return NotFound(told, hint="it is not there, or this login may not see it")
    return Refused(told, status, hint="when what it does not like is mended, the same command goes on")


def words(answer: requests.Response) -> str:
    """What a server says of an error: `errors` as text, list or objects; a page of HTML says nothing."""
    try:
        told = json.loads(answer.content[: 1 << 16])
    except (ValueError, RecursionError):
        return ""
    errors = (
        told.get("errors") or told.get("error_description") or told.get("message") if isinstance(told, dict) else ""
    )
    listed = errors if isinstance(errors, list) else [errors]
    texts = [each.get("message") if isinstance(each, dict) else each for each in listed]
    text = "; ".join(each for each in texts if isinstance(each, str) and each)[:300]
    return scrubbed(text, answer.request.headers.get("Authorization", ""))


def scrubbed(text: str, authorization: str) -> str:
    """The text without the token, should a server repeat it, and without the queries of addresses."""
    for secret in filter(None, authorization.split()[1:]):
        text = text.replace(secret, "***")
    return " ".join(public(word) if "://" in word else word for word in text.split())


def public(url: str) -> str:
    """The address without a password or a signature in it."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "what was given"
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


def _host(url: str) -> str:
    return urlsplit(url).netloc.rpartition("@")[2]
