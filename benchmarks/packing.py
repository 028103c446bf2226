"""Packing a box against `tar czf`: time and size, of the same files, by turns.

The disk is one that is told (`--disk`, a qcow2 or raw file), or a stand-in: the files of this machine's /usr one after
the other, as they lie on the disk of a guest. With `--levels` every level of libdeflate is told beside gzip's own.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from _measure import Command, report

from packer import packing

FASTER = 0.25
LARGER = 1.03


def main(disk: str, mebibytes: int, times: int, *, levels: bool) -> None:
    """Measure and print."""
    print(f"load of the machine before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        content = folder / "box.img"
        if disk:
            content.symlink_to(Path(disk).absolute())
        else:
            _stand_in(content, mebibytes << 20)
        (folder / "metadata.json").write_text("{}\n")
        members = [packing.Member(each, folder / each) for each in ("metadata.json", "box.img")]
        argv: list[str | Path] = ["tar", "-c", "-z", "-h", "-f", "theirs.box", "metadata.json", "box.img"]
        theirs = Command(argv, folder, {"PATH": os.environ["PATH"]})
        mine, others = [], []
        for _ in range(times):
            mine.append(_seconds(folder, members, packing.LEVEL))
            others.append(theirs.seconds())
        print(f"bytes: {content.stat().st_size}")
        report("packing", statistics.median(mine), "tar czf", statistics.median(others), FASTER)
        ours, size = ((folder / each).stat().st_size for each in ("ours.box", "theirs.box"))
        print(f"size: {ours}, of tar czf: {size}")
        print(f"ratio of sizes: {ours / size:.3f}, to reach: {LARGER}")
        for level in range(1, 13) if levels else ():
            took = _seconds(folder, members, level)
            ours = (folder / "ours.box").stat().st_size
            print(f"  level {level}: {took / statistics.median(others):.2f} of the time, {ours / size:.3f} of the size")


def _seconds(folder: Path, members: list[packing.Member], level: int) -> float:
    """Pack once: seconds until the archive is on the disk."""
    (folder / "ours.box").unlink(missing_ok=True)
    began = time.perf_counter()
    packing.pack(folder / "ours.box", members, level)
    return time.perf_counter() - began


def _stand_in(path: Path, size: int) -> None:
    with open(path, "wb") as out:
        for file in _files():
            try:
                out.write(file.read_bytes())
            except OSError:
                continue
            if out.tell() >= size:
                out.truncate(size)
                return
    sys.exit(f"this machine's /usr has no {size >> 20} MiB; --mebibytes asks for less")


def _files() -> Iterator[Path]:
    for folder, folders, names in os.walk("/usr"):
        folders.sort()
        yield from (path for each in sorted(names) if (path := Path(folder, each)).is_file() and not path.is_symlink())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--disk", default="", help="a disk to pack instead of the stand-in")
    parser.add_argument("--mebibytes", type=int, default=512, help="size of the stand-in")
    parser.add_argument("--times", type=int, default=3, help="turns of each side")
    parser.add_argument("--levels", action="store_true", help="measure every level")
    asked = parser.parse_args()
    main(asked.disk, asked.mebibytes, asked.times, levels=asked.levels)
