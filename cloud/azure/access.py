"""How one gets into a runner: the host key that it is created with, the keys that we have, what ssh knows of it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import platformdirs

from cloud import ssh, userdata
from cloud.files import replaced


@dataclass(frozen=True)
class Born:
    """What a VM is created with. Nobody keeps it: a tag tells of its host key, and no one has the other key."""

    data: str = field(repr=False)
    host: str
    """Its public host key, without its kind."""
    public: str
    """The key of the user whom Azure wants."""


def born(name: str, user_data: Mapping[str, Any]) -> Born:
    """New keys, and the user data with the host key in it."""
    with TemporaryDirectory() as folder:
        public = ssh.make_key(Path(folder) / "key", name)
        host = ssh.make_key(Path(folder) / "host_key", name)
        data = {**user_data, **userdata.host_key((Path(folder) / "host_key").read_text(), host)}
    return Born(userdata.write(data), host.split()[1], public)


def keys(home: Path) -> tuple[Path, ...]:
    """The caller's private keys: those whose public half lies beside them."""
    return tuple(
        sorted(each.with_suffix("") for each in (home / ".ssh").glob("*.pub") if each.with_suffix("").exists())
    )


def pinned(vm: str, address: str, port: int, host: str) -> Path:
    """The file by which ssh knows that VM, and no other."""
    file = platformdirs.user_cache_path("kontain") / "known_hosts" / f"azure-{vm}"
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with replaced(file) as fresh:
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(descriptor, "w", encoding="ascii") as out:
            out.write(f"{address if port == 22 else f'[{address}]:{port}'} ssh-ed25519 {host}\n")
    return file
