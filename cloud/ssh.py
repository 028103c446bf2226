"""Into a machine by OpenSSH's own client, its host key pinned: no question, no check switched off."""

from __future__ import annotations

import base64
import os
import re
import socket
from collections.abc import Callable
from pathlib import Path

from cloud import process, wait
from cloud.base import Machine
from cloud.errors import TimedOut


def make_key(path: Path, comment: str) -> str:
    """Write a new ed25519 key to `path`, 0600, and its public half beside it; return that."""
    process.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", path])
    return path.with_name(path.name + ".pub").read_text().strip()


_PUBLIC = re.compile(
    r"(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(256|384|521)|sk-(ssh-ed25519|ecdsa-sha2-nistp256)@openssh\.com)"
)


def is_public(kind: str, text: str) -> bool:
    """Whether these are the two words of a public key: its kind, and then that kind again in what is encoded."""
    try:
        inside = base64.b64decode(text, validate=True)
    except ValueError:
        return False
    name = kind.encode()
    return bool(_PUBLIC.fullmatch(kind)) and inside.startswith(len(name).to_bytes(4, "big") + name) and len(inside) > 40


def session(machine: Machine) -> list[str]:
    """The argument list of a person's own session in the machine."""
    return ["ssh", "-t", *_reach(machine)]


def command(machine: Machine, remote: str) -> list[str]:
    """The argument list that runs `remote` in the machine's login shell."""
    return ["ssh", *_reach(machine), remote]


def _reach(machine: Machine) -> list[str]:
    return [
        *("-F", "none"),
        *(word for key in machine.keys for word in ("-i", _option(key))),
        *("-o", f"UserKnownHostsFile={_option(machine.known_hosts)}"),
        *("-o", "StrictHostKeyChecking=yes"),
        *(("-o", "IdentitiesOnly=yes") if machine.keys else ()),
        *("-o", "BatchMode=yes"),
        *("-o", "ConnectTimeout=25"),
        *("-o", "ServerAliveInterval=10"),
        *("-o", "LogLevel=ERROR"),
        *("-p", str(machine.port)),
        f"{machine.user}@{machine.address}",
    ]


def run(
    machine: Machine,
    remote: str,
    *,
    stdin: bytes = b"",
    on_line: Callable[[str], None] = lambda line: None,
    timeout: float = 60,
    check: bool = True,
) -> process.Completed:
    """Run a command in the machine.

    Raises:
        CommandFailed: it ended with something other than 0, and `check` is set.
        TimedOut: it was still running after `timeout` seconds.
    """
    argv = command(machine, remote)
    return process.run(argv, stdin=stdin, on_line=on_line, timeout=timeout, check=check, env=_env())


def speaks(machine: Machine) -> bool:
    """Whether an ssh server greets us, found out within three seconds.

    QEMU takes connections for a guest that is not up, so only its words tell; ssh itself would sit
    there until its own time is out.
    """
    try:
        with socket.create_connection((machine.address, machine.port), timeout=3) as connection:
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


def answers(machine: Machine) -> None:
    """Wait until the machine lets us in.

    Raises:
        TimedOut: it did not within its patience; its console tells more.
    """

    def look() -> bool | None:
        try:
            return True if speaks(machine) and run(machine, "true", timeout=30, check=False).code == 0 else None
        except TimedOut:
            return None

    wait.until(look, what=f"ssh of {machine.id}", timeout=machine.patience)


def _option(path: Path) -> str:
    """A path as ssh reads one: blanks in quotes, and % begins a token (ssh_config(5))."""
    text = str(path).replace("%", "%%")
    return f'"{text}"' if " " in text else text


def _env() -> dict[str, str]:
    """No language of the caller's, since we read what ssh prints; his agent, which may know the words to his keys."""
    agent = {key: os.environ[key] for key in ("SSH_AUTH_SOCK",) if key in os.environ}
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8", **agent}
