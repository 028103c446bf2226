"""Folders of work under way: one is alive as long as its process is, and never looks dead while it ends."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cloud import files
from cloud.errors import TemporaryError
from cloud.work import Work

ROOT = Path(__file__).resolve().parents[2]


BEGUN = """
import os, sys
from pathlib import Path
from cloud.work import Work
folder = Work(Path(sys.argv[1])).begin("build")
"""
KILLED = "\nos.kill(os.getpid(), 9)"


def killed_in(root: Path, script: str) -> None:
    """A process that begins work in the folder, goes on so, and is killed."""
    argv: list[str | Path] = [sys.executable, "-c", f"{BEGUN}{script}{KILLED}", root]
    subprocess.run(argv, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False)


def test_work_is_busy_for_others_until_it_is_finished(tmp_path: Path) -> None:
    ours, theirs = Work(tmp_path), Work(tmp_path)
    ours.begin("build")
    assert theirs.busy("build") and theirs.dead() == []
    with pytest.raises(TemporaryError, match="another process works on build"):
        theirs.begin("build")
    ours.finish("build")
    assert not theirs.busy("build") and list(tmp_path.iterdir()) == []


def test_work_whose_process_was_killed_is_dead_and_may_begin_again(tmp_path: Path) -> None:
    killed_in(tmp_path, "(folder / 'disk').touch()")
    work = Work(tmp_path)
    assert work.dead() == ["build"]
    assert not (work.begin("build") / "disk").exists()
    assert work.dead() == []


def test_work_never_looks_dead_while_it_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = Work(tmp_path), Work(tmp_path)
    folder = ours.begin("build")
    for number in range(50):
        (folder / str(number)).touch()
    dead: list[str] = []
    unlink = os.unlink

    def looked(*words: object, **more: object) -> None:
        """Others look after every single file that goes."""
        unlink(*words, **more)  # type: ignore[arg-type]
        dead.extend(theirs.dead())

    monkeypatch.setattr(os, "unlink", looked)
    ours.finish("build")
    assert dead == [] and list(tmp_path.iterdir()) == []


def test_work_that_is_finished_twice_is_no_harm(tmp_path: Path) -> None:
    work = Work(tmp_path)
    work.begin("build")
    work.finish("build")
    work.finish("build")


def test_half_a_folder_of_a_killed_process_goes_with_the_next_work(tmp_path: Path) -> None:
    killed_in(tmp_path, "os.rename(folder, folder.with_name(f'.build.{os.getpid()}.gone'))")
    (half,) = tmp_path.iterdir()
    assert files.is_half(half)
    Work(tmp_path).begin("another")
    assert not half.exists()


def test_of_two_that_begin_the_same_at_once_one_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both have looked and found it free; the other one was faster."""
    monkeypatch.setattr("cloud.work.discard", lambda folder: (folder.mkdir(), (folder / "lock").touch()))
    with pytest.raises(TemporaryError, match="another process works on build"):
        Work(tmp_path).begin("build")
    assert [path.name for path in tmp_path.iterdir()] == ["build"]
