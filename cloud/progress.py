"""What long work tells while it runs. Who listens (a terminal, a log, nobody) is not its business."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Progress(Protocol):
    """The ear of something long."""

    def step(self, title: str, number: int, of: int) -> AbstractContextManager[None]:
        """A named part of the work, for as long as the `with` lasts: part `number` of `of`."""

    def line(self, text: str) -> None:
        """A line that a program printed: kept in the log, the last one shown."""

    def note(self, text: str) -> None:
        """A sentence that a person should see."""


class Silent:
    """Nobody listens."""

    @contextmanager
    def step(self, title: str, number: int, of: int) -> Iterator[None]:
        """Do the part, say nothing."""
        yield

    def line(self, text: str) -> None:
        """Drop it."""

    def note(self, text: str) -> None:
        """Drop it."""
