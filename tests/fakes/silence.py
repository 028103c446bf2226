"""A server that says nothing: who asks it finds out by his own clock."""

from __future__ import annotations

import socket

_LONGEST = 60.0
"""Seconds after which a caller is taken for one who waits for ever."""


def until_he_hangs_up(line: socket.socket) -> None:
    """Keep the line open, and say nothing on it, until the caller ends it.

    Raises:
        TimeoutError: he never does.
    """
    line.settimeout(_LONGEST)
    try:
        while line.recv(4096):
            pass
    except TimeoutError:
        raise
    except OSError:
        pass  # he ended it without a word
