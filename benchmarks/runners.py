"""A start against its VM's own time to online: from QEMU's begin to the first word that GitHub hears of the runner.

The VM is the micro guest, GitHub the server of the tests. What a start and a stop ask of GitHub is told beside it.
"""

from __future__ import annotations

import argparse
import hashlib
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

from _measure import ROOT, report

from tests.fakes.github import Hub
from tests.guests import micro_disk
from tests.toolkit import Toolkit

TARGET = 1.2


def main(times: int) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as place, Hub() as hub:
        toolkit = _image(Path(place), hub)
        starts, owns = [], []
        for _ in range(times):
            own = threading.Thread(target=lambda: owns.append(_first_word(toolkit, hub)))
            own.start()
            began, asked = time.perf_counter(), len(hub.calls)
            _run(toolkit, "runners.start", "--cloud", "local", "--name", "bench")
            starts.append(time.perf_counter() - began)
            own.join()
            started = len(hub.calls)
            _run(toolkit, "runners.stop", "--cloud", "local", "--name", "bench", "--destroy")
            print(f"calls of GitHub: start {started - asked}, stop {len(hub.calls) - started}")
        report("start", statistics.median(starts), "the VM's own time to online", statistics.median(owns), TARGET)


def _image(folder: Path, hub: Hub) -> Toolkit:
    """A store with the micro image, and GitHub to register with."""
    disk = micro_disk(folder)
    toolkit = Toolkit(
        folder / "home",
        {
            **hub.variables,
            "KM_IMAGES__DEFINITION": str(ROOT / "tests/definitions/micro.toml"),
            "KM_LOCAL__ACCELERATOR": "tcg",
            "KM_LOCAL__BASE_SHA256": hashlib.sha256(disk.read_bytes()).hexdigest(),
            "KM_LOCAL__BASE_URL": str(disk),
            "KM_LOCAL__CPUS": "1",
            "KM_LOCAL__DISK": "2",
            "KM_LOCAL__MEMORY": "256",
            "KM_RUNNERS__IMAGE": "MicroImage",
        },
    )
    _run(toolkit, "images.l0base", "--cloud", "local")
    return toolkit


def _first_word(toolkit: Toolkit, hub: Hub) -> float:
    """Seconds from the begin of a VM's process to the moment in which GitHub has heard of its runner."""
    while not (begun := [each for each in toolkit.processes() if each.name().startswith("qemu-system")]):
        time.sleep(0.02)
    began = begun[0].create_time()  # the one that leaves the VM to another process is as old
    while not any(hub.online(entry.name) for entry in list(hub.runners)):
        time.sleep(0.02)
    return time.time() - began


def _run(toolkit: Toolkit, *words: str) -> None:
    ran = toolkit.run(*words)
    if ran.code:
        sys.exit(f"{words} ended with {ran.code}: {ran.err}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=3)
    main(parser.parse_args().times)
