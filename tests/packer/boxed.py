"""Definitions of boxes for tests: the micro guest with the drivers of both providers, and one that can't be built."""

from __future__ import annotations

import hashlib
from pathlib import Path

from tests.toolkit import ROOT

SCRIPTS = ROOT / "tests/definitions/boxes/scripts"

KERNEL = "linux-image-amd64"
"""The cloud's kernel has no driver for the disks and the network that VirtualBox gives its guests."""


def box(folder: Path, os: str, disk: Path, sha256: str) -> Path:
    """The definition of a small box that starts from that disk."""
    path = folder / os / "box.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'''name = "kontain/{os}-kkm-beta3"
description = "a guest of seconds, for tests"
guest = "Debian_64"
manager = "apt"
disk = 2
memory = 256
cpus = 1
steps = ["packages", "user", "vagrant", "product", "record"]
provision = "{SCRIPTS}"

[base]
url = "{disk}"
sha256 = "{sha256}"

[packages]
jq = "jq --version"
''')
    return path


def definitions(folder: Path, disk: Path) -> Path:
    """A folder with `micro`, and with `broken`, whose base is another one than was meant."""
    box(folder, "micro", disk, hashlib.sha256(disk.read_bytes()).hexdigest())
    box(folder, "broken", disk, "0" * 64)
    return folder


def settings(folder: Path, product: Path) -> dict[str, str]:
    """The settings with which these are the boxes."""
    return {
        "KM_BOXES__DEFINITIONS": str(folder),
        "KM_BOXES__OS": "micro",
        "KM_PRODUCT__FOLDER": str(product),
        "KM_LOCAL__ACCELERATOR": "tcg",
        "KM_LOCAL__BOOT_TIMEOUT": "240",
        "KM_LOCAL__CPUS": "1",
        "KM_LOCAL__MEMORY": "256",
    }
