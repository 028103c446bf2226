"""Every command that a page shows is run here as it stands, or in a test that is named here.

The ones that run here see a store with two builds, of which the newer one is of today's inputs: nothing has to be
built. The image is the micro image, for the pages' commands do not say which; packer is real.
"""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest

from cloud import errors
from packer import errors as build_errors
from tests.planted import MICRO, plant
from tests.toolkit import ROOT, Ran, Toolkit

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]

OLDER = "1f2e3d"
"""How the older build's name ends: the pages promote it."""

BOTH = "tests/packer/test_side_by_side.py"

RUNNERS = "tests/tasks/test_runners.py"

CLOUDS = "tests/tasks/test_runners_clouds.py"

BOXES = "tests/packer/test_boxes.py"
RELEASES = "tests/tasks/test_release.py"
PUBLISHED = "tests/tasks/test_boxes_catalog.py"

ELSEWHERE = {
    # What builds takes minutes: the tests of the pipeline do it with the micro image.
    "./inv images.l0base --cloud local": (
        "tests/packer/test_pipeline.py",
        'L0BASE = ("images.l0base", "--cloud", "local")',
    ),
    "CI=true ./inv images.l0base --cloud local --json": (
        "tests/conftest.py",
        '("images.l0base", "--cloud", "local", "--json")',
    ),
    # What speaks to a cloud does so where a fake one is.
    "./inv doctor --cloud aws --cloud azure": (BOTH, 'run("doctor", *BOTH'),
    "./inv images.l0base --cloud aws --cloud azure": (BOTH, 'run("images.l0base", *BOTH'),
    "CI=true ./inv images.l0base --cloud aws --cloud azure --json": (BOTH, 'run("images.l0base", *BOTH, "--json"'),
    "./inv images.l0base --cloud aws --cloud azure --no-promote": (BOTH, 'run("images.l0base", *BOTH, "--no-promote"'),
    "./inv images.prune --cloud aws --cloud azure --plan": (BOTH, 'run("images.prune", *BOTH, "--plan")'),
    # VMs that boot, and GitHub as a server, are where runners are tested.
    "./inv runners.start --cloud local": ("tests/ci.py", 'START = ("runners.start", "--cloud", "local")'),
    "./inv runners.start --cloud local --no-register --name mine": (
        RUNNERS,
        '*START, "--no-register", "--name", "mine"',
    ),
    "./inv runners.ssh --cloud local mine": (RUNNERS, '"runners.ssh", "--cloud", "local", "mine"'),
    "./inv runners.stop --cloud local --name mine --destroy": (RUNNERS, '*STOP, "--name", "mine", "--destroy"'),
    "./inv runners.stop --cloud local --run 1f2e3d": (RUNNERS, '*STOP, "--run"'),
    "./inv runners.stop --cloud local --run 1f2e3d --destroy": (RUNNERS, '*STOP, "--run", "1279", "--destroy"'),
    "./inv runners.ssh --cloud local 1f2e3d": (RUNNERS, '"runners.ssh", "--cloud", "local", "1279"'),
    "./inv runners.ssh --cloud local 1f2e3d -- ls /actions-runner/_work": (
        RUNNERS,
        '"1279", "--", "cat /actions-runner/',
    ),
    "./inv runners.resume --cloud local 1f2e3d --for 2h": (
        RUNNERS,
        '"runners.resume", "--cloud", "local", vm["run"], "--for", "2h"',
    ),
    "./inv runners.extend --cloud local 1f2e3d 3d": (RUNNERS, '"runners.extend", "--cloud", "local", vm["run"], "3d"'),
    # Both clouds at once, on fakes of them.
    "./inv runners.setup-network --cloud aws --cloud azure --plan": (
        CLOUDS,
        '"runners.setup-network", *BOTH, "--plan"',
    ),
    "./inv runners.setup-network --cloud aws --cloud azure": (CLOUDS, 'setup("runners.setup-network", *BOTH)'),
    "./inv runners.start --cloud aws --cloud azure": (CLOUDS, 'START = ("runners.start", *BOTH)'),
    "./inv runners.list --cloud aws --cloud azure": (CLOUDS, 'run("runners.list", *BOTH)'),
    "./inv images.list --cloud aws --cloud azure": ("tests/test_workflows.py", '"cleanup.yml", "schedule"'),
    "./inv runners.start --cloud azure --wait-quota 20m": (CLOUDS, '"--cloud", "azure", "--wait-quota", "20m"'),
    "./inv runners.start --cloud azure --evict": (CLOUDS, '"--cloud", "azure", "--evict"'),
    # Boxes are built of the micro guest.
    "./inv boxes.build --os ubuntu-24.04 --product ../km/build --plan": (BOXES, '"--product", str(other), "--plan"'),
    "./inv boxes.build --product ../km/build --plan": (BOXES, '"--product", str(other), "--plan"'),
    "./inv boxes.build --os ubuntu-24.04 --product ../km/build": (BOXES, '"boxes.build", "--os"'),
    "./inv boxes.build --os ubuntu-24.04 --provider libvirt --product ../km/build": (BOXES, '"boxes.build", "--os"'),
    "./inv boxes.test --os ubuntu-24.04 --provider libvirt": (BOXES, 'run("boxes.test"'),
    "./inv boxes.test --os ubuntu-24.04": (BOXES, 'run("boxes.test"'),
    "./inv boxes.register --os ubuntu-24.04": (BOXES, 'run("boxes.register"'),
    # What is published needs boxes and a place for them.
    "./inv boxes.upload --to catalog --version 1.2.3 --plan": (PUBLISHED, 'desk.upload("--plan")'),
    "./inv boxes.upload --to catalog --version 1.2.3": (PUBLISHED, "desk.upload()"),
    "./inv boxes.upload --to vagrant-cloud --version 1.2.3": ("tests/tasks/test_boxes_upload.py", "desk.upload()"),
    "./inv boxes.test-upload --to catalog --os ubuntu-22.04": (
        "tests/tasks/test_boxes_vagrant.py",
        '"boxes.test-upload", "--to", to',
    ),
    # Releases need a product, and servers.
    "./inv release.status --checkout ../km": (RELEASES, "maker.table()"),
    "./inv release.publish --checkout ../km": (RELEASES, 'task="publish"'),
    "./inv release.product --checkout ../km": (RELEASES, 'run("product"'),
    "./inv release.ami --checkout ../km --plan": (RELEASES, 'run("ami", "--plan"'),
    "./inv release.ami --checkout ../km": (RELEASES, 'task="ami"'),
    "./inv release.publish --checkout ../km --final": (RELEASES, '"--final", task="publish"'),
    "./inv release.retire --keep 2 --plan": (RELEASES, '"--keep", "2", "--plan"'),
    "./inv release.retire --plan": (RELEASES, '"--keep", "2", "--plan"'),
    "./inv release.retire --version 0.1.0-edge.20261129.1": (RELEASES, '"retire", "--version"'),
    # A test that ran the tests would not end: CI runs them, and a small suite shows what they do.
    "./inv test": ("tests/tasks/test_test.py", 'inv("test")'),
    "./inv test --all": (".ci/run", "./inv test --all"),
    "./inv test --only lint": ("tests/tasks/test_test.py", 'inv("test", "--only", "lint")'),
    './inv test --only "doctor and not slow"': (
        "tests/tasks/test_test.py",
        'inv("test", "--all", "--only", "good or long")',
    ),
    ".venv/bin/python -m pytest tests/packer/test_render.py": ("tests/packer/test_render.py", "def test_"),
    # These two write what they would compare.
    'UPDATE_GOLDEN=1 ./inv test --only "reference or looked_at"': ("tests/test_reference.py", "UPDATE_GOLDEN"),
    ".venv/bin/python benchmarks/list.py": ("tests/test_benchmarks.py", '"list.py"'),
    ".venv/bin/python benchmarks/nothing_to_do.py": ("tests/test_benchmarks.py", '"nothing_to_do.py"'),
    ".venv/bin/python benchmarks/clouds.py --build": ("tests/test_benchmarks.py", '"clouds.py"'),
    ".venv/bin/python benchmarks/runners.py": ("tests/test_benchmarks.py", '"runners.py"'),
    ".venv/bin/python benchmarks/fleets.py": ("tests/test_benchmarks.py", '"fleets.py"'),
    ".venv/bin/python benchmarks/packing.py": ("tests/test_benchmarks.py", '"packing.py"'),
    ".venv/bin/python benchmarks/upload.py": ("tests/test_benchmarks.py", '"upload.py"'),
    ".venv/bin/python benchmarks/release.py": ("tests/test_benchmarks.py", '"release.py"'),
    ".venv/bin/python benchmarks/build.py": ("tests/test_benchmarks.py", '"build.py"'),
}
"""Commands that are run by other tests: where, and the words by which one finds it there."""

OUTSIDE = {
    "uv pip compile": "asks a registry for versions, which are others tomorrow",
}
"""How commands begin that no test can run, and why."""


def commands() -> list[str]:
    """Every line of every `sh` block, once."""
    block = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)
    blocks = [found for page in PAGES for found in block.findall(page.read_text())]
    return list(dict.fromkeys(line for found in blocks for line in found.splitlines() if line.strip()))


def outside(command: str) -> bool:
    return command.startswith(tuple(OUTSIDE))


HERE = [command for command in commands() if command not in ELSEWHERE and not outside(command)]


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with an older build and the current one."""
    toolkit = Toolkit(tmp_path_factory.mktemp("planted"), MICRO)
    plant(toolkit, OLDER, days_ago=1, fingerprint="0" * 64)
    plant(toolkit, "aaaaaa")
    return toolkit.store


def run(command: str, home: Path) -> Ran:
    """Run the command in an empty folder of the home; what it names in /tmp is there too.

    Raises:
        AssertionError: it has a form that nobody has thought of here.
    """
    words = shlex.split(command)
    variables = {}
    while "=" in words[0]:
        name, _, text = words.pop(0).partition("=")
        variables[name] = text
    assert words[0] == "./inv", f"neither ./inv nor in a table of this test: {command}"
    assert not set("|<>;&$`") & set(command), f"this test is no shell: {command}"
    folder = home / "folder"
    folder.mkdir()
    here = [re.sub(r"^/tmp(?=/)", str(folder), word) for word in words[1:]]
    return Toolkit(home, {**MICRO, **variables}).run(*here, prefix=("env", f"--chdir={folder}"))


@pytest.mark.parametrize("command", HERE)
def test_a_command_of_the_pages_does_what_it_is_shown_for(command: str, planted: Path, tmp_path: Path) -> None:
    shutil.copytree(planted, tmp_path / "store")
    ran = run(command, tmp_path)
    assert ran.code == 0, f"{ran.err}\n{Toolkit(tmp_path).log()}"
    assert "error" not in ran.err


def test_a_command_that_is_not_there_would_be_found(planted: Path, tmp_path: Path) -> None:
    shutil.copytree(planted, tmp_path / "store")
    assert run("./inv runners.dance --cloud local", tmp_path).code == 2
    with pytest.raises(AssertionError, match="nor in a table"):
        run("make image", tmp_path)


@pytest.mark.parametrize("command", ELSEWHERE)
def test_a_command_that_is_run_elsewhere_is_run_there(command: str) -> None:
    file, words = ELSEWHERE[command]
    assert command in commands(), "no page shows it any more"
    assert words in (ROOT / file).read_text()


def test_the_pages_have_a_command_for_every_reason_not_to_run_one() -> None:
    assert all(any(command.startswith(start) for command in commands()) for start in OUTSIDE)


def test_the_table_of_exit_codes_is_that_of_the_errors() -> None:
    every = [kind for module in (errors, build_errors) for kind in vars(module).values() if isinstance(kind, type)]
    codes = {kind.exit_code for kind in every if issubclass(kind, errors.KitError)}
    told = re.findall(r"^\| (\d+) \| \w", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert set(map(int, told)) == codes | {0}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_what_is_there(page: Path) -> None:
    links = re.findall(r"\]\((?!https?://)([^)#]+)", page.read_text())
    assert all((page.parent / link).exists() for link in links), links


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_has_lines_that_one_can_read(page: Path) -> None:
    block = False
    for line in page.read_text().splitlines():
        block ^= line.startswith("```")
        assert len(line) <= 120 or block or line.startswith("|"), line
