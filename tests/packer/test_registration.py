"""What the local vagrant is told of boxes. The real one is told in test_boxes.py."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from cloud.errors import InputError, KitError, MissingTool
from packer import registration
from packer.shelf import Kept, Shelf, Told
from tests.packer.test_shelf import TOLD

KEPT = Kept(msgspec.convert(TOLD, Told), Path("/a shelf/one/libvirt/vagrant.box"))


def test_without_a_version_each_build_has_another_and_a_newer_one() -> None:
    later = replace(KEPT, told=msgspec.structs.replace(KEPT.told, built="2027-01-02T03:04:05.600000Z"))
    assert registration.version_of("", [KEPT]) == "0.0.20261126100000"
    assert registration.version_of("", [KEPT, later]) == "0.0.20270102030405"


@pytest.mark.parametrize("text", ["v1.2.3", "1.2.3", "1.2.3-rc.1", "0.1.0-edge.20261126.1", "7"])
def test_the_tag_of_a_release_is_a_version(text: str) -> None:
    assert registration.version_of(text, [KEPT]) == text.removeprefix("v")


@pytest.mark.parametrize("text", ["v", "latest", "1..2", "1.2.3 ", "1.2.3\n", "../1", "1.2-", "v v1", "-1"])
def test_what_is_no_version_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="is no version of a box"):
        registration.version_of(text, [KEPT])


@settings(max_examples=3, phases=[Phase.generate])
@given(st.lists(st.text(st.sampled_from("0123456789abv.-+ \n"), min_size=1, max_size=10), min_size=200))
def test_what_is_taken_is_a_version_to_rubygems(texts: list[str]) -> None:
    taken = []
    for text in texts:
        try:
            taken.append(registration.version_of(text, [KEPT]))
        except InputError:
            pass
    script = 'STDIN.read.split("\\0").each { |text| abort text.inspect unless Gem::Version.correct?(text) }'
    ran = subprocess.run(
        ["ruby", "-W0", "-e", script], input="\0".join(taken), text=True, capture_output=True, check=False
    )
    assert ran.returncode == 0, ran.stderr


def test_the_catalog_names_the_file_its_checksum_and_its_architecture() -> None:
    told = registration.catalog("kontain/one", "1.2.3", [KEPT])
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


def vagrant(folder: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program in vagrant's place."""
    (folder / "vagrant").write_text(f"#!/bin/sh\n{text}\n")
    (folder / "vagrant").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


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
