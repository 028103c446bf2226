"""What comes to GitHub and what it answers, whatever it is about."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any


@dataclass
class Refusal(Exception):
    """An answer that is an error."""

    status: int
    message: str
    headers: dict[str, str] = field(default_factory=dict)
    errors: tuple[Mapping[str, str], ...] = ()
    """What is wrong with the call, where it has the form of one."""

    @property
    def answer(self) -> Answer:
        wrong = {"errors": [dict(each) for each in self.errors]} if self.errors else {}
        return Answer(self.status, {**error(self.status, self.message), **wrong}, self.headers)


@dataclass
class Answer:
    """Status, headers, and a body: JSON, or what is sent as it is. None of them: the connection is reset."""

    status: int
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    reset: bool = False
    silent: bool = False

    @property
    def sent(self) -> bytes:
        if self.body is None or isinstance(self.body, bytes):
            return self.body or b""
        return json.dumps(self.body).encode()


@dataclass
class Call:
    """A call that came to the API."""

    method: str
    path: str
    query: dict[str, str]
    headers: Any
    body: Any
    received: Received | None = None
    """The file that it brought."""


@dataclass(frozen=True)
class Received:
    """A file that was uploaded: what is left of it."""

    size: int
    sha256: str
    whole: bool
    """All came that was announced."""
    announced: bool
    """Its length was told before."""
    content: bytes | None = None
    """All of it, where it is small."""


def error(status: int, message: str) -> dict[str, str]:
    """What GitHub says with an error."""
    return {"message": message, "documentation_url": "https://docs.github.com/rest", "status": str(status)}


def moment(told: datetime | None) -> str | None:
    """A moment, as GitHub writes it."""
    return f"{told.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}" if told else None
