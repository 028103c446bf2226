"""An ordinary user of a Debian, with the PATH that such a one has, makes a base: without root, in a namespace."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.tasks.conftest import CALLER

pytestmark = pytest.mark.matrix

FETCH = """
import sys
from pathlib import Path
from cloud.base import Build
from cloud.local import bases
from cloud.local.store import Store
from cloud.progress import Silent
from cloud.work import Work

class Ear(Silent):
    def line(self, text):
        print(text, flush=True)

spec = {
    "packages": ["cloud-init", "sudo", "systemd-sysv", "udev", "zstd"],
    "kernel": {"debian": ["linux-image-cloud-amd64"], "ubuntu": ["linux-image-virtual"]},
}
store = Store.at(sys.argv[1])
build = Build("build", Work(store.builds).begin("build"))
print(bases.fetch(bases.resolve(spec, "", ""), store, build, Ear()))
"""


@dataclass(frozen=True)
class Person:
    """A user without root, and how one acts as that one."""

    home: Path
    prefix: tuple[str, ...]


@pytest.fixture
def person() -> Iterator[Person]:
    """One that is made for this test, with ids of its own to give to files; without root it is ourselves."""
    if os.geteuid() != 0:
        home = Path(tempfile.mkdtemp())
        yield Person(home, ())
        shutil.rmtree(home)
        return
    name = f"kontain-{os.getpid()}"
    subprocess.run(["useradd", "--create-home", name], check=True)
    try:
        yield Person(Path("/home", name), ("setpriv", f"--reuid={name}", f"--regid={name}", "--init-groups"))
    finally:
        subprocess.run(["userdel", "--remove", name], check=True, capture_output=True)


def owner_and_mode(disk: Path, path: str) -> tuple[str, str]:
    """Whose a file in the disk's file system is, and what may be done with it."""
    told = subprocess.run(
        ["debugfs", "-R", f"stat {path}", f"{disk}?offset=1048576"], capture_output=True, text=True, check=True
    )
    words = told.stdout.split()
    return words[words.index("User:") + 1], words[words.index("Mode:") + 1]


def test_makes_a_base_whose_files_are_its_roots(person: Person, shipped: Path, tmp_path: Path) -> None:
    wanted = ("SSL_", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
    network = {key: text for key, text in CALLER.items() if key.upper().startswith(wanted)}
    ran = subprocess.run(
        [*person.prefix, shipped / ".venv/bin/python", "-c", FETCH, person.home / "a store"],
        env={**network, "PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(person.home), "PYTHONPATH": str(shipped)},
        cwd=shipped,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=500,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout[-2000:]
    folder = Path(ran.stdout.splitlines()[-1])
    assert {"disk.qcow2", "packages.txt", "source.json", "vmlinuz"} == {path.name for path in folder.iterdir()}
    disk = tmp_path / "raw"
    subprocess.run(["qemu-img", "convert", "-O", "raw", folder / "disk.qcow2", disk], check=True)
    assert owner_and_mode(disk, "/usr/bin/sudo") == ("0", "04755")
    assert owner_and_mode(disk, "/etc/shadow") == ("0", "0640")
    assert not list((person.home / "a store/bases").glob(".*"))
