"""Several clouds at once: each ends on its own, and the exit code tells how many did well."""

from __future__ import annotations

import signal
import threading
import time
from dataclasses import dataclass
from typing import Any, cast

import pytest

from cloud.base import Cloud
from cloud.errors import Interrupted, KitError, NotAllowed, PartlyFailed, TemporaryError
from tasks._clouds import agree, ask


@dataclass
class Named:
    """A cloud of which nothing but its name is asked."""

    name: str


AWS, AZURE = cast(Cloud, Named("aws")), cast(Cloud, Named("azure"))


def ending(*ends: KitError | str) -> list[Any]:
    """The answers of clouds of which each ends so."""
    left = dict(zip(("aws", "azure"), ends, strict=False))

    def act(cloud: Cloud) -> str:
        end = left[cloud.name]
        if isinstance(end, KitError):
            raise end
        return end

    return ask([AWS, AZURE][: len(ends)], act)


def test_clouds_are_asked_at_the_same_time() -> None:
    together = threading.Barrier(2, timeout=10)
    answers = ask([AWS, AZURE], lambda cloud: (together.wait(), cloud.name)[1])
    assert [answer.value for answer in answers] == ["aws", "azure"]


def test_a_signal_is_handled_whichever_thread_the_kernel_gives_it_to() -> None:
    """Of two signals at once the kernel gives one to a thread that works; then nothing wakes the main thread."""
    handled = threading.Event()

    def act(cloud: Cloud) -> bool:
        time.sleep(0.5)  # the main thread waits by now
        signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)
        return handled.wait(5)

    before = signal.signal(signal.SIGUSR1, lambda number, frame: handled.set())
    try:
        (answer,) = ask([AWS], act)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert answer.value


def test_one_that_fails_does_not_keep_the_other_from_its_end() -> None:
    answers = ending(KitError("no disk"), "built")
    assert [answer.value for answer in answers] == [None, "built"]
    with pytest.raises(PartlyFailed, match=r"^aws: no disk$") as failed:
        agree(answers)
    assert failed.value.exit_code == 3


def test_the_only_one_that_fails_fails_in_its_own_words() -> None:
    with pytest.raises(NotAllowed, match=r"^not you$"):
        agree(ending(NotAllowed("not you")))


@pytest.mark.parametrize(
    ("first", "second", "code"),
    [
        (TemporaryError("slow", hint="later"), TemporaryError("full", hint="later"), 5),
        (TemporaryError("slow"), NotAllowed("not you"), 1),
    ],
    ids=["alike", "unlike"],
)
def test_all_that_fail_are_told_in_one_line(first: KitError, second: KitError, code: int) -> None:
    with pytest.raises(KitError) as failed:
        agree(ending(first, second))
    assert failed.value.message == f"aws: {first.message}; azure: {second.message}"
    assert failed.value.exit_code == code


def test_an_interrupt_is_one_whatever_else_failed() -> None:
    with pytest.raises(Interrupted):
        agree(ending(KitError("no disk"), Interrupted()))


class TestABugOfOurs:
    def answers(self) -> list[Any]:
        """Of two clouds, of which the first one meets a bug."""
        return ask([AWS, AZURE], lambda cloud: {"azure": "built"}[cloud.name])

    def test_is_told_with_its_place_and_the_other_cloud_has_its_result(self) -> None:
        answers = self.answers()
        assert answers[1].value == "built"
        with pytest.raises(
            PartlyFailed, match=r"^aws: a bug of ours at test_clouds.py:\d+: KeyError: 'aws'$"
        ) as failed:
            agree(answers)
        assert "--debug shows all" in failed.value.hint

    def test_of_the_only_cloud_is_a_failure(self) -> None:
        with pytest.raises(KitError, match="a bug of ours") as failed:
            agree(self.answers()[:1])
        assert failed.value.exit_code == 1

    @pytest.mark.parametrize("debug", [True, False])
    def test_shows_its_traceback_to_who_asks_for_it(
        self, debug: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr("sys.argv", ["inv", *(["--debug"] if debug else []), "images.list"])
        self.answers()
        assert ("Traceback (most recent call last)" in capsys.readouterr().err) is debug


def test_what_went_well_is_not_mentioned() -> None:
    agree(ending("built", "built"))
