"""Boxes in the local vagrant: by a catalog, so that version and checksum are real, and `vagrant box outdated` works.

The catalog is as those that are published (cloud/publish/catalog.py); its archives are files of this machine.

python-vagrant does what its calls reach; they have no word for a version or a checksum, so a box is added by its
runner of commands.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cloud import wait
from cloud.errors import InputError, Interrupted, KitError, MissingTool
from cloud.files import replaced
from cloud.publish import catalog, names
from cloud.publish.names import Tag
from cloud.publish.place import Listed
from packer.shelf import Kept, Shelf

CATALOG = "catalog.json"

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
    return names.version(text) if text else max(kept.built for kept in boxes).strftime("0.0.%Y%m%d%H%M%S")


def register(boxes: Sequence[Kept], version: str, shelf: Shelf) -> dict[Registered, bool]:
    """Add the boxes of one system, one a provider, to the local vagrant: which it has now, and whether each is new.

    What was registered before stays in the catalog, which tells what is in a box that vagrant has: vagrant does not.

    Raises:
        MissingTool: there is no vagrant.
        InputError: it has one of them with other content. Nothing was added.
        KitError: vagrant refuses one; its words are in the message.
    """
    name = names.tag(boxes[0].told.name)
    path = shelf.root / boxes[0].told.os / CATALOG
    content = _catalog(path, name)
    before = {each.key: each for each in catalog.listed(content, name, version) or ()} if content else {}
    there = registered()
    found = {kept: Registered(str(name), kept.told.provider, version) for kept in boxes}
    for kept, box in found.items():
        if box in there:
            _agreed(box, kept, before.get(_listed(kept).key))
    now = {**before, **{each.key: each for each in map(_listed, boxes)}}
    if now != before:
        rest = catalog.without(content, name, version) if content else b""
        with replaced(path) as fresh:
            fresh.write_bytes(catalog.merged(rest, name, version, list(now.values())))
    for box in found.values():
        if box not in there:
            _run("box", "add", path.as_uri(), "--provider", box.provider, "--box-version", version)
    return {box: box not in there for box in found.values()}


def _catalog(path: Path, name: Tag) -> bytes:
    """What is there as the catalog of that box; empty where there is none, or that of a name that it had before."""
    try:
        content = path.read_bytes()
        catalog.listed(content, name, "")
    except (FileNotFoundError, KitError):
        return b""
    return content


def _listed(kept: Kept) -> Listed:
    return Listed(kept.told.provider, kept.told.architecture, kept.told.sha256, True, kept.archive.as_uri())


def _agreed(box: Registered, kept: Kept, known: Listed | None) -> None:
    """See that what vagrant has is what is on the shelf."""
    if known and known.sha256 == kept.told.sha256:
        return
    what = "with other content" if known else "from elsewhere"
    raise InputError(
        f"vagrant has {box.name} {box.version} for {box.provider} already, {what}",
        hint="take another version, or take it out: "
        f"vagrant box remove {box.name} --provider {box.provider} --box-version {box.version}",
    )


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
