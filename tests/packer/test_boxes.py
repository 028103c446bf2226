"""Boxes are built, packed, registered and booted: real packer, real VMs, the real vagrant."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import re
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests import apart, sample
from tests.fakes.registry_wire import Registry
from tests.guests import micro_disk
from tests.packer import boxed
from tests.publishing import at
from tests.toolkit import Ran, Toolkit

pytestmark = [pytest.mark.vm, pytest.mark.timeout(900)]

PROVIDERS = ("libvirt", "virtualbox")
NAME = "kontain/micro-kkm-beta3"


@dataclass(frozen=True)
class Boxed:
    """The boxes of one command, and how it ended."""

    toolkit: Toolkit
    ran: Ran

    def row(self, provider: str) -> dict[str, Any]:
        """What it said of one of them."""
        return next(row for row in self.ran.json if row["provider"] == provider)

    def archive(self, provider: str) -> Path:
        """The box itself."""
        return self.toolkit.store / "boxes/micro" / provider / "vagrant.box"


@pytest.fixture(scope="module")
def boxes(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Boxed:
    """Two systems in one command, of which one can't be built."""
    home = tmp_path_factory.mktemp("boxes")
    disk = micro_disk(request.config.cache.mkdir("guests"), boxed.KERNEL)
    settings = boxed.settings(boxed.definitions(home / "definitions", disk), sample.product(home / "product"))
    toolkit = Toolkit(home, settings)
    ran = toolkit.run("boxes.build", "--os", "broken", "--os", "micro", "--json", timeout=600)
    return Boxed(toolkit, ran)


def test_a_system_that_fails_does_not_stop_the_other_one(boxes: Boxed) -> None:
    ran = boxes.ran
    assert ran.code == 3, f"{ran.err}\n{boxes.toolkit.log()[-3000:]}"
    assert re.search(r"^error: broken: \S+ has the checksum [0-9a-f]{64}, not 0{64}$", ran.err, re.MULTILINE)
    assert [(row["os"], row["provider"]) for row in ran.json] == [("micro", each) for each in PROVIDERS]
    assert boxes.toolkit.left() == [] and boxes.toolkit.processes() == []
    assert ran.err.splitlines()[-1] == "left behind: nothing"


@pytest.mark.parametrize("provider", PROVIDERS)
def test_an_archive_is_what_vagrant_and_packer_read(boxes: Boxed, provider: str) -> None:
    path = boxes.archive(provider)
    content = path.read_bytes()
    told = json.loads((path.parent / "box.json").read_text())
    assert set(told) == {"name", "os", "provider", "architecture", "fingerprint", "sha256", "size", "built"}
    assert (told["name"], told["os"], told["provider"], told["architecture"]) == (NAME, "micro", provider, "amd64")
    assert (told["sha256"], told["size"]) == (hashlib.sha256(content).hexdigest(), len(content))
    disk = {"libvirt": ["box.img"], "virtualbox": ["box.ovf", "box-disk001.vmdk"]}[provider]
    with tarfile.open(path, "r:gz") as archive:
        assert archive.getnames() == ["metadata.json", "info.json", "Vagrantfile", *disk]
        metadata, info = (json.loads(_read(archive, name)) for name in ("metadata.json", "info.json"))
        text = _read(archive, "Vagrantfile").decode()
    wanted = {"provider": provider, "architecture": "amd64"}
    assert metadata == wanted | ({"format": "qcow2", "virtual_size": 2} if provider == "libvirt" else {})
    assert info["name"] == NAME
    assert info["build"].startswith("box-micro-") and info["kkm.run"].startswith("sha256:")
    assert all(isinstance(value, str) for value in info.values())
    assert ("'/vagrant', disabled: true" in text) is (provider == "virtualbox")
    # By what vagrant itself unpacks a box, and by the other program that people have.
    for unpack in ("bsdtar", "tar"):
        told = subprocess.run([unpack, "-x", "-z", "-O", "-f", path, "info.json"], capture_output=True, check=True)
        assert json.loads(told.stdout) == info


def _read(archive: tarfile.TarFile, name: str) -> bytes:
    file = archive.extractfile(name)
    assert file is not None
    return file.read()


def test_the_disk_of_virtualbox_is_a_stream_that_stands_alone(boxes: Boxed, tmp_path: Path) -> None:
    with tarfile.open(boxes.archive("virtualbox"), "r:gz") as archive:
        for name in ("box.ovf", "box-disk001.vmdk", "Vagrantfile"):
            (tmp_path / name).write_bytes(_read(archive, name))
    told = subprocess.run(
        ["qemu-img", "info", "--output=json", tmp_path / "box-disk001.vmdk"], capture_output=True, text=True, check=True
    )
    info = json.loads(told.stdout)
    assert info["format"] == "vmdk" and info["format-specific"]["data"]["create-type"] == "streamOptimized"
    assert info["virtual-size"] == 2 << 30
    envelope = (tmp_path / "box.ovf").read_text()
    assert f'ovf:capacity="{2 << 30}"' in envelope
    assert f'ovf:size="{(tmp_path / "box-disk001.vmdk").stat().st_size}"' in envelope
    mac = re.search(r"base_mac = '([0-9A-F]{12})'", (tmp_path / "Vagrantfile").read_text())
    assert mac and f"<rasd:Address>{mac[1]}<" in envelope


@pytest.mark.matrix
def test_virtualbox_imports_its_box_and_finds_there_what_libvirts_has(boxes: Boxed, tmp_path: Path) -> None:
    unpacked = {provider: tmp_path / provider for provider in PROVIDERS}
    for provider, folder in unpacked.items():
        folder.mkdir()
        subprocess.run(["bsdtar", "-x", "-f", boxes.archive(provider), "-C", folder], check=True)
    imported = apart.virtualbox(unpacked["virtualbox"], tmp_path)
    told = imported.told
    assert (told["ostype"], told["memory"], told["cpus"]) == ("Debian (64-bit)", "256", "1")
    assert (told["storagecontrollertype0"], told["nic1"], told["nictype1"]) == ("IntelAhci", "nat", "82540EM")
    assert told["SATA-0-0"].endswith("box-disk001.vmdk")
    same: list[str | Path] = [
        "qemu-img",
        "compare",
        "-f",
        "raw",
        "-F",
        "qcow2",
        imported.disk,
        unpacked["libvirt"] / "box.img",
    ]
    compared = subprocess.run(same, capture_output=True, text=True, check=False)
    assert compared.stdout == "Images are identical.\n", compared.stdout + compared.stderr


def test_again_it_is_up_to_date_and_another_product_is_not(boxes: Boxed, tmp_path: Path) -> None:
    again = boxes.toolkit.run("boxes.build")
    assert again.code == 0 and again.out == "micro is up to date: nothing that the build reads has changed\n"
    other = sample.product(tmp_path / "other", {**sample.FILES, "bin/more": "more"})
    planned = boxes.toolkit.run("boxes.build", "--product", str(other), "--plan")
    assert planned.code == 0
    assert planned.out.startswith("micro: build, pack for libvirt, pack for virtualbox, because its inputs differ")


def test_what_is_there_is_listed(boxes: Boxed) -> None:
    (libvirt, virtualbox) = boxes.toolkit.run("boxes.list", "--json").json
    assert (libvirt["provider"], virtualbox["provider"]) == PROVIDERS
    assert libvirt["sha256"] == boxes.row("libvirt")["sha256"]
    assert libvirt["file"] == str(boxes.archive("libvirt"))


@pytest.mark.matrix
def test_its_disk_boots_in_qemu_and_has_the_product_inside(boxes: Boxed) -> None:
    """VirtualBox's boots, with VirtualBox's controllers, in test_boxes_debian.py."""
    ran = boxes.toolkit.run("boxes.test", "--provider", "libvirt", "--json")
    assert ran.code == 0, f"{ran.err}\n{boxes.toolkit.log()[-4000:]}"
    (row,) = ran.json
    assert row["how"] == "QEMU, with virtio controllers: vagrant has no libvirt here"
    names = {check["name"] for check in row["checks"]}
    assert {"vagrant-keys", "product-km", "product-path", "docker-krun", "docker-crun", "podman-krun"} <= names
    assert {"record", "no-builder", "user-sudo"} <= names
    assert all(check["ok"] for check in row["checks"])
    assert boxes.toolkit.processes() == []


@pytest.mark.matrix
def test_where_vagrant_has_libvirt_it_starts_the_box_itself_and_nothing_stays(boxes: Boxed, tmp_path: Path) -> None:
    ran = apart.libvirt(boxes.toolkit, tmp_path, "boxes.test", "--provider", "libvirt", "--json")
    assert ran.code == 0, f"{ran.err}\n{boxes.toolkit.log()[-4000:]}"
    (row,) = ran.json
    assert row["how"] == "vagrant up --provider libvirt"
    assert {"vagrant-keys", "product-km", "record"} <= {check["name"] for check in row["checks"]}
    assert all(check["ok"] for check in row["checks"])
    assert (tmp_path / "domains").read_text().strip() == ""
    assert "trial" not in (tmp_path / "volumes").read_text()


@pytest.fixture(scope="module")
def vagrant(boxes: Boxed, tmp_path_factory: pytest.TempPathFactory) -> Toolkit:
    """The toolkit, with a home of vagrant's own in which both boxes were registered."""
    home = tmp_path_factory.mktemp("vagrant")
    toolkit = Toolkit(boxes.toolkit.home, {**boxes.toolkit.settings, "VAGRANT_HOME": str(home)})
    ran = toolkit.run("boxes.register", "--version", "v1.2.3", "--json")
    assert ran.code == 0, ran.err
    assert [(row["name"], row["version"]) for row in ran.json] == [(NAME, "1.2.3")] * 2
    return toolkit


class TestRegistered:
    """Added by the real vagrant."""

    def test_a_box_has_its_version_and_stays_as_it_is(self, vagrant: Toolkit) -> None:
        home = Path(vagrant.settings["VAGRANT_HOME"])
        there = home / "boxes/kontain-VAGRANTSLASH-micro-kkm-beta3/1.2.3"
        assert sorted(path.name for path in there.iterdir()) == list(PROVIDERS)
        before = {path: path.stat().st_mtime_ns for path in there.rglob("*")}
        assert vagrant.run("boxes.register", "--version", "v1.2.3", "--provider", "libvirt").code == 0
        assert {path: path.stat().st_mtime_ns for path in there.rglob("*")} == before

    def test_one_whose_archive_is_another_one_is_refused_in_vagrants_words(
        self, boxes: Boxed, vagrant: Toolkit, tmp_path: Path
    ) -> None:
        store = tmp_path / "store/boxes/micro/libvirt"
        store.mkdir(parents=True)
        (store / "box.json").write_text((boxes.archive("libvirt").parent / "box.json").read_text())
        (store / "vagrant.box").write_bytes(boxes.archive("libvirt").read_bytes() + gzip.compress(b""))
        link = store.with_name(".libvirt.other")
        store.rename(link)
        store.symlink_to(link.name)
        other = Toolkit(vagrant.home, {**vagrant.settings, "KM_LOCAL__STORE": str(tmp_path / "store")})
        ran = other.run("boxes.register", "--version", "1.2.4")
        assert ran.code == 1 and "checksum" in ran.err.splitlines()[0], ran.err

    def test_a_catalog_on_a_server_does_too(self, boxes: Boxed, vagrant: Toolkit, tmp_path: Path) -> None:
        catalog = json.loads((boxes.toolkit.store / "boxes/micro/catalog.json").read_text())
        with served(boxes.toolkit.store / "boxes/micro") as address:
            for provider in catalog["versions"][0]["providers"]:
                provider["url"] = f"{address}/{provider['name']}/vagrant.box"
            (boxes.toolkit.store / "boxes/micro/server.json").write_text(json.dumps(catalog))
            environment = {**vagrant.environment, "VAGRANT_HOME": str(tmp_path / "home")}
            added = subprocess.run(
                ["vagrant", "box", "add", f"{address}/server.json", "--provider", "libvirt"],
                env={**environment, "VAGRANT_CHECKPOINT_DISABLE": "1"},
                cwd=tmp_path,
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
            )
        assert added.returncode == 0, added.stderr
        assert f"Successfully added box '{NAME}' (v1.2.3) for 'libvirt'" in added.stdout
        assert "checksum" in added.stdout


def test_what_was_built_is_published_at_a_registry_and_added_from_there(boxes: Boxed, tmp_path: Path) -> None:
    """By the real vagrant; and then it is taken away again."""
    with Registry(tmp_path / "registry") as registry:
        toolkit = Toolkit(boxes.toolkit.home, {**boxes.toolkit.settings, **at(registry)})
        ran = toolkit.run("boxes.test-upload", "--to", "vagrant-cloud", "--json", timeout=400)
        assert ran.code == 0, ran.err
        told = [(row["box"], row["provider"], row["state"]) for row in ran.json]
        assert told == [(NAME, provider, "added and removed") for provider in PROVIDERS]
        assert {row["sha256"] for row in ran.json} == {boxes.row(provider)["sha256"] for provider in PROVIDERS}
        assert registry.violations == []


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The files of a folder on 127.0.0.1; the address."""

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.answer(body=False)

        def do_GET(self) -> None:
            self.answer(body=True)

        def answer(self, *, body: bool) -> None:
            content = (folder / self.path.lstrip("/")).read_bytes()
            self.send_response(200)
            kind = "application/json" if self.path.endswith(".json") else "application/octet-stream"
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if body:
                self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_what_a_killed_command_left_goes_and_a_box_goes_when_it_is_told_to(boxes: Boxed, tmp_path: Path) -> None:
    """The last test of this file: nothing is there afterwards."""
    shelf = boxes.toolkit.store / "boxes"
    (shelf / "micro/.libvirt.half").mkdir()
    (shelf / ".work/micro").mkdir(parents=True)
    planned = boxes.toolkit.run("boxes.clean", "--plan")
    assert planned.code == 0 and planned.out.count("would remove box of micro") == 2
    assert ".libvirt.half" in planned.out and ".work/micro" in planned.out
    assert boxes.archive("libvirt").exists()
    removed = boxes.toolkit.run("boxes.clean")
    assert removed.out == planned.out.replace("would remove", "removed")
    assert boxes.toolkit.run("boxes.list", "--json").json == []
    assert boxes.toolkit.run("boxes.clean").out == ""
    assert not [path for path in shelf.rglob("*") if path.is_file() and path.suffix != ".json"]
    assert os.listdir(boxes.toolkit.store / "images") in ([], [".lock"])
