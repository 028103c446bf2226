"""Archives as Vagrant reads them: tar in gzip, its members by bare names, in the order that is given.

Pieces are packed side by side by libdeflate, each as a gzip member of its own; one after the other they are one
gzip stream (RFC 1952, 2.2), which bsdtar, GNU tar, Go and Python read as such.
"""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from cloud import wait
from cloud.errors import Interrupted

PIECE = 1 << 20
"""Bytes that are packed at a time. The window of deflate is 32 KiB: what is lost at each seam is no tenth percent."""

LEVEL = 5
"""Of libdeflate's: as small as gzip's own 6, for a quarter of the work (benchmarks/packing.py --levels)."""


@dataclass(frozen=True)
class Member:
    """A file of the archive."""

    name: str
    content: bytes | Path


@dataclass(frozen=True)
class Packed:
    """What became of it."""

    sha256: str
    size: int


def pack(path: Path, members: Sequence[Member], level: int = LEVEL) -> Packed:
    """Write the archive, 0600, on all processors. It is on the disk when this returns.

    Raises:
        Interrupted: an interrupt came.
    """
    digest, size = hashlib.sha256(), 0
    threads = os.cpu_count() or 1
    under_way: deque[Future[bytes]] = deque()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "wb") as out, ThreadPoolExecutor(threads) as pool:

        def written(packed: bytes) -> int:
            digest.update(packed)
            return out.write(packed)

        for piece in _pieces(members):
            if wait.interrupted():
                raise Interrupted
            # No more than these are in memory, whatever the size of the archive.
            if len(under_way) > 2 * threads:
                size += written(under_way.popleft().result())
            under_way.append(pool.submit(_packed, piece, level))
        while under_way:
            size += written(under_way.popleft().result())
        out.flush()
        os.fsync(out.fileno())
    return Packed(digest.hexdigest(), size)


def _packed(piece: bytes, level: int) -> bytes:
    import deflate

    return bytes(deflate.gzip_compress(piece, level))


def _pieces(members: Sequence[Member]) -> Iterator[bytes]:
    """The tar archive, cut into pieces."""
    rest = bytearray()
    for part in _tar(members):
        rest += part
        while len(rest) >= PIECE:
            yield bytes(rest[:PIECE])
            del rest[:PIECE]
    yield bytes(rest)


def _tar(members: Sequence[Member]) -> Iterator[bytes]:
    """The same archive for the same content: nobody's name, no time."""
    for member in members:
        info = tarfile.TarInfo(member.name)
        info.mode = 0o644
        if isinstance(member.content, bytes):
            info.size = len(member.content)
            source: io.BufferedIOBase = io.BytesIO(member.content)
        else:
            info.size = member.content.stat().st_size
            source = open(member.content, "rb")  # noqa: SIM115  # closed below, whatever it is
        with source:
            # GNU's format has room for sizes beyond 8 GiB.
            yield info.tobuf(tarfile.GNU_FORMAT)
            while chunk := source.read(PIECE):
                yield chunk
        yield bytes(-info.size % tarfile.BLOCKSIZE)
    yield bytes(2 * tarfile.BLOCKSIZE)
