"""What an image is built from on this machine: a disk made of the host's own apt sources, or a
vendor's cloud image. Each is made once and kept under the name of what it was made from.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from cloud import process, wait
from cloud.base import Base
from cloud.errors import CommandFailed, InputError, Interrupted, TemporaryError
from cloud.local.store import Store, discard, erase, lock, replaced, write_json
from cloud.progress import Progress

if TYPE_CHECKING:
    import requests

SCRIPTS = Path(__file__).parent / "bootstrap"

_NO_NETWORK = (
    "Could not resolve",
    "Temporary failure",
    "Unable to connect",
    "Could not connect",
    "Network is unreachable",
)

_BUSY = (429, 500, 502, 503, 504)
_PAUSES = (1.0, 2.0, 4.0, 8.0)
"""Seconds between two requests to a server that is busy."""

_AGAIN = "look at the network, then again"


# Mounts in a namespace end with the last process in it. A user without root gets one in which his
# own id is 0 and files can be given to others. The word about our death is repeated inside: to enter
# a user namespace makes the kernel forget it (prctl(2), PR_SET_PDEATHSIG).
_NAMESPACE = (
    "unshare",
    *(("--map-root-user", "--map-auto") if os.geteuid() != 0 else ()),
    *("--mount", "--propagation", "private", "--"),
    *("setpriv", "--pdeathsig", "TERM", "--"),
)


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
            raise InputError(f"no checksum for {_public(url)}", hint="set local.base_sha256 from the vendor's list")
        return Base(f"sha256:{sha256}", {"url": _public(url), "sha256": sha256, "from": url})
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
    for script in sorted(SCRIPTS.iterdir()):
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
            if "from" in base.source:
                _download(base, fresh, progress)
            else:
                _bootstrap(base, fresh, progress)
            (fresh / "disk.qcow2").chmod(0o600)
            write_json(fresh / "source.json", _record(base))
    return folder


def _bootstrap(base: Base, folder: Path, progress: Progress) -> None:
    (folder / "sources").write_text("".join(f"{line}\n" for line in _apt_sources(base.source["suite"])))
    (folder / "aptconf").write_text("".join(f"{line}\n" for line in _apt_settings()))
    command: list[str | Path] = [
        *_NAMESPACE,
        SCRIPTS / "bootstrap.sh",
        base.source["suite"],
        folder / "sources",
        folder / "aptconf",
        base.source["packages"],
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


def _apt_sources(suite: str) -> list[str]:
    """The host's own sources of the distribution, as apt itself reads them.

    Only the distribution's: a base has nothing from third parties. None with a password in its
    address: it would end up inside the image.
    """
    fields = "$(ORIGIN)|$(RELEASE)|$(REPO_URI)|$(COMPONENT)"
    told = process.run(["apt-get", "indextargets", "--format", fields, "Created-By: Packages"])
    distribution = {"debian": "Debian", "ubuntu": "Ubuntu"}[_release()["ID"]]
    suites = (suite, f"{suite}-updates", f"{suite}-security")
    found = []
    for origin, release, uri, component in (line.split("|") for line in told.lines if line.count("|") == 3):
        if release in suites and origin in (distribution, "$(ORIGIN)", "") and "@" not in uri:
            found.append(f"deb {uri} {release} {component}")
    if not found:
        raise InputError(f"apt has no sources for {suite}", hint="look at: apt-get indextargets")
    return list(dict.fromkeys(found))


def _apt_settings() -> list[str]:
    """How this host's apt reaches its sources (a proxy, dates not checked), without passwords."""
    told = process.run(["apt-config", "dump"]).lines
    wanted = ("Acquire::Check-", "Acquire::http::Proxy", "Acquire::https::Proxy", "Acquire::Retries")
    return [line for line in told if line.startswith(wanted) and "@" not in line]


def _download(base: Base, folder: Path, progress: Progress) -> None:
    """Fetch a cloud image and make it a disk of our own.

    Only after its checksum is right does any program read it; one that names another file, as its
    backing or its data, is refused, since it would bring that file of the host into the image.
    """
    url, file = base.source["from"], folder / "download"
    digest = hashlib.sha256()
    with open(file, "wb") as out:
        for chunk in _chunks(url, progress):
            digest.update(chunk)
            out.write(chunk)
    if digest.hexdigest() != base.source["sha256"]:
        raise InputError(
            f"{_public(url)} has the checksum {digest.hexdigest()}, not {base.source['sha256']}",
            hint="compare local.base_sha256 with the vendor's list; a moving address changes under one",
        )
    told = process.run(["qemu-img", "info", "--output=json", file], check=False)
    info = json.loads(told.text) if told.code == 0 else {}
    if info.get("format") not in ("qcow2", "raw") or _leads_elsewhere(info) or not _boots(info, file):
        raise InputError(f"{_public(url)} is no disk image that stands alone", hint="take a qcow2 or raw image")
    progress.line("making the disk")
    command = ["qemu-img", "convert", "-f", info["format"], "-O", "qcow2", file, folder / "disk.qcow2"]
    process.run(command, timeout=600)
    erase(file)


def _leads_elsewhere(info: Mapping[str, Any]) -> bool:
    return "backing-filename" in info or "data-file" in info.get("format-specific", {}).get("data", {})


def _boots(info: Mapping[str, Any], file: Path) -> bool:
    """Anything is a raw image to qemu-img, an error page too. One that boots has a boot sector."""
    with open(file, "rb") as disk:
        return info["format"] != "raw" or disk.read(512)[510:] == b"\x55\xaa"


def _chunks(url: str, progress: Progress) -> Iterator[bytes]:
    """What is at the address, or in the file, piece by piece."""
    import requests

    parts = urlsplit(url)
    if parts.scheme in ("", "file"):
        yield from _file(unquote(parts.path) if parts.scheme else url)
        return
    try:
        with _answer(url) as answer:
            if 400 <= answer.status_code < 500:
                raise InputError(
                    f"{_public(url)} answers {answer.status_code} {answer.reason}",
                    hint="look at local.base_url; vendors remove old images",
                )
            answer.raise_for_status()
            size, got = int(answer.headers.get("content-length", 0)), 0
            for chunk in answer.iter_content(1 << 18):
                if wait.interrupted():
                    raise Interrupted
                if got >> 20 < (got := got + len(chunk)) >> 20:
                    progress.line(f"{got >> 20} of {size >> 20} MiB" if size else f"{got >> 20} MiB")
                yield chunk
            if got < size:
                raise TemporaryError(f"{_public(url)} ended after {got} of {size} bytes", hint=_AGAIN)
    except ValueError as problem:  # all ways of being no address, requests' and urllib3's own
        raise InputError(f"{_public(url)} can't be fetched", hint="use http, https or a path") from problem
    except requests.exceptions.RequestException as problem:
        raise TemporaryError(f"{_public(url)} does not answer: {type(problem).__name__}", hint=_AGAIN) from problem


def _file(path: str) -> Iterator[bytes]:
    try:
        with open(path, "rb") as source:
            while chunk := source.read(1 << 20):
                if wait.interrupted():
                    raise Interrupted
                yield chunk
    except (OSError, ValueError) as problem:
        reason = getattr(problem, "strerror", "") or problem
        raise InputError(f"can't read the base {path!r}: {reason}", hint="look at local.base_url") from problem


def _answer(url: str) -> requests.Response:
    """The server's answer; one that is busy or away is asked again.

    Not by urllib3: no interrupt ends its pauses, and its warnings hold whole addresses.
    """
    import requests

    def get() -> requests.Response:
        return requests.get(url, stream=True, timeout=(10, 60), headers={"Accept-Encoding": "identity"})

    for pause in _PAUSES:
        with suppress(requests.exceptions.ConnectionError, requests.exceptions.Timeout):
            answer = get()
            if answer.status_code not in _BUSY:
                return answer
            answer.close()
        wait.pause(pause)
    return get()


def _public(url: str) -> str:
    """The address without a password or a signature in it; a path as it is."""
    parts = urlsplit(url)
    if not parts.scheme:
        return url
    host = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=host, query="", fragment="").geturl()


def _record(base: Base) -> dict[str, object]:
    return {"id": base.id, **{key: text for key, text in base.source.items() if key != "from"}}


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
