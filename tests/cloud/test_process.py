"""Programs that we run: real ones, and nothing of them is left whatever happens."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cloud import process, wait
from cloud.errors import CommandFailed, Interrupted, KitError, MissingTool, TimedOut

ROOT = Path(__file__).resolve().parents[2]

SOON = 20.0
"""Seconds: much less than what would be waited for otherwise, and enough for a machine with much to do."""


def sh(script: str) -> list[str]:
    return ["sh", "-c", script]


def runs(pid: int) -> bool:
    """Whether the process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def eventually(look: Callable[[], bool], within: float = 10) -> bool:
    deadline = time.monotonic() + within
    while not look() and time.monotonic() < deadline:
        time.sleep(0.02)
    return look()


def pid_in(path: Path) -> int:
    """The number that a script writes into the file."""
    assert eventually(lambda: path.exists() and path.read_text().endswith("\n"))
    return int(path.read_text())


def interrupted_once(ready: Callable[[], object]) -> None:
    """Interrupt from another thread, as a signal handler would, when the program is ready."""

    def soon() -> None:
        ready()
        wait.interrupt()

    threading.Thread(target=soon, daemon=True).start()


class TestAProgram:
    @pytest.mark.parametrize("code", [0, 1, 3, 255])
    def test_has_its_exit_code_told(self, code: int) -> None:
        assert process.run(sh(f"exit {code}"), check=False).code == code

    def test_that_a_signal_ended_has_its_number_told(self) -> None:
        assert process.run(sh("kill -9 $$"), check=False).code == -signal.SIGKILL

    def test_that_fails_is_an_error_with_its_last_words(self) -> None:
        with pytest.raises(CommandFailed) as failed:
            process.run(sh("echo first; echo last >&2; echo; exit 7"), hint="look there")
        assert failed.value.message == "sh ended with 7: last"
        assert (failed.value.code, failed.value.output[0], failed.value.hint) == (7, "first", "look there")

    def test_tells_both_its_outputs_in_the_order_in_which_they_came(self) -> None:
        heard: list[str] = []
        ended = process.run(sh("for i in 1 2 3 4 5; do echo out$i; echo err$i >&2; done"), on_line=heard.append)
        assert heard == list(ended.lines) == [f"{kind}{i}" for i in range(1, 6) for kind in ("out", "err")]

    def test_is_heard_line_by_line_while_it_runs(self, tmp_path: Path) -> None:
        go = tmp_path / "go"
        script = f"echo ready; while [ ! -e {go} ]; do sleep 0.02; done; echo done"

        def answer(line: str) -> None:
            if line == "ready":
                go.touch()

        assert process.run(sh(script), on_line=answer, timeout=10).lines == ("ready", "done")

    def test_may_say_much_and_all_of_it_is_heard_though_only_the_end_is_kept(self) -> None:
        heard: list[str] = []
        ended = process.run(["seq", "20000"], on_line=heard.append)
        assert heard == [str(i) for i in range(1, 20001)]
        assert ended.lines == tuple(heard[-process.KEPT_LINES :])

    def test_may_print_what_is_no_text_and_end_without_a_line_end(self) -> None:
        assert process.run(sh("printf 'a\\377b\\nend'")).lines == ("a\ufffdb", "end")

    def test_that_closes_its_output_is_left_to_end_by_itself(self) -> None:
        assert process.run(sh("exec >&- 2>&-; sleep 1; exit 3"), check=False, timeout=10).code == 3

    def test_gets_its_input_to_the_last_byte(self) -> None:
        assert process.run(["wc", "-c"], stdin=b"x" * 3_000_000).text == "3000000"

    def test_may_leave_its_input_unread(self) -> None:
        assert process.run(["true"], stdin=b"x" * 3_000_000).code == 0

    def test_finds_its_input_at_an_end_when_there_is_none(self) -> None:
        assert process.run(["cat"], timeout=10).lines == ()

    def test_sees_only_the_environment_that_it_is_given(self) -> None:
        assert process.run(["/usr/bin/env"], env={"PATH": os.environ["PATH"], "ONLY": "this"}).lines == (
            f"PATH={os.environ['PATH']}",
            "ONLY=this",
        )

    def test_runs_where_it_is_told_to(self, tmp_path: Path) -> None:
        assert process.run(["pwd"], cwd=tmp_path).text == str(tmp_path.resolve())

    @pytest.mark.parametrize("name", ["no-such-program-here", "/no/such/program", "-x"])
    def test_that_is_missing_is_named(self, name: str) -> None:
        with pytest.raises(MissingTool, match="is not on this machine") as missing:
            process.run([name])
        assert name in missing.value.message and missing.value.hint

    def test_gets_secrets_where_no_other_user_reads_them(self) -> None:
        script = "import os,sys; print(sys.stdin.read()); print(open('/proc/self/cmdline').read().split('\\0'))"
        heard: list[str] = []

        def look(line: str) -> None:
            heard.append(line)
            for pid in filter(str.isdigit, os.listdir("/proc")):
                with contextlib.suppress(OSError):
                    assert b"sesame-open" not in Path(f"/proc/{pid}/cmdline").read_bytes()

        process.run([sys.executable, "-c", script], stdin=b"sesame-open", env={"TOKEN": "sesame-open"}, on_line=look)
        assert heard[0] == "sesame-open" and "sesame-open" not in heard[1]


class TestADeadline:
    def test_ends_a_program_that_takes_too_long(self, tmp_path: Path) -> None:
        began = time.monotonic()
        with pytest.raises(TimedOut, match="sh: not done within 0 s") as late:
            process.run(sh(f"echo $$ > {tmp_path}/pid; sleep 60"), timeout=0.3, hint="try again")
        assert late.value.hint == "try again" and time.monotonic() - began < SOON
        assert not runs(pid_in(tmp_path / "pid"))

    def test_ends_one_that_never_stops_talking(self) -> None:
        began = time.monotonic()
        with pytest.raises(TimedOut):
            process.run(["yes"], timeout=0.5)
        assert time.monotonic() - began < SOON

    def test_may_be_called_earlier_by_a_watch(self, tmp_path: Path) -> None:
        def watch() -> None:
            if (tmp_path / "pid").exists():
                raise KitError("the disk is full")

        with pytest.raises(KitError, match="the disk is full"):
            process.run(sh(f"echo $$ > {tmp_path}/pid; sleep 60"), watch=watch, timeout=30)
        assert not runs(pid_in(tmp_path / "pid"))


def test_the_last_lines_are_read_though_they_come_after_the_end(tmp_path: Path) -> None:
    daemon = f"setsid sh -c 'touch {tmp_path}/apart; sleep 1; echo late' &"
    ended = process.run(["sh", "-c", f"{daemon} until [ -e {tmp_path}/apart ]; do sleep 0.1; done; echo early"])
    assert ended.lines == ("early", "late")


class TestAnInterrupt:
    def test_lets_a_program_clean_up(self, tmp_path: Path) -> None:
        interrupted_once(lambda: pid_in(tmp_path / "pid"))
        heard: list[str] = []
        script = f"trap 'echo bye > {tmp_path}/bye; exit 1' INT; echo $$ > {tmp_path}/pid; while :; do sleep 0.1; done"
        with pytest.raises(Interrupted):
            process.run(sh(script), on_line=heard.append)
        assert (tmp_path / "bye").exists()

    def test_ends_one_that_does_not_want_to_after_its_grace(self, tmp_path: Path) -> None:
        interrupted_once(lambda: pid_in(tmp_path / "pid"))
        began = time.monotonic()
        deaf = sh(f"trap '' INT TERM; echo $$ > {tmp_path}/pid; while :; do sleep 0.1; done")
        with pytest.raises(Interrupted):
            process.run(deaf, grace=0.5)
        assert 0.5 < time.monotonic() - began < SOON
        assert not runs(pid_in(tmp_path / "pid"))

    def test_ends_the_children_of_its_children_also_those_that_ignore_it(self, tmp_path: Path) -> None:
        # A shell starts what runs in the background with SIGINT ignored.
        script = f"(sleep 60 & echo $! > {tmp_path}/deep; wait) & echo $! > {tmp_path}/child; wait"
        interrupted_once(lambda: (pid_in(tmp_path / "child"), pid_in(tmp_path / "deep")))
        began = time.monotonic()
        with pytest.raises(Interrupted):
            process.run(sh(script))
        assert time.monotonic() - began < process.GRACE + SOON
        for name in ("child", "deep"):
            assert eventually(lambda name=name: not runs(pid_in(tmp_path / name)), within=SOON), name  # type: ignore[misc]

    def test_that_came_before_ends_it_at_once(self) -> None:
        wait.interrupt()
        began = time.monotonic()
        with pytest.raises(Interrupted):
            process.run(["sleep", "60"])
        assert time.monotonic() - began < SOON

    def test_does_not_end_what_takes_back_what_was_interrupted(self) -> None:
        wait.interrupt()
        assert process.run(["echo", "gone"], finish=True).lines == ("gone",)

    def test_for_the_second_time_ends_everything_now(self, tmp_path: Path) -> None:
        script = f"trap '' INT TERM; echo $$ > {tmp_path}/pid; while :; do sleep 0.1; done"

        def twice() -> None:
            pid_in(tmp_path / "pid")
            eventually(lambda: bool(process._running), within=SOON)  # the script may be ahead of who has started it
            process.kill_all()

        threading.Thread(target=twice, daemon=True).start()
        assert process.run(sh(script), check=False).code == -signal.SIGKILL


class TestAGrandchild:
    def test_that_holds_the_pipe_does_not_keep_us(self) -> None:
        began = time.monotonic()
        assert process.run(sh("sleep 60 & echo done"), timeout=30).lines == ("done",)
        assert time.monotonic() - began < SOON

    def test_that_keeps_talking_does_not_keep_us(self) -> None:
        began = time.monotonic()
        ended = process.run(sh("(while :; do echo noise; sleep 0.05; done) & echo done; exit 0"), timeout=30)
        assert ended.code == 0 and "done" in ended.lines
        assert time.monotonic() - began < SOON

    def test_is_not_left_behind(self, tmp_path: Path) -> None:
        process.run(sh(f"sleep 60 > /dev/null 2>&1 & echo $! > {tmp_path}/pid"))
        assert eventually(lambda: not runs(pid_in(tmp_path / "pid")), within=SOON)

    def test_that_made_itself_a_daemon_lives_on(self, tmp_path: Path) -> None:
        """As a VM of ours does."""
        daemon = f"setsid sh -c 'echo $$ > {tmp_path}/pid; exec sleep 60' > /dev/null 2>&1 &"
        process.run(sh(f"{daemon} until [ -s {tmp_path}/pid ]; do sleep 0.02; done"))
        pid = pid_in(tmp_path / "pid")
        time.sleep(0.1)
        assert runs(pid)
        os.kill(pid, signal.SIGKILL)


def test_our_own_sudden_death_ends_the_program(tmp_path: Path) -> None:
    """Nothing of ours runs after a SIGKILL: the kernel tells the program."""
    script = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from cloud import process; process.run(sys.argv[1:])"
    words = [sys.executable, "-c", script, *sh(f"echo $$ > {tmp_path}/pid; exec sleep 60")]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as ours:
        pid = pid_in(tmp_path / "pid")
        ours.kill()
    assert eventually(lambda: not runs(pid), within=SOON)
