"""What is to be done, as a value: rows of what is there, and what follows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from cloud.errors import InputError
from cloud.publish import plan
from cloud.publish.box import Box
from cloud.publish.catalog import Catalog
from cloud.publish.names import Tag
from cloud.publish.place import Found, Listed, State
from cloud.publish.transfer import Pace
from cloud.publish.vagrant_cloud import VagrantCloud

TAG = Tag("org", "box")


@dataclass
class There:
    """A place of which only what is there counts."""

    found: Found | None
    limit: int = 0
    name: str = "somewhere"
    notice: str = ""

    def check(self) -> None:
        raise AssertionError

    def find(self, tag: Tag, version: str) -> Found | None:
        return self.found

    def versions(self, tag: Tag) -> list[str]:
        raise AssertionError

    def begin(self, tag: Tag, version: str) -> None:
        raise AssertionError

    def put(self, tag: Tag, version: str, box: Box, *, default: bool, pace: Pace) -> None:
        raise AssertionError

    def verify(self, tag: Tag, version: str, part: Box | Listed, pace: Pace) -> None:
        raise AssertionError

    def release(self, tag: Tag, version: str, listed: Sequence[Listed]) -> None:
        raise AssertionError

    def shows(self, tag: Tag, version: str, listed: Sequence[Listed]) -> bool:
        raise AssertionError

    def remove(self, tag: Tag, version: str) -> None:
        raise AssertionError

    def address(self, tag: Tag) -> str:
        raise AssertionError

    def login(self) -> dict[str, str]:
        raise AssertionError


def box(provider: str = "libvirt", architecture: str = "amd64", sha256: str = "a" * 64, size: int = 100) -> Box:
    return Box(Path("x.box"), size, sha256, provider, architecture, "org/box")


def listed(sha256: str = "a" * 64, hosted: bool = True, provider: str = "libvirt") -> Listed:
    return Listed(provider, "amd64", sha256, hosted, "https://somewhere")


def made(found: Found | None, *boxes: Box, replace: bool = False, limit: int = 0) -> plan.Plan:
    return plan.make(There(found, limit), TAG, "1.0.0", boxes or (box(),), replace=replace, release=True)


OTHER = "b" * 64


@pytest.mark.parametrize(
    ("state", "there", "replace", "does"),
    [
        ("released", [listed()], False, "there"),
        ("released", [listed(OTHER)], False, "refused"),
        ("released", [listed(OTHER)], True, "refused"),
        ("released", [listed("")], True, "refused"),
        ("released", [listed(provider="virtualbox")], True, "refused"),
        ("revoked", [listed()], True, "refused"),
        ("unreleased", [], False, "upload"),
        ("unreleased", [listed()], False, "check"),
        ("unreleased", [listed(hosted=False)], False, "upload"),
        ("unreleased", [listed(OTHER)], False, "refused"),
        ("unreleased", [listed(OTHER)], True, "replace"),
        ("unreleased", [listed("", hosted=False)], False, "upload"),
        ("unreleased", [listed(OTHER), listed()], False, "check"),
    ],
)
def test_what_is_there_says_what_is_done(state: State, there: list[Listed], replace: bool, does: str) -> None:
    found = made(Found(state, tuple(there)), replace=replace)
    [mine] = [part for part in found.parts if part.box]
    assert mine.does == does and mine.why
    assert found.released == (state == "released")
    if does == "refused":
        with pytest.raises(InputError):
            plan.agreed(found)


def test_what_others_have_sent_is_read_back_before_all_is_released() -> None:
    others = (listed(provider="virtualbox"), listed(provider="qemu", hosted=False))
    parts = {part.provider: part.does for part in made(Found("unreleased", others)).parts}
    assert parts == {"libvirt": "upload", "virtualbox": "check", "qemu": "refused"}


def test_of_two_that_others_have_sent_nobody_knows_which() -> None:
    others = (listed(provider="virtualbox"), listed(OTHER, provider="virtualbox"))
    assert {part.does for part in made(Found("unreleased", others)).parts if not part.box} == {"refused"}


def test_two_boxes_for_the_same_are_refused() -> None:
    with pytest.raises(InputError, match="two boxes are for libvirt amd64"):
        made(None, box(), box(sha256=OTHER))


def test_more_than_a_place_takes_is_refused_there_alone() -> None:
    large = (5 << 30) + 1
    found = made(None, box(size=large), limit=VagrantCloud.limit)
    assert [part.does for part in found.parts] == ["refused"] and "--to catalog" in found.parts[0].why
    assert made(None, box(size=5 << 30), limit=VagrantCloud.limit).parts[0].does == "upload"
    assert made(None, box(size=large), limit=Catalog.limit).parts[0].does == "upload"


def test_the_default_architecture_is_last_of_its_provider() -> None:
    boxes = [box(architecture=each) for each in ("amd64", "arm64")] + [box("virtualbox", "arm64")]
    found = made(None, *boxes)
    assert [(part.provider, part.architecture, part.default) for part in found.parts] == [
        ("libvirt", "arm64", False),
        ("libvirt", "amd64", True),
        ("virtualbox", "arm64", True),
    ]
