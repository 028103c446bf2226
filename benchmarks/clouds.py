"""Both clouds by one command, against the slower one alone; and what a build with nothing to do asks of each.

The clouds are the servers of the tests, which answer at once: what is seen is whether one waits for the other. With
`--build` whole builds of the micro image are compared, with proof and promotion on VMs that run; they share the
processors of this machine, which those of clouds do not. Without it, their look-ups (`--plan`).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from _measure import ROOT, Command, by_turns, report

from tests.fakes.arm import Arm
from tests.fakes.ec2 import Ec2
from tests.guests import micro_disk
from tests.toolkit import Toolkit

TARGET = 1.5
MICRO = {"KM_IMAGES__DEFINITION": str(ROOT / "tests/definitions/micro.toml")}


def main(times: int, build: bool) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        disk = micro_disk(folder)
        for clouds in (["aws"], ["azure"], ["aws", "azure"]):
            if build:
                one = folder / "-".join(clouds)
                with Ec2(one / "ec2", disk) as ec2, Arm(one / "arm", disk) as arm:
                    _built(clouds, ec2, arm, one / "home")
        with Ec2(folder / "ec2", disk) as ec2, Arm(folder / "arm", disk) as arm:
            toolkit = Toolkit(folder / "home", {**MICRO, **ec2.variables, **arm.variables})
            aws, azure, both = (_plan(toolkit, clouds) for clouds in (["aws"], ["azure"], ["aws", "azure"]))
            one, other = by_turns(aws, azure, times)
            slower = azure if other > one else aws
            together, alone = by_turns(both, slower, times)
            report("look-ups of both clouds", together, "those of the slower one alone", alone, TARGET)


def _words(clouds: Sequence[str]) -> list[str]:
    return ["images.l0base", *(word for cloud in clouds for word in ("--cloud", cloud))]


def _plan(toolkit: Toolkit, clouds: Sequence[str]) -> Command:
    return Command([sys.executable, "-P", "-m", "tasks", *_words(clouds), "--plan"], ROOT, toolkit.environment)


def _built(clouds: Sequence[str], ec2: Ec2, arm: Arm, home: Path) -> None:
    """Build, then once more with nothing to do: the seconds of each, and the calls of the second."""
    toolkit = Toolkit(home, {**MICRO, **ec2.variables, **arm.variables})
    told = " and ".join(clouds)
    for what in ("build, proof, promotion", "nothing to do"):
        ec2.calls.clear()
        arm.calls.clear()
        began = time.monotonic()
        ran = toolkit.run(*_words(clouds), timeout=900)
        assert ran.code == 0, ran.err
        print(f"{told}: {what}: {time.monotonic() - began:.3f} s")
    print(f"{told}: nothing to do: {len(ec2.calls)} calls of AWS, {len(arm.calls)} of Azure")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=7, help="turns of each side")
    parser.add_argument("--build", action="store_true", help="whole builds too: minutes")
    given = parser.parse_args()
    main(given.times, given.build)
