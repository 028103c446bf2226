"""L0BaseImage on Azure: the real packer and SDKs, a fake resource manager, VMs that run."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from cloud import connect, names, wait
from cloud.azure.gallery import version_of
from cloud.errors import NotFound
from tasks import _settings
from tests.fakes.arm import GROUP, SECRET, SUBSCRIPTION, TOKEN, Answer, Arm
from tests.packer.shipped import Ends, Failures, is_as_it_was, watched
from tests.toolkit import ROOT, Ran, Toolkit, eventually

L0BASE = ("images.l0base", "--cloud", "azure")
MICRO = {"KM_IMAGES__DEFINITION": str(ROOT / "tests/definitions/micro.toml")}
VERSIONS = "galleries/kontain/images/MicroImage/versions"


@pytest.fixture
def arm(disk: Path, tmp_path: Path) -> Iterator[Arm]:
    """A subscription with nothing in it but the resource group of the images."""
    with Arm(tmp_path / "arm", disk) as subscription:
        yield subscription
    assert subscription.refused == []


@pytest.fixture
def toolkit(arm: Arm, tmp_path: Path) -> Toolkit:
    """A toolkit that works in that subscription."""
    return Toolkit(tmp_path / "home", {**MICRO, **arm.variables})


def planted(arm: Arm, toolkit: Toolkit, token: str, *states: str, days_ago: float = 0, fingerprint: str = "") -> str:
    """A build that came as far as the states say; its version's id. Without a fingerprint it is of today's inputs."""
    if not fingerprint:
        fingerprint = toolkit.run(*L0BASE, "--plan", "--json").json[0]["fingerprint"]
    created = wait.clock.now() - timedelta(days=days_ago)
    moment, build = names.moment(created), names.build_name("MicroImage", created, token)
    tags = {
        names.KIND: "image",
        names.IMAGE: "MicroImage",
        names.BUILD: build,
        names.CREATED: moment,
        names.FINGERPRINT: fingerprint,
        **{f"km-{state}": moment for state in states},
    }
    return version(arm, version_of(created), tags, latest="promoted" in states)


def version(arm: Arm, number: str, tags: dict[str, str], latest: bool) -> str:
    """A version in the gallery, which is there with all that it needs."""
    place = {"location": "westus"}
    arm.put("galleries/kontain", place)
    identifier = {"publisher": "kontain", "offer": "ci", "sku": "MicroImage"}
    kind = {"osType": "Linux", "osState": "Generalized", "identifier": identifier}
    arm.put("galleries/kontain/images/MicroImage", {**place, "properties": kind})
    properties = {
        "publishingProfile": {"excludeFromLatest": not latest, "targetRegions": [{"name": "westus"}]},
        "storageProfile": {"source": {"id": "/somewhere"}},
    }
    return arm.put(f"{VERSIONS}/{number}", {**place, "tags": tags, "properties": properties})


def names_of_builds(arm: Arm) -> list[str]:
    """The builds whose resource group there is."""
    return [thing["name"] for thing in arm.things.values() if names.image_of(thing["name"])]


def latest(arm: Arm) -> str:
    """The id of the version that the gallery's `latest` means."""
    versions = (thing for key, thing in arm.things.items() if "/versions/" in key)
    meant = (each for each in versions if not each["properties"]["publishingProfile"].get("excludeFromLatest"))
    return str(max(meant, key=lambda each: [int(part) for part in each["name"].split(".")])["id"])


def current(toolkit: Toolkit) -> str:
    rows = toolkit.run("images.list", "--cloud", "azure", "--json").json
    return next((row["id"] for row in rows if row["current"]), "")


@dataclass
class Shipped:
    """A gallery whose current image is of older inputs: there is something to build, and something to lose."""

    arm: Arm
    toolkit: Toolkit
    id: str
    cloud: str = "azure"
    vm: str = "MicroImage-"
    parts: tuple[str, ...] = ("resource group",)

    def current_is_what_it_was(self) -> None:
        """The current image is what it was, for us and for others."""
        assert current(self.toolkit) == latest(self.arm) == self.id

    def left(self) -> list[str]:
        """What there is in the subscription that no image needs."""
        needed = (self.id, "/galleries/kontain", "/images/MicroImage", f"/resourceGroups/{GROUP}")
        return [thing["id"] for thing in self.arm.things.values() if not thing["id"].endswith(needed)]

    def vms(self) -> list[str]:
        """The VMs that there are."""
        return [key for key in self.arm.things if "/virtualmachines/" in key]


@pytest.fixture
def shipped(arm: Arm, toolkit: Toolkit) -> Shipped:
    made = planted(arm, toolkit, "aaaaaa", "proven", "promoted", days_ago=1, fingerprint="0" * 64)
    return Shipped(arm, toolkit, made)


@dataclass(frozen=True)
class Built:
    """A build that went well, and what was seen of it."""

    row: dict[str, Any]
    calls: list[tuple[str, Any]]
    again: Ran
    calls_again: list[str]
    log: str
    shown: set[str]
    """Where a secret could be read."""
    things: dict[str, dict[str, Any]]
    latest: str


@pytest.fixture(scope="module")
def built(disk: Path, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """One build, proof and promotion in an empty subscription."""
    folder = tmp_path_factory.mktemp("built")
    with Arm(folder / "arm", disk) as arm:
        toolkit = Toolkit(folder / "home", {**MICRO, **arm.variables})
        with watched(toolkit, SECRET, TOKEN) as shown:
            ran = toolkit.run(*L0BASE, "--json")
        assert ran.code == 0, f"{ran.err}\n{toolkit.log()}"
        told = ran.out + ran.err
        shown |= {secret for secret in (SECRET, TOKEN) if secret in told}
        calls = list(arm.calls)
        arm.calls.clear()
        again = toolkit.run(*L0BASE)
        assert arm.refused == []
        calls_again = arm.actions()
        return Built(ran.json[0], calls, again, calls_again, toolkit.log(), shown, dict(arm.things), latest(arm))


@pytest.mark.vm
@pytest.mark.matrix
class TestABuild:
    def test_is_proven_on_two_boots_of_the_image_and_becomes_current(self, built: Built) -> None:
        checks = {(check["name"], check["phase"]) for check in built.row["checks"]}
        assert all(check["ok"] for check in built.row["checks"])
        for name in ("jq", "user-sudo", "core-pattern", "record"):
            assert {(name, "boot"), (name, "reboot")} <= checks
        assert built.row["state"] == "promoted"

    def test_is_booted_from_the_version_that_packer_published(self, built: Built) -> None:
        started = [
            given["properties"] for action, given in built.calls if action == "Microsoft.Compute/virtualMachines/write"
        ]
        assert len(started) == 2
        assert started[1]["storageProfile"]["imageReference"] == {"id": built.row["id"]}

    def test_is_published_excluded_from_latest_and_then_promoted(self, built: Built) -> None:
        written = [
            given for action, given in built.calls if action == "Microsoft.Compute/galleries/images/versions/write"
        ]
        excluded = [given["properties"]["publishingProfile"]["excludeFromLatest"] for given in written]
        assert excluded[0] is True and excluded[-1] is False and excluded == sorted(excluded, reverse=True)
        assert built.latest == built.row["id"]

    def test_is_described_by_its_tags(self, built: Built) -> None:
        tags = built.things[built.row["id"].lower()]["tags"]
        assert {"km-packer", "km-kernel", names.PROVEN, names.PROMOTED, names.FINGERPRINT} <= set(tags)
        assert names.EXPIRES not in tags

    def test_leaves_the_gallery_and_nothing_else(self, built: Built) -> None:
        kinds = sorted(str(thing.get("type", "group")).rpartition(".")[2] for thing in built.things.values())
        assert kinds == ["compute/galleries", "compute/galleries/images", "compute/galleries/images/versions", "group"]

    def test_makes_a_gallery_for_trusted_launch_that_starts_vms_without_secure_boot(self, built: Built) -> None:
        (made,) = [given for action, given in built.calls if action == "Microsoft.Compute/galleries/images/write"]
        assert {"name": "SecurityType", "value": "TrustedLaunchSupported"} in made["properties"]["features"]
        proof = [given for action, given in built.calls if action == "Microsoft.Compute/virtualMachines/write"][1]
        uefi = {"secureBootEnabled": False, "vTpmEnabled": True}
        assert proof["properties"]["securityProfile"] == {"securityType": "TrustedLaunch", "uefiSettings": uefi}

    def test_again_is_up_to_date_after_five_calls(self, built: Built) -> None:
        assert built.again.code == 0 and "up to date" in built.again.out
        assert sorted(action.partition(".")[2] for action in built.calls_again) == [
            "Compute/galleries/images/versions/read",
            "Compute/galleries/images/versions/read",
            "Compute/images/read",
            "Compute/locations/publishers/artifacttypes/offers/skus/versions/read",
            "Resources/subscriptions/read",
        ]

    def test_opens_ssh_for_the_caller_alone(self, built: Built) -> None:
        firewalls = [
            given for action, given in built.calls if action == "Microsoft.Network/networkSecurityGroups/write"
        ]
        assert len(firewalls) == 2
        for given in firewalls:
            rules = [rule["properties"] for rule in given["properties"]["securityRules"]]
            opened = [rule for rule in rules if rule["access"] == "Allow"]
            told = json.dumps(opened)
            assert len(opened) == 1 and "127.0.0.1" in told and '"Internet"' not in told

    def test_proves_behind_a_standard_address(self, built: Built) -> None:
        addresses = [given for action, given in built.calls if action == "Microsoft.Network/publicIPAddresses/write"]
        assert addresses[1]["sku"] == {"name": "Standard"}

    def test_marks_everything_with_owner_purpose_and_expiry(self, built: Built) -> None:
        groups = [given["tags"] for action, given in built.calls if action.endswith("/resourceGroups/write")]
        inside = [given["tags"] for action, given in built.calls if action == "Microsoft.Compute/virtualMachines/write"]
        assert [tags[names.KIND] for tags in groups] == [tags[names.KIND] for tags in inside] == ["build", "proof"]
        for tags in groups + inside:
            assert tags[names.OWNER] and tags[names.EXPIRES] and tags[names.IMAGE] == "MicroImage"

    def test_shows_no_secret(self, built: Built) -> None:
        assert built.shown == set() and "PRIVATE KEY" not in built.log


VM = "Microsoft.Compute/virtualMachines/write"
GROUPS = "Microsoft.Resources/subscriptions/resourceGroups/write"
QUOTA = "Operation could not be completed as it results in exceeding approved standardDSv5Family Cores quota."
BEFORE_ANY_VM = [
    (VM, "AllocationFailed", 200, 5, "AllocationFailed"),
    (VM, "SkuNotAvailable", 409, 5, "SkuNotAvailable"),
    (GROUPS, "AuthorizationFailed", 403, 4, "AuthorizationFailed"),
    ("Microsoft.Compute/galleries/images/versions/read", "TooManyRequests", 429, 5, "TooManyRequests"),
    ("Microsoft.Compute/galleries/images/versions/read", "InternalServerError", 500, 5, "InternalServerError"),
]


class TestAFailure(Failures):
    @pytest.mark.matrix
    @pytest.mark.parametrize(("action", "code", "status", "exit_code", "told"), BEFORE_ANY_VM)
    def test_of_a_call_has_its_exit_code_and_leaves_nothing(
        self, shipped: Shipped, action: str, code: str, status: int, exit_code: int, told: str
    ) -> None:
        shipped.arm.fails(action, code, status, times=30, message=f"{code}: {QUOTA}")
        ran = shipped.toolkit.run(*L0BASE)
        shipped.arm.faults.clear()
        assert ran.code == exit_code, ran.err
        assert told in ran.err and "hint: " in ran.err
        is_as_it_was(shipped)

    @pytest.mark.matrix
    def test_of_quota_tells_what_it_is(self, shipped: Shipped) -> None:
        shipped.arm.cores = 3
        ran = shipped.toolkit.run(*L0BASE)
        assert ran.code == 1 and "OperationNotAllowed" in ran.err and "Current Limit: 3, Usage: 0" in ran.err, ran.err
        is_as_it_was(shipped)

    @pytest.mark.matrix
    def test_because_somebody_takes_the_version_meanwhile_leaves_his(self, shipped: Shipped) -> None:
        with shipped.toolkit.started(*L0BASE) as running:
            running.reaches("Waiting for SSH")
            number = version_of(names.time_of(names_of_builds(shipped.arm)[0]))
            taken = version(shipped.arm, number, {"owner": "somebody"}, latest=False)
            ended = running.end()
        assert ended.code == 1 and "PropertyChangeNotAllowed" in ended.err, ended.err
        assert shipped.arm.things.pop(taken.lower())["tags"] == {"owner": "somebody"}
        is_as_it_was(shipped)


@pytest.fixture
def unproven(shipped: Shipped) -> Shipped:
    """A gallery with a newer version too that is not proven, and whose VMs never boot."""
    planted(shipped.arm, shipped.toolkit, "bbbbbb")
    shipped.arm.guests.boot = lambda *_: None  # type: ignore[method-assign]
    return replace(shipped, toolkit=shipped.toolkit.but(azure__boot_timeout="3"))


GROUP_DELETED = "Microsoft.Resources/subscriptions/resourceGroups/delete"


class TestAProof:
    def test_whose_group_does_not_go_at_first_leaves_nothing(self, unproven: Shipped) -> None:
        unproven.arm.fails(GROUP_DELETED, "Conflict", 409)
        ran = unproven.toolkit.run(*L0BASE)
        assert ran.code == 1, ran.err
        assert "left behind: nothing" in ran.err
        is_as_it_was(unproven)

    def test_whose_group_stays_says_so_and_prune_removes_it(self, unproven: Shipped) -> None:
        unproven.arm.fails(GROUP_DELETED, "Conflict", 409, times=30)
        ran = unproven.toolkit.run(*L0BASE)
        unproven.arm.faults.clear()
        assert ran.code == 1 and "left behind: resource group of a killed build MicroImage-" in ran.err, ran.err
        assert unproven.left() != []
        unproven.current_is_what_it_was()
        assert unproven.toolkit.run("images.prune", "--cloud", "azure").code == 0
        is_as_it_was(unproven)
        assert unproven.toolkit.run("images.prune", "--cloud", "azure").out == ""


class TestAnEnd(Ends):
    def test_while_tags_are_written_is_an_interrupt(self, arm: Arm, toolkit: Toolkit) -> None:
        planted(arm, toolkit, "aaaaaa", "proven")
        written = "Microsoft.Compute/galleries/images/versions/write"
        arm.delays[written] = 3
        with toolkit.started(*L0BASE) as running:
            eventually(lambda: written in arm.actions(), "tags are written")
            running.gets(signal.SIGTERM)
            ended = running.end(30)
        assert ended.code == 130 and "Traceback" not in ended.err, ended.err
        assert "left behind: nothing" in ended.err


class TestImages:
    def test_of_a_stranger_are_never_looked_at(self, arm: Arm, toolkit: Toolkit) -> None:
        version(arm, "9999.1.1", {"owner": "somebody"}, latest=True)
        assert "no builds" in toolkit.run("images.list", "--cloud", "azure").out
        assert toolkit.run(*L0BASE, "--plan", "--json").json[0]["reason"] == "there is no build yet"

    def test_from_before_of_exactly_the_name_come_last_and_stay(self, arm: Arm, toolkit: Toolkit) -> None:
        plain = arm.put("images/MicroImage", {"location": "westus", "properties": {}})
        assert current(toolkit) == plain
        assert toolkit.run("images.prune", "--cloud", "azure", "--keep", "1", "--plan").out == ""
        ours = planted(arm, toolkit, "aaaaaa", "proven", "promoted", days_ago=1)
        assert current(toolkit) == ours
        rows = toolkit.run("images.list", "--cloud", "azure", "--json").json
        assert {row["id"]: row["state"] for row in rows} == {plain: "plain", ours: "promoted"}

    def test_that_others_do_not_know_of_are_announced(self, arm: Arm, toolkit: Toolkit) -> None:
        ours = planted(arm, toolkit, "aaaaaa", "proven", "promoted")
        arm.things[ours.lower()]["properties"]["publishingProfile"]["excludeFromLatest"] = True
        assert toolkit.run(*L0BASE, "--plan", "--json").json[0]["steps"] == ["promote"]
        assert toolkit.run(*L0BASE).code == 0
        assert latest(arm) == ours

    def test_are_rolled_back_and_promoted_for_others_too(self, arm: Arm, toolkit: Toolkit) -> None:
        older = planted(arm, toolkit, "aaaaaa", "proven", "promoted", days_ago=2)
        newer = planted(arm, toolkit, "bbbbbb", "proven", "promoted", days_ago=1)
        assert toolkit.run("images.rollback", "--cloud", "azure").code == 0
        assert current(toolkit) == latest(arm) == older
        assert toolkit.run("images.promote", "--cloud", "azure", "bbbbbb").code == 0
        assert current(toolkit) == latest(arm) == newer

    def test_that_are_old_go_but_not_one_that_a_vm_uses(self, arm: Arm, toolkit: Toolkit) -> None:
        ids = [
            planted(arm, toolkit, token, "proven", "promoted", days_ago=days, fingerprint="0" * 64)
            for token, days in (("aaaaaa", 4), ("bbbbbb", 3), ("cccccc", 2))
        ]
        reference = {"imageReference": {"id": ids[1]}}
        arm.put("virtualMachines/somebodys", {"location": "westus", "properties": {"storageProfile": reference}})
        assert toolkit.run("images.prune", "--cloud", "azure", "--keep", "1").code == 0
        rows = toolkit.run("images.list", "--cloud", "azure", "--json").json
        assert {row["id"] for row in rows} == set(ids[1:])

    def test_of_a_build_under_way_elsewhere_are_left_alone(self, arm: Arm, toolkit: Toolkit) -> None:
        build = names.build_name("MicroImage", wait.clock.now(), "dddddd")
        expires = names.moment(wait.clock.now() + timedelta(hours=1))
        tags = {names.KIND: "build", names.BUILD: build, names.EXPIRES: expires}
        group = arm.put(f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{build}", {"location": "westus", "tags": tags})
        version(arm, "2020.1.1", tags, latest=False)
        managed = arm.put(f"images/{build}", {"location": "westus", "tags": tags, "properties": {}})
        assert toolkit.run("images.prune", "--cloud", "azure", "--plan").out == ""
        tags[names.EXPIRES] = names.moment(wait.clock.now() - timedelta(hours=1))
        out = toolkit.run("images.prune", "--cloud", "azure", "--plan").out
        for kind in ("resource group", "managed image", "version"):
            assert f"{kind} of a killed build" in out
        assert toolkit.run("images.prune", "--cloud", "azure").code == 0
        assert group.lower() not in arm.things and managed.lower() not in arm.things

    def test_that_are_gone_are_not_found(
        self, arm: Arm, toolkit: Toolkit, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        planted(arm, toolkit, "aaaaaa", "proven")
        for key, text in arm.variables.items():
            monkeypatch.setenv(key, text)
        images = connect("azure", _settings.load(arm.variables, tmp_path / "none")).images
        (image,) = images.list("MicroImage")
        images.delete(image)
        with pytest.raises(NotFound, match="is not there any more"):
            images.tag(image, {names.PROMOTED: names.moment(wait.clock.now())})

    def test_with_some_of_our_tags_are_none_of_ours(self, arm: Arm, toolkit: Toolkit) -> None:
        build = names.build_name("MicroImage", wait.clock.now(), "eeeeee")
        ours = {names.KIND: "image", names.IMAGE: "MicroImage", names.BUILD: build}
        version(arm, "2026.1.1", ours, latest=True)
        version(arm, "2026.1.2", {**ours, names.CREATED: "yesterday"}, latest=True)
        listed = toolkit.run("images.list", "--cloud", "azure")
        assert listed.code == 0 and "no builds" in listed.out
        assert toolkit.run("images.prune", "--cloud", "azure", "--plan").out == ""


@pytest.mark.parametrize("settings", [{"azure__disk": "99"}, {"azure__location": "eastus"}])
def test_a_setting_that_shapes_the_image_changes_the_plan(toolkit: Toolkit, settings: dict[str, str]) -> None:
    first, other = (each.run(*L0BASE, "--plan", "--json").json[0] for each in (toolkit, toolkit.but(**settings)))
    assert first["fingerprint"] != other["fingerprint"]


class TestThePolicy:
    """The fake refuses whatever the role does not allow, so all other tests hold it against our calls and packer's.

    Packer itself names no list: "the minimal set of permissions is highly dependent on the builder and its
    configuration" (its documentation of the Azure builders).
    """

    def test_allows_nothing_to_be_done_to_people_or_to_data(self) -> None:
        actions = json.loads((ROOT / "docs/policies/azure.json").read_text())["Actions"]
        assert not [action for action in actions if action.split("/")[0] not in ALLOWED or action.endswith("/*")]

    def test_is_held_against_every_call(self, arm: Arm, toolkit: Toolkit) -> None:
        right = "Microsoft.Compute/galleries/images/versions/read"
        arm.rights.remove(right)
        ran = toolkit.run(*L0BASE, "--plan")
        assert ran.code == 4 and f"Azure does not allow {right}" in ran.err


ALLOWED = {"Microsoft.Resources", "Microsoft.Authorization", "Microsoft.Compute", "Microsoft.Network"}


class TestPacker:
    def test_judges_what_is_rendered_for_it(self, toolkit: Toolkit) -> None:
        ran = toolkit.run("images.validate", "--cloud", "azure")
        assert ran.code == 0, ran.err


class TestDoctor:
    def test_tells_where_we_are(self, toolkit: Toolkit) -> None:
        rows = {row["name"]: row for row in toolkit.run("doctor", "--cloud", "azure", "--json").json}
        assert rows["azure"]["state"] == "ok" and SUBSCRIPTION in rows["azure"]["found"]

    def test_names_a_right_that_is_missing(self, arm: Arm, toolkit: Toolkit) -> None:
        arm.rights.remove("Microsoft.Compute/galleries/write")
        ran = toolkit.run("doctor", "--cloud", "azure", "--json")
        rows = {row["name"]: row for row in ran.json}
        assert ran.code == 1 and rows["azure"]["state"] == "failed"
        assert "Microsoft.Compute/galleries/write" in rows["azure"]["found"] and "azure.json" in rows["azure"]["cure"]

    @pytest.mark.parametrize("variable", ["SP_PASSWORD=wrong", "SP_PASSWORD="])
    def test_says_that_nobody_is_logged_in(self, toolkit: Toolkit, variable: str) -> None:
        ran = toolkit.run("doctor", "--cloud", "azure", "--json", prefix=("env", variable))
        rows = {row["name"]: row for row in ran.json}
        assert rows["azure"]["state"] == "failed" and "az login" in rows["azure"]["cure"]


def test_no_other_server_is_spoken_to(arm: Arm, toolkit: Toolkit) -> None:
    ran = toolkit.but(azure__endpoint="https://example.org").run(*L0BASE, "--plan")
    assert ran.code == 5 and "Azure does not answer" in ran.err


def test_versions_sort_as_the_builds_do() -> None:
    moments = [wait.clock.now() + timedelta(hours=7 * number) for number in range(2000)]
    versions = [[int(part) for part in version_of(moment).split(".")] for moment in moments]
    assert versions == sorted(versions) and max(max(each) for each in versions) < 2**31


class TestTheFake:
    """It refuses what Azure refuses, so that what works against it means something."""

    PLACE = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}/providers/Microsoft.Compute"

    def asked(self, arm: Arm, method: str, path: str, body: object = None, shown: str = TOKEN) -> Answer:
        told = b"" if body is None else json.dumps(body).encode()
        head = {"Authorization": f"Bearer {shown}"}
        return arm.answer(method, "management.azure.com", f"{self.PLACE}/{path}?api-version=2024-01-01", head, told)

    @pytest.mark.parametrize(
        ("path", "body", "code"),
        [
            ("galleries/kontain", {"location": "westus", "properties": {"colour": "red"}}, "InvalidRequestContent"),
            ("galleries/kon-tain", {"location": "westus"}, "InvalidParameter"),
            ("galleries/none/images/MicroImage", {"location": "westus"}, "ParentResourceNotFound"),
            (
                "images/x",
                {"location": "westus", "properties": {"sourceVirtualMachine": {"id": "/no"}}},
                "OperationNotAllowed",
            ),
        ],
    )
    def test_refuses_bodies_and_names(self, arm: Arm, path: str, body: object, code: str) -> None:
        answer = self.asked(arm, "PUT", path, body)
        assert answer.status >= 400 and answer.body["error"]["code"] == code

    @pytest.mark.parametrize("number", ["2026.0105.1", "2026.1", "1.2.3.4", "2026.1.99999999999", "latest"])
    def test_refuses_versions_that_are_none(self, arm: Arm, number: str) -> None:
        version(arm, "2026.1.1", {}, latest=False)
        body = {
            "location": "westus",
            "properties": {"publishingProfile": {}, "storageProfile": {"source": {"id": "/somewhere"}}},
        }
        assert self.asked(arm, "PUT", f"{VERSIONS}/{number}", body).body["error"]["code"] == "InvalidParameter"

    def test_refuses_who_has_no_token(self, arm: Arm) -> None:
        assert self.asked(arm, "GET", "images/x", shown="another").status == 401

    def test_refuses_to_remove_a_gallery_with_images_in_it(self, arm: Arm) -> None:
        version(arm, "2026.1.1", {}, latest=False)
        arm.rights.append("Microsoft.Compute/galleries/delete")
        assert self.asked(arm, "DELETE", "galleries/kontain").body["error"]["code"] == "CannotDeleteResource"
