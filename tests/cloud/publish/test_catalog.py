"""The document of a catalog: what is put into it, and what it never loses."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.errors import InputError, KitError
from cloud.publish.catalog import merged, without
from cloud.publish.names import Tag
from cloud.publish.place import Listed

TAG = Tag("org", "box")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=3)
    ),
    max_leaves=5,
)
VERSIONS = st.lists(st.from_regex(r"[1-9]\.[0-9]\.[0-9]", fullmatch=True), unique=True, max_size=4)


def listed(provider: str = "libvirt", architecture: str = "amd64", sha256: str = "a" * 64) -> Listed:
    return Listed(provider, architecture, sha256, True, f"https://boxes.example/{provider}/{architecture}.box")


@given(VERSIONS, st.dictionaries(st.text(st.characters(codec="utf-8")), JSON, max_size=3))
def test_what_others_have_put_there_stays_as_it_is(versions: list[str], more: dict[str, Any]) -> None:
    more = {key: value for key, value in more.items() if key not in ("name", "versions")}
    rows = [{"version": each, "providers": [], "of": more} for each in versions]
    before = {**more, "name": "org/box", "versions": rows}
    content = merged(json.dumps(before).encode(), TAG, "0.1.0", [listed()])
    after = json.loads(content)
    assert {**after, "versions": after["versions"][:-1]} == before
    assert after["versions"][-1]["version"] == "0.1.0"
    assert merged(content, TAG, "0.1.0", [listed()]) == content
    assert json.loads(without(content, TAG, "0.1.0")) == before


def test_the_default_is_the_last_of_its_provider() -> None:
    rows = [listed(architecture="arm64"), listed(architecture="amd64"), listed("virtualbox")]
    told = json.loads(merged(b"", TAG, "1.0.0", rows))["versions"][0]["providers"]
    assert [(each["name"], each["architecture"], each["default_architecture"]) for each in told] == [
        ("libvirt", "arm64", False),
        ("libvirt", "amd64", True),
        ("virtualbox", "amd64", True),
    ]
    assert {each["checksum_type"] for each in told} == {"sha256"}


def test_a_version_with_other_content_is_not_touched() -> None:
    content = merged(b"", TAG, "1.0.0", [listed()])
    for other in ([listed(sha256="b" * 64)], [listed(), listed("virtualbox")], [listed("virtualbox")]):
        with pytest.raises(InputError, match="meanwhile"):
            merged(content, TAG, "1.0.0", other)


@given(st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
def test_what_is_no_catalog_is_not_written_over(content: bytes) -> None:
    if content:
        with pytest.raises(KitError, match="as the catalog of org/box"):
            merged(content, TAG, "1.0.0", [listed()])


def test_the_catalog_of_another_box_is_not_written_over() -> None:
    with pytest.raises(KitError, match="that of 'org/other'"):
        merged(merged(b"", Tag("org", "other"), "1.0.0", [listed()]), TAG, "1.0.0", [listed()])
