"""Archives are what tar and gzip of everybody read, the same each time, on all processors."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloud import wait
from cloud.errors import Interrupted
from packer import packing
from packer.packing import Member, pack


def members(folder: Path, size: int = 3 * packing.PIECE + 777) -> list[Member]:
    """Some, of which one is a file of several pieces."""
    disk = folder / "disk"
    disk.write_bytes(random.Random(1).randbytes(size // 2) + bytes(size - size // 2))
    return [Member("metadata.json", b"{}\n"), Member("empty", b""), Member("disk", disk)]


def test_gnu_tar_bsdtar_and_python_read_the_same(tmp_path: Path) -> None:
    wanted = members(tmp_path)
    pack(tmp_path / "a.box", wanted)
    content = (tmp_path / "disk").read_bytes()
    for program in ("tar", "bsdtar"):
        listed = subprocess.run([program, "-t", "-z", "-f", tmp_path / "a.box"], capture_output=True, check=True)
        assert listed.stdout.decode().split() == ["metadata.json", "empty", "disk"]
        read = subprocess.run(
            [program, "-x", "-z", "-O", "-f", tmp_path / "a.box", "disk"], capture_output=True, check=True
        )
        assert read.stdout == content
    with tarfile.open(tmp_path / "a.box", "r:gz") as archive:
        first = next(iter(archive))
        assert (first.name, first.uid, first.uname, first.mtime, first.mode) == ("metadata.json", 0, "", 0, 0o644)
    assert subprocess.run(["gzip", "-t", tmp_path / "a.box"], check=False).returncode == 0


def test_the_sum_and_the_size_are_those_of_the_file_and_the_same_again(tmp_path: Path) -> None:
    wanted = members(tmp_path)
    first, second = (pack(tmp_path / name, wanted) for name in ("a.box", "b.box"))
    content = (tmp_path / "a.box").read_bytes()
    assert first == second and first.size == len(content)
    assert first.sha256 == hashlib.sha256(content).hexdigest()
    assert (tmp_path / "a.box").stat().st_mode & 0o777 == 0o600


@settings(max_examples=40)
@given(st.lists(st.binary(max_size=2000), max_size=5), st.integers(1, 700))
def test_whatever_the_members_and_the_pieces_all_of_it_is_there(
    tmp_path_factory: pytest.TempPathFactory, contents: list[bytes], piece: int
) -> None:
    path = tmp_path_factory.mktemp("packed") / "a.box"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packing, "PIECE", piece)
        pack(path, [Member(str(number), content) for number, content in enumerate(contents)])
    with tarfile.open(path, "r:gz") as archive:
        assert [(each.name, archive.extractfile(each).read()) for each in archive] == [  # type: ignore[union-attr]
            (str(number), content) for number, content in enumerate(contents)
        ]


def test_a_member_of_more_than_eight_gigabytes_has_its_size(tmp_path: Path) -> None:
    size = (9 << 30) + 1
    with open(tmp_path / "disk", "wb") as file:
        os.truncate(file.fileno(), size)
    head = next(packing._tar([Member("disk", tmp_path / "disk")]))
    assert tarfile.TarInfo.frombuf(head, "utf-8", "strict").size == size


def test_an_interrupt_ends_it(tmp_path: Path) -> None:
    wait.interrupt()
    with pytest.raises(Interrupted):
        pack(tmp_path / "a.box", members(tmp_path))


def test_it_takes_no_more_memory_for_a_larger_disk(tmp_path: Path) -> None:
    code = (
        "import resource, sys; from pathlib import Path; from packer.packing import *; "
        "pack(Path(sys.argv[1]), [Member('disk', Path(sys.argv[2]))]); "
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)"
    )
    peaks = []
    for size in (16 << 20, 256 << 20):
        disk = tmp_path / f"{size}.disk"
        with open(disk, "wb") as file:
            os.truncate(file.fileno(), size)
        ran = subprocess.run(
            [sys.executable, "-c", code, tmp_path / f"{size}.box", disk], capture_output=True, text=True, check=True
        )
        peaks.append(int(ran.stdout))
    assert peaks[1] < peaks[0] + 32, peaks
