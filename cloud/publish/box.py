"""A .box file, judged without being unpacked: what it says of itself, whether it is that, and whether it is whole.

The archive is read once, block by block, and its checksum is made in the same pass. We walk it ourselves: tarfile takes
an extended header of any length into memory, and a few kilobytes of gzip can hold one of gigabytes.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import platformdirs
from msgspec import Struct

from cloud import files, typed, wait
from cloud.errors import InputError, Interrupted
from cloud.publish.names import ARCHITECTURES

_BLOCK = 512
_CHUNK = 1 << 18
_TEXT = 1 << 20
"""Bytes that metadata.json, info.json or a header of pax may have."""
_MEMBERS = 10_000
_NAME = 4096
"""Letters of a name; no system has longer ones, and all names are held at once."""
_EXTENDED = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE)
_LONG = (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)
_HINT = "a box is a tar of bare names in gzip, with metadata.json: ./inv boxes.build makes such"
_KEPT = ("metadata.json", "info.json")
_RULES = 2
"""Of these the number changes when more is asked of a box: what was found by others is looked for again."""


@dataclass(frozen=True)
class Box:
    """A box that is whole."""

    path: Path
    size: int
    sha256: str
    provider: str
    architecture: str
    """`unknown` where the box does not tell."""
    name: str
    """What its build called it; may be empty."""


class _Seen(Struct, frozen=True, forbid_unknown_fields=True):
    """What was found in a file of that identity, by those rules."""

    rules: int
    identity: list[int]
    sha256: str
    provider: str
    architecture: str
    name: str


def read(path: Path, heard: Callable[[int], None] = lambda done: None) -> Box:
    """The box in the file. `heard` is told how many of its bytes are read.

    What was found is kept in the user's cache for as long as the file does not change.

    Raises:
        InputError: there is no such file, or it is no box, or not all of one.
        Interrupted: an interrupt came.
    """
    try:
        with open(path, "rb") as file:
            found = path.stat()
            identity = [found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns]
            cache = _cache(path)
            seen = _recalled(cache, identity)
            if seen is None:
                seen = _judged(file, identity, heard)
                _kept(cache, seen)
    except (OSError, ValueError) as problem:
        if isinstance(problem, OSError) and problem.strerror:
            raise InputError(f"{path}: {problem.strerror}", hint="./inv boxes.build makes boxes") from problem
        raise InputError(f"{path} is no box: {problem}", hint=_HINT) from problem
    return Box(path, identity[2], seen.sha256, seen.provider, seen.architecture, seen.name)


def _judged(file: BinaryIO, identity: list[int], heard: Callable[[int], None]) -> _Seen:
    """Raises ValueError or OSError where it is no box."""
    size = identity[2]
    if not size:
        raise ValueError("the file is empty")
    source = _Hashing(file, heard)
    try:
        with gzip.GzipFile(fileobj=source) as archive:  # type: ignore[call-overload]  # it wants no more than read
            texts, there = _content(archive)
            while archive.read(_CHUNK):  # to the end, where the checksum of gzip is
                pass
    except EOFError:
        raise ValueError("the file ends in the middle") from None
    except gzip.BadGzipFile as problem:
        raise ValueError("it is not gzip" if source.done <= _CHUNK else str(problem)) from None
    except zlib.error as problem:
        raise ValueError(f"it is damaged: {problem}") from None
    except tarfile.HeaderError:
        raise ValueError("there is no tar in the gzip, or a damaged one") from None
    if source.done != size:
        raise ValueError("it changes while it is read")
    if "metadata.json" not in texts:
        raise ValueError("it has no metadata.json")
    metadata, info = (_object(name, texts.get(name, b"{}")) for name in _KEPT)
    provider, architecture = metadata.get("provider"), metadata.get("architecture") or "unknown"
    if not isinstance(provider, str) or not provider.replace("-", "").replace("_", "").isalnum():
        raise ValueError("its metadata.json names no provider")
    if architecture not in ARCHITECTURES:
        raise ValueError(f"Vagrant does not know the architecture in its metadata.json: {str(architecture)[:40]!r}")
    if lacking := _lacking(provider, metadata, there):
        raise ValueError(f"it is for {provider}, and {lacking}")
    name = info.get("name")
    return _Seen(_RULES, identity, source.sha256, provider, architecture, name if isinstance(name, str) else "")


def _lacking(provider: str, metadata: Mapping[str, Any], there: Set[str]) -> str:
    """What the provider needs of a box and this one, with these files, has not; empty when it has all of it.

    Of providers that we do not build for nothing is known. Vagrant itself imports box.ovf (its virtualbox plugin,
    action/import.rb); what libvirt's takes is in vagrant-libvirt's action/handle_box_image.rb: a size as text is none.
    """
    if provider == "virtualbox":
        if "box.ovf" not in there:
            return "has no box.ovf"
        return "" if any(name.endswith(".vmdk") for name in there) else "has no disk, which ends in .vmdk"
    if provider != "libvirt":
        return ""
    disks = metadata.get("disks", [])
    if not isinstance(disks, list):
        return "its metadata.json tells its disks in no list"
    for disk in disks:
        path = disk.get("path") if isinstance(disk, dict) else None
        if not isinstance(path, str) or path.removeprefix("./") not in there:
            return f"has no {str(path)[:60]!r}, a disk of its metadata.json"
    if disks:
        return ""  # their formats and sizes are in the disks
    size = metadata.get("virtual_size")
    if metadata.get("format") != "qcow2":
        return 'its metadata.json does not tell the disk\'s "format", which is qcow2'
    if not isinstance(size, int) or isinstance(size, bool) or size < 1:
        return 'its metadata.json does not tell the disk\'s "virtual_size", a number of GiB'
    return "" if "box.img" in there else "has no box.img"


def _content(archive: io.BufferedIOBase) -> tuple[dict[str, bytes], set[str]]:
    """The two texts of a box, and the names of all files in it that are not empty, each judged by its header."""
    texts: dict[str, bytes] = {}
    files_: set[str] = set()
    seen: set[str] = set()
    for name, kind, size in _members(archive):
        bare = name.removeprefix("./").rstrip("/")
        if kind == tarfile.DIRTYPE and bare in ("", "."):
            continue
        if not bare or bare.startswith("/") or ".." in bare.split("/") or not bare.isprintable():
            raise ValueError(f"a name in it leads elsewhere: {name[:60]!r}")
        if len(bare) > _NAME:
            raise ValueError(f"a name in it has {len(bare)} letters: {name[:60]!r}")
        if bare in seen:
            raise ValueError(f"{bare[:60]} is in it twice")
        seen.add(bare)
        if kind not in (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE, tarfile.DIRTYPE, tarfile.GNUTYPE_SPARSE):
            raise ValueError(f"{bare[:60]} in it is neither file nor folder")
        if size and kind != tarfile.DIRTYPE:
            files_.add(bare)
        if bare in _KEPT:
            if size > _TEXT:
                raise ValueError(f"its {bare} has {size} bytes")
            texts[bare] = _exactly(archive, size)
            _skip(archive, -size % _BLOCK)
        else:
            _skip(archive, size + -size % _BLOCK)
    return texts, files_


def _members(archive: io.BufferedIOBase) -> Iterator[tuple[str, bytes, int]]:
    """Name, kind and size of each member; who asks for the next one has read this one's content."""
    extended: dict[str, str] = {}
    for _ in range(_MEMBERS):
        block = archive.read(_BLOCK)
        while block and len(block) < _BLOCK and (more := archive.read(_BLOCK - len(block))):
            block += more
        if not block.strip(b"\0"):
            return  # the end: empty blocks, or none at all
        member = tarfile.TarInfo.frombuf(block, "utf-8", "replace")
        if member.size < 0:
            raise ValueError("a member of it has a negative size")
        if member.type in (*_EXTENDED, *_LONG):
            if member.size > _TEXT:
                raise ValueError(f"a header in it has {member.size} bytes")
            text = _exactly(archive, member.size)
            _skip(archive, -member.size % _BLOCK)
            if member.type == tarfile.GNUTYPE_LONGNAME:
                extended["path"] = text.rstrip(b"\0").decode("utf-8", "replace")
            elif member.type != tarfile.XGLTYPE and member.type not in _LONG:
                extended.update(_pax(text))
            continue
        more_of_it = member.type == tarfile.GNUTYPE_SPARSE and block[482]
        while more_of_it:  # where the holes of a sparse file are
            more_of_it = _exactly(archive, _BLOCK)[504]
        size = extended.get("size", "")
        if size and not (size.isascii() and size.isdigit() and len(size) < 20):
            raise ValueError("a header in it has no size")
        name = extended.get("GNU.sparse.name") or extended.get("path") or member.name
        yield name, member.type, int(size or member.size)
        extended = {}
    raise ValueError(f"it has more than {_MEMBERS} members")


def _pax(text: bytes) -> Iterator[tuple[str, str]]:
    """The records of a pax header: `LENGTH KEY=VALUE`, each with its line end."""
    while text.strip(b"\0"):
        length, blank, _ = text.partition(b" ")
        if not blank or not length.isdigit() or not len(length) + 1 < int(length[:8]) <= len(text):
            raise ValueError("a header in it is damaged")
        record, text = text[len(length) + 1 : int(length)], text[int(length) :]
        key, _, told = record.rstrip(b"\n").partition(b"=")
        yield key.decode("utf-8", "replace"), told.decode("utf-8", "replace")


def _exactly(archive: io.BufferedIOBase, size: int) -> bytes:
    parts = io.BytesIO()
    while parts.tell() < size and (part := archive.read(size - parts.tell())):
        parts.write(part)
    if parts.tell() < size:
        raise ValueError("the archive in it ends in the middle")
    return parts.getvalue()


def _skip(archive: io.BufferedIOBase, size: int) -> None:
    while size and (part := archive.read(min(size, _CHUNK))):
        size -= len(part)
    if size:
        raise ValueError("the archive in it ends in the middle")


def _object(name: str, text: bytes) -> Mapping[str, Any]:
    try:
        told = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError(f"its {name} is no JSON") from None
    if not isinstance(told, dict):
        raise ValueError(f"its {name} is no JSON object")
    return told


class _Hashing:
    """A file whose checksum is made as it is read."""

    def __init__(self, file: BinaryIO, heard: Callable[[int], None]) -> None:
        self._file = file
        self._heard = heard
        self._digest = hashlib.sha256()
        self._rest = memoryview(b"")
        self.done = 0

    def read(self, size: int = -1) -> bytes:
        """So many bytes, or fewer at the end. gzip asks for a few kilobytes at a time."""
        if not self._rest:
            if wait.interrupted():
                raise Interrupted
            chunk = self._file.read(_CHUNK)
            self._digest.update(chunk)
            self.done += len(chunk)
            self._rest = memoryview(chunk)
            self._heard(self.done)
        size = len(self._rest) if size < 0 else size
        part, self._rest = self._rest[:size], self._rest[size:]
        return bytes(part)

    @property
    def sha256(self) -> str:
        """Of what was read so far."""
        return self._digest.hexdigest()


def _cache(path: Path) -> Path:
    name = hashlib.sha256(str(path.absolute()).encode("utf-8", "surrogateescape")).hexdigest()
    return platformdirs.user_cache_path("kontain") / "boxes" / f"{name}.json"


def _recalled(cache: Path, identity: list[int]) -> _Seen | None:
    try:
        seen = typed.read(cache.read_bytes(), _Seen)
    except (OSError, ValueError, RecursionError):
        return None
    return seen if (seen.rules, seen.identity) == (_RULES, identity) else None


def _kept(cache: Path, seen: _Seen) -> None:
    try:
        cache.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        files.write_json(cache, {field: getattr(seen, field) for field in _Seen.__struct_fields__})
    except OSError:
        pass  # a cache saves time, and is no part of the work
