"""What is to be done for boxes, decided from what is there; and what is done when the disk is there already."""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from cloud import connect, wait
from cloud.base import Cloud
from cloud.errors import KitError
from cloud.progress import Silent
from packer import boxes, packing, product
from packer.box import PROVIDERS, load
from packer.driver import Packer
from packer.packing import Member, Packed
from packer.shelf import ARCHIVE, Shelf
from tasks._settings import load as settings
from tests import sample
from tests.packer import boxed
from tests.planted import planted
from tests.publishing import Desk


@pytest.fixture
def cloud(tmp_path: Path) -> Cloud:
    """This machine, with no image yet."""
    return connect("local", settings({"KM_LOCAL__STORE": str(tmp_path / "store")}))


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    """Boxes, of which there are none yet."""
    return Shelf(tmp_path / "store")


@pytest.fixture
def plan(cloud: Cloud, shelf: Shelf, tmp_path: Path) -> boxes.Plan:
    """What is to be done when a command was cut short after its build."""
    boxed.box(tmp_path / "definitions", "one", Path("/nowhere/base.qcow2"), "1" * 64)
    brought = product.found(sample.product(tmp_path / "product"))
    box = load(tmp_path / "definitions", "one")

    def now() -> boxes.Plan:
        return boxes.plan(box, PROVIDERS, cloud, shelf, brought, "1.6.6")

    first = now()
    assert first.build.steps == ("build",) and first.build.start is None
    planted(cloud, "box-one", "of other inputs", created=wait.clock.now())
    assert now().build.steps == ("build",)
    disk = planted(cloud, "box-one", first.build.fingerprint, created=wait.clock.now())
    again = now()
    assert again.build.steps == () and again.build.start == disk and again.wanted == PROVIDERS
    return again


@pytest.fixture
def packer() -> Packer:
    """The program, which is not to be run."""
    told = settings({}).packer
    return Packer(msgspec.structs.replace(told, binary="/nowhere/packer"), (1, 6, 6))


def test_a_disk_that_is_there_is_packed_and_goes_when_all_are_packed(
    plan: boxes.Plan, cloud: Cloud, shelf: Shelf, packer: Packer
) -> None:
    outcome = boxes.apply(plan, cloud, packer, shelf, Silent())
    assert [kept.told.provider for kept in outcome.boxes] == list(PROVIDERS)
    assert {kept.told.provider: kept.told.fingerprint for kept in shelf.all()} == plan.marks
    with tarfile.open(outcome.boxes[0].archive, "r:gz") as archive:
        metadata = archive.extractfile("metadata.json")
        assert metadata and json.load(metadata)["virtual_size"] == 1, "the disk's own size, rounded up"
    assert cloud.images.list("box-one") == [] and shelf.leftovers() == []


def test_a_packed_archive_tells_its_name_to_who_publishes_it_as_a_file(
    plan: boxes.Plan, cloud: Cloud, shelf: Shelf, packer: Packer, tmp_path: Path
) -> None:
    outcome = boxes.apply(plan, cloud, packer, shelf, Silent())
    public = tmp_path / "public"
    desk = Desk(tmp_path / "home", {"KM_PUBLISH__TO": "catalog", "KM_PUBLISH__CATALOG": str(public), "CI": "true"})
    files = [word for kept in outcome.boxes for word in ("--file", str(kept.archive))]
    ran = desk.upload(*files)
    assert ran.code == 0, ran.err
    catalog = json.loads((public / plan.box.name / "catalog.json").read_text())
    told = {each["name"]: each["checksum"] for each in catalog["versions"][0]["providers"]}
    assert told == {kept.told.provider: kept.told.sha256 for kept in outcome.boxes}


def test_when_packing_fails_the_disk_and_the_boxes_before_stay_and_nothing_of_the_new_one(
    plan: boxes.Plan, cloud: Cloud, shelf: Shelf, packer: Packer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when it is the same disk that is packed again, after only the box's memory was set anew."""
    real = packing.pack

    def full(path: Path, members: Sequence[Member]) -> Packed:
        packed = real(path, members)
        if path.parent.name == "virtualbox" or shelf.all():
            raise OSError(28, "No space left on device")
        return packed

    monkeypatch.setattr(packing, "pack", full)
    disk = plan.build.start
    for wanted in (PROVIDERS, ("libvirt",)):
        with pytest.raises(KitError, match="the disk that local builds on is full"):
            boxes.apply(replace(plan, wanted=wanted), cloud, packer, shelf, Silent())
        kept = shelf.get("one", "libvirt")
        assert kept and [path.resolve() for path in shelf.root.rglob(ARCHIVE)] == [kept.archive.resolve()]
        assert hashlib.sha256(kept.archive.read_bytes()).hexdigest() == kept.told.sha256
        assert disk in cloud.images.list("box-one")
        assert not shelf.work.busy("one") and shelf.leftovers() == []
