"""A catalog of our own: the boxes' files, and one JSON document a box that `vagrant box add` reads.

    ORG/BOX/catalog.json
    ORG/BOX/VERSION/PROVIDER/ARCHITECTURE/SHA256/vagrant.box

Files come first and the document last, whole or not at all. A file's name has its checksum in it: nothing that is
released can be written over, by nobody, and what an interrupted run has sent is found again. Vagrant before 2.4 takes
the last entry of a provider's name, whatever its architecture: so the default one is last.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote, unquote, urlsplit

from msgspec import Struct

from cloud import typed, wait
from cloud.errors import InputError, Interrupted, KitError, NotAllowed, NotFound, TemporaryError
from cloud.publish import download, web
from cloud.publish.box import Box
from cloud.publish.names import TRIAL, Tag
from cloud.publish.place import Found, Listed, same
from cloud.publish.settings import PublishSettings
from cloud.publish.transfer import Pace

if TYPE_CHECKING:
    import requests

_FILE = re.compile(r"(?P<provider>[^/]+)/(?P<architecture>[^/]+)/(?P<sha256>[0-9a-f]{64})/vagrant\.box")
_WRITINGS = 8
"""How often the document is read and written again, because others write it at the same moment."""


class Store(Protocol):
    """Where a catalog is kept. Keys are paths without a leading slash."""

    def check(self) -> None:
        """See that we may write there."""

    def keys(self, prefix: str) -> list[str]:
        """All that begin so and are complete."""

    def begin(self, key: str) -> None:
        """See that the document of that key can be written, before files are sent for it."""

    def put(self, key: str, file: Path, size: int, pace: Pace) -> None:
        """A file, complete or not there at all."""

    def read(self, key: str) -> tuple[bytes, str] | None:
        """A document, and a mark of what it is now; None where there is none."""

    def write(self, key: str, content: bytes, mark: str) -> bool:
        """Write it, if it still has that mark; empty: if it is not there. Whether it was written."""

    def remove(self, prefix: str) -> None:
        """All that begins so."""

    def address(self) -> str:
        """Where the world finds the store, as far as it is known here."""


class _Provider(Struct, frozen=True):
    name: str
    url: str = ""
    checksum: str = ""
    checksum_type: str = ""
    architecture: str = "unknown"


class _Version(Struct, frozen=True):
    version: str
    providers: list[_Provider] = []


class _Document(Struct, frozen=True):
    """A catalog, as far as we read it. What else is in it stays."""

    name: str
    versions: list[_Version] = []


class Catalog:
    """A catalog in a store."""

    name = "catalog"
    limit = 0
    notice = ""

    def __init__(self, settings: PublishSettings, store: Store) -> None:
        self._settings = settings
        self._store = store
        self._base = (settings.address or store.address()).rstrip("/")
        if urlsplit(self._base).scheme not in ("http", "https", "file"):
            raise InputError(f"{settings.address!r} is no address", hint="set publish.address to an https://")
        self._session = web.session()

    @classmethod
    def of(cls, settings: PublishSettings) -> Catalog:
        """The catalog that is set.

        Raises:
            InputError: none is, or it can't be one.
        """
        if settings.catalog.startswith("s3://"):
            from cloud.publish.bucket import Bucket

            return cls(settings, Bucket(settings))
        if not settings.catalog or "://" in settings.catalog:
            raise InputError("no catalog is set", hint="set publish.catalog to a folder or to s3://BUCKET/PREFIX")
        from cloud.publish.directory import Directory

        return cls(settings, Directory(Path(settings.catalog).expanduser().absolute()))

    def check(self) -> None:
        """See that we may write there."""
        self._store.check()

    def find(self, tag: Tag, version: str) -> Found | None:
        """A version in the document, else what is sent of one that is not."""
        told = self._store.read(_document(tag))
        rows = listed(told[0], tag, version) if told else None
        if rows is not None:
            return Found("released", rows)
        prefix = f"{tag}/{version}/"
        sent = [(key, _FILE.fullmatch(key.removeprefix(prefix))) for key in self._store.keys(prefix)]
        files = tuple(
            Listed(found["provider"], found["architecture"], found["sha256"], True, self._url(key))
            for key, found in sent
            if found
        )
        return Found("unreleased", files) if files else None

    def versions(self, tag: Tag) -> list[str]:
        """Those in the document, and those of which files were sent."""
        told = self._store.read(_document(tag))
        listed = [each.version for each in _read(told[0], tag).versions] if told else []
        parts = [key.removeprefix(f"{tag}/").split("/") for key in self._store.keys(f"{tag}/")]
        return list(dict.fromkeys([*listed, *(part[0] for part in parts if len(part) > 1)]))

    def begin(self, tag: Tag, version: str) -> None:
        """See that the document can be written; keys are made with what is in them."""
        self._store.begin(_document(tag))

    def put(self, tag: Tag, version: str, box: Box, *, default: bool, pace: Pace) -> None:
        """Send the file."""
        self._store.put(_file(tag, version, box), box.path, box.size, pace)

    def verify(self, tag: Tag, version: str, part: Box | Listed, pace: Pace) -> None:
        """Read it from the address that the document will have."""
        url = part.url if isinstance(part, Listed) else self._url(_file(tag, version, part))
        size = part.size if isinstance(part, Box) else 0
        if urlsplit(url).scheme == "file":
            _check_file(Path(unquote(urlsplit(url).path)), part.sha256, pace)
        else:
            try:
                download.check(
                    lambda headers: self._stream(url, headers), size, part.sha256, pace, stall=self._settings.stall
                )
            except NotAllowed as problem:
                hint = "let all the world read the bucket, or set publish.address to where it can"
                raise NotAllowed(problem.message, hint=hint) from problem

    def _stream(self, url: str, headers: dict[str, str]) -> requests.Response:
        stall = self._settings.stall
        return web.ask(self._session, "GET", url, timeout=stall, headers=headers, follow=True, stream=True)

    def release(self, tag: Tag, version: str, listed: Sequence[Listed]) -> None:
        """Put the version into the document, beside what others have put there meanwhile."""
        for _ in range(_WRITINGS):
            told = self._store.read(_document(tag))
            content = merged(told[0] if told else b"", tag, version, listed)
            if (told and told[0] == content) or self._store.write(_document(tag), content, told[1] if told else ""):
                return
        raise TemporaryError(f"others write the catalog of {tag} all the time", hint="the same command goes on")

    def shows(self, tag: Tag, version: str, listed: Sequence[Listed]) -> bool:
        """Look into the document as the world sees it."""
        content = self._seen(tag)
        rows = [row for row in _read(content, tag).versions if row.version == version] if content else []
        there = {(each.name, each.architecture): each.checksum for row in rows for each in row.providers}
        return same(listed, there)

    def _seen(self, tag: Tag) -> bytes:
        url = self.address(tag)
        if urlsplit(url).scheme == "file":
            told = self._store.read(_document(tag))
            return told[0] if told else b""
        timeout = self._settings.timeout
        answer = web.persistently(lambda: web.ask(self._session, "GET", url, timeout=timeout, follow=True))
        if answer.status_code in (403, 404):
            return b""
        if not answer.ok:
            raise web.refusal(answer, f"reading the catalog of {tag}")
        if answer.headers.get("Content-Type", "").partition(";")[0].strip() != "application/json":
            raise KitError(
                f"{web.public(url)} is not served as application/json, and Vagrant takes it for a box",
                hint="the version is released; tell the web server",
            )
        return answer.content

    def remove(self, tag: Tag, version: str) -> None:
        """Take a trial out of the document, then its files away."""
        if not version.startswith(TRIAL):
            raise InputError(f"{version} is no trial, and stays")
        for _ in range(_WRITINGS):
            told = self._store.read(_document(tag))
            if told is None:
                break
            content = without(told[0], tag, version)
            if content == told[0] or self._store.write(_document(tag), content, told[1]):
                break
        else:
            raise TemporaryError(f"others write the catalog of {tag} all the time", hint="again later")
        self._store.remove(f"{tag}/{version}/")

    def address(self, tag: Tag) -> str:
        """The document's address."""
        return self._url(_document(tag))

    def login(self) -> dict[str, str]:
        """Nobody logs in."""
        return {"VAGRANT_CLOUD_TOKEN": ""}

    def _url(self, key: str) -> str:
        return f"{self._base}/{quote(key)}"


def _document(tag: Tag) -> str:
    return f"{tag}/catalog.json"


def _file(tag: Tag, version: str, box: Box) -> str:
    return f"{tag}/{version}/{box.provider}/{box.architecture}/{box.sha256}/vagrant.box"


def listed(content: bytes, tag: Tag, version: str) -> tuple[Listed, ...] | None:
    """What the document has of that version; None where it does not have it.

    Raises:
        KitError: it is no catalog of that box.
    """
    row = next((each for each in _read(content, tag).versions if each.version == version), None)
    if row is None:
        return None
    return tuple(
        Listed(
            each.name,
            each.architecture,
            each.checksum.lower() if each.checksum_type.lower() == "sha256" else "",
            True,
            each.url,
        )
        for each in row.providers
    )


def merged(content: bytes, tag: Tag, version: str, listed: Sequence[Listed]) -> bytes:
    """The document with that version; nothing else in it changes. The last entry of a provider is its default.

    Raises:
        InputError: it has that version already, with other content.
        KitError: what is there is no catalog of that box.
    """
    last = {each.provider: each for each in listed}
    rows = [
        {
            "name": each.provider,
            "url": each.url,
            "checksum": each.sha256,
            "checksum_type": "sha256",
            "architecture": each.architecture,
            "default_architecture": last[each.provider] is each,
        }
        for each in listed
    ]
    whole: dict[str, Any] = {"name": str(tag), "versions": []}
    if content:
        for row in _read(content, tag).versions:
            if row.version == version:
                there = {(each.name, each.architecture): each.checksum.lower() for each in row.providers}
                if there == {each.key: each.sha256 for each in listed}:
                    return content
                told = f"{tag} {version} was released by somebody else meanwhile, with other content"
                raise InputError(told, hint="take another version")
        whole = json.loads(content)
    whole["versions"] = [*whole.get("versions", []), {"version": version, "status": "active", "providers": rows}]
    return _written(whole)


def without(content: bytes, tag: Tag, version: str) -> bytes:
    """The document without that version."""
    if version not in {row.version for row in _read(content, tag).versions}:
        return content
    whole = json.loads(content)
    whole["versions"] = [each for each in whole["versions"] if each["version"] != version]
    return _written(whole)


def _written(whole: dict[str, Any]) -> bytes:
    return json.dumps(whole, indent=2, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n"


def _read(content: bytes, tag: Tag) -> _Document:
    try:
        told = typed.read(content, _Document)
    except (ValueError, RecursionError):
        raise KitError(f"what is there as the catalog of {tag} is none", hint="it was not touched") from None
    if told.name != str(tag):
        raise KitError(f"what is there as the catalog of {tag} is that of {told.name!r}", hint="it was not touched")
    return told


def _check_file(path: Path, sha256: str, pace: Pace) -> None:
    digest, done = hashlib.sha256(), 0
    try:
        with open(path, "rb") as file:
            while block := file.read(web.BLOCK):
                if wait.interrupted():
                    raise Interrupted
                digest.update(block)
                done += len(block)
                pace.at(done)
    except FileNotFoundError:
        raise NotFound(f"{path} is not there") from None
    except OSError as problem:
        raise KitError(f"{path}: {problem.strerror}", hint="look at the folder") from problem
    if digest.hexdigest() != sha256:
        raise download.Wrong(f"{path} has the checksum {digest.hexdigest()}, not {sha256}")
