"""A vendor of software: an apt repository that is signed, and files to fetch, served by HTTP."""

from __future__ import annotations

import functools
import hashlib
import http.server
import subprocess
import threading
from pathlib import Path


class Vendor:
    """Two versions of a program called `answer`, of which each prints its own, and a file."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        (folder / "apt").mkdir(parents=True)
        gpg: list[str | Path] = ["gpg", "--homedir", folder / "keys", "--batch", "--quiet"]
        (folder / "keys").mkdir(mode=0o700)
        told = [*gpg, "--passphrase", "", "--quick-generate-key", "vendor@example.org", "ed25519", "sign", "never"]
        subprocess.run(told, check=True, capture_output=True)
        listed = subprocess.run([*gpg, "--list-keys", "--with-colons"], capture_output=True, text=True, check=True)
        rows = (line.split(":") for line in listed.stdout.splitlines())
        self.fingerprint = next(row[9] for row in rows if row[0] == "fpr")
        for version in ("1.2.3", "1.3.0"):
            self._package(version)
        self._list()
        signed: list[list[str | Path]] = [
            ["--clearsign", "--output", folder / "apt/InRelease", folder / "apt/Release"],
            ["--armor", "--output", folder / "key.asc", "--export"],
        ]
        for words in signed:
            subprocess.run([*gpg, *words], check=True, capture_output=True)
        (folder / "file.bin").write_bytes(b"a file\n" * 1000)
        self.sha256 = hashlib.sha256((folder / "file.bin").read_bytes()).hexdigest()
        handler = functools.partial(_Quiet, directory=str(folder))
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        """Serve no more."""
        self._server.shutdown()
        self._server.server_close()

    def _package(self, version: str) -> None:
        tree = self._folder / f"answer_{version}"
        (tree / "DEBIAN").mkdir(parents=True)
        (tree / "usr/bin").mkdir(parents=True)
        control = f"Package: answer\nVersion: 5:{version}-1~vendor\nArchitecture: all\n"
        (tree / "DEBIAN/control").write_text(f"{control}Maintainer: a vendor <vendor@example.org>\nDescription: it\n")
        (tree / "usr/bin/answer").write_text(f"#!/bin/sh\necho answer v{version}\n")
        (tree / "usr/bin/answer").chmod(0o755)
        built = self._folder / "apt" / f"answer_{version}_all.deb"
        subprocess.run(["dpkg-deb", "--build", "--root-owner-group", tree, built], check=True, capture_output=True)

    def _list(self) -> None:
        entries = []
        for path in sorted((self._folder / "apt").glob("*.deb")):
            control = subprocess.run(["dpkg-deb", "--field", path], capture_output=True, text=True, check=True).stdout
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            entries.append(f"{control}Filename: ./{path.name}\nSize: {path.stat().st_size}\nSHA256: {digest}\n")
        packages = "\n".join(entries).encode()
        (self._folder / "apt/Packages").write_bytes(packages)
        listed = f" {hashlib.sha256(packages).hexdigest()} {len(packages)} Packages\n"
        (self._folder / "apt/Release").write_text(f"Origin: vendor\nSuite: all\nSHA256:\n{listed}")


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass
