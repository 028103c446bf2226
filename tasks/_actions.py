"""What GitHub Actions reads: outputs, the summary, annotations, groups. Elsewhere all of it does nothing.

"Workflow commands for GitHub Actions" has the forms and the limits: ten errors and ten warnings of a step are
shown, a summary has 1 MiB at the most, and an output that holds a registered secret is dropped without a word.
"""

from __future__ import annotations

import json
import os
import secrets
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from typing import Any

from cloud import names

_SHOWN = 10
_SUMMARY = 1 << 20

_told = {"error": count(1), "warning": count(1)}


def running() -> bool:
    """Whether a workflow's step runs us."""
    return os.environ.get("GITHUB_ACTIONS") == "true"


def run(environment: Mapping[str, str]) -> names.Run | None:
    """The run that a step is part of; None outside of one."""
    wanted = ("GITHUB_REPOSITORY", "GITHUB_WORKFLOW", "GITHUB_RUN_NUMBER", "GITHUB_RUN_ID", "GITHUB_RUN_ATTEMPT")
    told = [environment.get(key, "") for key in wanted]
    repository, workflow, number, run_id, attempt = told
    if not (repository and run_id):
        return None
    return names.Run(repository=repository, workflow=workflow, number=number, id=run_id, attempt=attempt)


def output(name: str, value: Any) -> None:
    """Hand a value to the jobs that need this one."""
    text = json.dumps(value)
    mark = f"km-{secrets.token_hex(8)}"  # nobody who chose a part of the text can know it
    _append("GITHUB_OUTPUT", f"{name}<<{mark}\n{text}\n{mark}\n")


def summary(markdown: str) -> None:
    """Show it on the run's page."""
    _append("GITHUB_STEP_SUMMARY", markdown.encode()[: _SUMMARY - 1].decode(errors="ignore") + "\n")


def warn(title: str, text: str) -> None:
    """Annotate the run."""
    _annotate("warning", title, text)


def fail(title: str, text: str) -> None:
    """Annotate the run."""
    _annotate("error", title, text)


def mask(secret: str) -> None:
    """Keep a secret out of the step's log. Only ever a token: what holds a masked text is dropped from outputs."""
    if running() and secret:
        _command(f"::add-mask::{_data(secret)}")


@contextmanager
def group(title: str) -> Iterator[None]:
    """Fold what is printed meanwhile under the title."""
    if running():
        _command(f"::group::{_data(title)}")
    try:
        yield
    finally:
        if running():
            _command("::endgroup::")


def _annotate(kind: str, title: str, text: str) -> None:
    if running() and next(_told[kind]) <= _SHOWN:
        _command(f"::{kind} title={_property(title)}::{_data(text)}")


def _command(line: str) -> None:
    # On stderr, which the runner reads as well: stdout has results and nothing else.
    print(line, file=sys.stderr, flush=True)


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def _append(variable: str, text: str) -> None:
    path = os.environ.get(variable)
    if path:
        with open(path, "a", encoding="utf-8") as file:
            file.write(text)
