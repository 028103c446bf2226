"""A vendor's cloud image, fetched whole and told by its checksum, or not at all."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from cloud import http, process, wait
from cloud.errors import InputError, Interrupted, TemporaryError
from cloud.files import erase
from cloud.progress import Progress

if TYPE_CHECKING:
    import requests

_AGAIN = "look at the network, then again"


def disk(url: str, sha256: str, folder: Path, progress: Progress) -> None:
    """Fetch a cloud image and make it `disk.qcow2` in the folder.

    Only after its checksum is right does any program read it; one that names another file, as its
    backing or its data, is refused, since it would bring that file of the host into the image.

    Raises:
        InputError: it is not there, or is not what was asked for.
        TemporaryError: the network, or the server, does not answer.
    """
    file = folder / "download"
    digest = hashlib.sha256()
    with open(file, "wb") as out:
        for chunk in chunks(url, progress):
            digest.update(chunk)
            out.write(chunk)
    if digest.hexdigest() != sha256:
        raise InputError(
            f"{public(url)} has the checksum {digest.hexdigest()}, not {sha256}",
            hint="compare local.base_sha256 with the vendor's list; a moving address changes under one",
        )
    told = process.run(["qemu-img", "info", "--output=json", file], check=False)
    info = json.loads(told.text) if told.code == 0 else {}
    if info.get("format") not in ("qcow2", "raw") or _leads_elsewhere(info) or not _boots(info, file):
        raise InputError(f"{public(url)} is no disk image that stands alone", hint="take a qcow2 or raw image")
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


def chunks(url: str, progress: Progress) -> Iterator[bytes]:
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
                    f"{public(url)} answers {answer.status_code} {answer.reason}",
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
                raise TemporaryError(f"{public(url)} ended after {got} of {size} bytes", hint=_AGAIN)
    except ValueError as problem:  # all ways of being no address, requests' and urllib3's own
        raise InputError(f"{public(url)} can't be fetched", hint="use http, https or a path") from problem
    except requests.exceptions.RequestException as problem:
        raise TemporaryError(f"{public(url)} does not answer: {type(problem).__name__}", hint=_AGAIN) from problem


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
    import requests

    identity = {"Accept-Encoding": "identity"}
    return http.persistently(lambda: requests.get(url, stream=True, timeout=(10, 60), headers=identity))


def public(url: str) -> str:
    """The address without a password or a signature in it; a path as it is."""
    parts = urlsplit(url)
    if not parts.scheme:
        return url
    host = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=host, query="", fragment="").geturl()
