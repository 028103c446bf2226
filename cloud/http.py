"""A server that is busy or away is asked again.

Not by urllib3: no interrupt ends its pauses, and its warnings hold whole addresses.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from contextlib import suppress
from typing import TYPE_CHECKING

from cloud import wait

if TYPE_CHECKING:
    import requests

PAUSES = (1.0, 2.0, 4.0, 8.0)
"""Seconds between two requests."""

BROKEN = (500, 502, 503, 504)
"""What a server answers when the fault is its own."""

BUSY = (429, *BROKEN)
"""The same, and when it is asked too often."""


def persistently(ask: Callable[[], requests.Response], again: Container[int] = BUSY) -> requests.Response:
    """The answer: the first whose status is none of these, else the last one.

    What is asked after an interrupt cleans up, and is asked once: its own error tells more than the interrupt.

    Raises:
        Interrupted: an interrupt came in between.
        requests.exceptions.RequestException: it can't be asked, or gave no answer, the last time either.
    """
    import requests

    away = (
        requests.exceptions.ConnectionError,
        requests.exceptions.Timeout,
        requests.exceptions.ChunkedEncodingError,  # it went away in the middle of its answer
    )
    for pause in () if wait.interrupted() else PAUSES:
        with suppress(*away):
            answer = ask()
            if answer.status_code not in again:
                return answer
            answer.close()
        wait.pause(pause)
    return ask()
