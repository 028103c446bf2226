"""A fault at every call of a publish and of a retire, and the same again: in the end all is as it is meant, and once.

Which fault it is goes round from call to call: every one at every call would take ten minutes. VMs are only written
down: the AMI and the boxes are there as builds leave them.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from packer.manifest import NAME as MANIFEST
from tests.fakes.github import TOKEN
from tests.fakes.registry import TOKEN as REGISTRY_TOKEN
from tests.publishing import hasty
from tests.releasing import Maker, makers
from tests.toolkit import Ran

ACCOUNT = "123456789012"
REGIONS = ("us-east-2", "us-west-2", "eu-west-1")
BOX = "kontain/micro-kkm-beta3"
FILES = {"kontain.tar.gz", "kontain_bin.tar.gz", "kkm.run", MANIFEST}


@pytest.fixture
def maker(tmp_path: Path) -> Iterator[Maker]:
    with hasty(), makers(tmp_path / "maker") as made:
        made.extra = {"KM_RELEASE__COPIES": ",".join(REGIONS[1:]), "KM_RELEASE__ACCOUNTS": ACCOUNT}
        made.tag("v1.2.3")
        # What it is all made of: where that is done first, the rest is looked at twice.
        assert made.run("publish", "--piece", "github").code == 0
        yield made


def planted(maker: Maker, piece: str) -> None:
    """As before a publish: an AMI or boxes are built, and nothing is out."""
    if piece == "github":
        maker.hub.releases.clear()
        maker.hub.tags.clear()
    if piece == "box":
        maker.registry.books.boxes.clear()
        shutil.rmtree(maker.desk.store, ignore_errors=True)
        maker.shelved()
    if piece == "ami":
        for region in REGIONS:
            client = maker.ec2.client("ec2", region)
            for ami in client.describe_images(Owners=["self"])["Images"]:
                client.deregister_image(ImageId=ami["ImageId"])
                for disk in ami["BlockDeviceMappings"]:
                    client.delete_snapshot(SnapshotId=disk["Ebs"]["SnapshotId"])
        maker.ami("proven")


def as_meant(maker: Maker, piece: str) -> None:
    """One draft with whole files; or one AMI in each region, for whom it is; or the boxes of it."""
    if piece == "github":
        (release,) = maker.hub.releases
        assert (release.draft, release.commit, set(release.files)) == (True, maker.head, FILES)
        assert [asset.state for asset in release.assets] == ["uploaded"] * len(FILES)
        assert maker.files.items() <= release.files.items()
    if piece == "ami":
        for region in REGIONS:
            in_region(maker, region)
    if piece == "box":
        assert maker.version(BOX, "1.2.3") == "active"


def in_region(maker: Maker, region: str) -> None:
    """Its AMI is there once, with its snapshot, and is the accounts' that are set."""
    client = maker.ec2.client("ec2", region)
    (ami,) = client.describe_images(Owners=["self"])["Images"]
    asked = {"ImageId": ami["ImageId"], "Attribute": "launchPermission"}
    assert client.describe_image_attribute(**asked)["LaunchPermissions"] == [{"UserId": ACCOUNT}]
    assert {"km-proven", "km-promoted"} <= {tag["Key"] for tag in ami["Tags"]}
    snapshots = client.describe_snapshots(OwnerIds=["self"], Filters=[{"Name": "tag-key", "Values": ["km-build"]}])
    assert len(snapshots["Snapshots"]) == 1


def calls(maker: Maker, server: str) -> int:
    """How many calls have come to it."""
    match server:
        case "ec2":
            return len(maker.ec2.calls)
        case "hub":
            return len(maker.hub.asked)
    return len(maker.registry.calls)


def bad(maker: Maker, after: str) -> str:
    """What was said, if it is none of what may be said."""
    for secret in (TOKEN, REGISTRY_TOKEN, maker.ec2.variables["AWS_SECRET_ACCESS_KEY"]):
        assert secret not in after and secret not in maker.desk.logs()
    return after if "Traceback" in after or "a bug of ours" in after else ""


KINDS = {
    "ec2": ("lost", "denied", "throttled"),
    "hub": ("lost", "broken", "denied", "throttled"),
    "registry": ("lost", "denied"),
}
CODES = {"denied": (3, 4), "lost": (0, 3, 5), "broken": (0, 3, 5), "throttled": (0, 3, 5)}
"""How it may end: a right that is missing is named, or a part has failed; all else passes, by itself or later."""
PIECES = {"ec2": "ami", "hub": "github", "registry": "box"}


def faults(
    maker: Maker, server: str, run: Callable[[], Ran], plant: Callable[[], None], meant: Callable[[], None]
) -> int:
    """One fault at each call to that server, and the same again; how many calls there were."""
    known: dict[str, Callable[[int, str], None]] = {
        "ec2": maker.ec2.fails_at,
        "hub": maker.hub.fails_at,
        "registry": maker.registry.fails_at,
    }
    fails_at, kinds = known[server], KINDS[server]
    # A registry's storage denies an address whose time is over, and gets a new one.
    fine = {kind: (0, *codes) if server == "registry" else codes for kind, codes in CODES.items()}
    for number in itertools.count(1):
        plant()
        asked, kind = calls(maker, server), kinds[number % len(kinds)]
        fails_at(number, kind)
        cut = run()
        told = bad(maker, cut.out + cut.err)
        came = calls(maker, server) - asked >= number
        assert not told and cut.code in (fine[kind] if came else (0,)), (number, kind, cut.code, cut.err)
        if not came:
            meant()
            return number - 1
        fails_at(0, kind)
        again = run()
        assert again.code == 0 and not bad(maker, again.err), (number, kind, cut.err, again.err)
        meant()
    raise AssertionError


@pytest.mark.matrix
@pytest.mark.timeout(500)
@pytest.mark.parametrize("server", KINDS)
def test_a_fault_at_any_call_is_mended_by_the_same_again(server: str, maker: Maker) -> None:
    """The piece that talks to that server."""
    piece = PIECES[server]

    def run() -> Ran:
        if piece == "github":
            maker.fresh()  # where the product is built anew, or is the one that GitHub has
        return maker.run("publish", "--piece", piece)

    assert faults(maker, server, run, lambda: planted(maker, piece), lambda: as_meant(maker, piece)) > 10


@pytest.mark.matrix
@pytest.mark.timeout(500)
def test_a_fault_at_any_call_of_a_final_publish_leaves_a_draft_or_the_whole(maker: Maker) -> None:
    maker.extra = {"KM_RELEASE__PIECES": "github"}

    def meant() -> None:
        (release,) = maker.hub.releases
        assert (release.draft, set(release.files), list(maker.hub.tags.values())) == (False, FILES, [maker.head])
        assert maker.files.items() <= release.files.items()

    def run() -> Ran:
        ran = maker.run("publish", "--final")
        assert all(release.draft or set(release.files) == FILES for release in maker.hub.releases)
        return ran

    assert faults(maker, "hub", run, lambda: planted(maker, "github"), meant) > 10


@pytest.mark.matrix
@pytest.mark.timeout(500)
def test_a_fault_at_any_call_of_a_retire_leaves_nothing_that_the_same_again_does_not_find(maker: Maker) -> None:
    version = "0.1.0-edge.20261101.1"

    def left() -> list[str]:
        client, ours = maker.ec2.client("ec2"), [{"Name": "tag-key", "Values": ["km-build"]}]
        snapshots = client.describe_snapshots(OwnerIds=["self"], Filters=ours)["Snapshots"]
        amis = client.describe_images(Owners=["self"])["Images"]
        return [*(each["SnapshotId"] for each in snapshots), *(each["ImageId"] for each in amis)]

    def plant() -> None:
        maker.ami("proven", of=version)
        assert len(left()) == 2

    def meant() -> None:
        assert left() == []

    assert faults(maker, "ec2", lambda: maker.run("retire", "--version", version), plant, meant) > 6
