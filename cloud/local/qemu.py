"""QEMU's command line, and its monitor (QMP). No disk or key is made here.

A VM listens on 127.0.0.1 only, on ports that the kernel chooses when it starts: there is no
moment in which another process could take one that we have just found to be free.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections.abc import Mapping
from pathlib import Path

from qemu.qmp import QMPClient, QMPError

from cloud import process, wait
from cloud.errors import KitError, TimedOut

BINARY = "qemu-system-x86_64"

PATIENCE = 10.0
"""Seconds in which a monitor answers. It takes its callers one at a time."""

_FORWARD = re.compile(r"TCP\[HOST_FORWARD\]\s+\d+\s+127\.0\.0\.1\s+(\d+)\s+\S+\s+22\b")


ACCELERATORS = {"kvm": ("kvm", "host"), "tcg": ("tcg,thread=multi,tb-size=512", "qemu64")}
"""QEMU's `-accel` and `-cpu` for each: emulated threads side by side, with room for their code."""


def accelerator_options(accelerator: str) -> list[str]:
    """QEMU's options for `kvm` or `tcg`."""
    accel, cpu = ACCELERATORS[accelerator]
    return ["-accel", accel, "-cpu", cpu]


HARDWARE = {
    "virtio": (
        *("-drive", "file=disk.qcow2,if=virtio,format=qcow2,discard=unmap"),
        *("-device", "virtio-net-pci,netdev=net,romfile="),
    ),
    "ahci": (
        *("-device", "ich9-ahci,id=ahci"),
        *("-drive", "file=disk.qcow2,if=none,id=disk,format=qcow2,discard=unmap"),
        *("-device", "ide-hd,drive=disk,bus=ahci.0"),
        *("-device", "e1000,netdev=net,romfile="),
    ),
}
"""The disk's controller and the network's: those of KVM's own guests, and those that VirtualBox gives its guests."""


def start(folder: Path, *, accelerator: str, cpus: int, memory: int, hardware: str = "virtio") -> None:
    """Start a VM on `disk.qcow2` and, where there is one, `seed.iso` of the folder; it outlives us.

    Its console goes to `console.log`, its monitor is `qmp.sock`, its process id in `pid`. The
    monitor's path is given relative to the folder: a Unix socket's is 107 bytes at most.
    """
    seeded = (folder / "seed.iso").exists()
    seed = ("-drive", "file=seed.iso,if=virtio,format=raw,readonly=on") if seeded else ()
    process.run(
        [
            BINARY,
            *("-name", f"kontain-{folder.name}"),
            *("-machine", "pc"),
            *accelerator_options(accelerator),
            *("-smp", str(cpus), "-m", str(memory)),
            *("-display", "none", "-serial", "file:console.log"),
            *("-pidfile", "pid", "-qmp", "unix:qmp.sock,server=on,wait=off"),
            *("-netdev", "user,id=net,hostfwd=tcp:127.0.0.1:0-:22"),
            *HARDWARE[hardware],
            *seed,
            *("-device", "virtio-rng-pci"),
            "-daemonize",
        ],
        cwd=folder,
    )


def command(folder: Path, name: str, **arguments: object) -> object:
    """Give the VM's monitor a command; its answer.

    Raises:
        KitError: nothing answers there within PATIENCE, or the command is refused.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return asyncio.run(_command(f"/proc/self/fd/{descriptor}/qmp.sock", name, arguments))
    except (QMPError, OSError, TimeoutError) as problem:
        told = str(problem) or type(problem).__name__
        raise KitError(f"the monitor of the VM in {folder} does not do {name}: {told}") from problem
    finally:
        os.close(descriptor)


async def _command(address: str, name: str, arguments: Mapping[str, object]) -> object:
    client = QMPClient()
    try:
        async with asyncio.timeout(PATIENCE):
            await client.connect(address)
            return await client.execute(name, dict(arguments))
    finally:
        try:
            async with asyncio.timeout(1):
                await client.disconnect()
        except (QMPError, EOFError, OSError, TimeoutError):
            pass  # a VM that has just quit takes the connection with it


def ssh_port(folder: Path) -> int:
    """The port of 127.0.0.1 behind which the VM's port 22 is."""
    text = str(command(folder, "human-monitor-command", **{"command-line": "info usernet"}))
    if found := _FORWARD.search(text):
        return int(found[1])
    raise KitError(f"the VM in {folder} forwards no ssh port")


def alive(folder: Path) -> bool:
    """Whether the VM's process runs. A number that another program got since is not it."""
    try:
        pid = int((folder / "pid").read_text())
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (OSError, ValueError):
        return False  # no file: it ended well; no such process, or a zombie without a command: as well
    return f"kontain-{folder.name}".encode() in command


def unplug(folder: Path) -> None:
    """End the VM's process at once, as pulling the plug does. It may be gone already."""
    if alive(folder):
        try:
            command(folder, "quit")
        except KitError:
            pass  # it went while we spoke to it, or does not listen: looked at next
    try:
        _gone(folder)
    except TimedOut:
        os.kill(int((folder / "pid").read_text()), signal.SIGKILL)
        _gone(folder)


def _gone(folder: Path) -> None:
    """Wait until the VM's process has ended, even after an interrupt.

    Raises:
        TimedOut: it has not.
    """
    wait.until(lambda: None if alive(folder) else True, what="end of the VM", timeout=5, every=0.05, finish=True)
