"""What ./inv doctor says of an account whose rights are not all there: nothing is done to find out."""

from __future__ import annotations

import pytest

from cloud.aws.cloud import AwsCloud
from cloud.aws.rights import ASKED
from cloud.errors import NotAllowed
from tests.fakes.ec2 import Ec2


def _action(operation: str) -> str:
    return "ec2:" + "".join(word.capitalize() for word in operation.split("_"))


def test_each_right_that_is_missing_is_named(ec2: Ec2, cloud: AwsCloud) -> None:
    before = ec2.existing()
    for operation in ASKED:
        ec2.denied = {_action(operation)}
        with pytest.raises(NotAllowed, match=f"{_action(operation)} ") as refused:
            cloud.check()
        assert refused.value.message.count("ec2:") == 1 and "docs/policies/aws.json" in refused.value.hint
    assert ec2.existing() == before


def test_all_that_are_missing_are_named_together(ec2: Ec2, cloud: AwsCloud) -> None:
    ec2.denied = {"ec2:StopInstances", "ec2:CreateTags"}
    with pytest.raises(NotAllowed, match=r"ec2:CreateTags .*; .*ec2:StopInstances"):
        cloud.check()


def test_all_that_the_policy_gives_is_enough_and_asked_for_without_being_done(ec2: Ec2, cloud: AwsCloud) -> None:
    before = ec2.existing()
    assert cloud.check().endswith("in us-east-2")
    assert {given["DryRun"] for action, given in ec2.calls if action.startswith("ec2:")} == {"true"}
    assert ec2.existing() == before and ec2.refused == []
