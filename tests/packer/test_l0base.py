"""The whole base image, from the host's apt sources and from a vendor's disk. Minutes each."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Set
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cloud.base import Build
from cloud.local import bases
from cloud.local.store import Store
from cloud.progress import Silent
from packer.definition import DEFINITIONS, PROVISION, load
from tests.conftest import Built, l0base_built
from tests.fakes.vendor import Vendor
from tests.toolkit import Toolkit

pytestmark = [pytest.mark.vm, pytest.mark.matrix, pytest.mark.timeout(2400)]

PHASES = ("boot", "reboot")
TOOLS = {"git", "make", "makeself", "gcc", "jq", "curl", "docker"}
OF_ITSELF = {
    *("kernel-held", "docker-enabled", "docker-container", "sudoers", "user-sudo", "user-docker"),
    *("user-password", "core-pattern", "core-dump", "record", "no-key-for-all", "no-updates"),
}
ON_THE_FIRST_BOOT = {
    *("kernel-module", "no-host-keys", "no-authorized-keys", "no-private-keys", "own-machine-id"),
    *("one-cloud-init-instance", "no-old-logs", "no-history", "no-package-lists", "no-leftovers", "no-builder"),
}


OF_A_VENDOR = {"answer", "key-of-vendor", "repository-vendor", "file.bin"}


def proven(toolkit: Toolkit, outcome: dict[str, Any], besides: Set[str] = frozenset()) -> None:
    """Every check of the image was made, and those besides; nothing but the image is left."""
    assert outcome["state"] == "promoted"
    checks = {phase: {check["name"] for check in outcome["checks"] if check["phase"] == phase} for phase in PHASES}
    always = TOOLS | OF_ITSELF | besides
    assert checks == {"boot": always | ON_THE_FIRST_BOOT, "reboot": always}
    assert all(check["ok"] for check in outcome["checks"])
    assert toolkit.left() == [] and toolkit.processes() == []


def test_the_base_image_out_of_the_hosts_own_apt_sources(l0base: Built) -> None:
    toolkit, outcome = l0base.toolkit, l0base.outcome
    proven(toolkit, outcome)
    record = json.loads(Path(outcome["id"], "record.json").read_text())
    assert set(record["tools"]) == TOOLS
    assert record["packages"]["docker.io"].startswith(record["tools"]["docker"])
    assert record["fingerprint"] == outcome["fingerprint"]
    again = toolkit.run("images.l0base", "--cloud", "local")
    assert again.code == 0 and "up to date" in again.out


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
    outcome = l0base_built(Toolkit(tmp_path / "home", settings))
    proven(Toolkit(tmp_path / "home", settings), outcome, OF_A_VENDOR)
    record = json.loads(Path(outcome["id"], "record.json").read_text())
    assert record["tools"]["answer"] == "1.2.3"
    assert record["base"]["sha256"] == settings["KM_LOCAL__BASE_SHA256"]
