"""Which build is current, what a rollback does, and what prune keeps. Real stores, no VMs."""

from __future__ import annotations

import itertools
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloud import connect
from cloud.base import Cloud, Image, current
from cloud.errors import InputError, NotFound
from packer import promotion
from tasks._settings import load
from tests.planted import planted
from tests.toolkit import Toolkit

NAME = "MicroImage"
DAY_ONE = datetime(2026, 11, 22, 20, 0, tzinfo=UTC)
_numbers = itertools.count()


def opened(store: Path) -> Cloud:
    return connect("local", load({"KM_LOCAL__STORE": str(store)}))


@pytest.fixture
def cloud(tmp_path: Path) -> Cloud:
    """This machine, with no image yet."""
    return opened(tmp_path / "store")


def built(cloud: Cloud, day: int, *, proven: bool = True, promoted: bool = True) -> Image:
    """A build of that day, as packer's overlay becomes one."""
    states = [state for state, come in (("proven", proven), ("promoted", promoted)) if come]
    token = f"{next(_numbers):06x}"
    return planted(cloud, NAME, "", *states, created=DAY_ONE + timedelta(days=day), token=token)


def now(cloud: Cloud) -> str:
    found = current(cloud.images.list(NAME))
    return found.build if found else ""


class TestPromote:
    def test_makes_an_older_build_current_and_withdraws_the_newer_ones(self, cloud: Cloud) -> None:
        old, middle, new = (built(cloud, day) for day in range(3))
        promotion.promote(cloud, old)
        assert now(cloud) == old.build
        states = {image.build: image.state for image in cloud.images.list(NAME)}
        assert states == {old.build: "promoted", middle.build: "withdrawn", new.build: "withdrawn"}

    def test_brings_a_withdrawn_build_back(self, cloud: Cloud) -> None:
        old, new = built(cloud, 0), built(cloud, 1)
        promotion.promote(cloud, old)
        promotion.promote(cloud, new)
        assert now(cloud) == new.build

    def test_refuses_what_was_never_proven(self, cloud: Cloud) -> None:
        good, raw = built(cloud, 0), built(cloud, 1, proven=False, promoted=False)
        with pytest.raises(InputError, match="never proven"):
            promotion.promote(cloud, raw)
        assert now(cloud) == good.build

    def test_leaves_a_current_image_wherever_it_is_killed(self, cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
        old, _ = built(cloud, 0), built(cloud, 1)
        tag = cloud.images.tag
        for survived in (0, 1):
            left = iter(range(survived))

            def dies(image: Image, tags: dict[str, str | None], left: Iterator[int] = left) -> Image:
                if next(left, None) is None:
                    raise KeyboardInterrupt
                return tag(image, tags)

            monkeypatch.setattr(cloud.images, "tag", dies)
            with pytest.raises(KeyboardInterrupt):
                promotion.promote(cloud, old)
            assert now(cloud)


class TestRollback:
    def test_goes_back_a_build_at_a_time(self, cloud: Cloud) -> None:
        first, second, _ = (built(cloud, day) for day in range(3))
        assert promotion.rollback(cloud, NAME).build == second.build
        assert promotion.rollback(cloud, NAME).build == first.build == now(cloud)

    def test_refuses_when_there_is_nothing_to_go_back_to(self, cloud: Cloud) -> None:
        only = built(cloud, 0)
        with pytest.raises(InputError, match="no build to go back to"):
            promotion.rollback(cloud, NAME)
        assert now(cloud) == only.build


class TestFind:
    def test_takes_the_end_of_a_name(self, cloud: Cloud) -> None:
        image = built(cloud, 0)
        assert promotion.find(cloud, NAME, image.build[-6:]) == image

    @pytest.mark.parametrize("text", ["", "no such build"])
    def test_refuses_what_names_none(self, cloud: Cloud, text: str) -> None:
        built(cloud, 0)
        with pytest.raises(NotFound):
            promotion.find(cloud, NAME, text)

    def test_refuses_what_names_two(self, cloud: Cloud) -> None:
        one, other = built(cloud, 0), built(cloud, 1)
        common = next(letter for letter in "0123456789abcdef" if one.build.endswith(letter))
        if other.build.endswith(common):
            with pytest.raises(NotFound, match="2 builds"):
                promotion.find(cloud, NAME, common)


class TestPrune:
    def test_keeps_the_newest_and_the_current_one(self, cloud: Cloud) -> None:
        images = [built(cloud, day) for day in range(5)]
        promotion.promote(cloud, images[0])
        gone = promotion.superfluous(cloud, NAME, keep=2)
        assert {image.build for image in gone.images} == {images[each].build for each in (1, 2, 3)}
        promotion.prune(gone, cloud)
        assert {image.build for image in cloud.images.list(NAME)} == {images[each].build for each in (0, 4)}

    @pytest.mark.parametrize("keep", [0, 1])
    def test_never_takes_the_current_one_however_few_are_kept(self, cloud: Cloud, keep: int) -> None:
        oldest, old, new = (built(cloud, day) for day in range(3))
        promotion.prune(promotion.superfluous(cloud, NAME, keep=keep), cloud)
        assert [image.build for image in cloud.images.list(NAME)] == [new.build] == [now(cloud)]
        assert not Path(old.id).exists() and not Path(oldest.id).exists()

    @pytest.mark.parametrize("keep", [-1, -2, -9])
    def test_of_less_than_nothing_is_bad_input(self, cloud: Cloud, keep: int) -> None:
        built(cloud, 0)
        with pytest.raises(InputError, match=f"^{keep} builds can't be kept$") as refused:
            promotion.superfluous(cloud, NAME, keep=keep)
        assert refused.value.hint

    def test_never_takes_a_build_that_a_machine_uses(self, cloud: Cloud, tmp_path: Path) -> None:
        used, _ = built(cloud, 0), built(cloud, 1)
        machine = tmp_path / "store/machines/debugging"
        machine.mkdir()
        (machine / "machine.json").write_text(f'{{"image": "{used.id}", "tags": {{"km-kind": "runner"}}}}')
        assert promotion.superfluous(cloud, NAME, keep=1).images == ()

    def test_never_takes_a_build_under_way(self, cloud: Cloud, tmp_path: Path) -> None:
        under_way = built(cloud, 0, proven=False, promoted=False)
        built(cloud, 1)
        another = opened(tmp_path / "store")
        build = another.images.begin(under_way.build)
        assert promotion.superfluous(cloud, NAME, keep=1).images == ()
        another.images.finish(build)
        assert [image.build for image in promotion.superfluous(cloud, NAME, keep=1).images] == [under_way.build]

    def test_takes_what_was_never_proven(self, cloud: Cloud) -> None:
        raw, _ = built(cloud, 1, proven=False, promoted=False), built(cloud, 0)
        assert [image.build for image in promotion.superfluous(cloud, NAME, keep=3).images] == [raw.build]

    def test_takes_half_made_files_of_processes_that_are_gone(self, cloud: Cloud, tmp_path: Path) -> None:
        dead = subprocess.Popen(["true"])
        dead.wait()
        half = tmp_path / f"store/images/.{NAME}-x.{dead.pid}.new"
        half.mkdir()
        promotion.prune(promotion.superfluous(cloud, NAME, keep=1), cloud)
        assert not half.exists()

    def test_leaves_other_images_alone(self, cloud: Cloud) -> None:
        built(cloud, 0)
        assert promotion.superfluous(cloud, "OtherImage", keep=1).images == ()


@settings(max_examples=60)
@given(st.lists(st.sampled_from(["build", "promote", "rollback", "prune"]), max_size=12), st.randoms())
def test_once_there_is_a_current_build_there_always_is_one(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str], random: object
) -> None:
    cloud = opened(tmp_path_factory.mktemp("store"))
    day = itertools.count()
    built_once = False
    for step in steps:
        images = cloud.images.list(NAME)
        if step == "build":
            built(cloud, next(day))
            built_once = True
        elif step == "promote" and images:
            promotion.promote(cloud, images[-1])
        elif step == "rollback":
            try:
                promotion.rollback(cloud, NAME)
            except InputError:
                pass
        elif step == "prune":
            promotion.prune(promotion.superfluous(cloud, NAME, keep=1), cloud)
        assert bool(now(cloud)) == built_once


def test_a_person_sees_and_does_the_same_from_the_command_line(tmp_path: Path) -> None:
    toolkit = Toolkit(tmp_path, {"KM_IMAGES__CLOUDS": "local"})
    cloud = opened(toolkit.store)
    old, new = built(cloud, 0), built(cloud, 1)
    name = ("--name", NAME)
    listed = toolkit.run("images.list", *name).out
    assert listed.index(new.build) < listed.index(old.build)
    assert toolkit.run("images.promote", old.build, *name).out == f"{old.build} is current on local\n"
    assert toolkit.current(NAME) == old.build
    assert toolkit.run("images.promote", new.build, *name).code == 0
    assert toolkit.run("images.rollback", *name).out == f"{old.build} is current on local\n"
    refused = toolkit.run("images.rollback", *name)
    assert refused.code == 2 and "hint: ./inv images.list" in refused.err
    assert f"would remove build {new.build}" in toolkit.run("images.prune", "--keep", "1", "--plan", *name).out
    assert toolkit.run("images.prune", "--keep", "1", *name).code == 0
    assert [row["build"] for row in toolkit.run("images.list", "--json", *name).json] == [old.build]
