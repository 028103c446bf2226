"""A disk out of the host's own apt sources. The work is done by `scripts/bootstrap.sh`."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from cloud import process
from cloud.errors import CommandFailed, InputError, TemporaryError
from cloud.files import erase
from cloud.progress import Progress

SCRIPTS = Path(__file__).parent / "scripts"

_NO_NETWORK = (
    "Could not resolve",
    "Temporary failure",
    "Unable to connect",
    "Could not connect",
    "Network is unreachable",
)

# Mounts in a namespace end with the last process in it. A user without root gets one in which his
# own id is 0 and files can be given to others. The word about our death is repeated inside: to enter
# a user namespace makes the kernel forget it (prctl(2), PR_SET_PDEATHSIG).
_NAMESPACE = (
    "unshare",
    *(("--map-root-user", "--map-auto") if os.geteuid() != 0 else ()),
    *("--mount", "--propagation", "private", "--"),
    *("setpriv", "--pdeathsig", "TERM", "--"),
)


def disk(suite: str, packages: str, folder: Path, progress: Progress) -> None:
    """Make `disk.qcow2`, `vmlinuz` and `packages.txt` in the folder; `packages` are separated by commas.

    Raises:
        TemporaryError: apt's sources do not answer.
        CommandFailed: the packages can't be had, or can't be installed.
    """
    (folder / "sources").write_text("".join(f"{line}\n" for line in _sources(suite)))
    (folder / "aptconf").write_text("".join(f"{line}\n" for line in _settings()))
    command: list[str | Path] = [
        *_NAMESPACE,
        SCRIPTS / "bootstrap.sh",
        suite,
        folder / "sources",
        folder / "aptconf",
        packages,
    ]
    try:
        process.run(command, cwd=folder, on_line=progress.line, timeout=1800, grace=0)
    except CommandFailed as failure:
        if any(sign in line for line in failure.output for sign in _NO_NETWORK):
            raise TemporaryError(
                "apt's sources do not answer, so no base could be made",
                hint="look at the network, or at /etc/apt, with: apt-get update",
            ) from failure
        raise
    finally:
        erase(folder / "sources")
        erase(folder / "aptconf")


def _sources(suite: str) -> list[str]:
    """The host's own sources of the distribution, as apt itself reads them.

    Only the distribution's: a base has nothing from third parties. None with a password in its
    address: it would end up inside the image.
    """
    fields = "$(ORIGIN)|$(RELEASE)|$(REPO_URI)|$(COMPONENT)"
    told = process.run(["apt-get", "indextargets", "--format", fields, "Created-By: Packages"])
    distribution = {"debian": "Debian", "ubuntu": "Ubuntu"}[platform.freedesktop_os_release()["ID"]]
    suites = (suite, f"{suite}-updates", f"{suite}-security")
    found = []
    for origin, release, uri, component in (line.split("|") for line in told.lines if line.count("|") == 3):
        if release in suites and origin in (distribution, "$(ORIGIN)", "") and "@" not in uri:
            found.append(f"deb {uri} {release} {component}")
    if not found:
        raise InputError(f"apt has no sources for {suite}", hint="look at: apt-get indextargets")
    return list(dict.fromkeys(found))


def _settings() -> list[str]:
    """How this host's apt reaches its sources (a proxy, dates not checked), without passwords."""
    told = process.run(["apt-config", "dump"]).lines
    wanted = ("Acquire::Check-", "Acquire::http::Proxy", "Acquire::https::Proxy", "Acquire::Retries")
    return [line for line in told if line.startswith(wanted) and "@" not in line]
