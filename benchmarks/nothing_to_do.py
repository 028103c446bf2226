"""`images.l0base` with nothing to do, against its look-ups alone.

Both are Python processes from start to end, on a store whose current build is of today's inputs. The look-ups alone:
the same interpreter with Invoke imported, the settings and the definition read, the local cloud opened, and
`packer.pipeline.plan`, which renders, resolves the base, sums up and lists the builds. What is left for the first
side is the command line itself: its parsing, the tasks, what it takes and has free, and the words.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from _measure import ROOT, Command, by_turns, report

from tests.planted import plant
from tests.toolkit import Toolkit

TARGET = 1.2

LOOK_UPS = """\
import invoke.program
from pathlib import Path
from cloud import connect
from packer import definition, pipeline
from tasks._settings import load
settings = load()
image = definition.load(Path(settings.images.definition))
assert pipeline.plan(image, connect("local", settings), settings.packer.minimum).up_to_date
"""


def main(times: int) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as home:
        toolkit = Toolkit(Path(home))
        plant(toolkit, "aaaaaa")
        env = toolkit.environment
        ours = Command([sys.executable, "-P", "-m", "tasks", "images.l0base", "--cloud", "local"], ROOT, env)
        look_ups = Command([sys.executable, "-P", "-c", LOOK_UPS], ROOT, env)
        mine, other = by_turns(ours, look_ups, times)
        report("images.l0base, nothing to do", mine, "its look-ups alone", other, TARGET)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=21, help="turns of each side")
    main(parser.parse_args().times)
