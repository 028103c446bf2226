"""Run a program: an argument list, never a shell line.

Each program runs in a process group of its own, so that a Ctrl-C reaches us alone and we
end it in good order: packer ignores a SIGINT sent to its first process only, and leaves
its VM behind when it is killed (hashicorp/packer#1039). On Linux the kernel sends it
SIGTERM when we die without a word.
"""

from __future__ import annotations

import os
import queue
import shutil
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from cloud import wait
from cloud.errors import CommandFailed, Interrupted, MissingTool, TimedOut

GRACE = 6.0
"""Seconds that a program gets to clean up after an interrupt. Actions allows ten in all."""

DRAIN = 5.0
"""Seconds after a program's end in which its last lines are still read: a busy machine is slow to bring them."""

KEPT_LINES = 5000
"""How many of a program's last lines are kept: a build record with all packages is some hundreds."""

_running: set[subprocess.Popen[bytes]] = set()


@dataclass(frozen=True)
class Completed:
    """How a program ended: its exit code and its last lines, stdout and stderr as they came."""

    code: int
    lines: tuple[str, ...]

    @property
    def text(self) -> str:
        """The lines as one text."""
        return "\n".join(self.lines)


def run(
    argv: Sequence[str | os.PathLike[str]],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: bytes = b"",
    on_line: Callable[[str], None] = lambda line: None,
    watch: Callable[[], None] = lambda: None,
    timeout: float = 60,
    grace: float = GRACE,
    check: bool = True,
    finish: bool = False,
    hint: str = "",
) -> Completed:
    """Run a program to its end.

    `env` replaces the environment. `on_line` gets each line as it comes. `watch` is called
    a few times a second and may raise, which ends the program; it has `grace` seconds for that.
    With `finish` an interrupt does not end it: it takes back what was interrupted.
    Secrets belong in `env` or `stdin`: arguments can be read by every user of the machine.

    Raises:
        MissingTool: there is no such program.
        CommandFailed: it ended with something other than 0, and `check` is set.
        TimedOut: it was still running after `timeout` seconds.
        Interrupted: an interrupt came; the program has been ended.
    """
    program = Path(argv[0]).name
    process = _start(argv, cwd, env)
    _running.add(process)
    lines: deque[str] = deque(maxlen=KEPT_LINES)
    heard: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    assert process.stdin is not None and process.stdout is not None  # both are pipes
    threading.Thread(target=_feed, args=(process.stdin, stdin), daemon=True).start()
    threading.Thread(target=_listen, args=(process.stdout, heard), daemon=True).start()
    deadline = wait.clock.monotonic() + timeout
    try:
        for line in _lines(process, heard):
            if line:
                lines.append(line)
                on_line(line)
            if wait.interrupted() and not finish:
                raise Interrupted
            if wait.clock.monotonic() > deadline:
                raise TimedOut(f"{program}: not done within {timeout:.0f} s", hint=hint)
            watch()
    finally:
        _end(process, grace)
    if check and process.returncode != 0:
        raise CommandFailed(program, process.returncode, tuple(lines), hint=hint)
    return Completed(process.returncode, tuple(lines))


def kill_all() -> None:
    """End every program that runs, at once: for a second Ctrl-C. Safe in a signal handler."""
    for process in list(_running):
        _signal_group(process, signal.SIGKILL)


def _start(
    argv: Sequence[str | os.PathLike[str]], cwd: Path | None, env: Mapping[str, str] | None
) -> subprocess.Popen[bytes]:
    command = [os.fspath(word) for word in argv]
    if shutil.which(command[0]) is None:
        raise MissingTool(f"{command[0]} is not on this machine", hint="./inv doctor names the package")
    # setpriv is in util-linux; elsewhere a SIGKILL of ours leaves the program running.
    if setpriv := shutil.which("setpriv"):
        command = [setpriv, "--pdeathsig", "TERM", *command]
    return subprocess.Popen(
        command,
        cwd=cwd,
        env=env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def _feed(pipe: IO[bytes], data: bytes) -> None:
    try:
        with pipe:
            pipe.write(data)
    except BrokenPipeError:
        pass  # it ended without reading all; its exit code tells why


def _listen(pipe: IO[bytes], heard: queue.SimpleQueue[str | None]) -> None:
    with pipe:
        for line in pipe:
            heard.put(line.decode(errors="replace").rstrip())
    heard.put(None)


def _lines(process: subprocess.Popen[bytes], heard: queue.SimpleQueue[str | None]) -> Iterator[str]:
    """Each line as it comes, and an empty one now and then, until the program has ended and all is read.

    What it left in its group when it ended is ended too. Who left the group, as a daemon does, may
    hold the output open: that is waited for no longer than DRAIN.
    """
    ended: float | None = None
    while True:
        if ended is None and process.poll() is not None:
            ended = wait.clock.monotonic()
            _signal_group(process, signal.SIGKILL)
        try:
            line = heard.get(timeout=0.2)
        except queue.Empty:
            line = ""
        if line is None:
            break
        yield line
        if ended is not None and wait.clock.monotonic() - ended > DRAIN:
            return
    while process.poll() is None:  # it has closed its output, and works on
        _ends_by_itself(process, 0.2)
        yield ""


def _end(process: subprocess.Popen[bytes], grace: float) -> None:
    """Leave nothing of the program running: ask, wait, then insist."""
    if process.poll() is None:
        _signal_group(process, signal.SIGINT)
        _ends_by_itself(process, grace)
    # Whom it did not wait for: what a shell runs in the background never sees a SIGINT.
    _signal_group(process, signal.SIGKILL)
    process.wait()
    _running.discard(process)


def _ends_by_itself(process: subprocess.Popen[bytes], seconds: float) -> bool:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    try:
        os.killpg(process.pid, number)
    except (ProcessLookupError, PermissionError):
        pass  # it has just ended; or it is root's, by sudo, and ends by itself
