"""What is kept elsewhere, read to its end and held against its checksum: as a stranger would, or to have it here.

A transfer that breaks goes on from where it was.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import urlsplit

from cloud import wait
from cloud.errors import InputError, Interrupted, KitError, NotAllowed, NotFound, TemporaryError
from cloud.publish import web
from cloud.publish.transfer import Pace

if TYPE_CHECKING:
    import requests

SLOWEST = 1024
"""Bytes a second: what comes more slowly stands still."""

Opened = Callable[[dict[str, str]], "requests.Response"]
"""Asks for the file with these headers; the answer is a stream."""


class Wrong(KitError):
    """What can be read is not what was sent."""


def check(opened: Opened, size: int, sha256: str, pace: Pace, *, stall: float, into: BinaryIO | None = None) -> None:
    """Read a file and see that it is the one; `into` gets its bytes.

    `size` may be 0, and `sha256` empty, where nobody knows it. `stall`: seconds for which it may stand still.

    Raises:
        Wrong: it is another one.
        InputError: it can't be written down.
        NotFound: there is none.
        TemporaryError: it can't be read, however often it was tried.
    """
    digest = hashlib.sha256()
    done = failures = 0
    while True:
        answer: requests.Response | None = None
        trouble: KitError | None
        before = done
        try:
            answer = opened({"Accept-Encoding": "identity"} | ({"Range": f"bytes={done}-"} if done else {}))
            trouble = _unfit(answer, done, size)
            if trouble is None and answer.status_code == 200 and done:
                digest, done = hashlib.sha256(), 0  # a server that knows no ranges begins anew
                _put(into, None)
            if trouble is None:
                pace.begin(done)
                for block in _moving(answer, stall):
                    if wait.interrupted():
                        raise Interrupted
                    digest.update(block)
                    _put(into, block)
                    done += len(block)
                    pace.at(done)
                if not size or done >= size:
                    break
                trouble = TemporaryError(f"{web.public(answer.url)} ended after {done} of {size} bytes")
        except TemporaryError as problem:
            trouble = problem
        finally:
            if answer is not None:
                answer.close()
        failures = 1 if done > before else failures + 1
        if failures >= web.TRIES or not isinstance(trouble, TemporaryError):
            raise trouble
        wait.pause(web.pause(failures, answer))
    if (size and done != size) or (sha256 and digest.hexdigest() != sha256):
        raise Wrong(f"{done} bytes with the checksum {digest.hexdigest()} are read, not {size} with {sha256}")


def _moving(answer: requests.Response, stall: float) -> Iterator[bytes]:
    """The content, for as long as it moves.

    Raises:
        TemporaryError: it broke off, or stands still, or as good as that.
    """
    since, came = wait.clock.monotonic(), 0
    for block in web.blocks(answer):
        yield block
        came += len(block)
        now = wait.clock.monotonic()
        if now - since >= stall:
            if came < SLOWEST * (now - since):
                host = urlsplit(answer.url).netloc
                raise TemporaryError(f"{host} sends {came} bytes in {now - since:.0f} s", hint=web.LATER)
            since, came = now, 0


def _put(into: BinaryIO | None, block: bytes | None) -> None:
    """Write the block, or without one take back all that was written."""
    if into is None:
        return
    try:
        if block is None:
            into.seek(0)
            into.truncate()
        else:
            into.write(block)
    except OSError as problem:  # not the network's
        raise InputError(f"it can't be written down: {problem.strerror}", hint="is the disk full?") from problem


def _unfit(answer: requests.Response, done: int, size: int) -> KitError | None:
    """Why the answer is not (the rest of) the file."""
    if answer.status_code == 416 and size and done >= size:
        return Wrong(f"there are no more than {done} bytes")
    if answer.status_code not in (200, 206):
        found = web.refusal(answer, "reading back")
        if isinstance(found, NotAllowed | NotFound):
            return found
        return found if isinstance(found, TemporaryError) else Wrong(found.message)
    told = answer.headers.get("Content-Range", "")
    if answer.status_code == 206 and not told.startswith(f"bytes {done}-"):
        return Wrong(f"another part is sent than was asked for: {told[:60]}")
    length = answer.headers.get("Content-Length", "")
    if answer.status_code == 200 and size and length.isdigit() and int(length) != size:
        return Wrong(f"it has {length} bytes, not {size}")
    return None
