"""The workflows, run by act: against both clouds and GitHub on paper, by the toolkit's own commands.

act is not GitHub in some points that matter here: a called workflow's own name is `github.workflow` in it, nobody
tells it `job.workflow_sha`, what it puts out comes no further than its caller, and a step's summary goes with the step.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from cloud import names
from tasks import _suite
from tests import act
from tests.fakes.github import REPOSITORY
from tests.planted import MICRO, plant
from tests.toolkit import ROOT, Toolkit, eventually
from tests.world import CLOUDS, World, named, worlds

EXAMPLES = ROOT / ".github/examples"
OURS = {path.name: path for path in sorted((ROOT / ".github").glob("[wa]*s/**/*.yml"))}
"""Workflows and the action."""
THEIRS = {path.name: path for path in sorted(EXAMPLES.iterdir())}
"""What a caller has."""

SECRETS = ("GH_TOKEN", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "SP_TENANT", "SP_APPID", "SP_PASSWORD")
NOBODY = "0" * 40
"""The commit that the examples name."""


def read(file: Path) -> dict[Any, Any]:
    return dict(yaml.safe_load(file.read_text()))


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("workflows")


@pytest.fixture(scope="module")
def commit(space: Path) -> str:
    """The toolkit is in `tree`, at this commit."""
    (space / "tree").mkdir()
    return act.toolkit(space / "tree")


@pytest.fixture(scope="module")
def shared(space: Path) -> Iterator[World]:
    """One world for all: each run has a number of its own."""
    with pytest.MonkeyPatch.context() as patched:
        for variable in list(os.environ):
            if variable.startswith(("KM_", "AWS_", "GH_", "GITHUB_", "SP_")) or variable.lower().endswith("_proxy"):
                patched.delenv(variable)
        (space / "world").mkdir()
        with worlds(space / "world") as made:
            yield made


@pytest.fixture
def world(shared: World) -> Iterator[World]:
    """The same, in which nothing was refused that our rights should allow."""
    yield shared
    shared.player.broken.clear()
    for run in {str(vm["run"]) for vm in shared.vms()}:
        ran = shared.run("runners.stop", *named(*CLOUDS), "--run", run, "--destroy")
        assert ran.code == 0, ran.err
    assert shared.ec2.refused == [] and shared.arm.refused == []


def caller(folder: Path, commit: str, change: tuple[str, str] = ("", ""), ended: str = "", role: str = "") -> Path:
    """A repository with the example's pipeline: the wrappers' jobs stand in it themselves, with the toolkit's commit.

    act hands nothing through two workflows that are called, and does not tell the called one its commit. Nor does it
    go on when a called one failed or was cancelled: with `ended`, how the start ended, only what GitHub does then.
    """
    pipeline = yaml.safe_load((EXAMPLES / "pipeline.yml").read_text().replace(*change))
    pipeline["on"] = pipeline.pop(True)  # as YAML 1.1 reads `on`
    for what in ("start", "stop"):
        job = pipeline["jobs"][what]
        wrapper = read(THEIRS[job["uses"].removeprefix("./.github/workflows/")])["jobs"][what]
        told = {key: text for key, text in wrapper["with"].items() if "inputs." not in text} | job.get("with", {})
        assert set(told) == set(wrapper["with"])
        told |= {"toolkit-repository": act.TOOLKIT, "toolkit-ref": commit} if commit else {}
        told |= {"aws-role": role} if role else {}
        pipeline["jobs"][what] = job | wrapper | {"with": told}
    if ended:
        stop = {key: part for key, part in pipeline["jobs"]["stop"].items() if key != "needs"}
        stop["with"]["dependencies"] = json.dumps({"start": {"result": ended, "outputs": {}}})
        pipeline["jobs"] = {"stop": stop}
    (folder / ".github/workflows").mkdir(parents=True)
    (folder / ".github/workflows/pipeline.yml").write_text(yaml.safe_dump(pipeline, sort_keys=False))
    act.repository(folder, REPOSITORY)
    return folder


def runs(world: World, space: Path, home: Path, commit: str, number: str, **event: Any) -> act.Runs:
    """A run of that number in that world."""
    workflow = "start-cloud-runners"
    run = names.Run(repository=REPOSITORY, workflow=workflow, number=number, id=number, attempt="1")
    variables = {key: text for key, text in world.settings.items() if key not in (*SECRETS, "CI", "HOME")}
    return act.Runs(
        home / "act",
        space / "tree",
        commit,
        at=NOBODY,
        environment={**variables, "HOME": str(home), "GITHUB_RUN_ID": number, "GITHUB_RUN_NUMBER": number},
        secrets={key: world.settings[key] for key in SECRETS},
        labels=tuple(names.label(cloud, run) for cloud in CLOUDS),
        event={"repository": {"full_name": REPOSITORY}, **event},
    )


JOBS = ("Start cloud runners", "test-ec2", "test-azure", "Stop cloud runners")


class TestAPipeline:
    def test_that_goes_well_has_its_jobs_on_both_clouds_and_leaves_nothing(
        self, world: World, space: Path, commit: str, tmp_path: Path
    ) -> None:
        # On AWS as a role, without secrets; on Azure with them.
        run = runs(world, space, tmp_path, commit, "11")
        keys = [run.secrets[key] for key in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")]
        role = dict(zip(("OIDC_ROLE", "OIDC_KEY", "OIDC_SECRET"), ("arn:aws:iam::1:role/ci", *keys), strict=True))
        run = dataclasses.replace(
            run,
            environment={**run.environment, **role},
            secrets={key: text for key, text in run.secrets.items() if not key.startswith("AWS_")},
        )
        ended = run.run(caller(tmp_path / "km", commit, role=role["OIDC_ROLE"]), "pipeline.yml", "push")
        assert ended.code == 0, ended.said
        assert [ended.result(job) for job in JOBS] == ["success"] * 4, ended.said
        assert ended.said.count("| tests on ") == 2
        assert world.there("11") == [] and world.hub.runners == []

    @pytest.mark.matrix
    def test_whose_job_fails_on_one_cloud_where_the_other_has_no_room_keeps_that_vm(
        self, world: World, space: Path, commit: str, tmp_path: Path
    ) -> None:
        here = caller(tmp_path / "km", commit, ('echo "tests on $(hostname)"', "exit 7"))
        quota = "exceeding approved Total Regional Cores quota. Current Limit: 50, Current Usage: 50"
        world.arm.fails("Microsoft.Compute/virtualMachines/write", "OperationNotAllowed", 409, times=9, message=quota)
        ended = runs(world, space, tmp_path, commit, "12").run(here, "pipeline.yml", "push")
        assert ended.code != 0
        assert [ended.result(job) for job in JOBS] == ["success", "failure", "skipped", "success"], ended.said
        (vm,) = world.there("12")
        assert (vm["cloud"], vm["state"], vm[names.KEPT]) == ("aws", "stopped", "needs: test-ec2 failed")

    @pytest.mark.matrix
    def test_that_is_cancelled_leaves_nothing_after_its_stop(
        self, world: World, space: Path, commit: str, tmp_path: Path
    ) -> None:
        world.player.broken = {"runner"}
        run = runs(world, space, tmp_path, commit, "13")
        with run.begin(caller(tmp_path / "km", commit), "pipeline.yml", "push") as begun:
            eventually(lambda: len(world.there("13")) == 2 or begun.poll() is not None, "two VMs that boot", 240)
            assert len(world.there("13")) == 2
            os.killpg(begun.pid, signal.SIGINT)
            begun.communicate(timeout=60)
        assert begun.returncode != 0
        ended = run.run(caller(tmp_path / "then", commit, ended="cancelled"), "pipeline.yml", "push")
        assert ended.result("Stop cloud runners") == "success", ended.said
        assert world.there("13") == [], ended.said

    def test_of_a_fork_is_refused_with_the_reason(self, world: World, space: Path, commit: str, tmp_path: Path) -> None:
        asked = len(world.hub.calls)
        head = {"head": {"repo": {"full_name": "stranger/km"}}, "user": {"login": "stranger"}}
        run = runs(world, space, tmp_path, commit, "14", pull_request=head)
        ended = run.run(caller(tmp_path / "km", commit), "pipeline.yml", "pull_request")
        assert ended.code != 0
        assert [ended.result(job) for job in JOBS[:3]] == ["failure", "skipped", "skipped"], ended.said
        assert "A pull request from a fork gets no VMs" in ended.said
        then = run.run(caller(tmp_path / "then", commit, ended="failure"), "pipeline.yml", "pull_request")
        assert then.code == 0 and then.result("Stop cloud runners") == "success", then.said
        assert len(world.hub.calls) == asked and world.there("14") == []

    def test_of_dependabot_has_no_runners_and_is_no_failure(
        self, world: World, space: Path, commit: str, tmp_path: Path
    ) -> None:
        run = dataclasses.replace(runs(world, space, tmp_path, commit, "15"), actor="dependabot[bot]", secrets={})
        ended = run.run(caller(tmp_path / "km", commit), "pipeline.yml", "push")
        assert ended.code == 0, ended.said
        assert [ended.result(job) for job in JOBS] == ["success", "skipped", "skipped", "success"], ended.said
        assert "Dependabot has no secrets" in ended.said

    def test_on_a_server_that_does_not_tell_the_toolkits_commit_says_what_to_set(
        self, world: World, space: Path, commit: str, tmp_path: Path
    ) -> None:
        ended = runs(world, space, tmp_path, commit, "16").run(caller(tmp_path / "km", ""), "pipeline.yml", "push")
        assert ended.code != 0 and "set toolkit-repository and toolkit-ref" in ended.said
        assert ended.result("test-ec2") == "skipped"


def seen(tree: Path, folder: Path) -> tuple[Path, Path]:
    """The toolkit's own repository, and the file in which the summaries of its steps are afterwards."""
    summary = folder / "summary.md"
    subprocess.run(["cp", "-a", tree, folder / "own"], check=True)
    for file in (folder / "own/.github/workflows").iterdir():
        look = f'\\1; code=$?; cat "$GITHUB_STEP_SUMMARY" >> {summary}; exit $code'
        file.write_text(re.sub(r"(?<=run: )exec (.*)", look, file.read_text()))
    act.git(folder / "own", "commit", "-qam", "summaries that stay")
    return folder / "own", summary


@pytest.mark.matrix
def test_the_clean_up_reaps_what_is_over_and_shows_the_fleet(
    world: World, space: Path, commit: str, tmp_path: Path
) -> None:
    for run, *words in (
        ("2001", "runners.start", *named(*CLOUDS), "--require", "all"),
        ("2001", "runners.stop", *named(*CLOUDS), "--keep"),
        ("2002", "runners.start", "--cloud", "aws"),
    ):
        ran, _ = world.step(*words, run=run)
        assert ran.code == 0, ran.err
    over = next(vm for vm in world.there("2001") if vm["cloud"] == "aws")
    world.ec2.mark(over["id"], **{names.EXPIRES: names.moment(datetime.now(UTC) - timedelta(days=1))})
    own, summary = seen(space / "tree", tmp_path)
    asked = len(world.hub.calls)
    job = dataclasses.replace(runs(world, space, tmp_path, commit, "17"), at="")
    images = {"KM_IMAGES__DEFINITION": MICRO["KM_IMAGES__DEFINITION"]}
    ended = dataclasses.replace(job, environment={**job.environment, **images}).run(own, "cleanup.yml", "schedule")
    assert ended.code == 0, ended.said
    assert [vm["cloud"] for vm in world.there("2001")] == ["azure"]
    assert len(world.there("2002")) == 1
    # The runners' repository was asked, and not the one that the workflow is in.
    assert {path.partition("/actions")[0] for _, path in world.hub.calls[asked:]} == {f"/repos/{REPOSITORY}"}
    told = summary.read_text()
    assert f"| aws | erase | {over['id']} |" in told
    assert "### VMs: 2 (1 running, 1 stopped)" in told
    assert re.search(r"\| azure-runner-\S+ \| azure \| stopped \|.*\| in [67] d \| asked for by --keep \|", told), told
    assert re.search(r"^- azure: `█*▒+░+` \d+ of \d+ .* by kept VMs; room for \d+ more runners$", told, re.MULTILINE), (
        told
    )
    assert len(re.findall(r"\| MicroImage-\S+ \| (aws|azure) \| promoted \| current \|", told)) == 2, told


@pytest.mark.matrix
def test_the_weekly_build_has_nothing_to_do_where_nothing_has_changed(space: Path, commit: str, tmp_path: Path) -> None:
    toolkit = Toolkit(tmp_path / "home", MICRO)
    build = plant(toolkit, "aaaaaa").build
    own, summary = seen(space / "tree", tmp_path)
    told = {key: text for key, text in toolkit.environment.items() if key not in ("PYTHONPATH", "PATH", "CI")}
    run = act.Runs(tmp_path / "act", space / "tree", commit, environment=told, variables={"CLOUDS": "local"})
    ended = run.run(own, "l0base.yml", "schedule")
    assert ended.code == 0, ended.said
    assert "MicroImage on local is up to date" in ended.said
    assert f"| {build} | local | promoted | current |" in summary.read_text()


def test_ci_runs_the_one_script_that_runs_everything(space: Path, commit: str, tmp_path: Path) -> None:
    own, _ = seen(space / "tree", tmp_path)
    (own / "inv").write_text('#!/bin/sh\necho "CI=$CI: ./inv $*"\n')
    ended = act.Runs(tmp_path / "act", space / "tree", commit).run(own, "ci.yml", "pull_request")
    assert ended.code == 0 and "CI=true: ./inv test --all" in ended.said, ended.said


def steps(name: str) -> Iterator[dict[str, Any]]:
    """All steps of a workflow, or of the action."""
    told = read(OURS[name])
    for job in (told["runs"],) if "runs" in told else told["jobs"].values():
        yield from job.get("steps", ())


FLOWS = [*THEIRS.values(), *(path for path in OURS.values() if path.name != "action.yml")]


def test_defect_4_what_starts_runners_is_guarded_as_what_stops_them() -> None:
    start, stop = (next(steps(f"{what}-cloud-runners.yml")) for what in ("start", "stop"))
    assert start == stop and start["id"] == "guard"
    # A re-run has another triggering actor, and is of the same change.
    assert not [name for name, file in OURS.items() if "triggering_actor" in file.read_text()]
    for what in ("start", "stop"):
        for step in list(steps(f"{what}-cloud-runners.yml"))[1:]:
            assert "steps.guard.outputs.refused" in step["if"], step


@pytest.mark.parametrize("file", FLOWS, ids=lambda file: f"{file.parent.name}-{file.name}")
def test_defect_8_jobs_run_where_there_are_runners(file: Path) -> None:
    # Which images GitHub has, and which it had, actionlint knows: see the faults that are found.
    places = {job["runs-on"] for job in read(file)["jobs"].values() if "runs-on" in job}
    named = (read(file)[True].get("workflow_call") or {}).get("inputs", {})
    assert named.get("runs-on", {"default": "ubuntu-24.04"})["default"] == "ubuntu-24.04"
    known = ("needs.start.outputs.run-ons", "inputs.runs-on")
    assert all(place == "ubuntu-24.04" or any(word in place for word in known) for place in places)


@pytest.mark.parametrize("name", OURS)
def test_defect_32_actions_are_those_of_a_commit_that_somebody_has_looked_at(name: str) -> None:
    used = re.findall(r"uses: (.*)", OURS[name].read_text())
    assert all(re.fullmatch(r"\./\S+|[\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", each) for each in used), used


@pytest.mark.parametrize("file", FLOWS, ids=lambda file: f"{file.parent.name}-{file.name}")
def test_a_workflow_may_do_no_more_than_it_has_to(file: Path) -> None:
    assert read(file)["permissions"] == {}
    releases = file.name == "release.yml"
    for job in read(file)["jobs"].values():
        allowed = {("contents", "write" if releases else "read"), ("id-token", "write")}
        assert set(job["permissions"].items()) <= allowed
        # GitHub ends what takes longer than six hours by itself, and says less.
        assert "uses" in job or job["timeout-minutes"] <= (359 if releases else 180)


@pytest.mark.parametrize("name", OURS)
def test_nothing_that_somebody_wrote_comes_into_a_shell_line(name: str) -> None:
    lines = [step["run"] for step in steps(name) if "run" in step]
    assert lines and not [line for line in lines if "${{" in line]


@pytest.mark.parametrize("name", OURS)
def test_a_cancelled_steps_signal_reaches_the_toolkit(name: str) -> None:
    called = [step["run"] for step in steps(name) if "./inv" in step.get("run", "") or ".ci/run" in step.get("run", "")]
    assert all(re.match(r"exec ", line.splitlines()[-1]) or line.startswith("exec ") for line in called), called


def test_workflows_of_ours_that_change_something_do_so_one_after_the_other() -> None:
    for name in ("cleanup.yml", "l0base.yml"):
        assert read(OURS[name])["concurrency"]["cancel-in-progress"] is False
    assert read(OURS["release.yml"])["jobs"]["release"]["concurrency"]["cancel-in-progress"] is False


@pytest.mark.parametrize(
    ("ref", "tag"),
    [
        ("v1.2.3-rc.1", "v1.2.3-rc.1"),
        ("refs/tags/v1.2.3", "v1.2.3"),
        ("refs/heads/v1.2.3", ""),
        ("refs/tags/nightly", ""),
        ("vnext", ""),
        ("refs/heads/master", ""),
        ("5f" * 20, ""),
        ('v1"; echo oh', 'v1"; echo oh'),
    ],
)
def test_a_release_is_of_the_tag_that_was_asked_for(ref: str, tag: str, tmp_path: Path) -> None:
    """Another one may be at that commit too."""
    (tmp_path / "inv").write_text('#!/bin/sh\nprintf "%s" "$RELEASE_TAG"\n')
    (tmp_path / "inv").chmod(0o755)
    (publish,) = [step for step in steps("release.yml") if step.get("name") == "Publish"]
    assert publish["env"]["REF"] == "${{ inputs.ref || github.ref }}"
    told = {"PATH": os.environ["PATH"], "REF": ref, "PIECES": "github", "FINAL": ""}
    said = subprocess.check_output(["bash", "-e", "-c", publish["run"]], cwd=tmp_path, env=told, text=True)
    assert said == tag


def test_a_login_lasts_as_long_as_a_caller_says() -> None:
    """Else what takes longer than an hour outlives it."""
    assert read(OURS["release.yml"])[True]["workflow_call"]["inputs"]["aws-role-seconds"]["default"] == 3600
    told = {
        name: [step["with"]["aws-role-seconds"] for step in steps(name) if "aws-role-seconds" in step.get("with", {})]
        for name in ("release.yml", "l0base.yml")
    }
    assert told == {
        "release.yml": ["${{ inputs.aws-role-seconds }}"],
        "l0base.yml": ["${{ vars.AWS_ROLE_SECONDS || '3600' }}"],
    }
    (login,) = [step for step in steps("action.yml") if "aws-actions" in step.get("uses", "")]
    assert login["with"]["role-duration-seconds"] == "${{ inputs.aws-role-seconds }}"


@pytest.mark.parametrize(
    ("check", "text", "fault"),
    [
        pytest.param("actionlint", "runs-on: ubuntu-24.04", "runs-on: ubuntu-20.04", id="defect 8"),
        pytest.param("zizmor", "@3d3c42e5aac5ba805825da76410c181273ba90b1 # v7.0.1", "@v7", id="defect 32"),
        pytest.param("actionlint", "exec ./inv runners.stop", "echo ${{ github.head_ref }}", id="a stranger's text"),
        pytest.param("zizmor", "exec ./inv runners.stop", "echo ${{ inputs.keep-for }}", id="a caller's text"),
        pytest.param("actionlint", "inputs.keep-for", "inputs.keepfor", id="an input that is none"),
        pytest.param("workflow schema", "timeout-minutes: 30", "timeout-minutes: soon", id="a time that is none"),
    ],
)
def test_a_fault_in_a_workflow_is_found_by_the_checks(check: str, text: str, fault: str, tmp_path: Path) -> None:
    good = OURS["stop-cloud-runners.yml"].read_text()
    assert text in good
    (tmp_path / ".github/workflows").mkdir(parents=True)
    file = tmp_path / ".github/workflows/stop-cloud-runners.yml"
    shutil.copy(ROOT / ".github/zizmor.yml", tmp_path / ".github")
    program = [str(word) for word in _suite.CHECKS[check] if not str(word).startswith(".github")]
    program += [".github" if check == "zizmor" else str(file)]
    for told, code in ((good, 0), (good.replace(text, fault), 1)):
        file.write_text(told)
        ran = subprocess.run(program, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert (ran.returncode != 0) == code, ran.stdout + ran.stderr
