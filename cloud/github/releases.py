"""The releases of a repository: drafted, filled with files, published, and then never changed.

"REST API endpoints for releases" and "REST API endpoints for release assets" in GitHub's documentation. Each call here
may be made again, after whatever came of it: what is there already is found, and not made twice.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from msgspec import Struct

from cloud import http, wait
from cloud.errors import InputError, KitError, TemporaryError
from cloud.files import replaced
from cloud.github.calls import HEADERS, LATER, Calls, TooOften, errors
from cloud.progress import Progress
from cloud.publish import download, transfer, web
from cloud.publish.transfer import Pace
from cloud.settings import GithubSettings

if TYPE_CHECKING:
    import requests

LARGEST = (2 << 30) - 1
"""Bytes of a file, at the most ("About releases": "each file included in a release must be under 2 GiB")."""

SLOWEST = 32 << 20
"""Bytes that GitHub is given a second more for, to keep them and to sum them up before it answers."""

_READ, _WRITE = "Contents: read", "Contents: write"
_LOGIN = "set GH_TOKEN to one with Contents: write; in a workflow that is `permissions: contents: write`"
_MADE = "a published release stays as it is: make another one, of another tag"

# Of what git allows in a name ("git check-ref-format") that which needs no thought.
_TAG = re.compile(r"(?!.*(?:\.\.|//|/\.|\.lock(?:/|$)))[A-Za-z0-9_][A-Za-z0-9_.+/-]*(?<![./])")
# GitHub takes no branch or tag that could be a commit.
_COMMIT = re.compile(r"[0-9a-fA-F]{40}")
# "GitHub renames asset filenames that have special characters, non-alphanumeric characters, and leading or trailing
# periods" ("Upload a release asset").
_NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.+-]{0,253}[A-Za-z0-9_])?")
_SUM = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Asset:
    """A file of a release."""

    id: int
    name: str
    size: int
    """Bytes."""
    sha256: str
    """Empty where GitHub does not tell: an old one, or an old GitHub Enterprise Server."""
    uploaded: bool
    """Whole. An upload that was cut leaves one that is not, and has the name."""


@dataclass(frozen=True)
class Release:
    """A release, as GitHub has it."""

    id: int
    tag: str
    commit: str
    """What the tag is put on when it is published, unless there is such a tag: a commit, or a branch."""
    name: str
    draft: bool
    prerelease: bool
    url: str
    """Where people look at it. That of a draft ends with it."""
    assets: tuple[Asset, ...]


@dataclass(frozen=True)
class Tagged:
    """What a tag is on."""

    sha: str
    annotated: bool
    """It is an object of git's with a message, which names the commit; else it is the commit."""


# What GitHub writes, as far as we read it.


class _Asset(Struct):
    id: int
    name: str
    size: int
    state: str
    digest: str | None = None


class _Object(Struct):
    sha: str
    type: str


class _Ref(Struct):
    object: _Object


class _Release(Struct):
    id: int
    tag_name: str
    target_commitish: str
    name: str | None
    draft: bool
    prerelease: bool
    html_url: str
    upload_url: str
    assets: list[_Asset]
    body: str | None = None


class Releases:
    """The releases of one repository. Each call raises what those of `Calls` do."""

    def __init__(self, settings: GithubSettings, token: str, repository: str) -> None:
        self._calls = Calls(settings, token, repository, right=_WRITE, login=_LOGIN)

    def all(self) -> list[Release]:
        """All releases. Drafts are among them only for who may write."""
        return [_release(each) for each in self._all()]

    def find(self, tag: str) -> Release | None:
        """The release of that tag, draft or not; None where there is none.

        Drafts may have one tag together: the published one comes first, then the oldest.
        """
        found = self._find(tag)
        return _release(found) if found else None

    def tagged(self, tag: str) -> Tagged | None:
        """What the tag is on; None where there is no such tag."""
        what = f"look for the tag {tag} of {self._calls.slug}"
        path = f"{self._calls.repo}/git/ref/{quote(f'tags/{tag}', safe='')}"
        answer = self._calls.ask("GET", path, what, _READ, fine=(404,))
        if answer.status_code == 404:
            return None
        found = self._calls.decoded(_Ref, answer, what).object
        return Tagged(found.sha, found.type == "tag")

    def draft(self, tag: str, commit: str, name: str, text: str, *, prerelease: bool, moves: bool = True) -> Release:
        """A draft of that tag with that name and text, new or made to fit; the published one as it is, if there is one.

        Unless it `moves`, one of another commit is as it is, too.

        Raises:
            InputError: the tag is none that GitHub takes.
        """
        if not _TAG.fullmatch(tag) or _COMMIT.fullmatch(tag):
            raise InputError(f"{tag!r} is no tag", hint="as v1.2.3: letters, digits and ._+/-")
        wanted: dict[str, str | bool] = {"target_commitish": commit, "name": name, "body": text}
        wanted["prerelease"] = prerelease
        found = self._find(tag) or self._only(self._made(tag, {"tag_name": tag, "draft": True, **wanted}))
        if found.target_commitish != commit and not moves:
            return _release(found)
        told = (found.target_commitish, found.name or "", found.body or "", found.prerelease)
        if found.draft and told != (commit, name, text, prerelease):
            found = self._changed(found.id, wanted, f"change the draft {tag} of {self._calls.slug}")
        return _release(found)

    def upload(self, release: Release, path: Path, sha256: str, progress: Progress) -> Asset:
        """Put a file into a draft, under its own name, in the place of another one or a half one of that name.

        The same file that is there already is not sent again, and may be there in a published release.

        Raises:
            InputError: the release is published, or the file none that GitHub takes.
            KitError: GitHub has something else than what was sent.
        """
        size = _sendable(path, sha256)
        pace = Pace(path.name, size, progress)
        pauses = () if wait.interrupted() else http.PAUSES
        for pause in (*pauses, None):
            told = self._now(release, f"upload {path.name} to")
            there = next((each for each in self._files(release) if each.name == path.name), None)
            if there and (there.uploaded, there.size, there.sha256) == (True, size, sha256):
                return there
            self._only_draft(told, f"{path.name} can't be put there")
            if there:
                self._delete(there)
            try:
                sent = self._sent(told, path, size, pace)
            except TooOften:
                raise
            except TemporaryError:
                # What came of it, the list of files says.
                if pause is None:
                    raise
                wait.pause(pause)
                continue
            return self._read_back(sent, path.name, size, sha256)
        raise AssertionError("unreachable")

    def download(self, asset: Asset, path: Path, progress: Progress, *, sha256: str = "") -> None:
        """Fetch a file of a release, whole or not at all. `sha256` is its sum where GitHub tells none.

        Raises:
            InputError: it can't be written to that path.
            KitError: GitHub has something else than it says, or than what is expected.
        """
        try:
            with replaced(path) as fresh, open(fresh, "wb") as file:
                opened = partial(self._opened, asset)
                pace = Pace(asset.name, asset.size, progress)
                wanted = sha256 or asset.sha256
                download.check(opened, asset.size, wanted, pace, stall=self._calls.settings.timeout, into=file)
        except download.Wrong as problem:
            raise KitError(f"GitHub's {asset.name}: {problem.message}", hint="./inv release.status") from problem
        except OSError as problem:
            raise InputError(
                f"{path} can't be written: {problem.strerror or problem}", hint="is the folder ours, and not full?"
            ) from problem

    def publish(self, release: Release) -> Release:
        """Let everybody see a draft, which makes its tag. It may be published already.

        Raises:
            InputError: a file is there by half.
        """
        told = self._now(release, "publish")
        if told.draft:
            halves = [each.name for each in self._files(release) if not each.uploaded]
            if halves:
                raise InputError(
                    f"release {told.tag_name} has a half of {', '.join(halves)}", hint="upload it again, or remove it"
                )
            told = self._changed(told.id, {"draft": False}, f"publish {release.tag} of {self._calls.slug}")
        if told.draft:
            raise TemporaryError(f"release {told.tag_name} is still a draft, though GitHub took our word", hint=LATER)
        return _release(told)

    # Releases.

    @property
    def _list(self) -> str:
        return f"{self._calls.repo}/releases"

    def _path(self, release: Release) -> str:
        return f"{self._list}/{release.id}"

    def _all(self) -> list[_Release]:
        what = f"list the releases of {self._calls.slug}"
        return list(self._calls.pages(list[_Release], lambda page: page, self._list, what, _READ))

    def _find(self, tag: str) -> _Release | None:
        """GitHub's own call for a tag knows no drafts."""
        found = [each for each in self._all() if each.tag_name == tag]
        return min(found, key=lambda each: (each.draft, each.id), default=None)

    def _made(self, tag: str, body: dict[str, str | bool]) -> _Release:
        """A new one. What no answer came to is looked for, before it is asked for again."""
        what = f"draft the release {tag} of {self._calls.slug}"
        pauses = () if wait.interrupted() else http.PAUSES
        for pause in (*pauses, None):
            try:
                answer = self._calls.ask("POST", self._list, what, _WRITE, body=body, once=True)
                return self._calls.decoded(_Release, answer, what)
            except TooOften:
                raise
            except TemporaryError:
                if pause is None:
                    raise
                wait.pause(pause)
                if found := self._find(tag):
                    return found
        raise AssertionError("unreachable")

    def _only(self, made: _Release) -> _Release:
        """The release of its tag. Whoever drafted it at the same moment has the older one: then ours goes."""
        found = self._find(made.tag_name) or made
        if found.id != made.id:
            what = f"remove the second draft {made.tag_name} of {self._calls.slug}"
            self._calls.ask("DELETE", f"{self._list}/{made.id}", what, _WRITE, fine=(404,))
        return found

    def _changed(self, number: int, body: dict[str, str | bool], what: str) -> _Release:
        answer = self._calls.ask("PATCH", f"{self._list}/{number}", what, _WRITE, body=body)
        return self._calls.decoded(_Release, answer, what)

    def _now(self, release: Release, verb: str) -> _Release:
        """The release as it is now: what is in a `Release` may be long ago."""
        what = f"{verb} the release {release.tag} of {self._calls.slug}"
        answer = self._calls.ask("GET", self._path(release), what, _WRITE)
        return self._calls.decoded(_Release, answer, what)

    def _only_draft(self, told: _Release, so: str) -> None:
        if not told.draft:
            raise InputError(f"release {told.tag_name} is published: {so}", hint=_MADE)

    # Files.

    def _files(self, release: Release) -> list[Asset]:
        what = f"list the files of release {release.tag} of {self._calls.slug}"
        path = f"{self._path(release)}/assets"
        return [_asset(each) for each in self._calls.pages(list[_Asset], lambda page: page, path, what, _READ)]

    def _delete(self, asset: Asset) -> None:
        what = f"remove {asset.name} from a release of {self._calls.slug}"
        self._calls.ask("DELETE", f"{self._list}/assets/{asset.id}", what, _WRITE, fine=(404,))

    def _sent(self, told: _Release, path: Path, size: int, pace: Pace) -> _Asset:
        """Send it, once.

        Raises:
            TemporaryError: it did not go, or what came of it is not known.
        """
        address = self._address(told.upload_url)
        what = f"upload {path.name} to the release {told.tag_name} of {self._calls.slug}"
        stall = self._calls.settings.timeout
        headers = {"Content-Type": "application/octet-stream"}

        def act() -> requests.Response:
            with open(path, "rb", buffering=0) as source:
                pace.begin()
                return web.ask(
                    self._session,
                    "POST",
                    address,
                    timeout=stall + size / SLOWEST,
                    params={"name": path.name},
                    headers=headers,
                    data=transfer.Body(source, size, pace),
                    auth=self._calls.sign,
                )

        answer = self._calls.answered(act, what, _WRITE, fine=(422,))
        if answer.status_code == 422:
            refused = self._calls.refused(answer, what, _WRITE)
            # Another one has sent it meanwhile, or our own try before this one is there by now.
            if any(each.get("code") == "already_exists" for each in errors(answer)):
                raise TemporaryError(refused.message, hint=LATER)
            raise refused
        return self._calls.decoded(_Asset, answer, what)

    @cached_property
    def _session(self) -> requests.Session:
        """One that sends in large blocks, and follows nobody with our token."""
        session = web.session()
        session.headers.update(HEADERS)
        return session

    def _opened(self, asset: Asset, headers: Mapping[str, str]) -> requests.Response:
        """A file of a release as a stream ("Get a release asset": "should handle both a 200 or 302 response").

        Raises:
            TemporaryError: it is not to be had now.
        """
        what = f"download {asset.name} of {self._calls.slug}"
        path = f"{self._calls.settings.api.rstrip('/')}{self._list}/assets/{asset.id}"
        stall = self._calls.settings.timeout
        binary = {**headers, "Accept": "application/octet-stream"}

        def act() -> requests.Response:
            return web.ask(
                self._session, "GET", path, timeout=stall, headers=binary, stream=True, auth=self._calls.sign
            )

        answer = self._calls.answered(act, what, _READ, fine=(302, 416))
        if answer.status_code != 302:
            return answer
        answer.close()
        # To that address without the token: what is in it is all that its host wants to know. It is good for minutes.
        address = self._trusted(answer.headers.get("Location", ""), "sends us for files to")
        stored = web.ask(self._session, "GET", address, timeout=stall, headers=binary, stream=True)
        if stored.ok or stored.status_code == 416:
            return stored
        stored.close()
        told = f"{urlsplit(address).hostname} does not let us {what}: it answers {stored.status_code}"
        if stored.status_code in web.AGAIN or stored.status_code >= 500:
            raise TemporaryError(told, hint=LATER)
        raise KitError(told, hint=LATER)

    def _address(self, template: str) -> str:
        """Where GitHub wants files, of `https://uploads.github.com/repos/.../assets{?name,label}`.

        Raises:
            KitError: that is nowhere to send a token to.
        """
        return self._trusted(template.partition("{")[0], "wants files at")

    def _trusted(self, address: str, does: str) -> str:
        """That address, if nobody on the way can read along.

        Raises:
            KitError: it is none, or somebody can.
        """
        try:
            to, api = urlsplit(address), urlsplit(self._calls.settings.api)
            if to.hostname and (to.scheme == "https" or (to.scheme, to.netloc) == (api.scheme, api.netloc)):
                return address
        except ValueError:
            pass
        raise KitError(
            f"GitHub {does} an address that we do not trust: {web.public(address)}",
            hint=f"does {self._calls.host} lead to GitHub's API, and no proxy answers in its place?",
        )

    def _read_back(self, sent: _Asset, name: str, size: int, sha256: str) -> Asset:
        """What GitHub has of a file that was sent: with no sum where it tells none."""
        what = f"read back {name} from {self._calls.slug}"
        answer = self._calls.ask("GET", f"{self._list}/assets/{sent.id}", what, _READ)
        found = _asset(self._calls.decoded(_Asset, answer, what))
        if (found.uploaded, found.name, found.size) != (True, name, size) or found.sha256 not in (sha256, ""):
            raise KitError(
                f"GitHub has {found.name} with {found.size} bytes and the sum {found.sha256 or 'of nothing'}, "
                f"not {name} with {size} and {sha256}",
                hint="if the file did not change meanwhile, the same command sends it again",
            )
        return found


def _release(told: _Release) -> Release:
    return Release(
        id=told.id,
        tag=told.tag_name,
        commit=told.target_commitish,
        name=told.name or "",
        draft=told.draft,
        prerelease=told.prerelease,
        url=told.html_url,
        assets=tuple(_asset(each) for each in told.assets),
    )


def _asset(told: _Asset) -> Asset:
    kind, _, digest = (told.digest or "").partition(":")
    return Asset(told.id, told.name, told.size, digest.lower() if kind == "sha256" else "", told.state == "uploaded")


def _sendable(path: Path, sha256: str) -> int:
    """The file's size.

    Raises:
        InputError: GitHub does not take it, or not under that name.
    """
    if not _NAME.fullmatch(path.name):
        raise InputError(f"GitHub would rename {path.name!r}", hint="a file's name has letters, digits and ._+-")
    if not _SUM.fullmatch(sha256):
        raise InputError(f"{sha256!r} is no SHA-256 of {path.name}", hint="64 digits of 0-9a-f")
    try:
        size = path.stat().st_size
    except OSError as problem:
        raise InputError(f"{path} can't be read: {problem.strerror}") from problem
    if not path.is_file() or not 0 < size <= LARGEST:
        raise InputError(f"{path} is nothing that GitHub takes: a file of 1 byte to 2 GiB", hint="split or pack it")
    return size
