"""What one types about boxes, as far as nothing has to be built for it."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest

from packer import boxes
from packer.packing import Member, pack
from packer.shelf import Shelf
from tests import sample
from tests.packer import boxed
from tests.packer.test_shelf import TOLD
from tests.toolkit import Toolkit


@pytest.fixture
def toolkit(tmp_path: Path) -> Toolkit:
    """A toolkit with a definition whose base nobody will read, a product, and an empty shelf."""
    boxed.box(tmp_path / "definitions", "one", Path("/nowhere/base.qcow2"), "1" * 64)
    boxed.box(tmp_path / "definitions", "bare", Path("/nowhere/base.qcow2"), "")
    settings = boxed.settings(tmp_path / "definitions", sample.product(tmp_path / "product"))
    return Toolkit(tmp_path / "home", {**settings, "KM_BOXES__OS": "one"})


def planted(toolkit: Toolkit, provider: str, **told: str) -> Path:
    """A box on the shelf that was never built; its archive."""
    shelf = Shelf(toolkit.store)
    home = shelf.root / "planted"
    home.mkdir()
    metadata = json.dumps({"provider": told.get("inside", provider)}).encode()
    info = b'{"build": "b", "fingerprint": "f"}'
    disk = [Member(boxes.DISK[provider], b"no disk")]
    packed = pack(home / "vagrant.box", [Member("metadata.json", metadata), Member("info.json", info), *disk])
    story = {**TOLD, "provider": provider, "size": packed.size, "sha256": packed.sha256}
    story["fingerprint"] = told.get("fingerprint", "f")
    (home / "box.json").write_text(json.dumps(story))
    return shelf.put("one", provider, home).archive


class TestBadInputIsOneLineBeforeAnythingIsTouched:
    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (("boxes.build", "--os", "plan9"), "no box of 'plan9'"),
            (("boxes.build", "--provider", "hyperv"), "unknown provider 'hyperv'"),
            (("boxes.build", "--product", "/nowhere"), "the product's /nowhere/kontain.tar.gz: No such file"),
            (("boxes.build", "--os", "bare"), "bare: box.toml has no checksum of /nowhere/base.qcow2"),
            (("boxes.register",), "no boxes are there"),
            (("boxes.register", "--os", "one"), "no box of one"),
            (("boxes.test", "--os", "one", "--provider", "libvirt"), "no box of one"),
            (("boxes.list", "--os", "plan9"), "no box of 'plan9'"),
            (("boxes.clean", "--os", "plan9"), "no box of 'plan9'"),
        ],
    )
    def test_with_2_and_a_hint(self, toolkit: Toolkit, words: tuple[str, ...], said: str) -> None:
        ran = toolkit.run(*words)
        assert ran.code == 2 and ran.out == ""
        first, second = ran.err.splitlines()
        assert first.startswith(f"error: {said}") and second.startswith("hint: ")
        assert not list((toolkit.store / "builds").glob("*"))

    def test_a_version_that_is_none(self, toolkit: Toolkit) -> None:
        planted(toolkit, "libvirt")
        ran = toolkit.run("boxes.register", "--version", "latest")
        assert ran.code == 2 and ran.err.startswith("error: 'latest' is no version of a box\nhint: ")


class TestAPlan:
    def test_says_what_is_missing_and_changes_nothing(self, toolkit: Toolkit) -> None:
        ran = toolkit.run("boxes.build", "--plan", "--json")
        (row,) = ran.json
        assert ran.code == 0 and row["build"] and row["providers"] == ["libvirt", "virtualbox"]
        assert row["reason"] == "there is no box for libvirt and virtualbox yet"
        assert not [path for path in toolkit.store.rglob("*") if path.is_file()]

    def test_leaves_out_the_box_that_is_up_to_date(self, toolkit: Toolkit) -> None:
        (row,) = toolkit.run("boxes.build", "--plan", "--json").json
        planted(toolkit, "libvirt", fingerprint=row["fingerprints"]["libvirt"])
        (now,) = toolkit.run("boxes.build", "--plan", "--json").json
        assert now["providers"] == ["virtualbox"] and now["fingerprints"] == row["fingerprints"]
        ran = toolkit.run("boxes.build", "--provider", "libvirt")
        assert ran.code == 0 and ran.out == "one is up to date: nothing that the build reads has changed\n"
        assert toolkit.run("boxes.build", "--provider", "libvirt", "--force", "--plan").out == (
            "one: build, pack for libvirt, because asked for\n"
        )

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            ("memory = 256", "memory = 512"),
            ('"kontain/one-kkm-beta3"', '"kontain/two"'),
            ('sha256 = "1', 'sha256 = "2'),
            ("jq --version", "jq -V"),
        ],
    )
    def test_sees_each_change_of_what_goes_into_a_box(self, toolkit: Toolkit, old: str, new: str) -> None:
        (before,) = toolkit.run("boxes.build", "--plan", "--json").json
        path = toolkit.home.parent / "definitions/one/box.toml"
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))
        (after,) = toolkit.run("boxes.build", "--plan", "--json").json
        assert not set(before["fingerprints"].values()) & set(after["fingerprints"].values())

    def test_of_several_systems_is_made_for_those_that_can_be(self, toolkit: Toolkit) -> None:
        ran = toolkit.run("boxes.build", "--os", "bare,one", "--plan", "--json")
        assert ran.code == 3 and [row["os"] for row in ran.json] == ["one"]
        assert ran.err.startswith("error: bare: bare: box.toml has no checksum")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda content: content[: len(content) // 2], "can't be read"),
        (lambda _: b"", "can't be read"),
        (lambda _: b"no gzip at all", "can't be read"),
    ],
)
def test_an_archive_that_is_none_is_told_so_before_a_vm_is_started(toolkit: Toolkit, spoil: object, said: str) -> None:
    path = planted(toolkit, "libvirt")
    path.write_bytes(spoil(path.read_bytes()))  # type: ignore[operator]
    ran = toolkit.run("boxes.test")
    assert ran.code == 2 and f"the box of one for libvirt {said}" in ran.err
    assert "hint: ./inv boxes.build --force" in ran.err


def test_a_trial_asks_for_what_boots_a_disk_and_not_for_what_builds_one(toolkit: Toolkit, tmp_path: Path) -> None:
    planted(toolkit, "libvirt")
    ran = Toolkit(toolkit.home, {**toolkit.settings, "PATH": str(tmp_path / "nothing")}).run("boxes.test")
    assert ran.code == 2 and ran.err.startswith("error: not on this machine: qemu, qemu-img, ssh\nhint: ")


def test_an_archive_for_another_provider_is_told_so(toolkit: Toolkit) -> None:
    planted(toolkit, "libvirt", inside="virtualbox")
    ran = toolkit.run("boxes.test")
    assert ran.code == 2 and "error: the box of one for libvirt is for virtualbox" in ran.err


def test_an_archive_with_what_is_no_file_is_told_so(toolkit: Toolkit) -> None:
    path = planted(toolkit, "libvirt")
    with tarfile.open(path, "w:gz") as archive:
        link = tarfile.TarInfo("box.img")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    ran = toolkit.run("boxes.test")
    assert ran.code == 2 and "has 'box.img', which is no file" in ran.err


def test_what_would_be_registered_is_shown_with_the_version_of_the_release(toolkit: Toolkit) -> None:
    planted(toolkit, "libvirt")
    tagged = Toolkit(toolkit.home, {**toolkit.settings, "RELEASE_TAG": "v0.9.1"})
    ran = tagged.run("boxes.register", "--plan")
    assert ran.out == "would register:\nkontain/one 0.9.1 for libvirt\n"
    assert not (toolkit.store / "boxes/one/catalog.json").exists()


def test_the_boxes_of_a_system_that_is_being_built_are_not_cleaned_and_its_build_neither(toolkit: Toolkit) -> None:
    box = planted(toolkit, "libvirt")
    shelf = Shelf(toolkit.store)
    half = shelf.begin("one") / "virtualbox"
    half.mkdir()
    (half / "vagrant.box").write_text("half")
    for words in (("boxes.clean", "--plan"), ("boxes.clean",), ("boxes.clean", "--os", "one")):
        ran = toolkit.run(*words)
        assert ran.code == 0 and ran.out == "left alone one: it is being built\n"
    assert box.exists() and half.exists()
    shelf.put("one", "virtualbox", _told(half))
    shelf.finish("one")
    assert toolkit.run("boxes.clean").out == "".join(
        f"removed box of one for {provider}\n" for provider in ("libvirt", "virtualbox")
    )


def _told(home: Path) -> Path:
    (home / "box.json").write_text(json.dumps({**TOLD, "provider": home.name}))
    return home


def test_a_box_of_a_provider_is_cleaned_alone(toolkit: Toolkit) -> None:
    libvirt, virtualbox = (planted(toolkit, each) for each in ("libvirt", "virtualbox"))
    assert toolkit.run("boxes.clean", "--provider", "libvirt").out == "removed box of one for libvirt\n"
    assert not libvirt.exists() and virtualbox.exists()
