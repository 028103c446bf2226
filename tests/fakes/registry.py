"""Vagrant Cloud as a server: its API v1 and v2, its catalogs, and its storage on a port of its own.

Here are the books and the rules; `registry_wire` has the sockets and the faults. What is refused is what is known to be
refused (docs and issues of hashicorp/vagrant, vagrant_cloud and packer): a file is there only after the callback, an
upload address is good for one try, storage takes no Authorization and no chunks, nothing is released without a file.
The real `vagrant cloud publish` and `vagrant box add` work against it.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

TOKEN = "canary-token-of-one-who-publishes-6b1f"  # noqa: S105  # it opens nothing but this
CLIENT, SECRET = "service-principal", "canary-secret-of-a-client-22d9"
USER = "kontain"
ARCHITECTURES = (
    *("amd64", "i386", "arm", "arm64", "ppc64le", "ppc64", "mips64le", "mips64", "mipsle", "mips", "s390x"),
    "unknown",
)
# What Gem::Version takes.
_VERSION = re.compile(r"[0-9]+(\.[0-9a-zA-Z]+)*(-[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?")
_CHECKSUMS = ("md5", "sha1", "sha256", "sha384", "sha512")


@dataclass
class Refusal(Exception):
    """An answer that is an error."""

    status: int
    errors: Any


@dataclass
class Provider:
    """A provider of a version, on one architecture."""

    name: str
    architecture: str
    default: bool
    checksum: str = ""
    checksum_type: str = ""
    url: str = ""
    file: str = ""
    """The object in the storage; empty until it is hosted."""
    ready: int = 0
    """How many looks at the file still find nothing."""
    created: str = ""


@dataclass
class Version:
    """A version of a box."""

    version: str
    number: int
    status: str = "unreleased"
    description: str = ""
    providers: list[Provider] = field(default_factory=list)
    created: str = ""


@dataclass
class Box:
    """A box: its versions, and what is told of it."""

    org: str
    name: str
    private: bool = True
    short: str = ""
    description: str = ""
    versions: list[Version] = field(default_factory=list)
    created: str = ""


def now() -> str:
    """This moment, as the registry writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")


@dataclass
class Books:
    """All that the registry knows, and what it answers. One call at a time."""

    folder: Path
    hcp: bool = False
    """Whether it speaks as the shim of HCP: flat bodies and logins with a password are refused."""
    lag: int = 0
    """How many looks at a file that was just uploaded find nothing."""
    orgs: tuple[str, ...] = (USER,)
    tokens: dict[str, float] = field(default_factory=lambda: {TOKEN: float("inf")})
    """Each with the moment until which it is good."""
    lives: float = 3600
    """Seconds for which a token that is given to a client is good."""
    boxes: dict[str, Box] = field(default_factory=dict)
    pending: dict[str, tuple[str, bool]] = field(default_factory=dict)
    """Addresses that a file may be put to: whose it is to be, and whether it is hosted at once."""
    callbacks: dict[str, str] = field(default_factory=dict)
    url: str = ""
    storage: str = ""
    guard: threading.RLock = field(default_factory=threading.RLock)

    # What tests ask.

    def version(self, tag: str, version: str) -> Version | None:
        """A version, as it is in the books."""
        box = self.boxes.get(tag)
        return next((each for each in box.versions if each.version == version), None) if box else None

    def broken(self) -> list[str]:
        """Released versions that lack a file, or have one that is not what they say, if they say anything."""
        found = []
        for tag, box in self.boxes.items():
            for version in (each for each in box.versions if each.status == "active"):
                for provider in version.providers:
                    where = f"{tag} {version.version} {provider.name}"
                    if not provider.file:
                        found.append(f"{where}: released without its file")
                    elif provider.checksum and self.sha256(provider.file) != provider.checksum:
                        found.append(f"{where}: another file than it says")
        return found

    def sha256(self, name: str) -> str:
        """The checksum of an object in the storage."""
        return hashlib.sha256((self.folder / name).read_bytes()).hexdigest()

    # The API. `path` is what follows /api/v1 or /api/v2.

    def answer(self, method: str, path: str, body: Mapping[str, Any], token: str, old: bool) -> tuple[int, Any]:
        """Status and body.

        Raises:
            Refusal: it is not to be had.
        """
        with self.guard:
            for wanted, pattern, act in ROUTES:
                if wanted == method and (found := re.fullmatch(pattern, path)):
                    known = self.tokens.get(token, 0) > time.time()
                    words = {key: text for key, text in found.groupdict().items() if text is not None}
                    if act == "login":
                        raise Refusal(405 if self.hcp else 401, ["Login is not possible"])
                    if not known and (method != "GET" or act == "who" or token):
                        raise Refusal(401, ["Authentication is required"])
                    return 200, getattr(self, f"_{act}")(words, body, known, old)
            raise Refusal(404, ["Resource not found!"])

    def _who(self, words: dict[str, str], body: Mapping[str, Any], known: bool, old: bool) -> Any:
        return {"user": {"username": USER}}

    def _org(self, words: dict[str, str], body: Mapping[str, Any], known: bool, old: bool) -> Any:
        if words["org"] not in self.orgs:
            raise Refusal(404, ["Resource not found!"])
        mine = [box for box in self.boxes.values() if box.org == words["org"]]
        return {"username": words["org"], "avatar_url": "", "boxes": [self._told_box(box, old) for box in mine]}

    def _box(self, words: dict[str, str], known: bool = True) -> Box:
        box = self.boxes.get(f"{words['org']}/{words['box']}")
        if box is None or (box.private and not known):
            raise Refusal(404, ["Resource not found!"])
        return box

    def _version(self, words: dict[str, str], known: bool = True) -> Version:
        box = self._box(words, known)
        for each in box.versions:
            if each.version == words["version"]:
                return each
        raise Refusal(404, ["Resource not found!"])

    def _provider(self, words: dict[str, str], known: bool = True) -> Provider:
        version = self._version(words, known)
        for each in version.providers:
            if each.name == words["provider"] and words.get("arch", each.architecture) == each.architecture:
                return each
        raise Refusal(404, ["Resource not found!"])

    def _read_box(self, words: dict[str, str], body: Mapping[str, Any], known: bool, old: bool) -> Any:
        return self._told_box(self._box(words, known), old)

    def _make_box(self, words: dict[str, str], body: Mapping[str, Any], known: bool, old: bool) -> Any:
        if "box" not in body and self.hcp:
            raise Refusal(422, ["public_id: cannot be blank", "registry: cannot be blank"])
        told = body.get("box", body)
        org, name = str(told.get("username") or USER), str(told.get("name") or "")
        if not re.fullmatch(r"[\w.-]+", name):
            raise Refusal(422, ["box parameter is required!"])
        if org not in self.orgs:
            raise Refusal(403, ["You are not allowed to do this"])
        if f"{org}/{name}" in self.boxes:
            raise Refusal(422, ["Type has already been taken"])
        box = Box(
            org, name, bool(told.get("is_private", True)), str(told.get("short_description") or ""), created=now()
        )
        self.boxes[f"{org}/{name}"] = box
        return self._told_box(box, old)

    def _edit_box(self, words: dict[str, str], body: Mapping[str, Any], known: bool, old: bool) -> Any:
        box, told = self._box(words), body.get("box", body)
        box.private = bool(told.get("is_private", box.private))
        box.short = str(told.get("short_description", box.short) or "")
        return self._told_box(box, old)

    def _read_version(self, words: dict[str, str], body: Mapping[str, Any], known: bool, old: bool) -> Any:
        return self._told_version(words, self._version(words, known), old)

    def _make_version(self, words: dict[str, str], body: Mapping[str, Any], known: bool, old: bool) -> Any:
        box, told = self._box(words), body.get("version") or {}
        version = str(told.get("version") or "")
        if not _VERSION.fullmatch(version):
            raise Refusal(422, ["Version is invalid"])
        if any(each.version == version for each in box.versions):
            raise Refusal(422, ["Version has already been taken"])
        made = Version(version, len(box.versions) + 1, description=str(told.get("description") or ""), created=now())
        box.versions.append(made)
        return self._told_version({**words, "version": version}, made, old)

    def _drop_version(self, words: dict[str, str], body: Mapping[str, Any], known: bool, old: bool) -> Any:
        box, version = self._box(words), self._version(words)
        box.versions.remove(version)
        return self._told_version(words, version, old)

    def _release(self, words: dict[str, str], body: Mapping[str, Any], known: bool, old: bool) -> Any:
        version = self._version(words)
        if version.status != "unreleased":
            state = {"active": "has already been released", "revoked": "can't be released again"}[version.status]
            raise Refusal(422, [f"Version {state}"])
        if not version.providers:
            raise Refusal(422, ["Version must have at least one provider"])
        version.status = "active"
        return self._told_version(words, version, old)

    def _revoke(self, words: dict[str, str], body: Mapping[str, Any], known: bool, old: bool) -> Any:
        version = self._version(words)
        version.status = "revoked"
        return self._told_version(words, version, old)

    def _read_provider(self, words: dict[str, str], body: Mapping[str, Any], known: bool, old: bool) -> Any:
        return self._told_provider(words, self._provider(words, known), old)

    def _make_provider(self, words: dict[str, str], body: Mapping[str, Any], known: bool, old: bool) -> Any:
        version, told = self._version(words), body.get("provider") or {}
        name = str(told.get("name") or "")
        architecture = "unknown" if old else str(told.get("architecture") or "unknown")
        if not re.fullmatch(r"[\w-]+", name) or architecture not in ARCHITECTURES:
            raise Refusal(422, ["Metadata provider is invalid"])
        same = [each for each in version.providers if each.name == name]
        if any(each.architecture == architecture for each in same):
            raise Refusal(422, [{"message": "Metadata provider must be unique for version"}])
        made = Provider(name, architecture, not same, url=str(told.get("url") or ""), created=now())
        self._summed(made, told)
        version.providers.append(made)
        if told.get("default_architecture"):
            self._only_default(version, made)
        return self._told_provider({**words, "provider": name}, made, old)

    def _edit_provider(self, words: dict[str, str], body: Mapping[str, Any], known: bool, old: bool) -> Any:
        provider, told = self._provider(words), body.get("provider") or {}
        self._summed(provider, told)
        if told.get("default_architecture"):
            self._only_default(self._version(words), provider)
        return self._told_provider(words, provider, old)

    def _summed(self, provider: Provider, told: Mapping[str, Any]) -> None:
        kind = str(told.get("checksum_type") or "")
        if kind and kind not in _CHECKSUMS:
            raise Refusal(422, "Metadata checksum type is invalid")
        if kind:
            provider.checksum, provider.checksum_type = str(told.get("checksum") or ""), kind

    def _only_default(self, version: Version, chosen: Provider) -> None:
        for each in version.providers:
            if each.name == chosen.name:
                each.default = each is chosen

    def _drop_provider(self, words: dict[str, str], body: Mapping[str, Any], known: bool, old: bool) -> Any:
        provider = self._provider(words)
        self._version(words).providers.remove(provider)
        return self._told_provider(words, provider, old)

    def _upload(self, words: dict[str, str], body: Mapping[str, Any], known: bool, old: bool) -> Any:
        return {"upload_path": self._place(words, at_once=True)[0]}

    def _upload_direct(self, words: dict[str, str], body: Mapping[str, Any], known: bool, old: bool) -> Any:
        place, name = self._place(words, at_once=False)
        self.callbacks[name] = self._key(words)
        path = f"box/{words['org']}/{words['box']}/version/{words['version']}/provider/{words['provider']}"
        back = f"{self.url}/api/{'v1' if old else 'v2'}/{path}/{self._provider(words).architecture}"
        return {"upload_path": place, "callback": f"{back}/complete/{name}"}

    def _place(self, words: dict[str, str], at_once: bool) -> tuple[str, str]:
        self._provider(words)
        name = secrets.token_hex(8)
        self.pending[name] = (self._key(words), at_once)
        return f"{self.storage}/uploads/{name}?signature=canary-signature-{secrets.token_hex(8)}", name

    def _key(self, words: dict[str, str]) -> str:
        provider = self._provider(words)
        return "\0".join((words["org"], words["box"], words["version"], provider.name, provider.architecture))

    def _complete(self, words: dict[str, str], body: Mapping[str, Any], known: bool, old: bool) -> Any:
        name = words["object"]
        if self.callbacks.get(name) != self._key(words) or not (self.folder / name).exists():
            raise Refusal(404, ["No such upload"])
        self.hosted(name)
        return {}

    def hosted(self, name: str) -> None:
        """The object is the file of its provider from now on."""
        org, box, version, provider, architecture = self.callbacks[name].split("\0")
        words = {"org": org, "box": box, "version": version, "provider": provider, "arch": architecture}
        found = self._provider(words)
        if found.file != name:
            found.file, found.ready = name, self.lag

    def download(self, words: dict[str, str], token: str) -> str:
        """Where in the storage the file is. Whoever knows the address may have it, released or not.

        Raises:
            Refusal: there is none, or it is private.
        """
        with self.guard:
            provider = self._provider(words, self.tokens.get(token, 0) > time.time())
            if not provider.file or provider.ready > 0:
                provider.ready -= 1
                raise Refusal(404, ["Resource not found!"])
            return f"{self.storage}/objects/{provider.file}?signature=canary-signature-{secrets.token_hex(8)}"

    def catalog(self, tag: str, token: str) -> dict[str, Any]:
        """What `vagrant box add` reads: released versions alone.

        Raises:
            Refusal: there is no such box, or it is private.
        """
        with self.guard:
            org, _, name = tag.partition("/")
            box = self._box({"org": org, "box": name}, self.tokens.get(token, 0) > time.time())
            versions = []
            for version in (each for each in box.versions if each.status == "active"):
                words = {"org": org, "box": name, "version": version.version}
                # The default one comes last: Vagrant before 2.4 takes the last one of a name.
                rows = [self._told_provider(words, each, False) for each in sorted(version.providers, key=_default)]
                kept = ("name", "checksum", "checksum_type", "architecture", "default_architecture")
                told = [
                    {key: row[key] for key in kept if row[key] != ""} | {"url": row["download_url"]} for row in rows
                ]
                versions.append({"version": version.version, "status": "active", "providers": told})
            return {"name": tag, "description": box.description, "short_description": box.short, "versions": versions}

    def give_token(self, form: bytes, basic: tuple[str, str]) -> tuple[int, Any]:
        """OAuth2's client credentials: by Basic, or in the form."""
        told = {key: texts[0] for key, texts in parse_qs(form.decode()).items()}
        who = basic if basic[0] else (told.get("client_id", ""), told.get("client_secret", ""))
        if told.get("grant_type") != "client_credentials":
            return 400, {"error": "unsupported_grant_type"}
        if who != (CLIENT, SECRET):
            return 401, {"error": "invalid_client"}
        token = f"canary-token-for-a-while-{secrets.token_hex(8)}"
        self.tokens[token] = time.time() + self.lives
        return 200, {"access_token": token, "token_type": "bearer", "expires_in": int(self.lives)}

    # What is told.

    def _told_box(self, box: Box, old: bool) -> dict[str, Any]:
        words = {"org": box.org, "box": box.name}
        active = [each for each in box.versions if each.status == "active"]
        versions = [self._told_version({**words, "version": each.version}, each, old) for each in box.versions]
        return {
            "created_at": box.created,
            "updated_at": box.created,
            "tag": f"{box.org}/{box.name}",
            "name": box.name,
            "username": box.org,
            "short_description": box.short,
            "description_html": "",
            "description_markdown": box.description,
            "private": box.private,
            "downloads": 0,
            "current_version": self._told_version({**words, "version": active[-1].version}, active[-1], old)
            if active
            else None,
            "versions": versions,
        }

    def _told_version(self, words: dict[str, str], version: Version, old: bool) -> dict[str, Any]:
        base = f"{self.url}/api/v2/box/{words['org']}/{words['box']}/version/{version.version}"
        return {
            "version": version.version,
            "status": version.status,
            "description_html": "",
            "description_markdown": version.description,
            "created_at": version.created,
            "updated_at": version.created,
            "number": str(version.number),
            "release_url": f"{base}/release",
            "revoke_url": f"{base}/revoke",
            "providers": [self._told_provider(words, each, old) for each in version.providers],
        }

    def _told_provider(self, words: dict[str, str], provider: Provider, old: bool) -> dict[str, Any]:
        path = f"{words['org']}/boxes/{words['box']}/versions/{words['version']}/providers/{provider.name}"
        told = {
            "name": provider.name,
            "hosted": bool(provider.file),
            "hosted_token": None,
            "original_url": provider.url or None,
            "created_at": provider.created,
            "updated_at": provider.created,
            "checksum": provider.checksum,
            "checksum_type": provider.checksum_type,
            "download_url": f"{self.url}/{path}/{provider.architecture}/vagrant.box",
        }
        if not old:
            told |= {"architecture": provider.architecture, "default_architecture": provider.default}
        return told


def _default(provider: Provider) -> bool:
    return provider.default


_BOX = r"/box/(?P<org>[^/]+)/(?P<box>[^/]+)"
_VER = rf"{_BOX}/version/(?P<version>[^/]+)"
_PRO = rf"{_VER}/provider/(?P<provider>[^/]+)(?:/(?P<arch>{'|'.join(ARCHITECTURES)}))?"
ROUTES = (
    ("GET", r"/authenticate", "who"),
    ("POST", r"/authenticate", "login"),
    ("GET", r"/user/(?P<org>[^/]+)", "org"),
    ("POST", r"/boxes", "make_box"),
    ("GET", _BOX, "read_box"),
    ("PUT", _BOX, "edit_box"),
    ("POST", rf"{_BOX}/versions", "make_version"),
    ("GET", _VER, "read_version"),
    ("DELETE", _VER, "drop_version"),
    ("PUT", rf"{_VER}/release", "release"),
    ("PUT", rf"{_VER}/revoke", "revoke"),
    ("POST", rf"{_VER}/providers", "make_provider"),
    ("GET", _PRO, "read_provider"),
    ("PUT", _PRO, "edit_provider"),
    ("DELETE", _PRO, "drop_provider"),
    ("GET", rf"{_PRO}/upload", "upload"),
    ("GET", rf"{_PRO}/upload/direct", "upload_direct"),
    ("PUT", rf"{_PRO}/complete/(?P<object>[0-9a-f]+)", "complete"),
)
"""Method, path and what it does."""

FILE = re.compile(
    r"/(?P<org>[^/]+)/boxes/(?P<box>[^/]+)/versions/(?P<version>[^/]+)/providers/"
    r"(?P<provider>[^/]+?)(?:\.box|/(?P<arch>[^/]+)/vagrant\.box)"
)
"""Where a file is downloaded: with its architecture, or as it was before there were any."""
