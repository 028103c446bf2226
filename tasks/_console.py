"""What a person sees: results on stdout, everything else on stderr, and all of it in a log file."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

import platformdirs

from cloud import wait
from cloud.errors import InputError, KitError

Row = Mapping[str, Any]
"""A line of a result: what JSON shows, and what a table is made of."""

HEARTBEAT = 30.0
"""Seconds between signs of life where there is no terminal."""


def result(value: object, *, as_json: bool, text: str) -> None:
    """Print a result: as JSON, or as the text that people read, if there is any."""
    if as_json or text:
        print(json.dumps(value, indent=2, default=str) if as_json else text, flush=True)


def table(columns: Mapping[str, Callable[[Any], str]], rows: Sequence[Row], *, none: str) -> str:
    """The rows as a table: a column for each key that has a way to be written.

    A terminal wraps it; a pipe gets all of it.
    """
    if not rows:
        return none
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        drawn.add_column(column, overflow="fold")
    for row in rows:
        drawn.add_row(*(Text(written(row[column])) for column, written in columns.items()))
    console = Console(width=None if sys.stdout.isatty() else 10_000, highlight=False)
    with console.capture() as captured:
        console.print(drawn)
    return "\n".join(line.rstrip() for line in captured.get().splitlines()).strip("\n")


def say(text: str) -> None:
    """A word on stderr."""
    print(text, file=sys.stderr, flush=True)


@contextmanager
def long_work(task: str, left: Callable[[], Sequence[str]]) -> Iterator[Console]:
    """A console for work that takes a while. When it fails, the error also names the log and, having
    looked, what is `left` behind.
    """
    console = Console(task)
    try:
        yield console
    except KitError as error:
        error.add_note(f"log: {console.log}")
        for line in left():
            error.add_note(line)
        raise
    finally:
        console.close()


class Console:
    """The ear of long work: steps, the last line, the time; the whole in a log file.

    On a terminal one line is kept up to date. Elsewhere a line is printed as each step begins
    and ends, and every 30 s between.
    """

    def __init__(self, task: str, stream: TextIO | None = None) -> None:
        self._stream = stream = stream or sys.stderr
        self.log = _log_file(task)
        log = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        self._file = open(log, "w", encoding="utf-8", errors="backslashreplace")  # noqa: SIM115  # see close
        self._guard = threading.Lock()
        # A terminal of Actions keeps every line that is painted over another one.
        self.live = stream.isatty() and os.environ.get("TERM") != "dumb" and "GITHUB_ACTIONS" not in os.environ
        self.steps: list[_Step] = []
        """Those that are under way."""

    def ear(self, name: str = "") -> Ear:
        """An ear for work of that name, which may go on beside other work."""
        return Ear(self, f"{name}: " if name else "")

    def close(self) -> None:
        """Nothing more will be told."""
        self._file.close()

    def print(self, text: str) -> None:
        """A line for a person."""
        self._raw(f"{chr(13) + chr(27) + '[2K' if self.live else ''}{_printable(text)}\n")

    def paint(self) -> None:
        """Bring the one line up to date; steps that go on at the same time share it."""
        under_way = list(self.steps)
        if under_way:
            room = (os.get_terminal_size(self._stream.fileno()).columns - 1) // len(under_way)
            self._raw("\r\x1b[2K" + "".join(_printable(step.now())[: room - 1] + " " for step in under_way))

    def write(self, text: str) -> None:
        """A line for the log."""
        with self._guard:
            self._file.write(f"{datetime.now(UTC):%H:%M:%S} {text}\n")
            self._file.flush()

    def _raw(self, text: str) -> None:
        with self._guard:
            self._stream.write(text)
            self._stream.flush()


@dataclass
class _Step:
    """A part of the work that is under way."""

    head: str
    began: float
    last: str = ""

    def now(self) -> str:
        return f"{self.head} {self.elapsed()}  {self.last}"

    def elapsed(self) -> str:
        return duration(wait.clock.monotonic() - self.began)


class Ear:
    """Hears one piece of work, and says by its name whose word it is."""

    def __init__(self, console: Console, name: str) -> None:
        self._console = console
        self._name = name
        self._step: _Step | None = None

    @contextmanager
    def step(self, title: str, number: int, of: int) -> Iterator[None]:
        """Show a part of the work for as long as it lasts, and how it ended."""
        console = self._console
        step = self._step = _Step(f"{self._name}[{number}/{of}] {title}", wait.clock.monotonic())
        console.write(f"=== {step.head}")
        if not console.live:
            console.print(step.head)
        ended = threading.Event()
        painter = threading.Thread(target=self._paint, args=(step, ended), daemon=True)
        console.steps.append(step)
        painter.start()
        outcome = "failed"
        try:
            yield
            outcome = "done"
        finally:
            ended.set()
            painter.join()
            console.steps.remove(step)
            console.print(f"{step.head}: {outcome} in {step.elapsed()}")
            console.write(f"=== {step.head}: {outcome} in {step.elapsed()}")

    def line(self, text: str) -> None:
        """Keep a program's line in the log; the last one is shown."""
        self._console.write(f"{self._name}{text}")
        if self._step and text.strip():
            self._step.last = text.strip()

    def note(self, text: str) -> None:
        """Tell a person something now."""
        self._console.write(f"{self._name}{text}")
        self._console.print(f"{self._name}{text}")

    def _paint(self, step: _Step, ended: threading.Event) -> None:
        while not ended.wait(0.2 if self._console.live else HEARTBEAT):
            if self._console.live:
                self._console.paint()
            else:
                self._console.print(step.now())


def duration(seconds: float) -> str:
    """`8 s`, `2 min 5 s`."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def age(moment: datetime) -> str:
    """How long ago: `5 min`, `3 h`, `12 d`."""
    seconds = (wait.clock.now() - moment).total_seconds()
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return "now"


def _printable(text: str) -> str:
    """No control characters: a guest's console must not move our cursor."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def _log_file(task: str) -> Path:
    folder = platformdirs.user_log_path("kontain")
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as problem:
        raise InputError(f"can't keep a log in {folder}: {problem.strerror}", hint="set XDG_STATE_HOME") from problem
    return folder / f"{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}-{task}-{os.getpid()}.log"
