"""What ./inv runs: Invoke with our tasks, from whatever folder, and its refusals in our form."""

from __future__ import annotations

import os
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from invoke.exceptions import Exit, ParseError
from invoke.program import Program

from tasks import ns


class Toolkit(Program):
    """Invoke's own program but for three things: refusals, the version, and bytecode."""

    def create_config(self) -> None:
        """Read Invoke's own configuration of this user."""
        with _refusing():
            super().create_config()

    def parse_core(self, argv: list[str] | None) -> None:
        """Read what stands before the first task. Bytecode stays on: our modules are compiled once."""
        without_bytecode = sys.dont_write_bytecode
        with _refusing():
            super().parse_core(argv)
        sys.dont_write_bytecode = without_bytecode

    def print_version(self) -> None:
        """Print the name and the version that pyproject.toml tells."""
        project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
        print(project["name"], project["version"])

    def parse_tasks(self) -> None:
        """Read the tasks and their options."""
        with _refusing():
            super().parse_tasks()

    def parse_cleanup(self) -> None:
        """Do what is no task: list, help, complete."""
        with _refusing():
            if self.args["list-format"].value not in ("flat", "nested", "json"):
                raise ParseError("--list-format is flat, nested or json")
            super().parse_cleanup()

    def update_config(self, merge: bool = True) -> None:
        """Add what the options say to the configuration."""
        with _refusing():
            super().update_config(merge)


@contextmanager
def _refusing() -> Iterator[None]:
    """Before a task runs, what goes wrong is bad input: 2 and two lines, not 1 or a traceback."""
    try:
        yield
    except BrokenPipeError:
        raise
    except Exception as problem:
        message = problem.message if isinstance(problem, Exit) else str(problem)
        if message is None:  # an Exit that says nothing is a good end: --list, --help
            raise
        raise Exit(f"error: {' '.join(message.split())}\nhint: ./inv --list, or ./inv --help TASK", 2) from problem


def main() -> None:
    """Run what the arguments say, and end the process."""
    os.environ.pop("PYTHONPATH", None)  # the wrapper's, for us: not for the programs that we run
    try:
        try:
            Toolkit(namespace=ns, binary="inv", binary_names=["inv"]).run()
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        # Who reads, `| head`, has enough. Python must find nothing to flush when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


if __name__ == "__main__":
    main()
