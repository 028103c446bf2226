"""The one clock, the one random source and the one polling loop.

All waiting goes through here, for two reasons: a signal ends every wait at once, in
whatever thread it runs, and tests put another clock in to let years pass in seconds.
"""

from __future__ import annotations

import re
import secrets
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from cloud.errors import InputError, Interrupted, TimedOut

T = TypeVar("T")

_interrupted = threading.Event()

LONGEST = timedelta(days=365)
"""No span that somebody may ask for is longer."""

# Eight digits are a year in seconds, and can't be too many for a timedelta.
_SPAN = re.compile(
    r"(?:(?P<days>[0-9]{1,8})d)?(?:(?P<hours>[0-9]{1,8})h)?(?:(?P<minutes>[0-9]{1,8})m)?(?:(?P<seconds>[0-9]{1,8})s)?"
)


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


def span(text: str) -> timedelta:
    """How long that is: `90s`, `10m`, `6h`, `7d`, or together, the longest first: `1h30m`.

    Raises:
        InputError: it is no such text, or nothing, or more than a year.
    """
    found = _SPAN.fullmatch(text)
    told = timedelta(**{unit: int(count or 0) for unit, count in found.groupdict().items()}) if found else timedelta()
    if not timedelta() < told <= LONGEST:
        raise InputError(f"{text!r} is no span of time, or not within a year", hint="as 90s, 10m, 6h or 7d")
    return told
