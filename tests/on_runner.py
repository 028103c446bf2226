"""A shell for the steps of a workflow that act runs: their scripts run on the runner whose label their job asks for.

act takes no jobs from a runner, and runs all of them on the machine at hand. With `shell: on-runner {0}` a step's
script becomes a job at GitHub's fake, which gives it to the runner; what it printed and how it ended come back.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Client, Listener
from pathlib import Path

from tests.fakes.github import Hub

WHERE, LABEL = "ON_RUNNER_JOBS", "RUNS_ON"
"""The variables that tell of the socket, and of the label."""


@contextmanager
def dispatched(hub: Hub, socket: Path, run: int) -> Iterator[str]:
    """Queue what steps ask for as jobs of that run, one after the other; what a step has to be told."""

    def serve() -> None:
        while True:
            with listener.accept() as step:
                asked = step.recv()
                if asked is None:
                    return
                job = hub.queue_job(asked["label"], asked["script"], name=asked["name"], run=run)
                step.send((job.wait(120), job.log))

    with Listener(str(socket)) as listener:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield str(socket)
        with Client(str(socket)) as last:
            last.send(None)
        thread.join()


def program(folder: Path) -> Path:
    """Put `on-runner` into a folder that is to be on the PATH: a shell's name can't be an expression."""
    folder.mkdir()
    (folder / "on-runner").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m tests.on_runner "$1"\n')
    (folder / "on-runner").chmod(0o755)
    return folder


def main() -> None:
    """Have the script in the file run, and end as it did."""
    with Client(os.environ[WHERE]) as queue:
        job = {"label": os.environ[LABEL], "script": Path(sys.argv[1]).read_text(), "name": os.environ["GITHUB_JOB"]}
        queue.send(job)
        conclusion, log = queue.recv()
    print(log, flush=True)
    sys.exit(conclusion != "success")


if __name__ == "__main__":
    main()
