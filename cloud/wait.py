"""The one clock, the one random source and the one polling loop.

All waiting goes through here, for two reasons: a signal ends every wait at once, in
whatever thread it runs, and tests put another clock in to let years pass in seconds.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeVar

from cloud.errors import Interrupted, TimedOut

T = TypeVar("T")

_interrupted = threading.Event()


class Clock:
    """The machine's own time, and its own randomness."""

    def now(self) -> datetime:
        """This moment, in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds that never go back, for measuring."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Let so many seconds pass, or fewer if an interrupt comes."""
        _interrupted.wait(seconds)

    def token(self) -> str:
        """Six characters that tell apart what was made in the same second."""
        return secrets.token_hex(3)


clock = Clock()


def interrupt() -> None:
    """End all waiting, now and from now on. Safe in a signal handler."""
    _interrupted.set()


def interrupted() -> bool:
    """Whether `interrupt` was called."""
    return _interrupted.is_set()


def resume() -> None:
    """Forget an interrupt: for the next command of the same process, and for tests."""
    _interrupted.clear()


def pause(seconds: float) -> None:
    """Let so many seconds pass.

    Raises:
        Interrupted: at once, when an interrupt comes or has come.
    """
    if not interrupted():
        clock.sleep(seconds)
    if interrupted():
        raise Interrupted


def until(
    look: Callable[[], T | None],
    *,
    what: str,
    timeout: float,
    every: float = 0.5,
    hint: str = "",
    finish: bool = False,
) -> T:
    """Look, again and again, until the look returns something; return that.

    `finish` keeps looking after an interrupt: for cleaning up, which must end.

    Raises:
        TimedOut: `what` did not happen within `timeout` seconds.
        Interrupted: an interrupt came first.
    """
    deadline = clock.monotonic() + timeout
    while (found := look()) is None:
        if clock.monotonic() >= deadline:
            raise TimedOut(f"{what}: not within {timeout:.0f} s", hint=hint)
        if finish:
            time.sleep(every)
        else:
            pause(every)
    return found
