"""What came from outside as a value of a type: msgspec, one thread at a time.

Two threads that are the first to use a struct crash the process, or get half of it (msgspec 0.22.0, Python 3.11:
what it knows of a struct's fields is there for others before it is complete).
"""

from __future__ import annotations

import threading
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")

_one_at_a_time = threading.Lock()


def read(content: bytes, kind: type[T]) -> T:
    """A JSON text.

    Raises:
        ValueError, RecursionError: it is none, or not of that type.
    """
    with _one_at_a_time:
        return msgspec.json.decode(content, type=kind)


def convert(value: Any, kind: type[T], *, strict: bool = True) -> T:
    """What a parser made of a text. Unless `strict`, a text may be a number.

    Raises:
        msgspec.ValidationError: it is not of that type.
    """
    with _one_at_a_time:
        return msgspec.convert(value, kind, strict=strict)
