"""How one gets into a VM that a cloud runs: the host key that it is made with, our own keys, what ssh knows of it."""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path

import platformdirs

from cloud import ssh
from cloud.files import erase, replaced


def new_key(comment: str) -> tuple[str, str]:
    """A new key, private and public. On this machine it is a file for a moment, for its owner alone."""
    with tempfile.TemporaryDirectory(prefix="kontain-") as folder:
        path = Path(folder) / "key"
        public = ssh.make_key(path, comment)
        return path.read_text(), public


def word(public: str) -> str:
    """What of a public key stands in a tag: the key itself, without its kind and whose it is."""
    return public.split()[1]


def own_keys(home: Path) -> tuple[Path, ...]:
    """The caller's private keys: those whose public half lies beside them."""
    halves = ((path, path.with_name(path.name + ".pub")) for path in sorted((home / ".ssh").glob("*")))
    return tuple(path for path, public in halves if path.is_file() and public.is_file())


def pin(cloud: str, vm: str, address: str, port: int, key: str) -> Path:
    """The file by which ssh knows that VM: this key, at this address, and no other."""
    path = _file(cloud, vm)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with replaced(path) as fresh:
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "w", encoding="ascii") as file:
            file.write(f"{address if port == 22 else f'[{address}]:{port}'} ssh-ed25519 {key}\n")
    return path


def unpin(cloud: str, vm: str) -> None:
    """Forget its host key. Nobody may have known it."""
    erase(_file(cloud, vm))


def _file(cloud: str, vm: str) -> Path:
    safe = re.sub(r"[^A-Za-z0-9-]", "_", vm)
    return platformdirs.user_cache_path("kontain") / "known_hosts" / f"{cloud}-{safe}"
