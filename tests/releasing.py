"""Whoever makes releases: the product's repository, GitHub, AWS and a registry as servers, the toolkit in process."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from cloud import names, wait
from packer import boxes
from packer import definition as definitions
from packer import product as goods
from packer.box import PROVIDERS
from packer.shelf import STORY, Shelf
from tasks import _boxes, _pieces, _release
from tests import act, publishing, sample
from tests.fakes.ec2 import POLICY, Ec2
from tests.fakes.github import REPOSITORY, Hub
from tests.fakes.guests import Paper
from tests.fakes.registry_wire import Registry
from tests.packer import boxed
from tests.publishing import Desk
from tests.toolkit import ROOT, Ran

RELEASE = POLICY.with_name("aws-release.json")

BUILD = """\
#!/bin/sh
# Makes the product: here by copying it. As archives have times in them, no two builds are the same.
set -eu
echo built >> builds
mkdir -p build
cp src/* build/
rm -rf build/.work && mkdir build/.work
tar -x -z -f src/kontain.tar.gz -C build/.work
cat /proc/sys/kernel/random/uuid > build/.work/stamp
tar -c -z -f build/kontain.tar.gz -C build/.work .
rm -r build/.work
"""

SMOKE = """\
#!/bin/sh
set -eu
echo tried >> "$PRODUCT/../tries"
tar -t -z -f "$PRODUCT/kontain.tar.gz" | grep -q bin/km
"""


def checkout(folder: Path, workflow: str = "") -> Path:
    """The product's repository: it has the sample, what builds it and tries it, and maybe a workflow."""
    sample.product(folder / "src")
    if workflow:
        (folder / ".github/workflows").mkdir(parents=True)
        (folder / ".github/workflows/release.yml").write_text(workflow)
    (folder / "build.sh").write_text(BUILD)
    (folder / "smoke.sh").write_text(SMOKE)
    (folder / ".gitignore").write_text("/build/\n/builds\n/tries\n")
    act.repository(folder, REPOSITORY)
    return folder


def settings(definitions: Path) -> dict[str, str]:
    """The settings with which the sample is the product, and the micro guest what it goes into."""
    return {
        "CI": "true",
        "KM_PRODUCT__BUILD": "sh build.sh",
        "KM_PRODUCT__SMOKE": "sh smoke.sh",
        "KM_RELEASE__DEFINITION": str(ROOT / "tests/definitions/release.toml"),
        **{key: text for key, text in boxed.settings(definitions, Path("build")).items() if "PRODUCT" not in key},
    }


@dataclass
class Maker:
    """One who makes releases."""

    desk: Desk
    km: Path
    hub: Hub
    ec2: Ec2
    registry: Registry
    extra: dict[str, str] = field(default_factory=dict)

    def run(self, task: str, *words: str, **variables: str) -> Ran:
        """Run a task of releases on the checkout, to its end."""
        where = () if task == "retire" else ("--checkout", str(self.km))
        return self.desk.run(f"release.{task}", *where, *words, **{**self.extra, **variables})

    def rows(self, *words: str, task: str = "status", **variables: str) -> list[dict[str, Any]]:
        """The table."""
        ran = self.run(task, "--json", *words, **variables)
        assert ran.code == 0, ran.err
        return list(json.loads(ran.out))

    def table(self, *words: str, **variables: str) -> dict[str, tuple[str, str]]:
        """The table: state and what is to be done, by piece; of several regions or providers by which one."""
        rows = self.rows(*words, **variables)
        many = [row["piece"] for row in rows]
        return {
            row["what"] if many.count(row["piece"]) > 1 else row["piece"]: (row["state"], ", ".join(row["does"]))
            for row in rows
        }

    def tag(self, name: str) -> None:
        """Put a tag on the checkout's HEAD."""
        act.git(self.km, "tag", name)

    def commit(self, text: str = "more") -> str:
        """A new commit of the product; which it is."""
        (self.km / "src/notes").write_text(text)
        act.git(self.km, "add", "-A")
        act.git(self.km, "commit", "-qm", text)
        return act.git(self.km, "rev-parse", "HEAD").strip()

    def version(self, tag: str, version: str) -> str:
        """How the registry has a box's version."""
        found = self.registry.books.version(tag, version)
        return found.status if found else "nowhere"

    def fresh(self) -> None:
        """A fresh checkout, on a machine that has built nothing."""
        shutil.rmtree(self.km / "build", ignore_errors=True)
        for link in self.desk.store.glob("boxes/*/[!.]*"):
            link.unlink()

    @property
    def builds(self) -> int:
        """How often the product was built."""
        return (self.km / "builds").read_text().count("built")

    @property
    def files(self) -> dict[str, str]:
        """The product's files at hand, each with its sum."""
        return {path.name: publishing.sha256(path) for path in (self.km / "build").glob("k*")}

    @property
    def head(self) -> str:
        """The commit at HEAD."""
        return act.git(self.km, "rev-parse", "HEAD").strip()

    def opened(self, **variables: str) -> _release.Desk:
        """What the toolkit itself has opened."""
        with self._as_told(variables):
            return _release.opened(str(self.km), "", "")

    @contextlib.contextmanager
    def _as_told(self, variables: Mapping[str, str]) -> Iterator[None]:
        told = {**self.desk.settings, **self.extra, **variables, "HOME": str(self.desk.home)}
        with pytest.MonkeyPatch.context() as patched:
            for key, text in {**told, "KM_LOCAL__STORE": str(self.desk.store)}.items():
                patched.setenv(key, text)
            yield

    def ami(self, *states: str, days_ago: float = 0, of: str = "", commit: str = "", mark: str = "aaaaaa") -> str:
        """An AMI of today's inputs, as a build leaves it that came as far as the states say; its id."""
        from packer import ami

        with self._as_told({}):
            desk = _release.opened(str(self.km), "", of)
            product = goods.found(self.km / "build")
            definition = definitions.load(Path(desk.settings.release.definition))
            clouds = _pieces.regions(desk.settings)
            planned = ami.plan(
                definition, desk.version, clouds[:1], product, desk.settings.release, "1.6.6", force=True
            )
        assert planned.build is not None
        created = wait.clock.now() - timedelta(days=days_ago)
        build = names.build_name("MicroRelease", created, mark)
        moment = names.moment(created)
        told = {
            **planned.build.tags,
            names.KIND: "image",
            names.IMAGE: "MicroRelease",
            names.BUILD: build,
            names.CREATED: moment,
            names.FINGERPRINT: planned.build.fingerprint,
            **{f"km-{state}": moment for state in states},
        }
        made = self.ec2.register(build, **told)
        parts = {key: text for key, text in told.items() if key not in (names.PROVEN, names.PROMOTED)}
        self.ec2.mark(self.ec2.ami(made).ebs_snapshot.id, **parts)
        return made

    def shelved(self, disk: bytes = b"") -> list[Path]:
        """Boxes of today's inputs, as a build leaves them."""
        with self._as_told({}):
            desk = _release.opened(str(self.km), "", "")
            product = goods.found(self.km / "build")
            (box,) = _boxes.meant((), desk.settings)
            shelf = Shelf(self.desk.store)
            planned = boxes.plan(box, PROVIDERS, _boxes.cloud(desk.settings, box), shelf, product, "1.6.6", force=True)
        made = []
        for provider, mark in planned.marks.items():
            archive = publishing.built(self.desk.store, provider, disk, box.os, box.name)
            told = json.loads((archive.parent / STORY).read_text())
            (archive.parent / STORY).write_text(json.dumps({**told, "fingerprint": mark}))
            made.append(archive)
        return made


@contextlib.contextmanager
def makers(home: Path, disk: Path | None = None, workflow: str = "") -> Iterator[Maker]:
    """One who makes releases. Without a disk that VMs boot they are only written down."""
    home.mkdir(parents=True, exist_ok=True)
    base = disk or home / "disk"
    base.touch()
    definitions = boxed.definitions(home / "definitions", base)
    with (
        Hub() as hub,
        Ec2(home / "ec2", base, paper=None if disk else Paper()) as ec2,
        Registry(home / "registry") as registry,
    ):
        ec2.policies = (POLICY, RELEASE)
        told = {**settings(definitions), **hub.variables, **ec2.variables, **publishing.at(registry)}
        desk = Desk(home / "home", told)
        desk.home.mkdir()
        yield Maker(desk, checkout(home / "km", workflow), hub, ec2, registry)
        assert ec2.refused == []
        assert registry.violations == []


def pieces(rows: Sequence[Mapping[str, Any]], piece: str) -> list[Mapping[str, Any]]:
    """The rows of a piece."""
    return [row for row in rows if row["piece"] == piece]
