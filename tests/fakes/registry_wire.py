"""The registry on two ports, its API and its storage, and the faults of both."""

from __future__ import annotations

import base64
import io
import json
import re
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.fakes.registry import FILE, TOKEN, Books, Refusal
from tests.fakes.silence import until_he_hangs_up

_BLOCK = 1 << 16
_SHORT = 50
"""Bytes of an answer that are there at once, however slowly they come."""


@dataclass(frozen=True)
class Call:
    """A call that came."""

    server: str
    method: str
    path: str

    def __str__(self) -> str:
        return f"{self.method} {self.server}{self.path}"


@dataclass(frozen=True)
class Fault:
    """How a call ends instead of well."""

    status: int = 0
    """0: without an answer."""
    body: bytes = b""
    headers: Callable[[], dict[str, str]] = dict
    done: bool = False
    """Whether its work is done all the same."""
    silent: bool = False
    """Nothing is said until the caller ends it."""
    half: bool = False
    """In the middle: of what the caller sends, or of what he is sent."""
    drip: bool = False
    """Its work is done, and the answer comes a byte at a time: a short one's head too."""
    other: bool = False
    """All goes well, but for what is sent or kept: that is something else."""
    only: str = ""
    """At which calls alone it can be: a pattern of `METHOD server/path`."""


def _told(errors: Any) -> bytes:
    return json.dumps({"errors": errors, "success": False}).encode()


def _soon() -> str:
    return str(int(time.time()) + 2)


FAULTS = {
    "throttled": Fault(429, _told(["Too many requests"]), lambda: {"Retry-After": "2"}),
    "limited": Fault(429, _told(["slow"]), lambda: {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": _soon()}),
    "limited-hcp": Fault(429, b"", lambda: {"x-hcp-vagrant-limit-retry-after": _soon()}),
    "499": Fault(499, b""),
    "500": Fault(500, _told("a text")),
    "503": Fault(503, _told([])),
    "504": Fault(504, b"<html><body>Gateway Time-out</body></html>"),
    "refused": Fault(422, _told([{"message": "an object"}])),
    "refused-with-nothing": Fault(422, _told([])),
    "denied": Fault(403, _told(["You are not allowed to do this"])),
    "expired": Fault(401, _told(["Authentication is required"]), only=r"\w+ api/.*"),
    "garbage": Fault(200, b"<html>Welcome to our network</html>", only=r"\w+ api/api/.*"),
    "reset": Fault(half=True),
    "empty": Fault(),
    "lost": Fault(done=True),
    "silent": Fault(silent=True),
    "drip": Fault(drip=True),
    "missing": Fault(200, b"{}", only=r"PUT .*"),
    "other": Fault(other=True, only=r"(PUT|GET) storage/.*"),
}
"""Every way in which a call may end badly."""


@dataclass
class Registry:
    """The registry as a server: `with Registry(folder) as registry`."""

    folder: Path
    hcp: bool = False
    certificate: ssl.SSLContext | None = None
    calls: list[Call] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    """What no good client does."""
    echoes: bool = False
    """Whether its errors repeat the token."""
    after: Callable[[Call], None] = lambda call: None
    """Called when a call's work is done, before it is answered."""

    def __enter__(self) -> Registry:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.books = Books(self.folder, hcp=self.hcp)
        self._fault: tuple[int, Fault] | None = None
        self._counting = threading.Lock()
        self._servers = []
        for name in ("api", "storage"):
            server = _Server(("127.0.0.1", 0), _Handler)
            server.registry, server.name = self, name
            if self.certificate:
                server.socket = self.certificate.wrap_socket(server.socket, server_side=True)
            threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
            self._servers.append(server)
        scheme = "https" if self.certificate else "http"
        self.books.url, self.books.storage = (f"{scheme}://127.0.0.1:{each.server_port}" for each in self._servers)
        return self

    def __exit__(self, *_: object) -> None:
        for server in self._servers:
            server.shutdown()
            server.server_close()

    @property
    def url(self) -> str:
        """Where its API is."""
        return self.books.url

    @property
    def variables(self) -> dict[str, str]:
        """The environment of one who publishes here."""
        return {"VAGRANT_SERVER_URL": self.url, "VAGRANT_CLOUD_TOKEN": TOKEN, "HCP_AUTH_URL": self.url}

    def fails_at(self, number: int, kind: str) -> None:
        """Let the call of that number, counted from now on, end so."""
        with self._counting:
            self._fault = (len(self.calls) + number, FAULTS[kind])

    def works(self) -> None:
        """All is well again."""
        with self._counting:
            self._fault = None

    def uploads(self, since: int = 0) -> int:
        """How many files were sent."""
        return sum(call.server == "storage" and call.method == "PUT" for call in self.calls[since:])

    def came(self, call: Call) -> Fault | None:
        """Count the call, and say how it is to end."""
        with self._counting:
            self.calls.append(call)
            if self._fault and self._fault[0] == len(self.calls):
                fault = self._fault[1]
                if not fault.only or re.fullmatch(fault.only, f"{call.method} {call.server}{call.path}"):
                    return fault
            return None


@dataclass(frozen=True)
class _Part:
    """What is sent of an object."""

    path: Path
    begin: int
    size: int


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64
    registry: Registry
    name: str

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A caller that went away in the middle is no news."""


class _Drip(io.BufferedIOBase):
    """Writes a byte, and waits, until whoever reads has enough."""

    def __init__(self, line: io.BufferedIOBase) -> None:
        self._line = line

    def write(self, content: Any) -> int:
        for byte in bytes(content):
            self._line.write(bytes((byte,)))
            time.sleep(0.02)
        return len(content)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server
    disable_nagle_algorithm = True
    _unread = 0

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def _any(self) -> None:
        parts = urlsplit(self.path)
        call = Call(self.server.name, self.command, parts.path)
        registry = self.server.registry
        fault = registry.came(call)
        self._unread = int(self.headers.get("Content-Length") or 0)
        if fault and fault.silent:
            until_he_hangs_up(self.connection)
            self.close_connection = True
            return
        answer: Callable[[], tuple[int, Any, dict[str, str]]]
        answer = self._api if call.server == "api" else lambda: self._storage(fault)
        if fault and fault.half and self.command != "GET":
            self.rfile.read(self._unread // 2)
            self._reset()
            return
        if fault is None or fault.done or fault.half or fault.other or fault.drip:
            try:
                status, body, headers = answer()
            except Refusal as refusal:
                errors = [*refusal.errors, self.headers.get("Authorization", "")] if registry.echoes else refusal.errors
                status, body, headers = refusal.status, {"errors": errors, "success": False}, {}
            registry.after(call)
        self._drop_rest()
        if fault and fault.half:
            self._send(status, body, headers, half=True)
        elif fault and fault.drip:
            self._send(status, body, headers, drip=True)
        elif fault and not fault.other:
            if not fault.status:
                self._reset()
                return
            self._send(fault.status, fault.body, {"Content-Type": "text/plain", **fault.headers()})
        else:
            self._send(status, body, headers)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _any  # noqa: N815  # http.server's names

    def _api(self) -> tuple[int, Any, dict[str, str]]:
        books = self.server.registry.books
        parts = urlsplit(self.path)
        body = self.rfile.read(self._unread)
        self._unread = 0
        if parts.path == "/oauth2/token" and self.command == "POST":
            return (*books.give_token(body, self._basic()), {})
        token = self._token(parse_qs(parts.query))
        if found := FILE.fullmatch(parts.path):
            words = {key: text for key, text in found.groupdict().items() if text}
            return 302, b"", {"Location": books.download(words, token)}
        if found := re.fullmatch(r"/api/v([12])(/(?!vagrant/).*)", parts.path):
            try:
                told = json.loads(body) if body else {}
            except ValueError:
                raise Refusal(400, ["not JSON"]) from None
            if body and self.headers.get_content_type() != "application/json":
                raise Refusal(403, ["missing parameters"])
            return (*books.answer(self.command, found[2], told, token, old=found[1] == "1"), {})
        if found := re.fullmatch(r"(?:/api/v2/vagrant)?/([^/]+/[^/]+)", parts.path):
            return 200, books.catalog(found[1], token), {}
        raise Refusal(404, ["Resource not found!"])

    def _storage(self, fault: Fault | None) -> tuple[int, Any, dict[str, str]]:
        registry, books = self.server.registry, self.server.registry.books
        parts = urlsplit(self.path)
        if "Authorization" in self.headers or "X-Atlas-Token" in self.headers:
            registry.violations.append(f"{self.command} with a token at the storage")
            return 400, b"Only one auth mechanism allowed", {}
        if "Transfer-Encoding" in self.headers:
            registry.violations.append("a body in chunks")
            self.close_connection = True
            return 501, b"Transfer-Encoding is not implemented", {}
        _, kind, name = parts.path.split("/")
        signed = parse_qs(parts.query).get("signature", [""])[0].startswith("canary-signature-")
        if kind == "objects" and self.command in ("GET", "HEAD") and signed and (books.folder / name).exists():
            return self._object(books.folder / name, fault)
        with books.guard:
            if kind != "uploads" or self.command != "PUT" or not signed or books.pending.get(name) is None:
                return 403, b"Request has expired", {}
            key, at_once = books.pending.pop(name)
        with open(books.folder / name, "wb") as file:
            while self._unread and (block := self.rfile.read(min(_BLOCK, self._unread))):
                file.write(b"\0" * len(block) if fault and fault.other else block)
                self._unread -= len(block)
        if self._unread:
            (books.folder / name).unlink()
            self.close_connection = True
            return 400, b"IncompleteBody", {}
        with books.guard:
            books.callbacks[name] = key
            if at_once:
                books.hosted(name)
        return 200, b"", {}

    def _object(self, path: Path, fault: Fault | None) -> tuple[int, Any, dict[str, str]]:
        size, headers = path.stat().st_size, {"Accept-Ranges": "bytes", "Content-Type": "binary/octet-stream"}
        if fault and fault.other:
            return 200, bytes(size), headers
        if found := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
            begin, end = int(found[1]), min(int(found[2] or size), size - 1)
            if begin >= size:
                return 416, b"", {"Content-Range": f"bytes */{size}"}
            headers["Content-Range"] = f"bytes {begin}-{end}/{size}"
            return 206, _Part(path, begin, end + 1 - begin), headers
        return 200, _Part(path, 0, size), headers

    def _send(self, status: int, body: Any, headers: dict[str, str], half: bool = False, drip: bool = False) -> None:
        part = body if isinstance(body, _Part) else None
        sent = body if isinstance(body, bytes) else b"" if part else json.dumps(body).encode()
        size = part.size if part else len(sent)
        kind = {} if part or isinstance(body, bytes) else {"Content-Type": "application/json"}
        quick = self.wfile
        if drip and size < _SHORT:
            self.wfile = _Drip(quick)
        self.send_response(status)
        for key, text in {**kind, **headers, "Content-Length": str(size)}.items():
            self.send_header(key, text)
        self.end_headers()
        if drip:
            self.wfile, self.close_connection = _Drip(quick), True
        if part and self.command != "HEAD":
            with open(part.path, "rb") as file:
                file.seek(part.begin)
                left = size // 2 if half else size
                while left:
                    block = file.read(min(1 << 20, left))
                    self.wfile.write(block)
                    left -= len(block)
        elif self.command != "HEAD":
            self.wfile.write(sent[: size // 2] if half else sent)
        if half:
            self.close_connection = True

    def _drop_rest(self) -> None:
        """Read what was sent and nobody wanted, so that the line can be used again."""
        while self._unread and (block := self.rfile.read(min(_BLOCK, self._unread))):
            self._unread -= len(block)

    def _reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()

    def _token(self, query: dict[str, list[str]]) -> str:
        told = self.headers.get("Authorization", "").removeprefix("Bearer ")
        token = told or self.headers.get("X-Atlas-Token", "") or query.get("access_token", [""])[0]
        return token.rpartition(";")[2]

    def _basic(self) -> tuple[str, str]:
        kind, _, coded = self.headers.get("Authorization", "").partition(" ")
        user, _, word = base64.b64decode(coded).decode().partition(":") if kind == "Basic" else ("", "", "")
        return user, word
