"""What a build starts from: pinned by what it is, fetched whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import random
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cloud import wait
from cloud.base import Base, Build
from cloud.errors import InputError, Interrupted, KitError, TemporaryError, TimedOut
from cloud.files import lock
from cloud.local import bases, bootstrap, download
from cloud.local.store import Store
from cloud.progress import Progress, Silent
from cloud.work import Work

ROOT = Path(__file__).resolve().parents[3]
DEBIAN = {"ID": "debian", "VERSION_CODENAME": "bookworm", "PRETTY_NAME": "Debian 12"}
SPEC = {"packages": ["sudo", "udev", "jq"], "kernel": {"debian": ["linux-a"], "ubuntu": ["linux-u"]}}


class Heard(Silent):
    """An ear that keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def line(self, text: str) -> None:
        self.lines.append(text)


class Vendor(ThreadingHTTPServer):
    """A vendor's server with one image, and with the faults that such servers have."""

    daemon_threads = True

    def __init__(self, image: bytes) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.image = image
        self.faults: list[str] = []
        """What goes wrong in the next requests, one each; then all is well."""
        self.requests = 0

    def url(self, path: str = "image.qcow2", login: str = "") -> str:
        return f"http://{login}127.0.0.1:{self.server_port}/{path}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hung up is no news."""


class _Answer(BaseHTTPRequestHandler):
    server: Vendor

    def do_GET(self) -> None:
        self.server.requests += 1
        fault = self.server.faults.pop(0) if self.server.faults else ""
        image = self.server.image
        if fault == "reset":
            self.connection.close()
            return
        if fault.isdigit():
            self.send_error(int(fault))
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(image)))
        self.end_headers()
        if fault == "cut":
            image = image[: len(image) // 2]
        for start in range(0, len(image), 1 << 16):
            self.wfile.write(image[start : start + (1 << 16)])
            if fault == "slow":
                time.sleep(0.05)

    def log_message(self, *args: object) -> None:
        """Say nothing."""


class Hurried(wait.Clock):
    """The machine's clock, but pauses take no time."""

    def __init__(self) -> None:
        self.paused = 0.0

    def sleep(self, seconds: float) -> None:
        self.paused += seconds


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A small qcow2 that holds something."""
    folder = tmp_path_factory.mktemp("image")
    (folder / "raw").write_bytes(random.Random(1).randbytes(1 << 20) + bytes(1 << 20))
    _qemu_img("convert", "-O", "qcow2", folder / "raw", folder / "qcow2")
    return (folder / "qcow2").read_bytes()


@pytest.fixture
def vendor(image: bytes) -> Iterator[Vendor]:
    with Vendor(image) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.at(str(tmp_path / "store"))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Hurried:
    clock = Hurried()
    monkeypatch.setattr(wait, "clock", clock)
    return clock


def _qemu_img(*words: object) -> None:
    subprocess.run(["qemu-img", *map(str, words)], check=True, stdout=subprocess.DEVNULL)


def base_of(url: str, content: bytes) -> Base:
    return bases.resolve({}, url, hashlib.sha256(content).hexdigest())


def fetched(base: Base, store: Store, ear: Progress | None = None) -> Path:
    """Fetched by a build that is over then, however it ends."""
    work = Work(store.builds)
    build = Build("build", work.begin("build"))
    try:
        return bases.fetch(base, store, build, ear or Silent())
    finally:
        work.finish("build")


def nothing_is_left(store: Store) -> bool:
    return [path.name for path in store.bases.iterdir() if path.suffix != ".lock"] == []


def content_of(disk: Path) -> bytes:
    _qemu_img("convert", "-O", "raw", disk, disk.with_suffix(".raw"))
    return disk.with_suffix(".raw").read_bytes()


@pytest.fixture
def debian(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "freedesktop_os_release", lambda: DEBIAN)


@pytest.mark.usefixtures("debian")
class TestABootstrap:
    def test_is_the_same_in_whatever_order_its_packages_are_named(self) -> None:
        one = bases.resolve(SPEC, "", "")
        other = bases.resolve(dict(reversed([*SPEC.items()])) | {"packages": ["jq", "udev", "sudo", "jq"]}, "", "")
        assert one == other and one.id.startswith("debian-bookworm-")
        assert one.source == {"suite": "bookworm", "packages": "jq,linux-a,sudo,udev"}

    def test_is_another_one_with_other_packages_suite_or_kernel(self, monkeypatch: pytest.MonkeyPatch) -> None:
        seen = {bases.resolve(SPEC, "", "").id}
        for spec in ({**SPEC, "packages": ["sudo", "udev"]}, {**SPEC, "kernel": {"debian": ["linux-b"]}}):
            seen.add(bases.resolve(spec, "", "").id)
        for release in ({**DEBIAN, "VERSION_CODENAME": "trixie"}, {**DEBIAN, "ID": "ubuntu"}):
            monkeypatch.setattr(platform, "freedesktop_os_release", lambda release=release: release)
            seen.add(bases.resolve(SPEC, "", "").id)
        assert len(seen) == 5

    def test_is_another_one_when_a_script_of_ours_changes(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        seen = {bases.resolve(SPEC, "", "").id}
        for script in bootstrap.SCRIPTS.iterdir():
            monkeypatch.setattr(bootstrap, "SCRIPTS", tmp_path / script.name)
            bootstrap.SCRIPTS.mkdir()
            for each in script.parent.iterdir():
                changed = b"# changed\n" if each == script else b""
                (bootstrap.SCRIPTS / each.name).write_bytes(each.read_bytes() + changed)
            seen.add(bases.resolve(SPEC, "", "").id)
            monkeypatch.undo()
            monkeypatch.setattr(platform, "freedesktop_os_release", lambda: DEBIAN)
        assert len(seen) == 1 + len(list(bootstrap.SCRIPTS.iterdir()))

    @pytest.mark.parametrize("release", [{"ID": "fedora", "PRETTY_NAME": "Fedora Linux 43"}, {}])
    def test_elsewhere_is_refused_with_what_to_do_instead(
        self, release: dict[str, str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def told() -> dict[str, str]:
            if not release:
                raise OSError("no os-release")
            return release

        monkeypatch.setattr(platform, "freedesktop_os_release", told)
        with pytest.raises(InputError, match=r"no bootstrap on (Fedora Linux 43|this system)") as refused:
            bases.resolve(SPEC, "", "")
        assert "local.base_url" in refused.value.hint


class TestACloudImage:
    def test_is_told_by_its_checksum_and_not_by_where_it_lies(self) -> None:
        here, there = base_of("/a/image.qcow2", b"x"), base_of("https://example.org/b", b"x")
        assert here.id == there.id == f"sha256:{hashlib.sha256(b'x').hexdigest()}"
        assert base_of("/a/image.qcow2", b"y").id != here.id

    def test_of_the_settings_comes_before_that_of_the_definition(self) -> None:
        spec = {"url": "/theirs", "sha256": "a" * 64}
        assert bases.resolve(spec, "", "").source["url"] == "/theirs"
        assert bases.resolve(spec, "/mine", "b" * 64).source == {"url": "/mine", "sha256": "b" * 64}

    def test_without_a_checksum_is_refused(self) -> None:
        with pytest.raises(InputError, match=r"no checksum for http://127\.0\.0\.1/x") as refused:
            bases.resolve({}, "http://ann:sesame@127.0.0.1/x?sig=sesame", "")
        assert "local.base_sha256" in refused.value.hint and "sesame" not in refused.value.message

    @given(st.text(min_size=1) | st.text(":/[]@?#.%a1\\", min_size=1).map("http://".__add__))
    @example("http://[::1")
    @example("http://[x]/")
    @example("http://..")
    @example("ftp://127.0.0.1/x")
    @example("a\0b")
    @example("http://127.0.0.1:99999/")
    @example("http://" + "a" * 70 + ".invalid")
    def test_at_an_impossible_address_is_one_line_whatever_it_is(self, url: str) -> None:

        def read() -> None:
            base = bases.resolve({}, url, "0" * 64)
            for _ in download.chunks(base.address, Silent()):
                raise InputError("it was readable")

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(wait, "clock", Hurried())
            with pytest.raises(KitError) as refused:
                read()
        assert len(refused.value.message.splitlines()) == 1


class TestFetching:
    def test_brings_the_image_as_a_disk_for_its_owner_only(self, vendor: Vendor, store: Store) -> None:
        base = base_of(vendor.url(), vendor.image)
        folder = fetched(base, store)
        assert sorted(path.name for path in folder.iterdir()) == ["disk.qcow2", "source.json"]
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        for path in folder.iterdir():
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert json.loads((folder / "source.json").read_text()) == {
            "id": base.id,
            "url": vendor.url(),
            "sha256": base.id.removeprefix("sha256:"),
        }
        assert hashlib.sha256(content_of(folder / "disk.qcow2")[: 1 << 20]).digest() == (
            hashlib.sha256(random.Random(1).randbytes(1 << 20)).digest()
        )

    @pytest.mark.parametrize("name", ["image.qcow2", "a b#c?d%20e.qcow2", "ümlaut.img"])
    @pytest.mark.parametrize("form", ["path", "file"])
    def test_takes_a_path_too(self, image: bytes, store: Store, tmp_path: Path, name: str, form: str) -> None:
        path = tmp_path / name
        path.write_bytes(image)
        url = str(path) if form == "path" else path.as_uri()
        assert (fetched(base_of(url, image), store) / "disk.qcow2").exists()

    def test_happens_once(self, vendor: Vendor, store: Store) -> None:
        base = base_of(vendor.url(), vendor.image)
        assert fetched(base, store) == fetched(base, store)
        assert vendor.requests == 1

    def test_happens_once_for_two_processes_at_the_same_time(self, vendor: Vendor, store: Store) -> None:
        vendor.faults = ["slow", "slow"]
        script = """
import sys
from cloud.base import Build
from cloud.local import bases
from cloud.local.store import Store
from cloud.progress import Silent
from cloud.work import Work
store, name = Store.at(sys.argv[3]), sys.argv[4]
build = Build(name, Work(store.builds).begin(name))
bases.fetch(bases.resolve({}, sys.argv[1], sys.argv[2]), store, build, Silent())
"""
        digest = hashlib.sha256(vendor.image).hexdigest()
        words = [sys.executable, "-c", script, vendor.url(), digest, str(store.root)]
        both = [subprocess.Popen([*words, name], env={**os.environ, "PYTHONPATH": str(ROOT)}) for name in "ab"]
        assert [process.wait(30) for process in both] == [0, 0]
        assert vendor.requests == 1

    def test_gets_over_a_server_that_is_busy(self, vendor: Vendor, store: Store, clock: Hurried) -> None:
        vendor.faults = ["500", "503", "reset"]
        assert fetched(base_of(vendor.url(), vendor.image), store).exists()
        assert vendor.requests == 4 and clock.paused == 7

    def test_tells_how_far_it_is(self, vendor: Vendor, store: Store) -> None:
        heard = Heard()
        fetched(base_of(vendor.url(), vendor.image), store, heard)
        assert "1 of 1 MiB" in heard.lines

    @pytest.mark.parametrize(
        ("faults", "kind", "said"),
        [
            (["404"], InputError, "answers 404"),
            (["403"], InputError, "answers 403"),
            (["500"] * 9, TemporaryError, "does not answer"),
            (["501"], TemporaryError, "does not answer"),
            (["reset"] * 9, TemporaryError, "does not answer"),
            (["cut"], TemporaryError, ""),
        ],
    )
    @pytest.mark.usefixtures("clock")
    def test_that_fails_is_one_line_with_a_hint_and_leaves_nothing(
        self, faults: list[str], kind: type[KitError], said: str, vendor: Vendor, store: Store
    ) -> None:
        vendor.faults = faults
        with pytest.raises(kind) as failed:
            fetched(base_of(vendor.url(), vendor.image), store)
        assert said in failed.value.message and failed.value.hint
        assert type(failed.value) is kind and nothing_is_left(store)

    @pytest.mark.usefixtures("clock")
    def test_from_nobody_may_work_later(self, vendor: Vendor, store: Store) -> None:
        vendor.server_close()
        with pytest.raises(TemporaryError, match="does not answer") as failed:
            fetched(base_of(vendor.url(), vendor.image), store)
        assert failed.value.exit_code == 5 and failed.value.hint and nothing_is_left(store)

    @pytest.mark.usefixtures("clock")
    def test_of_a_body_that_is_too_short_is_told_as_that_though_requests_should_not_notice(
        self, vendor: Vendor, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from urllib3 import HTTPResponse

        kind = HTTPResponse.__init__
        monkeypatch.setattr(
            HTTPResponse, "__init__", lambda self, *a, **k: kind(self, *a, **{**k, "enforce_content_length": False})
        )
        vendor.faults = ["cut"]
        with pytest.raises(TemporaryError, match=r"ended after \d+ of \d+ bytes"):
            fetched(base_of(vendor.url(), vendor.image), store)
        assert nothing_is_left(store)

    @pytest.mark.parametrize("path", ["/no/such/image", "/", "/dev/null/x"])
    def test_of_a_path_that_cannot_be_read_is_bad_input(self, path: str, store: Store) -> None:
        with pytest.raises(InputError, match="can't read the base") as failed:
            fetched(base_of(path, b""), store)
        assert failed.value.hint and nothing_is_left(store)

    def test_of_something_else_than_was_asked_for_is_refused(self, vendor: Vendor, store: Store) -> None:
        with pytest.raises(InputError, match="has the checksum") as failed:
            fetched(base_of(vendor.url(), b"another image"), store)
        assert failed.value.hint and nothing_is_left(store)

    def test_of_an_image_that_stands_on_a_file_of_the_host_is_refused(self, store: Store, tmp_path: Path) -> None:
        bad = tmp_path / "bad.qcow2"
        _qemu_img("create", "-f", "qcow2", "-b", "/etc/passwd", "-F", "raw", bad, "1M")
        with pytest.raises(InputError, match="no disk image that stands alone"):
            fetched(base_of(str(bad), bad.read_bytes()), store)
        assert nothing_is_left(store)

    def test_of_an_image_whose_data_is_another_file_is_refused(self, store: Store, tmp_path: Path) -> None:
        bad, data = tmp_path / "bad.qcow2", tmp_path / "data"
        _qemu_img("create", "-f", "qcow2", "-o", f"data_file={data}", bad, "1M")
        with pytest.raises(InputError, match="no disk image that stands alone"):
            fetched(base_of(str(bad), bad.read_bytes()), store)
        assert nothing_is_left(store)

    @pytest.mark.parametrize("form", ["vmdk", "vpc"])
    def test_of_another_kind_of_disk_is_refused(self, form: str, store: Store, tmp_path: Path) -> None:
        bad = tmp_path / "bad"
        _qemu_img("create", "-f", form, bad, "1M")
        with pytest.raises(InputError, match="no disk image that stands alone"):
            fetched(base_of(str(bad), bad.read_bytes()), store)
        assert nothing_is_left(store)

    @pytest.mark.parametrize("content", [b"", b"<html>404 Not Found</html>" * 50, b"\x1f\x8b" + b"x" * 1000])
    def test_of_what_is_no_image_is_refused(self, content: bytes, vendor: Vendor, store: Store) -> None:
        vendor.image = content
        with pytest.raises(InputError, match="no disk image") as failed:
            fetched(base_of(vendor.url(), content), store)
        assert failed.value.hint and nothing_is_left(store)

    def test_ends_soon_after_an_interrupt_and_leaves_nothing(self, vendor: Vendor, store: Store) -> None:
        vendor.faults = ["slow"]
        vendor.image = bytes(20 << 20)
        threading.Timer(0.3, wait.interrupt).start()
        began = time.monotonic()
        with pytest.raises(Interrupted):
            fetched(base_of(vendor.url(), vendor.image), store)
        assert time.monotonic() - began < 20 and nothing_is_left(store)

    @pytest.mark.parametrize("faults", [[], ["404"], ["500"] * 9, ["reset"] * 9, ["cut"], ["reset", "500"]])
    @pytest.mark.usefixtures("clock")
    def test_keeps_passwords_and_signatures_to_itself(
        self,
        faults: list[str],
        vendor: Vendor,
        store: Store,
        caplog: pytest.LogCaptureFixture,
        capfd: pytest.CaptureFixture[str],
    ) -> None:
        vendor.faults = faults
        url = vendor.url("image.qcow2?sig=sesame#sesame", login="ann:sesame@")
        base = base_of(url, vendor.image)
        heard = Heard()
        try:
            folder = fetched(base, store, heard)
            heard.lines.append((folder / "source.json").read_text())
        except KitError as failed:
            heard.lines += [failed.message, failed.hint, *getattr(failed, "__notes__", [])]
        heard.lines += [caplog.text, *capfd.readouterr(), base.source["url"], base.id]
        assert heard.lines and not any("sesame" in line for line in heard.lines)


class TestWaitingForAnother:
    """Another build makes the base that we want, which takes minutes."""

    def test_is_told_and_ends_when_that_one_has_made_it(self, vendor: Vendor, store: Store) -> None:
        base = base_of(vendor.url(), vendor.image)
        folder = fetched(base, store)
        heard = Heard()
        taken = threading.Event()

        def another() -> None:
            with lock(folder.with_name(f"{folder.name}.lock")):
                taken.set()
                time.sleep(0.5)

        threading.Thread(target=another).start()
        assert taken.wait(10)
        assert fetched(base, store, heard) == folder
        assert heard.lines == [f"waiting for another build, which makes the base {base.id}", f"base {base.id} is there"]

    def test_hears_an_interrupt(self, vendor: Vendor, store: Store) -> None:
        base = base_of(vendor.url(), vendor.image)
        folder = store.bases / base.id.replace(":", "-")
        threading.Timer(0.3, wait.interrupt).start()
        began = time.monotonic()
        with lock(folder.with_name(f"{folder.name}.lock")), pytest.raises(Interrupted):
            fetched(base, store)
        assert time.monotonic() - began < 3 and vendor.requests == 0

    def test_has_an_end(self, vendor: Vendor, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(bases, "PATIENCE", 0.5)
        base = base_of(vendor.url(), vendor.image)
        folder = store.bases / base.id.replace(":", "-")
        with lock(folder.with_name(f"{folder.name}.lock")), pytest.raises(TimedOut, match="another build makes"):
            fetched(base, store)


class TestOldBases:
    def test_are_all_but_the_one_that_was_used_last(self, store: Store) -> None:
        for age, name in enumerate(["new", "older", "oldest"]):
            (store.bases / name).mkdir()
            os.utime(store.bases / name, (0, 1e9 - age))
        assert {path.name for path in bases.unused(store)} == {"older", "oldest"}
        bases.remove(store.bases / "oldest", store)
        assert {path.name for path in bases.unused(store)} == {"older"}

    def test_come_last_again_when_a_build_uses_them(self, vendor: Vendor, store: Store) -> None:
        base = base_of(vendor.url(), vendor.image)
        folder = fetched(base, store)
        (store.bases / "newer").mkdir()
        os.utime(folder, (0, 1e9))
        assert bases.unused(store) == [folder]
        fetched(base, store)
        assert bases.unused(store) == [store.bases / "newer"]

    def test_are_none_on_which_a_build_under_way_stands(self, vendor: Vendor, store: Store) -> None:
        """Another image's build has used a newer one since."""
        base, work = base_of(vendor.url(), vendor.image), Work(store.builds)
        folder = bases.fetch(base, store, Build("under way", work.begin("under way")), Silent())
        (store.bases / "newer").mkdir()
        os.utime(folder, (0, 1e9))
        assert bases.unused(store) == []
        work.finish("under way")
        assert bases.unused(store) == [folder]

    def test_stay_when_a_build_has_begun_to_use_them_since_one_looked(self, vendor: Vendor, store: Store) -> None:
        base, work = base_of(vendor.url(), vendor.image), Work(store.builds)
        folder = fetched(base, store)
        (store.bases / "newer").mkdir()
        os.utime(folder, (0, 1e9))
        (old,) = bases.unused(store)
        bases.fetch(base, store, Build("just begun", work.begin("just begun")), Silent())
        bases.remove(old, store)
        assert (folder / "disk.qcow2").exists()
        work.finish("just begun")
        bases.remove(old, store)
        bases.remove(old, store)  # another one has it gone already
        assert not folder.exists()
