"""Waiting: to a deadline, or until an interrupt, which ends it at once in any thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cloud import wait
from cloud.errors import InputError, Interrupted, TimedOut


class Years(wait.Clock):
    """A clock that lets years pass at once."""

    def __init__(self) -> None:
        self.passed = 0.0

    def now(self) -> datetime:
        return datetime(2026, 11, 22, tzinfo=UTC) + timedelta(seconds=self.passed)

    def monotonic(self) -> float:
        return self.passed

    def sleep(self, seconds: float) -> None:
        self.passed += seconds


@pytest.fixture
def years(monkeypatch: pytest.MonkeyPatch) -> Years:
    clock = Years()
    monkeypatch.setattr(wait, "clock", clock)
    return clock


def never() -> None:
    """What one waits for in vain."""


def interrupted_soon(work: Callable[[], object]) -> float:
    """Do the work, with an interrupt from another thread after a moment; the seconds that it took."""
    later = threading.Timer(0.1, wait.interrupt)
    later.start()
    began = time.monotonic()
    with pytest.raises(Interrupted):
        work()
    took = time.monotonic() - began
    later.join()  # or it would interrupt the next test
    return took


class TestUntil:
    def test_returns_what_was_found_and_looks_no_more(self, years: Years) -> None:
        found = iter([None, None, "it"])
        assert wait.until(lambda: next(found), what="it", timeout=60, every=5) == "it"
        assert years.passed == 10

    def test_looks_before_it_waits(self, years: Years) -> None:
        assert wait.until(lambda: 0, what="it", timeout=0) == 0
        assert years.passed == 0

    @given(timeout=st.integers(0, 10**8), every=st.integers(10**3, 10**8))
    def test_gives_up_at_its_deadline_and_not_before(self, timeout: int, every: int) -> None:
        clock = Years()
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(wait, "clock", clock)
            with pytest.raises(TimedOut) as late:
                wait.until(never, what="the runner", timeout=timeout, every=every, hint="look at GitHub")
        assert timeout <= clock.passed < timeout + every
        assert late.value.message.startswith("the runner: not within ") and late.value.hint == "look at GitHub"

    def test_ends_at_once_when_an_interrupt_comes(self) -> None:
        assert interrupted_soon(lambda: wait.until(never, what="it", timeout=60, every=60)) < 20

    def test_looks_once_and_ends_when_an_interrupt_came_before(self) -> None:
        wait.interrupt()
        with pytest.raises(Interrupted):
            wait.until(never, what="it", timeout=60, every=60)

    def test_that_must_finish_goes_on_after_an_interrupt(self) -> None:
        wait.interrupt()
        looks = iter([None, None, None, "gone"])
        assert wait.until(lambda: next(looks), what="end of the VM", timeout=5, every=0.01, finish=True) == "gone"

    def test_defect_19_counts_what_happens_at_the_last_moment(self, years: Years) -> None:
        looks = iter([None, None, "there"])
        assert wait.until(lambda: next(looks), what="it", timeout=10, every=5) == "there"
        assert years.passed == 10

    def test_that_must_finish_has_a_deadline_too(self) -> None:
        wait.interrupt()
        with pytest.raises(TimedOut):
            wait.until(never, what="end of the VM", timeout=0.05, every=0.01, finish=True)


class TestAPause:
    def test_lasts_as_long_as_was_said(self, years: Years) -> None:
        wait.pause(3e7)
        assert years.passed == 3e7

    def test_ends_at_once_when_an_interrupt_comes(self) -> None:
        assert interrupted_soon(lambda: wait.pause(60)) < 20

    def test_does_not_begin_after_an_interrupt(self) -> None:
        wait.interrupt()
        assert interrupted_soon(lambda: wait.pause(60)) < 20

    def test_ends_in_every_thread_at_once(self) -> None:
        ended: list[str] = []

        def paused() -> None:
            try:
                wait.pause(60)
            except Interrupted:
                ended.append("interrupted")

        threads = [threading.Thread(target=paused, daemon=True) for _ in range(5)]
        for thread in threads:
            thread.start()
        wait.interrupt()
        for thread in threads:
            thread.join(2)
        assert ended == ["interrupted"] * 5

    def test_works_again_once_the_interrupt_is_forgotten(self, years: Years) -> None:
        wait.interrupt()
        wait.resume()
        wait.pause(7)
        assert years.passed == 7


class TestASpan:
    @pytest.mark.parametrize(
        ("text", "span"),
        [
            ("90s", timedelta(seconds=90)),
            ("10m", timedelta(minutes=10)),
            ("6h", timedelta(hours=6)),
            ("7d", timedelta(days=7)),
            ("1h30m", timedelta(hours=1, minutes=30)),
            ("0d1s", timedelta(seconds=1)),
            ("365d", timedelta(days=365)),
        ],
    )
    def test_is_written_as_people_do(self, text: str, span: timedelta) -> None:
        assert wait.span(text) == span

    @given(
        st.dictionaries(st.sampled_from("dhms"), st.integers(0, 90), min_size=1).filter(
            lambda parts: any(parts.values())
        )
    )
    def test_means_the_sum_of_its_parts(self, parts: dict[str, int]) -> None:
        text = "".join(f"{parts[unit]}{unit}" for unit in "dhms" if unit in parts)
        seconds = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
        assert wait.span(text).total_seconds() == sum(count * seconds[unit] for unit, count in parts.items())

    @given(st.integers(1, 365 * 86_400))
    def test_may_be_any_number_of_seconds_within_a_year(self, seconds: int) -> None:
        assert wait.span(f"{seconds}s") == timedelta(seconds=seconds)

    @given(st.text() | st.from_regex(r"([0-9]{1,12}[dhms]){1,4}", fullmatch=True))
    @example("9" * 5000 + "s")
    @example("99999999d99999999h99999999m99999999s")
    @example("9" * 12 + "d")
    def test_is_at_most_a_year_or_refused(self, text: str) -> None:
        try:
            span = wait.span(text)
        except InputError:
            return
        assert timedelta() < span <= timedelta(days=365)

    @pytest.mark.parametrize(
        "text",
        ["", "0s", "10", "h", "-1h", "1.5h", "1h 30m", " 6h", "6h\n", "6H", "30m1h", "1h1h", "1w", "366d", "\u0667d"],
    )
    def test_is_refused_where_it_is_nothing_or_no_span(self, text: str) -> None:
        with pytest.raises(InputError, match="no span of time") as refused:
            wait.span(text)
        assert refused.value.hint == "as 90s, 10m, 6h or 7d"


def test_tokens_differ() -> None:
    assert len({wait.clock.token() for _ in range(100)}) > 90
