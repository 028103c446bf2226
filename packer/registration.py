"""Boxes in the local vagrant: by a catalog, so that version and checksum are real, and `vagrant box outdated` works.

python-vagrant does what its calls reach; they have no word for a version or a checksum, so a box is added by its
runner of commands.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cloud import wait
from cloud.errors import InputError, Interrupted, KitError, MissingTool
from cloud.files import write_json
from packer.shelf import Kept, Shelf

CATALOG = "catalog.json"

# What Gem::Version reads (rubygems, lib/rubygems/version.rb), and Vagrant wants no more than that.
_VERSION = re.compile(r"[0-9]+(\.[0-9A-Za-z]+)*(-[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?")

_PROGRESS = re.compile(r"==> |    \w+: |Bringing machine |\s+from /")
_PLACE = re.compile(r"^/\S+\.rb:\d+:in `\w+': ")


@dataclass(frozen=True)
class Registered:
    """A box that the local vagrant has."""

    name: str
    provider: str
    version: str


def version_of(text: str, boxes: Sequence[Kept]) -> str:
    """The version by which boxes are registered: the text, without the `v` of a tag.

    Without one it is made of the moment of the build, so that each build is another version, and a newer one: libvirt
    keeps the disk of a version that it has seen, whatever is in the box now.

    Raises:
        InputError: no catalog can have it.
    """
    if not text:
        return max(kept.built for kept in boxes).strftime("0.0.%Y%m%d%H%M%S")
    version = text.removeprefix("v")
    if not _VERSION.fullmatch(version):
        raise InputError(f"{text!r} is no version of a box", hint="as 1.2.3, or 1.2.3-rc.1")
    return version


def catalog(name: str, version: str, boxes: Sequence[Kept]) -> Mapping[str, Any]:
    """The catalog of one box in one version, whose archives are files of this machine."""
    providers = [
        {
            "name": kept.told.provider,
            "url": kept.archive.as_uri(),
            "checksum": kept.told.sha256,
            "checksum_type": "sha256",
            "architecture": kept.told.architecture,
            "default_architecture": True,
        }
        for kept in boxes
    ]
    return {"name": name, "versions": [{"version": version, "providers": providers}]}


def register(boxes: Sequence[Kept], version: str, shelf: Shelf) -> list[Registered]:
    """Add the boxes of one system, one a provider, to the local vagrant. One that is there already is not touched.

    Raises:
        MissingTool: there is no vagrant.
        KitError: vagrant refuses one; its words are in the message.
    """
    first = boxes[0].told
    path = shelf.root / first.os / CATALOG
    write_json(path, catalog(first.name, version, boxes))
    there = registered()
    added = []
    for kept in boxes:
        box = Registered(first.name, kept.told.provider, version)
        if box not in there:
            _run("box", "add", path.as_uri(), "--provider", box.provider, "--box-version", version)
        added.append(box)
    return added


def registered() -> list[Registered]:
    """The boxes that the local vagrant has.

    Raises:
        MissingTool: there is no vagrant.
    """
    boxes = _asked(lambda vagrant: vagrant.box_list())
    return [Registered(box.name, box.provider, box.version) for box in boxes]


def runs(provider: str) -> bool:
    """Whether vagrant, with that provider, can run a VM on this machine."""
    if not shutil.which("vagrant"):
        return False
    if provider == "virtualbox":
        return shutil.which("VBoxManage") is not None
    # By virsh is removed what vagrant leaves.
    daemon = shutil.which("virsh") and any(
        Path(place, "libvirt-sock").exists() for place in ("/run/libvirt", "/var/run/libvirt")
    )
    plugins = _asked(lambda vagrant: vagrant.plugin_list()) if daemon else []
    return any(plugin.name == "vagrant-libvirt" for plugin in plugins)


def _run(*words: str) -> str:
    return str(_asked(lambda vagrant: vagrant._run_vagrant_command(list(words))))


def _asked(ask: Any) -> Any:
    """What vagrant answers; what it says when it fails is the error.

    Raises:
        MissingTool, KitError, Interrupted: as their names say.
    """
    from vagrant import Vagrant, make_file_cm

    if not shutil.which("vagrant"):
        raise MissingTool("vagrant is not on this machine", hint="./inv doctor names the package")
    with tempfile.TemporaryDirectory(prefix="kontain-") as folder:
        said = Path(folder) / "said"
        environment = {**os.environ, "VAGRANT_CHECKPOINT_DISABLE": "1"}
        program = Vagrant(folder, err_cm=make_file_cm(str(said)), env=environment)  # type: ignore[no-untyped-call]
        try:
            return ask(program)
        except subprocess.CalledProcessError as problem:
            if wait.interrupted():
                raise Interrupted from problem
            told = said.read_text(errors="replace") if said.exists() else ""
            output = (problem.output or b"").decode(errors="replace")
            raise KitError(f"vagrant: {reason([*told.splitlines(), *output.splitlines()])}") from problem


def reason(lines: Iterable[str]) -> str:
    """What vagrant says is wrong, without its progress and the places in its code."""
    said = [_PLACE.sub("", line).strip() for line in lines if line.strip() and not _PROGRESS.match(line)]
    return " ".join(said[:6]) or "it failed without a word"
