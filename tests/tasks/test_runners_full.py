"""A runner on the whole base image: systemd, cloud-init and docker are the real ones. Minutes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.ci import RUN, START, STOP, Ci
from tests.conftest import Built
from tests.fakes.github import TOKEN, Hub
from tests.toolkit import Toolkit

pytestmark = [pytest.mark.vm, pytest.mark.matrix, pytest.mark.timeout(2400)]

JOB = """
docker version --format '{{.Server.Version}}' && id -nG && echo what the job wrote > result
exit 1
"""


def test_runs_jobs_is_kept_without_credentials_and_comes_back_for_a_look(l0base: Built, tmp_path: Path) -> None:
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


def test_has_a_vm_for_work_by_hand(l0base: Built) -> None:
    toolkit = l0base.toolkit
    started = toolkit.run(*START, "--no-register", "--name", "mine")
    assert started.code == 0, f"{started.err}\n{toolkit.log()[-4000:]}"
    ran = toolkit.run("runners.ssh", "--cloud", "local", "mine", "--", "systemctl is-active kontain-expire.timer")
    assert ran.out.strip() == "active"
    assert toolkit.run(*STOP, "--name", "mine", "--destroy").code == 0
