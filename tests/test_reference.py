"""docs/cli.md says what the tasks say of themselves."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys

from invoke.parser.context import ParserContext

from tasks import ns
from tests.toolkit import ROOT

PAGE = ROOT / "docs" / "cli.md"

HEAD = """\
# Commands

Made from the tasks themselves by `tests/test_reference.py`; `UPDATE_GOLDEN=1 ./inv test --only reference` makes it
anew. `./inv --list` and `./inv --help NAME` say the same.

Options of a task stand after its name. Before it, `--debug` shows the trace of a bug. Results go to stdout; what
happens meanwhile, and errors, go to stderr.
"""


def section(context: ParserContext) -> str:
    """What there is to say about one task."""
    name = str(context.name)
    text, _, example = inspect.cleandoc(ns[name].__doc__ or "").partition("Example: ")
    positional = {argument.name for argument in context.positional_args}
    rows = [
        f"| `{option}`{', or the word after the task' if option[2:].split('=')[0] in positional else ''} | {means} |"
        for option, means in context.help_tuples()
    ]
    table = ["| option | means |", "| --- | --- |", *rows]
    return "\n".join([f"\n## {name}\n", text.strip(), f"\n```sh\n{example.strip()}\n```\n", *table])


def reference() -> str:
    """The whole page. Once a process: Invoke drops the lines about the options as it reads them."""
    contexts = sorted(ns.to_contexts(), key=lambda context: str(context.name))
    return HEAD + "\n".join(map(section, contexts)) + "\n"


def test_the_reference_is_what_the_tasks_say() -> None:
    """UPDATE_GOLDEN=1 writes it anew; the change is then read in git diff."""
    code = "from tests.test_reference import reference; print(reference(), end='')"
    told = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    if os.environ.get("UPDATE_GOLDEN") == "1":
        PAGE.write_text(told)
    assert PAGE.read_text() == told


def test_every_task_has_an_example() -> None:
    for name in ns.task_names:
        assert "Example: " in (ns[name].__doc__ or ""), name
