"""Commands as processes of their own that cost no start: forked off one that has loaded everything."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.killed import KILLED_AT
from tests.toolkit import ROOT

_LOADED = f"""\
import json, os, sys, traceback
import boto3, rich.console, requests, cloud.publish.vagrant_cloud, cloud.publish.catalog, cloud.publish.directory
from cloud.aws.session import Session
from tasks.__main__ import main
Session._boto = boto3.session.Session(region_name="us-east-2")
Session._boto.client("s3", aws_access_key_id="x", aws_secret_access_key="x")
KILLED_AT = {KILLED_AT!r}
for line in sys.stdin:
    told = json.loads(line)
    child = os.fork()
    if child == 0:
        os.environ.clear()
        os.environ.update(told["environment"])
        output = os.open(told["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        if told["at"] is None:
            sys.argv = ["inv", *told["words"]]
        else:
            sys.argv = ["inv", str(told["at"]), *told["words"]]
            exec(KILLED_AT)
        code = 0
        try:
            main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
        except BaseException:
            traceback.print_exc()
            code = 1
        sys.stdout.flush()
        os._exit(code or 0)
    print(child, flush=True)
    _, status = os.waitpid(child, 0)
    print(os.waitstatus_to_exitcode(status), flush=True)
"""


class Forked:
    """A command that runs: its process, and how it ends."""

    def __init__(self, loaded: subprocess.Popen[str], output: Path) -> None:
        assert loaded.stdout is not None
        self._loaded = loaded.stdout
        self._output = output
        self.pid = int(self._loaded.readline())

    def kill(self) -> None:
        """End it without a word."""
        os.kill(self.pid, signal.SIGKILL)

    def end(self) -> tuple[int, str]:
        """Its code, and all that it said."""
        return int(self._loaded.readline()), self._output.read_text()


class Loaded:
    """The process that has loaded everything."""

    def __init__(self, process: subprocess.Popen[str], folder: Path) -> None:
        self._process = process
        self._folder = folder

    def start(self, words: Sequence[str], environment: Mapping[str, str], at: int | None = None) -> Forked:
        """Start a command; `at`: it is killed at the change of that number to what has `store` in its path."""
        output = self._folder / "said"
        told = {"words": list(words), "environment": dict(environment), "output": str(output), "at": at}
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(told) + "\n")
        self._process.stdin.flush()
        return Forked(self._process, output)


@contextmanager
def loaded(folder: Path) -> Iterator[Loaded]:
    """A process to fork commands from."""
    process = subprocess.Popen(
        [sys.executable, "-c", _LOADED],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HOME": str(folder)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield Loaded(process, folder)
        finally:
            process.kill()
