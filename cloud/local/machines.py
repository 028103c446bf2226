"""VMs as QEMU processes of this machine, each with a folder of its own."""

from __future__ import annotations

import io
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pycdlib
from filelock import FileLock

from cloud import names, process, ssh, userdata, wait
from cloud.base import Image, Leftover, Machine, Order, Vm
from cloud.errors import InputError, KitError, NotFound, TemporaryError, TimedOut
from cloud.files import discard, erase, held, is_half, lock, replaced, turn_in, write_json
from cloud.local import accelerator, qemu
from cloud.local.settings import LocalSettings
from cloud.local.store import Store

POWER_OFF = 90.0
"""Seconds that a guest has for its end after the power button: Debian takes 7 without KVM, more with containers."""

_SIZE = re.compile(r"(?P<cpus>[0-9]{1,3})x(?P<memory>[0-9]{3,7})")


class LocalMachines:
    """The machines in a store."""

    pause = 0.0

    def __init__(self, store: Store, settings: LocalSettings) -> None:
        self._store = store
        self._settings = settings
        self._locks: dict[str, FileLock] = {}

    def start(self, image: Image, *, name: str, user: str, tags: Mapping[str, str]) -> Machine:
        """A VM on an overlay of the image, for us alone.

        As long as we live its lock is held: a machine that serves us and not a person ends with us.
        """
        folder = self._store.machines / name
        with replaced(folder) as fresh:
            fresh.mkdir(mode=0o700)
            self._locks[name] = lock(fresh / "lock")
            self._locks[name].acquire()
            self._furnish(fresh, Order(name, image, "", user, {}, tags), name)
        try:
            return self._boot(folder)
        except BaseException:
            remove(folder)
            self._locks.pop(name).release()
            raise

    def console(self, machine: Machine) -> str:
        """The last lines of its serial console."""
        return "\n".join(_console(self._store.machines / machine.id).splitlines()[-20:])

    def destroy(self, machine: Machine) -> None:
        """End it and remove its folder."""
        remove(self._store.machines / machine.id)
        if machine.id in self._locks:
            self._locks.pop(machine.id).release()

    def create(self, order: Order) -> Vm:
        """A VM on an overlay of the image. It is whole, with its tags, before its process begins."""
        self._size(order.size)
        if runner := order.tags.get(names.RUNNER):
            self._store.remember(runner)
        folder = self._store.machines / f"{order.name}-{wait.clock.token()}"
        with replaced(folder) as fresh:
            fresh.mkdir(mode=0o700)
            self._furnish(fresh, order, folder.name)
        try:
            with _held(folder):
                self._boot(folder)
                return self._read(folder)
        except BaseException:
            remove(folder)
            raise

    def list(self) -> Sequence[Vm]:
        """All machines that are no proofs, the newest first."""
        found = []
        for folder in folders(self._store):
            try:
                vm = self._read(folder)
            except NotFound:
                continue  # it went while we looked
            if vm.tags.get(names.KIND) != "proof":
                found.append(vm)
        return sorted(found, key=lambda vm: (vm.created, vm.id), reverse=True)

    def read(self, vm: Vm) -> Vm:
        """The machine as it is now. One that is gone is forgotten."""
        return self._read(self._store.machines / vm.id)

    def strangers(self) -> Sequence[Vm]:
        """None: the system before had no VMs on anybody's own machine."""
        return ()

    def tag(self, vm: Vm, tags: Mapping[str, str | None]) -> Vm:
        """Set tags, remove those that are None."""
        folder = self._store.machines / vm.id
        with lock(self._store.machines / ".tags"):
            told = _told(folder)
            kept = {key: text for key, text in {**told["tags"], **tags}.items() if text is not None}
            write_json(folder / "machine.json", {**told, "tags": kept})
        return self._read(folder)

    def forget(self, vm: Vm, user_data: Mapping[str, Any]) -> None:
        """Write another seed into the file that the VM has as a disk."""
        folder = self._store.machines / vm.id
        data = {**user_data, **self._login(folder, str(_told(folder)["user"]), user_data)}
        seed = _seed(userdata.write(data), userdata.metadata(vm.id, vm.id))
        with open(folder / "seed.iso", "r+b") as disk:
            disk.write(seed)

    def stop(self, vm: Vm, *, force: bool = False) -> bool:
        """Press its power button; one that does not listen is switched off."""
        folder = self._store.machines / vm.id
        with _held(folder):
            if not qemu.alive(folder):
                return True
            if force:
                qemu.unplug(folder)
                return False
            try:
                qemu.command(folder, "system_powerdown")
                wait.until(
                    lambda: None if qemu.alive(folder) else True, what=f"end of {vm.id}", timeout=POWER_OFF, every=0.2
                )
            except (KitError, TimedOut):
                if wait.interrupted():
                    raise
                qemu.unplug(folder)
                return False
            return True

    def resume(self, vm: Vm) -> Vm:
        """Start its process again, on the same disk."""
        folder = self._store.machines / vm.id
        with _held(folder):
            if not qemu.alive(folder):
                self._boot(folder)
            return self._read(folder)

    def reach(self, vm: Vm) -> Machine:
        """Its host key is the one that we made, pinned to the port that it got."""
        now = self.read(vm)
        if now.state != "running":
            raise NotFound(f"{vm.id} has no address: it is {now.state}", hint="./inv runners.resume starts it")
        return self._reached(self._store.machines / vm.id)

    def boot_log(self, vm: Vm) -> str:
        """All that it printed on its serial console since it was started."""
        return _console(self._store.machines / vm.id)

    def erase(self, vm: Vm) -> None:
        """End its process and remove its folder."""
        folder = self._store.machines / vm.id
        with _held(folder):
            remove(folder)

    def had(self, runner: str) -> bool:
        """Whether it was made here: other machines have runners of their own, and we do not see their VMs."""
        return self._store.remembers(runner)

    def halves(self) -> Sequence[Leftover]:
        """Folders of machines that were never finished, or whose removal was not."""
        halves = (path for path in self._store.machines.iterdir() if is_half(path))
        return [Leftover("local", "half-made machine", str(path)) for path in halves]

    def remove(self, leftover: Leftover) -> None:
        """Remove one of them."""
        erase(Path(leftover.id))

    def _furnish(self, folder: Path, order: Order, instance: str) -> None:
        """Put all into the folder that a machine consists of."""
        cpus, memory = self._size(order.size)
        told = {
            "image": order.image.id,
            "name": order.name,
            "user": order.user,
            "cpus": cpus,
            "memory": memory,
            "created": names.moment(wait.clock.now()),
            "tags": dict(order.tags),
        }
        write_json(folder / "machine.json", told)
        ssh.make_key(folder / "key", instance)
        ssh.make_key(folder / "host_key", instance)
        data = {**order.user_data, **self._login(folder, order.user, order.user_data)}
        write_seed(folder / "seed.iso", userdata.write(data), userdata.metadata(instance, instance))
        base = Path(order.image.id) / "disk.qcow2"
        size = self._disk(base)
        process.run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", base, "-F", "qcow2", folder / "disk.qcow2", size])
        for path in folder.iterdir():
            path.chmod(0o600)

    def _disk(self, base: Path) -> str:
        """Bytes of a disk that is as large as is set, and never smaller than its image: that would be cut off."""
        told = json.loads(process.run(["qemu-img", "info", "--output=json", base]).text)
        return str(max(self._settings.disk << 30, int(told["virtual-size"])))

    def _login(self, folder: Path, user: str, user_data: Mapping[str, Any]) -> Mapping[str, Any]:
        """Who may log in, people's keys and our own, and the host key by which we know it."""
        keys = [key for entry in user_data.get("users", ()) for key in entry["ssh_authorized_keys"]]
        ours, host = (_public(folder / name) for name in ("key", "host_key"))
        return userdata.login(user, [ours, *keys]) | userdata.host_key((folder / "host_key").read_text(), host)

    def _size(self, text: str) -> tuple[int, int]:
        if not text:
            return self._settings.cpus, self._settings.memory
        if found := _SIZE.fullmatch(text):
            return int(found["cpus"]), int(found["memory"])
        raise InputError(f"{text!r} is no size of a local VM", hint="processors and MiB of memory, as 2x4096")

    def _boot(self, folder: Path) -> Machine:
        told = _told(folder)
        erase(folder / "known_hosts")
        qemu.start(
            folder,
            accelerator=accelerator.choose(self._settings.accelerator, self._store),
            cpus=told["cpus"],
            memory=told["memory"],
        )
        return self._reached(folder)

    def _reached(self, folder: Path) -> Machine:
        """How to get into the machine. Its process tells the port once; then it stands in `known_hosts`."""
        known_hosts = folder / "known_hosts"
        port = _port(folder)
        if not port:
            port = qemu.ssh_port(folder)
            with replaced(known_hosts) as fresh:
                fresh.write_text(f"[127.0.0.1]:{port} {_public(folder / 'host_key')}\n")
        return Machine(
            cloud="local",
            id=folder.name,
            user=str(_told(folder)["user"]),
            address="127.0.0.1",
            port=port,
            keys=(folder / "key",),
            known_hosts=known_hosts,
            patience=self._settings.boot_timeout,
        )

    def _read(self, folder: Path) -> Vm:
        told = _told(folder)
        running, port = qemu.alive(folder), _port(folder)
        return Vm(
            cloud="local",
            id=folder.name,
            name=told["name"],
            state="running" if running else "stopped",
            address=f"127.0.0.1:{port}" if running and port else "",
            size=f"{told['cpus']}x{told['memory']}",
            created=names.parse_moment(told["created"]),
            tags=told["tags"],
        )


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """The machine's lock: who stops it and who ends it take turns. A machine that is gone has none.

    Raises:
        TemporaryError: another command works on it all the time.
    """
    try:
        with turn_in(folder, what=f"lock of {folder.name}", timeout=POWER_OFF * 2):
            yield
    except TimedOut as problem:
        raise TemporaryError(f"another command works on {folder.name}", hint="wait for it, then again") from problem


def folders(store: Store) -> Iterator[Path]:
    """The folders of all machines."""
    return (path for path in store.machines.iterdir() if path.name[0] != "." and (path / "machine.json").exists())


def image_of(folder: Path) -> str:
    """The id of the image that a machine's disk is an overlay of."""
    return str(_told(folder)["image"])


def orphans(store: Store) -> list[Path]:
    """Machines that were made to prove a build, and whose maker is gone."""
    found = []
    for folder in folders(store):
        try:
            if _told(folder)["tags"][names.KIND] == "proof" and not held(folder / "lock"):
                found.append(folder)
        except NotFound:
            pass  # it went while we looked
    return found


def remove(folder: Path) -> None:
    """End the machine's process and remove its folder. Both may be gone."""
    if folder.exists():
        qemu.unplug(folder)
        discard(folder)


def _told(folder: Path) -> dict[str, Any]:
    try:
        return dict(json.loads((folder / "machine.json").read_text()))
    except FileNotFoundError as problem:
        raise NotFound(f"{folder.name} is not there any more", hint="./inv runners.list") from problem


def _port(folder: Path) -> int:
    """The port that stands in `known_hosts`; 0 where none does."""
    try:
        return int((folder / "known_hosts").read_text().split("]:")[1].split()[0])
    except (OSError, IndexError, ValueError):
        return 0


def _public(key: Path) -> str:
    return key.with_name(key.name + ".pub").read_text().strip()


def _console(folder: Path) -> str:
    try:
        return (folder / "console.log").read_text(errors="replace")
    except OSError:
        return ""


def write_seed(path: Path, user_data: str, meta_data: str) -> None:
    """A disk that cloud-init's NoCloud reads, 0600."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "wb") as out:
        out.write(_seed(user_data, meta_data))


def _seed(user_data: str, meta_data: str) -> bytes:
    """Such a disk: its label is `cidata`."""
    iso = pycdlib.PyCdlib()
    iso.new(interchange_level=3, rock_ridge="1.09", vol_ident="cidata")
    for name, text in (("user-data", user_data), ("meta-data", meta_data)):
        content = text.encode()
        short = f"/{name.replace('-', '').upper()}.;1"
        iso.add_fp(io.BytesIO(content), len(content), short, rr_name=name)
    out = io.BytesIO()
    iso.write_fp(out)
    iso.close()
    # Room after the end, as mkisofs leaves: readers that look for other file systems first
    # (busybox) take a disk that ends before the last of those for a broken one.
    return out.getvalue().ljust(1 << 20, b"\0")
