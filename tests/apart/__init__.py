"""Programs that this machine is not to get: out of the distribution, in a root of their own that goes again.

VirtualBox without its kernel module, which imports a VM and starts none. Vagrant with its libvirt, in a network of its
own, which starts one.
"""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from cloud.local import bootstrap
from tasks._tools import ADMINISTRATION
from tests.toolkit import ROOT, Ran, Toolkit

HERE = Path(__file__).parent

# Debian 12 has no VirtualBox, and sid has it. Of Ubuntu nobody has looked here.
_VIRTUALBOX = {"debian": "sid main contrib", "ubuntu": "{release} main universe multiverse"}
_VAGRANT = {"debian": "{release} main", "ubuntu": "{release} main universe"}

_LIBVIRT = (
    *("vagrant", "vagrant-libvirt", "libvirt-daemon-system", "libvirt-clients", "dnsmasq-base", "iptables"),
    *("qemu-system-x86", "qemu-utils", "openssh-client", "iproute2", "libarchive-tools", "procps", "python3"),
)


@dataclass(frozen=True)
class Imported:
    """What VirtualBox made of a box."""

    told: dict[str, str]
    """Of its VM, by the names of `VBoxManage showvminfo --machinereadable`."""
    disk: Path
    """What is on the VM's disk, raw."""


def virtualbox(box: Path, out: Path) -> Imported:
    """Have VirtualBox import box.ovf and the disk beside it."""
    _in_a_root(_VIRTUALBOX, ("virtualbox",), "virtualbox.sh", {"BOX": str(box), "OUT": str(out)})
    lines = (line.split("=", 1) for line in (out / "told").read_text().splitlines() if "=" in line)
    return Imported({name.strip('"'): value.strip('"') for name, value in lines}, out / "disk.raw")


def libvirt(toolkit: Toolkit, out: Path, *words: str) -> Ran:
    """Run a command of the toolkit where vagrant has libvirt; what that has then is in `domains` and `volumes`."""
    run = ["env", "-i", *(f"{key}={value}" for key, value in toolkit.environment.items())]
    (out / "run").write_text(shlex.join([*run, sys.executable, "-m", "tasks", *words]))
    shared = {str(ROOT), sys.prefix, sys.base_prefix, str(toolkit.home)} - {"/usr"}
    _in_a_root(_VAGRANT, _LIBVIRT, "libvirt.sh", {"OUT": str(out), "SHARED": " ".join(sorted(shared))})
    return Ran(int((out / "code").read_text()), (out / "stdout").read_text(), (out / "stderr").read_text())


def _in_a_root(where: dict[str, str], packages: tuple[str, ...], script: str, environment: dict[str, str]) -> None:
    system = platform.freedesktop_os_release()
    release = system["VERSION_CODENAME"]
    uri = bootstrap._sources(release)[0].split()[1]
    source = where[system["ID"]].format(release=release)
    command = [
        *("mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", "--format=null"),
        f"--include={','.join(packages)}",
        "--keyring=/usr/share/keyrings",
        '--aptopt=APT::Install-Recommends "false"',
        # A mirror that stands still is as good.
        '--aptopt=Acquire::Check-Valid-Until "false"',
        *(f"--aptopt={line}" for line in bootstrap._settings()),
        f"--customize-hook={HERE / script}",
        *(source.split()[0], "/dev/null", f"deb {uri} {source}"),
    ]
    path = os.pathsep.join((os.environ["PATH"], *ADMINISTRATION))
    given = [f"{key}={value}" for key, value in {**environment, "PATH": path}.items()]
    become = [] if os.geteuid() == 0 else ["sudo", "-n"]
    ran = subprocess.run([*become, "env", *given, *command], capture_output=True, text=True, timeout=900, check=False)
    assert ran.returncode == 0, (ran.stdout + ran.stderr)[-6000:]
