"""Releases of the fake GitHub: drafts, files, and what can't be changed once it is published.

"REST API endpoints for releases" and "... for release assets", "Immutable releases", "About releases". GitHub takes
files at another host, `uploads.github.com`; here they come to /uploads/. And it gives them out at a third one, by
addresses that are good for minutes; here they are under /storage/.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote, unquote

from tests.fakes.github_wire import Answer, Call, Refusal, moment

if TYPE_CHECKING:
    from tests.fakes.github import Hub

UPLOADS = "/uploads/"
"""Where files are taken."""
STORAGE = "/storage/"
"""Where files are given out, to whoever has the address."""
KEPT = 1 << 20
"""Bytes of a file that is kept; of a larger one there is the sum."""
BINARY = "application/octet-stream"
LARGEST_TEXT = 125_000
MOST_FILES = 1000
TOO_LARGE = 2 << 30

# git check-ref-format, and that nothing may be called as a commit is.
_NO_TAG = re.compile(
    r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|^[/.-]|/\.|[/.]$|\.lock(/|$)|^@?$|^[0-9a-fA-F]{40}$"
)  # "-" is forbidden by `git tag`
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(eq=False)
class Asset:
    """A file of a release."""

    id: int
    name: str
    size: int
    sha256: str
    state: Literal["uploaded", "starter"] = "uploaded"
    created: datetime = field(default_factory=lambda: datetime.now(UTC))
    content: bytes | None = None
    """What can be downloaded, where it was kept."""


@dataclass(eq=False)
class Release:
    """A release."""

    id: int
    repository: str
    tag: str
    commit: str
    name: str | None = None
    body: str | None = None
    draft: bool = False
    prerelease: bool = False
    assets: list[Asset] = field(default_factory=list)
    created: datetime = field(default_factory=lambda: datetime.now(UTC))
    published: datetime | None = None

    def add(self, number: int, name: str, content: bytes, state: Literal["uploaded", "starter"] = "uploaded") -> Asset:
        """A file that somebody uploaded before; a `starter`: began to."""
        made = Asset(number, name, len(content), hashlib.sha256(content).hexdigest(), state, content=content)
        self.assets.append(made)
        return made

    @property
    def files(self) -> dict[str, str]:
        """The whole files, each with its sum."""
        return {each.name: each.sha256 for each in self.assets if each.state == "uploaded"}


def publish(hub: Hub, release: Release) -> None:
    """Let everybody see it, and make its tag. Under the hub's guard."""
    if any(not each.draft and _same(each, release) for each in hub.releases if each is not release):
        raise _invalid("Release", "tag_name", "already_exists")
    release.draft, release.published = False, release.published or datetime.now(UTC)
    hub.tags.setdefault((release.repository, release.tag), release.commit)


def _same(one: Release, other: Release) -> bool:
    return (one.repository, one.tag) == (other.repository, other.tag)


def _invalid(resource: str, name: str, code: str, message: str = "") -> Refusal:
    wrong = {"resource": resource, "code": code, "field": name, **({"message": message} if message else {})}
    return Refusal(422, "Validation Failed", errors=(wrong,))


def _listed(hub: Hub, call: Call, owner: str, _: re.Match[str]) -> Answer:
    writes = hub.may_write(call, "contents")
    ours = [each for each in hub.releases if each.repository == owner and (writes or not each.draft)]
    rows, headers = hub.page(call, sorted(ours, key=lambda each: -each.id))
    return Answer(200, [_told(hub, each) for each in rows], headers)


def _made(hub: Hub, call: Call, owner: str, _: re.Match[str]) -> Answer:
    given = call.body
    made = Release(hub.number(), owner, given["tag_name"], given.get("target_commitish", hub.branches[0]))
    _write(hub, made, {"draft": False, **given})
    hub.releases.append(made)
    told = _told(hub, made)
    return Answer(201, told, {"Location": told["url"]})


def _changed(hub: Hub, call: Call, owner: str, found: re.Match[str]) -> Answer:
    release = _one(hub, call, owner, found)
    _write(hub, release, call.body or {})
    return Answer(200, _told(hub, release))


def _write(hub: Hub, release: Release, given: dict[str, Any]) -> None:
    """What is told of a release, if all of it is good."""
    tag, commit = given.get("tag_name", release.tag), given.get("target_commitish", release.commit)
    moved = (tag, commit, given.get("draft", False)) != (release.tag, release.commit, False)
    if release.published and hub.immutable and moved:
        raise Refusal(422, "Cannot modify an immutable release.")
    if _NO_TAG.search(tag):
        raise _invalid("Release", "tag_name", "custom", "tag_name is not well-formed")
    there = (release.repository, tag) in hub.tags
    if not (there or commit in hub.branches or _COMMIT.fullmatch(commit)):
        raise _invalid("Release", "target_commitish", "invalid")
    if len(given.get("body") or "") > LARGEST_TEXT:
        long = f"body is too long (maximum is {LARGEST_TEXT} characters)"
        raise _invalid("Release", "body", "custom", long)
    draft = given.get("draft", release.draft)
    asked = Release(release.id, release.repository, tag, commit)
    if not draft and any(not each.draft and _same(each, asked) and each is not release for each in hub.releases):
        raise _invalid("Release", "tag_name", "already_exists")
    release.tag, release.commit, release.draft = tag, commit, draft
    for key in ("name", "body", "prerelease"):
        setattr(release, key, given.get(key, getattr(release, key)))
    if not draft:
        publish(hub, release)


def _shown(hub: Hub, call: Call, owner: str, found: re.Match[str]) -> Answer:
    return Answer(200, _told(hub, _one(hub, call, owner, found)))


def _deleted(hub: Hub, call: Call, owner: str, found: re.Match[str]) -> Answer:
    hub.releases.remove(_one(hub, call, owner, found))
    return Answer(204)


def _files(hub: Hub, call: Call, owner: str, found: re.Match[str]) -> Answer:
    release = _one(hub, call, owner, found)
    rows, headers = hub.page(call, release.assets)
    return Answer(200, [_told_file(hub, release, each) for each in rows], headers)


def _uploaded(hub: Hub, call: Call, owner: str, found: re.Match[str]) -> Answer:
    release, received = _one(hub, call, owner, found), call.received
    assert received
    if not received.announced:
        raise Refusal(400, "Bad Content-Length: ")
    if not call.headers.get("Content-Type"):
        raise Refusal(400, "Bad Content-Type: ")
    if release.published and hub.immutable:
        raise Refusal(422, "Cannot upload assets to an immutable release.")
    name = re.sub(r"[^A-Za-z0-9_.+@-]", ".", call.query["name"]).rstrip(".")
    name = f"default{name}" if name.startswith(".") else name
    if any(each.name == name for each in release.assets):
        raise _invalid("ReleaseAsset", "name", "already_exists")
    if len(release.assets) >= MOST_FILES:
        raise _invalid("ReleaseAsset", "file_count", "custom", f"file_count limited to {MOST_FILES} assets per release")
    if received.whole and not received.size:
        raise _invalid("ReleaseAsset", "size", "custom", "size must be greater than or equal to 1")
    if received.size >= TOO_LARGE:
        raise _invalid("ReleaseAsset", "size", "custom", f"size must be less than {TOO_LARGE}")
    made = Asset(hub.number(), name, received.size, received.sha256, content=received.content)
    release.assets.append(made)
    if not received.whole:
        made.state, made.size, made.sha256 = "starter", 0, ""
        return Answer(0, reset=True)
    return Answer(201, _told_file(hub, release, made))


def _file(hub: Hub, call: Call, owner: str, found: re.Match[str]) -> tuple[Release, Asset]:
    writes = hub.may_write(call, "contents")
    for release in hub.releases:
        for asset in release.assets:
            if (asset.id, release.repository) == (int(found["id"]), owner) and (writes or not release.draft):
                return release, asset
    raise Refusal(404, "Not Found")


def _shown_file(hub: Hub, call: Call, owner: str, found: re.Match[str]) -> Answer:
    release, asset = _file(hub, call, owner, found)
    if call.headers.get("Accept") != BINARY:
        return Answer(200, _told_file(hub, release, asset))
    if hub.streams:
        return _given(asset, call.headers)
    hub.signatures[signed := secrets.token_hex(16)] = asset
    return Answer(302, None, {"Location": f"{hub.url}{STORAGE}{asset.name}?sig={signed}"})


def stored(hub: Hub, target: str, headers: Any) -> Answer:
    """What the host answers that has the files. A login besides the signature is an error there."""
    if headers.get("Authorization"):
        hub.violations.append("the token was sent to where files are stored")
    asset = hub.signatures.get(target.partition("?sig=")[2])
    return _given(asset, headers) if asset else Answer(403, b"<Error/>", {"Content-Type": "application/xml"})


def _given(asset: Asset, headers: Any) -> Answer:
    assert asset.content is not None, f"{asset.name} was not kept"
    kind = {"Content-Type": BINARY}
    if not (found := re.fullmatch(r"bytes=(\d+)-", headers.get("Range", ""))):
        return Answer(200, asset.content, kind)
    begin = int(found[1])
    if begin >= asset.size:
        return Answer(416, b"", kind)
    return Answer(206, asset.content[begin:], {**kind, "Content-Range": f"bytes {begin}-{asset.size - 1}/{asset.size}"})


def _deleted_file(hub: Hub, call: Call, owner: str, found: re.Match[str]) -> Answer:
    release, asset = _file(hub, call, owner, found)
    if release.published and hub.immutable:
        raise Refusal(422, "Cannot delete assets from an immutable release.")
    release.assets.remove(asset)
    return Answer(204)


def _one(hub: Hub, call: Call, owner: str, found: re.Match[str]) -> Release:
    writes = hub.may_write(call, "contents")
    for each in hub.releases:
        if (each.id, each.repository) == (int(found["id"]), owner) and (writes or not each.draft):
            return each
    raise Refusal(404, "Not Found")


def _told(hub: Hub, release: Release) -> dict[str, Any]:
    api = f"{hub.url}/repos/{release.repository}"
    place = f"untagged-{release.id:020x}" if release.draft else quote(release.tag)
    return {
        "id": release.id,
        "node_id": f"RE_{release.id}",
        "url": f"{api}/releases/{release.id}",
        "html_url": f"https://github.com/{release.repository}/releases/tag/{place}",
        "assets_url": f"{api}/releases/{release.id}/assets",
        "upload_url": f"{hub.url}{UPLOADS}repos/{release.repository}/releases/{release.id}/assets{{?name,label}}",
        "tarball_url": None if release.draft else f"{api}/tarball/{place}",
        "zipball_url": None if release.draft else f"{api}/zipball/{place}",
        "tag_name": release.tag,
        "target_commitish": release.commit,
        "name": release.name,
        "body": release.body,
        "draft": release.draft,
        "prerelease": release.prerelease,
        "immutable": bool(release.published) and hub.immutable,
        "created_at": moment(release.created),
        "published_at": moment(release.published),
        "author": _USER,
        "assets": [_told_file(hub, release, each) for each in release.assets],
    }


def _told_file(hub: Hub, release: Release, asset: Asset) -> dict[str, Any]:
    place = f"untagged-{release.id:020x}" if release.draft else quote(release.tag)
    known = hub.tells_digest and asset.state == "uploaded"
    return {
        "id": asset.id,
        "node_id": f"RA_{asset.id}",
        "url": f"{hub.url}/repos/{release.repository}/releases/assets/{asset.id}",
        "browser_download_url": f"https://github.com/{release.repository}/releases/download/{place}/{asset.name}",
        "name": asset.name,
        "label": "",
        "state": asset.state,
        "content_type": "application/octet-stream",
        "size": asset.size,
        "digest": f"sha256:{asset.sha256}" if known else None,
        "download_count": 0,
        "created_at": moment(asset.created),
        "updated_at": moment(asset.created),
        "uploader": _USER,
    }


def _user(login: str) -> dict[str, Any]:
    api = f"https://api.github.com/users/{login}"
    told = ("followers", "following", "gists", "starred", "subscriptions", "organizations", "repos", "events")
    return {
        "login": login,
        "id": 1,
        "node_id": "U_1",
        "gravatar_id": "",
        "avatar_url": "https://avatars.githubusercontent.com/u/1",
        "html_url": f"https://github.com/{login}",
        "url": api,
        "type": "User",
        "site_admin": False,
        **{f"{each}_url": f"{api}/{each}" for each in (*told, "received_events")},
    }


_USER = _user("octocat")


def _ref(hub: Hub, call: Call, owner: str, found: re.Match[str]) -> Answer:
    tag = unquote(found["tag"])
    commit = hub.tags.get((owner, tag))
    if commit is None:
        raise Refusal(404, "Not Found")
    url = f"{hub.url}/repos/{owner}/git"
    told = {"type": "commit", "sha": commit, "url": f"{url}/commits/{commit}"}
    return Answer(200, {"ref": f"refs/tags/{tag}", "node_id": "R_1", "url": url, "object": told})


ROUTES: tuple[tuple[str, str, str, Callable[[Hub, Call, str, re.Match[str]], Answer]], ...] = (
    ("GET", r"/releases", "contents", _listed),
    ("POST", r"/releases", "contents", _made),
    ("GET", r"/releases/(?P<id>\d+)", "contents", _shown),
    ("PATCH", r"/releases/(?P<id>\d+)", "contents", _changed),
    ("DELETE", r"/releases/(?P<id>\d+)", "contents", _deleted),
    ("GET", r"/releases/(?P<id>\d+)/assets", "contents", _files),
    ("POST", r"/releases/(?P<id>\d+)/assets", "contents", _uploaded),
    ("GET", r"/releases/assets/(?P<id>\d+)", "contents", _shown_file),
    ("DELETE", r"/releases/assets/(?P<id>\d+)", "contents", _deleted_file),
    ("GET", r"/git/ref/tags%2F(?P<tag>[^/]+)", "contents", _ref),
)
"""As in `github`: method, path behind whose it is, GitHub's name of the right, what is done."""
