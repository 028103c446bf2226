"""What the pipeline tells packer of its cloud. No VM runs: packer is a script, and makes nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from cloud import connect
from cloud.base import Cloud
from cloud.progress import Silent
from packer import pipeline
from packer.definition import load
from packer.driver import Packer
from packer.errors import BuildFailed, Stalled
from tasks._settings import load as settings
from tests.toolkit import ROOT

SCRIPT = """\
#!/bin/sh
[ "$1" = version ] && { echo Packer v1.6.6; exit; }
echo "Creating AMI from instance"
sleep 3
"""


@pytest.fixture
def cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cloud:
    """This machine, whose base is there."""
    base = {"KM_LOCAL__BASE_URL": "/somewhere/base.qcow2", "KM_LOCAL__BASE_SHA256": "a" * 64}
    cloud = connect("local", settings({"KM_LOCAL__STORE": str(tmp_path / "store"), **base}))
    monkeypatch.setattr(cloud.images, "prepare", lambda *_: {})
    return cloud


@pytest.fixture
def packer(tmp_path: Path) -> Packer:
    """Packer, which is silent for three seconds, and makes nothing; a VM counts as hung after one."""
    program = tmp_path / "packer"
    program.write_text(SCRIPT)
    program.chmod(0o700)
    told = settings({"KM_PACKER__BINARY": str(program)}).packer
    return Packer.found(msgspec.structs.replace(told, silence=1))


@pytest.mark.parametrize(
    ("silence", "kind", "said"),
    [(60, BuildFailed, "made nothing"), (0, Stalled, "said nothing for 1 s")],
    ids=["a cloud that is slow", "this machine"],
)
def test_packer_may_be_silent_as_long_as_its_cloud_takes_for_an_image(
    cloud: Cloud,
    packer: Packer,
    monkeypatch: pytest.MonkeyPatch,
    silence: int,
    kind: type[BuildFailed],
    said: str,
) -> None:
    cost = replace(cloud.images.cost(), silence=silence)
    monkeypatch.setattr(cloud.images, "cost", lambda: cost)
    plan = pipeline.plan(load(ROOT / "tests/definitions/micro.toml"), cloud, "1.6.6")
    with pytest.raises(BuildFailed, match=said) as failed:
        pipeline.apply(plan, cloud, packer, 3, Silent())
    assert type(failed.value) is kind
