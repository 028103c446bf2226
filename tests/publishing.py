"""Whoever publishes boxes, on paper: a registry, small boxes, the toolkit in this process."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import json
import os
import tarfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from cloud import wait
from packer.shelf import ARCHIVE, STORY, Shelf
from tasks import ns
from tasks.__main__ import Toolkit as Program
from tests.fakes.registry_wire import Registry
from tests.toolkit import Ran, Toolkit
from tests.world import Hasty

OS = "ubuntu-22.04"
TAG = "kontain/ubuntu2204-kkm-beta3"
VERSION = "1.2.3"
PROVIDERS = ("libvirt", "virtualbox")


def archive(path: Path, members: Mapping[str, bytes | tarfile.TarInfo], mode: str = "w:gz") -> Path:
    """A .box with these members, in this order; a TarInfo is a member of another kind."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as made:  # type: ignore[call-overload]  # the mode is told
        for name, content in members.items():
            if isinstance(content, tarfile.TarInfo):
                made.addfile(content)
                continue
            member = tarfile.TarInfo(name)
            member.size = len(content)
            made.addfile(member, io.BytesIO(content))
    return path


def a_box(
    path: Path, provider: str = "libvirt", architecture: str = "amd64", disk: bytes = b"", name: str = TAG
) -> Path:
    """A box of a few bytes, as `boxes.build` makes them."""
    metadata: dict[str, object] = {"provider": provider, "architecture": architecture}
    disks = {"box.img": disk or os.urandom(20_000)}
    if provider == "libvirt":
        metadata |= {"format": "qcow2", "virtual_size": 1}
    if provider == "virtualbox":
        disks = {"box.ovf": b"<Envelope/>", "box-disk001.vmdk": disks["box.img"]}
    members = {
        "metadata.json": json.dumps(metadata).encode(),
        "info.json": json.dumps({"name": name}).encode(),
        "Vagrantfile": b"",
    }
    return archive(path, members | disks)


def built(store: Path, provider: str, disk: bytes = b"", os_name: str = OS, name: str = TAG) -> Path:
    """A box where `boxes.build` leaves it, with its record."""
    shelf = Shelf(store)
    home = shelf.root / f"{provider}-{os.urandom(4).hex()}"
    whole = a_box(home / ARCHIVE, provider, disk=disk, name=name).read_bytes()
    record = {
        "name": name,
        "os": os_name,
        "provider": provider,
        "architecture": "amd64",
        "fingerprint": "f" * 64,
        "sha256": hashlib.sha256(whole).hexdigest(),
        "size": len(whole),
        "built": "2026-11-26T10:00:00Z",
    }
    (home / STORY).write_text(json.dumps(record))
    return shelf.put(os_name, provider, home).archive


def sha256(path: Path) -> str:
    """A file's checksum."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


@dataclass
class Desk:
    """One who publishes: a home with a store, and a place to publish to."""

    home: Path
    settings: dict[str, str] = field(default_factory=dict)

    @property
    def store(self) -> Path:
        """Where built boxes are."""
        return self.home / "store"

    @property
    def toolkit(self) -> Toolkit:
        """The same, with a process for each command."""
        return Toolkit(self.home, self.settings)

    def run(self, *words: str, **variables: str) -> Ran:
        """Run a command in this process, to its end."""
        said, told = io.StringIO(), io.StringIO()
        with pytest.MonkeyPatch.context() as patched:
            for key, text in {"HOME": str(self.home), **_folders(self.home), **self.settings, **variables}.items():
                patched.setenv(key, text)
            patched.setenv("KM_LOCAL__STORE", str(self.store))
            with contextlib.redirect_stdout(said), contextlib.redirect_stderr(told):
                code = _ran(["inv", *words])
        return Ran(code, said.getvalue(), told.getvalue())

    def upload(self, *words: str, version: str = VERSION, **variables: str) -> Ran:
        """Publish what was built."""
        return self.run("boxes.upload", "--version", version, *words, **variables)

    def logs(self) -> str:
        """All that was logged."""
        return "".join(path.read_text() for path in sorted((self.home / ".local/state/kontain/log").glob("*.log")))


def _folders(home: Path) -> dict[str, str]:
    return {
        "XDG_DATA_HOME": str(home / ".local/share"),
        "XDG_STATE_HOME": str(home / ".local/state"),
        "XDG_CACHE_HOME": str(home / ".cache"),
    }


def _ran(argv: Sequence[str]) -> int:
    try:
        Program(namespace=ns, binary="inv", binary_names=["inv"]).run(list(argv))
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def at(registry: Registry) -> dict[str, str]:
    """The settings of one who publishes at the registry, and does not wait for long."""
    return {
        "CI": "true",
        "KM_PUBLISH__TO": "vagrant-cloud",
        "KM_PUBLISH__TIMEOUT": "5",
        "KM_PUBLISH__STALL": "5",
        "KM_PUBLISH__LAG": "20",
        **registry.variables,
    }


@contextlib.contextmanager
def hasty() -> Iterator[None]:
    """A clock for which pauses take no time."""
    with pytest.MonkeyPatch.context() as patched:
        clock = Hasty()
        clock.sleep = lambda seconds: setattr(clock, "ahead", clock.ahead + seconds)  # type: ignore[method-assign]
        patched.setattr(wait, "clock", clock)
        yield


def gzipped(content: bytes) -> bytes:
    """That, in gzip."""
    return gzip.compress(content, mtime=int(time.time()))
