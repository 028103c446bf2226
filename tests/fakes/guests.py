"""The VMs behind a fake cloud: QEMU processes, each on an overlay of the disk that its image is.

What a fake calls a running machine is one that runs: packer provisions it over ssh, an image of it
is a copy of its disk, and what is booted from that image is what was provisioned.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

from cloud import userdata
from cloud.errors import KitError
from cloud.local import qemu
from cloud.local.machines import write_seed


class Guests:
    """Micro guests in a folder. The newest has the one address: 127.0.0.1, `port`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._newest: Path | None = None
        self._led: list[threading.Thread] = []
        self._door = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._door.getsockname()[1]
        threading.Thread(target=self._let_in, daemon=True).start()

    def close(self) -> None:
        """End all of them."""
        self._door.close()
        for folder in self._folder.iterdir():
            qemu.unplug(folder)
        for thread in self._led:
            thread.join(10)

    def boot(self, name: str, disk: Path, user_data: str) -> None:
        """Start a machine on an overlay of the disk, with that user data; again after `halt`."""
        folder = self._folder / name
        if not folder.exists():
            folder.mkdir(parents=True)
            write_seed(folder / "seed.iso", user_data, userdata.metadata(name, name))
            subprocess.run(
                ["qemu-img", "create", "-q", "-f", "qcow2", "-b", disk, "-F", "qcow2", folder / "disk.qcow2", "2G"],
                check=True,
            )
        qemu.start(folder, accelerator="tcg", cpus=1, memory=256)
        self._newest = folder

    def halt(self, name: str) -> None:
        """End the machine's process; its disk stays. It may have ended by itself."""
        qemu.unplug(self._folder / name)

    def runs(self, name: str) -> bool:
        """Whether the machine's process lives."""
        return qemu.alive(self._folder / name)

    def console(self, name: str) -> str:
        """What it printed on its console."""
        return (self._folder / name / "console.log").read_text(errors="replace")

    def capture(self, name: str, disk: Path) -> None:
        """Copy the disk of a machine that is halted, as one file."""
        subprocess.run(
            ["qemu-img", "convert", "-O", "qcow2", self._folder / name / "disk.qcow2", disk],
            check=True,
        )

    def erase(self, name: str) -> None:
        """End it, and remove its disk."""
        qemu.unplug(self._folder / name)
        shutil.rmtree(self._folder / name, ignore_errors=True)

    def _let_in(self) -> None:
        while True:
            try:
                caller, _ = self._door.accept()
            except OSError:
                return
            self._led = [thread for thread in self._led if thread.is_alive()]
            self._led.append(threading.Thread(target=self._lead, args=(caller,), daemon=True))
            self._led[-1].start()

    def _lead(self, caller: socket.socket) -> None:
        with caller:
            try:
                assert self._newest is not None
                guest = socket.create_connection(("127.0.0.1", qemu.ssh_port(self._newest)), timeout=5)
            except (KitError, OSError, AssertionError):
                return  # as a machine that is not up yet
            with guest:
                guest.settimeout(None)
                back = threading.Thread(target=pass_on, args=(caller, guest), daemon=True)
                back.start()
                pass_on(guest, caller)
                back.join()


class Paper:
    """Guests that are only written down: for what is about a cloud's books, and not about VMs.

    Who wants to play what a VM does is told when one starts, with its user data, and when it ends.
    """

    port = 9
    """Nobody listens there."""

    def __init__(self) -> None:
        self._running: dict[str, str] = {}
        self._told: dict[str, str] = {}
        self.boots: Callable[[str, str], None] = lambda name, user_data: None
        self.ends: Callable[[str], None] = lambda name: None

    def close(self) -> None:
        """End all of them."""
        for name in list(self._running):
            self.halt(name)

    def boot(self, name: str, disk: Path, user_data: str) -> None:
        """Start one; again after `halt`, with the user data of the first time."""
        told = self._told.setdefault(name, user_data)
        self._running[name] = told
        self.boots(name, told)

    def halt(self, name: str) -> None:
        """End it. It may have ended by itself."""
        if self._running.pop(name, None) is not None:
            self.ends(name)

    def runs(self, name: str) -> bool:
        """Whether it runs."""
        return name in self._running

    def console(self, name: str) -> str:
        """Nothing is printed."""
        return ""

    def capture(self, name: str, disk: Path) -> None:
        """An empty disk."""
        disk.touch()

    def erase(self, name: str) -> None:
        """End it, and forget it."""
        self.halt(name)
        self._told.pop(name, None)


def pass_on(here: socket.socket, there: socket.socket) -> None:
    try:
        while part := here.recv(1 << 16):
            there.sendall(part)
    except OSError:
        pass
    finally:
        for end in (here, there):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
