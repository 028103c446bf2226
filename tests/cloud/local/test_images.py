"""Builds in a store that others use at the same time, and that people put their hands into."""

from __future__ import annotations

import platform
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from cloud import connect
from cloud.base import Base, Build, Cloud, Image
from cloud.errors import InputError, NotFound
from cloud.local import bases, machines
from cloud.local.images import LocalImages
from cloud.local.store import Store
from cloud.progress import Silent
from cloud.work import Work
from packer import promotion
from tasks._settings import load
from tests.planted import planted

NAME = "MicroImage"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.at(str(tmp_path / "store"))


@pytest.fixture
def cloud(store: Store) -> Cloud:
    return connect("local", load({"KM_LOCAL__STORE": str(store.root)}))


def built(cloud: Cloud, day: int) -> Image:
    created = datetime(2026, 11, 20, tzinfo=UTC) + timedelta(days=day)
    return planted(cloud, NAME, "", "proven", "promoted", created=created, token=f"aaaaa{day}")


def named(cloud: Cloud) -> list[str]:
    return [image.build for image in cloud.images.list(NAME)]


class TestWhatGoesWhileOneLooks:
    def test_is_not_listed(self, cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
        old, new = built(cloud, 0), built(cloud, 1)
        seen = Path.iterdir

        def pruned_meanwhile(folder: Path) -> list[Path]:
            found = [*seen(folder)]
            shutil.rmtree(old.id, ignore_errors=True)
            return found

        monkeypatch.setattr(Path, "iterdir", pruned_meanwhile)
        assert named(cloud) == [new.build]

    def test_is_gone_for_who_would_change_it(self, cloud: Cloud) -> None:
        image = built(cloud, 0)
        cloud.images.delete(image)
        cloud.images.delete(image)  # another one does it too
        with pytest.raises(NotFound, match="not there any more"):
            cloud.images.tag(image, {"km-kept": "yes"})
        with pytest.raises(NotFound, match="not there any more"):
            cloud.images.describe(image, {})
        assert named(cloud) == [] and not Path(image.id).exists()

    def test_keeps_no_other_build_from_becoming_current(self, cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
        old, middle, new = (built(cloud, day) for day in range(3))
        listed = cloud.images.list(NAME)
        cloud.images.delete(middle)
        monkeypatch.setattr(cloud.images, "list", lambda name: listed)
        promotion.promote(cloud, old)
        monkeypatch.undo()
        states = {image.build: image.state for image in cloud.images.list(NAME)}
        assert states == {old.build: "promoted", new.build: "withdrawn"}

    def test_is_pruned_by_both_who_prune(self, cloud: Cloud) -> None:
        for day in range(3):
            built(cloud, day)
        one, other = (promotion.superfluous(cloud, NAME, keep=1) for _ in range(2))
        assert len(promotion.prune(one, cloud)) == len(promotion.prune(other, cloud)) == 2

    def test_uses_no_image_when_it_was_a_machine(
        self, cloud: Cloud, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        image = built(cloud, 0)
        monkeypatch.setattr(machines, "folders", lambda store: iter([store.machines / "gone"]))
        assert cloud.images.in_use(image) == ""

    def test_hides_no_machine_of_a_killed_build(
        self, cloud: Cloud, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        left = store.machines / "left"
        left.mkdir()
        (left / "machine.json").write_text('{"image": "", "tags": {"km-kind": "proof"}}')
        looks = iter([[store.machines / "gone", left], [left]])
        monkeypatch.setattr(machines, "folders", lambda store: iter(next(looks)))
        assert [found.id for found in cloud.images.leftovers()] == [str(left)]


class TestAnImageWithoutItsDisk:
    def test_is_no_image_and_prune_takes_it(self, cloud: Cloud) -> None:
        broken, whole = built(cloud, 1), built(cloud, 0)
        Path(broken.id, "disk.qcow2").unlink()
        assert named(cloud) == [whole.build]
        found = promotion.superfluous(cloud, NAME, keep=3)
        assert found.words() == (f"image without its disk {broken.id}",)
        promotion.prune(found, cloud)
        assert not Path(broken.id).exists() and named(cloud) == [whole.build]


class TestAKilledBuild:
    def test_that_another_one_has_begun_anew_since_is_not_removed(self, cloud: Cloud, store: Store) -> None:
        (store.builds / "build").mkdir()
        (dead,) = cloud.images.leftovers()
        work = Work(store.builds)
        work.begin("build")
        cloud.images.remove(dead)
        assert (store.builds / "build").exists()
        work.finish("build")


class TestTheDisk:
    @pytest.mark.parametrize(("base", "setting", "enough"), [("2G", 2, True), ("2049M", 2, False), ("6G", 5, False)])
    def test_of_a_vm_is_never_smaller_than_its_base(
        self, store: Store, monkeypatch: pytest.MonkeyPatch, base: str, setting: int, enough: bool
    ) -> None:
        folder = store.bases / "base"
        folder.mkdir()
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", folder / "disk.qcow2", base], check=True)
        monkeypatch.setattr(bases, "fetch", lambda *_: folder)
        settings = msgspec.structs.replace(load({}).local, disk=setting, accelerator="tcg")
        images = LocalImages(store, settings)
        (store.root / "build").mkdir()
        build, wanted = Build("build", store.root / "build"), Base("some", {})
        if enough:
            assert images.prepare(build, wanted, Silent())["base"] == str(folder / "disk.qcow2")
            return
        with pytest.raises(InputError, match=f"local.disk is {setting} GiB, and the base some is a disk of") as refused:
            images.prepare(build, wanted, Silent())
        assert refused.value.hint.endswith(f"to {setting + 1} or more")


def test_on_another_system_than_linux_it_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    with pytest.raises(InputError, match="local VMs and images need Linux, and this is Darwin") as refused:
        connect("local", load({"KM_LOCAL__STORE": str(tmp_path / "store")}))
    assert "--cloud aws" in refused.value.hint
    assert list(tmp_path.iterdir()) == []
