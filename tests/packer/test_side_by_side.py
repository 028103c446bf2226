"""AWS and Azure at once, by one command: each ends on its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.arm import Arm
from tests.fakes.ec2 import Ec2
from tests.toolkit import ROOT, Toolkit

BOTH = ("--cloud", "aws", "--cloud", "azure")
MICRO = {"KM_IMAGES__DEFINITION": str(ROOT / "tests/definitions/micro.toml")}


@pytest.fixture
def clouds(disk: Path, tmp_path: Path) -> Iterator[tuple[Ec2, Arm, Toolkit]]:
    """A region and a subscription, both empty, and a toolkit that works in both."""
    with Ec2(tmp_path / "ec2", disk) as ec2, Arm(tmp_path / "arm", disk) as arm:
        yield ec2, arm, Toolkit(tmp_path / "home", {**MICRO, **ec2.variables, **arm.variables})
        assert ec2.refused == [] and arm.refused == []


@pytest.mark.vm
@pytest.mark.matrix
def test_one_that_fails_does_not_keep_the_other_from_being_promoted(clouds: tuple[Ec2, Arm, Toolkit]) -> None:
    _, arm, toolkit = clouds
    arm.fails("Microsoft.Compute/virtualMachines/write", "OperationNotAllowed", 409, times=9, message="no cores left")
    ran = toolkit.run("images.l0base", *BOTH, "--json", timeout=600)
    assert ran.code == 3, ran.err
    assert [(row["cloud"], row["state"]) for row in ran.json] == [("aws", "promoted")]
    assert "azure: packer: " in ran.err and "left behind: nothing" in ran.err
    rows = toolkit.run("images.list", *BOTH, "--json").json
    assert [(row["cloud"], row["current"]) for row in rows] == [("aws", True)]


@pytest.mark.vm
@pytest.mark.matrix
def test_both_are_built_proven_and_promoted_in_one_run(clouds: tuple[Ec2, Arm, Toolkit]) -> None:
    _, _, toolkit = clouds
    ran = toolkit.run("images.l0base", *BOTH, "--json", timeout=600)
    assert ran.code == 0, f"{ran.err}\n{toolkit.log()}"
    assert [(row["cloud"], row["state"]) for row in ran.json] == [("aws", "promoted"), ("azure", "promoted")]
    for row in ran.json:
        assert {check["phase"] for check in row["checks"]} == {"boot", "reboot"}
    rows = toolkit.run("images.list", *BOTH, "--json").json
    assert [(row["cloud"], row["current"]) for row in rows] == [("aws", True), ("azure", True)]
    assert toolkit.run("images.prune", *BOTH, "--plan").out == ""


@pytest.mark.vm
def test_both_are_planned_in_one_run(clouds: tuple[Ec2, Arm, Toolkit]) -> None:
    ec2, arm, toolkit = clouds
    ran = toolkit.run("images.l0base", *BOTH, "--plan", "--json")
    assert [(row["cloud"], row["steps"][0]) for row in ran.json] == [("aws", "build"), ("azure", "build")]
    assert ran.json[0]["fingerprint"] != ran.json[1]["fingerprint"]
    assert ec2.actions() and arm.actions()
    again = toolkit.run("images.l0base", *BOTH, "--no-promote", "--plan", "--json")
    assert [row["steps"] for row in again.json] == [["build", "prove", "prune"]] * 2


def test_who_is_logged_in_to_one_alone_is_told_so(clouds: tuple[Ec2, Arm, Toolkit]) -> None:
    _, _, toolkit = clouds
    ran = toolkit.run("images.list", *BOTH, prefix=("env", "SP_PASSWORD=wrong"))
    assert ran.code == 3 and "azure: " in ran.err
    rows = {row["name"]: row for row in toolkit.run("doctor", *BOTH, "--json").json}
    assert rows["aws"]["state"] == rows["azure"]["state"] == "ok"
    assert toolkit.run("images.prune", *BOTH, "--plan").out == ""
