"""Packer as a program: is it the real one, why did it fail, what did it make."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cloud import wait
from cloud.base import Artifact
from cloud.errors import MissingTool
from cloud.progress import Silent
from packer import driver
from packer.driver import Packer
from packer.errors import BuildFailed
from packer.settings import PackerSettings
from tasks import _settings


@pytest.fixture
def fake(tmp_path: Path) -> Any:
    """Makes a program that is called packer, out of a shell script, and the settings that name it."""

    def made(script: str) -> PackerSettings:
        program = tmp_path / "bin" / "packer"
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o700)
        told = _settings.load({}, tmp_path / "none").packer
        return msgspec.structs.replace(told, binary=str(program))

    return made


class Hurried(wait.Clock):
    """A clock on which deadlines come soon."""

    def monotonic(self) -> float:
        return time.monotonic() * 50


def manifest(run: str, *builds: tuple[str, list[str] | None]) -> str:
    """A manifest as packer writes one, with the builds of several runs."""
    rows = [
        {
            "name": "image",
            "builder_type": "qemu",
            "build_time": 1764000000,
            "files": None if files is None else [{"name": name, "size": 1} for name in files],
            "artifact_id": "VM",
            "packer_run_uuid": uuid,
            "custom_data": None,
        }
        for uuid, files in builds
    ]
    return json.dumps({"builds": rows, "last_run_uuid": run})


class TestTheProgram:
    def test_is_packer_when_it_says_so(self) -> None:
        told = _settings.load({}, Path("/nonexistent")).packer
        assert Packer.found(told).version >= (1, 6, 6)

    @pytest.mark.parametrize(
        ("said", "version"),
        [
            ("Packer v1.6.6", "1.6.6"),
            ("Packer v1.14.1\n\nYour version of Packer is out of date!", "1.14.1"),
            ("a warning\nPacker v1.9.5", "1.9.5"),
        ],
    )
    def test_tells_its_version(self, fake: Any, said: str, version: str) -> None:
        assert Packer.found(fake(f"cat <<'EOT'\n{said}\nEOT")).version_text == version

    @pytest.mark.parametrize(
        "script",
        [
            "exit 0",
            "cat > /dev/null; exit 1",  # cracklib's, which Fedora has: it reads words
            "printf '\\377\\000\\001'",
            "echo Packer v1.x",
            "echo 'usage: packer dbname'; exit 2",
            "kill -9 $$",
            "yes | head -100000",
        ],
    )
    def test_that_is_another_one_is_not_taken_for_it(self, fake: Any, script: str) -> None:
        with pytest.raises(MissingTool) as refused:
            Packer.found(fake(script))
        assert refused.value.hint and refused.value.exit_code == 2

    def test_that_says_nothing_for_ever_is_not_waited_for(self, fake: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        settings = fake("exec sleep 60")
        monkeypatch.setattr(wait, "clock", Hurried())
        began = time.monotonic()
        with pytest.raises(MissingTool):
            Packer.found(settings)
        assert time.monotonic() - began < 30

    def test_that_is_not_there_is_named(self, fake: Any) -> None:
        settings = msgspec.structs.replace(fake(""), binary="/no/such/packer")
        with pytest.raises(MissingTool, match="/no/such/packer"):
            Packer.found(settings)

    def test_sees_nothing_of_ours_but_what_it_needs(
        self, fake: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("GH_TOKEN", "sesame")
        Packer.found(fake(f"env > {tmp_path}/env; echo Packer v1.6.6"))
        assert "sesame" not in (tmp_path / "env").read_text()
        assert "CHECKPOINT_DISABLE=1" in (tmp_path / "env").read_text()


class TestWhyItFailed:
    @pytest.mark.parametrize(
        ("lines", "reason"),
        [
            (
                ["    amazon-ebs.image: the reason", "==> amazon-ebs.image: Provisioning step had errors: Running"],
                "the reason",
            ),
            (
                [
                    "==> amazon-ebs.image: Error creating AMI: InvalidAMIName.Duplicate: taken",
                    "==> amazon-ebs.image: \tstatus code: 400, request id: r-1",
                    "==> amazon-ebs.image: Provisioning step had errors: Running the cleanup provisioner",
                ],
                "InvalidAMIName.Duplicate: taken",
            ),
            (["==> qemu.image: failed user-sudo: no sudo", "Build 'qemu.image' errored: 1"], "failed user-sudo"),
            (
                [
                    "    qemu.image: ok git: 2.39",
                    "    qemu.image: failed jq: not there",
                    "    qemu.image: failed curl: 7.1, not 7.74",
                    "==> qemu.image: Provisioning step had errors: Running the cleanup provisioner, if present...",
                    "Build 'qemu.image' errored after 1 minute: Script exited with non-zero exit status: 1.",
                ],
                "failed jq: not there; failed curl: 7.1, not 7.74",
            ),
            (
                ["==> qemu.image: Timeout waiting for SSH.", "Build 'qemu.image' errored: Timeout waiting for SSH."],
                "Timeout waiting for SSH.",
            ),
            (
                ["Error: Failed to prepare build", "", "* Bad source '/x': stat /x: no such file or directory", ""],
                "Bad source '/x': stat /x: no such file or directory",
            ),
            (["something nobody knows", ""], "something nobody knows"),
            ([], "no output"),
            (["", "   "], "no output"),
        ],
    )
    def test_is_told_by_its_own_words(self, lines: list[str], reason: str) -> None:
        assert reason in driver._reason(lines)


class TestWhatItMade:
    def made(self, fake: Any, folder: Path, text: str | None) -> Artifact:
        folder.mkdir()
        if text is not None:
            (folder / "given").write_text(text)
        script = 'case $1 in version) echo Packer v1.6.6;; *) [ ! -e given ] || cp given "$PKR_VAR_manifest";; esac'
        return Packer.found(fake(script)).build(folder, {}, Silent())

    def test_is_what_its_manifest_says(self, fake: Any, tmp_path: Path) -> None:
        text = manifest("b", ("b", ["output/disk.qcow2"]))
        assert self.made(fake, tmp_path / "run", text).files == (tmp_path / "run/output/disk.qcow2",)

    def test_is_not_what_an_older_run_made(self, fake: Any, tmp_path: Path) -> None:
        text = manifest("b", ("a", ["old.qcow2"]), ("b", ["new.qcow2"]))
        assert self.made(fake, tmp_path / "run", text).files == (tmp_path / "run/new.qcow2",)

    @pytest.mark.parametrize("text", [None, "", "{", "[1"])
    def test_is_nothing_without_a_manifest_though_it_ended_well(
        self, fake: Any, tmp_path: Path, text: str | None
    ) -> None:
        with pytest.raises(BuildFailed, match="ended well but made nothing") as failed:
            self.made(fake, tmp_path / "run", text)
        assert failed.value.hint

    @pytest.mark.parametrize("text", [manifest("b", ("a", ["old.qcow2"])), manifest("b")])
    def test_is_nothing_when_its_manifest_names_nothing_of_this_run(self, fake: Any, tmp_path: Path, text: str) -> None:
        with pytest.raises(BuildFailed):
            self.made(fake, tmp_path / "run", text)
