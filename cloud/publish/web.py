"""HTTP to a registry and to its storage: who gets to see the token, what is tried again, and what an error says.

requests would put a `.netrc` entry in the place of our token, and its messages hold whole addresses, signatures too:
so it looks at nothing of the user's but the proxies that we hand it, and no message of its is shown.
"""

from __future__ import annotations

import json
import logging
import os
import random
from collections.abc import Callable, Mapping
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

_LATER = "it may pass: the same command later goes on where this one ended"
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
    **body: Any,
) -> requests.Response:
    """Ask once. Nothing is followed to another address, unless that is wanted.

    Raises:
        InputError: it is no address.
        TemporaryError: there was no answer.
    """
    import requests

    if wait.interrupted():
        raise Interrupted
    try:
        return session.request(
            method,
            url,
            headers=headers,
            timeout=(timeout, timeout),
            allow_redirects=follow,
            proxies=requests.utils.get_environ_proxies(url),
            **body,
        )
    except requests.exceptions.RequestException as problem:
        raise failed(problem, url) from None
    except ValueError:  # what requests and urllib3 find to be no address
        raise InputError(f"{public(url)} is no address", hint="look at publish.server and VAGRANT_SERVER_URL") from None


def failed(problem: Exception, url: str) -> KitError:
    """What requests raised as an error of ours, without its words."""
    import requests

    if isinstance(problem, requests.exceptions.SSLError):
        return KitError(f"{_host(url)} is not trusted: {type(problem).__name__}", hint="set REQUESTS_CA_BUNDLE")
    if isinstance(problem, ValueError):  # InvalidURL, MissingSchema ...
        return InputError(f"{public(url)} is no address", hint="look at publish.server and VAGRANT_SERVER_URL")
    return TemporaryError(f"{_host(url)} does not answer: {type(problem).__name__}", hint=_LATER)


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
        raise TemporaryError(f"{_host(answer.url)} wants no more calls for {told:.0f} s", hint=_LATER)
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
        return TemporaryError(told, hint=_LATER)
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
