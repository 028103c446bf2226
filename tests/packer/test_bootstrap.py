"""A base made out of the host's own apt sources: stopped in the middle, it leaves nothing."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.toolkit import Toolkit, eventually

pytestmark = pytest.mark.vm

L0BASE = ("images.l0base", "--cloud", "local")
UNDER_WAY = "installing remaining packages inside the chroot"


@pytest.fixture
def bare(tmp_path: Path) -> Toolkit:
    """A toolkit with an empty store and the real definition."""
    return Toolkit(tmp_path / "home", {"KM_LOCAL__ACCELERATOR": "tcg"})


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_it_in_seconds_and_leaves_nothing(bare: Toolkit, number: signal.Signals) -> None:
    with bare.started(*L0BASE) as running:
        running.reaches(UNDER_WAY)
        running.gets(number)
        ran = running.end(within=10)
    assert ran.code == 130
    assert ran.err.splitlines()[-1] == "left behind: nothing"
    eventually(lambda: not bare.processes(), "the end of mmdebstrap", within=20)
    assert not [path for path in (bare.store / "bases").iterdir() if path.is_dir()]


def test_a_kill_ends_it_too_and_leaves_what_prune_finds(bare: Toolkit) -> None:
    with bare.started(*L0BASE) as running:
        running.reaches(UNDER_WAY)
        running.gets(signal.SIGKILL)
        running.end()
        eventually(lambda: not bare.processes(), "the end of mmdebstrap", within=20)
    assert bare.run("images.prune", "--cloud", "local").out.count("removed") == 2  # the build, and half a base
    assert not [path for path in (bare.store / "bases").iterdir() if path.is_dir()]
    assert bare.left() == []
