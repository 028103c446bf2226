"""What `doctor` looks at. Each check returns one finding; all run side by side."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

from cloud import WORDS, connect
from cloud.errors import Interrupted, KitError
from cloud.local import accelerator
from cloud.local.images import LocalImages
from cloud.local.store import Store
from tasks import _bugs, _runners, _settings, _tools


@dataclass(frozen=True)
class Finding:
    """What a check found. `cure` is a command, or what to do in words; empty when all is well."""

    name: str
    state: Literal["ok", "warning", "failed"]
    found: str
    cure: str = ""


Check = Callable[[], Finding]


def look(clouds: Sequence[str] = ()) -> list[Finding]:
    """Run every check, and return what they found in the order in which they stand.

    `clouds` are logged into; without any those of the settings. Where they are meant and this machine
    is not, what only its own VMs need is no more than a warning.

    Raises:
        Interrupted: the caller stopped it.
    """
    meant = _meant(clouds)
    chosen = [name for name in meant if name != "local"]  # this machine has checks of its own
    here = "local" in meant or not meant
    purposes = ("images", "local", "runners") if here else ("images",)
    tools = [tool for tool in _tools.tools() if any(map(tool.needed_for, tool.purposes))]
    checks: dict[str, Check] = {
        "python": _python,
        "dependencies": _dependencies,
        "settings": _settings_load,
        **{tool.name: partial(_tool, tool, chosen) for tool in tools},
        "accelerator": _accelerator,
        "disk": _disk,
        **{name: partial(_cloud, name) for name in chosen},
    }
    # What our tests need, or VMs where none are to run, keeps nobody from building.
    spare = {tool.name for tool in tools if not any(map(tool.needed_for, purposes))}
    spare |= set() if here else {"accelerator", "disk"}
    with ThreadPoolExecutor(len(checks)) as threads:
        found = list(threads.map(_found, checks, checks.values()))
    return [replace(each, state="warning") if each.name in spare and each.state == "failed" else each for each in found]


def _found(name: str, check: Check) -> Finding:
    """What the check finds; an error of ours is a finding too."""
    try:
        return check()
    except Interrupted:
        raise
    except KitError as problem:
        return Finding(name, "failed", problem.message, problem.hint)
    except Exception as bug:  # noqa: BLE001  # it is told, beside what the others found
        error = _bugs.error(bug)
        return Finding(name, "failed", error.message, error.hint)


def _python() -> Finding:
    return Finding("python", "ok", f"{platform.python_version()}, {sys.executable}")


def _dependencies() -> Finding:
    lock, installed = _settings.ROOT / "requirements.lock", Path(sys.prefix) / "requirements.lock"
    if installed.exists() and installed.read_bytes() == lock.read_bytes():
        return Finding("dependencies", "ok", "as requirements.lock has them")
    return Finding("dependencies", "warning", "not those of requirements.lock", "run ./inv, not inv")


def _settings_load() -> Finding:
    _settings.load()
    own = [value for value in _settings.origins() if value.origin != _settings.DEFAULTS.name]
    return Finding("settings", "ok", f"{len(own)} differ from the defaults")


def _meant(named: Sequence[str]) -> list[str]:
    """The clouds that are meant, this machine among them; none, where nobody has said."""
    try:
        chosen = named or _settings.load().images.clouds
    except KitError:
        chosen = []  # the check of the settings tells it
    return list(dict.fromkeys(WORDS.get(name, name) for name in chosen))


def _cloud(name: str) -> Finding:
    cloud = connect(name, _settings.load())
    who, quotas = cloud.check(), cloud.quotas("")
    found = "; ".join([who, *(_runners.limit(quota) for quota in quotas)])
    if any(quota.room == 0 for quota in quotas):
        return Finding(name, "warning", found, f"./inv runners.list --cloud {name} shows who has it; or ask for more")
    return Finding(name, "ok", found)


def _tool(tool: _tools.Tool, clouds: Sequence[str]) -> Finding:
    version = _tools.version(tool)
    if tool.name == "packer":
        minimum = _settings.load().packer.minimum
        if _numbers(version) < _numbers(minimum):
            return Finding(
                tool.name,
                "failed" if clouds else "warning",
                f"{version} does for local; real clouds will be refused",
                f"install {tool.known_as} {minimum} or newer, and set packer.binary to it",
            )
    return Finding(tool.name, "ok", f"{version} {tool.path()}".strip())


def _accelerator() -> Finding:
    settings = _settings.load().local
    store = Store.at(settings.store)
    if settings.accelerator != "auto":
        return Finding("accelerator", "ok", f"{settings.accelerator}, set by local.accelerator")
    if accelerator.choose(settings.accelerator, store) == "kvm":
        return Finding("accelerator", "ok", "kvm")
    if not Path("/dev/kvm").exists():
        cure = "builds take minutes more; a machine with KVM, or with nested virtualization, is faster"
    elif not os.access("/dev/kvm", os.R_OK | os.W_OK):
        cure = "sudo usermod -aG kvm $USER, then log in again"
    else:
        cure = "no kernel has come up under KVM here; builds take minutes more without it"
    return Finding("accelerator", "warning", "tcg: VMs are emulated", cure)


def _disk() -> Finding:
    settings = _settings.load().local
    store = Store.at(settings.store)
    cost = LocalImages(store, settings).cost()
    found = f"{cost.free / 1e9:.0f} GB free in {store.root}; a build takes {cost.space / 1e9:.1f} GB"
    if cost.free < cost.space:
        return Finding("disk", "failed", found, "./inv images.prune --cloud local, or set local.store to another disk")
    return Finding("disk", "ok", found)


def _numbers(version: str) -> list[int]:
    return [int(part) for part in version.split(".")]
