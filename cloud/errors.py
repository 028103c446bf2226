"""Everything that this toolkit raises on purpose.

    KitError                1    it failed
    ├── CommandFailed       1    a program that we ran ended badly
    ├── TimedOut            1    something did not happen before its deadline
    ├── DiskFull            1    the disk is full
    ├── InputError          2    bad input, settings or machine: nothing was touched
    │   ├── NotFound        2    what was named is not there
    │   └── MissingTool     2    a program that is needed is not on this machine
    ├── PartlyFailed        3    some of it worked; the table says which
    ├── NotAllowed          4    not logged in, or a right is missing
    ├── TemporaryError      5    the same command may work later
    └── Interrupted         130  the caller stopped it

The number is the exit code. `packer/errors.py` adds what only builds can raise.
An error is one line, what failed and on what; `hint` is what to do now.
"""

from __future__ import annotations


class KitError(Exception):
    """The root: what failed and on what (`message`), and what to do now (`hint`)."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(one_line(message))
        self.hint = one_line(hint)

    @property
    def message(self) -> str:
        """What failed, in one line."""
        return str(self.args[0])


class CommandFailed(KitError):
    """A program ended with something other than 0. `output` holds its last lines."""

    def __init__(self, program: str, code: int, output: tuple[str, ...], *, hint: str = "") -> None:
        last = next((line.strip() for line in reversed(output) if line.strip()), "no output")
        super().__init__(f"{program} ended with {code}: {last}", hint=hint)
        self.code = code
        self.output = output


class TimedOut(KitError):
    """Something did not happen before its deadline."""


class DiskFull(KitError):
    """There is no room left where we write."""


class InputError(KitError):
    """What was typed or set can't be used. Nothing was touched."""

    exit_code = 2


class NotFound(InputError):
    """What was named is not there."""


class MissingTool(InputError):
    """A program that is needed is not on this machine."""


class PartlyFailed(KitError):
    """Some of what was asked for was done, some failed."""

    exit_code = 3


class NotAllowed(KitError):
    """Not logged in, or without a right; the message names it."""

    exit_code = 4


class TemporaryError(KitError):
    """Nothing is wrong on our side: the same command may work later."""

    exit_code = 5


class Interrupted(KitError):
    """The caller stopped us, by a signal."""

    exit_code = 130

    def __init__(self, message: str = "interrupted") -> None:
        super().__init__(message)


def one_line(text: str) -> str:
    """The text on one line: white space as one blank, and nothing that moves a terminal's cursor."""
    return "".join(letter if letter.isprintable() else "?" for letter in " ".join(text.split()))
