"""Images are built, proven and promoted, or nothing has happened. Real packer, real VMs."""

from __future__ import annotations

import hashlib
import os
import signal
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import CANARY, Built
from tests.toolkit import ROOT, Toolkit, definition_with, eventually

pytestmark = pytest.mark.vm

L0BASE = ("images.l0base", "--cloud", "local")


def nothing_is_left(toolkit: Toolkit) -> None:
    eventually(lambda: not toolkit.processes(), "the end of packer and its VM", within=20)
    assert toolkit.left() == []


class TestABuild:
    def test_is_proven_by_every_check_on_two_boots_and_becomes_current(self, built: Built) -> None:
        checks = {(check["name"], check["phase"]) for check in built.outcome["checks"]}
        assert all(check["ok"] for check in built.outcome["checks"])
        for name in ("jq", "user-sudo", "core-pattern", "core-dump", "record"):
            assert {(name, "boot"), (name, "reboot")} <= checks
        assert ("no-builder", "boot") in checks
        assert built.outcome["state"] == "promoted"
        assert built.toolkit.current() == built.outcome["build"]

    def test_leaves_nothing_but_its_image_and_base(self, built: Built) -> None:
        nothing_is_left(built.toolkit)

    def test_again_is_up_to_date_in_seconds(self, shipped: Toolkit) -> None:
        began = time.monotonic()
        ran = shipped.run(*L0BASE)
        assert ran.code == 0 and "up to date" in ran.out
        assert time.monotonic() - began < 30

    def test_keeps_disks_and_keys_to_their_owner(self, built: Built) -> None:
        for path in built.toolkit.store.rglob("*"):
            mode = stat.S_IMODE(path.stat().st_mode)
            assert mode & 0o077 == 0 or path.parent.stat().st_mode & 0o077 == 0, path
        for disk in built.toolkit.store.rglob("*.qcow2"):
            assert stat.S_IMODE(disk.stat().st_mode) == 0o600, disk

    def test_listens_on_this_machine_only(self, built: Built) -> None:
        assert built.seen.listening == {"127.0.0.1"}

    def test_shows_no_key_in_arguments_or_log(self, built: Built) -> None:
        assert any("packer" in word for word in built.seen.argv)
        assert not any("PRIVATE KEY" in word for word in built.seen.argv)
        assert "PRIVATE KEY" not in built.toolkit.log()

    def test_lets_no_secret_of_its_environment_out(self, built: Built, tmp_path: Path) -> None:
        disk = tmp_path / "raw"
        subprocess.run(["qemu-img", "convert", "-O", "raw", Path(built.outcome["id"], "disk.qcow2"), disk], check=True)
        home = built.toolkit.home
        for place in (disk, home):
            found = subprocess.run(["grep", "-rlF", CANARY, place], capture_output=True, text=True, check=False)
            assert found.stdout == "" and found.returncode == 1, found
        assert not any(CANARY in word for word in built.seen.argv)

    def test_has_its_record_inside_and_beside(self, built: Built) -> None:
        beside = Path(built.outcome["id"], "record.json").read_text()
        for text in (built.outcome["build"], built.outcome["fingerprint"], '"jq": "1.'):
            assert text in beside

    def test_needs_no_other_file(self, built: Built) -> None:
        disk = Path(built.outcome["id"], "disk.qcow2")
        told = subprocess.run(["qemu-img", "info", disk], capture_output=True, text=True, check=True)
        assert "backing file" not in told.stdout


class TestAFailure:
    def test_of_a_step_leaves_the_current_image_and_nothing_else(self, shipped: Toolkit, tmp_path: Path) -> None:
        before = shipped.current()
        broken = definition_with(tmp_path / "broken", {"core-pattern.sh": "echo the reason; exit 3\n"})
        ran = shipped.but(images__definition=str(broken)).run(*L0BASE)
        assert ran.code == 1
        assert "error: packer: the reason" in ran.err
        assert "log: " in ran.err and "left behind: nothing" in ran.err.splitlines()[-1]
        assert shipped.current() == before
        nothing_is_left(shipped)

    @pytest.mark.matrix
    def test_of_the_proof_leaves_the_current_image_and_nothing_else(self, shipped: Toolkit, tmp_path: Path) -> None:
        before = shipped.current()
        lies = '. ./report.sh\nif [ "$KM_PHASE" = reboot ]; then failed memory "gone after a reboot"; fi\n'
        broken = definition_with(tmp_path / "broken", {"core-pattern.check.sh": lies})
        ran = shipped.but(images__definition=str(broken)).run(*L0BASE)
        assert ran.code == 1
        assert "error: reboot: memory (gone after a reboot)" in ran.err
        assert shipped.current() == before
        assert len(list((shipped.store / "images").glob("MicroImage*"))) == 1
        nothing_is_left(shipped)

    @pytest.mark.matrix
    def test_of_an_image_that_is_not_the_one_that_was_built_is_seen(self, shipped: Toolkit, tmp_path: Path) -> None:
        clean = (ROOT / "tests/definitions/micro/clean.sh").read_text()
        other = clean.replace("\nsync", '\nsed -i \'s/"fingerprint": "../&x/\' /etc/kontain-image.json\nsync')
        broken = definition_with(tmp_path / "broken", {"clean.sh": other})
        ran = shipped.but(images__definition=str(broken)).run(*L0BASE)
        assert ran.code == 1 and "error: boot: record (" in ran.err
        nothing_is_left(shipped)

    def test_of_a_guest_that_never_answers_is_tried_twice_and_told(self, toolkit: Toolkit, tmp_path: Path) -> None:
        blank = tmp_path / "blank.raw"
        blank.write_bytes(b"\xeb\xfe" + b"\0" * 508 + b"\x55\xaa" + b"\0" * 1023 * 512)  # jumps to itself
        digest = hashlib.sha256(blank.read_bytes()).hexdigest()
        silent = toolkit.but(local__base_url=str(blank), local__base_sha256=digest, local__boot_timeout="5")
        ran = silent.run(*L0BASE)
        assert ran.code == 1
        assert ran.err.count("once more") == 1
        assert "Timeout waiting for SSH" in ran.err
        nothing_is_left(silent)

    def test_of_a_base_with_another_checksum_touches_nothing(self, toolkit: Toolkit) -> None:
        ran = toolkit.but(local__base_sha256="0" * 64).run(*L0BASE)
        assert ran.code == 2
        assert "has the checksum" in ran.err and "hint: " in ran.err
        nothing_is_left(toolkit)

    def test_of_the_network_is_told_as_temporary(self, toolkit: Toolkit) -> None:
        real = toolkit.but(
            local__base_url="", local__base_sha256="", images__definition="packer/definitions/l0base.toml"
        )
        ran = real.run(*L0BASE, prefix=("unshare", "-n" if os.geteuid() == 0 else "-rn"))
        assert ran.code == 5, ran.err
        assert "apt's sources do not answer" in ran.err
        nothing_is_left(toolkit)


@pytest.fixture
def small_disk(shipped: Toolkit, tmp_path: Path) -> Iterator[Path]:
    """The toolkit's store on a file system of its own, with room for a build and little more."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a disk; CI is root")
    image = tmp_path / "disk"
    subprocess.run(["truncate", "-s", "6G", image], check=True)
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-d", shipped.store, image], check=True)
    subprocess.run(["mount", "-o", "loop", image, shipped.store], check=True)
    yield shipped.store
    for process in shipped.processes():
        process.kill()
    subprocess.run(["umount", "-l", shipped.store], check=True)


def fill(folder: Path) -> None:
    """Take all the room that is left."""
    free = subprocess.run(["stat", "-f", "-c", "%a*%S", folder], capture_output=True, text=True, check=True)
    blocks, size = map(int, free.stdout.split("*"))
    subprocess.run(["fallocate", "-l", str(blocks * size - (1 << 20)), folder / "filler"], check=True)


class TestAFullDisk:
    def test_is_told_before_anything_is_touched(self, shipped: Toolkit, small_disk: Path) -> None:
        fill(small_disk)
        ran = shipped.run(*L0BASE, "--force")
        assert ran.code == 2
        assert "needs 4.3 GB" in ran.err

    def test_in_the_middle_ends_the_build_and_leaves_the_current_image(
        self, shipped: Toolkit, small_disk: Path
    ) -> None:
        before = shipped.current()
        with shipped.started(*L0BASE, "--force") as running:
            running.reaches("Waiting for SSH")
            fill(small_disk)
            ran = running.end(within=60)
        assert ran.code == 1
        assert "is full" in ran.err and "hint: " in ran.err
        (small_disk / "filler").unlink()
        assert shipped.current() == before
        nothing_is_left(shipped)


class TestAnInterrupt:
    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_of_the_build_ends_it_in_seconds_and_leaves_nothing(self, shipped: Toolkit, number: signal.Signals) -> None:
        before = shipped.current()
        with shipped.started(*L0BASE, "--force") as running:
            running.reaches("Waiting for SSH")
            running.gets(number)
            ran = running.end(within=10)
        assert ran.code == 130
        assert "interrupted" in ran.err
        assert ran.err.splitlines()[-1] == "left behind: nothing"
        assert shipped.current() == before
        nothing_is_left(shipped)

    def test_of_the_proof_ends_its_machine(self, unproven: Toolkit) -> None:
        with unproven.started(*L0BASE) as running:
            running.reaches("] prove")
            eventually(lambda: any("qemu" in each.name() for each in unproven.processes()), "a VM")
            running.gets(signal.SIGINT)
            ran = running.end(within=10)
        assert ran.code == 130
        nothing_is_left(unproven)
        assert unproven.current() == ""

    def test_twice_leaves_at_once_what_prune_finds(self, shipped: Toolkit) -> None:
        before = shipped.current()
        with shipped.started(*L0BASE, "--force") as running:
            running.reaches("Waiting for SSH")
            running.gets(signal.SIGINT)
            running.gets(signal.SIGTERM)
            ran = running.end(within=6)
        assert ran.code == 130
        assert "images.prune removes it" in ran.err
        assert shipped.current() == before
        pruned(shipped)


class TestAKill:
    def test_of_the_build_leaves_what_prune_finds(self, shipped: Toolkit) -> None:
        before = shipped.current()
        with shipped.started(*L0BASE, "--force") as running:
            running.reaches("Waiting for SSH")
            running.gets(signal.SIGKILL)
            running.end()
            eventually(lambda: not shipped.processes(), "the end of packer and its VM", within=20)
        assert shipped.current() == before
        pruned(shipped)

    @pytest.mark.matrix
    def test_of_the_proof_leaves_a_machine_that_prune_ends_and_the_next_run_replaces(self, unproven: Toolkit) -> None:
        with unproven.started(*L0BASE) as running:
            running.reaches("] prove")
            eventually(lambda: any("qemu" in each.name() for each in unproven.processes()), "a VM")
            running.gets(signal.SIGKILL)
            running.end()
            assert unproven.current() == ""
            ran = unproven.run(*L0BASE, "--json")
        assert ran.code == 0, ran.err
        assert set(ran.json[0]["seconds"]) == {"prove", "promote", "prune"}
        assert unproven.current() == ran.json[0]["build"]
        nothing_is_left(unproven)


def pruned(toolkit: Toolkit) -> None:
    """What is left is named by `prune --plan` and gone after `prune`."""
    left = toolkit.left()
    assert left
    plan = toolkit.run("images.prune", "--cloud", "local", "--plan")
    assert all(name in plan.out for name in left), plan.out
    assert toolkit.run("images.prune", "--cloud", "local").code == 0
    nothing_is_left(toolkit)


@pytest.mark.matrix
def test_two_builds_at_once_harm_nothing_and_the_newest_is_current(shipped: Toolkit) -> None:
    with shipped.started(*L0BASE, "--force", "--json") as running:
        running.reaches("Waiting for SSH")
        second = Toolkit(shipped.home / "second", {**shipped.settings, "KM_LOCAL__STORE": str(shipped.store)})
        other = second.run(*L0BASE, "--force", "--json")
        first = running.end()
    assert (first.code, other.code) == (0, 0), first.err + other.err
    assert shipped.current() == other.json[0]["build"]
    nothing_is_left(shipped)
