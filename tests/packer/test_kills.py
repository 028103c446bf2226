"""Killed at every single change that a command makes to the store: the current image stays, the rest is found.

A run is learned, not imagined: the command is killed at its first change, then at its second, and so
on, until it ends by itself.
"""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cloud import connect
from cloud.base import Cloud, current
from packer import promotion
from tasks._settings import load
from tests.killed import COMMAND, KILLED_AT
from tests.planted import planted
from tests.toolkit import ROOT, Toolkit

NAME = "MicroImage"

ADOPTION = f"""{KILLED_AT}
from datetime import UTC, datetime
from pathlib import Path
from cloud import connect
from tasks._settings import load
from tests.planted import planted
cloud = connect("local", load())
planted(cloud, "{NAME}", "", "proven", "promoted", created=datetime.now(UTC))
"""


def opened(toolkit: Toolkit) -> Cloud:
    return connect("local", load({"KM_LOCAL__STORE": str(toolkit.store)}))


@pytest.fixture
def stocked(tmp_path: Path) -> Toolkit:
    """A toolkit with three promoted builds."""
    toolkit = Toolkit(tmp_path / "stocked")
    for day in range(3):
        created = datetime(2026, 11, 20, tzinfo=UTC) + timedelta(days=day)
        planted(opened(toolkit), NAME, "", "proven", "promoted", created=created, token=f"aaaaa{day}")
    return toolkit


def killed_at_every_change(stocked: Toolkit, tmp_path: Path, script: str, *words: str) -> Iterator[Toolkit]:
    """A copy of the store after each kill, until the command comes to its end."""
    for change in itertools.count():
        toolkit = Toolkit(tmp_path / f"killed-{change}")
        shutil.copytree(stocked.store, toolkit.store)
        argv = [sys.executable, "-c", script, str(change), *words]
        ended = subprocess.run(argv, env=toolkit.environment, cwd=ROOT, capture_output=True, text=True, check=False)
        if ended.returncode != -signal.SIGKILL:
            assert ended.returncode == 0, ended.stderr
            assert change > 0, "it changed nothing"
            return
        yield toolkit


def pruned(toolkit: Toolkit) -> None:
    """After a prune there is nothing in the store but whole images."""
    cloud = opened(toolkit)
    promotion.prune(promotion.superfluous(cloud, NAME, keep=9), cloud)
    assert toolkit.left() == []
    for path in (toolkit.store / "images").iterdir():
        assert path.name == ".lock" or {"disk.qcow2", "image.json"} <= set(os.listdir(path)), path


@pytest.mark.parametrize(
    ("words", "either"),
    [
        (("images.promote", "--cloud", "local", "aaaaa0"), ("aaaaa0", "aaaaa2")),
        (("images.rollback", "--cloud", "local"), ("aaaaa1", "aaaaa2")),
        (("images.prune", "--cloud", "local", "--keep", "1"), ("aaaaa2",)),
    ],
    ids=["promote", "rollback", "prune"],
)
def test_a_command_that_is_killed_leaves_the_image_that_was_or_will_be_current(
    stocked: Toolkit, tmp_path: Path, words: tuple[str, ...], either: tuple[str, ...]
) -> None:
    command = (*words, "--name", NAME)
    for toolkit in killed_at_every_change(stocked, tmp_path, COMMAND, *command):
        now = current(opened(toolkit).images.list(NAME))
        assert now is not None and now.build.endswith(either)
        assert toolkit.run(*command).code == 0
        pruned(toolkit)
        assert current(opened(toolkit).images.list(NAME)) is not None


def test_a_build_that_is_killed_while_it_becomes_an_image_is_whole_or_not_there(
    stocked: Toolkit, tmp_path: Path
) -> None:
    for toolkit in killed_at_every_change(stocked, tmp_path, ADOPTION):
        pruned(toolkit)
        images = opened(toolkit).images.list(NAME)
        assert len(images) in (3, 4)
        assert current(images) == next(image for image in images if image.state == "promoted")
        assert all((Path(image.id) / "disk.qcow2").stat().st_size for image in images)
