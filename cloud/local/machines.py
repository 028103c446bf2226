"""VMs as QEMU processes of this machine, each with a folder of its own."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pycdlib
from filelock import FileLock

from cloud import names, process, ssh, userdata
from cloud.base import Image, Machine
from cloud.files import discard, held, lock, replaced, write_json
from cloud.local import accelerator, qemu
from cloud.local.settings import LocalSettings
from cloud.local.store import Store


class LocalMachines:
    """The machines in a store."""

    def __init__(self, store: Store, settings: LocalSettings) -> None:
        self._store = store
        self._settings = settings
        self._locks: dict[str, FileLock] = {}

    def start(self, image: Image, *, name: str, user: str, tags: Mapping[str, str]) -> Machine:
        """A VM on an overlay of the image. Its folder and tags are there before its process.

        As long as we live its lock is held: a machine that serves us and not a person ends with us.
        """
        folder = self._store.machines / name
        with replaced(folder) as fresh:
            fresh.mkdir(mode=0o700)
            self._locks[name] = lock(fresh / "lock")
            self._locks[name].acquire()
            write_json(fresh / "machine.json", {"image": image.id, "tags": dict(tags)})
        try:
            host = self._furnish(folder, image, user)
            qemu.start(
                folder,
                accelerator=accelerator.choose(self._settings.accelerator, self._store),
                cpus=self._settings.cpus,
                memory=self._settings.memory,
            )
            return self._reached(folder, user, host)
        except BaseException:
            self._remove(name)
            raise

    def _furnish(self, folder: Path, image: Image, user: str) -> str:
        """Give the machine a disk, keys and a seed; its host key."""
        public = ssh.make_key(folder / "key", folder.name)
        host = ssh.make_key(folder / "host_key", folder.name)
        data = userdata.login(user, [public]) | userdata.host_key((folder / "host_key").read_text(), host)
        write_seed(folder / "seed.iso", userdata.write(data), userdata.metadata(folder.name, folder.name))
        base, size = Path(image.id) / "disk.qcow2", f"{self._settings.disk}G"
        disk = folder / "disk.qcow2"
        process.run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", base, "-F", "qcow2", disk, size])
        for path in folder.iterdir():
            path.chmod(0o600)
        return host

    def _reached(self, folder: Path, user: str, host: str) -> Machine:
        """How to get into the machine: its host key is pinned to the port that it got."""
        port = qemu.ssh_port(folder)
        known_hosts = folder / "known_hosts"
        known_hosts.write_text(f"[127.0.0.1]:{port} {host}\n")
        return Machine(
            cloud="local",
            id=folder.name,
            user=user,
            address="127.0.0.1",
            port=port,
            key=folder / "key",
            known_hosts=known_hosts,
            patience=self._settings.boot_timeout,
        )

    def console(self, machine: Machine) -> str:
        """The last lines of its serial console."""
        text = (self._store.machines / machine.id / "console.log").read_text(errors="replace")
        return "\n".join(text.splitlines()[-20:])

    def destroy(self, machine: Machine) -> None:
        """End it and remove its folder."""
        self._remove(machine.id)

    def _remove(self, name: str) -> None:
        remove(self._store.machines / name)
        if name in self._locks:
            self._locks.pop(name).release()


def folders(store: Store) -> Iterator[Path]:
    """The folders of all machines."""
    return (path for path in store.machines.iterdir() if (path / "machine.json").exists())


def image_of(folder: Path) -> str:
    """The id of the image that a machine's disk is an overlay of."""
    return str(_told(folder)["image"])


def orphans(store: Store) -> list[Path]:
    """Machines that were made to prove a build, and whose maker is gone."""
    return [
        folder
        for folder in folders(store)
        if _told(folder)["tags"][names.KIND] == "proof" and not held(folder / "lock")
    ]


def remove(folder: Path) -> None:
    """End the machine's process and remove its folder. Both may be gone."""
    if folder.exists():
        qemu.unplug(folder)
        discard(folder)


def _told(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "machine.json").read_text()))


def write_seed(path: Path, user_data: str, meta_data: str) -> None:
    """A disk that cloud-init's NoCloud reads: its label is `cidata`."""
    iso = pycdlib.PyCdlib()
    iso.new(interchange_level=3, rock_ridge="1.09", vol_ident="cidata")
    for name, text in (("user-data", user_data), ("meta-data", meta_data)):
        content = text.encode()
        short = f"/{name.replace('-', '').upper()}.;1"
        iso.add_fp(io.BytesIO(content), len(content), short, rr_name=name)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "wb") as out:
        iso.write_fp(out)
        # Room after the end, as mkisofs leaves: readers that look for other file systems first
        # (busybox) take a disk that ends before the last of those for a broken one.
        out.truncate(1 << 20)
    iso.close()
