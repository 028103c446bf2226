"""./inv images.*: what is typed and what is answered. No VM runs here."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.planted import MICRO, plant
from tests.toolkit import ROOT, Toolkit

L0BASE = ("images.l0base", "--cloud", "local")


@pytest.fixture
def toolkit(tmp_path: Path) -> Toolkit:
    """A toolkit with an empty store."""
    return Toolkit(tmp_path / "home", MICRO)


def everything(toolkit: Toolkit) -> dict[str, tuple[int, bytes]]:
    """All files of the store, and when they were last written."""
    found = (path for path in toolkit.store.rglob("*") if path.is_file())
    return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in found}


class TestPlan:
    def test_says_what_would_be_done_what_it_takes_and_why(self, toolkit: Toolkit) -> None:
        ran = toolkit.run(*L0BASE, "--plan")
        assert ran.code == 0, ran.err
        first, second = ran.out.splitlines()
        assert first == "MicroImage on local: build, prove, promote, prune, because there is no build yet"
        assert "minutes and 4.3 GB, of " in second and second.endswith(" GB that are free")

    def test_changes_nothing_in_the_store(self, toolkit: Toolkit) -> None:
        plant(toolkit, "aaaaaa", fingerprint="0" * 64)
        before = everything(toolkit)
        ran = toolkit.run(*L0BASE, "--plan")
        assert ran.code == 0 and "its inputs differ from those of MicroImage-" in ran.out
        assert everything(toolkit) == before
        assert toolkit.left() == []

    def test_is_all_that_dry_allows(self, toolkit: Toolkit) -> None:
        refused = toolkit.run("--dry", "images.rollback", "--cloud", "local")
        assert refused.code == 2 and "has no plan to show" in refused.err

    def test_is_made_by_dry_too(self, toolkit: Toolkit) -> None:
        plain = toolkit.run(*L0BASE, "--plan", "--json")
        dry = toolkit.run("--dry", *L0BASE, "--json")
        assert dry.code == 0
        assert dry.json[0] | {"free": 0} == plain.json[0] | {"free": 0}
        assert everything(toolkit) == {}

    def test_needs_no_program_of_the_system(self, toolkit: Toolkit) -> None:
        assert toolkit.but(packer__binary="no-such-packer").run(*L0BASE, "--plan").code == 0

    def test_as_json_has_the_steps_and_their_price(self, toolkit: Toolkit) -> None:
        (row,) = toolkit.run(*L0BASE, "--plan", "--json").json
        assert row["steps"] == ["build", "prove", "promote", "prune"]
        assert (row["up_to_date"], row["build"], row["base"]) == (False, None, "sha256:" + "0" * 64)
        assert row["space"] == 4 << 30 and row["minutes"]

    def test_of_a_current_build_with_todays_inputs_is_nothing(self, toolkit: Toolkit) -> None:
        image = plant(toolkit, "aaaaaa")
        (row,) = toolkit.run(*L0BASE, "--plan", "--json").json
        assert (row["up_to_date"], row["steps"], row["build"]) == (True, [], image.build)
        assert (row["minutes"], row["space"]) == ("0", 0)

    def test_of_a_proven_build_that_was_not_to_be_promoted_goes_on_with_it(self, toolkit: Toolkit) -> None:
        image = plant(toolkit, "aaaaaa", promoted=False)
        (row,) = toolkit.run(*L0BASE, "--plan", "--json").json
        assert (row["steps"], row["build"]) == (["promote", "prune"], image.build)
        assert toolkit.run(*L0BASE, "--plan", "--no-promote", "--json").json[0]["up_to_date"]

    def test_by_force_is_a_new_build(self, toolkit: Toolkit) -> None:
        plant(toolkit, "aaaaaa")
        (row,) = toolkit.run(*L0BASE, "--plan", "--force", "--json").json
        assert (row["steps"], row["build"]) == (["build", "prove", "promote", "prune"], None)


class TestTheCloud:
    @pytest.mark.parametrize("task", ["l0base", "list", "render", "validate", "rollback", "prune"])
    def test_that_is_unknown_is_bad_input_and_the_known_ones_are_listed(self, toolkit: Toolkit, task: str) -> None:
        ran = toolkit.run(f"images.{task}", "--cloud", "moon")
        assert (ran.code, ran.out) == (2, "")
        assert ran.err == "error: unknown cloud 'moon'\nhint: choose from: aws, azure, local\n"

    @pytest.mark.parametrize("task", ["l0base", "list", "render", "validate", "rollback", "prune"])
    def test_is_never_chosen_silently(self, toolkit: Toolkit, task: str) -> None:
        ran = toolkit.run(f"images.{task}")
        assert (ran.code, ran.out) == (2, "")
        assert ran.err == "error: no cloud is named\nhint: --cloud local builds and runs on this machine\n"

    def test_may_be_set(self, toolkit: Toolkit) -> None:
        assert toolkit.but(images__clouds="local").run("images.list").code == 0

    def test_named_twice_is_one(self, toolkit: Toolkit) -> None:
        assert len(toolkit.run(*L0BASE, "--cloud", "local", "--plan", "--json").json) == 1


class TestRender:
    def test_writes_the_files_of_each_cloud_and_prints_where(self, toolkit: Toolkit, tmp_path: Path) -> None:
        ran = toolkit.run("images.render", "--cloud", "local", "--output", str(tmp_path / "out"))
        assert (ran.code, ran.out) == (0, f"{tmp_path}/out/local\n")
        written = {path.name for path in (tmp_path / "out/local").rglob("*")}
        assert {"image.pkr.hcl", "image.env", "tools.tsv", "clean.sh", "clean.check.sh"} <= written
        assert everything(toolkit) == {}

    def test_names_the_image_as_it_is_told(self, toolkit: Toolkit, tmp_path: Path) -> None:
        words = ("images.render", "--cloud", "local", "--output", str(tmp_path), "--name")
        assert toolkit.run(*words, "Another").code == 0
        assert 'KM_IMAGE="Another"' in (tmp_path / "local/provision/image.env").read_text()
        ran = toolkit.run(*words, "no name")
        assert ran.code == 2 and "--name: 'no name' can't name an image" in ran.err


class TestValidate:
    def test_is_packers_own_judgement_and_leaves_nothing(self, toolkit: Toolkit) -> None:
        ran = toolkit.run("images.validate", "--cloud", "local")
        assert ran.code == 0, f"{ran.err}\n{toolkit.log()}"
        assert "validate MicroImage on local: done" in ran.err
        assert everything(toolkit) == {}

    def test_of_the_whole_image_is_as_good(self, toolkit: Toolkit) -> None:
        whole = toolkit.but(images__definition="packer/definitions/l0base.toml")
        ran = whole.run("images.validate", "--cloud", "local")
        assert ran.code == 0, f"{ran.err}\n{whole.log()}"

    def test_by_a_packer_that_finds_fault_is_bad_input(self, toolkit: Toolkit, tmp_path: Path) -> None:
        strict = tmp_path / "packer"
        says = 'case "$1" in version) echo Packer v1.6.6 ;; *) echo "Error: not like this"; exit 1 ;; esac'
        strict.write_text(f"#!/bin/sh\n{says}\n")
        strict.chmod(0o755)
        ran = toolkit.but(packer__binary=str(strict)).run("images.validate", "--cloud", "local")
        assert ran.code == 2
        assert "error: packer fmt refuses image.pkr.hcl: not like this" in ran.err
        assert "log: " in ran.err


class TestList:
    def test_of_nothing_says_how_to_make_one_and_as_json_is_empty(self, toolkit: Toolkit) -> None:
        assert toolkit.run("images.list", "--cloud", "local", "--json").json == []
        assert "./inv images.l0base makes one" in toolkit.run("images.list", "--cloud", "local").out

    def test_has_the_newest_first_and_says_which_is_current(self, toolkit: Toolkit) -> None:
        old = plant(toolkit, "aaaaaa", days_ago=1)
        new = plant(toolkit, "bbbbbb", promoted=False)
        rows = toolkit.run("images.list", "--cloud", "local", "--json").json
        assert [(row["build"], row["state"], row["current"]) for row in rows] == [
            (new.build, "proven", False),
            (old.build, "promoted", True),
        ]
        assert all(Path(row["id"]).is_dir() and row["size"] > 0 and len(row["fingerprint"]) == 64 for row in rows)

    def test_of_another_image_does_not_have_them(self, toolkit: Toolkit) -> None:
        plant(toolkit, "aaaaaa")
        assert toolkit.run("images.list", "--cloud", "local", "--name", "Another", "--json").json == []


class TestPrune:
    @pytest.mark.parametrize("keep", ["-1", "-2", "-9"])
    def test_that_would_keep_less_than_nothing_is_bad_input_and_removes_nothing(
        self, toolkit: Toolkit, keep: str
    ) -> None:
        plant(toolkit, "aaaaaa", days_ago=1)
        plant(toolkit, "bbbbbb")
        before = everything(toolkit)
        ran = toolkit.run("images.prune", "--cloud", "local", f"--keep={keep}")
        assert (ran.code, ran.out) == (2, "")
        assert ran.err == (
            f"error: --keep {keep}: so many can't be kept\nhint: --keep 1 keeps the current build alone\n"
        )
        assert everything(toolkit) == before

    def test_without_a_number_keeps_as_many_as_are_set(self, toolkit: Toolkit) -> None:
        builds = [plant(toolkit, f"aaaaa{age}", days_ago=age).build for age in range(3)]
        ran = toolkit.but(images__keep="2").run("images.prune", "--cloud", "local", "--keep=0")
        assert (ran.code, ran.out) == (0, f"removed build {builds[2]}\n")


def test_elsewhere_than_on_linux_this_machine_is_no_cloud(toolkit: Toolkit, tmp_path: Path) -> None:
    """What Python takes the system for is all that can be another one here."""
    (tmp_path / "mac").mkdir()
    (tmp_path / "mac/sitecustomize.py").write_text("import platform\nplatform.system = lambda: 'Darwin'\n")
    mac = Toolkit(toolkit.home, {**toolkit.settings, "PYTHONPATH": f"{tmp_path / 'mac'}:{ROOT}"})
    ran = mac.run("images.list", "--cloud", "local")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == (
        "error: local VMs and images need Linux, and this is Darwin\nhint: --cloud aws or --cloud azure\n"
    )
