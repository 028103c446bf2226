"""A release as a table: what is there, what is not, and that publishing makes it so. VMs are only written down here."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cloud import names
from packer.manifest import NAME as MANIFEST
from tests import act
from tests.fakes.ec2 import CANONICAL
from tests.fakes.github import READER, REPOSITORY
from tests.packer.boxed import box
from tests.publishing import gzipped, hasty
from tests.releasing import Maker, makers, pieces

EDGE = re.compile(r"0\.1\.0-edge\.\d{8}\.1")
FILES = ("kontain.tar.gz", "kontain_bin.tar.gz", "kkm.run")
BOX = "kontain/micro-kkm-beta3"


@pytest.fixture
def maker(tmp_path: Path) -> Iterator[Maker]:
    with hasty(), makers(tmp_path / "maker") as made:
        yield made


@pytest.fixture
def built(maker: Maker) -> Maker:
    """One whose product is built and tried."""
    assert maker.run("product").code == 0
    return maker


def whole(maker: Maker, **variables: str) -> None:
    """Everything that a build leaves is there: an AMI, boxes."""
    maker.ami("proven")
    maker.shelved()


class TestTheProduct:
    def test_is_built_in_its_checkout_and_has_a_manifest(self, maker: Maker) -> None:
        assert maker.table(*PIECES_NONE)["product"] == ("missing", "build")
        ran = maker.run("product", "--json")
        assert ran.code == 0, ran.err
        told = json.loads((maker.km / "build" / MANIFEST).read_text())
        assert EDGE.fullmatch(told["version"]) and told["commit"] == maker.head
        for name in FILES:
            content = (maker.km / "build" / name).read_bytes()
            assert told["files"][name] == {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
        assert told["smoke"] == "sh smoke.sh"
        assert [(row["piece"], row["state"]) for row in json.loads(ran.out)] == [
            ("product", "there"),
            ("smoke", "there"),
        ]

    def test_that_is_there_is_neither_built_nor_tried_again(self, built: Maker) -> None:
        assert built.run("product").code == 0
        assert (built.km / "builds").read_text() == "built\n" and (built.km / "tries").read_text() == "tried\n"

    def test_of_another_commit_is_built_again(self, built: Maker) -> None:
        built.commit()
        (row, smoke) = built.rows(task="product")
        assert (row["state"], smoke["state"]) == ("there", "there")
        assert (built.km / "builds").read_text() == "built\n" * 2 and (built.km / "tries").read_text() == "tried\n" * 2

    def test_that_was_changed_since_is_stale(self, built: Maker) -> None:
        (built.km / "build/kkm.run").write_text("#!/bin/sh\n")
        (row, *_) = built.rows("--piece", "github")
        assert (row["state"], row["does"], row["why"]) == ("stale", ["build"], f"kkm.run is not the one of {MANIFEST}")
        taken = built.desk.run("release.product", "--product", str(built.km / "build"), "--json")
        assert taken.code == 2 and json.loads(taken.out)[0]["does"] == []

    def test_that_does_not_work_ends_it_before_anything_else_begins(self, maker: Maker) -> None:
        ran = maker.run("publish", KM_PRODUCT__SMOKE="sh -c 'exit 7'")
        assert ran.code == 1 and "error: sh ended with 7" in ran.err
        assert maker.hub.releases == [] and maker.registry.books.boxes == {}

    def test_whose_build_fails_says_with_what(self, maker: Maker) -> None:
        ran = maker.run("product", KM_PRODUCT__BUILD="sh -c 'echo no compiler >&2; exit 3'")
        assert ran.code == 1 and "error: sh ended with 3: no compiler" in ran.err

    def test_whose_checkout_moves_on_while_it_is_built_is_not_its_commits(self, maker: Maker) -> None:
        moves = "sh build.sh,git -c user.name=a -c user.email=a@b commit -q --allow-empty -m more"
        ran = maker.run("product", KM_PRODUCT__BUILD=moves)
        assert ran.code == 1 and "is at another commit than when this began" in ran.err
        assert not (maker.km / "build" / MANIFEST).exists()

    def test_without_a_checkout_is_taken_as_it_is(self, built: Maker) -> None:
        ran = built.desk.run("release.product", "--product", str(built.km / "build"), "--json")
        assert ran.code == 0, ran.err
        assert [row["state"] for row in json.loads(ran.out)] == ["there", "there"]
        assert (built.km / "builds").read_text() == "built\n"

    def test_that_is_nowhere_is_bad_input(self, maker: Maker) -> None:
        ran = maker.run("product", KM_PRODUCT__BUILD="")
        assert ran.code == 2 and "kontain.tar.gz: No such file" in ran.err and "--checkout" in ran.err

    def test_is_built_without_our_secrets(self, maker: Maker) -> None:
        maker.extra = {"KM_PRODUCT__BUILD": "sh -c 'env > env; sh build.sh'"}
        assert maker.run("product").code == 0
        told = (maker.km / "env").read_text()
        assert "PRODUCT=" in told and "canary" not in told


PIECES_NONE = ("--piece", "github")


class TestAnEdge:
    def test_from_nothing_has_everything_missing(self, maker: Maker) -> None:
        version = maker.rows()[0]["version"]
        assert EDGE.fullmatch(version)
        assert maker.table() == {
            "product": ("missing", "build"),
            "smoke": ("missing", "run"),
            "ami": ("missing", "build, prove"),
            "micro libvirt": ("missing", "build, upload"),
            "micro virtualbox": ("missing", "build, upload"),
            "github": ("missing", "draft, upload"),
        }

    def test_is_there_and_for_nobody_outside(self, built: Maker) -> None:
        whole(built)
        rows = built.rows(task="publish")
        assert {row["state"] for row in rows} == {"there"} and not any(row["does"] for row in rows)
        (release,) = built.hub.releases
        assert release.draft and release.prerelease and release.commit == built.head
        assert {asset.name for asset in release.assets} == {*FILES, MANIFEST}
        assert built.version(BOX, rows[0]["version"]) == "unreleased"
        (ami,) = built.ec2.client("ec2").describe_images(Owners=["self"])["Images"]
        assert ami["Public"] is False
        tags = {tag["Key"]: tag["Value"] for tag in ami["Tags"]}
        version = rows[0]["version"]
        assert (tags["Release"], tags["Name"], tags[names.RELEASE]) == (version, f"Kontain {version}", version)
        assert tags["Base_AMI_Name"].startswith("micro-22.04") and tags[names.COMMIT] == built.head

    def test_of_a_night_without_a_change_has_nothing_to_do(self, built: Maker) -> None:
        whole(built)
        before = built.rows(task="publish")
        calls = len(built.ec2.calls)
        again = built.run("publish")
        assert again.code == 0 and "[1/" not in again.err
        assert built.rows() == before
        assert not [call for call, _ in built.ec2.calls[calls:] if not call.startswith(("ec2:Describe", "ec2:Get"))]

    def test_of_the_next_commit_is_another_one(self, built: Maker) -> None:
        whole(built)
        first = built.rows(task="publish")[0]["version"]
        built.commit()
        (product, *_) = built.rows()
        assert product["version"] == first.removesuffix("1") + "2"

    def test_is_never_final(self, maker: Maker) -> None:
        ran = maker.run("publish", "--final")
        assert ran.code == 2 and "is an edge, and none is final" in ran.err

    def test_whose_base_has_changed_has_a_stale_ami(self, built: Maker) -> None:
        whole(built)
        newer = built.ec2.register("micro-22.04-amd64-server-20261201", CANONICAL)
        built.ec2.ami(newer).creation_date = datetime(2099, 12, 1, tzinfo=UTC)
        (row,) = pieces(built.rows(), "ami")
        assert (row["state"], row["does"]) == ("stale", ["build", "prove"])


class TestARelease:
    def test_is_out_on_all_sides_but_for_the_draft(self, built: Maker) -> None:
        built.tag("v1.2.3")
        assert built.run("product").code == 0
        whole(built)
        assert built.table() == {
            "product": ("there", ""),
            "smoke": ("there", ""),
            "ami": ("there", "share"),
            "micro libvirt": ("there", "upload, release"),
            "micro virtualbox": ("there", "upload, release"),
            "github": ("missing", "draft, upload"),
        }
        rows = built.rows(task="publish", KM_RELEASE__ACCOUNTS="123456789012")
        assert [row["state"] for row in rows] == ["there", "there", "released", "released", "released", "there"]
        assert built.version(BOX, "1.2.3") == "active"
        assert [release.draft for release in built.hub.releases] == [True]
        (ami,) = built.ec2.client("ec2").describe_images(Owners=["self"])["Images"]
        asked = {"ImageId": ami["ImageId"], "Attribute": "launchPermission"}
        told = built.ec2.client("ec2").describe_image_attribute(**asked)["LaunchPermissions"]
        assert told == [{"UserId": "123456789012"}]

    def test_is_final_when_somebody_says_so(self, built: Maker) -> None:
        built.tag("v1.2.3")
        assert built.run("product").code == 0
        whole(built)
        rows = built.rows("--final", task="publish")
        assert [row["state"] for row in rows if row["piece"] != "smoke"] == ["there", *["released"] * 4]
        (release,) = built.hub.releases
        assert not release.draft and not release.prerelease and release.tag == "v1.2.3"
        again = built.run("publish", "--final")
        assert again.code == 0 and "[1/" not in again.err

    def test_is_not_final_as_long_as_something_has_failed(self, built: Maker) -> None:
        built.tag("v1.2.3")
        assert built.run("product").code == 0
        built.ami("proven")
        box(Path(built.desk.settings["KM_BOXES__DEFINITIONS"]), "micro", Path("/nowhere/disk"), "0" * 64)
        ran = built.run("publish", "--final", "--json")
        assert ran.code == 3, ran.err
        states = {row["piece"]: row["state"] for row in json.loads(ran.out)}
        assert (states["ami"], states["box"], states["github"]) == ("released", "missing", "there")
        assert [release.draft for release in built.hub.releases] == [True]

    def test_is_not_final_while_its_boxes_are_released_and_not_listed(
        self, built: Maker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        built.tag("v1.2.3")
        assert built.run("product").code == 0
        whole(built)
        with monkeypatch.context() as patched:
            patched.setattr(built.registry.books, "catalog", lambda tag, token: {"name": tag, "versions": []})
            for _ in range(2):
                ran = built.run("publish", "--final")
                assert ran.code in (3, 5) and f"{BOX} 1.2.3 is released, and not listed" in ran.err, ran.err
                assert [release.draft for release in built.hub.releases] == [True]
        assert built.run("publish", "--final").code == 0

    def test_is_not_final_by_a_part_of_it(self, built: Maker) -> None:
        built.tag("v1.2.3")
        assert built.run("product").code == 0
        ran = built.run("publish", "--piece", "github", "--final")
        assert ran.code == 1 and "v1.2.3 stays a draft: ami us-east-2 is missing" in ran.err
        only = built.rows("--final", task="publish", KM_RELEASE__PIECES="github")
        assert [row["state"] for row in pieces(only, "github")] == ["released"]

    def test_is_not_final_where_github_has_its_tag_on_something_else(self, built: Maker) -> None:
        built.tag("v1.2.3")
        assert built.run("product").code == 0
        built.hub.tags[REPOSITORY, "v1.2.3"] = "c" * 40
        ran = built.run("publish", "--final", KM_RELEASE__PIECES="github")
        assert ran.code == 2 and "is on cccccccccc" in ran.err
        assert [release.draft for release in built.hub.releases] == [True]
        built.hub.tags[REPOSITORY, "v1.2.3"] = built.head
        assert built.run("publish", "--final", KM_RELEASE__PIECES="github").code == 0

    def test_never_changes_when_it_is_out(self, built: Maker) -> None:
        built.tag("v1.2.3")
        assert built.run("product").code == 0
        whole(built)
        assert built.run("publish", "--final").code == 0
        before = [(asset.name, asset.sha256) for asset in built.hub.releases[0].assets]
        # Somebody builds it again, with other files: what is out stays, and is what he has afterwards.
        (built.km / "build/kkm.run").write_text("#!/bin/sh\necho other\n")
        assert built.desk.run("release.product", "--product", str(built.km / "build")).code == 0
        assert "other" not in (built.km / "build/kkm.run").read_text()
        rows = built.rows(task="publish")
        assert {row["state"] for row in rows if row["piece"] in ("ami", "box", "github")} == {"released"}
        assert [(asset.name, asset.sha256) for asset in built.hub.releases[0].assets] == before

    def test_whose_ami_is_planned_is_not_made(self, built: Maker) -> None:
        ran = built.run("ami", "--plan")
        assert ran.code == 0 and "build, prove" in ran.out
        assert built.ec2.client("ec2").describe_images(Owners=["self"])["Images"] == []

    def test_for_everybody_has_to_be_said_twice(self, built: Maker) -> None:
        built.tag("v1.2.3")
        assert built.run("product").code == 0
        built.ami("proven")
        half = built.run("ami", KM_RELEASE__GROUPS="all")
        assert half.code == 2 and "release.public is false" in half.err
        rows = built.rows(task="ami", KM_RELEASE__GROUPS="all", KM_RELEASE__PUBLIC="true")
        assert pieces(rows, "ami")[0]["state"] == "released"
        (ami,) = built.ec2.client("ec2").describe_images(Owners=["self"])["Images"]
        assert ami["Public"] is True


class TestCopies:
    @pytest.fixture
    def released(self, built: Maker) -> Maker:
        built.tag("v1.2.3")
        built.extra = {"KM_RELEASE__COPIES": "us-west-2,eu-west-1", "KM_RELEASE__ACCOUNTS": "123456789012"}
        assert built.run("product").code == 0
        built.ami("proven")
        return built

    def test_are_made_in_each_region_and_shared_there(self, released: Maker) -> None:
        assert {row["what"]: row["does"] for row in pieces(released.rows(), "ami")} == {
            "us-east-2": ["share"],
            "us-west-2": ["copy", "share"],
            "eu-west-1": ["copy", "share"],
        }
        rows = pieces(released.rows(task="ami"), "ami")
        assert [(row["what"], row["state"]) for row in rows] == [
            ("us-east-2", "released"),
            ("us-west-2", "released"),
            ("eu-west-1", "released"),
        ]

    def test_that_fail_in_one_region_are_there_in_the_others(self, released: Maker) -> None:
        released.ec2.copies_fail = {"us-west-2": 1}
        ran = released.run("ami", "--json")
        assert ran.code == 3 and "us-west-2" in ran.err
        assert {row["what"]: row["state"] for row in pieces(json.loads(ran.out), "ami")} == {
            "us-east-2": "released",
            "us-west-2": "missing",
            "eu-west-1": "released",
        }
        released.ec2.copies_fail = {}
        rows = pieces(released.rows(task="ami"), "ami")
        assert {row["state"] for row in rows} == {"released"}

    def test_of_an_edge_are_none(self, released: Maker) -> None:
        released.commit()
        assert len(pieces(released.rows(), "ami")) == 1

    def test_are_shared_with_an_account_that_comes_later(self, released: Maker) -> None:
        assert released.run("ami").code == 0
        released.extra = {"KM_RELEASE__ACCOUNTS": "123456789012,210987654321"}
        (row,) = pieces(released.rows(), "ami")
        assert (row["state"], row["does"]) == ("there", ["share"]) and "210987654321" in row["why"]
        assert pieces(released.rows(task="ami"), "ami")[0]["state"] == "released"


class TestRetire:
    def test_takes_the_older_edges_and_their_snapshots(self, built: Maker) -> None:
        for day in range(5):
            built.ami("proven", of=f"0.1.0-edge.2026110{5 - day}.1", days_ago=day, mark=f"aaaaa{day}")
        snapshots = len(built.ec2.client("ec2").describe_snapshots(OwnerIds=["self"])["Snapshots"])
        planned = built.run("retire", "--keep", "2", "--plan")
        assert planned.code == 0 and planned.out.count("would remove MicroRelease-") == 3
        removed = built.run("retire", "--keep", "2", "--json")
        versions = [row["version"] for row in json.loads(removed.out)]
        assert versions == [f"0.1.0-edge.2026110{day}.1" for day in (3, 2, 1)]
        assert len(built.ec2.client("ec2").describe_images(Owners=["self"])["Images"]) == 2
        assert len(built.ec2.client("ec2").describe_snapshots(OwnerIds=["self"])["Snapshots"]) == snapshots - 3
        assert built.run("retire", "--keep", "2").out == "nothing to retire\n"

    def test_finds_snapshots_whose_ami_is_gone_in_every_region(self, built: Maker) -> None:
        """A deregistered AMI whose snapshot could not be removed is no AMI that a later command would find."""
        built.extra = {"KM_RELEASE__COPIES": "us-west-2", "KM_RELEASE__ACCOUNTS": "123456789012"}
        built.tag("v1.2.3-rc.1")
        assert built.run("product").code == 0
        built.ami("proven")
        assert built.run("ami").code == 0
        built.ec2.fails("DeleteSnapshot", "UnauthorizedOperation", 403, times=2)
        rc = ("--version", "v1.2.3-rc.1")
        assert built.run("retire", *rc).code == 4
        planned = built.run("retire", *rc, "--plan").out.splitlines()
        assert [line.partition(" in ")[2] for line in planned] == [
            "us-east-2, a snapshot that was left",
            "us-west-2, a snapshot that was left",
        ]
        built.ec2.fails("DeleteSnapshot", "UnauthorizedOperation", 403)
        ran = built.run("retire", "--json")
        assert ran.code == 3 and sorted(row["state"] for row in json.loads(ran.out)) == ["could not remove", "removed"]
        assert built.run("retire", *rc).code == 0
        for region in ("us-east-2", "us-west-2"):
            client = built.ec2.client("ec2", region)
            ours = client.describe_snapshots(OwnerIds=["self"], Filters=[{"Name": "tag-key", "Values": ["km-build"]}])
            assert ours["Snapshots"] == []
        assert built.run("retire").out == "nothing to retire\n"

    def test_leaves_the_snapshots_of_what_is_there(self, built: Maker) -> None:
        built.extra = {"KM_RELEASE__COPIES": "us-west-2"}
        built.tag("v1.2.3")
        assert built.run("product").code == 0
        built.ami("proven")
        assert built.run("ami").code == 0
        assert built.run("retire").out == "nothing to retire\n"

    def test_leaves_releases_what_runs_and_what_is_for_everybody(self, built: Maker) -> None:
        built.tag("v1.2.3")
        assert built.run("product").code == 0
        built.ami("proven", "promoted", mark="bbbbbb")
        used = built.ami("proven", of="0.1.0-edge.20261101.1", days_ago=9, mark="cccccc")
        public = built.ami("proven", of="0.1.0-edge.20261102.1", days_ago=8, mark="dddddd")
        built.ami("proven", of="0.1.0-edge.20261103.1", days_ago=7, mark="eeeeee")
        client = built.ec2.client("ec2")
        client.run_instances(ImageId=used, MinCount=1, MaxCount=1)
        client.modify_image_attribute(ImageId=public, LaunchPermission={"Add": [{"Group": "all"}]})
        built.ami("proven", of="0.1.0-edge.20261104.1", days_ago=6, mark="ffffff")
        removed = built.run("retire", "--keep", "1", "--json")
        assert [row["version"] for row in json.loads(removed.out)] == ["0.1.0-edge.20261103.1"]

    def test_of_a_version_takes_that_one_and_no_release(self, built: Maker) -> None:
        built.ami("proven", of="0.1.0-edge.20261101.1", mark="aaaaaa")
        kept = built.ami("proven", of="0.1.0-edge.20261101.2", mark="bbbbbb")
        refused = built.run("retire", "--version", "v1.2.3")
        assert refused.code == 2 and "1.2.3 is a release, and stays" in refused.err
        assert built.run("retire", "--version", "0.1.0-edge.20261101.1").code == 0
        left = built.ec2.client("ec2").describe_images(Owners=["self"])["Images"]
        assert [each["ImageId"] for each in left] == [kept]


def test_a_system_that_can_not_be_looked_at_keeps_no_other_from_being_published(built: Maker) -> None:
    whole(built)
    folder = Path(built.desk.settings["KM_BOXES__DEFINITIONS"])
    built.extra = {"KM_BOXES__OS": "micro,none"}
    box(folder, "none", Path("/nowhere/disk"), "")
    ran = built.run("publish", "--json")
    assert ran.code == 3 and "none: box.toml has no checksum" in ran.err, ran.err
    states = {row["what"]: row["state"] for row in pieces(json.loads(ran.out), "box")}
    assert states == {"micro libvirt": "there", "micro virtualbox": "there", "none": "unknown"}


def sent(maker: Maker) -> dict[str, str]:
    """The product's files at GitHub, each with its sum."""
    (release,) = maker.hub.releases
    return {name: sha256 for name, sha256 in release.files.items() if name.startswith("k")}


def inside(maker: Maker) -> str:
    """The mark of the product in the one AMI that there is."""
    (ami,) = maker.ec2.client("ec2").describe_images(Owners=["self"])["Images"]
    return str({tag["Key"]: tag["Value"] for tag in ami["Tags"]}[names.PRODUCT])


class TestOneProduct:
    """No two builds of a commit are the same: what the draft at GitHub has is the version's, wherever one goes on."""

    def test_is_in_all_pieces_of_an_edge_whose_nights_are_on_fresh_checkouts(self, built: Maker) -> None:
        first = built.files
        assert built.run("publish", *PIECES_NONE).code == 0
        built.fresh()
        (row, smoke, *_) = built.rows()
        assert (row["state"], row["does"], smoke["state"]) == ("missing", ["fetch"], "there")
        assert "the draft v0.1.0-edge." in row["why"]
        assert built.run("product").code == 0
        assert (built.files, built.builds, (built.km / "tries").read_text()) == (first, 1, "tried\n")
        whole(built)
        assert built.run("publish").code == 0
        mark = inside(built)
        built.fresh()
        night = built.run("publish", "--json")
        assert night.code == 0, night.err
        assert {row["state"] for row in json.loads(night.out)} == {"there"}
        assert (built.files, sent(built), built.builds, inside(built)) == (first, first, 1, mark)
        assert (built.km / "build/kkm.run").stat().st_mode & 0o100

    def test_is_published_by_a_later_final(self, built: Maker) -> None:
        built.tag("v1.2.3")
        assert built.run("product").code == 0
        whole(built)
        assert built.run("publish").code == 0
        first, mark = sent(built), inside(built)
        built.fresh()
        assert built.run("publish", "--final").code == 0
        assert [release.draft for release in built.hub.releases] == [False]
        assert (sent(built), built.files, inside(built)) == (first, first, mark)

    def test_is_the_drafts_where_another_one_was_built(self, built: Maker) -> None:
        assert built.run("publish", *PIECES_NONE).code == 0
        first = sent(built)
        built.fresh()
        assert built.run("product", KM_RELEASE__PIECES="ami").code == 0
        assert built.files != first
        (row, *_) = built.rows()
        assert (row["state"], row["does"]) == ("stale", ["fetch"])
        assert re.search("kontain.tar.gz is not the one of the draft .* at GitHub, which stays", row["why"])
        assert built.run("publish", *PIECES_NONE).code == 0
        assert (built.files, sent(built)) == (first, first)

    def test_is_the_one_at_hand_where_the_draft_is_half(self, built: Maker) -> None:
        assert built.run("publish", *PIECES_NONE).code == 0
        built.hub.releases[0].assets.pop()  # the manifest, which is sent last
        built.fresh()
        assert {row["state"] for row in pieces(built.rows(*PIECES_NONE), "github")} == {"stale"}
        assert built.run("publish", *PIECES_NONE).code == 0
        assert built.builds == 2 and sent(built) == built.files

    def test_is_drafted_before_anything_is_made_of_it(self, built: Maker) -> None:
        built.shelved()
        built.hub.fails("POST /uploads/*", 403, times=99)
        for piece in ("box", "box,github"):
            ran = built.run("publish", "--piece", piece)
            assert ran.code == 4, ran.err
        assert built.registry.books.boxes == {}
        built.hub.faults.clear()
        assert built.run("publish", "--piece", "box").code == 0
        assert sent(built) == built.files

    def test_is_no_other_than_the_one_that_is_out(self, built: Maker) -> None:
        built.tag("v1.2.3")
        built.hub.add_release("v1.2.3", {"kontain.tar.gz": b"another"}, commit=built.head)
        assert built.run("product").code == 0
        whole_one = built.run("publish")
        assert whole_one.code == 2 and "v1.2.3 was released without kkm.run" in whole_one.err
        assert built.registry.books.boxes == {}

    def test_is_never_beside_an_ami_of_another_one(self, built: Maker) -> None:
        built.tag("v1.2.3")
        assert built.run("product").code == 0
        whole(built)
        assert built.run("publish").code == 0
        built.hub.releases.clear()  # by somebody's hand
        built.fresh()
        ran = built.run("publish", "--final", "--piece", "ami,github")
        assert ran.code == 3 and "was released as 1.2.3 with other files, and stays" in ran.err
        assert [release.draft for release in built.hub.releases] == [True]

    def test_of_which_nothing_is_at_github_asks_nothing_there(self, built: Maker) -> None:
        built.tag("v1.2.3")
        calls = len(built.hub.calls)
        assert built.run("product", KM_RELEASE__PIECES="ami").code == 0
        built.ami("proven")
        calls_of_ours = len(built.hub.calls)
        assert built.run("ami", KM_RELEASE__PIECES="ami", GH_TOKEN="").code == 0
        assert (calls, built.hub.releases) == (calls_of_ours, [])

    def test_that_can_not_be_looked_for_is_made_of_no_other(self, built: Maker) -> None:
        built.tag("v1.2.3")
        assert built.run("product", GH_TOKEN="").code == 0
        built.shelved()
        ran = built.run("publish", "--piece", "box", GH_TOKEN="")
        assert ran.code == 4 and "there is no token for GitHub" in ran.err
        assert built.registry.books.boxes == {}
        seen = built.run("status", "--json", GH_TOKEN="")
        assert {row["piece"]: row["state"] for row in json.loads(seen.out)}["product"] == "there"

    def test_of_a_manifest_that_leads_elsewhere_is_not_fetched(self, built: Maker) -> None:
        assert built.run("publish", *PIECES_NONE).code == 0
        (release,) = built.hub.releases
        noted = release.assets.pop()
        told = json.loads(noted.content or b"")
        told["files"]["../evil"] = told["files"]["kkm.run"]
        release.add(7, MANIFEST, json.dumps(told).encode())
        built.fresh()
        assert built.rows(*PIECES_NONE)[0]["does"] == ["build"]


class TestTwoCommitsOfADay:
    def test_have_two_numbers_whatever_is_made_of_them(self, built: Maker) -> None:
        built.shelved()
        assert built.run("publish", "--piece", "box").code == 0
        first = built.head
        second = built.commit()
        assert built.run("product").code == 0
        built.shelved()
        assert built.run("publish", "--piece", "box").code == 0
        assert [(each.tag[-2:], each.commit) for each in built.hub.releases] == [(".1", first), (".2", second)]

    def test_that_take_one_at_once_are_told_apart(self, built: Maker) -> None:
        """Another one drafts his, after ours had looked."""
        version = built.rows(*PIECES_NONE)[0]["version"]
        his = built.hub.add_release(f"v{version}", draft=True, commit="c" * 40)

        class Late(list):  # type: ignore[type-arg]
            """The list of releases, as it is from the third look on."""

            looks = 0

            def __iter__(self) -> Iterator[object]:
                self.looks += 1
                return iter([his] if self.looks > 2 else [])

        built.hub.releases = Late()
        ran = built.run("publish", *PIECES_NONE)
        assert ran.code == 5 and f"{version} is of cccccccccc by now" in ran.err and "next number" in ran.err
        built.hub.releases = [his]
        assert built.run("publish", *PIECES_NONE).code == 0
        assert (his.commit, his.assets) == ("c" * 40, [])
        assert [each.tag for each in built.hub.releases] == [f"v{version}", f"v{version[:-1]}2"]


class TestWhoMayNot:
    def test_write_at_github_is_told_which_right_it_takes(self, built: Maker) -> None:
        ran = built.run("publish", "--piece", "github", GH_TOKEN=READER)
        assert ran.code == 4 and "Contents: write" in ran.err

    def test_has_no_token_hears_it_and_sees_the_other_rows(self, built: Maker) -> None:
        ran = built.run("status", "--json", GH_TOKEN="")
        assert ran.code in (3, 4), ran.err
        assert "there is no token for GitHub" in ran.err
        if ran.out:
            assert {row["piece"]: row["state"] for row in json.loads(ran.out)}["github"] == "unknown"


def test_a_piece_that_is_none_is_refused(maker: Maker) -> None:
    ran = maker.run("status", "--piece", "dvd")
    assert ran.code == 2 and "choose from: ami, box, github" in ran.err


def test_the_table_is_on_the_page_of_a_run(built: Maker, tmp_path: Path) -> None:
    page = tmp_path / "summary.md"
    assert built.run("status", GITHUB_STEP_SUMMARY=str(page)).code == 0
    assert re.search(
        r"\| github \| " + REPOSITORY + r" v0\.1\.0-edge\.\S+ \| missing \| draft, upload \|", page.read_text()
    )


def test_what_another_run_has_sent_is_not_replaced_by_an_older_box_of_this_machine(built: Maker) -> None:
    built.ami("proven")
    built.shelved()
    assert built.run("publish", "--piece", "box").code == 0
    version = built.rows("--piece", "box")[0]["version"]
    found = built.registry.books.version(BOX, version)
    assert found
    sent = {provider.name: provider.checksum for provider in found.providers}
    # This machine has a newer box for libvirt, and for virtualbox one of other inputs than today's.
    built.shelved(b"another")
    (story,) = built.desk.store.glob("boxes/micro/virtualbox/box.json")
    story.write_text(json.dumps({**json.loads(story.read_text()), "fingerprint": "0" * 64}))
    assert built.table("--piece", "box")["micro libvirt"] == ("stale", "upload")
    assert built.run("publish", "--piece", "box").code == 0
    found = built.registry.books.version(BOX, version)
    now = {provider.name: provider.checksum for provider in found.providers} if found else {}
    assert now["virtualbox"] == sent["virtualbox"] and now["libvirt"] != sent["libvirt"]


def test_a_box_that_is_not_what_was_built_is_not_sent(built: Maker) -> None:
    libvirt, _ = built.shelved()
    libvirt.write_bytes(libvirt.read_bytes() + gzipped(b""))
    ran = built.run("publish", "--piece", "box")
    assert ran.code == 2 and "is not what was built" in ran.err
    assert built.version(BOX, built.rows("--piece", "box")[0]["version"]) == "nowhere"


def test_what_another_run_has_sent_is_not_built_again(built: Maker) -> None:
    """Each night has a new machine, whose shelf is empty."""
    whole(built)
    assert built.run("publish", "--piece", "box").code == 0
    for link in built.desk.store.glob("boxes/micro/[!.]*"):
        link.unlink()
    assert {row["state"] for row in pieces(built.rows(), "box")} == {"there"}
    assert built.run("publish", "--piece", "box").code == 0


class TestWhatCanNotBe:
    """Each of these was a traceback, or went on with something that nobody meant."""

    def test_a_home_that_nobody_has(self, maker: Maker) -> None:
        for word in ("--checkout", "--product"):
            ran = maker.desk.run("release.status", word, "~nobody-here/km")
            assert ran.code == 2 and "~nobody-here/km" in ran.err and "a bug" not in ran.err

    def test_a_manifest_of_no_version_or_of_no_commit(self, built: Maker) -> None:
        path = built.km / "build" / MANIFEST
        whole_one = json.loads(path.read_text())
        for wrong in ({"version": "latest"}, {"version": "../x"}, {"commit": "master"}):
            path.write_text(json.dumps({**whole_one, **wrong}))
            ran = built.desk.run("release.publish", "--product", str(path.parent), *PIECES_NONE)
            assert ran.code == 2, ran.err
        assert built.hub.releases == []

    def test_files_that_are_not_all(self, maker: Maker) -> None:
        for files, why in (("", "no kontain.tar.gz"), ("kontain.tar.gz", "no kkm.run")):
            ran = maker.run("product", KM_PRODUCT__FILES=files)
            assert ran.code == 2 and why in ran.err
        ran = maker.run("product", KM_PRODUCT__FILES=f"kontain.tar.gz,kkm.run,{MANIFEST}")
        assert ran.code == 2 and f"product.files has {MANIFEST}" in ran.err

    def test_a_manifest_of_more_files_than_the_settings_name(self, built: Maker) -> None:
        (row, *_) = built.rows(KM_PRODUCT__FILES="kontain.tar.gz,kkm.run")
        assert (row["state"], row["why"]) == ("stale", f"kontain_bin.tar.gz is not the one of {MANIFEST}")

    def test_a_folder_that_can_not_be_written_to(self, maker: Maker) -> None:
        in_the_way = maker.km / "build" / f".{MANIFEST}.{os.getpid()}.new"
        in_the_way.mkdir(parents=True)
        (in_the_way / "more").touch()
        ran = maker.run("product")
        assert ran.code == 2 and f"{MANIFEST} can't be written" in ran.err and "a bug" not in ran.err


def test_a_command_with_a_slash_is_one_of_the_checkout(maker: Maker) -> None:
    (maker.km / "build.sh").chmod(0o755)
    maker.commit("it can be run")
    assert maker.run("product", KM_PRODUCT__BUILD="./build.sh").code == 0


class TestFilesThatWereChangedSince:
    """Without a checkout nothing builds them anew."""

    @pytest.fixture
    def changed(self, built: Maker) -> Maker:
        built.tag("v1.2.3")
        assert built.run("product").code == 0
        return built

    def test_are_not_published_under_their_version(self, changed: Maker) -> None:
        assert changed.run("publish", *PIECES_NONE).code == 0
        changed.hub.releases[0].assets.pop()
        (changed.km / "build/kkm.run").write_text("#!/bin/sh\n")
        folder = str(changed.km / "build")
        final = {"KM_RELEASE__PIECES": "github"}
        ran = changed.desk.run("release.publish", "--product", folder, "--final", **final)
        assert ran.code == 2 and "kkm.run is not the one of" in ran.err
        assert [release.draft for release in changed.hub.releases] == [True]

    def test_let_nobody_have_an_ami_that_was_not_proven(self, changed: Maker) -> None:
        ami = changed.ami()
        (changed.km / "build/kkm.run").write_text("#!/bin/sh\n")
        ran = changed.desk.run("release.ami", "--product", str(changed.km / "build"))
        assert ran.code == 2, ran.err
        (told,) = changed.ec2.client("ec2").describe_images(ImageIds=[ami])["Images"]
        assert names.PROMOTED not in {tag["Key"] for tag in told["Tags"]}


def test_an_edge_stays_with_its_commit(built: Maker) -> None:
    version = built.rows(*PIECES_NONE, task="publish")[0]["version"]
    first = built.head
    assert built.run("publish", *PIECES_NONE, "--version", version).code == 0
    built.commit()
    ran = built.run("publish", *PIECES_NONE, "--version", version)
    assert ran.code == 2 and f"{version} is of {first[:10]}" in ran.err
    assert [release.commit for release in built.hub.releases] == [first]


def test_a_tag_that_was_moved_makes_no_release_of_two_commits(built: Maker) -> None:
    built.tag("v1.2.3")
    assert built.run("product").code == 0
    whole(built)
    assert built.run("publish").code == 0
    first = built.head
    built.commit()
    act.git(built.km, "tag", "-f", "v1.2.3")
    ran = built.run("publish", "--final", "--json")
    assert ran.code == 3 and f"of {first[:10]} was released as 1.2.3, and stays" in ran.err
    states = {row["piece"]: (row["state"], row["does"]) for row in json.loads(ran.out)}
    assert states["ami"] == ("stale", [])
    assert [release.draft for release in built.hub.releases] == [True]


def test_two_who_draft_it_at_once_have_one_draft(built: Maker) -> None:
    desk = built.opened()
    built.hub.fails("POST */releases", 0, times=2, delay=0.5)

    def draft(_: int) -> int:
        return desk.releases.draft(desk.version.tag, desk.version.commit, "a", "b", prerelease=True).id

    with built._as_told({}), ThreadPoolExecutor(2) as threads:
        ids = set(threads.map(draft, range(2)))
    assert [{release.id} for release in built.hub.releases] == [ids]


def test_what_is_released_in_another_region_is_not_built_anew(built: Maker) -> None:
    built.tag("v1.2.3")
    built.extra = {"KM_RELEASE__COPIES": "us-west-2", "KM_RELEASE__ACCOUNTS": "123456789012"}
    assert built.run("product").code == 0
    built.ami("proven")
    built.ec2.fails("ModifyImageAttribute", "UnauthorizedOperation", 403)
    ran = built.run("ami", "--json")
    states = {row["what"]: row["state"] for row in pieces(json.loads(ran.out), "ami")}
    assert (ran.code, states) == (3, {"us-east-2": "there", "us-west-2": "released"})
    newer = built.ec2.register("micro-22.04-amd64-server-20261201", CANONICAL)
    built.ec2.ami(newer).creation_date = datetime(2099, 12, 1, tzinfo=UTC)
    assert [row["does"] for row in pieces(built.rows(), "ami")] == [["share"], []]
    assert {row["state"] for row in pieces(built.rows(task="ami"), "ami")} == {"released"}
