"""Waits for the end of what we remove: as long as it takes, and seconds only once the caller has stopped us."""

from __future__ import annotations

from collections.abc import Callable

from cloud import wait
from cloud.errors import Interrupted, TimedOut

_EVERY = 1.0


def seen(look: Callable[[], bool | None], *, what: str, patience: float, hurried: float) -> bool:
    """Look until it is so, and tell whether it is.

    `patience` and `hurried` are seconds: the one for who has time, the other from an interrupt on,
    whether that came before or comes while we wait.
    """
    try:
        return wait.until(look, what=what, timeout=patience, every=_EVERY)
    except TimedOut:
        return False
    except Interrupted:
        pass
    try:
        return wait.until(look, what=what, timeout=hurried, every=_EVERY, finish=True)
    except TimedOut:
        return False
