"""What is to be done, decided from what is there. Nothing is built."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from cloud import connect, wait
from cloud.base import Cloud, Image
from packer import pipeline, promotion
from packer.definition import Definition, load
from packer.pipeline import Plan
from tasks._settings import load as settings
from tests.planted import planted
from tests.toolkit import ROOT

ALL = ("build", "prove", "promote", "prune")


@pytest.fixture
def cloud(tmp_path: Path) -> Cloud:
    """This machine, with no image yet."""
    base = {"KM_LOCAL__BASE_URL": "/somewhere/base.qcow2", "KM_LOCAL__BASE_SHA256": "a" * 64}
    return connect("local", settings({"KM_LOCAL__STORE": str(tmp_path / "store"), **base}))


@pytest.fixture
def definition() -> Definition:
    """An image to plan for."""
    return load(ROOT / "tests/definitions/micro.toml")


def built(cloud: Cloud, mark: str, *states: str, minutes_ago: int = 0) -> Image:
    """A build with that fingerprint, as far as the states say."""
    created = wait.clock.now() - timedelta(minutes=minutes_ago)
    return planted(cloud, "MicroImage", mark, *states, created=created)


def planned(cloud: Cloud, definition: Definition, *, force: bool = False, promote: bool = True) -> Plan:
    return pipeline.plan(definition, cloud, "1.6.6", force=force, promote=promote)


@pytest.fixture
def mark(cloud: Cloud, definition: Definition) -> str:
    """The fingerprint of the definition as it is."""
    return planned(cloud, definition).fingerprint


def test_without_a_build_all_is_to_be_done(cloud: Cloud, definition: Definition) -> None:
    assert planned(cloud, definition).steps == ALL


def test_with_a_current_build_of_the_same_inputs_nothing_is(cloud: Cloud, definition: Definition, mark: str) -> None:
    now = built(cloud, mark, "proven", "promoted")
    plan = planned(cloud, definition)
    assert plan.up_to_date and plan.start == now


def test_other_inputs_make_a_new_build(cloud: Cloud, definition: Definition) -> None:
    now = built(cloud, "of other inputs", "proven", "promoted")
    plan = planned(cloud, definition)
    assert plan.steps == ALL and plan.start is None and now.build in plan.reason


def test_force_makes_a_new_build_of_the_same_inputs(cloud: Cloud, definition: Definition, mark: str) -> None:
    built(cloud, mark, "proven", "promoted")
    assert planned(cloud, definition, force=True).steps == ALL


def test_without_promotion_the_current_image_is_not_changed(cloud: Cloud, definition: Definition) -> None:
    assert planned(cloud, definition, promote=False).steps == ("build", "prove", "prune")


@pytest.mark.parametrize(
    ("states", "steps"), [((), ("prove", "promote", "prune")), (("proven",), ("promote", "prune"))]
)
def test_a_build_that_did_not_come_to_its_end_is_gone_on_with(
    cloud: Cloud, definition: Definition, mark: str, states: tuple[str, ...], steps: tuple[str, ...]
) -> None:
    begun = built(cloud, mark, *states)
    plan = planned(cloud, definition)
    assert (plan.start, plan.steps) == (begun, steps)


def test_a_proven_one_is_enough_when_nothing_is_to_be_promoted(cloud: Cloud, definition: Definition, mark: str) -> None:
    built(cloud, mark, "proven")
    assert planned(cloud, definition, promote=False).up_to_date


def test_one_that_was_taken_back_does_not_come_again_by_itself(cloud: Cloud, definition: Definition, mark: str) -> None:
    built(cloud, "of other inputs", "proven", "promoted", minutes_ago=5)
    bad = built(cloud, mark, "proven", "promoted")
    promotion.rollback(cloud, "MicroImage")
    plan = planned(cloud, definition)
    assert plan.up_to_date and bad.build in plan.reason and "--force" in plan.reason
    assert planned(cloud, definition, force=True).steps == ALL


@pytest.mark.parametrize("states", [("proven", "promoted"), ("proven",)])
def test_one_that_is_older_than_the_current_build_is_built_anew(
    cloud: Cloud, definition: Definition, mark: str, states: tuple[str, ...]
) -> None:
    built(cloud, mark, *states, minutes_ago=5)
    built(cloud, "of other inputs", "proven", "promoted")
    assert planned(cloud, definition).steps == ALL
