"""The real vagrant: it publishes at our registry, which shows that it is as the real one, and adds what we publish."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.fakes.registry_wire import Registry
from tests.publishing import PROVIDERS, TAG, Desk, a_box, at, built, sha256
from tests.toolkit import Ran


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    with Registry(tmp_path / "registry") as made:
        yield made
    assert made.violations == []


@pytest.fixture
def desk(tmp_path: Path, registry: Registry) -> Desk:
    made = Desk(tmp_path / "home", {**at(registry), "KM_PUBLISH__CATALOG": str(tmp_path / "public")})
    made.home.mkdir()
    for provider in PROVIDERS:
        built(made.store, provider)
    return made


def vagrant(home: Path, *words: str | Path, **variables: str) -> Ran:
    """The real one, with a home of its own."""
    own = {"VAGRANT_HOME": str(home / ".vagrant.d"), "VAGRANT_CHECKPOINT_DISABLE": "1", "HOME": str(home)}
    ended = subprocess.run(
        ["vagrant", *words],
        env={"PATH": os.environ["PATH"], **own, **variables},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    return Ran(ended.returncode, ended.stdout, ended.stderr)


def added(home: Path) -> list[list[str]]:
    """Name, provider and version of each box that vagrant has."""
    rows = [line.split(",")[2:] for line in vagrant(home, "box", "list", "--machine-readable").out.splitlines()]
    told = [row[1] for row in rows if row[0] in ("box-name", "box-provider", "box-version")]
    return [told[at : at + 3] for at in range(0, len(told), 3)]


def test_vagrants_own_publication_works_at_our_registry(registry: Registry, tmp_path: Path) -> None:
    """And what it has released we leave as it is."""
    box = a_box(tmp_path / "a.box")
    words = ("cloud", "publish", "--force", "--no-private", "--release", "--checksum", sha256(box))
    ran = vagrant(tmp_path, *words, "--checksum-type", "sha256", TAG, "1.0.0", "libvirt", box, **registry.variables)
    assert ran.code == 0, ran.out + ran.err
    found = registry.books.version(TAG, "1.0.0")
    assert found is not None and found.status == "active" and found.providers[0].file
    assert registry.books.broken() == []
    server = {"VAGRANT_SERVER_URL": registry.url}
    assert vagrant(tmp_path, "box", "add", "--provider", "libvirt", TAG, **server).code == 0
    assert added(tmp_path) == [[TAG, "libvirt", "1.0.0"]]
    desk = Desk(tmp_path / "home", at(registry))
    ran = desk.run("boxes.upload", "--version", "1.0.0", "--file", str(box))
    assert ran.code == 2 and "without this provider" in ran.err  # it has no architecture there, and ours is amd64


def test_vagrant_adds_what_was_published_and_nothing_before_it_is_released(
    desk: Desk, registry: Registry, tmp_path: Path
) -> None:
    server = {"VAGRANT_SERVER_URL": registry.url}
    assert desk.upload("--no-release").code == 0
    assert vagrant(tmp_path, "box", "add", "--provider", "libvirt", TAG, **server).code != 0
    assert desk.upload().code == 0
    ran = vagrant(tmp_path, "box", "add", "--provider", "libvirt", TAG, **server)
    assert ran.code == 0, ran.err
    assert added(tmp_path) == [[TAG, "libvirt", "1.2.3"]]
    # Its checksum is looked at, too.
    found = registry.books.version(TAG, "1.2.3")
    assert found is not None
    (registry.folder / found.providers[1].file).write_bytes(a_box(tmp_path / "x", "virtualbox").read_bytes())
    ran = vagrant(tmp_path, "box", "add", "--provider", "virtualbox", TAG, **server)
    assert ran.code != 0 and "checksum" in ran.err


def test_vagrant_adds_from_a_catalog(desk: Desk, tmp_path: Path) -> None:
    assert desk.upload("--to", "catalog").code == 0
    ran = vagrant(tmp_path, "box", "add", "--provider", "virtualbox", tmp_path / "public" / TAG / "catalog.json")
    assert ran.code == 0, ran.err
    assert added(tmp_path) == [[TAG, "virtualbox", "1.2.3"]]


def test_a_box_that_was_built_anew_is_not_said_to_be_registered_under_its_old_version(
    desk: Desk, tmp_path: Path
) -> None:
    home = {"VAGRANT_HOME": str(tmp_path / ".vagrant.d")}
    words = ("boxes.register", "--version", "v1.2.3", "--provider", "libvirt")
    assert desk.run(*words, **home).out == f"{TAG} 1.2.3 for libvirt is registered\n"
    assert desk.run(*words, **home).out == f"{TAG} 1.2.3 for libvirt is there already\n"
    built(desk.store, "libvirt")
    ran = desk.run(*words, **home)
    assert ran.code == 2 and ran.out == "" and "with other content" in ran.err
    assert desk.run("boxes.register", "--version", "1.2.4", **home).code == 0
    told = sorted(added(tmp_path))
    assert told == [[TAG, "libvirt", "1.2.3"], [TAG, "libvirt", "1.2.4"], [TAG, "virtualbox", "1.2.4"]]


def versions(registry: Registry, public: Path) -> Mapping[str, object]:
    """All that is published, anywhere."""
    files = sorted(str(path.relative_to(public)) for path in public.rglob("*") if path.is_file())
    texts = [path.read_text() for path in public.rglob("*.json")]
    return {
        "registry": [each.version for box in registry.books.boxes.values() for each in box.versions],
        "files": files,
        "documents": texts,
    }


@pytest.mark.parametrize("to", ["vagrant-cloud", "catalog"])
def test_a_trial_is_added_by_vagrant_and_taken_away_again(
    desk: Desk, registry: Registry, tmp_path: Path, to: str
) -> None:
    assert desk.upload("--to", to).code == 0
    before = versions(registry, tmp_path / "public")
    box = desk.store / "boxes/ubuntu-22.04/libvirt/vagrant.box"
    ran = desk.run("boxes.test-upload", "--to", to, "--file", str(box), "--json")
    assert ran.code == 0, ran.err
    assert [(row["provider"], row["state"]) for row in ran.json] == [("libvirt", "added and removed")]
    assert "0.0.0-test." in ran.out
    assert versions(registry, tmp_path / "public") == before
    assert not (desk.home / ".vagrant.d").exists()


FAILING = {
    "refused": ("echo that is no box >&2; exit 1", 1, "error: vagrant ended with 1: that is no box"),
    "interrupted": ("kill -INT $PPID; sleep 60", 130, "error: interrupted"),
}


@pytest.mark.parametrize("to", ["vagrant-cloud", "catalog"])
@pytest.mark.parametrize("how", FAILING)
def test_a_trial_that_fails_is_taken_away_too(
    desk: Desk, registry: Registry, tmp_path: Path, to: str, how: str
) -> None:
    script, code, told = FAILING[how]
    assert desk.upload("--to", to).code == 0
    before = versions(registry, tmp_path / "public")
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "vagrant"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    ran = desk.toolkit.run(
        "boxes.test-upload", "--to", to, prefix=("env", f"PATH={program.parent}:{os.environ['PATH']}")
    )
    assert ran.code == code and told in ran.err, ran.err
    assert versions(registry, tmp_path / "public") == before
