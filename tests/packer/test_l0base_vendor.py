"""The base image from a vendor's disk, with a vendor's tools. Minutes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from cloud.base import Build
from cloud.local import bases
from cloud.local.store import Store
from cloud.progress import Silent
from packer.definition import DEFINITIONS, PROVISION, load
from tests.fakes.vendor import Vendor
from tests.packer.test_whole import made, proven
from tests.toolkit import Toolkit

pytestmark = [pytest.mark.vm, pytest.mark.matrix, pytest.mark.timeout(2400)]

OF_A_VENDOR = {"answer", "key-of-vendor", "repository-vendor", "file.bin"}


@pytest.fixture
def vendor(tmp_path: Path) -> Iterator[Vendor]:
    made = Vendor(tmp_path / "vendors")
    yield made
    made.close()


def with_a_vendor(vendor: Vendor, folder: Path) -> Path:
    """The definition of L0BaseImage, with a tool and a file of a vendor that this machine has too."""
    here = f"http://10.0.2.2:{vendor.port}"  # so QEMU's guests call the machine that they run on
    text = f'''provision = "{PROVISION}"
{(DEFINITIONS / "l0base.toml").read_text()}
[[tool]]
name = "answer"
source = "vendor"
version = "1.2.3"
check = "answer"
clouds = ["local"]

[repository.vendor]
url = "{here}/apt/"
suite = "./"
key = "{here}/key.asc"
fingerprint = "{vendor.fingerprint}"

[[download]]
url = "{here}/file.bin"
sha256 = "{vendor.sha256}"
to = "/opt/kontain/file.bin"
clouds = ["local"]
'''
    (folder / "l0base.toml").write_text(text)
    return folder / "l0base.toml"


def test_the_base_image_from_a_vendors_disk_with_a_vendors_tools(vendor: Vendor, tmp_path: Path) -> None:
    """A disk with cloud-init and little more: every tool is installed in the guest, by its apt.

    One comes from a repository that has a newer version too, signed by the key that is pinned.
    """
    spec = msgspec.to_builtins(load(DEFINITIONS / "l0base.toml").base["local"])
    (tmp_path / "build").mkdir()
    build, store = Build("build", tmp_path / "build"), Store.at(str(tmp_path / "vendor"))
    folder = bases.fetch(bases.resolve(spec, "", ""), store, build, Silent())
    disk = folder / "disk.qcow2"
    settings = {
        "KM_LOCAL__BASE_URL": str(disk),
        "KM_LOCAL__BASE_SHA256": hashlib.sha256(disk.read_bytes()).hexdigest(),
        "KM_IMAGES__DEFINITION": str(with_a_vendor(vendor, tmp_path)),
    }
    outcome = made(Toolkit(tmp_path / "home", settings))
    proven(Toolkit(tmp_path / "home", settings), outcome, OF_A_VENDOR)
    record = json.loads(Path(outcome["id"], "record.json").read_text())
    assert record["tools"]["answer"] == "1.2.3"
    assert record["base"]["sha256"] == settings["KM_LOCAL__BASE_SHA256"]
