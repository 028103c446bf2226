"""What the benchmarks share: processes timed by turns, figures printed beside their target."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# The toolkit is driven as the tests do it: tests.toolkit, tests.planted.
sys.path.insert(0, str(ROOT))


@dataclass(frozen=True)
class Command:
    """A program with all that it sees of its surroundings. It ends with `code`."""

    argv: Sequence[str | Path]
    cwd: Path
    env: Mapping[str, str]
    code: int = 0

    def seconds(self) -> float:
        """Run it once: seconds from start to end.

        Raises:
            SystemExit: it ended otherwise than it should; its words are the message.
        """
        began = time.perf_counter()
        ended = subprocess.run(self.argv, cwd=self.cwd, env=self.env, capture_output=True, text=True, check=False)
        took = time.perf_counter() - began
        if ended.returncode != self.code:
            sys.exit(f"{self.argv} ended with {ended.returncode}: {ended.stderr}{ended.stdout}")
        return took


def by_turns(ours: Command, theirs: Command, times: int) -> tuple[float, float]:
    """The median seconds of each. They take turns, so that both meet the same machine; a first turn warms caches."""
    ours.seconds()
    theirs.seconds()
    both = [(ours.seconds(), theirs.seconds()) for _ in range(times)]
    return statistics.median(mine for mine, _ in both), statistics.median(other for _, other in both)


def report(what: str, ours: float, against: str, theirs: float, target: float) -> None:
    """Print both sides and their ratio. No time is asserted: it is the reader's machine."""
    print(f"{what}: {ours:.3f} s")
    print(f"{against}: {theirs:.3f} s")
    print(f"ratio: {ours / theirs:.2f}, to reach: {target}")
