"""Vagrant Cloud, and what speaks as it does: API v2, as HCP's shim and self-hosted registries have it.

Bodies are nested, as the shim wants them. The token goes to the API's own host alone: what it names as storage is asked
by a session that has none, and its callback is a path on the API. A file is there after the callback, and can be read
some time later.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote, urljoin, urlsplit

from msgspec import Struct

from cloud import typed
from cloud.errors import InputError, KitError, NotAllowed, NotFound, TemporaryError
from cloud.publish import download, transfer, web
from cloud.publish.box import Box
from cloud.publish.login import Login
from cloud.publish.names import TRIAL, Tag
from cloud.publish.place import Found, Listed, State, same
from cloud.publish.settings import PublishSettings
from cloud.publish.transfer import Pace

if TYPE_CHECKING:
    import requests

T = TypeVar("T")

_OWN = ("vagrantcloud.com", "app.vagrantup.com")
CLOSING = (
    "HashiCorp's registry is closing: no new boxes since 2026-10-01, no support since 2026-11-02, gone on 2026-12-31; "
    "--to catalog outlives it"
)
_STATES: dict[str, State] = {"active": "released", "revoked": "revoked"}


class _Provider(Struct, frozen=True):
    """A provider as the registry tells of it; what else it tells is not read."""

    name: str
    architecture: str | None = None
    checksum: str | None = None
    checksum_type: str | None = None
    hosted: bool | None = None
    original_url: str | None = None
    download_url: str | None = None


class _Version(Struct, frozen=True):
    version: str
    status: str
    providers: list[_Provider] = []


class _Box(Struct, frozen=True):
    versions: list[_Version] = []


class _Upload(Struct, frozen=True):
    upload_path: str
    callback: str = ""


class _Entry(Struct, frozen=True):
    name: str
    architecture: str = "unknown"
    checksum: str = ""


class _Row(Struct, frozen=True):
    version: str
    providers: list[_Entry] = []


class _Catalog(Struct, frozen=True):
    versions: list[_Row] = []


class VagrantCloud:
    """A registry, with somebody who may write there."""

    name = "vagrant-cloud"
    limit = 5 << 30

    def __init__(self, settings: PublishSettings, environment: Mapping[str, str] = os.environ) -> None:
        server = environment.get("VAGRANT_SERVER_URL") or settings.server
        # Debian's Vagrant has its catalogs' path in that variable.
        self._server = server.rstrip("/").removesuffix("/api/v2/vagrant")
        if urlsplit(self._server).scheme not in ("http", "https") or not urlsplit(self._server).netloc:
            raise InputError(
                f"{server!r} is no registry", hint="set publish.server or VAGRANT_SERVER_URL to its https://"
            )
        self.notice = CLOSING if urlsplit(self._server).hostname in _OWN else ""
        self._settings = settings
        self._login = Login(environment, settings.timeout)
        self._api = web.session()
        self._bare = web.session()

    def check(self) -> None:
        """See that the token is good."""
        self._call("GET", "/authenticate", dict[str, Any], what="logging in")

    def find(self, tag: Tag, version: str) -> Found | None:
        """The version, released or not."""
        try:
            told = self._call("GET", _version(tag, version), _Version, what=f"looking for {tag} {version}")
        except NotFound:
            return None
        return Found(
            _STATES.get(told.status, "unreleased"), tuple(self._listed(tag, version, each) for each in told.providers)
        )

    def _listed(self, tag: Tag, version: str, told: _Provider) -> Listed:
        architecture = told.architecture or "unknown"
        known = (told.checksum_type or "").lower() == "sha256"
        path = f"/{tag.org}/boxes/{tag.box}/versions/{quote(version)}/providers/{told.name}/{architecture}/vagrant.box"
        return Listed(
            told.name,
            architecture,
            (told.checksum or "").lower() if known else "",
            bool(told.hosted or told.original_url),
            told.download_url or self._server + path,
        )

    def versions(self, tag: Tag) -> list[str]:
        """Those that the registry has, to who may write there."""
        try:
            told = self._call("GET", f"/box/{tag}", _Box, what=f"looking for {tag}")
        except NotFound:
            return []
        return [each.version for each in told.versions]

    def begin(self, tag: Tag, version: str) -> None:
        """The box and the version, made where they are not there."""
        try:
            self._call("GET", f"/box/{tag}", dict[str, Any], what=f"looking for {tag}")
        except NotFound:
            wanted = {"username": tag.org, "name": tag.box, "is_private": self._settings.private}
            wanted["short_description"] = f"{tag.box}"
            self._made("/boxes", {"box": wanted}, f"/box/{tag}", what=f"making {tag}")
        if self.find(tag, version) is None:
            body = {"version": {"version": version, "description": ""}}
            self._made(f"/box/{tag}/versions", body, _version(tag, version), what=f"making {tag} {version}")

    def put(self, tag: Tag, version: str, box: Box, *, default: bool, pace: Pace) -> None:
        """Say what it will be, send it, and say that it is there."""
        path = f"{_version(tag, version)}/provider/{box.provider}/{box.architecture}"
        what = f"{box.provider} {box.architecture} of {tag} {version}"
        wanted: dict[str, Any] = {"name": box.provider, "checksum": box.sha256, "checksum_type": "sha256"}
        wanted["architecture"] = box.architecture
        if default:
            wanted["default_architecture"] = True
        found = self.find(tag, version)
        if found is None or found.state != "unreleased":
            raise InputError(f"{tag} {version} is released meanwhile, or gone", hint="take another version")
        listed = next((each for each in found.listed if each.key == (box.provider, box.architecture)), None)
        # The checksum comes before the file: one that does not fit is taken by no Vagrant.
        if listed is None:
            self._made(f"{_version(tag, version)}/providers", {"provider": wanted}, path, what=f"making {what}")
        elif listed.sha256 != box.sha256:
            self._call("PUT", path, dict[str, Any], {"provider": wanted}, what=f"describing {what}")
        callbacks: list[str] = []

        def address() -> str:
            told = self._call("GET", f"{path}/upload/direct", _Upload, what=f"an address for {what}")
            callbacks.append(told.callback)
            return told.upload_path

        def done() -> bool:
            try:
                self._call_back(callbacks[-1], what)
            except download.Wrong:
                return False
            return True

        transfer.upload(self._bare, box.path, box.size, address, done, stall=self._settings.stall, pace=pace)
        self._call_back(callbacks[-1], what)

    def _call_back(self, callback: str, what: str) -> None:
        """Tell that the file was sent. It may be told again.

        Raises:
            Wrong: the registry knows of no such file.
        """
        parts = urlsplit(callback)
        url = self._server + parts.path + (f"?{parts.query}" if parts.query else "")
        answer = self._answer("PUT", url, None)
        if answer.status_code in (400, 404, 409, 422):
            raise download.Wrong(f"{what}: the registry says {answer.status_code} to what was sent")
        if not answer.ok:
            raise self._refused(answer, f"completing {what}")

    def verify(self, tag: Tag, version: str, part: Box | Listed, pace: Pace) -> None:
        """Read it from the address that users are given."""
        found = self.find(tag, version)
        key = (part.provider, part.architecture)
        listed = next((each for each in found.listed if each.key == key), None) if found else None
        if listed is None or not listed.hosted:
            raise NotFound(f"{part.provider} {part.architecture} of {tag} {version} has no file yet")
        if listed.sha256 != part.sha256:
            raise download.Wrong(f"the registry has it with the checksum {listed.sha256 or 'of nothing'}")
        size = part.size if isinstance(part, Box) else 0
        download.check(
            lambda headers: self._stream(listed.url, headers), size, part.sha256, pace, stall=self._settings.stall
        )

    def _stream(self, url: str, headers: dict[str, str]) -> requests.Response:
        """The file's content. Who tells where it is gets to see the token; who has it does not."""
        stall = self._settings.stall
        if urlsplit(url).netloc == urlsplit(self._server).netloc:
            told = self._answer("GET", url, None, stream=True, headers=headers)
            if not told.is_redirect:
                return told
            told.close()
            url = urljoin(url, told.headers["Location"])
        return web.ask(self._bare, "GET", url, timeout=stall, headers=headers, follow=True, stream=True)

    def release(self, tag: Tag, version: str, listed: Sequence[Listed]) -> None:
        """Let everybody have it, and see that it is so."""
        for _ in range(web.TRIES):
            try:
                path = f"{_version(tag, version)}/release"
                self._call("PUT", path, dict[str, Any], what=f"releasing {tag} {version}")
            except web.Refused as problem:
                refusal = problem
            else:
                refusal = web.Refused(f"{tag} {version} is not released, though the registry said so", 200)
            found = self.find(tag, version)
            if found and found.state == "released":
                return
            if refusal.status != 200:
                raise refusal
        raise TemporaryError(refusal.message, hint="the same command goes on")

    def shows(self, tag: Tag, version: str, listed: Sequence[Listed]) -> bool:
        """Look into the catalog that `vagrant box add` reads."""
        try:
            told = self._call("GET", f"/vagrant/{tag}", _Catalog, what=f"reading the catalog of {tag}")
        except NotFound:
            return False
        rows = [row for row in told.versions if row.version == version]
        there = {(each.name, each.architecture): each.checksum for row in rows for each in row.providers}
        return same(listed, there)

    def remove(self, tag: Tag, version: str) -> None:
        """Take a trial away."""
        if not version.startswith(TRIAL):
            raise InputError(f"{version} is no trial, and stays")
        try:
            self._call("DELETE", _version(tag, version), dict[str, Any], what=f"removing {tag} {version}")
        except NotFound:
            pass  # an answer was lost, or another one was quicker

    def address(self, tag: Tag) -> str:
        """The catalog's own address: what `tag` alone leads to differs by Vagrant's version."""
        return f"{self._server}/api/v2/vagrant/{tag}"

    def login(self) -> dict[str, str]:
        """The token only where it is needed: with one Vagrant waits 5 s before it asks a server of others."""
        token = self._login.token() if self._settings.private else ""
        return {"VAGRANT_SERVER_URL": self._server, "VAGRANT_CLOUD_TOKEN": token}

    def _made(self, path: str, body: Mapping[str, Any], there: str, *, what: str) -> None:
        """Make something. That it is there already is as good: an answer was lost, or another one was quicker."""
        try:
            self._call("POST", path, dict[str, Any], body, what=what)
        except web.Refused as problem:
            if problem.status not in (409, 422):
                raise
            try:
                self._call("GET", there, dict[str, Any], what=what)
            except NotFound:
                raise problem from None

    def _call(self, method: str, path: str, kind: type[T], body: Mapping[str, Any] | None = None, *, what: str) -> T:
        """Make a call of the API and read its answer.

        Raises:
            NotAllowed, NotFound, Refused, TemporaryError: as the registry answers.
        """
        answer = self._answer(method, f"{self._server}/api/v2{path}", body, kind=kind)
        if not answer.ok:
            raise self._refused(answer, what)
        return _read(answer, kind)

    def _answer(
        self, method: str, url: str, body: Mapping[str, Any] | None, kind: type[Any] | None = None, **more: Any
    ) -> requests.Response:
        """Ask our own host, with the token; once more with a new one where the old one's time was over."""
        headers = {"Accept": "application/json", **more.pop("headers", {})}

        def act() -> requests.Response:
            told = {**headers, "Authorization": f"Bearer {self._login.token()}"}
            timeout = self._settings.timeout
            answer = web.ask(self._api, method, url, timeout=timeout, headers=told, json=body, **more)
            if kind is not None and answer.ok:
                _read(answer, kind)  # a proxy's page in the place of an answer is asked past
            return answer

        answer = web.persistently(act)
        if answer.status_code == 401 and self._login.renewed():
            answer = web.persistently(act)
        return answer

    def _refused(self, answer: requests.Response, what: str) -> KitError:
        found = web.refusal(answer, what)
        if answer.status_code == 401:
            return NotAllowed(found.message, hint=self._login.hint)
        return found


def _version(tag: Tag, version: str) -> str:
    return f"/box/{tag}/version/{quote(version)}"


def _read(answer: requests.Response, kind: type[T]) -> T:
    """The answer's JSON; one of none is an empty object.

    Raises:
        TemporaryError: it is something else.
    """
    try:
        return typed.read(answer.content or b"{}", kind)
    except (ValueError, RecursionError):
        host = urlsplit(answer.url).netloc
        raise TemporaryError(
            f"{host} answers with what is not its own: something between us?", hint="again later"
        ) from None
