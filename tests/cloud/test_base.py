"""Which build is current, and what is told of one: over any set of tags."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from cloud import names
from cloud.base import Image, current, newest_first

EPOCH = datetime(2026, 11, 22, tzinfo=UTC)
STATES = {
    "built": (),
    "proven": (names.PROVEN,),
    "promoted": (names.PROVEN, names.PROMOTED),
    "withdrawn": (names.PROVEN, names.WITHDRAWN),
}


def image(number: int, minutes: int, state: str) -> Image:
    created = EPOCH + timedelta(minutes=minutes)
    tags = {
        names.KIND: "image",
        names.CREATED: names.moment(created),
        **{tag: names.moment(EPOCH) for tag in STATES[state]},
    }
    return Image("local", "Image", f"Image-{number:03}", f"/images/{number}", 1, created, tags)


builds = st.lists(st.tuples(st.integers(0, 5), st.sampled_from(sorted(STATES)))).map(
    lambda rows: [image(number, minutes, state) for number, (minutes, state) in enumerate(rows)]
)


@given(st.data(), builds)
def test_the_current_build_is_the_newest_that_is_promoted_in_whatever_order_they_come(
    data: st.DataObject, images: list[Image]
) -> None:
    shuffled = data.draw(st.permutations(images))
    promoted = [each for each in images if names.PROMOTED in each.tags]
    newest = max(promoted, key=lambda each: (each.tags[names.CREATED], each.build)) if promoted else None
    assert current(shuffled) == newest


@given(st.data(), builds)
def test_builds_are_told_newest_first_the_same_way_each_time(data: st.DataObject, images: list[Image]) -> None:
    ordered = newest_first(data.draw(st.permutations(images)))
    assert sorted(each.build for each in ordered) == [each.build for each in images]
    for newer, older in pairwise(ordered):
        assert (newer.created, newer.build) > (older.created, older.build)


@given(st.sampled_from(sorted(STATES)))
def test_a_build_is_as_far_as_its_tags_say(state: str) -> None:
    assert image(1, 0, state).state == state


def test_a_build_that_is_promoted_again_is_not_withdrawn() -> None:
    told = image(1, 0, "withdrawn")
    again = replace(told, tags={**told.tags, names.PROMOTED: names.moment(EPOCH)})
    assert again.state == "promoted" and current([again]) == again


def test_there_is_no_current_build_of_nothing() -> None:
    assert current([]) is None and newest_first([]) == []
