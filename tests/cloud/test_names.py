"""Names: what may be called what, in every cloud."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cloud import names
from cloud.errors import InputError

# From the vendors' pages: EC2 CreateImage; Azure "naming rules and restrictions", galleries.
AWS = re.compile(r"[A-Za-z0-9()\[\] ./'@_-]{3,128}", re.ASCII)
AZURE_GROUP = re.compile(r"[A-Za-z0-9._()-]{0,89}[A-Za-z0-9_()-]", re.ASCII)
AZURE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,78}[A-Za-z0-9_]", re.ASCII)

LETTERS = "abzABZ019._-"
moments = st.datetimes(
    min_value=datetime(2000, 1, 1),
    max_value=datetime(2100, 1, 1),
    timezones=st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes))),
)


class TestAnImagesName:
    @given(st.text(LETTERS, max_size=60) | st.text(max_size=60))
    @example("L0BaseImage")
    @example("L0BaseImage\n")
    @example("Ⅷ-image")
    @example("a" * 50)
    @example("a" * 51)
    def test_is_good_for_every_cloud_or_refused(self, text: str) -> None:
        try:
            accepted = names.image_name(text)
        except InputError:
            return
        assert accepted == text
        build = names.build_name(text, datetime(2026, 11, 22, tzinfo=UTC), "1f2e3d")
        for name in (text, build):
            assert AWS.fullmatch(name) and AZURE.fullmatch(name)
        assert AZURE_GROUP.fullmatch(f"{build}-proof-1f2e3d")

    @pytest.mark.parametrize("text", ["L0BaseImage", "a-b", "km_box.2", "A" * 50])
    def test_may_be_what_people_use(self, text: str) -> None:
        assert names.image_name(text) == text

    @pytest.mark.parametrize("text", ["", "ab", "9lives", "-x-", "a b c", "abc.", "../etc", "a/b", "A" * 51, "Bild-ä"])
    def test_is_refused_with_the_rule_as_a_hint(self, text: str) -> None:
        with pytest.raises(InputError, match="can't name an image") as refused:
            names.image_name(text)
        assert "3 to 50 letters" in refused.value.hint


class TestABuildsName:
    @given(moments)
    def test_says_in_utc_when_it_began(self, created: datetime) -> None:
        told = names.time_of(names.build_name("An-Image", created, "1f2e3d"))
        assert timedelta() <= created - told < timedelta(seconds=1)

    def test_differs_by_its_token_within_a_second(self) -> None:
        now = datetime(2026, 11, 22, 20, tzinfo=UTC)
        assert names.build_name("Image", now, "aaaaaa") != names.build_name("Image", now, "bbbbbb")
        assert names.build_name("L0BaseImage", now, "1f2e3d") == "L0BaseImage-20261122T200000Z-1f2e3d"


class TestAMoment:
    @given(moments)
    def test_comes_back_as_it_was_written(self, time: datetime) -> None:
        assert names.parse_moment(names.moment(time)) == time

    @given(moments, moments)
    def test_sorts_as_text_as_it_does_in_time(self, one: datetime, other: datetime) -> None:
        assert (names.moment(one) < names.moment(other)) == (one < other)

    @given(st.text(max_size=40))
    @example("2026-11-22T20:00:00Z")
    def test_is_nothing_but_what_was_written_by_us(self, text: str) -> None:
        with pytest.raises(ValueError, match=r"does not match format|unconverted data"):
            names.parse_moment(text)


def test_no_two_tags_have_the_same_key_and_all_are_ours() -> None:
    keys = [key for name, key in vars(names).items() if name.isupper() and name[0] != "_" and isinstance(key, str)]
    assert len(keys) == len(set(keys)) > 0
    assert all(key.startswith("km-") for key in keys)
