"""`boxes.upload` to a registry, from outside: what is sent, what is released, what is refused, what is said."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cloud import wait
from cloud.errors import KitError, NotAllowed
from cloud.publish import names, trial
from cloud.publish.catalog import Catalog
from cloud.publish.names import Tag
from cloud.publish.place import Place
from cloud.publish.vagrant_cloud import CLOSING, VagrantCloud
from tasks import _publish, _settings
from tests.fakes.registry import CLIENT, SECRET, TOKEN, Version
from tests.fakes.registry_wire import Registry
from tests.publishing import PROVIDERS, TAG, VERSION, Desk, a_box, archive, at, built, gzipped, hasty, sha256
from tests.toolkit import Ran


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    with Registry(tmp_path / "registry") as made:
        yield made
    assert made.violations == []
    assert made.books.broken() == []


@pytest.fixture
def desk(tmp_path: Path, registry: Registry) -> Iterator[Desk]:
    """One who has built both boxes."""
    with hasty():
        made = Desk(tmp_path / "home", at(registry))
        for provider in PROVIDERS:
            built(made.store, provider)
        yield made


def file_of(desk: Desk, provider: str = "libvirt") -> Path:
    return desk.store / "boxes/ubuntu-22.04" / provider / "vagrant.box"


def there(registry: Registry, version: str = VERSION) -> Version:
    found = registry.books.version(TAG, version)
    assert found is not None
    return found


def changes(registry: Registry, since: int = 0) -> list[str]:
    """What was asked for that changes anything."""
    return [str(call) for call in registry.calls[since:] if call.method != "GET"]


def refused(ran: Ran, code: int, words: str) -> None:
    assert ran.code == code, ran.err
    assert words in ran.err
    assert ran.out == ""
    lines = [line for line in ran.err.splitlines() if line.startswith(("error: ", "hint: "))]
    assert [line.partition(":")[0] for line in lines] == ["error", "hint"], ran.err


def test_boxes_are_sent_read_back_and_then_released(desk: Desk, registry: Registry) -> None:
    ran = desk.upload("--json")
    assert ran.code == 0, ran.err
    assert [(row["provider"], row["state"], row["sent"]) for row in ran.json] == [
        (provider, "released", True) for provider in PROVIDERS
    ]
    version = there(registry)
    assert version.status == "active"
    assert {each.name: (each.architecture, each.checksum, each.checksum_type) for each in version.providers} == {
        provider: ("amd64", sha256(file_of(desk, provider)), "sha256") for provider in PROVIDERS
    }
    assert registry.books.boxes[TAG].private is False
    calls = [(call.method, call.server, call.path) for call in registry.calls]
    released = next(number for number, call in enumerate(calls) if call[2].endswith("/release"))
    read_back = [number for number, call in enumerate(calls) if call[:2] == ("GET", "storage")]
    assert len(read_back) == 2 and max(read_back) < released


def test_a_plan_changes_nothing(desk: Desk, registry: Registry) -> None:
    ran = desk.upload("--plan")
    assert ran.code == 0, ran.err
    assert f"{TAG} {VERSION} libvirt amd64 at vagrant-cloud: upload, it is not there" in ran.out
    assert changes(registry) == []


def test_what_is_published_is_left_alone(desk: Desk, registry: Registry) -> None:
    assert desk.upload().code == 0
    begun = len(registry.calls)
    ran = desk.upload()
    assert ran.code == 0
    assert ran.out.count("already published") == 2
    assert changes(registry, begun) == []


def test_what_is_published_and_not_listed_is_looked_for_again(
    desk: Desk, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(registry.books, "catalog", lambda tag, token: {"name": tag, "versions": []})
        told = f"{TAG} {VERSION} is released, and not listed"
        refused_later = [desk.upload(), desk.upload()]
        assert [(ran.code, told in ran.err) for ran in refused_later] == [(5, True)] * 2
    assert desk.upload().out.count("already published") == 2


def test_what_another_has_released_with_a_checksum_of_another_kind_is_listed(desk: Desk, registry: Registry) -> None:
    assert desk.upload().code == 0
    provider = there(registry).providers[0]
    provider.checksum, provider.checksum_type = "0" * 32, "md5"
    ran = desk.upload("--file", str(file_of(desk, there(registry).providers[1].name)))
    assert ran.code == 0 and ran.out.count("already published") == 2, ran.err
    provider.checksum = ""


@pytest.mark.parametrize("words", [[], ["--replace"]])
def test_a_released_version_never_changes(desk: Desk, registry: Registry, words: list[str]) -> None:
    assert desk.upload().code == 0
    begun = len(registry.calls)
    built(desk.store, "libvirt")
    refused(desk.upload(*words), 2, "the version is released with other content, and stays as it is")
    assert changes(registry, begun) == []


def test_a_released_version_gets_no_new_provider(desk: Desk, registry: Registry) -> None:
    assert desk.upload("--file", str(file_of(desk))).code == 0
    begun = len(registry.calls)
    refused(desk.upload(), 2, "without this provider")
    assert changes(registry, begun) == []


def test_a_revoked_version_is_not_released_again(desk: Desk, registry: Registry) -> None:
    assert desk.upload().code == 0
    there(registry).status = "revoked"
    refused(desk.upload(), 2, "revoked")


def test_what_is_not_released_is_replaced_only_when_that_is_said(desk: Desk, registry: Registry) -> None:
    ran = desk.upload("--no-release")
    assert ran.code == 0 and ran.out.count("sent, not released") == 2
    assert there(registry).status == "unreleased"
    fresh = built(desk.store, "libvirt")
    begun = len(registry.calls)
    refused(desk.upload(), 2, "--replace")
    assert changes(registry, begun) == []
    ran = desk.upload("--replace", "--json")
    assert ran.code == 0, ran.err
    assert [(row["provider"], row["sent"]) for row in ran.json] == [("libvirt", True), ("virtualbox", False)]
    assert sha256(fresh) in {each.checksum for each in there(registry).providers}


def test_two_runs_with_a_provider_each_make_one_release(desk: Desk, registry: Registry) -> None:
    assert desk.upload("--no-release", "--file", str(file_of(desk, "virtualbox"))).code == 0
    ran = desk.upload("--file", str(file_of(desk)), "--json")
    assert ran.code == 0, ran.err
    assert [row["sent"] for row in ran.json] == [True, False]
    assert there(registry).status == "active" and len(there(registry).providers) == 2


def test_a_provider_of_another_run_without_its_file_keeps_the_version_from_being_released(
    desk: Desk, registry: Registry
) -> None:
    assert desk.upload("--no-release").code == 0
    there(registry).providers[1].file = ""
    refused(desk.upload("--file", str(file_of(desk))), 2, "without a file")


def test_the_default_architecture_is_amd64(desk: Desk, registry: Registry, tmp_path: Path) -> None:
    files = [a_box(tmp_path / f"{each}.box", architecture=each) for each in ("arm64", "amd64")]
    assert desk.upload("--file", str(files[0]), "--file", str(files[1])).code == 0
    assert {each.architecture: each.default for each in there(registry).providers} == {"arm64": False, "amd64": True}


def test_the_version_may_be_the_tag_of_the_release(desk: Desk, registry: Registry) -> None:
    assert desk.run("boxes.upload", RELEASE_TAG="v2.0.0").code == 0
    assert there(registry, "2.0.0").status == "active"
    refused(desk.run("boxes.upload"), 2, "no version is named")
    refused(desk.run("boxes.upload", "--version", "v"), 2, "is no version of a box")


def test_a_file_is_published_as_what_is_said(desk: Desk, registry: Registry, tmp_path: Path) -> None:
    box = a_box(tmp_path / "mine.box", name="")
    refused(desk.upload("--file", str(box)), 2, "does not tell its name")
    assert desk.upload("--file", str(box), "--box", "kontain/mine").code == 0
    assert registry.books.version("kontain/mine", VERSION) is not None
    refused(desk.upload("--file", str(box), "--box", "mine"), 2, "is no box's name")


def test_one_box_that_fails_keeps_no_other_from_being_published(desk: Desk, registry: Registry) -> None:
    built(desk.store, "libvirt", os_name="fedora-44", name="kontain/fedora-kkm-beta3")
    built(desk.store, "libvirt", os_name="ubuntu-24.04", name="nobody/ubuntu")
    ran = desk.upload()
    assert ran.code == 3 and "error: nobody/ubuntu: " in ran.err
    assert there(registry).status == "active"
    assert desk.upload("--os", "fedora-44").code == 0
    refused(desk.upload("--os", "plan9"), 2, "no box of plan9")


def _flipped(content: bytes) -> bytes:
    return content[:-4000] + bytes(each ^ 0xFF for each in content[-4000:-3900]) + content[-3900:]


def _kind(kind: bytes, name: str = "x") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, "/etc/passwd"
    return member


def box_of(**metadata: object) -> Callable[[Path], object]:
    """Makes a box with this metadata.json and a disk as libvirt's."""
    return lambda path: archive(path, {"metadata.json": json.dumps(metadata).encode(), "box.img": b"x"})


def libvirt_with(**members: bytes | tarfile.TarInfo) -> Callable[[Path], object]:
    """Makes a box of libvirt's with these members too."""
    return lambda path: archive(path, {"metadata.json": LIBVIRT, "box.img": b"x", **members})


LIBVIRT = b'{"provider": "libvirt", "format": "qcow2", "virtual_size": 1}'

BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "no such box": (lambda path: None, "there is no such file"),
    "empty": (lambda path: path.write_bytes(b""), "is empty"),
    "not gzip": (lambda path: path.write_bytes(b"x" * 10_000), "it is not gzip"),
    "no tar": (lambda path: path.write_bytes(gzipped(b"x" * 10_000)), "there is no tar"),
    "truncated": (lambda path: path.write_bytes(a_box(path).read_bytes()[:-5000]), "ends in the middle"),
    "without its end": (lambda path: path.write_bytes(a_box(path).read_bytes()[:-1]), "ends in the middle"),
    "damaged": (lambda path: path.write_bytes(_flipped(a_box(path).read_bytes())), "is no box: "),
    "no metadata": (lambda path: archive(path, {"box.img": b"x"}), "has no metadata.json"),
    "metadata that is none": (lambda path: archive(path, {"metadata.json": b"["}), "is no JSON"),
    "metadata without end": (lambda path: archive(path, {"metadata.json": b"[" * 100_000}), "is no JSON"),
    "no provider": (box_of(), "names no provider"),
    "a provider that is none": (box_of(provider="../x"), "names no provider"),
    "an unknown architecture": (box_of(provider="libvirt", architecture="vax"), "does not know the architecture"),
    "a path upwards": (libvirt_with(**{"../x": b""}), "leads elsewhere"),
    "a path from the root": (libvirt_with(**{"/etc/x": b""}), "leads elsewhere"),
    "a name without end": (libvirt_with(**{"x" * 100_000: b""}), "a name in it has 100000 letters"),
    "a link": (libvirt_with(x=_kind(tarfile.SYMTYPE)), "neither file nor folder"),
    "a device": (libvirt_with(x=_kind(tarfile.CHRTYPE)), "neither file nor folder"),
    "another provider's disk": (box_of(provider="virtualbox"), "it is for virtualbox, and has no box.ovf"),
    "virtualbox without a disk": (
        lambda path: archive(path, {"metadata.json": b'{"provider": "virtualbox"}', "box.ovf": b"x"}),
        "has no disk, which ends in .vmdk",
    ),
    "libvirt without a disk": (lambda path: archive(path, {"metadata.json": LIBVIRT}), "has no box.img"),
    "libvirt with an empty disk": (
        lambda path: archive(path, {"metadata.json": LIBVIRT, "box.img": b""}),
        "has no box.img",
    ),
    "a disk that is a folder": (
        lambda path: archive(path, {"metadata.json": LIBVIRT, "box.img": _kind(tarfile.DIRTYPE, "box.img")}),
        "has no box.img",
    ),
    "no format": (box_of(provider="libvirt", virtual_size=1), 'does not tell the disk\'s "format"'),
    "another format": (box_of(provider="libvirt", format="raw", virtual_size=1), 'does not tell the disk\'s "format"'),
    "no size": (box_of(provider="libvirt", format="qcow2"), 'does not tell the disk\'s "virtual_size"'),
    "a size as text": (
        box_of(provider="libvirt", format="qcow2", virtual_size="1"),
        'does not tell the disk\'s "virtual_size"',
    ),
    "a second disk that is not there": (
        box_of(provider="libvirt", disks=[{"path": "box.img"}, {"path": "box_1.img"}]),
        "has no 'box_1.img', a disk of its metadata.json",
    ),
    "disks without a path": (box_of(provider="libvirt", disks=[{}]), "has no 'None', a disk of its metadata.json"),
    "disks that are no list": (box_of(provider="libvirt", disks={"path": "box.img"}), "tells its disks in no list"),
}


@pytest.mark.parametrize("what", BAD)
def test_what_is_no_box_is_one_line_and_nothing_is_sent(
    desk: Desk, registry: Registry, tmp_path: Path, what: str
) -> None:
    path = tmp_path / "bad.box"
    make, told = BAD[what]
    make(path)
    ran = desk.upload("--file", str(path), "--box", TAG)
    refused(ran, 2, str(path))
    assert told in ran.err
    assert changes(registry) == []


GOOD: dict[str, Callable[[Path], object]] = {
    "disks in a list": box_of(provider="libvirt", disks=[{"path": "./box.img", "format": "qcow2"}]),
    "an empty list of disks": box_of(provider="libvirt", disks=[], format="qcow2", virtual_size=40),
    "a provider that we build nothing for": box_of(provider="hyperv"),
}


@pytest.mark.parametrize("what", GOOD)
def test_what_its_provider_takes_is_a_box(desk: Desk, tmp_path: Path, what: str) -> None:
    path = tmp_path / "good.box"
    GOOD[what](path)
    ran = desk.upload("--file", str(path), "--box", TAG, "--plan")
    assert ran.code == 0, ran.err


def test_a_box_that_is_not_what_was_built_is_not_sent(desk: Desk, registry: Registry) -> None:
    a_box(file_of(desk))
    refused(desk.upload(), 2, "is not what was built")
    assert changes(registry) == []


@pytest.mark.parametrize("form", ["{}", ";{}", "an.atlasv1.old;{}", " {} \n"])
def test_a_token_has_many_forms(desk: Desk, registry: Registry, form: str) -> None:
    assert desk.upload("--plan", VAGRANT_CLOUD_TOKEN=form.format(TOKEN)).code == 0


def test_without_a_token_nothing_is_read_or_asked(desk: Desk, registry: Registry) -> None:
    file_of(desk).write_bytes(b"no box")
    refused(desk.upload(VAGRANT_CLOUD_TOKEN=""), 4, "no token is set")
    assert registry.calls == []


@pytest.mark.parametrize(
    ("token", "words"), [("canary-of-another", "HCP_CLIENT_ID"), ("canary.atlasv1.old", "no longer work")]
)
def test_a_token_that_is_none_is_told_before_a_box_is_read(
    desk: Desk, registry: Registry, token: str, words: str
) -> None:
    file_of(desk).write_bytes(b"no box")
    ran = desk.upload(VAGRANT_CLOUD_TOKEN=token)
    refused(ran, 4, words)
    assert "canary" not in ran.err and len(registry.calls) == 1


def test_a_client_gets_a_token_and_a_new_one_when_its_time_is_over(desk: Desk, registry: Registry) -> None:
    principal = {"VAGRANT_CLOUD_TOKEN": "", "HCP_CLIENT_ID": CLIENT, "HCP_CLIENT_SECRET": SECRET}
    given = [str(call) for call in registry.calls]

    def ends(call: object) -> None:  # in the middle of it all, nobody knows any token any more
        if str(call).startswith("PUT storage") and len(given) == 0:
            registry.books.tokens.clear()
            given.append("ended")

    registry.after = ends
    ran = desk.upload(**principal)
    assert ran.code == 0, ran.err
    assert [str(call) for call in registry.calls].count("POST api/oauth2/token") == 2
    assert there(registry).status == "active"


def test_a_token_near_its_end_is_renewed_before_it_is_used(desk: Desk, registry: Registry) -> None:
    registry.books.lives = 30
    ran = desk.upload(VAGRANT_CLOUD_TOKEN="", HCP_CLIENT_ID=CLIENT, HCP_CLIENT_SECRET=SECRET)
    assert ran.code == 0, ran.err
    assert not any("expired" in str(call) for call in registry.calls)
    assert [str(call) for call in registry.calls].count("POST api/oauth2/token") > 2


def test_a_client_that_is_not_known_is_told(desk: Desk, registry: Registry) -> None:
    ran = desk.upload(VAGRANT_CLOUD_TOKEN="", HCP_CLIENT_ID=CLIENT, HCP_CLIENT_SECRET="canary-wrong")  # noqa: S106  # it is none
    refused(ran, 4, "HCP does not know this client")
    assert "canary" not in ran.err


def test_the_shim_of_hcp_gets_what_it_wants(desk: Desk, registry: Registry) -> None:
    registry.books.hcp, registry.books.lag = True, 3
    ran = desk.upload()
    assert ran.code == 0, ran.err
    assert there(registry).status == "active"


def test_a_netrc_does_not_take_the_tokens_place(desk: Desk, registry: Registry) -> None:
    (desk.home / ".netrc").write_text("machine 127.0.0.1 login somebody password else\n")
    (desk.home / ".netrc").chmod(0o600)
    assert desk.upload().code == 0


def test_a_proxy_is_asked_and_hashicorps_registry_is_told_to_close(desk: Desk, registry: Registry) -> None:
    """The registry is its own proxy here: so it has HashiCorp's name."""
    ran = desk.upload("--plan", VAGRANT_SERVER_URL="http://vagrantcloud.com", http_proxy=registry.url)
    assert ran.code == 0, ran.err
    assert [line for line in ran.err.splitlines() if line.startswith("warning: ")] == [f"warning: {CLOSING}"]
    assert "warning" not in desk.upload("--plan").err


def test_debians_own_address_of_the_registry_will_do(desk: Desk, registry: Registry) -> None:
    assert desk.upload("--plan", VAGRANT_SERVER_URL=f"{registry.url}/api/v2/vagrant").code == 0


@pytest.mark.parametrize(
    ("words", "variables", "told"),
    [
        (["--to", "nowhere"], {}, "is no place for boxes"),
        ([], {"KM_PUBLISH__TO": ""}, "no place is named"),
        ([], {"VAGRANT_SERVER_URL": "vagrantcloud.com"}, "is no registry"),
        (["--file", "x.box", "--os", "ubuntu-22.04"], {}, "both given"),
    ],
)
def test_what_can_not_be_used_is_told(
    desk: Desk, registry: Registry, words: list[str], variables: dict[str, str], told: str
) -> None:
    refused(desk.upload(*words, **variables), 2, told)
    assert registry.calls == []


def test_two_at_once_send_a_box_once(desk: Desk, registry: Registry) -> None:
    argv = ["boxes.upload", "--version", VERSION]
    with desk.toolkit.started(*argv) as first:
        second = desk.toolkit.run(*argv)
        assert first.end(60).code == 0
    assert second.code == 0, second.err
    assert registry.uploads() == 2


def test_an_interrupt_leaves_what_the_next_run_completes(desk: Desk, registry: Registry) -> None:
    argv = ["boxes.upload", "--version", VERSION]
    processes: list[subprocess.Popen[bytes]] = []

    def interrupts(call: object) -> None:
        if str(call).startswith("PUT storage") and processes:
            processes.pop().send_signal(signal.SIGINT)
            time.sleep(0.3)

    registry.after = interrupts
    with desk.toolkit.started(*argv) as running:
        processes.append(running.process)
        ended = running.end(60)
    assert ended.code == 130, ended.err
    assert f"{TAG} {VERSION}: not released, nobody sees it; 0 of its files are there; the same command" in ended.err
    assert there(registry).status == "unreleased"
    assert desk.upload().code == 0
    assert there(registry).status == "active"


def test_what_is_left_is_not_looked_at_for_long(
    desk: Desk, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_publish, "LOOK", 0.3)
    monkeypatch.setattr(wait, "clock", wait.Clock())

    def fails(*arguments: object, **words: object) -> None:
        registry.fails_at(1, "silent")
        raise KitError("it can't be sent")

    monkeypatch.setattr(VagrantCloud, "put", fails)
    began = time.monotonic()
    ran = desk.upload(KM_PUBLISH__TIMEOUT="60")
    assert ran.code == 1 and f"{TAG} {VERSION}: could not look at vagrant-cloud what is there" in ran.err, ran.err
    assert time.monotonic() - began < 30 and not wait.interrupted()


def test_what_has_failed_is_not_said_to_be_released_later(desk: Desk, registry: Registry) -> None:
    assert "released when all of it was read back" in desk.upload("--plan").out

    def denies(call: object) -> None:
        if str(call).startswith("POST"):
            registry.fails_at(1, "denied")

    registry.after = denies
    ran = desk.upload()
    assert ran.code == 4
    assert ran.out.count("at vagrant-cloud: failed") == 2 and "released" not in ran.out


PLACES = {"vagrant-cloud": VagrantCloud, "catalog": Catalog}


@pytest.fixture
def public(desk: Desk, tmp_path: Path) -> Path:
    """A catalog in a folder too."""
    desk.settings["KM_PUBLISH__CATALOG"] = str(tmp_path / "public")
    return tmp_path / "public"


def tag_at(to: str) -> tuple[Place, Tag]:
    return _publish.place_named(to, _settings.load()), names.tag(TAG)


@pytest.mark.parametrize("to", PLACES)
@pytest.mark.parametrize("other", ["", "vagrant does not take it"])
def test_a_trial_that_can_not_be_removed_fails_and_a_later_one_removes_it(
    desk: Desk, public: Path, monkeypatch: pytest.MonkeyPatch, to: str, other: str
) -> None:
    def adds(*arguments: object) -> None:
        if other:
            raise KitError(other)

    def stays(*arguments: object) -> None:
        raise NotAllowed("you may not")

    monkeypatch.setattr(trial, "add", adds)
    with monkeypatch.context() as patched:
        patched.setattr(PLACES[to], "remove", stays)
        ran = desk.run("boxes.test-upload", "--to", to)
    assert (ran.code, ran.out) == ((1, "") if other else (4, "")), ran.err
    assert f"error: {other or 'you may not'}\n" in ran.err
    assert f" stays at {to}; ./inv boxes.test-upload removes it" in ran.err and "you may not" in ran.err
    with environment(desk):
        place, tag = tag_at(to)
        (left,) = place.versions(tag)
        assert left.startswith("0.0.0-test.")
        desk.run("boxes.test-upload", "--to", to)
        assert place.versions(tag) == [left]  # it could be somebody's who is at it
        wait.clock.sleep(86_400 + 60)
        ran = desk.run("boxes.test-upload", "--to", to)
        assert f"removed {TAG} {left}, which an earlier trial had left" in ran.err
        assert place.versions(tag) == []


@pytest.mark.parametrize("to", PLACES)
def test_of_other_versions_a_trial_removes_none(
    desk: Desk, public: Path, monkeypatch: pytest.MonkeyPatch, to: str
) -> None:
    others = ["0.0.0", "0.0.1-test.20200101000000.abcdef", "1.0.0"]
    for version in others:
        assert desk.upload("--to", to, version=version).code == 0
    alike = [
        "0.0.0-test",
        "0.0.0-test.20200101",
        "0.0.0-test.20201301000000.abcdef",
        "0.0.0-tests.20200101000000.abcdef",
    ]
    with monkeypatch.context() as patched:
        patched.setattr(names, "TRIAL", "no trial")
        for version in alike:
            assert desk.upload("--to", to, "--no-release", version=version).code == 0
    monkeypatch.setattr(trial, "add", lambda *arguments: None)
    assert desk.run("boxes.test-upload", "--to", to).code == 0
    with environment(desk):
        place, tag = tag_at(to)
        assert sorted(place.versions(tag)) == sorted([*others, *alike])


@contextmanager
def environment(desk: Desk) -> Iterator[None]:
    """What a command of the desk's sees, for the places themselves."""
    with pytest.MonkeyPatch.context() as patched:
        for key, text in desk.settings.items():
            patched.setenv(key, text)
        yield


def test_no_secret_is_in_anything_that_is_told_or_kept(desk: Desk, registry: Registry) -> None:
    """Neither a token nor a signature, not even with --debug, when a server repeats the token in its error."""
    variables = {"VAGRANT_CLOUD_TOKEN": "", "HCP_CLIENT_ID": CLIENT, "HCP_CLIENT_SECRET": SECRET}
    toolkit = desk.toolkit
    ran = Ran(*_ended(["--debug", "boxes.upload", "--version", VERSION], {**toolkit.environment, **variables}))
    assert ran.code == 0, ran.err[-500:]
    registry.echoes = True
    failed = desk.run("boxes.upload", "--version", "1.2.4", VAGRANT_CLOUD_TOKEN="canary-nobodys")  # noqa: S106  # it is none
    assert failed.code == 4 and "answers 401" in failed.err
    kept = [path.read_bytes() for path in desk.home.rglob("*") if path.is_file()]
    told = [ran.out, ran.err, failed.out, failed.err, *(content.decode("latin-1") for content in kept)]
    assert not any("canary" in text for text in told)


def _ended(words: list[str], environment: dict[str, str]) -> tuple[int, str, str]:
    argv = [sys.executable, "-m", "tasks", *words]
    ended = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=120, check=False)
    return ended.returncode, ended.stdout, ended.stderr


def test_the_result_is_json_for_programs(desk: Desk) -> None:
    ran = desk.upload("--plan", "--json")
    assert [row["state"] for row in json.loads(ran.out)] == ["upload", "upload"]
