"""`inv --list` against Invoke with an empty tasks.py, on the same interpreter.

Both sides are Python processes from start to end; the shell of ./inv before ours is measured beside them.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from _measure import ROOT, Command, by_turns, report

TARGET = 1.25
SDKS = ("azure", "boto3", "botocore", "google", "msal", "msrest")


def main(times: int) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as home:
        (Path(home) / "tasks.py").touch()
        env = {"PATH": os.environ["PATH"], "HOME": home}
        # As ./inv starts it.
        ours = Command([sys.executable, "-P", "-m", "tasks", "--list"], ROOT, env | {"PYTHONPATH": str(ROOT)})
        # Invoke ends with 1 where there is nothing to list.
        empty = Command([sys.executable, "-m", "invoke", "--list"], Path(home), env, code=1)
        report("inv --list", *_with(by_turns(ours, empty, times), "Invoke with an empty tasks.py"), TARGET)
        loaded = sorted(_loaded(ours) & set(SDKS))
        print(f"SDK modules loaded: {', '.join(loaded) or 'none'}")
        if Path(sys.prefix) == ROOT / ".venv":
            wrapped, _ = by_turns(Command([ROOT / "inv", "--list"], ROOT, env), empty, times)
            print(f"./inv --list, with the wrapper's shell: {wrapped:.3f} s")


def _with(both: tuple[float, float], against: str) -> tuple[float, str, float]:
    return both[0], against, both[1]


def _loaded(command: Command) -> set[str]:
    """The top-level modules that the command imports."""
    python, *words = map(str, command.argv)
    argv = [python, "-X", "importtime", *words]
    told = subprocess.run(argv, cwd=command.cwd, env=command.env, capture_output=True, text=True, check=True).stderr
    return {line.split("|")[-1].strip().partition(".")[0] for line in told.splitlines()}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=21, help="turns of each side")
    main(parser.parse_args().times)
