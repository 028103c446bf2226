"""A release by the real packer: its AMI at EC2's fake with VMs that run, its boxes by QEMU, GitHub and a registry."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from cloud import names
from packer import product as goods
from tests import act
from tests.fakes.github import RELEASER
from tests.guests import micro_disk
from tests.packer import boxed
from tests.releasing import Maker, makers
from tests.toolkit import ROOT, eventually

pytestmark = [pytest.mark.vm, pytest.mark.matrix, pytest.mark.timeout(1200)]

BOX = "kontain/micro-kkm-beta3"
STEP = re.compile(r"=== (.*\[\d+/\d+\] .*): done in ")
STAMP = re.compile(r"-\d{8}T\d{6}Z-[0-9a-f]{6}")


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("release")


@pytest.fixture(scope="module")
def commit(space: Path) -> str:
    """The toolkit is in `tree`, at this commit."""
    (space / "tree").mkdir()
    return act.toolkit(space / "tree")


@pytest.fixture(scope="module")
def maker(request: pytest.FixtureRequest, space: Path, commit: str) -> Iterator[Maker]:
    """The product's repository has the example's workflow, with the toolkit's commit, which act tells nobody."""
    workflow = yaml.safe_load((ROOT / ".github/examples/release.yml").read_text())
    workflow["on"] = workflow.pop(True)  # as YAML 1.1 reads `on`
    workflow["jobs"]["release"]["with"] |= {"toolkit-repository": act.TOOLKIT, "toolkit-ref": commit}
    disk = micro_disk(request.config.cache.mkdir("guests"), boxed.KERNEL)
    with makers(space / "maker", disk, yaml.safe_dump(workflow, sort_keys=False)) as made:
        yield made


@pytest.fixture(scope="module")
def run(maker: Maker, space: Path, commit: str) -> act.Runs:
    """Runs the workflow, as the product's repository calls it."""
    hidden = ("GH_TOKEN", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "VAGRANT_CLOUD_TOKEN")
    told = maker.desk.settings
    variables = {key: text for key, text in told.items() if key not in (*hidden, "CI")}
    home = {"HOME": str(maker.desk.home), "KM_LOCAL__STORE": str(maker.desk.store)}
    return act.Runs(
        space / "act",
        space / "tree",
        commit,
        at="0" * 40,
        environment={**variables, **home, "KM_PUBLISH__TO": "vagrant-cloud"},
        secrets={**{key: told[key] for key in hidden if key in told}, "GITHUB_TOKEN": RELEASER},
    )


@dataclass(frozen=True)
class Story:
    """Runs of the workflow whose toolkit was killed, each after another step of the release, and the one that ended."""

    killed_after: list[str]
    last: act.Ended
    rows: list[dict[str, Any]]
    """The table after that."""


def logs(maker: Maker) -> set[Path]:
    return set((maker.desk.home / ".local/state/kontain/log").glob("*release.publish*"))


def killed(maker: Maker, begun: subprocess.Popen[str], before: set[str], earlier: set[Path]) -> str:
    """Kill the toolkit as soon as it has done a step that none before has done; which one. Empty: it has ended.

    `earlier` are the logs of those before: their last step may have come to its end while they were killed.
    """
    while begun.poll() is None:
        told = "".join(log.read_text() for log in logs(maker) - earlier)
        # Steps are told apart by what they do, and not by their number or by which build it is.
        steps = [STAMP.sub("", step.partition("] ")[2]) for step in STEP.findall(told)]
        if fresh := next((step for step in steps if step not in before), ""):
            for process in maker.desk.toolkit.processes():
                with suppress(psutil.Error):
                    if "release.publish" in process.cmdline():
                        process.kill()
            return fresh
        time.sleep(0.05)
    return ""


@pytest.fixture(scope="module")
def story(maker: Maker, run: act.Runs) -> Story:
    """An edge of a night, cut short by SIGKILL after each of its steps in turn. Each run is on a fresh checkout."""
    before: set[str] = set()
    while True:
        earlier = logs(maker)
        with run.begin(maker.km, "release.yml", "schedule") as begun:
            step = killed(maker, begun, before, earlier)
            said, _ = begun.communicate(timeout=120)
        if begun.returncode == 0:
            break  # its last step came to its end before it could be killed, or there was none
        assert step, said
        before.add(step)
    assert begun.returncode == 0, f"{said}\n{maker.desk.toolkit.log()[-4000:]}"
    # As the machine of a person sees it, who fetches the product: his own build would be another.
    assert maker.run("product").code == 0
    return Story(sorted(before), act.Ended(begun.returncode, said), maker.rows())


def rows(story: Story, piece: str) -> list[dict[str, Any]]:
    return [row for row in story.rows if row["piece"] == piece]


def test_an_edge_that_is_killed_after_every_step_is_whole_in_the_end(maker: Maker, story: Story) -> None:
    done = " ".join(story.killed_after)
    for step in ("sh build.sh", "sh smoke.sh", "build MicroRelease", "prove MicroRelease", "build box-micro"):
        assert step in done
    for step in ("pack micro for libvirt", "pack micro for virtualbox", "libvirt amd64 of", "send kkm.run"):
        assert step in done
    assert {row["state"] for row in story.rows} == {"there"}
    assert not any(row["does"] for row in story.rows)


def test_its_ami_boots_has_the_product_inside_and_is_for_nobody_else(maker: Maker, story: Story) -> None:
    amis = maker.ec2.client("ec2").describe_images(Owners=["self"])["Images"]
    ours = [{tag["Key"]: tag["Value"] for tag in ami.get("Tags", [])} | {"id": ami["ImageId"]} for ami in amis]
    proven = [tags for tags in ours if names.PROVEN in tags]
    (row,) = rows(story, "ami")
    assert [tags[names.BUILD] for tags in proven] == [row["why"]]
    assert proven[0][names.PRODUCT] == goods.found(maker.km / "build").mark
    assert proven[0][names.RELEASE] == row["version"] and proven[0]["Base_AMI_Name"].startswith("micro-22.04")
    assert not any(ami["Public"] for ami in amis)
    log = "".join(path.read_text() for path in (maker.desk.home / ".local/state/kontain/log").glob("*publish*"))
    assert re.search(r"ok product-km: there", log) and re.search(r"ok docker-krun: /opt/kontain/bin/krun", log)


def test_its_boxes_are_sent_and_not_released(maker: Maker, story: Story) -> None:
    version = story.rows[0]["version"]
    assert maker.version(BOX, version) == "unreleased"
    found = maker.registry.books.version(BOX, version)
    assert found and sorted(provider.name for provider in found.providers) == ["libvirt", "virtualbox"]
    shelf = {row["provider"]: row["sha256"] for row in json.loads(maker.desk.run("boxes.list", "--json").out)}
    assert {provider.name: provider.checksum for provider in found.providers} == shelf


def test_its_draft_has_the_files_and_the_manifest(maker: Maker, story: Story) -> None:
    (release,) = maker.hub.releases
    assert release.draft and release.commit == maker.head
    assert set(release.files) == {"kontain.tar.gz", "kontain_bin.tar.gz", "kkm.run", "manifest.json"}
    assert maker.files.items() <= release.files.items()


def test_what_the_killed_ones_left_goes_by_what_their_words_say(maker: Maker, story: Story) -> None:
    pruned = maker.desk.run("images.prune", "--cloud", "aws")
    assert pruned.code == 0, pruned.err
    told = maker.desk.run("boxes.clean", "--plan").out
    assert {line.rpartition("/boxes/")[2] for line in told.splitlines() if "left behind" in line} <= {".work/micro"}
    assert remains(maker) == []


def remains(maker: Maker) -> list[str]:
    """What builds left that are no images: VMs that run, ways in."""
    client = maker.ec2.client("ec2")
    vms = [vm for row in client.describe_instances()["Reservations"] for vm in row["Instances"]]
    groups = [group["GroupName"] for group in client.describe_security_groups()["SecurityGroups"]]
    return [*(vm["InstanceId"] for vm in vms if vm["State"]["Name"] != "terminated"), *groups[1:]]


class TestTheWorkflow:
    """As act runs it: its example, called by the product's repository, calls the toolkit's."""

    def test_of_a_night_without_a_change_has_nothing_to_do(self, maker: Maker, run: act.Runs, story: Story) -> None:
        calls = len(maker.ec2.calls)
        ended = run.run(maker.km, "release.yml", "schedule")
        assert ended.code == 0, ended.said
        assert re.search(r"v0\.1\.0-edge\.\d+\.1, an edge", ended.said) and "nothing to retire" in ended.said
        steps = [f"fetch {name}" for name in ("kkm.run", "kontain.tar.gz", "kontain_bin.tar.gz", "manifest.json")]
        assert sorted(re.findall(r"\[\d/\d\] ([^:\n]+): done", ended.said)) == steps, ended.said
        assert not [call for call, _ in maker.ec2.calls[calls:] if not call.startswith("ec2:Describe")]

    def test_of_a_tag_is_a_release_also_when_it_was_cancelled_and_a_copy_failed(
        self, maker: Maker, run: act.Runs
    ) -> None:
        maker.tag("v1.2.3")
        regions = {"KM_RELEASE__COPIES": "us-west-2,eu-west-1", "KM_RELEASE__ACCOUNTS": "123456789012"}
        run = dataclasses.replace(run, environment={**run.environment, **regions})
        maker.extra = regions
        with run.begin(maker.km, "release.yml", "push") as begun:
            eventually(lambda: remains(maker) != [] or begun.poll() is not None, "a VM that builds", 120)
            assert begun.poll() is None
            os.killpg(begun.pid, signal.SIGINT)
            begun.communicate(timeout=60)
        assert begun.returncode != 0
        # act kills what it cancels, where GitHub would send a signal: what is left goes by its tags.
        assert maker.desk.run("images.prune", "--cloud", "aws").code == 0
        assert remains(maker) == []
        maker.ec2.copies_fail = {"us-west-2": 1}
        failed = run.run(maker.km, "release.yml", "push", timeout=500)
        assert failed.code != 0 and "us-west-2" in failed.said, failed.said
        states = {row["what"]: row["state"] for row in maker.rows() if row["piece"] == "ami"}
        assert states == {"us-east-2": "released", "us-west-2": "missing", "eu-west-1": "released"}
        assert maker.version(BOX, "1.2.3") == "active"
        final = dataclasses.replace(run, event={"inputs": {"final": "true", "ref": ""}})
        ended = final.run(maker.km, "release.yml", "workflow_dispatch")
        assert ended.code == 0, ended.said
        rows = [row for row in maker.rows() if row["piece"] not in ("product", "smoke")]
        assert [row["state"] for row in rows] == ["released"] * 6
        assert [release.draft for release in maker.hub.releases if release.tag == "v1.2.3"] == [False]

    def test_leaves_edges_that_are_taken_back(self, maker: Maker, story: Story) -> None:
        version = story.rows[0]["version"]
        retired = maker.run("retire", "--version", version, "--json")
        assert retired.code == 0, retired.err
        assert {row["version"] for row in json.loads(retired.out)} == {version}
        left = maker.ec2.client("ec2").describe_images(Owners=["self"])["Images"]
        releases = {tag["Value"] for ami in left for tag in ami.get("Tags", []) if tag["Key"] == names.RELEASE}
        assert releases == {"1.2.3"}
