"""Every fault at every call of a publish, and the same again: in the end all is there once, and for whom it is meant.

VMs are only written down: the AMI and the boxes are there as builds leave them.
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

ACCOUNT = "123456789012"
REGIONS = ("us-east-2", "us-west-2", "eu-west-1")
BOX = "kontain/micro-kkm-beta3"
FILES = {"kontain.tar.gz", "kontain_bin.tar.gz", "kkm.run", MANIFEST}


@pytest.fixture
def maker(tmp_path: Path) -> Iterator[Maker]:
    with hasty(), makers(tmp_path / "maker") as made:
        made.extra = {"KM_RELEASE__COPIES": ",".join(REGIONS[1:]), "KM_RELEASE__ACCOUNTS": ACCOUNT}
        made.tag("v1.2.3")
        assert made.run("product").code == 0
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


KINDS = {"ec2": ("lost", "denied"), "hub": ("lost", "broken", "denied"), "registry": ("lost", "denied")}
PIECES = {"ec2": "ami", "hub": "github", "registry": "box"}


@pytest.mark.matrix
@pytest.mark.timeout(500)
@pytest.mark.parametrize("server", KINDS)
def test_a_fault_at_any_call_is_mended_by_the_same_again(server: str, maker: Maker) -> None:
    """The piece that talks to that server, call by call, with one kind of fault after the other."""
    known: dict[str, Callable[[int, str], None]] = {
        "ec2": maker.ec2.fails_at,
        "hub": maker.hub.fails_at,
        "registry": maker.registry.fails_at,
    }
    fails_at = known[server]
    piece, kinds = PIECES[server], KINDS[server]
    for number in itertools.count(1):
        planted(maker, piece)
        asked, kind = calls(maker, server), kinds[number % len(kinds)]
        fails_at(number, kind)
        cut = maker.run("publish", "--piece", piece)
        told = bad(maker, cut.out + cut.err)
        assert not told and cut.code in (0, 1, 2, 3, 4, 5), (number, kind, cut.err)
        if calls(maker, server) - asked < number:
            break
        fails_at(0, kind)
        again = maker.run("publish", "--piece", piece)
        assert again.code == 0 and not bad(maker, again.err), (number, kind, cut.err, again.err)
        as_meant(maker, piece)
    assert number > 10
