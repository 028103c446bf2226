"""QEMU's command line, and its monitor (QMP). No disk or key is made here.

A VM listens on 127.0.0.1 only, on ports that the kernel chooses when it starts: there is no
moment in which another process could take one that we have just found to be free.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from qemu.qmp import QMPError
from qemu.qmp.legacy import QEMUMonitorProtocol

from cloud import process, wait
from cloud.errors import KitError

BINARY = "qemu-system-x86_64"

_FORWARD = re.compile(r"TCP\[HOST_FORWARD\]\s+\d+\s+127\.0\.0\.1\s+(\d+)\s+\S+\s+22\b")


ACCELERATORS = {"kvm": ("kvm", "host"), "tcg": ("tcg,thread=multi,tb-size=512", "qemu64")}
"""QEMU's `-accel` and `-cpu` for each: emulated threads side by side, with room for their code."""


def accelerator_options(accelerator: str) -> list[str]:
    """QEMU's options for `kvm` or `tcg`."""
    accel, cpu = ACCELERATORS[accelerator]
    return ["-accel", accel, "-cpu", cpu]


def start(folder: Path, *, accelerator: str, cpus: int, memory: int) -> None:
    """Start a VM on `disk.qcow2` and `seed.iso` of the folder; it outlives us.

    Its console goes to `console.log`, its monitor is `qmp.sock`, its process id in `pid`. The
    monitor's path is given relative to the folder: a Unix socket's is 107 bytes at most.
    """
    process.run(
        [
            BINARY,
            *("-name", f"kontain-{folder.name}"),
            *("-machine", "pc"),
            *accelerator_options(accelerator),
            *("-smp", str(cpus), "-m", str(memory)),
            *("-display", "none", "-serial", "file:console.log"),
            *("-pidfile", "pid", "-qmp", "unix:qmp.sock,server=on,wait=off"),
            *("-drive", "file=disk.qcow2,if=virtio,format=qcow2,discard=unmap"),
            *("-drive", "file=seed.iso,if=virtio,format=raw,readonly=on"),
            *("-netdev", "user,id=net,hostfwd=tcp:127.0.0.1:0-:22"),
            *("-device", "virtio-net-pci,netdev=net,romfile="),
            *("-device", "virtio-rng-pci"),
            "-daemonize",
        ],
        cwd=folder,
    )


@contextmanager
def monitor(folder: Path) -> Iterator[QEMUMonitorProtocol]:
    """The VM's monitor.

    Raises:
        KitError: nothing answers there.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    # The library takes the thread's event loop, or leaves one behind in each thread that has none.
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    connection = QEMUMonitorProtocol(f"/proc/self/fd/{descriptor}/qmp.sock")
    try:
        connection.settimeout(10)
        connection.connect()
        yield connection
    except (QMPError, OSError, TimeoutError) as problem:
        raise KitError(f"no monitor answers for the VM in {folder}: {problem}") from problem
    finally:
        try:
            connection.close()
        except (QMPError, EOFError, OSError):
            pass  # a VM that has just quit takes the connection with it
        asyncio.set_event_loop(None)
        loop.close()
        os.close(descriptor)


def ssh_port(folder: Path) -> int:
    """The port of 127.0.0.1 behind which the VM's port 22 is."""
    with monitor(folder) as qmp:
        text = str(qmp.cmd("human-monitor-command", **{"command-line": "info usernet"}))
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
            with monitor(folder) as qmp:
                qmp.cmd("quit")
        except KitError:
            pass  # it went while we spoke to it, or does not listen: looked at next
    try:
        wait.until(lambda: None if alive(folder) else True, what="end of the VM", timeout=5, every=0.05, finish=True)
    except KitError:
        os.kill(int((folder / "pid").read_text()), 9)
