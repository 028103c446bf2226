"""Programs of the system that we call: are they there, are they what they are called, who brings them.

Which ones there are is in `tools.toml`.
"""

from __future__ import annotations

import os
import re
import select
import shutil
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import msgspec
from msgspec import Struct

from cloud import process, typed, wait
from cloud.errors import CommandFailed, KitError, MissingTool, TemporaryError, TimedOut
from tasks import _console, _settings

TABLE = Path(__file__).with_name("tools.toml")

ADMINISTRATION = ("/usr/local/sbin", "/usr/sbin", "/sbin")
"""Folders that a user without root has no PATH to, and some of our programs are in."""

MANAGERS = {"apt": "apt-get", "dnf": "dnf", "brew": "brew"}
"""Who brings packages, and by which program one sees that it does so here."""

_NO_NETWORK = ("Failed to fetch", "Temporary failure", "Could not resolve", "Could not connect", "Unable to connect")
_LOCKED = ("Could not get lock", "Unable to acquire the dpkg frontend lock", "Unable to lock")


class Tool(Struct, frozen=True, forbid_unknown_fields=True):
    """A program of the system, as `tools.toml` tells of it."""

    name: str
    packages: dict[str, str]
    purposes: list[str]
    command: str = ""
    file: str = ""
    setting: str = ""
    version: list[str] = []
    pattern: str = r"(\d+\.\d+[\w.+~-]*)"
    seconds: float = 10
    known_as: str = ""
    vendor: str = ""
    user_only: list[str] = []

    @property
    def program(self) -> str:
        """What is run: the setting's program if it has a setting, its own command else."""
        if not self.setting:
            return self.file or self.command or self.name
        section, key = self.setting.split(".")
        return str(getattr(getattr(_settings.load(), section), key))

    def path(self) -> str:
        """Where it is on this machine; empty when it is not. A look, nothing is run."""
        if self.file:
            return self.file if Path(self.file).exists() else ""
        folders = os.pathsep.join((os.environ.get("PATH", os.defpath), *ADMINISTRATION))
        return shutil.which(self.program, path=folders) or ""

    def needed_for(self, purpose: str) -> bool:
        """Whether this user needs it for that, on this machine."""
        everywhere = bool(self.vendor or self.packages.keys() - {"apt"})
        here = everywhere or _manager() == "apt"
        return purpose in self.purposes and here and not (purpose in self.user_only and _root())


@cache
def tools() -> tuple[Tool, ...]:
    """All of them."""
    told = typed.convert(msgspec.toml.decode(TABLE.read_bytes()), dict[str, list[Tool]])
    return tuple(told["tool"])


def missing(*purposes: str) -> list[Tool]:
    """What is needed for one of them and is not there."""
    return [tool for tool in tools() if any(map(tool.needed_for, purposes)) and not tool.path()]


def version(tool: Tool) -> str:
    """The version that it tells; empty for one that tells none.

    Raises:
        MissingTool: it is not there, or another program has its name.
    """
    path = tool.path()
    if not path:
        raise MissingTool("not on this machine", hint=cure([tool]))
    if not tool.version:
        return ""
    other = f"{path} is not {tool.known_as or tool.name}"
    hint = f"set {tool.setting} to {tool.known_as}" if tool.setting else cure([tool])
    try:
        told = process.run([path, *tool.version], timeout=tool.seconds, check=False)
    except TimedOut as problem:
        raise MissingTool(f"{other}: no answer within {tool.seconds:.0f} s", hint=hint) from problem
    except OSError as problem:
        raise MissingTool(f"{path} can't be run: {problem.strerror}", hint=hint) from problem
    if found := re.search(tool.pattern, told.text, re.MULTILINE):
        return found[1]
    raise MissingTool(f"{other}: it tells no version", hint=hint)


def cure(wanted: Sequence[Tool]) -> str:
    """What brings them, as a command; in words where there is none."""
    manager = _manager()
    packages = [tool.packages[manager] for tool in wanted if manager in tool.packages]
    others = [tool.name for tool in wanted if manager not in tool.packages and not tool.vendor]
    words = [_command(manager, packages)] if packages else []
    # Newer Debian and Ubuntu have dropped some, so the vendor is named also where apt may have it.
    words += [f"{tool.name} is also at {tool.vendor}" for tool in wanted if tool.vendor]
    words += [f"install {', '.join(others)}"] if others else []
    return "; ".join(words)


def ensure(*purposes: str, yes: bool) -> None:
    """See to it that everything is there that is needed for them.

    What is missing is installed where apt can: for root, in CI and with `yes` at once, on a terminal
    after a question. It is done before anything of ours is touched.

    Raises:
        MissingTool: something is missing, and was not to be installed; the hint is the command.
        TemporaryError: the network does not answer, or another program installs something.
    """
    gone = missing(*purposes)
    if not gone:
        return
    for tool in gone:
        if tool.setting and tool.program != tool.name:
            hint = "./inv settings shows who says so"
            raise MissingTool(f"{tool.setting} is {tool.program}, which is not on this machine", hint=hint)
    refusal = MissingTool(f"not on this machine: {', '.join(tool.name for tool in gone)}", hint=cure(gone))
    if _manager() != "apt" or not (_root() or shutil.which("sudo")):
        raise refusal
    packages = _packages(gone)
    if not (_root() or yes or os.environ.get("CI") == "true" or _agreed(packages)):
        raise refusal
    _install(packages, hint=cure(gone))
    if still := missing(*purposes):
        names = ", ".join(tool.name for tool in still)
        raise MissingTool(f"apt-get has installed all, and yet there is no {names}", hint=cure(still))


def _install(packages: Sequence[str], *, hint: str) -> None:
    _console.say(f"installing {' '.join(packages)}")
    root = [] if _root() else ["sudo", "-n"]
    apt = [*root, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q", "-o", "DPkg::Lock::Timeout=300"]
    # A list of packages that can't be brought up to date may still do.
    updated = process.run([*apt, "update"], on_line=_dimly, timeout=300, check=False)
    try:
        process.run([*apt, "install", "-y", "--no-install-recommends", *packages], on_line=_dimly, timeout=1800)
    except CommandFailed as failure:
        raise _reason((*updated.lines, *failure.output), hint) from failure


def _reason(lines: Sequence[str], hint: str) -> KitError:
    """Why apt-get did not do it."""
    errors = [line.removeprefix("E: ") for line in lines if line.startswith("E: ")]
    if any(sign in line for line in lines for sign in _LOCKED):
        return TemporaryError("another program has installed packages for 5 minutes", hint="when it is done, again")
    if any(sign in line for line in lines for sign in _NO_NETWORK):
        return TemporaryError("apt's sources do not answer", hint="look at the network, or at: apt-get update")
    if any(line.startswith("sudo:") for line in lines):
        return MissingTool("sudo wants a password, so nothing was installed", hint=hint)
    return MissingTool(f"apt-get: {(errors or [*lines, 'not a word'])[0]}", hint=hint)


def _agreed(packages: Sequence[str]) -> bool:
    """Ask on a terminal. Where there is none, nobody agrees."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    print(f"missing: {' '.join(packages)}. Install with apt? [y/N] ", end="", file=sys.stderr, flush=True)
    while not select.select([sys.stdin], [], [], 0.2)[0]:
        wait.pause(0)  # raises after a Ctrl-C, which ends no reading by itself
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _command(manager: str, packages: Sequence[str]) -> str:
    sudo = "" if _root() or manager == "brew" else "sudo "
    return f"{sudo}{MANAGERS[manager]} install {' '.join(dict.fromkeys(packages))}"


def _packages(wanted: Sequence[Tool]) -> list[str]:
    return list(dict.fromkeys(tool.packages["apt"] for tool in wanted))


def _manager() -> str:
    """Who brings packages on this machine; empty when we do not know."""
    return next((name for name, program in MANAGERS.items() if shutil.which(program)), "")


def _root() -> bool:
    return os.geteuid() == 0


def _dimly(line: str) -> None:
    _console.say(f"\x1b[2m{line}\x1b[0m" if sys.stderr.isatty() else line)
