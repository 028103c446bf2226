"""SIGKILL at every call of a publication: nothing is released without its files, and the next run completes.

The command is a process of its own here. It dies when a server has done what it asked for, before it hears of that.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from cloud.publish.bucket import PART
from tests.conftest import COUNTED
from tests.fakes.registry_wire import Call, Registry
from tests.fakes.s3 import BUCKET, PREFIX, S3
from tests.forked import Forked, loaded
from tests.publishing import PROVIDERS, TAG, Desk, built, hasty, sha256
from tests.tasks.test_publish_faults import Matrix

pytestmark = [pytest.mark.matrix, pytest.mark.timeout(600)]


class Killer:
    """Ends a process when so many calls were done."""

    def __init__(self, registry: Registry | S3) -> None:
        self.process: Forked | None = None
        self.left = 0
        registry.after = self._after

    def _after(self, call: Call | str) -> None:
        self.left -= 1
        if self.left == 0 and self.process:
            self.process.kill()


def test_at_any_call_leaves_what_the_next_run_completes(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    with Registry(tmp_path / "registry") as registry, hasty(), loaded(tmp_path) as process:
        matrix = Matrix(tmp_path, registry)
        killer = Killer(registry)
        for number in itertools.count(1):
            version = f"3.0.{number}"
            killer.left = number
            words = ("boxes.upload", "--version", version)
            killer.process = process.start(words, matrix.desk.toolkit.environment)
            code, said = killer.process.end()
            killer.process = None
            assert code in (-signal.SIGKILL, 0), said
            assert list(matrix.wrong()) == []
            assert "canary" not in said
            begun, whole = len(registry.calls), matrix.whole(version)
            again = matrix.desk.upload(version=version)
            assert again.code == 0, again.err
            assert matrix.complete(version)
            assert registry.uploads(begun) == len(PROVIDERS) - whole
            assert list(matrix.wrong()) == []
            if code == 0:
                break
        record_property(COUNTED, f"publication: killed at {number - 1} calls")
        assert number > 20


def test_at_any_call_to_a_bucket_leaves_what_the_next_run_completes(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """One of the files goes in two parts."""
    with S3() as s3, hasty(), loaded(tmp_path) as process:
        desk = Desk(tmp_path / "home", {"CI": "true", "KM_PUBLISH__STALL": "10", **s3.variables})
        disks = {"libvirt": os.urandom(PART), "virtualbox": b""}
        right = {provider: sha256(built(desk.store, provider, disk)) for provider, disk in disks.items()}
        killer = Killer(s3)
        for number in itertools.count(1):
            version = f"3.0.{number}"
            killer.left = number
            killer.process = process.start(("boxes.upload", "--version", version), desk.toolkit.environment)
            code, said = killer.process.end()
            killer.process = None
            assert code in (-signal.SIGKILL, 0), said
            assert "canary" not in said
            assert s3.released(TAG).get(version, right) == right
            begun, whole = len(s3.calls), parts(s3, version)
            again = desk.upload(version=version)
            assert again.code == 0, again.err
            assert s3.released(TAG)[version] == right
            assert sum("partNumber" in call for call in s3.calls[begun:]) == 2 - whole
            assert len(s3.released(TAG)) == number
            if code == 0:
                break
            s3.client.delete_object(Bucket=BUCKET, Key=f"{PREFIX}/{large(s3, version)}")  # it is looked at each time
        assert s3.client.list_multipart_uploads(Bucket=BUCKET).get("Uploads", []) == []
        record_property(COUNTED, f"publication in a bucket: killed at {number - 1} calls")
        assert number > 15


def large(s3: S3, version: str) -> str:
    """The large file in the bucket; empty where it is not whole."""
    return next((key for key in s3.objects() if key.startswith(f"{TAG}/{version}/libvirt/")), "")


def parts(s3: S3, version: str) -> int:
    """How many parts of the large file are there."""
    if large(s3, version):
        return 2
    begun = s3.client.list_multipart_uploads(Bucket=BUCKET).get("Uploads", [])
    (upload,) = begun or [None]
    told = s3.client.list_parts(Bucket=BUCKET, Key=upload["Key"], UploadId=upload["UploadId"]) if upload else {}
    return len(told.get("Parts", []))


def test_at_any_change_of_a_catalogs_folder_leaves_what_the_next_run_completes(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    public = tmp_path / "store"  # by that word the command that is killed knows what counts
    with hasty(), loaded(tmp_path) as process:
        desk = Desk(tmp_path / "home", {"CI": "true", "KM_PUBLISH__TO": "catalog", "KM_PUBLISH__CATALOG": str(public)})
        files = {provider: built(tmp_path / "made", provider) for provider in PROVIDERS}
        words = [word for file in files.values() for word in ("--file", str(file))]
        right = {provider: sha256(file) for provider, file in files.items()}
        desk.home.mkdir()
        for number in itertools.count():
            version = f"3.0.{number}"
            environment = {**desk.toolkit.environment, "KM_LOCAL__STORE": str(tmp_path / "elsewhere")}
            argv = ("boxes.upload", "--version", version, *words)
            code, said = process.start(argv, environment, at=number).end()
            assert code in (-signal.SIGKILL, 0), said
            assert released(public).get(version, right) == right
            again = desk.upload(*words, version=version)
            assert again.code == 0, again.err
            assert all(each == right for each in released(public).values())
            assert len(released(public)) == number + 1
            if code == 0:
                break
        assert not [path for path in public.rglob("*") if path.name.endswith(".new")]
        record_property(COUNTED, f"publication in a folder: killed at {number} changes")
        assert number > 10


def released(public: Path) -> dict[str, dict[str, str]]:
    """The versions in the catalog, each with the checksums of the files that are really there."""
    path = public / TAG / "catalog.json"
    told = json.loads(path.read_text()) if path.exists() else {"versions": []}
    return {
        row["version"]: {each["name"]: sha256(Path(each["url"].removeprefix("file://"))) for each in row["providers"]}
        for row in told["versions"]
    }
