"""What no code of ours foresaw: one line for people, the traceback for who asks for it."""

from __future__ import annotations

import os
import sys
import traceback

from cloud.errors import KitError


def error(bug: Exception) -> KitError:
    """The bug as an error that can be told beside others. With --debug its traceback is shown now."""
    if debugging():
        traceback.print_exception(bug)
    where = traceback.extract_tb(bug.__traceback__)[-1]
    told = f"a bug of ours at {os.path.basename(where.filename)}:{where.lineno}: {type(bug).__name__}: {bug}"
    return KitError(told, hint="--debug shows all; please report it")


def debugging() -> bool:
    """Whether the caller wants to see all."""
    return "--debug" in sys.argv or "-d" in sys.argv or bool(os.environ.get("INVOKE_DEBUG"))
