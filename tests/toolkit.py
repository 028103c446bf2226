"""The toolkit as a person uses it: a program with arguments, an environment, two outputs and a code."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parents[1]
DEADLINE = 550.0
"""Seconds after which something that a test waits for will not come any more."""


@dataclass(frozen=True)
class Ran:
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed, as a value."""
        return json.loads(self.out)


@dataclass(frozen=True)
class Toolkit:
    """The toolkit with a home, a store and settings of its own."""

    home: Path
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def store(self) -> Path:
        """Where its images are."""
        return self.home / "store"

    @property
    def environment(self) -> dict[str, str]:
        """All that it gets to see of the test's environment."""
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "PYTHONPATH": str(ROOT),
            "CI": "true",
            "KM_LOCAL__STORE": str(self.store),
            **self.settings,
        }

    def but(self, **settings: str) -> Toolkit:
        """The same, with other settings: `but(local__cpus="2")`."""
        changed = {f"KM_{key.upper()}": value for key, value in settings.items()}
        return Toolkit(self.home, {**self.settings, **changed})

    def run(self, *words: str, prefix: tuple[str, ...] = (), timeout: float = DEADLINE) -> Ran:
        """Run a command to its end."""
        ended = subprocess.run(
            [*prefix, sys.executable, "-m", "tasks", *words],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        return Ran(ended.returncode, ended.stdout, ended.stderr)

    @contextmanager
    def started(self, *words: str) -> Iterator[Running]:
        """A command that runs; it and what it started are gone after the `with`."""
        self.home.mkdir(exist_ok=True)
        with open(self.home / "stdout", "w") as out, open(self.home / "stderr", "w") as err:
            process = subprocess.Popen(
                [sys.executable, "-m", "tasks", *words],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
            )
            try:
                yield Running(self, process)
            finally:
                process.kill()
                process.wait()
                for left in self.processes():
                    with suppress(psutil.NoSuchProcess):
                        left.kill()

    def processes(self) -> list[psutil.Process]:
        """The programs that work in its home now: packer, QEMU and what they started.

        A VM that outlives its starter has gone to the root folder; its environment tells of the home.
        """
        found = []
        for process in psutil.process_iter():
            try:
                where = [process.cwd(), *process.cmdline(), *process.environ().values()]
                if process.status() != psutil.STATUS_ZOMBIE and any(str(self.home) in word for word in where):
                    found.append(process)
            except psutil.Error:
                pass  # it ended while we looked
        return found

    def log(self) -> str:
        """The newest log file."""
        files = sorted((self.home / ".local/state/kontain/log").glob("*.log"))
        return files[-1].read_text() if files else ""

    def current(self, image: str = "MicroImage") -> str:
        """The build that is current; empty when none is."""
        rows = self.run("images.list", "--cloud", "local", "--name", image, "--json").json
        return next((row["build"] for row in rows if row["current"]), "")

    def left(self) -> list[str]:
        """Everything in the store that is no finished image and no base."""
        names = (path for folder in ("builds", "machines") for path in (self.store / folder).glob("*"))
        return sorted(path.name for path in names if not path.name.startswith("."))


@dataclass(frozen=True)
class Running:
    """A command under way."""

    toolkit: Toolkit
    process: subprocess.Popen[bytes]

    def reaches(self, text: str) -> None:
        """Wait until the text stands in its log."""
        eventually(lambda: text in self.toolkit.log() or self.process.poll() is not None, f"{text!r} in the log")
        assert self.process.poll() is None, self.end().err

    def gets(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def end(self, within: float = DEADLINE) -> Ran:
        """Wait for its end."""
        code = self.process.wait(within)
        return Ran(code, (self.toolkit.home / "stdout").read_text(), (self.toolkit.home / "stderr").read_text())


def eventually(look: Any, what: str, within: float = DEADLINE) -> None:
    """Wait until the look is true."""
    deadline = time.monotonic() + within
    while not look():
        assert time.monotonic() < deadline, f"not within {within:.0f} s: {what}"
        time.sleep(0.1)


def definition_with(folder: Path, scripts: Mapping[str, str], steps: str = "") -> Path:
    """A copy of the micro definition in which some scripts are others; its path."""
    shutil.copytree(ROOT / "tests/definitions", folder, symlinks=False)
    for name, text in scripts.items():
        (folder / "micro" / name).write_text(text)
    path = folder / "micro.toml"
    if steps:
        path.write_text(path.read_text().replace('"record"]', f'"record", {steps}]'))
    return path
