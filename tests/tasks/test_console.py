"""What a person sees: one live line on a terminal, few lines in a pipe, everything in the log."""

from __future__ import annotations

import fcntl
import io
import json
import os
import pty
import re
import stat
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud import wait
from cloud.errors import InputError
from tasks import _console
from tasks._console import Console, age, duration, result, table

ROOT = Path(__file__).resolve().parents[2]


class Terminal:
    """A terminal of 40 columns; what was written to it can be read."""

    def __init__(self) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 40, 0, 0))
        self.stream = open(slave, "w", encoding="utf-8")  # noqa: SIM115  # closed below
        self._seen = b""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        try:
            while piece := os.read(self._master, 4096):
                self._seen += piece
        except OSError:
            pass  # the other side is closed: that is how a terminal ends

    def text(self) -> str:
        """All that was written."""
        self.stream.close()
        self._reader.join(5)
        os.close(self._master)
        return self._seen.decode().replace("\r\n", "\n")


@pytest.fixture(autouse=True)
def _terminal_is_a_plain_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")


@pytest.fixture
def pipe() -> io.StringIO:
    return io.StringIO()


def work(console: Console) -> None:
    ear = console.ear()
    with ear.step("build it", 1, 2):
        ear.line("a line of a program")
        ear.note("something to know")
    console.close()


class TestInAPipe:
    def test_a_step_is_two_lines_and_programs_are_not_heard(self, pipe: io.StringIO) -> None:
        work(Console("test", pipe))
        assert pipe.getvalue() == "[1/2] build it\nsomething to know\n[1/2] build it: done in 0 s\n"

    def test_a_step_that_fails_says_so(self, pipe: io.StringIO) -> None:
        console = Console("test", pipe)
        with pytest.raises(KeyError), console.ear().step("build it", 2, 2):
            raise KeyError
        console.close()
        assert pipe.getvalue().endswith("[2/2] build it: failed in 0 s\n")

    def test_there_is_a_sign_of_life_now_and_then(self, pipe: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(_console, "HEARTBEAT", 0.1)
        console = Console("test", pipe)
        ear = console.ear()
        with ear.step("build it", 1, 2):
            ear.line("unpacking gcc")
            time.sleep(0.35)
        console.close()
        beats = [line for line in pipe.getvalue().splitlines() if "unpacking gcc" in line]
        assert 2 <= len(beats) <= 4 and beats[0] == "[1/2] build it 0 s  unpacking gcc"

    def test_no_heart_beats_after_the_step(self, pipe: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(_console, "HEARTBEAT", 0.05)
        work(Console("test", pipe))
        before = pipe.getvalue()
        time.sleep(0.2)
        assert pipe.getvalue() == before

    def test_a_terminal_that_is_dumb_is_a_pipe(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TERM", "dumb")
        terminal = Terminal()
        work(Console("test", terminal.stream))
        assert "\x1b" not in terminal.text()

    def test_work_side_by_side_says_whose_word_it_is(self, pipe: io.StringIO) -> None:
        console = Console("test", pipe)
        aws, azure = console.ear("aws"), console.ear("azure")
        with aws.step("build it", 1, 2), azure.step("prove it", 2, 4):
            aws.note("a word")
            azure.line("a line of a program")
        console.close()
        assert pipe.getvalue().splitlines() == [
            "aws: [1/2] build it",
            "azure: [2/4] prove it",
            "aws: a word",
            "azure: [2/4] prove it: done in 0 s",
            "aws: [1/2] build it: done in 0 s",
        ]
        assert " azure: a line of a program\n" in console.log.read_text()


class TestOnATerminal:
    def test_work_side_by_side_shares_the_line(self) -> None:
        terminal = Terminal()
        console = Console("test", terminal.stream)
        aws, azure = console.ear("aws"), console.ear("azure")
        with aws.step("build it", 1, 2), azure.step("prove it", 2, 4):
            time.sleep(0.5)
        console.close()
        painted = terminal.text().split("\r\x1b[2K")
        assert any("aws: [1/2] build" in part and "azure: [2/4] pro" in part for part in painted)
        assert all(len(part.rstrip("\n")) < 40 for part in painted)

    def test_one_line_is_kept_up_to_date_and_fits(self) -> None:
        terminal = Terminal()
        console = Console("test", terminal.stream)
        ear = console.ear()
        with ear.step("build it", 1, 2):
            ear.line("unpacking " + "g" * 200)
            time.sleep(0.5)
        console.close()
        seen = terminal.text()
        painted = [part for part in seen.split("\r\x1b[2K") if part]
        assert any(part.startswith("[1/2] build it 0 s  unpacking gg") for part in painted)
        assert all(len(part.rstrip("\n")) < 40 for part in painted)
        assert seen.count("\n") == 1 and re.search(r"\r\x1b\[2K\[1/2\] build it: done in [01] s\n\Z", seen)

    def test_a_note_stays_above_it(self) -> None:
        terminal = Terminal()
        work(Console("test", terminal.stream))
        assert "\r\x1b[2Ksomething to know\n" in terminal.text()


@given(st.text())
def test_control_characters_never_reach_a_person(text: str) -> None:
    stream = io.StringIO()
    console = Console("test", stream)
    console.log.unlink()
    with console.ear().step(text, 1, 1):
        console.ear().note(text)
    console.ear().note("\x1b[2J\x9b2J\rgone\x07\u202e")
    console.close()
    lines = stream.getvalue().removesuffix("\n").split("\n")
    assert len(lines) == 4 and all(line.isprintable() for line in lines)


class TestTheLog:
    def test_has_every_line_with_its_time_and_is_its_owners(self, pipe: io.StringIO) -> None:
        before = os.umask(0)
        try:
            console = Console("images.l0base", pipe)
            with console.ear().step("build it", 1, 1):
                for number in range(1000):
                    console.ear().line(f"line {number} é\x1b[31m")
                # It is whole at any moment: a kill may come.
                assert "line 999" in console.log.read_text()
            console.close()
        finally:
            os.umask(before)
        text = console.log.read_text("utf-8")
        assert all(f" line {number} é\x1b[31m\n" in text for number in range(1000))
        assert "=== [1/1] build it\n" in text and "=== [1/1] build it: done in 0 s\n" in text
        assert time.strptime(text[:8], "%H:%M:%S")
        assert stat.S_IMODE(console.log.stat().st_mode) == 0o600
        assert stat.S_IMODE(console.log.parent.stat().st_mode) == 0o700
        assert "images.l0base" in console.log.name and Path(os.environ["HOME"]) in console.log.parents

    @pytest.mark.parametrize("text", ["half \ud800 a letter", "a\0b", "two\nlines"])
    def test_takes_any_line(self, text: str, pipe: io.StringIO) -> None:
        console = Console("test", pipe)
        console.ear().line(text)
        console.close()
        assert console.log.stat().st_size > 0

    def test_that_cannot_be_kept_is_bad_input(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("XDG_STATE_HOME", "/dev/null/state")
        with pytest.raises(InputError, match="can't keep a log in /dev/null/state") as refused:
            Console("test", io.StringIO())
        assert refused.value.hint

    def test_is_another_one_each_time(self, pipe: io.StringIO) -> None:
        logs = set()
        for _ in range(3):
            console = Console("test", pipe)
            console.close()
            logs.add(console.log)
        assert len(logs) == 3


COLUMNS: dict[str, Callable[[Any], str]] = {"build": str, "size": lambda size: f"{size} MB"}


class TestATable:
    def test_in_a_pipe_has_a_line_for_each_row_however_long(self) -> None:
        rows = [{"build": "x" * 500, "size": 1}]
        head, rule, line = table(COLUMNS, rows, none="").splitlines()
        assert head.split() == ["build", "size"] and set(rule) <= {"─", " "}
        assert line.split() == ["x" * 500, "1", "MB"]

    def test_takes_nothing_in_a_text_for_a_colour(self) -> None:
        assert "b [bold]x[/]" in table(COLUMNS, [{"build": "b [bold]x[/]", "size": 22}], none="")

    def test_on_a_terminal_folds_and_loses_nothing(self) -> None:
        terminal = Terminal()
        script = f"""
from tasks._console import table
print(table({{"build": str, "id": str}}, [{{"build": {"b" * 35!r}, "id": "/a/" + {"c" * 60!r}}}], none=""))
"""
        env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "TERM": "xterm"}
        subprocess.run([sys.executable, "-c", script], stdout=terminal.stream, env=env, check=True)
        seen = re.sub(r"\x1b\[\d*m", "", terminal.text())
        assert all(len(line) <= 40 for line in seen.splitlines())
        assert (seen.count("b"), seen.count("c")) == (35 + 1, 60)

    def test_without_rows_is_a_sentence(self) -> None:
        assert table(COLUMNS, [], none="no builds") == "no builds"


class TestAResult:
    def test_is_on_stdout_as_text_or_json(self, capsys: pytest.CaptureFixture[str]) -> None:
        value = [{"build": "é", "created": datetime(2026, 11, 22, tzinfo=UTC)}]
        result(value, as_json=False, text="a table")
        assert capsys.readouterr() == ("a table\n", "")
        result(value, as_json=True, text="a table")
        out, err = capsys.readouterr()
        assert json.loads(out) == [{"build": "é", "created": "2026-11-22 00:00:00+00:00"}] and err == ""

    def test_is_not_mixed_with_words(self, capsys: pytest.CaptureFixture[str]) -> None:
        _console.say("a word")
        assert capsys.readouterr() == ("", "a word\n")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (8.4, "8 s"), (59.4, "59 s"), (59.6, "1 min 0 s"), (125, "2 min 5 s"), (7200, "120 min 0 s")],
)
def test_a_duration_is_told_in_minutes_and_seconds(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-5, "now"), (59, "now"), (60, "1 min"), (3599, "59 min"), (3600, "1 h"), (86399, "23 h"), (86400 * 12, "12 d")],
)
def test_an_age_is_told_in_the_largest_unit(seconds: int, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    now = datetime(2026, 11, 22, tzinfo=UTC)
    monkeypatch.setattr(wait.clock, "now", lambda: now)
    assert age(now - timedelta(seconds=seconds)) == text
