"""Does a box do what it is for? Asked of a VM that was made from the archive, as a user of Vagrant would get into it.

With the provider that it is for, where vagrant has that on this machine; else its disk is booted in QEMU, with the
controllers that the provider would give it.
"""

from __future__ import annotations

import json
import os
import re
import tarfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cloud import process, ssh, wait
from cloud.base import Machine
from cloud.errors import CommandFailed, InputError, KitError, TimedOut
from cloud.local import accelerator, qemu
from cloud.local.settings import LocalSettings
from cloud.local.store import Store
from cloud.progress import Progress
from packer import proof, registration
from packer.box import Box
from packer.boxes import DISK
from packer.definition import ROOT
from packer.errors import Stalled
from packer.pipeline import twice
from packer.render import ruby
from packer.shelf import Kept, Shelf

KEY = ROOT / "vagrant" / "insecure_private_key"
"""Vagrant's own, which everybody has: the key that a box lets in before Vagrant has replaced it."""

HARDWARE = {"libvirt": "virtio", "virtualbox": "ahci"}

_NOT_SHARED = "config.vm.synced_folder '.', '/vagrant', disabled: true"

_EMULATED = "config.vm.provider(:libvirt) { |machine| machine.driver = 'qemu' }"
"""Without it vagrant-libvirt takes KVM, whatever that is worth on this machine."""

_UP = 900.0
"""Seconds in which `vagrant up` has done its work."""

_UNDO = 60.0
"""Seconds for each step that takes it back."""


@dataclass(frozen=True)
class Trial:
    """What was found of a box."""

    kept: Kept
    how: str
    """By what it was booted."""
    checks: tuple[proof.Check, ...]
    seconds: float


def run(
    kept: Kept, box: Box, files: Mapping[str, bytes], settings: LocalSettings, shelf: Shelf, progress: Progress
) -> Trial:
    """Boot it, log in by Vagrant's key, and make every check of its definition, whose scripts are among `files`.

    Raises:
        InputError: the archive is no box for that provider.
        Stalled: its VM did not answer ssh.
        KitError: vagrant could not start it; its words are in the message.
        ProofFailed: a check failed; the message names it.
    """
    began = wait.clock.monotonic()
    provider = kept.told.provider
    if registration.runs(provider):
        how = f"vagrant up --provider {provider}"
        booted = _vagrant
    else:
        how = f"QEMU, with {HARDWARE[provider]} controllers: vagrant has no {provider} here"
        booted = _qemu
    progress.line(how)

    def attempt() -> list[proof.Check]:
        name = f"trial-{kept.told.os}-{provider}"
        folder = shelf.begin(name)
        try:
            info = _unpack(kept, folder)
            with booted(kept, box, folder, settings, progress) as machine:
                told = {"build": str(info["build"]), "fingerprint": str(info["fingerprint"])}
                return proof.check(machine, files, told, "boot", progress)
        finally:
            shelf.finish(name)

    checks = twice(attempt, progress)
    return Trial(kept, how, tuple(checks), wait.clock.monotonic() - began)


def _unpack(kept: Kept, folder: Path) -> Mapping[str, Any]:
    """Its disk, put into the folder; what info.json tells."""
    wanted = DISK[kept.told.provider]
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(kept.archive, "r:gz") as archive:
            for member in archive:
                source = archive.extractfile(member) if member.isfile() else None
                if source is None:
                    raise _bad(kept, f"has {member.name!r}, which is no file")
                if member.name == wanted:
                    with open(folder / wanted, "wb") as out:
                        while chunk := source.read(1 << 20):
                            wait.pause(0)  # an interrupt ends it
                            out.write(chunk)
                elif member.name in ("metadata.json", "info.json"):
                    found[member.name] = source.read(1 << 20)
        told, info = (json.loads(found[name]) for name in ("metadata.json", "info.json"))
        if told["provider"] != kept.told.provider:
            raise _bad(kept, f"is for {told['provider']}")
        return {"build": info["build"], "fingerprint": info["fingerprint"]}
    except (tarfile.TarError, EOFError, zlib.error, OSError, ValueError, KeyError, TypeError) as problem:
        raise _bad(kept, f"can't be read: {problem}") from problem


def _bad(kept: Kept, why: str) -> InputError:
    return InputError(f"the box of {kept.told.os} for {kept.told.provider} {why}", hint="./inv boxes.build --force")


@contextmanager
def _qemu(kept: Kept, box: Box, folder: Path, settings: LocalSettings, progress: Progress) -> Iterator[Machine]:
    """Its disk in QEMU. A network card has the address that is in the box, if that is said there."""
    packed = DISK[kept.told.provider]
    form = "qcow2" if kept.told.provider == "libvirt" else "vmdk"
    create = ("qemu-img", "create", "-q", "-f", "qcow2", "-b", folder / packed, "-F", form, folder / "disk.qcow2")
    process.run(create)
    try:
        qemu.start(
            folder,
            accelerator=_accelerator(settings),
            cpus=settings.cpus,
            memory=settings.memory,
            hardware=HARDWARE[kept.told.provider],
        )
        machine = _reached(folder, box.user, "127.0.0.1", qemu.ssh_port(folder), settings.boot_timeout)
        try:
            _known(machine)
            proof.up(machine, progress)
        except TimedOut as silent:
            console = (folder / "console.log").read_text(errors="replace")
            for line in console.splitlines()[-20:]:
                progress.line(f"console: {line}")
            raise Stalled(str(silent), hint="the end of its console is in the log") from silent
        yield machine
    finally:
        qemu.unplug(folder)


@contextmanager
def _vagrant(kept: Kept, box: Box, folder: Path, settings: LocalSettings, progress: Progress) -> Iterator[Machine]:
    """A VM by vagrant itself, under names that nothing else has. What there is of it then goes again."""
    name = f"kontain-trial/{folder.name}"
    patience = f"config.vm.boot_timeout = {settings.boot_timeout:.0f}"
    lines = [f"config.vm.box = {ruby(name)}", "config.ssh.insert_key = false", _NOT_SHARED, patience]
    if kept.told.provider == "libvirt" and _accelerator(settings) == "tcg":
        lines.append(_EMULATED)
    text = "\n".join(["Vagrant.configure('2') do |config|", *(f"  {line}" for line in lines), "end", ""])
    (folder / "Vagrantfile").write_text(text, encoding="utf-8")
    environment = {**os.environ, "VAGRANT_CHECKPOINT_DISABLE": "1"}

    def vagrant(*words: str | Path) -> process.Completed:
        argv = ["vagrant", *words, "--no-tty"]
        try:
            return process.run(argv, cwd=folder, env=environment, on_line=progress.line, timeout=_UP)
        except CommandFailed as failed:
            raise KitError(f"vagrant {words[0]}: {registration.reason(failed.output)}") from failed

    def undo(*words: str) -> tuple[str, ...]:
        # Also after an interrupt: nobody else would look for it.
        return process.run(
            words, cwd=folder, env=environment, on_line=progress.line, timeout=_UNDO, check=False, finish=True
        ).lines

    forget = {"libvirt": _forget_libvirt, "virtualbox": _forget_virtualbox}[kept.told.provider]
    forget(folder.name, undo)
    with ExitStack() as undone:
        # Each of them is done, whatever the others come to; the last one first.
        undone.callback(forget, folder.name, undo)
        undone.callback(undo, "vagrant", "box", "remove", "--force", "--all", name)
        undone.callback(undo, "vagrant", "destroy", "--force")
        vagrant("box", "add", "--force", "--name", name, kept.archive)
        vagrant("up", "--provider", kept.told.provider)
        told = dict(line.split(None, 1) for line in vagrant("ssh-config").lines if len(line.split(None, 1)) == 2)
        machine = _reached(folder, box.user, told["HostName"], int(told["Port"]), settings.boot_timeout)
        _known(machine)
        proof.up(machine, progress)
        yield machine


def _forget_libvirt(name: str, undo: Callable[..., tuple[str, ...]]) -> None:
    """What vagrant leaves in libvirt: the VM of a killed run, and always its copy of the box's disk.

    "From Libvirt storage pool you have to delete image manually", says vagrant-libvirt 0.11.2.
    """
    virsh = ("virsh", "--connect", "qemu:///system")
    if f"{name}_default" in undo(*virsh, "list", "--all", "--name"):
        undo(*virsh, "destroy", f"{name}_default")
        undo(*virsh, "undefine", f"{name}_default")
    for line in undo(*virsh, "vol-list", "default"):
        volume = line.split(None, 1)[0] if line.strip() else ""
        if volume.startswith((f"{name}_default", f"kontain-trial-VAGRANTSLASH-{name}_")):
            undo(*virsh, "vol-delete", "--pool", "default", volume)


def _forget_virtualbox(name: str, undo: Callable[..., tuple[str, ...]]) -> None:
    """The VM of a killed run. Vagrant calls it by its folder, and by numbers of its own."""
    for line in undo("VBoxManage", "list", "vms"):
        if found := re.match(rf'"{re.escape(name)}_default_\S+" {{(\S+)}}', line):
            undo("VBoxManage", "controlvm", found[1], "poweroff")
            undo("VBoxManage", "unregistervm", found[1], "--delete")


def _accelerator(settings: LocalSettings) -> str:
    return accelerator.choose(settings.accelerator, Store.at(settings.store))


def _reached(folder: Path, user: str, address: str, port: int, patience: float) -> Machine:
    key = folder / "key"
    key.write_bytes(KEY.read_bytes())
    key.chmod(0o600)  # ssh takes no key that others may read, not even this one
    return Machine("local", folder.name, user, address, port, (key,), folder / "known_hosts", patience)


def _known(machine: Machine) -> None:
    """Believe the host key that it has: it made one at its first boot, and nobody else listens on our port."""

    def look() -> str | None:
        if not ssh.speaks(machine):
            return None
        scan = ["ssh-keyscan", "-T", "20", "-p", str(machine.port), machine.address]
        told = process.run(scan, check=False, timeout=120)
        keys = [line for line in told.lines if line and line[0] != "#"]
        return "\n".join(keys) + "\n" if keys else None

    machine.known_hosts.write_text(wait.until(look, what=f"host key of {machine.id}", timeout=machine.patience))
