"""The store's folders: whole or not there, nobody else's, and locks that die with their holder."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cloud import wait
from cloud.errors import Interrupted, TimedOut
from cloud.files import discard, erase, held, is_half, replaced, turn, write_json

ROOT = Path(__file__).resolve().parents[2]


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def dead_process() -> int:
    """The number of a process that was."""
    with subprocess.Popen(["true"]) as process:
        pass
    return process.pid


@contextmanager
def another_process(script: str, *words: object) -> Iterator[subprocess.Popen[str]]:
    """A Python process that has the store's functions and has said that it is ready."""
    code = f"import sys, time\nfrom pathlib import Path\nfrom cloud.files import *\n{script}"
    process = subprocess.Popen(
        [sys.executable, "-c", code, *map(str, words)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            assert process.stdout is not None and process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


HOLD = "mine = lock(Path(sys.argv[1])); mine.acquire(); print('ready', flush=True); time.sleep(60)"


class TestWhatIsReplaced:
    def test_is_the_old_one_until_all_is_written(self, tmp_path: Path) -> None:
        path = tmp_path / "file"
        path.write_text("old")
        with replaced(path) as fresh:
            fresh.write_text("new")
            assert path.read_text() == "old"
        assert path.read_text() == "new" and os.listdir(tmp_path) == ["file"]

    def test_stays_the_old_one_when_writing_fails(self, tmp_path: Path) -> None:
        path = tmp_path / "file"
        path.write_text("old")
        with pytest.raises(IsADirectoryError), replaced(path) as fresh:  # noqa: PT012  # what fails is inside
            fresh.write_text("half of the n")
            tmp_path.write_text("no file")
        assert path.read_text() == "old" and os.listdir(tmp_path) == ["file"]

    def test_may_be_a_folder_that_is_not_there_yet(self, tmp_path: Path) -> None:
        with replaced(tmp_path / "image") as fresh:
            fresh.mkdir()
            (fresh / "disk").write_text("disk")
            assert not (tmp_path / "image").exists()
        assert (tmp_path / "image" / "disk").read_text() == "disk"

    def test_is_whole_for_a_reader_whenever_the_writer_is_killed(self, tmp_path: Path) -> None:
        path = tmp_path / "state.json"
        script = """
print('ready', flush=True)
n = 0
while True:
    n += 1
    write_json(Path(sys.argv[1]), {"text": str(n) * 20000})
"""
        for _ in range(3):
            with another_process(script, path) as writer:
                deadline = time.monotonic() + 0.4
                while time.monotonic() < deadline:
                    if path.exists():
                        assert len(json.loads(path.read_text())["text"]) >= 20000
                writer.kill()
            assert json.loads(path.read_text())
        for left in tmp_path.iterdir():
            assert left == path or is_half(left)


class TestWhatIsHalf:
    @pytest.mark.parametrize("name", [".image.{}.new", ".Image-20261122T200000Z-1f2e3d.{}.gone", ".a.b.json.{}.new"])
    def test_is_so_only_when_its_writer_is_gone(self, name: str) -> None:
        assert is_half(Path(name.format(dead_process())))
        assert not is_half(Path(name.format(os.getpid())))

    @given(st.from_regex(r"\A\.?[a-z.]{0,8}(\.[a-z]{1,3}){0,2}(\.new|\.gone|)\Z"))
    @example(".new")
    @example(".x.new")
    @example(".my.new")
    @example(".a.b.new")
    def test_is_nothing_that_we_did_not_write(self, name: str) -> None:
        assert not is_half(Path(name))

    def test_is_what_a_killed_process_leaves(self, tmp_path: Path) -> None:
        script = """
with replaced(Path(sys.argv[1], "image")) as fresh:
    fresh.mkdir()
    print('ready', flush=True)
    time.sleep(60)
"""
        with another_process(script, tmp_path) as writer:
            (half,) = tmp_path.iterdir()
            assert not is_half(half)
            writer.send_signal(signal.SIGKILL)
        assert is_half(half)
        erase(half)
        assert list(tmp_path.iterdir()) == []


class TestWhatIsDiscarded:
    def test_is_gone_with_all_that_is_in_it(self, tmp_path: Path) -> None:
        (tmp_path / "image" / "deep").mkdir(parents=True)
        discard(tmp_path / "image")
        assert list(tmp_path.iterdir()) == []

    def test_is_never_seen_in_part_though_its_remover_is_killed(self, tmp_path: Path) -> None:
        (tmp_path / "image").mkdir()
        (tmp_path / "image" / "disk").touch()
        script = """
import cloud.files as files
def erase(path):
    print('ready', flush=True)
    time.sleep(60)
files.erase = erase
files.discard(Path(sys.argv[1], "image"))
"""
        with another_process(script, tmp_path):
            assert not (tmp_path / "image").exists()
        (left,) = tmp_path.iterdir()
        assert is_half(left) and (left / "disk").exists()

    def test_takes_a_link_and_not_what_it_leads_to(self, tmp_path: Path) -> None:
        (tmp_path / "mine").mkdir()
        (tmp_path / "link").symlink_to(tmp_path / "mine")
        erase(tmp_path / "link")
        assert os.listdir(tmp_path) == ["mine"]

    def test_may_be_gone_already(self, tmp_path: Path) -> None:
        erase(tmp_path / "nothing")
        discard(tmp_path / "nothing")

    @pytest.mark.parametrize("how", ["erase", "discard"])
    def test_may_be_removed_by_two_at_once(self, tmp_path: Path, how: str) -> None:
        """Each of them takes files away under the other's hands."""
        script = f"""
print('ready', flush=True)
sys.stdin.readline()
{how}(Path(sys.argv[1]))
"""
        for number in range(5):
            folder = tmp_path / str(number)
            for name in range(300):
                (folder / str(name % 7) / str(name)).mkdir(parents=True)
            with another_process(script, folder) as one, another_process(script, folder) as other:
                for process in (one, other):
                    assert process.stdin is not None
                    process.stdin.write("go\n")
                    process.stdin.flush()
                assert one.wait(20) == other.wait(20) == 0
            assert list(tmp_path.iterdir()) == []


class TestALock:
    def test_is_held_as_long_as_its_process_lives(self, tmp_path: Path) -> None:
        path = tmp_path / "lock"
        assert not held(path)
        with another_process(HOLD, path) as holder:
            assert held(path)
            holder.send_signal(signal.SIGKILL)
            holder.wait()
            assert not held(path)

    def test_is_not_taken_by_looking_at_it(self, tmp_path: Path) -> None:
        path = tmp_path / "lock"
        path.touch()
        assert not held(path) and not held(path)
        with another_process(HOLD, path):
            assert held(path)

    def test_is_not_made_by_looking_at_it(self, tmp_path: Path) -> None:
        """A build's folder that has just gone must not come back as that of a dead one."""
        assert not held(tmp_path / "build" / "lock")
        assert list(tmp_path.iterdir()) == []

    def test_is_seen_by_any_number_that_look_at_once(self, tmp_path: Path) -> None:
        path = tmp_path / "lock"
        path.touch()
        looks = "print('ready', flush=True)\nwhile True: assert not held(Path(sys.argv[1]))"
        with another_process(looks, path), another_process(looks, path) as other:
            for _ in range(2000):
                assert not held(path)
            assert other.poll() is None

    def test_moves_with_its_folder(self, tmp_path: Path) -> None:
        """A build's folder gets its name with the lock in it."""
        (tmp_path / "fresh").mkdir()
        with another_process(HOLD, tmp_path / "fresh" / "lock"):
            (tmp_path / "fresh").rename(tmp_path / "build")
            assert held(tmp_path / "build" / "lock")

    def test_lets_one_in_at_a_time(self, tmp_path: Path) -> None:
        script = """
print('ready', flush=True)
for _ in range(50):
    with lock(Path(sys.argv[1], "lock")):
        count = Path(sys.argv[1], "count")
        count.write_text(str(int(count.read_text()) + 1))
"""
        (tmp_path / "count").write_text("0")
        with another_process(script, tmp_path) as one, another_process(script, tmp_path) as other:
            assert one.wait(20) == other.wait(20) == 0
        assert (tmp_path / "count").read_text() == "100"


class TestATurn:
    def test_comes_when_the_other_one_has_ended_and_says_once_that_it_waits(self, tmp_path: Path) -> None:
        told: list[str] = []
        with another_process(HOLD, tmp_path / "lock") as holder:
            threading.Timer(0.5, holder.kill).start()
            with turn(tmp_path / "lock", what="it", timeout=20, waiting=lambda: told.append("waiting")):
                assert held(tmp_path / "lock")
        assert told == ["waiting"]
        assert not held(tmp_path / "lock")

    def test_that_is_free_is_taken_without_a_word(self, tmp_path: Path) -> None:
        with turn(tmp_path / "lock", what="it", timeout=20, waiting=lambda: pytest.fail("it was free")):
            pass

    def test_that_does_not_come_is_named(self, tmp_path: Path) -> None:
        with (
            another_process(HOLD, tmp_path / "lock"),
            pytest.raises(TimedOut, match=r"^the base: not within 1 s$"),
            turn(tmp_path / "lock", what="the base", timeout=1),
        ):
            pass

    def test_is_not_waited_for_after_an_interrupt(self, tmp_path: Path) -> None:
        threading.Timer(0.3, wait.interrupt).start()
        began = time.monotonic()
        with (
            another_process(HOLD, tmp_path / "lock"),
            pytest.raises(Interrupted),
            turn(tmp_path / "lock", what="it", timeout=60),
        ):
            pass
        assert time.monotonic() - began < 10


def test_json_is_written_the_same_way_each_time_and_only_for_its_owner(tmp_path: Path) -> None:
    for name, value in (("a", {"x": 1, "y": "é"}), ("b", {"y": "é", "x": 1})):
        write_json(tmp_path / name, value)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert json.loads((tmp_path / "a").read_text()) == {"x": 1, "y": "é"}
    assert mode(tmp_path / "a") == 0o600
