"""What a person sees: results on stdout, everything else on stderr, and all of it in a log file."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

import platformdirs

from cloud import wait
from cloud.errors import InputError

Row = Mapping[str, Any]
"""A line of a result: what JSON shows, and what a table is made of."""

HEARTBEAT = 30.0
"""Seconds between signs of life where there is no terminal."""


def result(value: object, *, as_json: bool, text: str) -> None:
    """Print a result: as JSON, or as the text that people read."""
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


class Console:
    """The ear of long work: steps, the last line, the time; the whole in a log file.

    On a terminal one line is kept up to date. Elsewhere a line is printed as each step begins
    and ends, and every 30 s between.
    """

    def __init__(self, task: str, stream: TextIO = sys.stderr) -> None:
        self._stream = stream
        self.log = _log_file(task)
        log = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        self._file = open(log, "w", encoding="utf-8", errors="backslashreplace")  # noqa: SIM115  # see close
        self._guard = threading.Lock()
        self._head = ""
        self._began = 0.0
        self._last = ""
        self._live = stream.isatty() and os.environ.get("TERM") != "dumb"

    @contextmanager
    def step(self, title: str, number: int, of: int) -> Iterator[None]:
        """Show a part of the work for as long as it lasts, and how it ended."""
        self._head, self._began, self._last = f"[{number}/{of}] {title}", wait.clock.monotonic(), ""
        self._write(f"=== {self._head}")
        if not self._live:
            self._print(self._head)
        ended = threading.Event()
        painter = threading.Thread(target=self._paint, args=(ended,), daemon=True)
        painter.start()
        outcome = "failed"
        try:
            yield
            outcome = "done"
        finally:
            ended.set()
            painter.join()
            self._print(f"{self._head}: {outcome} in {self._elapsed()}")
            self._write(f"=== {self._head}: {outcome} in {self._elapsed()}")

    def line(self, text: str) -> None:
        """Keep a program's line in the log; the last one is shown."""
        self._write(text)
        self._last = text.strip() or self._last

    def note(self, text: str) -> None:
        """Tell a person something now."""
        self._write(text)
        self._print(text)

    def close(self) -> None:
        """Nothing more will be told."""
        self._file.close()

    def _paint(self, ended: threading.Event) -> None:
        while not ended.wait(0.2 if self._live else HEARTBEAT):
            now = f"{self._head} {self._elapsed()}  {self._last}"
            if self._live:
                width = os.get_terminal_size(self._stream.fileno()).columns
                self._raw(f"\r\x1b[2K{_printable(now)[: width - 1]}")
            else:
                self._print(now)

    def _print(self, text: str) -> None:
        self._raw(f"{chr(13) + chr(27) + '[2K' if self._live else ''}{_printable(text)}\n")

    def _raw(self, text: str) -> None:
        with self._guard:
            self._stream.write(text)
            self._stream.flush()

    def _write(self, text: str) -> None:
        with self._guard:
            self._file.write(f"{datetime.now(UTC):%H:%M:%S} {text}\n")
            self._file.flush()

    def _elapsed(self) -> str:
        return duration(wait.clock.monotonic() - self._began)


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
