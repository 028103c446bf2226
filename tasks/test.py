"""The project's own tests."""

from __future__ import annotations

from invoke.context import Context

from tasks._task import task


@task(
    help={
        "all": "the long matrices too",
        "only": "lint: all but pytest; anything else: the tests that fit, as pytest -k has it",
        "yes": "install missing system packages without asking",
    }
)
def test(c: Context, all: bool = False, only: str = "", yes: bool = False) -> None:
    """Run lint, types, layout and tests; all of them, whatever fails.

    What a person's machine lacks is left out and named; in CI it is a failure.

    Example: ./inv test --only "doctor and not slow"
    """
    from invoke.exceptions import Exit

    from tasks import _suite

    if failed := _suite.run(everything=all, only=only, yes=yes):
        # Without a word: pytest's own closing line is the last one.
        raise Exit(code=failed)
