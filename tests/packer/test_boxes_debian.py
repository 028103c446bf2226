"""A whole box of Debian, out of the host's own apt sources: systemd, cloud-init, docker, podman, dpkg and the kernel's
headers are the real ones. Minutes.
"""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest

from tests import sample
from tests.packer.test_boxes import PROVIDERS
from tests.toolkit import Toolkit

pytestmark = [pytest.mark.vm, pytest.mark.matrix, pytest.mark.timeout(3000)]

OF_DOCKER = {"docker-container", "docker-krun", "docker-crun", "docker-knows-krun", "docker-knows-crun"}
OF_THE_KERNEL = {"kernel-module", "kernel-held", "initramfs-virtio_blk", "initramfs-ahci", "initramfs-sd_mod"}
OF_THE_PRODUCT = {"product-km", "product-krun", "product-path", "podman-krun"}
OF_VAGRANT = {"vagrant-keys", "vagrant-keys-mode", "user-sudo", "user-docker"}
OF_A_COPY = {"no-host-keys", "no-authorized-keys", "own-machine-id", "one-cloud-init-instance", "no-builder"}


def test_boots_as_virtualbox_boots_it_and_docker_runs_there(tmp_path: Path) -> None:
    """That it boots with libvirt's controllers is seen by its build, which has the same."""
    settings = {"KM_BOXES__OS": "debian", "KM_PRODUCT__FOLDER": str(sample.product(tmp_path / "product"))}
    # Other tests have the processors meanwhile.
    toolkit = Toolkit(tmp_path / "home", {**settings, "KM_LOCAL__BOOT_TIMEOUT": "600"})
    built = toolkit.run("boxes.build", "--json", timeout=1800)
    assert built.code == 0, f"{built.err}\n{toolkit.log()[-4000:]}"
    assert [row["provider"] for row in built.json] == list(PROVIDERS)
    with tarfile.open(built.json[0]["file"], "r:gz") as archive:
        metadata = archive.extractfile("metadata.json")
        assert metadata and json.load(metadata)["virtual_size"] == 8

    tried = toolkit.run("boxes.test", "--provider", "virtualbox", "--json", timeout=1100)
    assert tried.code == 0, f"{tried.err}\n{toolkit.log()[-4000:]}"
    (row,) = tried.json
    assert row["how"].startswith("QEMU, with ahci controllers")
    assert all(check["ok"] for check in row["checks"])
    wanted = OF_DOCKER | OF_THE_KERNEL | OF_THE_PRODUCT | OF_VAGRANT | OF_A_COPY
    assert wanted <= {check["name"] for check in row["checks"]}
    assert toolkit.left() == [] and toolkit.processes() == []
