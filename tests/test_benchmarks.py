"""The benchmarks run and print both sides. What they measure is not judged here."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.toolkit import ROOT

LOG = """\
23:58:00 === [1/4] build L0BaseImage-20261122T235800Z-8973c8
23:58:40 I: success in 39.5000 seconds
23:58:40 making the disk
23:59:00 accelerator: tcg
23:59:01 Starting VM, booting disk image
23:59:41 Connected to SSH!
23:59:55 ok git: 2.39.5
00:00:11 Gracefully halting virtual machine...
00:00:17 Running post-processor:  (type manifest)
00:00:21 === [1/4] build L0BaseImage-20261122T235800Z-8973c8: done in 2 min 21 s
00:00:21 === [2/4] prove L0BaseImage-20261122T235800Z-8973c8
00:00:22 waiting for proof-8973c8 to answer ssh
00:01:00 ok git: 2.39.5
00:01:12 rebooting proof-8973c8
00:02:00 ok git: 2.39.5
00:02:02 ok record: L0BaseImage-20261122T235800Z-8973c8
00:02:03 === [2/4] prove L0BaseImage-20261122T235800Z-8973c8: done in 1 min 42 s
"""


def benchmark(*words: str | Path) -> str:
    script, *rest = words
    argv = [sys.executable, ROOT / "benchmarks" / script, *rest]
    ended = subprocess.run(argv, capture_output=True, text=True, timeout=400, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.mark.parametrize(("script", "target"), [("list.py", "1.25"), ("nothing_to_do.py", "1.2"), ("clouds.py", "1.5")])
def test_it_prints_both_sides_and_their_ratio_with_the_target(script: str, target: str) -> None:
    out = benchmark(script, "--times", "1")
    assert len(re.findall(r": \d+\.\d{3} s$", out, re.MULTILINE)) >= 2
    assert re.search(rf"^ratio: \d+\.\d\d, to reach: {re.escape(target)}$", out, re.MULTILINE)


def test_packing_is_told_beside_tar_in_time_and_in_size() -> None:
    out = benchmark("packing.py", "--times", "1", "--mebibytes", "8")
    assert re.search(r"^ratio: \d+\.\d\d, to reach: 0\.25$", out, re.MULTILINE)
    assert (size := re.search(r"^ratio of sizes: (\d\.\d{3}), to reach: 1\.03$", out, re.MULTILINE))
    assert float(size[1]) <= 1.03


@pytest.mark.vm
@pytest.mark.matrix
def test_a_start_is_told_beside_its_vms_own_time_and_with_what_it_asks_of_github() -> None:
    out = benchmark("runners.py", "--times", "1")
    assert re.search(r"^calls of GitHub: start \d+, stop \d+$", out, re.MULTILINE)
    assert re.search(r"^ratio: \d+\.\d\d, to reach: 1\.2$", out, re.MULTILINE)


@pytest.mark.matrix
def test_a_start_on_both_clouds_is_told_beside_the_slower_one_and_a_reaper_beside_the_bare_calls() -> None:
    out = benchmark("fleets.py", "--aws", "1", "--azure", "2", "--machines", "50")
    assert re.search(r"^later by: -?\d+\.\d\d s, to reach: 3$", out, re.MULTILINE)
    assert len(re.findall(r"^calls, runners\.\w+ .*: \d+ of aws, \d+ of azure, \d+ of github$", out, re.MULTILINE)) == 4
    assert re.search(r"^ratio: \d+\.\d\d, to reach: 1\.5$", out, re.MULTILINE)


@pytest.mark.matrix
def test_an_upload_is_told_beside_curl_and_a_publication_beside_vagrants_own() -> None:
    out = benchmark("upload.py", "--times", "1", "--size", "64", "--small", "64", "--large", "128", "--published", "1")
    assert len(re.findall(r"^ratio: \d+\.\d\d, to reach: 1\.0$", out, re.MULTILINE)) == 3
    assert len(re.findall(r"^memory at (64|128) MiB: \d\d MiB, to reach: 100$", out, re.MULTILINE)) == 2


def test_a_night_with_nothing_to_do_is_told_with_what_it_asks_of_whom() -> None:
    out = benchmark("release.py", "--night", "--times", "1")
    assert re.search(r"^a night with nothing to do: \d\.\d{3} s$", out, re.MULTILINE)
    assert re.search(r"^calls: \d of aws, \d of github, \d of the registry$", out, re.MULTILINE)


def test_listing_loads_no_sdk() -> None:
    assert "SDK modules loaded: none" in benchmark("list.py", "--times", "1")


def test_a_builds_log_tells_the_guests_own_time_across_midnight(tmp_path: Path) -> None:
    (tmp_path / "log").write_text(LOG)
    out = benchmark("build.py", "--log", tmp_path / "log")
    phases = dict(re.findall(r"^  (.+): (\d+) s$", out, re.MULTILINE))
    assert phases == {
        "mmdebstrap": "40",
        "boot": "40",
        "provision": "30",
        "shut down": "6",
        "boot for the proof, and checks": "50",
        "reboot, and checks": "50",
    }
    assert "the whole build: 243.000 s" in out and "the guest's own time: 215.500 s" in out
    assert "ratio: 1.13, to reach: 1.3" in out
