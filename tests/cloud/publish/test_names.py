"""Names of boxes, and versions as RubyGems takes them."""

from __future__ import annotations

import json
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.errors import InputError
from cloud.publish import names

# Ruby's own judgement, of many at once. Blanks around it and nothing at all are versions to it, and none to us.
RUBY = 'require "json"; puts JSON.generate(JSON.parse($stdin.read).map { |text| !!Gem::Version.correct?(text) })'

VERSIONS = (
    *(
        "1",
        "1.2.3",
        "1.0.0-rc.1",
        "0.1.0-edge.20261126.1",
        "1.a",
        "1.2.3.pre",
        "2026.11.26",
        "1-",
        "1.0-",
        "1..2",
        "a.1",
    ),
    *(
        "1.2.3+build",
        "-1",
        "1.2.3-",
        "1_0",
        "1.2.3-rc_1",
        "v1.0.0",
        "1.0.0-a-b",
        "1.٣",
        "1.0.0-rc..1",
        "1.0.0/x",
        "1.é",
    ),
)


def is_version(text: str) -> bool:
    try:
        return names.version(text) == text
    except InputError:
        return False


@pytest.mark.parametrize(
    ("text", "right"), [("1.2.3", "1.2.3"), ("v1.2.3", "1.2.3"), (" v0.1.0-edge.1\n", "0.1.0-edge.1")]
)
def test_a_tag_of_a_release_is_a_version(text: str, right: str) -> None:
    assert names.version(text) == right


def test_a_version_is_one_to_ruby_too() -> None:
    """Of Debian's Vagrant: it brings Ruby."""
    ran = subprocess.run(["ruby", "-e", RUBY], input=json.dumps(VERSIONS), capture_output=True, text=True, check=True)
    judged = json.loads(ran.stdout)
    assert {text: is_version(text) for text in VERSIONS} == dict(zip(VERSIONS, judged, strict=True))


@given(st.text())
def test_a_version_is_safe_in_addresses_and_paths(text: str) -> None:
    try:
        found = names.version(text)
    except InputError:
        return
    assert found.isascii() and found[0].isdigit() and not set(found) & set("/\\?#% \n") and ".." not in found


@given(st.text(alphabet=st.characters(codec="ascii")), st.text())
def test_a_name_is_safe_in_addresses_and_paths(org: str, box: str) -> None:
    try:
        found = names.tag(f"{org}/{box}")
    except InputError:
        return
    for part in (found.org, found.box):
        assert part.isascii() and part[0].isalnum() and part[-1].isalnum() and not set(part) & set("/\\?#% \n")


@pytest.mark.parametrize(
    "text", ["", "box", "/box", "org/", "org/box/more", "../box", "org/..", "org/-x", "o g/box", "org/b\n"]
)
def test_what_is_no_name_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="is no box's name"):
        names.tag(text)


def test_a_trial_is_below_every_version_of_ours_and_never_the_same() -> None:
    first, second = names.trial(), names.trial()
    assert first != second and first.startswith("0.0.0-") and names.version(first) == first
