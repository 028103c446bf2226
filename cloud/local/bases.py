"""What an image is built from on this machine: a disk made of the host's own apt sources, or a
vendor's cloud image. Each is made once and kept under the name of what it was made from.
"""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cloud.base import Base
from cloud.errors import InputError
from cloud.files import discard, lock, replaced, write_json
from cloud.local import bootstrap, download
from cloud.local.store import Store
from cloud.progress import Progress


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


def fetch(base: Base, store: Store, progress: Progress) -> Path:
    """The folder of the base, made now if it is not there: `disk.qcow2`, `source.json` and,
    for a bootstrap, `vmlinuz` and `packages.txt`. Two builds at once make it once.

    Raises:
        InputError: what came is not what was asked for.
        TemporaryError: the network does not answer.
    """
    folder = store.bases / base.id.replace(":", "-")
    with lock(store.bases / f"{folder.name}.lock"):
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
    """All bases but the one that was used last."""
    folders = [path for path in store.bases.iterdir() if path.is_dir() and not path.name.startswith(".")]
    return sorted(folders, key=lambda path: path.stat().st_mtime)[:-1]


def remove(folder: Path) -> None:
    """Remove a base; it is made again when a build needs it."""
    with lock(folder.with_name(f"{folder.name}.lock")):
        discard(folder)
