"""What the local vagrant is told of boxes. The real one is told in test_boxes.py."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from cloud.errors import InputError, KitError, MissingTool
from cloud.publish import names
from packer import registration
from packer.registration import Registered
from packer.shelf import Kept, Shelf, Told
from tests.packer.test_shelf import TOLD

KEPT = Kept(msgspec.convert(TOLD, Told), Path("/a shelf/one/libvirt/vagrant.box"))


def test_without_a_version_each_build_has_another_and_a_newer_one() -> None:
    later = replace(KEPT, told=msgspec.structs.replace(KEPT.told, built="2027-01-02T03:04:05.600000Z"))
    assert registration.version_of("", [KEPT]) == "0.0.20261126100000"
    assert registration.version_of("", [KEPT, later]) == "0.0.20270102030405"


@pytest.mark.parametrize("text", ["v1.2.3", "1.2.3-rc.1", " 1.2.3\n", "1" * 64, "1" * 65, "latest", "1..2", "v v1"])
def test_a_version_is_taken_or_refused_as_where_boxes_are_published(text: str) -> None:
    def judged(judge: Callable[[str], str]) -> str:
        try:
            return judge(text)
        except InputError as refused:
            return refused.message

    assert judged(lambda told: registration.version_of(told, [KEPT])) == judged(names.version)


def vagrant(folder: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program in vagrant's place."""
    (folder / "vagrant").write_text(f"#!/bin/sh\n{text}\n")
    (folder / "vagrant").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


VAGRANT = """
[ "$2" = list ] && { cat %(file)s; exit; }
[ "$2" = add ] || exit 1
grep -q '"version": "'"$7" "${3#file://}" || exit 1
printf '1,,box-name,kontain/one\\n1,,box-provider,%%s\\n1,,box-version,%%s\\n' "$5" "$7" >>%(file)s
"""
"""It has the boxes that are in the file."""


class TestWhatVagrantHas:
    @pytest.fixture
    def shelf(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shelf:
        (tmp_path / "has").touch()
        vagrant(tmp_path, VAGRANT % {"file": tmp_path / "has"}, monkeypatch)
        shelf = Shelf(tmp_path / "store")
        (shelf.root / "one").mkdir()
        return shelf

    def kept(self, provider: str = "libvirt", sha256: str = "0" * 64, name: str = "kontain/one") -> Kept:
        told = msgspec.structs.replace(KEPT.told, provider=provider, sha256=sha256, name=name)
        return Kept(told, Path(f"/a shelf/one/{provider}/vagrant.box"))

    def catalog(self, shelf: Shelf) -> dict[str, dict[str, str]]:
        """The checksums in the catalog, by version and provider."""
        told = json.loads((shelf.root / "one/catalog.json").read_text())
        return {
            row["version"]: {each["name"]: each["checksum"] for each in row["providers"]} for row in told["versions"]
        }

    def test_is_told_apart_from_what_is_added(self, shelf: Shelf) -> None:
        libvirt, virtualbox = (Registered("kontain/one", each, "1.2.3") for each in ("libvirt", "virtualbox"))
        assert registration.register([self.kept()], "1.2.3", shelf) == {libvirt: True}
        both = [self.kept(), self.kept("virtualbox", "1" * 64)]
        assert registration.register(both, "1.2.3", shelf) == {libvirt: False, virtualbox: True}

    def test_with_other_content_is_refused_with_the_way_out_and_nothing_changes(
        self, shelf: Shelf, tmp_path: Path
    ) -> None:
        registration.register([self.kept()], "1.2.3", shelf)
        before = [path.read_bytes() for path in (tmp_path / "has", shelf.root / "one/catalog.json")]
        other = [self.kept("virtualbox"), self.kept(sha256="1" * 64)]
        with pytest.raises(InputError, match=r"vagrant has kontain/one 1\.2\.3 for libvirt already, with other") as no:
            registration.register(other, "1.2.3", shelf)
        assert "vagrant box remove kontain/one --provider libvirt --box-version 1.2.3" in no.value.hint
        assert [path.read_bytes() for path in (tmp_path / "has", shelf.root / "one/catalog.json")] == before
        (tmp_path / "has").write_text("")  # as the hint has it
        assert set(registration.register(other, "1.2.3", shelf).values()) == {True}
        assert self.catalog(shelf) == {"1.2.3": {"libvirt": "1" * 64, "virtualbox": "0" * 64}}

    def test_from_elsewhere_is_not_taken_for_ours(self, shelf: Shelf, tmp_path: Path) -> None:
        registration.register([self.kept()], "1.2.3", shelf)
        (shelf.root / "one/catalog.json").unlink()
        with pytest.raises(InputError, match="already, from elsewhere"):
            registration.register([self.kept()], "1.2.3", shelf)

    def test_stays_in_the_catalog_with_all_versions_and_providers(self, shelf: Shelf) -> None:
        registration.register([self.kept(), self.kept("virtualbox", "1" * 64)], "1.2.3", shelf)
        registration.register([self.kept("libvirt", "2" * 64)], "1.2.4", shelf)
        registration.register([self.kept("virtualbox", "3" * 64)], "1.2.4", shelf)
        assert self.catalog(shelf) == {
            "1.2.3": {"libvirt": "0" * 64, "virtualbox": "1" * 64},
            "1.2.4": {"libvirt": "2" * 64, "virtualbox": "3" * 64},
        }

    def test_under_a_name_that_the_box_had_before_is_in_the_way_of_none(self, shelf: Shelf) -> None:
        registration.register([self.kept(name="kontain/before")], "1.2.2", shelf)
        assert set(registration.register([self.kept()], "1.2.3", shelf).values()) == {True}
        assert self.catalog(shelf) == {"1.2.3": {"libvirt": "0" * 64}}


def test_the_catalog_names_the_file_its_checksum_and_its_architecture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf = Shelf(tmp_path)
    (shelf.root / "one").mkdir()
    vagrant(tmp_path, "exit 0", monkeypatch)
    registration.register([KEPT], "1.2.3", shelf)
    told = json.loads((shelf.root / "one/catalog.json").read_text())
    (version,) = told["versions"]
    assert (told["name"], version["version"]) == ("kontain/one", "1.2.3")
    assert version["providers"] == [
        {
            "name": "libvirt",
            "url": "file:///a%20shelf/one/libvirt/vagrant.box",
            "checksum": "0" * 64,
            "checksum_type": "sha256",
            "architecture": "amd64",
            "default_architecture": True,
        }
    ]


def test_of_a_failure_neither_progress_nor_places_in_vagrants_code_are_told() -> None:
    lines = [
        "Bringing machine 'default' up with 'libvirt' provider...",
        "==> default: Starting domain.",
        "    default: SSH address: 192.168.121.60:22",
        "/usr/lib/ruby/fog/vm_action.rb:7:in `create': Call to virDomainCreateWithFlags failed (Libvirt::Error)",
        "\tfrom /usr/share/gems/vagrant-2.3.4/lib/vagrant/action/warden.rb:48:in `call'",
        "",
    ]
    assert registration.reason(lines) == "Call to virDomainCreateWithFlags failed (Libvirt::Error)"
    assert registration.reason(lines[:3]) == "it failed without a word"


def test_vagrants_own_words_are_the_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf = Shelf(tmp_path)
    (shelf.root / "one").mkdir()
    vagrant(
        tmp_path,
        '[ "$2" = list ] && exit; echo "==> box: Adding"; echo "The checksum is another." >&2; exit 1',
        monkeypatch,
    )
    with pytest.raises(KitError, match=r"^vagrant: The checksum is another\.$"):
        registration.register([KEPT], "1.2.3", shelf)


def test_without_vagrant_a_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingTool, match="vagrant is not on this machine"):
        registration.registered()
    assert not registration.runs("libvirt") and not registration.runs("virtualbox")


def test_virtualbox_is_there_when_its_program_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vagrant(tmp_path, "exit 0", monkeypatch)
    assert not registration.runs("virtualbox")
    (tmp_path / "VBoxManage").write_text("#!/bin/sh\n")
    (tmp_path / "VBoxManage").chmod(0o755)
    assert registration.runs("virtualbox")
