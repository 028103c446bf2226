"""The build record tells all that an image is made of, and nothing that gives access."""

from __future__ import annotations

import json
from pathlib import Path

from cloud.local.bases import resolve
from packer import record
from packer.definition import load
from packer.driver import Packer
from packer.pipeline import Plan
from tasks._settings import load as settings
from tests.toolkit import ROOT


def test_it_names_the_base_without_the_password_of_its_address(tmp_path: Path) -> None:
    base = resolve({}, "https://ann:sesame@images.example.org/base.qcow2?signature=sesame", "a" * 64)
    definition = load(ROOT / "tests/definitions/micro.toml")
    plan = Plan("local", definition, {}, base, "f" * 64, (), None, "")
    path = record.write(tmp_path / "record.json", plan, "MicroImage-1", "now", Packer(settings({}).packer, (1, 6, 6)))
    told = json.loads(path.read_text())
    assert told["base"]["url"] == "https://images.example.org/base.qcow2"
    assert told["base"]["sha256"] == "a" * 64
    assert "sesame" not in path.read_text() + repr(plan)


def test_it_names_the_toolkits_own_revision(tmp_path: Path) -> None:
    plan = Plan(
        "local", load(ROOT / "tests/definitions/micro.toml"), {}, resolve({}, "/b", "a" * 64), "f", (), None, ""
    )
    path = record.write(tmp_path / "record.json", plan, "b", "now", Packer(settings({}).packer, (1, 6, 6)))
    assert json.loads(path.read_text())["toolkit"][:40].isalnum()
