"""Is the image what it must be? Asked of a VM that was booted from it, from outside.

The scripts that checked each step of the build check the result, twice: on the first boot, and
after a reboot.
"""

from __future__ import annotations

import io
import json
import re
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cloud import ssh
from cloud.base import Machine
from cloud.errors import CommandFailed, KitError, TimedOut
from cloud.progress import Progress
from cloud.wait import until
from packer.errors import ProofFailed

_RESULT = re.compile(r"^(ok|failed) ([^:]+): ?(.*)$")
_FOLDER = "/run/kontain-proof"


@dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    name: str
    phase: str
    ok: bool
    detail: str


@dataclass(frozen=True)
class Proof:
    """What was found: every check, and the build record from inside."""

    checks: tuple[Check, ...]
    record: Mapping[str, Any]


def prove(machine: Machine, files: Mapping[str, bytes], build: Mapping[str, str], progress: Progress) -> Proof:
    """Check a machine that was booted from the image for the first time, and again after a reboot.

    `files` are those of the build, its checks among them; `build` is what the record inside must say
    of itself: `build`, `fingerprint`.

    Raises:
        TimedOut: it did not answer ssh within its patience, before or after the reboot.
        ProofFailed: a check failed; the message names it.
    """
    up(machine, progress)
    checks = check(machine, files, build, "boot", progress)
    progress.line(f"rebooting {machine.id}")
    _reboot(machine)
    checks += check(machine, files, build, "reboot", progress)
    return Proof(tuple(checks), _record(machine))


def up(machine: Machine, progress: Progress) -> None:
    """Wait until the machine lets us in, and has come to the end of its first boot.

    Raises:
        TimedOut: it did not within its patience.
    """
    progress.line(f"waiting for {machine.id} to answer ssh")
    ssh.answers(machine)
    # cloud-init may end with 2, for a warning.
    ssh.run(machine, "cloud-init status --wait > /dev/null || [ $? -eq 2 ]", timeout=machine.patience)


def check(
    machine: Machine, files: Mapping[str, bytes], build: Mapping[str, str], phase: str, progress: Progress
) -> list[Check]:
    """Bring the check scripts in and run them as root; /run is gone with the next reboot.

    Raises:
        ProofFailed: a check failed; the message names it.
    """
    scripts = {path: content for path, content in files.items() if path.startswith("provision/")}
    scripts["provision/record.json"] = json.dumps(build).encode()
    ssh.run(machine, f"sudo mkdir -p {_FOLDER} && sudo tar -x -C {_FOLDER}", stdin=_tar(scripts))
    ended = ssh.run(
        machine,
        f"sudo sh {_FOLDER}/provision/check.sh {phase}",
        on_line=progress.line,
        timeout=600,
        check=False,
    )
    checks = [
        Check(found[2], phase, found[1] == "ok", found[3]) for line in ended.lines if (found := _RESULT.match(line))
    ]
    if bad := [f"{check.name} ({check.detail})" for check in checks if not check.ok]:
        raise ProofFailed(f"{phase}: {'; '.join(bad)}", hint="the log has every check; the image was not promoted")
    if ended.code != 0 or ended.lines[-1:] != ("checked",):
        raise ProofFailed(f"{phase}: the checks did not come to their end ({ended.code}): {ended.text[-200:]}")
    return checks


def _record(machine: Machine) -> dict[str, Any]:
    try:
        return dict(json.loads(ssh.run(machine, "cat /etc/kontain-image.json").text))
    except (CommandFailed, ValueError) as problem:
        raise ProofFailed(f"no build record in the image: {problem}") from problem


def _reboot(machine: Machine) -> None:
    before = _boot_id(machine)
    # A moment later, so that this connection ends well instead of waiting for a word that never comes.
    ssh.run(machine, "sudo sh -c '(sleep 1; reboot) > /dev/null 2>&1 &'")

    # Who connects while sshd goes down is held by a dead connection until ssh's own time is out.
    try:
        until(lambda: None if ssh.speaks(machine) else True, what="end of ssh", timeout=30)
    except TimedOut:
        pass  # it was gone between two looks

    def another() -> str | None:
        try:
            return now if ssh.speaks(machine) and (now := _boot_id(machine)) != before else None
        except (CommandFailed, TimedOut):
            return None

    until(another, what="ssh after a reboot", timeout=machine.patience)


def _boot_id(machine: Machine) -> str:
    told = ssh.run(machine, "cat /proc/sys/kernel/random/boot_id", timeout=30).text.strip()
    if not told:
        raise KitError(f"{machine.id} does not tell its boot id")
    return told


def _tar(files: Mapping[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for path, content in sorted(files.items()):
            member = tarfile.TarInfo(path)
            member.size, member.mode = len(content), 0o644
            archive.addfile(member, io.BytesIO(content))
    return out.getvalue()
