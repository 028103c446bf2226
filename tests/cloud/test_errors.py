"""Errors: one line each, a code each, as the README's table says."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import packer.errors
from cloud import errors
from cloud.errors import CommandFailed, Interrupted, KitError

CODES = {
    "KitError": 1,
    "CommandFailed": 1,
    "TimedOut": 1,
    "DiskFull": 1,
    "InputError": 2,
    "NotFound": 2,
    "MissingTool": 2,
    "PartlyFailed": 3,
    "NotAllowed": 4,
    "TemporaryError": 5,
    "Interrupted": 130,
    "BuildFailed": 1,
    "Stalled": 1,
    "ProofFailed": 1,
}


def all_kinds(kind: type[KitError] = KitError) -> list[type[KitError]]:
    """The class and all below it that we define."""
    ours = [below for below in kind.__subclasses__() if below.__module__ in ("cloud.errors", "packer.errors")]
    return [kind, *(each for below in ours for each in all_kinds(below))]


def test_every_error_has_its_documented_exit_code() -> None:
    assert {kind.__name__: kind.exit_code for kind in all_kinds()} == CODES


@pytest.mark.parametrize("module", [errors, packer.errors])
def test_the_drawing_in_the_docstring_is_the_tree(module: object) -> None:
    drawn = dict(re.findall(r"[├└]── (\w+)\s+(\d+)", module.__doc__ or ""))
    defined = {kind.__name__: kind for kind in all_kinds() if kind.__module__ == getattr(module, "__name__", "")}
    defined.pop("KitError", None)
    assert {name: int(code) for name, code in drawn.items()} == {name: kind.exit_code for name, kind in defined.items()}


texts = st.text() | st.text(" \t\r\n\v\f\x1c\x1d\x1e\x1f\x85\u2028\u2029ab")


@given(texts, texts)
@example("two\nlines", "a\u2028hint")
def test_an_error_is_one_line_and_so_is_its_hint(message: str, hint: str) -> None:
    for kind in all_kinds():
        if kind not in (CommandFailed, Interrupted):
            error = kind(message, hint=hint)
            assert len(error.message.splitlines()) <= 1 and len(error.hint.splitlines()) <= 1
            assert error.message.split() == shown(message).split() and str(error) == error.message
            assert error.message.isprintable() and error.hint.isprintable()


def shown(text: str) -> str:
    """The text without what would move a terminal's cursor."""
    return "".join(letter if letter.isprintable() or letter.isspace() else "?" for letter in text)


@given(st.lists(texts, max_size=4), st.integers(-64, 255))
def test_a_command_that_failed_tells_its_code_and_its_last_words_in_one_line(output: list[str], code: int) -> None:
    error = CommandFailed("packer", code, tuple(output))
    assert len(error.message.splitlines()) == 1
    assert error.message.startswith(f"packer ended with {code}: ")
    said = [" ".join(shown(line).split()) for line in output if line.strip()]
    assert error.message.endswith(said[-1] if said else "no output")
    assert error.output == tuple(output)
