"""`boxes.upload --to catalog`, from outside: a folder, and a bucket."""

from __future__ import annotations

import http.server
import json
import os
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import boto3.session
import pytest

from cloud.aws.session import Session
from cloud.publish import catalog
from cloud.publish.bucket import PART
from cloud.publish.names import Tag
from cloud.publish.place import Listed
from tests.conftest import COUNTED
from tests.fakes.s3 import BUCKET, KINDS, PREFIX, REGION, S3
from tests.publishing import PROVIDERS, TAG, VERSION, Desk, a_box, built, hasty, sha256


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "public"


@pytest.fixture
def desk(tmp_path: Path, folder: Path) -> Iterator[Desk]:
    """One who has built both boxes, and has a catalog in a folder."""
    with hasty():
        made = Desk(tmp_path / "home", {"KM_PUBLISH__TO": "catalog", "KM_PUBLISH__CATALOG": str(folder), "CI": "true"})
        for provider in PROVIDERS:
            built(made.store, provider)
        yield made


def document(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / TAG / "catalog.json").read_text()))


def file_of(desk: Desk, provider: str) -> Path:
    return desk.store / "boxes/ubuntu-22.04" / provider / "vagrant.box"


@contextmanager
def served(folder: Path, json_as: str = "application/json") -> Iterator[str]:
    """The folder as a web server shows it."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        extensions_map = {".json": json_as, "": "application/octet-stream"}  # noqa: RUF012  # http.server's own

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_files_come_first_and_then_the_document(desk: Desk, folder: Path) -> None:
    ran = desk.upload()
    assert ran.code == 0, ran.err
    told = document(folder)
    assert told["name"] == TAG
    [version] = told["versions"]
    assert version["version"] == VERSION and version["status"] == "active"
    for row in version["providers"]:
        path = Path(row["url"].removeprefix("file://"))
        assert path.is_relative_to(folder) and row["checksum"] == sha256(path) == sha256(file_of(desk, row["name"]))
    assert {path.name for path in folder.rglob("*") if path.is_file()} <= {
        "vagrant.box",
        "catalog.json",
        ".catalog.json.lock",
    }


def test_a_plan_makes_nothing(desk: Desk, folder: Path) -> None:
    ran = desk.upload("--plan")
    assert ran.code == 0 and ran.out.count("upload, it is not there") == 2
    assert not folder.exists()


def test_versions_come_beside_each_other_and_never_change(desk: Desk, folder: Path) -> None:
    assert desk.upload(version="1.0.0").code == 0
    first = document(folder)["versions"]
    assert desk.upload(version="1.0.0").out.count("already published") == 2
    built(desk.store, "libvirt")
    ran = desk.upload(version="1.0.0")
    assert ran.code == 2 and "stays as it is" in ran.err
    assert document(folder)["versions"] == first
    assert desk.upload(version="1.1.0").code == 0
    assert document(folder)["versions"][:-1] == first


def test_the_default_architecture_is_the_last(desk: Desk, folder: Path, tmp_path: Path) -> None:
    files = [a_box(tmp_path / f"{each}.box", architecture=each) for each in ("amd64", "arm64", "i386")]
    assert desk.upload(*(word for file in files for word in ("--file", str(file)))).code == 0
    told = [(row["architecture"], row["default_architecture"]) for row in document(folder)["versions"][0]["providers"]]
    assert told == [("arm64", False), ("i386", False), ("amd64", True)]


def test_what_is_sent_without_a_release_is_released_later(desk: Desk, folder: Path) -> None:
    assert desk.upload("--no-release", "--file", str(file_of(desk, "libvirt"))).code == 0
    assert not (folder / TAG / "catalog.json").exists()
    ran = desk.upload("--file", str(file_of(desk, "virtualbox")), "--json")
    assert [row["sent"] for row in ran.json] == [False, True]
    assert len(document(folder)["versions"][0]["providers"]) == 2


def test_it_is_read_back_from_where_the_world_finds_it(desk: Desk, folder: Path) -> None:
    with served(folder) as url:
        ran = desk.upload(KM_PUBLISH__ADDRESS=url)
        assert ran.code == 0, ran.err
        assert all(row["url"].startswith(f"{url}/{TAG}/") for row in document(folder)["versions"][0]["providers"])
    with served(folder, "text/plain") as url:
        ran = desk.upload(version="1.3.0", KM_PUBLISH__ADDRESS=url)
        again = desk.upload(version="1.3.0", KM_PUBLISH__ADDRESS=url)
        for each in (ran, again):  # it is released, and no one can add it
            assert each.code == 1 and "is not served as application/json" in each.err
    with served(folder) as url:
        ran = desk.upload(version="1.3.0", KM_PUBLISH__ADDRESS=url)
        assert ran.code == 0 and ran.out.count("already published") == 2, ran.err
    elsewhere = folder.parent / "elsewhere"
    elsewhere.mkdir()
    with served(elsewhere) as url:
        ran = desk.upload(version="1.4.0", KM_PUBLISH__ADDRESS=url)
        assert ran.code == 5 and "is not there" in ran.err
    assert [row["version"] for row in document(folder)["versions"]] == [VERSION, "1.3.0"]


@pytest.fixture
def closed() -> Iterator[None]:
    """The umask of one whose files are nobody else's."""
    before = os.umask(0o077)
    yield
    os.umask(before)


def modes(folder: Path) -> dict[str, set[int]]:
    """By the kind of a path."""
    found: dict[str, set[int]] = {"folder": set(), "file": set(), "lock": set()}
    for path in folder.rglob("*"):
        kind = "folder" if path.is_dir() else "lock" if path.name.endswith(".lock") else "file"
        found[kind].add(stat.S_IMODE(path.stat().st_mode))
    return found


def test_all_the_world_may_read_a_folder_whatever_the_umask(desk: Desk, folder: Path, closed: None) -> None:
    assert desk.upload().code == 0
    (folder / TAG).chmod(0o700)  # its maker was killed
    assert desk.upload(version="1.3.0").code == 0
    assert modes(folder) == {"folder": {0o755}, "file": {0o644}, "lock": {0o644}}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o755


def test_who_may_write_into_a_folder_may_publish_there(desk: Desk, folder: Path, closed: None) -> None:
    folder.mkdir()
    folder.chmod(0o2775)
    other = next((group for group in os.getgroups() if group != os.getgid()), 12345 if os.geteuid() == 0 else -1)
    os.chown(folder, -1, other)
    folder.chmod(0o2775)
    assert desk.upload().code == 0
    assert modes(folder) == {"folder": {0o2775}, "file": {0o644}, "lock": {0o664}}
    groups = {path.stat().st_gid for path in folder.rglob("*") if path.is_dir() or path.name.endswith(".lock")}
    assert groups == {folder.stat().st_gid}


def test_a_lock_that_is_not_to_be_had_is_told_before_a_file_is_sent(desk: Desk, folder: Path) -> None:
    (folder / TAG / ".catalog.json.lock").mkdir(parents=True)
    ran = desk.upload()
    assert ran.code == 2 and "Is a directory" in ran.err, ran.err
    assert not list(folder.rglob("vagrant.box"))


def test_a_catalog_that_is_none_is_not_touched(desk: Desk, folder: Path) -> None:
    path = folder / TAG / "catalog.json"
    path.parent.mkdir(parents=True)
    path.write_text("[]")
    ran = desk.upload()
    assert ran.code == 1 and "is none" in ran.err
    assert path.read_text() == "[]"


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({"KM_PUBLISH__CATALOG": ""}, "no catalog is set"),
        ({"KM_PUBLISH__CATALOG": "ftp://somewhere"}, "no catalog is set"),
        ({"KM_PUBLISH__CATALOG": "s3://-"}, "is no bucket"),
        ({"KM_PUBLISH__CATALOG": "/dev/null/x"}, "Not a directory"),
        ({"KM_PUBLISH__ADDRESS": "boxes.example"}, "is no address"),
    ],
)
def test_what_can_not_be_used_is_told(desk: Desk, variables: dict[str, str], told: str) -> None:
    ran = desk.upload(**variables)
    assert ran.code == 2 and told in ran.err and "\nhint: " in ran.err


def test_a_full_disk_leaves_the_catalog_as_it_was(desk: Desk, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert desk.upload(version="1.0.0").code == 0
    before = (folder / TAG / "catalog.json").read_bytes()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "fsync", _no_room)
        ran = desk.upload(version="1.1.0")
    assert ran.code == 1 and "no room" in ran.err
    assert (folder / TAG / "catalog.json").read_bytes() == before
    assert not [path for path in folder.rglob("*") if path.name.endswith(".new")]
    assert desk.upload(version="1.1.0").code == 0


def _no_room(descriptor: int) -> None:
    raise OSError(28, "No space left on device")


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3]:
    # A command reads boto's descriptions of S3 once: here that is most of its time.
    shared = boto3.session.Session(region_name=REGION)
    monkeypatch.setattr(Session, "_boto", shared)
    # The SDK waits between two tries by itself.
    slept = time.sleep
    monkeypatch.setattr(time, "sleep", lambda seconds: slept(min(seconds, 0.01)))
    with S3() as bucket:
        yield bucket


@pytest.fixture
def tenant(tmp_path: Path, s3: S3) -> Iterator[Desk]:
    """One who has built both boxes, and has a catalog in a bucket."""
    with hasty():
        made = Desk(tmp_path / "home", {"CI": "true", "KM_PUBLISH__STALL": "10", **s3.variables})
        for provider in PROVIDERS:
            built(made.store, provider)
        yield made


def test_a_bucket_gets_files_and_a_document_of_json(tenant: Desk, s3: S3) -> None:
    ran = tenant.upload()
    assert ran.code == 0, ran.err
    assert s3.released(TAG) == {VERSION: {provider: sha256(file_of(tenant, provider)) for provider in PROVIDERS}}
    head = s3.client.head_object(Bucket=BUCKET, Key=f"{PREFIX}/{TAG}/catalog.json")
    assert head["ContentType"] == "application/json"
    assert "canary" not in ran.out + ran.err + tenant.logs()


def test_a_large_file_goes_in_parts_of_which_none_goes_twice(tenant: Desk, s3: S3) -> None:
    built(tenant.store, "libvirt", disk=os.urandom(2 * PART + 1000))
    s3.fails_at(0, "")

    def parts(since: int = 0) -> list[str]:
        return [call for call in s3.calls[since:] if "partNumber" in call]

    def denies(call: str) -> None:  # after two parts, no more
        if len(parts()) == 2 and "partNumber" in call:
            s3.fails_at(1, "denied")

    s3.after = denies
    ran = tenant.upload()
    assert ran.code == 4, ran.err
    s3.after = lambda call: None
    begun = len(s3.calls)
    assert tenant.upload().code == 0
    assert len(parts(begun)) == 1
    assert s3.released(TAG)[VERSION]["libvirt"] == sha256(file_of(tenant, "libvirt"))
    assert s3.client.list_multipart_uploads(Bucket=BUCKET).get("Uploads", []) == []


def test_two_who_write_at_once_both_have_their_version(tenant: Desk, s3: S3) -> None:
    """Somebody else releases between our look at the document and our writing of it: the first time, and later."""
    key = f"{PREFIX}/{TAG}/catalog.json"
    org, _, name = TAG.partition("/")
    others = ["2.0.0", "1.0.0"]

    def meanwhile(call: str) -> None:
        looks = [each for each in s3.calls if each.startswith("GET") and each.endswith("catalog.json?")]
        if others and call in looks and len(looks) >= 3:  # that before the writing
            there = s3.objects().get(f"{TAG}/catalog.json", b"")
            theirs = Listed("libvirt", "amd64", "0" * 64, True, "https://boxes.example/x.box")
            content = catalog.merged(there, Tag(org, name), others.pop(), [theirs])
            s3.client.put_object(Bucket=BUCKET, Key=key, Body=content, ContentType="application/json")

    s3.after = meanwhile
    ran = tenant.upload()
    assert ran.code == 0, ran.err
    assert others == []
    assert list(s3.released(TAG)) == ["1.0.0", "2.0.0", VERSION]
    assert len(s3.released(TAG)[VERSION]) == 2


def test_a_bucket_that_the_world_may_not_read_is_told(tenant: Desk, s3: S3) -> None:
    s3.client.delete_bucket_policy(Bucket=BUCKET)
    ran = tenant.upload()
    assert ran.code == 4 and "let all the world read the bucket" in ran.err
    assert s3.released(TAG) == {}


@pytest.mark.matrix
@pytest.mark.parametrize("kind", KINDS)
def test_a_fault_at_any_call_never_releases_what_is_not_there_and_the_next_run_completes(
    tenant: Desk, s3: S3, kind: str, record_property: Callable[[str, object], None]
) -> None:
    right = {provider: sha256(file_of(tenant, provider)) for provider in PROVIDERS}
    assert tenant.upload(version="1.0.0").code == 0
    calls = len(s3.calls)
    for number in range(1, calls + 1):
        version = f"2.0.{number}"
        s3.fails_at(number, kind)
        ran = tenant.upload(version=version)
        s3.fails_at(0, "")
        assert ran.code in (0, 1, 4, 5) and "a bug of ours" not in ran.err, ran.err
        assert s3.released(TAG)["1.0.0"] == right
        assert s3.released(TAG).get(version, right) == right
        if ran.code == 0:
            assert version in s3.released(TAG)
        again = tenant.upload(version=version)
        assert again.code == 0, f"{kind} at {number}: {again.err}"
        assert s3.released(TAG)[version] == right
    record_property(COUNTED, f"publication in a bucket, {kind}: at {calls} calls")
