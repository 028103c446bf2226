"""What GitHub Actions reads of us: its forms, its limits, and nothing of it anywhere else."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks import _actions

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))


@pytest.fixture
def step(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A step of a workflow; the folder of its files."""
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_OUTPUT", str(tmp_path / "output"))
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary"))
    monkeypatch.setattr(_actions, "_told", {"error": itertools.count(1), "warning": itertools.count(1)})
    return tmp_path


@given(TEXTS)
def test_an_output_is_read_back_as_it_was_whatever_is_in_it(text: str) -> None:
    value = {"local": text, "ec2": f"{text}\nrun-ons<<x\n"}
    with pytest.MonkeyPatch.context() as patch:
        written: list[str] = []
        patch.setattr(_actions, "_append", lambda _, line: written.append(line))
        _actions.output("run-ons", value)
    head, body, end, *rest = written[0].split("\n")
    name, _, mark = head.partition("<<")
    assert (name, end, rest) == ("run-ons", mark, [""])
    assert json.loads(body) == value


@given(TEXTS, TEXTS)
def test_an_annotation_is_one_line_and_its_title_ends_where_it_should(title: str, text: str) -> None:
    written: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GITHUB_ACTIONS", "true")
        patch.setattr(_actions, "_told", {"error": itertools.count(1), "warning": itertools.count(1)})
        patch.setattr(_actions, "_command", written.append)
        _actions.fail(title, text)
    (line,) = written
    assert "\n" not in line and "\r" not in line
    told = line.removeprefix("::error title=").split("::", 1)
    assert "," not in told[0] and ":" not in told[0]


def test_no_more_than_ten_of_a_kind_are_annotated(step: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(14):
        _actions.warn("x", str(number))
        _actions.fail("x", str(number))
    lines = capsys.readouterr().err.splitlines()
    assert sum(line.startswith("::warning ") for line in lines) == 10
    assert sum(line.startswith("::error ") for line in lines) == 10


def test_a_summary_stays_within_its_mebibyte_and_ends_with_a_whole_letter(step: Path) -> None:
    _actions.summary("ü" * (1 << 20))
    written = (step / "summary").read_bytes()
    assert len(written) <= 1 << 20
    assert set(written.decode()) == {"ü", "\n"}


def test_nothing_is_said_where_no_workflow_runs_us(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for variable in ("GITHUB_ACTIONS", "GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY"):
        monkeypatch.delenv(variable, raising=False)
    _actions.output("run-ons", {})
    _actions.summary("x")
    _actions.fail("x", "y")
    _actions.mask("secret")
    with _actions.group("x"):
        pass
    assert capsys.readouterr() == ("", "")
    assert _actions.run({}) is None


def test_a_run_is_told_by_the_variables_of_its_step() -> None:
    told = {"GITHUB_REPOSITORY": "a/b", "GITHUB_WORKFLOW": "CI", "GITHUB_RUN_NUMBER": "7", "GITHUB_RUN_ID": "4711"}
    run = _actions.run({**told, "GITHUB_RUN_ATTEMPT": "2"})
    assert run is not None
    assert (run.repository, run.workflow, run.number, run.id, run.attempt) == ("a/b", "CI", "7", "4711", "2")
