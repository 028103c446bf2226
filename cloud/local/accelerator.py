"""KVM or emulation: chosen by booting a kernel, never by looking at /dev/kvm.

Software KVM (`kvm_pvm`, in some containers) opens, makes VMs and runs small programs, and yet
no Linux guest comes up. So a kernel is started under KVM; it says who it is within a second or
two, or KVM is no good here. The answer holds until the machine boots again.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

from cloud import process
from cloud.errors import CommandFailed, TimedOut
from cloud.files import write_json
from cloud.local import qemu
from cloud.local.store import Store

DEADLINE = 20.0
"""Seconds for the kernel's first words. Under KVM proper they come within two."""


HOST_KERNELS = Path("/boot")


def choose(setting: str, store: Store) -> str:
    """`kvm` or `tcg`: what the setting says or, for `auto`, what the probe found.

    Without a kernel to try it is `tcg`, and the next one who asks looks again.
    """
    if setting != "auto":
        return setting
    kernel = a_kernel(store)
    if kernel is None:
        return "tcg"
    return known(store) or _remember(store, "kvm" if boots_under_kvm(kernel) else "tcg")


def known(store: Store) -> str:
    """What was found since this machine booted; empty when nobody has looked."""
    try:
        found = json.loads((store.root / "accelerator.json").read_text())
    except (OSError, ValueError):
        return ""
    return str(found["accelerator"]) if found.get("boot") == _boot() else ""


def a_kernel(store: Store) -> Path | None:
    """A kernel to try: a base's, or this machine's own."""
    kernels = [*store.bases.glob("*/vmlinuz"), *HOST_KERNELS.glob("vmlinuz-*")]
    return next((path for path in kernels if os.access(path, os.R_OK)), None)


def boots_under_kvm(kernel: Path) -> bool:
    """Whether the kernel comes up under KVM."""
    return os.access("/dev/kvm", os.R_OK | os.W_OK) and boots(kernel, "kvm")


def boots(kernel: Path, accelerator: str, deadline: float = DEADLINE) -> bool:
    """Whether the kernel says who it is and comes to its end: without a disk that is a panic."""
    with tempfile.TemporaryDirectory() as folder:
        console = Path(folder, "console.log")
        try:
            process.run(
                [
                    qemu.BINARY,
                    *qemu.accelerator_options(accelerator),
                    *("-m", "256", "-display", "none", "-nodefaults", "-no-reboot"),
                    *("-serial", f"file:{console}"),
                    *("-kernel", kernel, "-append", "console=ttyS0 panic=-1"),
                ],
                timeout=deadline,
            )
        except (CommandFailed, TimedOut):
            return False
        return "Linux version" in console.read_text(errors="replace")


def _remember(store: Store, accelerator: str) -> str:
    write_json(store.root / "accelerator.json", {"accelerator": accelerator, "boot": _boot()})
    return accelerator


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
