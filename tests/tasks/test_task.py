"""A task's signals: the first ends the work in good order, the second leaves it, however close they come."""

from __future__ import annotations

import signal

import pytest

from cloud import wait
from tasks import _task


def test_the_second_signal_leaves_though_it_comes_before_the_first_one_has_done_anything(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Python runs its handler in the midst of the first one's."""
    left: list[str] = []
    interrupt = wait.interrupt

    def late() -> None:
        if not left:
            _task._interrupted(signal.SIGTERM, None)
        interrupt()

    monkeypatch.setattr(wait, "interrupt", late)
    monkeypatch.setattr(_task, "_leave", lambda: left.append("left"))
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    _task._listen()
    for number, handler in before.items():
        signal.signal(number, handler)
    _task._interrupted(signal.SIGINT, None)
    assert left == ["left"]
