"""Which version a release has: said by somebody, by a tag at HEAD, or counted."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud import wait
from cloud.errors import InputError, TemporaryError
from packer import version
from packer.version import Version
from tests import act

HERE, OTHER = "a" * 40, "b" * 40


class Day(wait.Clock):
    """Always the same one."""

    def now(self) -> datetime:
        return datetime(2026, 11, 29, 23, 59, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _day(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wait, "clock", Day())


def at(*tags: str, changed: Iterable[str] = ()) -> version.Checkout:
    return version.Checkout(Path("/km"), HERE, tags, tuple(changed))


def decided(
    told: str = "",
    checkout: version.Checkout | None = None,
    noted: Version | None = None,
    edges: Iterable[Version] = (),
) -> str:
    return version.decide(told, checkout, noted, lambda: edges, "0.1.0").text


def refused(
    *words: str, told: str = "", checkout: version.Checkout | None = None, noted: Version | None = None
) -> None:
    with pytest.raises(InputError) as problem:
        decided(told, checkout, noted)
    assert all(word in f"{problem.value.message} {problem.value.hint}" for word in words), problem.value


class TestATagAtHead:
    def test_is_a_release(self) -> None:
        assert decided(checkout=at("v1.2.3")) == "1.2.3"
        assert not Version("1.2.3", HERE).edge and not Version("1.2.3", HERE).prerelease

    def test_of_several_has_to_be_named(self) -> None:
        """What is published can't be taken back: which of them is no matter of taste."""
        here = at("v1.2.3", "v1.10.0", "v1.10.0-rc.10", "v1.10.0-rc.2", "v1.9.9", "nightly", "vacation")
        refused("v1.2.3, v1.9.9, v1.10.0-rc.2, v1.10.0-rc.10, v1.10.0", "--version", checkout=here)
        assert decided("v1.10.0-rc.2", here) == "1.10.0-rc.2"
        assert decided(checkout=at("v1.2.3", "nightly")) == "1.2.3"

    def test_that_is_no_version_is_none(self) -> None:
        assert decided(checkout=at("v1", "release-1.2.3", "v01.2.3")) == "0.1.0-edge.20261129.1"

    def test_is_not_the_release_of_files_that_were_changed(self) -> None:
        refused("changes that are not committed", "src/km.c", checkout=at("v1.2.3", changed=["src/km.c"]))


class TestEverythingElse:
    def test_is_an_edge_of_the_day(self) -> None:
        assert decided(checkout=at()) == "0.1.0-edge.20261129.1"
        assert Version("0.1.0-edge.20261129.1", HERE).edge and Version("0.1.0-edge.20261129.1", HERE).prerelease

    def test_of_a_day_that_has_some_is_the_next_one(self) -> None:
        there = [
            Version(f"0.1.0-edge.{day}.{number}", OTHER)
            for day, number in ((20261129, 2), (20261129, 10), (20261128, 30))
        ]
        assert decided(checkout=at(), edges=there) == "0.1.0-edge.20261129.11"

    def test_of_the_same_commit_is_the_same_also_on_another_day(self) -> None:
        there = [
            Version("0.1.0-edge.20261101.4", HERE),
            Version("0.1.0-edge.20261129.1", OTHER),
            Version("1.0.0", HERE),
        ]
        assert decided(checkout=at(), edges=there) == "0.1.0-edge.20261101.4"

    def test_that_the_manifest_has_stays_where_one_can_not_look(self) -> None:
        noted = Version("0.1.0-edge.20261101.4", HERE)

        def away() -> Iterable[Version]:
            raise TemporaryError("GitHub does not answer")

        assert version.decide("", at(), noted, away, "0.1.0") == noted

    def test_that_another_commit_was_drafted_with_gets_the_next_number(self) -> None:
        noted = Version("0.1.0-edge.20261129.1", HERE)
        first = Version("0.1.0-edge.20261129.1", "c" * 40)
        assert decided(checkout=at(), noted=noted, edges=[first]) == "0.1.0-edge.20261129.2"

    def test_with_a_manifest_of_another_commit_is_another_one(self) -> None:
        assert decided(checkout=at(), noted=Version("0.1.0-edge.20261101.4", OTHER)) == "0.1.0-edge.20261129.1"


class TestWhatSomebodySays:
    def test_is_the_tag_at_head(self) -> None:
        assert decided("v1.2.3", at("v1.2.3", "v2.0.0")) == decided("1.2.3", at("v1.2.3", "v2.0.0")) == "1.2.3"
        refused("v1.2.4 is not the tag", HERE[:10], told="1.2.4", checkout=at("v1.2.3"))

    def test_may_be_an_edge_that_no_tag_names(self) -> None:
        assert decided("0.1.0-edge.20261101.4", at()) == "0.1.0-edge.20261101.4"

    def test_without_a_checkout_is_what_the_manifest_says(self) -> None:
        assert decided("v1.2.3", noted=Version("1.2.3", HERE)) == "1.2.3"
        assert decided(noted=Version("1.2.3", HERE)) == "1.2.3"
        refused("which commit 1.2.4 is of", told="1.2.4", noted=Version("1.2.3", HERE))
        refused("which version", "--checkout")

    @pytest.mark.parametrize(
        "text", ["1", "1.2", "1.2.3.4", "1.2.3+linux", "v", "1.2.3-", "1.2.3-rc..1", "01.2.3", "1.2.3\n4"]
    )
    def test_that_is_no_version_is_refused(self, text: str) -> None:
        refused("no version of a release", told=text, checkout=at("v1.2.3"))

    @given(st.text(max_size=80))
    def test_is_a_version_or_one_line(self, text: str) -> None:
        told = ["1.2.3"]
        try:
            bare = version.parse(text)
        except InputError as problem:
            told = problem.message.splitlines()
        else:
            assert bare.isascii() and bare[0].isdigit() and len(bare) <= 64
        assert len(told) == 1


class TestAFolder:
    def test_tells_its_commit_its_tags_and_its_changes(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("1")
        commit = act.repository(tmp_path, "kontainapp/km")
        act.git(tmp_path, "tag", "v1.2.3")
        act.git(tmp_path, "tag", "-am", "with a message", "v1.2.4")
        (tmp_path / "product.tar.gz").write_text("git does not know it")
        assert version.look(tmp_path) == version.Checkout(tmp_path, commit, ("v1.2.3", "v1.2.4"), ())
        (tmp_path / "file").write_text("2")
        assert version.look(tmp_path).changed == ("file",)

    def test_is_read_while_another_one_works_on_it(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("1")
        commit = act.repository(tmp_path, "kontainapp/km")
        (tmp_path / ".git/index.lock").touch()
        (tmp_path / "file").touch()
        assert version.look(tmp_path) == version.Checkout(tmp_path, commit, (), ())

    def test_that_is_no_checkout_says_so(self, tmp_path: Path) -> None:
        subprocess.run(["git", "init", "-q", tmp_path / "empty"], check=True)
        for folder in (tmp_path, tmp_path / "empty", tmp_path / "nowhere"):
            with pytest.raises(InputError) as problem:
                version.look(folder)
            assert f"{folder} is no checkout" in problem.value.message and "--checkout" in problem.value.hint
