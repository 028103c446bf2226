"""Packer as a program: is it the real one, why did it fail, what did it make."""

from __future__ import annotations

import json
import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cloud import connect, wait
from cloud.base import Artifact
from cloud.errors import InputError, KitError, MissingTool, TemporaryError, TimedOut
from cloud.progress import Silent
from packer import driver
from packer.driver import Packer
from packer.errors import BuildFailed, Stalled
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


class TestItsSilence:
    """A cloud takes long to make an image of a VM, and packer says nothing meanwhile."""

    SCRIPT = """\
case $1 in version) echo Packer v1.6.6; exit;; esac
echo "Creating AMI from instance"
sleep 3
echo '{manifest}' > "$PKR_VAR_manifest"
"""

    @pytest.fixture
    def settings(self, fake: Any) -> PackerSettings:
        """Packer is silent for three seconds, and a VM counts as hung after one."""
        told: PackerSettings = fake(self.SCRIPT.replace("{manifest}", manifest("a", ("a", ["ami"]))))
        return msgspec.structs.replace(told, silence=1)

    def test_ends_a_build_whose_cloud_has_none_to_say(self, settings: PackerSettings, tmp_path: Path) -> None:
        with pytest.raises(Stalled, match="said nothing for 1 s"):
            Packer.found(settings).build(tmp_path, {}, Silent())

    def test_is_borne_as_long_as_the_cloud_says(self, settings: PackerSettings, tmp_path: Path) -> None:
        assert Packer.found(settings).build(tmp_path, {}, Silent(), quiet=60).files == (tmp_path / "ami",)

    def test_comes_on_top_of_the_whole_builds_time(self, settings: PackerSettings, tmp_path: Path) -> None:
        hasty = Packer.found(msgspec.structs.replace(settings, silence=60, timeout=1))
        with pytest.raises(TimedOut, match="not done within 1 s"):
            hasty.build(tmp_path, {}, Silent())
        assert hasty.build(tmp_path, {}, Silent(), quiet=60).files

    @pytest.mark.parametrize("cloud", ["aws", "azure"])
    def test_is_as_long_as_a_clouds_images_may_take(self, cloud: str) -> None:
        settings = _settings.load({f"KM_{cloud.upper()}__IMAGE_TIMEOUT": "5400"})
        assert connect(cloud, settings).images.cost().silence == 5400

    def test_is_none_where_no_cloud_makes_the_image(self, tmp_path: Path) -> None:
        assert connect("local", _settings.load({"KM_LOCAL__STORE": str(tmp_path)})).images.cost().silence == 0


class TestACurrentOne:
    """Packer 1.7 and newer: plugins are fetched first, and the target is the folder."""

    SCRIPT = """\
[ "$1" = version ] && {{ echo Packer v1.14.1; exit; }}
(echo "$*"; ls) >> {notes}/calls
env > "{notes}/env.$1"
case $1 in
    init) {init} ;;
    build) echo '{manifest}' > "$PKR_VAR_manifest" ;;
esac
"""

    def current(self, fake: Any, notes: Path, init: str = ":") -> Packer:
        made = manifest("a", ("a", ["disk.qcow2"]))
        return Packer.found(fake(self.SCRIPT.format(notes=notes, init=init, manifest=made)))

    def calls(self, notes: Path) -> list[str]:
        return (notes / "calls").read_text().splitlines()

    @pytest.fixture
    def run(self, tmp_path: Path) -> Path:
        (tmp_path / "run").mkdir()
        return tmp_path / "run"

    def test_fetches_its_plugins_and_builds_the_folder(self, fake: Any, tmp_path: Path, run: Path) -> None:
        packer = self.current(fake, tmp_path)
        packer.place({"image.pkr.hcl": b"# an image"}, run)
        assert packer.build(run, {"base": "ami-1"}, Silent()).files == (run / "disk.qcow2",)
        files = ["image.pkr.hcl", "plugins.pkr.hcl", "tmp"]
        assert self.calls(tmp_path) == ["init .", *files, "build -color=false .", *files]
        for name, version in packer.settings.plugins.items():
            block = (run / "plugins.pkr.hcl").read_text()
            assert f"github.com/hashicorp/{name}" in block and f'"= {version}"' in block

    def test_judges_the_folder_too(self, fake: Any, tmp_path: Path, run: Path) -> None:
        packer = self.current(fake, tmp_path)
        packer.place({"image.pkr.hcl": b"# an image"}, run)
        packer.validate(run, {}, Silent())
        words = [line for line in self.calls(tmp_path) if " " in line]
        assert words == ["init .", "fmt -check -diff image.pkr.hcl", "validate ."]

    def test_finds_its_way_out_as_the_environment_says_and_sees_no_secret(
        self, fake: Any, tmp_path: Path, run: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ways = {
            "HTTPS_PROXY": "http://proxy.example:3128",
            "no_proxy": "localhost",
            "SSL_CERT_FILE": "/etc/ssl/company.pem",
        }
        for name, text in {**ways, "AWS_SECRET_ACCESS_KEY": "sesame", "GH_TOKEN": "sesame"}.items():
            monkeypatch.setenv(name, text)
        self.current(fake, tmp_path).build(run, {}, Silent(), access={"AWS_SECRET_ACCESS_KEY": "sesame"})
        init = (tmp_path / "env.init").read_text()
        assert all(f"{name}={text}\n" in init for name, text in ways.items())
        assert "sesame" not in init
        assert "AWS_SECRET_ACCESS_KEY=sesame" in (tmp_path / "env.build").read_text()

    def test_fetches_alone(self, fake: Any, tmp_path: Path) -> None:
        """Two clouds side by side: one folder of plugins."""
        script = f'mkdir "{tmp_path}/busy" || exit 1; sleep 1; rmdir "{tmp_path}/busy"'
        packer = self.current(fake, tmp_path, init=script)

        def build(name: str) -> Artifact:
            (tmp_path / name).mkdir()
            return packer.build(tmp_path / name, {}, Silent())

        with ThreadPoolExecutor(2) as threads:
            assert len([*threads.map(build, ("aws", "azure"))]) == 2

    @pytest.mark.parametrize(
        ("said", "kind", "code"),
        [
            ("dial tcp: lookup api.github.com on 127.0.0.53:53: no such host", TemporaryError, 5),
            ("proxyconnect tcp: dial tcp 10.0.0.1:3128: connect: connection refused", TemporaryError, 5),
            ("GET https://api.github.com/repos/hashicorp: 403 API rate limit exceeded", TemporaryError, 5),
            ("no release version found for constraints: 99.0.0", InputError, 2),
        ],
        ids=["no name", "no proxy", "too often", "no such version"],
    )
    def test_that_gets_no_plugins_says_why_in_one_line(
        self, fake: Any, tmp_path: Path, run: Path, said: str, kind: type[KitError], code: int
    ) -> None:
        init = f"echo 'Error: Failed getting the \"github.com/hashicorp/amazon\" plugin:'; echo '* {said}'; exit 1"
        with pytest.raises(kind, match=re.escape(said)) as failed:
            self.current(fake, tmp_path, init=init).build(run, {}, Silent())
        assert failed.value.exit_code == code and failed.value.hint
        assert not any(line.startswith("build") for line in self.calls(tmp_path))

    def test_that_fetches_for_ever_is_given_up(
        self, fake: Any, tmp_path: Path, run: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(driver, "_FETCH", 1)
        with pytest.raises(TemporaryError, match="plugins do not come"):
            self.current(fake, tmp_path, init="sleep 60").build(run, {}, Silent())


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
