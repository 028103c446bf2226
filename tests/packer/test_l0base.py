"""The whole base image, out of the host's own apt sources, and runners on it. Minutes.

Here systemd, cloud-init and docker are the real ones. All is in one file, so that the image is made once.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from packer.definition import DEFINITIONS, PROVISION
from tests.ci import RUN, STOP, Ci
from tests.fakes.github import TOKEN, Hub
from tests.fakes.vendor import Vendor
from tests.toolkit import Toolkit

pytestmark = [pytest.mark.vm, pytest.mark.matrix, pytest.mark.timeout(2400)]

PHASES = ("boot", "reboot")
TOOLS = {"git", "make", "makeself", "gcc", "jq", "curl", "docker"}
OF_ITSELF = {
    *("kernel-held", "docker-enabled", "docker-container", "sudoers", "user-sudo", "user-docker"),
    *("user-password", "core-pattern", "core-dump", "record", "no-key-for-all", "no-updates"),
}
OF_A_VENDOR = {"answer", "key-of-vendor", "repository-vendor", "file.bin"}
ON_THE_FIRST_BOOT = {
    *("kernel-module", "no-host-keys", "no-authorized-keys", "no-private-keys", "own-machine-id"),
    *("one-cloud-init-instance", "no-old-logs", "no-history", "no-package-lists", "no-leftovers", "no-builder"),
}


@dataclass(frozen=True)
class Whole:
    """The whole base image in a store, and what its build said of it."""

    toolkit: Toolkit
    outcome: dict[str, Any]


@pytest.fixture(scope="module")
def l0base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Whole]:
    """Built once, by the command that a person types; with a tool and a file of a vendor besides."""
    folder = tmp_path_factory.mktemp("vendor")
    vendor = Vendor(folder / "vendors")
    settings = {"KM_IMAGES__DEFINITION": str(with_a_vendor(vendor, folder))}
    toolkit = Toolkit(tmp_path_factory.mktemp("l0base"), settings)
    yield Whole(toolkit, made(toolkit))
    vendor.close()


def with_a_vendor(vendor: Vendor, folder: Path) -> Path:
    """The definition of L0BaseImage, with a tool and a file of a vendor that this machine has too."""
    here = f"http://10.0.2.2:{vendor.port}"  # so QEMU's guests call the machine that they run on
    text = f'''provision = "{PROVISION}"
{(DEFINITIONS / "l0base.toml").read_text()}
[[tool]]
name = "answer"
source = "vendor"
version = "1.2.3"
check = "answer"
clouds = ["local"]

[repository.vendor]
url = "{here}/apt/"
suite = "./"
key = "{here}/key.asc"
fingerprint = "{vendor.fingerprint}"

[[download]]
url = "{here}/file.bin"
sha256 = "{vendor.sha256}"
to = "/opt/kontain/file.bin"
clouds = ["local"]
'''
    (folder / "l0base.toml").write_text(text)
    return folder / "l0base.toml"


def made(toolkit: Toolkit) -> dict[str, Any]:
    """Build it; what the command says of it."""
    ran = toolkit.run("images.l0base", "--cloud", "local", "--json", timeout=2300)
    assert ran.code == 0, f"{ran.err}\n{toolkit.log()[-4000:]}"
    return dict(ran.json[0])


def proven(toolkit: Toolkit, outcome: dict[str, Any], besides: Set[str]) -> None:
    """Every check of the image was made, and those besides; nothing but the image is left."""
    assert outcome["state"] == "promoted"
    checks = {phase: {check["name"] for check in outcome["checks"] if check["phase"] == phase} for phase in PHASES}
    always = TOOLS | OF_ITSELF | besides
    assert checks == {"boot": always | ON_THE_FIRST_BOOT, "reboot": always}
    assert all(check["ok"] for check in outcome["checks"])
    assert toolkit.left() == [] and toolkit.processes() == []


def test_the_base_image_out_of_the_hosts_own_apt_sources(l0base: Whole) -> None:
    toolkit, outcome = l0base.toolkit, l0base.outcome
    proven(toolkit, outcome, OF_A_VENDOR)
    record = json.loads(Path(outcome["id"], "record.json").read_text())
    assert set(record["tools"]) == TOOLS | {"answer"}
    # Its repository has a newer one too.
    assert record["tools"]["answer"] == "1.2.3"
    assert record["packages"]["docker.io"].startswith(record["tools"]["docker"])
    assert record["fingerprint"] == outcome["fingerprint"]
    again = toolkit.run("images.l0base", "--cloud", "local")
    assert again.code == 0 and "up to date" in again.out


JOB = """
docker version --format '{{.Server.Version}}' && id -nG && echo what the job wrote > result
exit 1
"""


def test_a_runner_on_it_runs_jobs_is_kept_without_credentials_and_comes_back_for_a_look(
    l0base: Whole, tmp_path: Path
) -> None:
    with Hub(silence=30) as hub:
        toolkit = Toolkit(l0base.toolkit.home, {**hub.variables, "KM_RUNNERS__POLL": "1"})
        ci = Ci(hub, toolkit)
        label = ci.started()
        (entry,) = hub.runners
        job = hub.queue_job(label, JOB, name="test-km", run=RUN)
        assert job.wait(180) == "failure"
        assert "docker" in job.log.split()
        said = ci.toolkit.run("runners.ssh", "--cloud", "local", label, "--", "systemctl list-timers --all --no-pager")
        assert "kontain-expire.timer" in said.out, said.err

        assert ci.step(*STOP).ran.code == 0
        (vm,) = ci.vms()
        assert (vm["state"], vm["kept"]) == ("stopped", "job test-km failed at step Run the tests")
        assert hub.runners == []

        read = "cat /actions-runner/_work/km/km/result; ls -A /actions-runner; systemctl is-active kontain-runner"
        found = ci.toolkit.run("runners.ssh", "--cloud", "local", label, "--", read)
        assert "what the job wrote" in found.out, found.err
        assert not {".credentials", ".credentials_rsaparams", ".runner", "ready"} & set(found.out.split())
        assert found.out.split()[-1] == "inactive"
        # Brackets, since sudo notes in the journal what it runs.
        secrets = "|".join(f"[{each[0]}]{each[1:]}" for each in (TOKEN, *hub.tokens, job.secret))
        places = "/actions-runner /etc /home /opt /root /run /tmp /var /dev/vdb"
        look = f"sudo grep -rslaE '{secrets}' {places}; echo looked"
        assert ci.toolkit.run("runners.ssh", "--cloud", "local", label, "--", look).out.split() == ["looked"]
        assert not hub.online(entry.name)

        assert ci.toolkit.run("runners.extend", "--cloud", "local", label, "1d").code == 0
        assert ci.toolkit.run(*STOP, "--run", label, "--destroy").code == 0
        assert ci.vms() == [] and toolkit.processes() == []
