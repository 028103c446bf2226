"""Builds of images as folders of this machine: `disk.qcow2` and `image.json` in each."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from cloud import process, ssh, userdata
from cloud.base import Artifact, Base, Build, Cost, Image, Leftover, newest_first
from cloud.errors import InputError, KitError, NotFound
from cloud.files import discard, erase, is_half, lock, replaced, write_json
from cloud.local import accelerator, bases, machines, qemu
from cloud.local.settings import LocalSettings
from cloud.local.store import Store
from cloud.names import CREATED, IMAGE, parse_moment
from cloud.progress import Progress
from cloud.work import Work

BUILDER = "builder"
"""The user that packer logs in as. `clean.sh` removes it, when all else is done."""

GIB = 1 << 30
SPACE = 4 * GIB
"""Room that a build must have. A full one takes 3.0 GB at its peak, measured; the rest is for what a step adds."""


class LocalImages:
    """The images in a store."""

    def __init__(self, store: Store, settings: LocalSettings) -> None:
        self._store = store
        self._settings = settings
        self._work = Work(store.builds)

    def resolve(self, base: Mapping[str, Any]) -> Base:
        """What a definition's base is today."""
        return bases.resolve(base, self._settings.base_url, self._settings.base_sha256)

    def source(self) -> Mapping[str, str | int]:
        """What packer's template of this cloud is filled with."""
        return {"builder": BUILDER, "disk": self._settings.disk}

    def cost(self) -> Cost:
        """What a build takes here."""
        setting = self._settings.accelerator
        chosen = accelerator.known(self._store) if setting == "auto" else setting
        minutes = {"kvm": "2 to 4", "tcg": "5 to 12"}.get(chosen, "2 to 12")
        return Cost(minutes, SPACE, self._store.free())

    def environment(self) -> Mapping[str, str]:
        """Nothing: no secret is needed here."""
        return {}

    def begin(self, build: str) -> Build:
        """Open a build: a folder that is ours as long as this process lives."""
        return Build(build, self._work.begin(build))

    def prepare(self, build: Build, base: Base, progress: Progress) -> Mapping[str, str]:
        """Make the base, a key and a seed for packer's VM; the variables of its qemu source.

        Raises:
            InputError: the setting local.disk is less than the base needs.
        """
        disk = bases.fetch(base, self._store, build, progress) / "disk.qcow2"
        self._suffices(disk, base)
        chosen = accelerator.choose(self._settings.accelerator, self._store)
        progress.line(f"accelerator: {chosen}")
        return self._variables(build, disk, chosen)

    def _suffices(self, disk: Path, base: Base) -> None:
        """QEMU makes an overlay that is smaller than its base without a word, and cuts the file system off."""
        told = process.run(["qemu-img", "info", "--output=json", disk])
        least = -(-int(json.loads(told.text)["virtual-size"]) // GIB)
        if self._settings.disk < least:
            raise InputError(
                f"local.disk is {self._settings.disk} GiB, and the base {base.id} is a disk of {least} GiB",
                hint=f"set local.disk, or KM_LOCAL__DISK, to {least} or more",
            )

    def sample(self, folder: Path) -> Mapping[str, str]:
        """Variables with which packer can judge the files. Nothing is fetched or booted."""
        return self._variables(Build("sample", folder), folder / "disk.qcow2", "tcg")

    def _variables(self, build: Build, disk: Path, chosen: str) -> Mapping[str, str]:
        key, seed = build.folder / "key", build.folder / "seed"
        public = ssh.make_key(key, build.name)
        seed.mkdir()
        (seed / "user-data").write_text(userdata.write(userdata.login(BUILDER, [public], sudo=True)), encoding="utf-8")
        (seed / "meta-data").write_text(userdata.metadata(build.name, "build"), encoding="utf-8")
        accel, cpu = qemu.ACCELERATORS[chosen]
        return {
            "base": str(disk),
            "key": str(key),
            "seed": str(seed),
            "output": str(build.folder / "output"),
            "console": str(build.folder / "console.log"),
            "accelerator": accel,
            "cpu": cpu,
            "cpus": str(self._settings.cpus),
            "memory": str(self._settings.memory),
            "ssh_timeout": f"{self._settings.boot_timeout}s",
        }

    def adopt(self, build: Build, artifact: Artifact, tags: Mapping[str, str]) -> Image:
        """Make an image of packer's overlay: one file that needs no other, packed."""
        if len(artifact.files) != 1:
            raise KitError(f"packer made {len(artifact.files)} files instead of a disk", hint="its log tells more")
        (overlay,) = artifact.files
        folder = self._store.images / build.name
        with replaced(folder) as fresh:
            fresh.mkdir(mode=0o700)
            disk = fresh / "disk.qcow2"
            process.run(
                [
                    *("qemu-img", "convert", "-O", "qcow2", "-c", "-o", "compression_type=zstd"),
                    *("-W", "-m", "4", overlay, disk),
                ],
                timeout=900,
            )
            disk.chmod(0o600)
            _sync(disk)
            write_json(fresh / "image.json", {"build": build.name, "tags": dict(tags)})
        _sync(self._store.images)
        return self._read(folder)

    def blame(self, words: str) -> None:
        """Nothing: what fails here fails in words of our own."""

    def finish(self, build: Build) -> None:
        """Close a build: its folder goes, and with it all that it wrote but an image."""
        self._work.finish(build.name)

    def list(self, name: str) -> Sequence[Image]:
        """The builds of an image, newest first. One without its disk is none."""
        return newest_first(image for image in self._all() if image.name == name)

    def _all(self) -> Iterator[Image]:
        for folder in self._store.images.iterdir():
            try:
                if folder.name[0] != ".":
                    yield self._read(folder)
            except NotFound:
                pass  # it went while we looked, or its disk was taken away by hand

    def tag(self, image: Image, tags: Mapping[str, str | None]) -> Image:
        """Set tags, remove those that are None.

        Raises:
            NotFound: it is gone.
        """
        folder = Path(image.id)
        with self._changing():
            known = self._read(folder).tags
            kept = {key: text for key, text in {**known, **tags}.items() if text is not None}
            write_json(folder / "image.json", {"build": image.build, "tags": kept})
        return self._read(folder)

    def announce(self, image: Image) -> None:
        """Nothing: who reads this store reads its tags."""

    def announced(self, image: Image) -> bool:
        """Always."""
        return True

    def describe(self, image: Image, record: Mapping[str, object]) -> None:
        """Put the build record beside the image.

        Raises:
            NotFound: it is gone.
        """
        folder = Path(image.id)
        with self._changing():
            self._read(folder)
            write_json(folder / "record.json", record)

    def delete(self, image: Image) -> None:
        """Remove a build. It may be gone already."""
        with self._changing():
            discard(Path(image.id))

    def _changing(self) -> AbstractContextManager[object]:
        """Who writes into an image's folder or removes it: one at a time, for moments."""
        return lock(self._store.images / ".lock")

    def in_use(self, image: Image) -> str:
        """The build under way, or the machine whose disk is an overlay of this one."""
        if self._work.busy(image.build):
            return "its build"
        for folder in machines.folders(self._store):
            try:
                if machines.image_of(folder) == image.id:
                    return f"machine {folder.name}"
            except NotFound:
                pass  # it went while we looked
        return ""

    def leftovers(self) -> Sequence[Leftover]:
        """Builds whose process is gone with their VMs, half-made files, and bases that none will use.

        And images whose disk was taken away by hand, which `list` does not show.
        """
        dead = [self._store.builds / name for name in self._work.dead()]
        halves = [
            path
            for folder in (self._store.builds, self._store.images, self._store.bases, self._store.machines)
            for path in folder.iterdir()
            if is_half(path)
        ]
        proofs = machines.orphans(self._store)
        # Read from the inside out: a folder that is removed goes whole, so its record is not there either then.
        empty = [
            path
            for path in self._store.images.iterdir()
            if path.name[0] != "." and not (path / "disk.qcow2").exists() and (path / "image.json").exists()
        ]
        return [
            *(Leftover("local", "killed build", str(path)) for path in dead),
            *(Leftover("local", "half-made file", str(path)) for path in halves),
            *(Leftover("local", "VM of a killed build", str(path)) for path in proofs),
            *(Leftover("local", "image without its disk", str(path)) for path in empty),
            *(Leftover("local", "base of older builds", str(path)) for path in bases.unused(self._store)),
        ]

    def remove(self, leftover: Leftover) -> None:
        """Remove one of them."""
        path = Path(leftover.id)
        if is_half(path):
            erase(path)
        elif path.parent == self._store.machines:
            machines.remove(path)
        elif path.parent == self._store.bases:
            bases.remove(path, self._store)
        elif not self._work.busy(path.name):  # another one may have begun it anew since
            discard(path)

    def _read(self, folder: Path) -> Image:
        try:
            told = json.loads((folder / "image.json").read_text())
            size = (folder / "disk.qcow2").stat().st_size
        except (FileNotFoundError, NotADirectoryError) as problem:
            raise NotFound(f"{folder.name} is not there any more", hint="./inv images.list") from problem
        tags = told["tags"]
        return Image("local", tags[IMAGE], told["build"], str(folder), size, parse_moment(tags[CREATED]), tags)


def _sync(path: Path) -> None:
    """See to it that the file, or the folder's list of names, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
