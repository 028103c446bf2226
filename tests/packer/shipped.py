"""How builds end on any cloud: badly, by a signal, without a word. Each cloud's tests take these over."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

import psutil
import pytest

from tests.toolkit import Toolkit, definition_with


class Shipped(Protocol):
    """A cloud whose current image is of older inputs: there is something to build, and something to lose."""

    cloud: str
    vm: str
    """How the id of a VM begins that proves."""
    parts: tuple[str, ...]
    """What a build that is killed before its image leaves, in words."""

    @property
    def toolkit(self) -> Toolkit:
        """One that works there."""

    def current_is_what_it_was(self) -> None:
        """The current image is what it was, for us and for others."""

    def left(self) -> list[str]:
        """What there is that no image needs."""

    def vms(self) -> list[str]:
        """The VMs that there are."""


def is_as_it_was(shipped: Shipped) -> None:
    """The current image is what it was, and nothing of a build is left."""
    shipped.current_is_what_it_was()
    assert shipped.left() == []


@contextmanager
def watched(toolkit: Toolkit, *secrets: str) -> Iterator[set[str]]:
    """Where a secret can be read while the toolkit works and after that: files of its home, and argument lists."""
    shown: set[str] = set()
    over = threading.Event()

    def look() -> None:
        for path in toolkit.home.rglob("*"):
            with suppress(OSError):  # it went while we looked, or is a socket
                if path.is_file() and any(secret.encode() in path.read_bytes() for secret in secrets):
                    shown.add(str(path))
        for process in toolkit.processes():
            with suppress(psutil.Error):
                words = process.cmdline()
                if any(secret in word for secret in secrets for word in words):
                    shown.add(words[0])

    def watch() -> None:
        while not over.wait(0.5):
            look()

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield shown
    finally:
        over.set()
        watcher.join()
        look()


@pytest.mark.vm
class Failures:
    @pytest.mark.matrix
    def test_of_a_step_leaves_the_current_image_and_nothing_else(self, shipped: Shipped, tmp_path: Path) -> None:
        broken = definition_with(tmp_path / "broken", {"core-pattern.sh": "echo the reason; exit 3\n"})
        ran = shipped.toolkit.but(images__definition=str(broken)).run("images.l0base", "--cloud", shipped.cloud)
        assert ran.code == 1 and "error: packer: the reason" in ran.err
        assert "left behind: nothing" in ran.err
        is_as_it_was(shipped)

    @pytest.mark.matrix
    def test_of_the_proof_leaves_the_current_image_and_nothing_else(self, shipped: Shipped, tmp_path: Path) -> None:
        lies = '. ./report.sh\nif [ "$KM_PHASE" = boot ]; then failed memory "gone"; fi\n'
        broken = definition_with(tmp_path / "broken", {"core-pattern.check.sh": lies})
        ran = shipped.toolkit.but(images__definition=str(broken)).run("images.l0base", "--cloud", shipped.cloud)
        assert ran.code == 1 and "error: boot: memory (gone)" in ran.err
        is_as_it_was(shipped)

    def test_of_packer_that_is_too_old_is_one_line_and_touches_nothing(self, shipped: Shipped) -> None:
        ran = shipped.toolkit.but(packer__minimum="1.14.1").run("images.l0base", "--cloud", shipped.cloud)
        assert ran.code == 2
        assert f"error: packer 1.6.6 is too old for {shipped.cloud}: packer.minimum is 1.14.1" in ran.err
        is_as_it_was(shipped)


@pytest.mark.vm
class Ends:
    @pytest.mark.matrix
    def test_by_a_signal_leaves_nothing_or_what_prune_finds(self, shipped: Shipped) -> None:
        with shipped.toolkit.started("images.l0base", "--cloud", shipped.cloud) as running:
            running.reaches("Waiting for SSH")
            began = time.monotonic()
            running.gets(signal.SIGTERM)
            ended = running.end(60)
            assert ended.code == 130 and time.monotonic() - began < 12
        shipped.current_is_what_it_was()
        shipped.toolkit.run("images.prune", "--cloud", shipped.cloud)
        is_as_it_was(shipped)

    @pytest.mark.matrix
    def test_without_a_word_leaves_what_prune_removes(self, shipped: Shipped) -> None:
        with shipped.toolkit.started("images.l0base", "--cloud", shipped.cloud) as running:
            running.reaches("Waiting for SSH")
            # The youngest first: who outlives another of them would clean up after it.
            running.gets(signal.SIGSTOP)
            for process in sorted(shipped.toolkit.processes(), key=lambda each: -each.pid):
                with suppress(psutil.NoSuchProcess):  # the end of its child was its own
                    process.kill()
            running.process.wait()
        shipped.current_is_what_it_was()
        assert shipped.left() != []
        plan = shipped.toolkit.run("images.prune", "--cloud", shipped.cloud, "--plan")
        assert [part for part in shipped.parts if f"{part} of a killed build" not in plan.out] == []
        pruned = shipped.toolkit.run("images.prune", "--cloud", shipped.cloud)
        assert pruned.code == 0, pruned.err
        is_as_it_was(shipped)
        assert shipped.toolkit.run("images.prune", "--cloud", shipped.cloud).out == ""

    @pytest.mark.matrix
    def test_in_the_proof_leaves_an_image_that_is_gone_on_with(self, shipped: Shipped) -> None:
        with shipped.toolkit.started("images.l0base", "--cloud", shipped.cloud) as running:
            running.reaches(f"waiting for {shipped.vm}")
            running.process.kill()
        shipped.current_is_what_it_was()
        plan = shipped.toolkit.run("images.l0base", "--cloud", shipped.cloud, "--plan", "--json").json[0]
        assert plan["steps"] == ["prove", "promote", "prune"]
        assert shipped.toolkit.run("images.prune", "--cloud", shipped.cloud, "--keep", "2").code == 0
        assert shipped.vms() == []
