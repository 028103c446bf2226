"""A night with nothing to do: seconds, and what it asks of whom. And a release against its longest piece alone.

GitHub, EC2 and the registry are the servers of the tests. The night is a process from start to end, on an edge that is
whole. The release is an edge of the small guest with the sample inside, built by packer: first each piece of one commit
by itself, then all of the next commit by one command; the product is built before either. `--night`: that alone.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

from _measure import report

from tests.guests import micro_disk
from tests.packer import boxed
from tests.releasing import Maker, makers

TARGET = 1.2

PIECES = ("ami", "box", "github")


def main(times: int, *, night: bool) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as place, makers(Path(place) / "night") as maker:
        _run(maker, "release.product")
        maker.ami("proven")
        maker.shelved()
        _run(maker, "release.publish")
        _night(maker, times)
    if not night:
        with tempfile.TemporaryDirectory() as place:
            disk = micro_disk(Path(place), boxed.KERNEL)
            with makers(Path(place) / "release", disk) as maker:
                _release(maker)


def _night(maker: Maker, times: int) -> None:
    asked = _asked(maker)
    seconds = [_run(maker, "release.publish") for _ in range(times)]
    calls = ", ".join(f"{(now - asked[name]) // times} of {name}" for name, now in _asked(maker).items())
    print(f"a night with nothing to do: {statistics.median(seconds):.3f} s")
    print(f"calls: {calls}")


def _release(maker: Maker) -> None:
    _run(maker, "release.product")
    alone = {}
    for piece in PIECES:
        alone[piece] = _run(maker, "release.publish", "--piece", piece)
        print(f"{piece} alone: {alone[piece]:.3f} s")
    maker.commit()
    (maker.km / "src/kkm.run").write_text((maker.km / "src/kkm.run").read_text() + "# another one\n")
    maker.commit("another product")
    _run(maker, "release.product")
    longest = max(alone, key=lambda piece: alone[piece])
    report("the whole release", _run(maker, "release.publish"), f"its longest piece, {longest}", alone[longest], TARGET)


def _asked(maker: Maker) -> dict[str, int]:
    return {"aws": len(maker.ec2.calls), "github": len(maker.hub.calls), "the registry": len(maker.registry.calls)}


def _run(maker: Maker, *words: str) -> float:
    began = time.perf_counter()
    ran = maker.desk.toolkit.run(*words, "--checkout", str(maker.km))
    if ran.code:
        sys.exit(f"{words} ended with {ran.code}: {ran.err}")
    return time.perf_counter() - began


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=7, help="nights")
    parser.add_argument("--night", action="store_true", help="no release is built")
    told = parser.parse_args()
    main(told.times, night=told.night)
