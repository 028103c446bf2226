"""What an image is built from on this machine: a disk made of the host's own apt sources, or a
vendor's cloud image. Each is made once and kept under the name of what it was made from.
"""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cloud.base import Base, Build
from cloud.errors import InputError
from cloud.files import discard, held, replaced, turn, write_json
from cloud.local import bootstrap, download
from cloud.local.store import Store
from cloud.progress import Progress

PATIENCE = 7200.0
"""Seconds in which another build has made the base that we wait for. A bootstrap may take 1800, a download more."""


def resolve(spec: Mapping[str, Any], url: str, sha256: str) -> Base:
    """The base that a definition means on this machine. Looks only.

    A cloud image, from the settings or the definition, is told by its checksum; a bootstrap by
    suite, package list and our scripts. Mirrors differ from machine to machine and do not count.

    Raises:
        InputError: this machine can't make it.
    """
    url, sha256 = url or spec.get("url", ""), sha256 or spec.get("sha256", "")
    if url:
        try:
            urlsplit(url)
        except ValueError as problem:
            raise InputError(f"the base's address is none: {problem}", hint="look at local.base_url") from problem
        if not sha256:
            raise InputError(
                f"no checksum for {download.public(url)}", hint="set local.base_sha256 from the vendor's list"
            )
        return Base(f"sha256:{sha256}", {"url": download.public(url), "sha256": sha256}, address=url)
    release = _release()
    family = release.get("ID", "")
    kernel = spec.get("kernel", {}).get(family)
    if kernel is None:
        raise InputError(
            f"no bootstrap on {release.get('PRETTY_NAME', 'this system')}: it needs Debian's or Ubuntu's apt",
            hint="set local.base_url and local.base_sha256 to a vendor's cloud image",
        )
    suite, packages = release["VERSION_CODENAME"], ",".join(sorted({*kernel, *spec.get("packages", [])}))
    recipe = hashlib.sha256(f"{suite}\0{packages}".encode())
    for script in sorted(bootstrap.SCRIPTS.iterdir()):
        recipe.update(script.read_bytes())
    name = f"{family}-{suite}-{recipe.hexdigest()[:12]}"
    return Base(name, {"suite": suite, "packages": packages})


def fetch(base: Base, store: Store, build: Build, progress: Progress) -> Path:
    """The folder of the base, made now if it is not there: `disk.qcow2`, `source.json` and,
    for a bootstrap, `vmlinuz` and `packages.txt`. Two builds at once make it once.

    The build notes in its folder which base it stands on: nobody removes that one as long as it is under way.

    Raises:
        InputError: what came is not what was asked for.
        TemporaryError: the network does not answer.
        TimedOut: another build has been making it for PATIENCE.
    """
    folder = store.bases / base.id.replace(":", "-")
    (build.folder / "base").write_text(folder.name)  # before the lock: who removes bases has it when he looks
    with _turn(folder, lambda: progress.line(f"waiting for another build, which makes the base {base.id}")):
        if folder.exists():
            progress.line(f"base {base.id} is there")
            folder.touch()
            return folder
        with replaced(folder) as fresh:
            fresh.mkdir(mode=0o700)
            if base.address:
                download.disk(base.address, base.source["sha256"], fresh, progress)
            else:
                bootstrap.disk(base.source["suite"], base.source["packages"], fresh, progress)
            (fresh / "disk.qcow2").chmod(0o600)
            write_json(fresh / "source.json", {"id": base.id, **base.source})
    return folder


def _release() -> dict[str, str]:
    try:
        return platform.freedesktop_os_release()
    except OSError:
        return {}


def unused(store: Store) -> list[Path]:
    """All bases but the one that was used last, and those that builds under way stand on."""
    used = _used(store)
    last_used = {}
    for path in store.bases.iterdir():
        try:
            if path.is_dir() and not path.name.startswith("."):
                last_used[path] = path.stat().st_mtime
        except FileNotFoundError:
            pass  # it went while we looked
    oldest_first = sorted(last_used, key=last_used.__getitem__)
    return [path for path in oldest_first[:-1] if path.name not in used]


def remove(folder: Path, store: Store) -> None:
    """Remove a base; it is made again when a build needs it. One that a build has just begun to use stays."""
    with _turn(folder):
        if folder.name not in _used(store):
            discard(folder)


def _turn(folder: Path, waiting: Callable[[], None] = lambda: None) -> AbstractContextManager[None]:
    """The one who makes, uses or removes the base now."""
    place = folder.with_name(f"{folder.name}.lock")
    return turn(place, what=f"the base {folder.name}, which another build makes", timeout=PATIENCE, waiting=waiting)


def _used(store: Store) -> set[str]:
    """The names of the bases that builds under way stand on."""
    used = set()
    for build in store.builds.iterdir():
        if held(build / "lock"):
            try:
                used.add((build / "base").read_text())
            except FileNotFoundError:
                pass  # it has none yet, or is at its end
    return used
