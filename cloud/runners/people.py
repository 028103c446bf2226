"""What people say: which VMs they mean, and whose keys let them in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cloud import names, ssh
from cloud.base import Vm
from cloud.errors import InputError, NotFound


def find(named: str, vms: Sequence[Vm]) -> list[Vm]:
    """The VMs that a person means: by id, label, name or run number.

    Raises:
        NotFound: there is none.
    """
    for tag in ("id", names.LABEL, "name", names.RUN_NUMBER, names.WORKFLOW):
        found = [vm for vm in vms if named and named in (getattr(vm, tag, None), vm.tags.get(tag))]
        if found:
            return found
    raise NotFound(f"no VM is of {named!r}", hint="./inv runners.list")


def keys(folder: Path, home: Path) -> tuple[str, ...]:
    """The public keys in a folder's `*.pub` files; where there are none, those of the caller.

    Raises:
        InputError: a file holds something else.
    """
    found: dict[str, None] = {}
    for place in (folder, home / ".ssh"):
        for file in sorted(place.glob("*.pub")):
            found.update(dict.fromkeys(_keys_in(file)))
        if found:
            break
    return tuple(found)


def _keys_in(file: Path) -> list[str]:
    """The keys of a file, without what people wrote behind them: that can be any text."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as problem:
        raise InputError(f"{file} can't be read: {problem}", hint="a public key is a line of text") from problem
    found = []
    for line in lines:
        if not line.strip() or line.startswith("#"):
            continue
        words = line.split()
        if len(words) < 2 or not ssh.is_public(words[0], words[1]):
            raise InputError(f"{file} holds something that is no public key", hint="as ssh-keygen writes it: id_*.pub")
        found.append(f"{words[0]} {words[1]}")
    return found
