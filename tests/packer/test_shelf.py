"""The shelf: a box that is there is whole, whenever one looks, and whatever is killed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cloud.files import lock
from packer.shelf import ARCHIVE, STORY, Shelf

TOLD = {
    "name": "kontain/one",
    "os": "one",
    "provider": "libvirt",
    "architecture": "amd64",
    "fingerprint": "f",
    "sha256": "0" * 64,
    "size": 3,
    "built": "2026-11-26T10:00:00.000000Z",
}


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


def filled(shelf: Shelf, build: str, content: str = "box") -> Path:
    """A whole box that is nobody's yet."""
    home = shelf.root / ".work" / "one" / build
    home.mkdir(parents=True)
    (home / ARCHIVE).write_text(content)
    (home / STORY).write_text(json.dumps({**TOLD, "fingerprint": build}))
    return home


def test_a_box_is_there_once_it_is_put_and_the_one_before_goes(shelf: Shelf) -> None:
    shelf.put("one", "libvirt", filled(shelf, "a"))
    half = filled(shelf, "b", "half")
    kept = shelf.get("one", "libvirt")
    assert kept and kept.told.fingerprint == "a" and kept.archive == shelf.root / "one/libvirt/vagrant.box"
    assert shelf.put("one", "libvirt", half).told.fingerprint == "b"
    assert kept.archive.read_text() == "half", "the same path, the new box"
    assert list((shelf.root / "one").glob(".*")) == [(shelf.root / "one/libvirt").resolve()]
    shelf.finish("one")
    assert shelf.leftovers() == []


def test_who_reads_sees_a_whole_box_at_every_instant(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever `put` has done to the disk when it is killed, the old box is there or the new one."""
    shelf.put("one", "libvirt", filled(shelf, "a"))
    seen = set()
    fresh = filled(shelf, "b")

    def look(*_: object) -> None:
        kept = shelf.get("one", "libvirt")
        assert kept and kept.archive.read_text() == "box"
        seen.add(kept.told.fingerprint)

    import os

    for name in ("rename", "replace", "symlink"):
        real = getattr(os, name)

        def watched(*arguments: object, real: object = real) -> None:
            look()
            real(*arguments)  # type: ignore[operator]
            look()

        monkeypatch.setattr(os, name, watched)
    shelf.put("one", "libvirt", fresh)
    assert seen == {"a", "b"}


def test_what_a_killed_command_left_is_found_and_what_one_under_way_makes_is_not(shelf: Shelf) -> None:
    shelf.put("one", "libvirt", filled(shelf, "a"))
    lost = filled(shelf, "b").rename(shelf.root / "one/.libvirt.b")
    folder = shelf.begin("one")
    assert shelf.leftovers() == []
    shelf.finish("one")
    folder.mkdir()
    assert shelf.leftovers() == [folder, lost]
    for path in shelf.leftovers():
        shelf.sweep(path)
    assert shelf.leftovers() == [] and shelf.get("one", "libvirt") is not None


@pytest.mark.parametrize("story", ["", "{", "[]", '{"name": 1}', json.dumps({**TOLD, "more": 1}), "[" * 100_000])
def test_what_can_not_be_read_is_no_box(shelf: Shelf, story: str) -> None:
    home = shelf.put("one", "libvirt", filled(shelf, "a")).archive.parent
    (home / STORY).write_text(story)
    assert shelf.get("one", "libvirt") is None and shelf.all() == []


def test_a_box_without_its_archive_is_none(shelf: Shelf) -> None:
    home = shelf.put("one", "libvirt", filled(shelf, "a")).archive.parent
    (home / ARCHIVE).unlink()
    assert shelf.all() == []


def test_a_box_that_is_removed_leaves_nothing(shelf: Shelf) -> None:
    kept = shelf.put("one", "libvirt", filled(shelf, "a"))
    shelf.remove(kept)
    assert list((shelf.root / "one").iterdir()) == [] and shelf.all() == []


def test_two_at_once_do_not_work_on_the_same_system(shelf: Shelf) -> None:
    from cloud.errors import TemporaryError

    folder = shelf.root / ".work/one"
    folder.mkdir(parents=True)
    with lock(folder / "lock"), pytest.raises(TemporaryError, match="another process works on one"):
        shelf.begin("one")
