"""Releases at GitHub over the wire: what is made once and only once, and what a published one forbids."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import string
import subprocess
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import requests
from hypothesis import given
from hypothesis import settings as rounds
from hypothesis import strategies as st

from cloud import wait
from cloud.errors import InputError, Interrupted, KitError, NotAllowed, TemporaryError
from cloud.github import releases as ours
from cloud.github.releases import Asset, Release, Releases
from cloud.progress import Silent
from cloud.settings import GithubSettings
from tests.fakes import github_releases as fake
from tests.fakes.github import ACTIONS, KINDS, READER, RELEASER, REPOSITORY, STRANGER, TOKEN, Hub

COMMIT = "5f" * 20
LIST = f"/repos/{REPOSITORY}/releases"
SENT = "POST /uploads/*"


class Hasty(wait.Clock):
    """A clock that notes how long it was to sleep, and does not."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


class Lines(Silent):
    """An ear that keeps what it hears."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def line(self, text: str) -> None:
        self.lines.append(text)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Hasty:
    hasty = Hasty()
    monkeypatch.setattr(wait, "clock", hasty)
    return hasty


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub() as running:
        yield running


def client(
    hub: Hub, token: str = RELEASER, repository: str = REPOSITORY, *, api: str = "", timeout: int = 20
) -> Releases:
    """Releases, as a workflow that may write sees them."""
    settings = GithubSettings(
        api=api or hub.url, server=hub.guest_url, repository="", organisation="", margin=14, timeout=timeout
    )
    return Releases(settings, token, repository)


@pytest.fixture
def releases(hub: Hub) -> Releases:
    return client(hub)


@pytest.fixture
def box(tmp_path: Path) -> Path:
    path = tmp_path / "ubuntu-22.04.box"
    path.write_bytes(os.urandom(700_000))
    return path


def summed(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def a_draft(releases: Releases, tag: str = "v1.0.0", *, text: str = "News") -> Release:
    return releases.draft(tag, COMMIT, f"Kontain {tag}", text, prerelease=False)


def put(releases: Releases, release: Release, path: Path) -> Asset:
    return releases.upload(release, path, summed(path), Silent())


def never(hub: Hub, call: Callable[[], object]) -> list[tuple[str, str]]:
    """What a call changes at GitHub, by its own list of calls."""
    before = len(hub.calls)
    call()
    return [each for each in hub.calls[before:] if each[0] != "GET"]


class TestADraft:
    def test_is_made_with_all_that_is_told(self, hub: Hub, releases: Releases) -> None:
        made = releases.draft("v1.0.0-rc1", COMMIT, "Kontain 1", "# News\n\n* æøå", prerelease=True)
        assert (made.tag, made.commit, made.name) == ("v1.0.0-rc1", COMMIT, "Kontain 1")
        assert (made.draft, made.prerelease, made.assets) == (True, True, ())
        assert made.url.startswith(f"https://github.com/{REPOSITORY}/releases/tag/untagged-")
        (there,) = hub.releases
        assert (there.body, there.draft) == ("# News\n\n* æøå", True)
        assert not hub.tags

    def test_that_is_there_is_found_and_left_alone(self, hub: Hub, releases: Releases) -> None:
        made = a_draft(releases)
        assert never(hub, lambda: a_draft(releases)) == []
        assert a_draft(releases) == made

    def test_of_another_text_or_commit_is_made_to_fit(self, hub: Hub, releases: Releases) -> None:
        first = releases.draft("v1.0.0", "aa" * 20, "Old", "old", prerelease=True)
        made = a_draft(releases)
        assert (made.id, made.commit, made.name, made.prerelease) == (first.id, COMMIT, "Kontain v1.0.0", False)
        assert (hub.release("v1.0.0").body, made.draft) == ("News", True)

    def test_of_another_commit_stays_where_it_is_not_to_move(self, hub: Hub, releases: Releases) -> None:
        first = releases.draft("v1.0.0", "aa" * 20, "Old", "old", prerelease=True)
        assert releases.draft("v1.0.0", COMMIT, "New", "new", prerelease=False, moves=False) == first
        assert releases.find("v1.0.0") == first
        assert releases.draft("v1.0.0", "aa" * 20, "Old", "new", prerelease=True, moves=False).id == first.id

    def test_of_a_tag_that_is_published_is_the_published_one_unchanged(self, hub: Hub, releases: Releases) -> None:
        hub.add_release("v1.0.0", commit="bb" * 20)
        found: list[Release] = []
        assert never(hub, lambda: found.append(a_draft(releases))) == []
        assert (found[0].draft, found[0].commit) == (False, "bb" * 20)

    @pytest.mark.parametrize("lost", [{"reset": True}, {"status": 502}])
    def test_whose_answer_is_lost_is_no_second_one(
        self, hub: Hub, releases: Releases, clock: Hasty, lost: dict[str, Any]
    ) -> None:
        hub.fails("POST */releases", **{"status": 0, **lost}, after=True)
        made = a_draft(releases)
        assert [each.id for each in hub.releases] == [made.id]
        assert [call for call in hub.calls if call[0] == "POST"] == [("POST", LIST)]

    def test_that_github_could_not_make_is_asked_for_again(self, hub: Hub, releases: Releases, clock: Hasty) -> None:
        hub.fails("POST */releases", 502, times=2)
        a_draft(releases)
        assert len(hub.releases) == 1
        assert clock.slept == [1, 2]

    def test_that_github_never_makes_is_told_so(self, hub: Hub, releases: Releases, clock: Hasty) -> None:
        hub.fails("POST */releases", 502, times=99)
        with pytest.raises(TemporaryError, match="answers 502"):
            a_draft(releases)
        assert sum(method == "POST" for method, _ in hub.calls) == 5

    @pytest.mark.parametrize(
        "tag", ["", "a b", "-v1", "v1..2", "v1.lock", "v1/", "v1\n", "a~1", "refs/.x", COMMIT, "é"]
    )
    def test_needs_a_tag(self, hub: Hub, releases: Releases, tag: str) -> None:
        with pytest.raises(InputError, match="is no tag"):
            a_draft(releases, tag)
        assert not hub.calls

    def test_that_github_refuses_says_what_is_wrong(self, hub: Hub, releases: Releases) -> None:
        with pytest.raises(KitError, match=r"Validation Failed: target_commitish invalid \(422\)"):
            releases.draft("v1", "no-such-branch", "x", "", prerelease=False)
        with pytest.raises(KitError, match=r"body is too long \(maximum is 125000 characters\)"):
            a_draft(releases, text="x" * 125_001)
        assert not hub.releases


class TestTheList:
    def test_has_all_pages(self, hub: Hub, releases: Releases) -> None:
        for number in range(201):
            hub.add_release(f"v{number}", draft=bool(number % 2))
        assert {each.tag for each in releases.all()} == {f"v{number}" for number in range(201)}
        assert len(hub.calls) == 3
        found = releases.find("v0")
        assert found
        assert not found.draft

    def test_has_drafts_only_for_who_may_write(self, hub: Hub) -> None:
        hub.add_release("v1")
        hub.add_release("v2", draft=True)
        assert [each.tag for each in client(hub, READER).all()] == ["v1"]
        assert [each.tag for each in client(hub, ACTIONS).all()] == ["v1"]
        assert sorted(each.tag for each in client(hub, TOKEN).all()) == ["v1", "v2"]

    def test_tells_files_whole_and_half(self, hub: Hub, releases: Releases) -> None:
        there = hub.add_release("v1", {"a.box": b"abc"}, draft=True)
        there.add(hub.number(), "b.box", b"", "starter")
        whole, half = releases.all()[0].assets
        assert (whole.name, whole.size, whole.uploaded) == ("a.box", 3, True)
        assert whole.sha256 == hashlib.sha256(b"abc").hexdigest()
        assert (half.name, half.sha256, half.uploaded) == ("b.box", "", False)

    def test_gives_the_published_one_of_a_tag_else_the_oldest(self, hub: Hub, releases: Releases) -> None:
        first, second = (hub.add_release("v1", draft=True) for _ in range(2))
        assert getattr(releases.find("v1"), "id", 0) == first.id
        third = hub.add_release("v1")
        assert getattr(releases.find("v1"), "id", 0) == third.id
        assert second in hub.releases
        assert releases.find("v") is None

    def test_knows_no_sum_where_github_tells_none(self, hub: Hub, releases: Releases) -> None:
        hub.tells_digest = False
        hub.add_release("v1", {"a.box": b"abc"})
        assert releases.all()[0].assets[0].sha256 == ""


class TestAFile:
    def test_is_whole_at_github_under_its_own_name(self, hub: Hub, releases: Releases, box: Path) -> None:
        made = a_draft(releases)
        asset = put(releases, made, box)
        assert (asset.name, asset.size, asset.sha256, asset.uploaded) == (box.name, 700_000, summed(box), True)
        assert hub.release("v1.0.0").files == {box.name: summed(box)}
        found = releases.find("v1.0.0")
        assert found
        assert found.assets == (asset,)

    def test_that_is_there_is_not_sent_again(self, hub: Hub, releases: Releases, box: Path) -> None:
        made = a_draft(releases)
        asset = put(releases, made, box)
        assert never(hub, lambda: put(releases, made, box)) == []
        assert put(releases, made, box) == asset

    def test_takes_the_place_of_another_content(self, hub: Hub, releases: Releases, box: Path) -> None:
        made = a_draft(releases)
        put(releases, made, box)
        box.write_bytes(b"other")
        put(releases, made, box)
        assert hub.release("v1.0.0").files == {box.name: summed(box)}

    def test_takes_the_place_of_a_half(self, hub: Hub, releases: Releases, box: Path) -> None:
        made = a_draft(releases)
        hub.release("v1.0.0").add(hub.number(), box.name, b"", "starter")
        put(releases, made, box)
        assert hub.release("v1.0.0").files == {box.name: summed(box)}
        assert len(hub.release("v1.0.0").assets) == 1

    def test_is_found_among_more_than_a_page_of_others(self, hub: Hub, releases: Releases, box: Path) -> None:
        made = a_draft(releases)
        for number in range(150):
            hub.release("v1.0.0").add(hub.number(), f"{number}.txt", b"x")
        put(releases, made, box)
        assert never(hub, lambda: put(releases, made, box)) == []

    @pytest.mark.parametrize(
        "fault", [{"status": 502}, {"status": 0, "reset": True}, {"status": 0, "reset": True, "after": True}]
    )
    def test_whose_upload_is_cut_is_sent_again_if_it_is_not_there(
        self, hub: Hub, releases: Releases, box: Path, clock: Hasty, fault: dict[str, Any]
    ) -> None:
        made = a_draft(releases)
        hub.fails(SENT, **fault)
        asset = put(releases, made, box)
        assert hub.release("v1.0.0").files == {box.name: summed(box)}
        assert len(hub.release("v1.0.0").assets) == 1
        sends = sum(call.received is not None for call in hub.asked)
        assert sends == (1 if fault.get("after") else 2)
        assert asset.uploaded

    def test_that_another_one_uploads_meanwhile_is_taken_if_it_is_the_same(
        self, hub: Hub, releases: Releases, box: Path, clock: Hasty
    ) -> None:
        made = a_draft(releases)
        wrong = {"resource": "ReleaseAsset", "code": "already_exists", "field": "name"}
        hub.fails(SENT, 422, after=True, body=json.dumps({"message": "Validation Failed", "errors": [wrong]}).encode())
        assert put(releases, made, box).sha256 == summed(box)
        assert sum(call.received is not None for call in hub.asked) == 1

    def test_whose_name_stays_taken_ends_in_words(self, hub: Hub, releases: Releases, box: Path, clock: Hasty) -> None:
        made = a_draft(releases)
        wrong = {"resource": "ReleaseAsset", "code": "already_exists", "field": "name"}
        said = json.dumps({"message": "Validation Failed", "errors": [wrong]}).encode()
        hub.fails(SENT, 422, times=99, body=said)
        with pytest.raises(TemporaryError, match="name already_exists"):
            put(releases, made, box)

    def test_that_changed_since_it_was_summed_is_told(self, hub: Hub, releases: Releases, box: Path) -> None:
        made = a_draft(releases)
        with pytest.raises(KitError, match=f"not {box.name} with 700000 and {'0' * 64}"):
            releases.upload(made, box, "0" * 64, Silent())
        put(releases, made, box)
        assert hub.release("v1.0.0").files == {box.name: summed(box)}

    def test_of_which_github_has_less_is_told(
        self, hub: Hub, releases: Releases, box: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made = a_draft(releases)

        def shrunk(*_: object) -> tuple[fake.Release, fake.Asset]:
            (asset,) = hub.release("v1.0.0").assets
            asset.size -= 1
            return hub.release("v1.0.0"), asset

        monkeypatch.setattr(fake, "_file", shrunk)
        with pytest.raises(KitError, match="with 699999 bytes"):
            put(releases, made, box)

    def test_is_held_by_its_size_where_github_tells_no_sum(self, hub: Hub, releases: Releases, box: Path) -> None:
        hub.tells_digest = False
        assert put(releases, a_draft(releases), box).sha256 == ""

    @pytest.mark.parametrize("name", [".box", "a b.box", "a.", "æ.box", "a:b", "a(1).box", "-a"])
    def test_needs_a_name_that_github_keeps(self, hub: Hub, releases: Releases, tmp_path: Path, name: str) -> None:
        made, path = a_draft(releases), tmp_path / name
        path.write_bytes(b"x")
        with pytest.raises(InputError, match="would rename"):
            put(releases, made, path)
        assert not hub.release("v1.0.0").assets

    def test_needs_a_content_of_less_than_2_gib(self, releases: Releases, tmp_path: Path) -> None:
        made, path = a_draft(releases), tmp_path / "a.box"
        for size in (0, 2 << 30):
            path.touch()
            os.truncate(path, size)
            with pytest.raises(InputError, match="nothing that GitHub takes"):
                releases.upload(made, path, "0" * 64, Silent())
        with pytest.raises(InputError, match=r"can't be read: No such file"):
            releases.upload(made, tmp_path / "none", "0" * 64, Silent())
        with pytest.raises(InputError, match="nothing that GitHub takes"):
            releases.upload(made, tmp_path, "0" * 64, Silent())
        path.write_bytes(b"x")
        with pytest.raises(InputError, match="no SHA-256"):
            releases.upload(made, path, "md5", Silent())

    def test_that_shrinks_while_it_is_sent_is_told_and_can_be_sent_again(
        self, hub: Hub, releases: Releases, box: Path
    ) -> None:
        made = a_draft(releases)
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(ours, "_sendable", lambda *_: 800_000)
            with pytest.raises(InputError, match="became shorter"):
                put(releases, made, box)
        hub.reached(lambda: bool(hub.release("v1.0.0").assets), "the half")
        assert hub.release("v1.0.0").assets[0].state == "starter"
        put(releases, made, box)
        assert hub.release("v1.0.0").files == {box.name: summed(box)}

    def test_tells_how_far_it_is(
        self, hub: Hub, releases: Releases, box: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made, heard = a_draft(releases), Lines()

        class Ticking(wait.Clock):
            ticks = 0.0

            def monotonic(self) -> float:
                self.ticks += 1.5
                return self.ticks

        monkeypatch.setattr(wait, "clock", Ticking())
        releases.upload(made, box, summed(box), heard)
        assert heard.lines
        assert all(line.startswith(f"{box.name}: 0 of 0 MiB, ") for line in heard.lines)

    def test_of_64_mib_is_sent_without_being_held(self, hub: Hub, releases: Releases, tmp_path: Path) -> None:
        path = tmp_path / "large.box"
        path.touch()
        os.truncate(path, 64 << 20)
        with open(path, "rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        made = a_draft(releases)
        tracemalloc.start()
        try:
            releases.upload(made, path, sha256, Silent())
            assert tracemalloc.get_traced_memory()[1] < 8 << 20
        finally:
            tracemalloc.stop()
        assert hub.release("v1.0.0").files == {"large.box": sha256}

    def test_is_let_go_by_an_interrupt(self, hub: Hub, releases: Releases, box: Path) -> None:
        made = a_draft(releases)
        hub.fails(SENT, 403, headers={"Retry-After": "55"})
        later = threading.Timer(0.3, wait.interrupt)
        later.start()
        with pytest.raises(Interrupted):
            put(releases, made, box)
        later.join()


class TestADownload:
    CONTENT = os.urandom(300_000)

    @pytest.fixture
    def asset(self, hub: Hub, releases: Releases) -> Asset:
        hub.add_release("v1", {"a.run": self.CONTENT}, draft=True)
        return releases.all()[0].assets[0]

    @pytest.mark.parametrize("streams", [False, True])
    def test_is_the_file_whoever_gives_it_out(
        self, hub: Hub, releases: Releases, asset: Asset, tmp_path: Path, streams: bool
    ) -> None:
        """The fake tells of a token that comes to where files are stored."""
        hub.streams = streams
        releases.download(asset, tmp_path / "a.run", Silent())
        assert (tmp_path / "a.run").read_bytes() == self.CONTENT
        assert bool(hub.signatures) is not streams

    @pytest.mark.parametrize("kind", ["reset", "lost", "throttled", "broken"])
    @pytest.mark.parametrize("number", [1, 2])
    def test_goes_on_after_a_fault_of_either_host(
        self, hub: Hub, releases: Releases, asset: Asset, tmp_path: Path, clock: Hasty, number: int, kind: str
    ) -> None:
        hub.fails_at(number, kind)
        releases.download(asset, tmp_path / "a.run", Silent())
        assert (tmp_path / "a.run").read_bytes() == self.CONTENT

    def test_that_broke_goes_on_from_where_it_was(
        self, hub: Hub, releases: Releases, asset: Asset, tmp_path: Path, clock: Hasty
    ) -> None:
        half = {"Content-Type": fake.BINARY}
        hub.fails("GET /storage/*", 200, body=self.CONTENT[:1000], headers=half)
        # As one that was told of all and got a half.
        with pytest.raises(KitError, match="has 1000 bytes, not 300000"):
            releases.download(asset, tmp_path / "a.run", Silent())
        hub.fails("GET /storage/*", 206, body=self.CONTENT[:1000], headers={**half, "Content-Range": "bytes 0-999/3"})
        releases.download(asset, tmp_path / "a.run", Silent())
        assert (tmp_path / "a.run").read_bytes() == self.CONTENT

    def test_of_another_content_takes_the_place_of_nothing(
        self, hub: Hub, releases: Releases, asset: Asset, tmp_path: Path
    ) -> None:
        (tmp_path / "a.run").write_text("before")
        hub.releases[0].assets[0].content = os.urandom(300_000)
        with pytest.raises(KitError, match="300000 bytes with the checksum"):
            releases.download(asset, tmp_path / "a.run", Silent())
        hub.tells_digest = False
        (bare,) = releases.all()[0].assets
        with pytest.raises(KitError, match="with the checksum"):
            releases.download(bare, tmp_path / "a.run", Silent(), sha256=asset.sha256)
        assert [path.name for path in tmp_path.iterdir()] == ["a.run"]
        assert (tmp_path / "a.run").read_text() == "before"

    def test_that_can_not_be_written_is_bad_input(self, releases: Releases, asset: Asset, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="can't be written"):
            releases.download(asset, tmp_path / "none" / "a.run", Silent())

    def test_that_is_refused_says_by_whom(
        self, hub: Hub, releases: Releases, asset: Asset, tmp_path: Path, clock: Hasty
    ) -> None:
        hub.fails("GET /storage/*", 403)
        with pytest.raises(KitError, match=r"127\.0\.0\.1 does not let us download a\.run of .*: it answers 403"):
            releases.download(asset, tmp_path / "a.run", Silent())
        with pytest.raises(NotAllowed):
            client(hub, READER).download(asset, tmp_path / "a.run", Silent())
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize("address", ["http://storage.example/x", "", "/x"])
    def test_goes_nowhere_that_is_not_trusted(
        self, hub: Hub, releases: Releases, asset: Asset, tmp_path: Path, address: str
    ) -> None:
        hub.fails("GET */releases/assets/*", 302, headers={"Location": address})
        with pytest.raises(KitError, match="sends us for files to an address that we do not trust"):
            releases.download(asset, tmp_path / "a.run", Silent())


class TestTheAddressForFiles:
    @pytest.mark.parametrize(
        "address",
        ["http://uploads.github.com/x", "ftp://a/b", "", "/x", "https://", "http://[", "http://127.0.0.1:1/x"],
    )
    def test_gets_no_token_where_it_is_not_trusted(
        self, hub: Hub, releases: Releases, box: Path, monkeypatch: pytest.MonkeyPatch, address: str
    ) -> None:
        made, told = a_draft(releases), fake._told
        monkeypatch.setattr(fake, "_told", lambda *a: {**told(*a), "upload_url": f"{address}{{?name,label}}"})
        with pytest.raises(KitError, match="do not trust") as refused:
            put(releases, made, box)
        assert type(refused.value) is KitError
        assert not hub.release("v1.0.0").assets

    def test_may_be_any_by_https(
        self, hub: Hub, releases: Releases, box: Path, monkeypatch: pytest.MonkeyPatch, clock: Hasty
    ) -> None:
        with socket.create_server(("127.0.0.1", 0)) as door:
            port = door.getsockname()[1]
        made, told = a_draft(releases), fake._told
        address = f"https://127.0.0.1:{port}/api/uploads/assets{{?name,label}}"
        monkeypatch.setattr(fake, "_told", lambda *a: {**told(*a), "upload_url": address})
        with pytest.raises(TemporaryError, match=rf"127\.0\.0\.1:{port} does not answer: ConnectionError"):
            put(releases, made, box)

    def test_leads_nobody_elsewhere_with_the_token(self, hub: Hub, releases: Releases, box: Path, clock: Hasty) -> None:
        made = a_draft(releases)
        hub.fails(SENT, 307, times=99, headers={"Location": f"{hub.url}/elsewhere"})
        with pytest.raises(TemporaryError, match="can't be read"):
            put(releases, made, box)
        assert not any("elsewhere" in path for _, path in hub.calls)


class TestAPublishedRelease:
    def test_is_one_that_all_see_and_its_tag_is_made(self, hub: Hub, releases: Releases, box: Path) -> None:
        made = a_draft(releases)
        put(releases, made, box)
        published = releases.publish(made)
        assert (published.id, published.draft) == (made.id, False)
        assert published.url == f"https://github.com/{REPOSITORY}/releases/tag/v1.0.0"
        assert hub.tags == {(REPOSITORY, "v1.0.0"): COMMIT}
        assert client(hub, READER).find("v1.0.0") == published
        assert [each.name for each in published.assets] == [box.name]

    def test_may_be_published_already(self, hub: Hub, releases: Releases) -> None:
        made = a_draft(releases)
        published = releases.publish(made)
        assert never(hub, lambda: releases.publish(made)) == []
        assert releases.publish(made) == published

    @pytest.mark.parametrize("immutable", [True, False])
    def test_is_never_changed(self, hub: Hub, releases: Releases, box: Path, immutable: bool) -> None:
        hub.immutable = immutable
        made = a_draft(releases)
        asset = put(releases, made, box)
        releases.publish(made)
        sha256 = summed(box)

        def all_of_it() -> None:
            assert put(releases, made, box) == asset
            box.write_bytes(b"other")
            with pytest.raises(InputError, match=r"release v1\.0\.0 is published") as refused:
                put(releases, made, box)
            assert "another tag" in refused.value.hint

        assert never(hub, all_of_it) == []
        assert hub.release("v1.0.0").files == {box.name: sha256}

    def test_has_no_half_files(self, hub: Hub, releases: Releases) -> None:
        made = a_draft(releases)
        hub.release("v1.0.0").add(hub.number(), "a.box", b"", "starter")
        with pytest.raises(InputError, match=r"has a half of a\.box"):
            releases.publish(made)
        assert hub.release("v1.0.0").draft

    def test_is_the_only_one_of_its_tag(self, hub: Hub, releases: Releases) -> None:
        made = a_draft(releases)
        hub.add_release("v1.0.0")
        with pytest.raises(KitError, match="tag_name already_exists"):
            releases.publish(made)

    def test_that_is_gone_is_told(self, hub: Hub, releases: Releases) -> None:
        made = a_draft(releases)
        hub.releases.clear()
        with pytest.raises(NotAllowed, match=r"publish the release v1\.0\.0") as refused:
            releases.publish(made)
        assert "it is not there, or the token lacks Contents: write" in refused.value.hint


ANY = Release(7, "v1", COMMIT, "", True, False, "", ())
EVERYTHING: dict[str, Callable[[Releases, Path], object]] = {
    "all": lambda releases, _: releases.all(),
    "find": lambda releases, _: releases.find("v1"),
    "draft": lambda releases, _: a_draft(releases),
    "upload": lambda releases, box: put(releases, ANY, box),
    "publish": lambda releases, _: releases.publish(ANY),
}
every_call = pytest.mark.parametrize("ask", EVERYTHING.values(), ids=EVERYTHING)
CHANGING = {name: ask for name, ask in EVERYTHING.items() if name not in ("all", "find")}


class TestARight:
    @every_call
    @pytest.mark.parametrize(
        ("token", "said"),
        [("", "there is no token"), ("over", "does not know the token"), (STRANGER, "does not let us")],
    )
    def test_to_see_anything_is_asked_for(
        self, hub: Hub, box: Path, ask: Callable[[Releases, Path], object], token: str, said: str
    ) -> None:
        with pytest.raises(NotAllowed, match=said) as refused:
            ask(client(hub, token), box)
        assert "Contents: " in refused.value.hint
        assert "runners" not in f"{refused.value} {refused.value.hint}"

    @pytest.mark.parametrize("ask", CHANGING.values(), ids=CHANGING)
    @pytest.mark.parametrize("token", [READER, ACTIONS])
    @pytest.mark.parametrize("tells", [True, False])
    def test_to_write_is_named(
        self, hub: Hub, box: Path, ask: Callable[[Releases, Path], object], token: str, tells: bool
    ) -> None:
        hub.tells_rights = tells
        hub.add_release("v1", draft=True).id = 7
        with pytest.raises(NotAllowed) as refused:
            ask(client(hub, token), box)
        assert "contents: write" in f"{refused.value} {refused.value.hint}".lower()
        assert refused.value.exit_code == 4
        assert len(hub.releases) == 1

    @every_call
    def test_is_asked_about_a_repository(self, hub: Hub, box: Path, ask: Callable[[Releases, Path], object]) -> None:
        with pytest.raises(InputError, match="is no repository at GitHub"):
            ask(client(hub, repository="https://github.com/a/b"), box)

    @every_call
    def test_is_never_told_by_its_token(
        self,
        hub: Hub,
        box: Path,
        clock: Hasty,
        ask: Callable[[Releases, Path], object],
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        caplog.set_level("DEBUG")
        hub.add_release("v1", draft=True).id = 7
        for call in ("GET *", "POST *", "PATCH *", "DELETE *"):
            for status in (401, 403, 418, 422, 500):
                for token in (RELEASER, f"{RELEASER}\nX-Evil: 1"):
                    hub.fails(call, status, times=9, body=json.dumps({"message": f"so {RELEASER}"}).encode())
                    assert RELEASER not in said(partial(ask, client(hub, token), box))
                    hub.faults.clear()
        assert RELEASER not in caplog.text


def said(act: Callable[[], object]) -> str:
    """All that an error tells, if one comes."""
    try:
        act()
    except KitError as error:
        return f"{error.message} {error.hint} {error!r} {error.__cause__!r}"
    return ""


def whole(releases: Releases, box: Path) -> Release:
    """A release, from nothing to published."""
    made = a_draft(releases)
    put(releases, made, box)
    return releases.publish(made)


CALLS = 10
"""As many as `whole` makes."""


def test_a_release_takes_so_many_calls(hub: Hub, releases: Releases, box: Path) -> None:
    whole(releases, box)
    assert len(hub.calls) == CALLS


@pytest.mark.parametrize("number", range(1, CALLS + 1))
@pytest.mark.parametrize("kind", KINDS)
def test_a_release_comes_to_its_end_whatever_one_call_came_to(
    hub: Hub, box: Path, clock: Hasty, kind: str, number: int
) -> None:
    releases = client(hub, timeout=1)
    hub.fails_at(number, kind)
    with suppress(KitError):
        whole(releases, box)
    published = whole(releases, box)
    assert [each.id for each in hub.releases] == [published.id]
    assert hub.release("v1.0.0").files == {box.name: summed(box)}
    assert len(hub.release("v1.0.0").assets) == 1
    assert hub.tags == {(REPOSITORY, "v1.0.0"): COMMIT}
    assert not hub.release("v1.0.0").draft


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "silent"])
@pytest.mark.parametrize("call", ["POST */releases", SENT, "PATCH *"])
def test_a_call_that_never_goes_well_ends_in_words(hub: Hub, box: Path, clock: Hasty, kind: str, call: str) -> None:
    fault = KINDS[kind]
    hub.fails(call, fault.status, times=99, after=fault.after, reset=fault.reset, headers=fault.headers)
    told = said(lambda: whole(client(hub), box))
    # What was done is found, though its answer never comes.
    assert bool(told) == (kind != "lost" or call == "PATCH *")
    assert "\n" not in told
    assert len(hub.releases) <= 1


class TestWhatComesFromOutside:
    @rounds(max_examples=60, deadline=None)
    @given(st.text(string.printable + "é€\x00\x7f", max_size=12) | st.from_regex(ours._TAG, fullmatch=True))
    def test_a_tag_that_we_take_is_one_to_git(self, tag: str) -> None:
        if not ours._TAG.fullmatch(tag):
            return
        assert subprocess.run(["git", "check-ref-format", f"refs/tags/{tag}"], check=False).returncode == 0, tag
        assert not tag.startswith("-")

    @rounds(max_examples=40, deadline=None)
    @given(st.text(string.ascii_letters + "./-_@{~^:?*[\\ \x07é", min_size=1, max_size=8))
    def test_a_tag_that_the_fake_takes_is_one_to_git(self, tag: str) -> None:
        good = subprocess.run(["git", "check-ref-format", f"refs/tags/{tag}"], check=False).returncode == 0
        if not fake._NO_TAG.search(tag):
            assert good, tag

    @rounds(max_examples=40, deadline=None)
    @given(name=st.text(max_size=30), text=st.text(max_size=200))
    def test_a_text_comes_as_it_is(self, name: str, text: str) -> None:
        with Hub() as hub:
            releases = client(hub)
            made = releases.draft("v1", COMMIT, name, text, prerelease=False)
            assert made.name == name
            assert (hub.release("v1").name, hub.release("v1").body) == (name, text)
            assert never(hub, lambda: releases.draft("v1", COMMIT, name, text, prerelease=False)) == []

    @rounds(max_examples=60, deadline=None)
    @given(st.text(string.printable + "é", min_size=1, max_size=10))
    def test_a_name_that_we_take_is_one_that_the_fake_keeps(self, name: str) -> None:
        if ours._NAME.fullmatch(name):
            with Hub() as hub:
                hub.add_release("v1", draft=True).id = 7
                upload(hub, name)
                assert [each.name for each in hub.release("v1").assets] == [name]

    @pytest.mark.parametrize("body", [b"<html>who?</html>", b"", b"{}", b"[[]]", b'[{"id": "7"}]', b"\xff"])
    @every_call
    def test_an_answer_that_is_none_is_told(
        self, hub: Hub, box: Path, clock: Hasty, ask: Callable[[Releases, Path], object], body: bytes
    ) -> None:
        hub.fails("* /repos/*", 200, body=body, times=99)
        with pytest.raises(TemporaryError, match="answers what can't be read"):
            ask(client(hub), box)


def upload(hub: Hub, name: str, content: bytes = b"x", release: int = 7, token: str = RELEASER) -> requests.Response:
    """An upload by nobody of ours."""
    headers = {"Authorization": f"Bearer {token}", "X-GitHub-Api-Version": "2022-11-28"}
    headers["Content-Type"] = "application/octet-stream"
    url = f"{hub.url}/uploads{LIST}/{release}/assets"
    return requests.post(url, params={"name": name}, data=content, headers=headers, timeout=10)


def ask(hub: Hub, method: str, path: str, body: object = None) -> requests.Response:
    headers = {"Authorization": f"Bearer {TOKEN}", "X-GitHub-Api-Version": "2022-11-28"}
    return requests.request(method, f"{hub.url}{LIST}{path}", json=body, headers=headers, timeout=10)


class TestTheFake:
    """It says no where GitHub does: else what passes here would say little."""

    def test_keeps_a_name_for_a_half_too(self, hub: Hub) -> None:
        there = hub.add_release("v1", {"a.box": b"x"}, draft=True)
        there.id = 7
        there.add(hub.number(), "b.box", b"", "starter")
        for name in ("a.box", "b.box"):
            answer = upload(hub, name)
            assert (answer.status_code, answer.json()["errors"][0]["code"]) == (422, "already_exists")

    def test_renames_what_github_renames(self, hub: Hub) -> None:
        hub.add_release("v1", draft=True).id = 7
        for name in ("a b(1).box", ".box", "c."):
            upload(hub, name)
        assert [each.name for each in hub.release("v1").assets] == ["a.b.1..box", "default.box", "c"]

    def test_takes_no_empty_file_and_none_of_unknown_length(self, hub: Hub) -> None:
        hub.add_release("v1", draft=True).id = 7
        assert "size must be greater" in upload(hub, "a.box", b"").text
        chunked: Any = iter([b"x"])
        with suppress(requests.exceptions.ConnectionError):
            assert upload(hub, "a.box", chunked).status_code == 400
        assert not hub.release("v1").assets

    def test_takes_no_file_at_the_hosts_of_other_calls(self, hub: Hub) -> None:
        hub.add_release("v1", draft=True).id = 7
        assert ask(hub, "POST", "/7/assets?name=a.box").status_code == 500
        assert hub.violations
        hub.violations.clear()

    def test_changes_no_published_release_where_they_are_immutable(self, hub: Hub) -> None:
        there = hub.add_release("v1", {"a.box": b"x"})
        there.id = 7
        assert "immutable" in upload(hub, "b.box").text
        assert ask(hub, "DELETE", f"/assets/{there.assets[0].id}").status_code == 422
        assert ask(hub, "PATCH", "/7", {"tag_name": "v2"}).status_code == 422
        assert ask(hub, "PATCH", "/7", {"draft": True}).status_code == 422
        assert ask(hub, "PATCH", "/7", {"body": "better"}).status_code == 200
        assert (there.tag, there.draft, there.body) == ("v1", False, "better")

    def test_changes_one_where_they_are_not(self, hub: Hub) -> None:
        hub.immutable = False
        there = hub.add_release("v1", {"a.box": b"x"})
        there.id = 7
        assert upload(hub, "b.box").status_code == 201
        assert ask(hub, "DELETE", f"/assets/{there.assets[0].id}").status_code == 204
        assert list(there.files) == ["b.box"]

    @pytest.mark.parametrize(
        ("body", "wrong"),
        [
            ({"tag_name": "v1"}, "already_exists"),
            ({"tag_name": "a b"}, "not well-formed"),
            ({"tag_name": COMMIT}, "not well-formed"),
            ({"tag_name": "v2", "target_commitish": "none"}, "target_commitish"),
            ({"tag_name": "v2", "body": "x" * 125_001}, "too long"),
        ],
    )
    def test_makes_no_release_that_github_refuses(self, hub: Hub, body: dict[str, str], wrong: str) -> None:
        hub.add_release("v1")
        answer = ask(hub, "POST", "", body)
        assert answer.status_code == 422
        assert wrong in answer.text
        assert len(hub.releases) == 1

    def test_puts_the_tag_where_it_is_already(self, hub: Hub, releases: Releases) -> None:
        hub.tags[REPOSITORY, "v1.0.0"] = "cc" * 20
        releases.publish(a_draft(releases))
        assert hub.tags == {(REPOSITORY, "v1.0.0"): "cc" * 20}

    def test_knows_an_answer_of_its_own_that_github_never_gives(
        self, hub: Hub, releases: Releases, clock: Hasty, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        hub.add_release("v1", {"a.box": b"x"})
        monkeypatch.setattr(fake, "_told_file", partial(lambda *_: {"id": 7}))
        with pytest.raises(TemporaryError, match="answers 500"):
            releases.all()
        assert hub.violations
        hub.violations.clear()
