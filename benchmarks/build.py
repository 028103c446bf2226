"""A local build, from an empty store to the promoted image, against the guest's own boot and install time.

The guest's own time is read from the log, whose stamps are whole seconds: packages put in (what mmdebstrap itself
says), packer's VM boots, is provisioned and shut down, the proof's VM boots and is checked, is booted again and
checked. All the rest is ours: the base's disk, packer's start, packing the image, keys.

What the log can't tell: when ssh could have answered. Until it did counts as the guest's, so what we lose by looking
too seldom, or by a look that hangs, is hidden in the three boots; a reboot that takes longer than a boot shows it.

    .venv/bin/python benchmarks/build.py              the micro image of the tests
    .venv/bin/python benchmarks/build.py --full       L0BaseImage, with a base bootstrapped from apt
    .venv/bin/python benchmarks/build.py --log FILE   what the log of an earlier build tells
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import subprocess
import sys
import tempfile
import time
from datetime import datetime, timedelta
from pathlib import Path

from _measure import ROOT, report

from tests.toolkit import Toolkit

TARGET = 1.3

MMDEBSTRAP = re.compile(r"I: success in ([\d.]+) seconds")
PHASES = (
    ("boot", "Starting VM", "Connected to SSH"),
    ("provision", "Connected to SSH", "Gracefully halting"),
    ("shut down", "Gracefully halting", "Running post-processor"),
    ("boot for the proof, and checks", "waiting for proof-", "rebooting proof-"),
    ("reboot, and checks", "rebooting proof-", "ok "),
)
"""Each from a line that begins so to the last line that does; both as the log has them."""


def guest(log: str) -> dict[str, float]:
    """Seconds of the guest's own, by phase."""
    began: dict[str, datetime] = {}
    seconds: dict[str, float] = {}
    if found := MMDEBSTRAP.search(log):
        seconds["mmdebstrap"] = float(found[1])
    for moment, text in _lines(log):
        for name, first, last in PHASES:
            if name in began and text.startswith(last):
                seconds[name] = (moment - began[name]).total_seconds()
            if text.startswith(first):
                began[name] = moment
    return seconds


def _lines(log: str) -> list[tuple[datetime, str]]:
    """The log's lines with their time, which goes on after midnight."""
    lines: list[tuple[datetime, str]] = []
    days = timedelta()
    for line in log.splitlines():
        stamp, _, text = line.partition(" ")
        moment = datetime.strptime(stamp, "%H:%M:%S") + days  # noqa: DTZ007  # only differences count
        if lines and moment < lines[-1][0]:
            days += timedelta(days=1)
            moment += timedelta(days=1)
        lines.append((moment, text))
    return lines


def build(*, full: bool) -> tuple[float, float, str]:
    """Build in a store of its own: seconds in all, the peak MiB of our own process, the log."""
    with tempfile.TemporaryDirectory() as home:
        toolkit = Toolkit(Path(home), {} if full else _micro(Path(home)))
        argv = [sys.executable, "-P", "-m", "tasks", "images.l0base", "--cloud", "local"]
        began, peak = time.monotonic(), 0.0
        with subprocess.Popen(argv, env=toolkit.environment, stdin=subprocess.DEVNULL) as process:
            while process.poll() is None:
                peak = max(peak, _peak(process.pid))
                time.sleep(0.05)
        took = time.monotonic() - began
        if process.returncode != 0:
            sys.exit(f"the build ended with {process.returncode}\n{toolkit.log()}")
        return took, peak, toolkit.log()


def _micro(home: Path) -> dict[str, str]:
    """Settings with which the base image is the tests' micro guest. It is made before the clock starts."""
    disk = home / "micro.qcow2"
    subprocess.run([ROOT / "tests/guests/micro.sh", disk], check=True, stdout=subprocess.DEVNULL)
    return {
        "KM_IMAGES__DEFINITION": str(ROOT / "tests/definitions/micro.toml"),
        "KM_LOCAL__BASE_SHA256": hashlib.sha256(disk.read_bytes()).hexdigest(),
        "KM_LOCAL__BASE_URL": str(disk),
        "KM_LOCAL__CPUS": "1",
        "KM_LOCAL__DISK": "2",
        "KM_LOCAL__MEMORY": "256",
    }


def _peak(pid: int) -> float:
    """MiB that the process itself has had at most, its children apart; 0 when it is gone."""
    try:
        found = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    except OSError:
        return 0.0
    return int(found[1]) / 1024 if found else 0.0


def main(log: str, *, full: bool) -> None:
    """Measure, or read, and print."""
    print(f"load of the machine before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")
    if log:
        told, peak = Path(log).read_text(), 0.0
        took = (_lines(told)[-1][0] - _lines(told)[0][0]).total_seconds()
    else:
        took, peak, told = build(full=full)
    phases = guest(told)
    for name, seconds in phases.items():
        print(f"  {name}: {seconds:.0f} s")
    if "once more" in told:
        print("  a VM hung and was tried again; what that took counts as ours")
    report("the whole build", took, "the guest's own time", sum(phases.values()), TARGET)
    if peak:
        print(f"peak memory of our own process: {peak:.0f} MiB")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="L0BaseImage instead of the micro image")
    parser.add_argument("--log", default="", help="build nothing: read this log")
    asked = parser.parse_args()
    main(asked.log, full=asked.full)
