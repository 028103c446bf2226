"""A run of a workflow, as its steps see it: what they type, what Actions gives them, what they get."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Built
from tests.fakes.github import REPOSITORY, Hub, Job
from tests.toolkit import Ran, Toolkit

START = ("runners.start", "--cloud", "local")
STOP = ("runners.stop", "--cloud", "local")
LIST = ("runners.list", "--cloud", "local")
REAP = ("runners.reap", "--cloud", "local")
RUN = "4711"


@dataclass
class Ci:
    """A run of a workflow on a machine with a finished image: what its steps type, and what they get."""

    hub: Hub
    toolkit: Toolkit

    def step(self, *words: str, attempt: str = "1", needs: Any = None, **variables: str) -> Step:
        """A step of the run, with all that Actions gives to one."""
        files = {name: self.toolkit.home / name for name in ("output", "summary")}
        for file in files.values():
            file.unlink(missing_ok=True)
        self.toolkit.home.mkdir(exist_ok=True)
        told = {
            "GITHUB_ACTIONS": "true",
            "GITHUB_REPOSITORY": REPOSITORY,
            "GITHUB_WORKFLOW": "KM CI Pipeline",
            "GITHUB_RUN_NUMBER": "1279",
            "GITHUB_RUN_ID": RUN,
            "GITHUB_RUN_ATTEMPT": attempt,
            "GITHUB_ACTOR": "somebody",
            "GITHUB_OUTPUT": str(files["output"]),
            "GITHUB_STEP_SUMMARY": str(files["summary"]),
            **({"NEEDS": needs if isinstance(needs, str) else json.dumps(needs)} if needs is not None else {}),
            **variables,
        }
        worker = Toolkit(self.toolkit.home, {**self.toolkit.settings, **told})
        ran = worker.run(*words)
        texts = {name: file.read_text() if file.exists() else "" for name, file in files.items()}
        return Step(ran, outputs(texts["output"]), texts["summary"])

    def started(self, *words: str, **variables: str) -> str:
        """The label of a runner that is online."""
        step = self.step(*START, *words, **variables)
        assert step.ran.code == 0, f"{step.ran.err}\n{self.toolkit.log()}"
        return str(step.outputs["run-ons"]["local"])

    def vms(self) -> list[dict[str, Any]]:
        return list(self.toolkit.run(*LIST, "--json").json)

    def failing_job(self, label: str, script: str = "echo what the job wrote > result; exit 1") -> Job:
        """A job that has failed on the runner of that label."""
        job = self.hub.queue_job(label, script, name="test-km", run=RUN)
        assert job.wait() == "failure", job.log
        return job

    def tagged(self, vm: dict[str, Any], **tags: str) -> None:
        """Change a VM's tags by hand: for days that pass in no time."""
        file = self.toolkit.store / "machines" / vm["id"] / "machine.json"
        told = json.loads(file.read_text())
        told["tags"] |= {f"km-{key.replace('_', '-')}": text for key, text in tags.items()}
        file.write_text(json.dumps(told))

    def is_empty(self) -> None:
        """Nothing of any VM is left: no process, no folder, no entry at GitHub."""
        assert self.toolkit.processes() == []
        left = [path.name for path in (self.toolkit.store / "machines").iterdir() if path.name != ".tags"]
        assert left == []
        assert self.hub.runners == []


@dataclass(frozen=True)
class Step:
    ran: Ran
    outputs: dict[str, Any]
    summary: str


def outputs(text: str) -> dict[str, Any]:
    """What a step has put out, as Actions reads it."""
    found, lines = {}, iter(text.splitlines())
    for line in lines:
        name, _, mark = line.partition("<<")
        body = []
        for inner in lines:
            if inner == mark:
                break
            body.append(inner)
        found[name] = json.loads("\n".join(body))
    return found


@pytest.fixture
def ci(built: Built, tmp_path: Path) -> Iterator[Ci]:
    with Hub() as hub:
        toolkit = Toolkit(
            tmp_path / "home",
            {
                **{key: text for key, text in built.toolkit.settings.items() if key.startswith("KM_")},
                **hub.variables,
                "KM_RUNNERS__IMAGE": "MicroImage",
                "KM_RUNNERS__POLL": "0.3",
                "KM_RUNNERS__TIMEOUT": "90s",
            },
        )
        shutil.copytree(built.toolkit.store, toolkit.store)
        yield Ci(hub, toolkit)
        for process in toolkit.processes():
            process.kill()
