"""A file to where a registry says, a block at a time.

A body needs a length and a fresh start for each try: requests sends one without as chunks, which storage refuses, and
a file that was read before as nothing at all, which some storage takes. A transfer may last as long as it likes but
not stand still.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from cloud import wait
from cloud.errors import InputError, Interrupted, KitError, NotAllowed, NotFound, TemporaryError
from cloud.progress import Progress
from cloud.publish import web

if TYPE_CHECKING:
    import requests


class Pace:
    """Tells how far a transfer is, how fast it goes and how long it will take; once a second."""

    def __init__(self, what: str, size: int, progress: Progress) -> None:
        self._what = what
        self._size = size
        self._progress = progress
        self._began = self._told = wait.clock.monotonic()
        self._from = 0

    def at(self, done: int) -> None:
        """So many bytes of all are done."""
        now = wait.clock.monotonic()
        if now - self._told >= 1:
            self._told = now
            rate = max(1.0, (done - self._from) / (now - self._began))
            left = (self._size - done) / rate
            far = f"{done >> 20} of {self._size >> 20} MiB"
            self._progress.line(f"{self._what}: {far}, {rate / (1 << 20):.1f} MiB/s, {_span(left)} left")

    def begin(self, done: int = 0) -> None:
        """Once more from there."""
        self._began, self._from = wait.clock.monotonic(), done


def _span(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"


class Body:
    """A file's bytes as requests wants them."""

    def __init__(self, file: BinaryIO, size: int, pace: Pace) -> None:
        self._file = file
        self._size = size
        self._pace = pace
        self.sent = 0

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[bytes]:  # what requests knows a stream by
        while block := self.read(web.BLOCK):
            yield block

    def read(self, size: int = -1) -> bytes:
        """The next block.

        Raises:
            Interrupted: an interrupt came.
            InputError: the file has become shorter.
        """
        if wait.interrupted():
            raise Interrupted
        block = self._file.read(min(size if size > 0 else web.BLOCK, self._size - self.sent))
        if not block and self.sent < self._size:
            raise InputError("the file became shorter while it was sent", hint="build it, then again")
        self.sent += len(block)
        self._pace.at(self.sent)
        return block

    def gone(self) -> bool:
        """Whether all of it is on its way."""
        return self.sent == self._size


def upload(
    session: requests.Session,
    file: Path,
    size: int,
    address: Callable[[], str],
    there: Callable[[], bool],
    *,
    stall: float,
    pace: Pace,
) -> None:
    """Put the file to an address, a new one for each try.

    Where all was sent and no answer came, `there` is asked before it is sent again.

    Raises:
        TemporaryError: it did not go, however often it was tried.
        Refused, NotAllowed: the storage does not take it.
        Interrupted: an interrupt came.
    """
    for tried in range(1, web.TRIES + 1):
        url = address()
        answer: requests.Response | None = None
        trouble: KitError
        with open(file, "rb", buffering=0) as source:
            body = Body(source, size, pace)
            pace.begin()
            try:
                answer = web.ask(session, "PUT", url, timeout=stall, data=body, sent=body.gone)
            except TemporaryError as problem:
                trouble = problem
        if answer is not None:
            if answer.ok:
                return
            trouble = web.refusal(answer, f"sending {file.name}")
            # An address whose time is over is answered with 403, and a half of a file with 400.
            if not isinstance(trouble, TemporaryError | NotAllowed | NotFound) and answer.status_code != 400:
                raise trouble
        elif body.sent == size and there():
            return
        if tried == web.TRIES:
            raise trouble
        wait.pause(web.pause(tried, answer))
