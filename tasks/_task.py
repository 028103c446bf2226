"""Our `@task`: every error as one line with a hint and an exit code, signals in good order.

Invoke's own decorator names short flags by the order of arguments and lets tracebacks through
(its issues #277 and #946); this one does neither.
"""

from __future__ import annotations

import itertools
import os
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from inspect import signature
from types import FrameType
from typing import Any

from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import Task as InvokeTask

from cloud import process, wait
from cloud.errors import InputError, Interrupted, KitError
from tasks import _bugs

_signals = itertools.count()
"""Tells the first signal from the second. One step of Python: the second one's handler may interrupt the first one's
at any point, before that has done anything."""

BOUND = 8.0
"""Seconds from a signal to our end, whatever hangs: Actions kills a cancelled step after ten."""


_later = ""
"""What becomes of that which the task leaves when it is ended at once."""


class Task(InvokeTask[Any]):
    """A task whose errors are lines."""

    later = ""
    """What becomes of that which it leaves when it is ended at once; empty: it leaves nothing, or says so itself."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the body.

        Raises:
            Exit: with one line and the code of the error that it raised.
        """
        _listen(self.later)
        try:
            return super().__call__(*args, **self._planned(args[0], kwargs))
        except KitError as error:
            raise Exit(_told(error), error.exit_code) from error
        except KeyboardInterrupt as stop:
            raise Exit(_told(Interrupted()), Interrupted.exit_code) from stop
        except ModuleNotFoundError as missing:
            raise Exit(f"error: {missing.name} is not installed\nhint: run ./inv, not inv", 2) from missing
        except (Exit, BrokenPipeError):
            raise  # who reads our output may have had enough: tasks/__main__.py ends well then
        except Exception as bug:
            if _bugs.debugging():
                raise
            raise Exit(_told(_bugs.error(bug)), KitError.exit_code) from bug
        finally:
            if wait.interrupted():
                _deafen()

    def _planned(self, context: Context, wanted: dict[str, Any]) -> dict[str, Any]:
        """Invoke's own `--dry` is our `--plan`; what has no plan does nothing then.

        Raises:
            InputError: the task has no plan.
        """
        if not context.config.run.dry:
            return wanted
        if "plan" not in signature(self.body).parameters:
            raise InputError(f"{self.name} has no plan to show, so --dry did nothing", hint="leave --dry out")
        return {**wanted, "plan": True}


def task(
    *,
    help: Mapping[str, str],
    name: str | None = None,
    positional: Sequence[str] = (),
    iterable: Sequence[str] = (),
    later: str = "",
) -> Callable[[Callable[..., None]], Task]:
    """Make a function a task; `help` has a line for each of its options, `later` what becomes of what it leaves."""

    def wrap(body: Callable[..., None]) -> Task:
        made = Task(body, name, positional=positional, iterable=iterable, auto_shortflags=False, help=dict(help))
        made.later = later
        return made

    return wrap


def _told(error: KitError) -> str:
    hint = [f"hint: {error.hint}"] if error.hint else []
    return "\n".join([f"error: {error.message}", *hint, *getattr(error, "__notes__", [])])


def _listen(later: str = "") -> None:
    """Take SIGINT and SIGTERM. The first ends the work, within a bound; the second leaves it.

    `later`: what becomes of what is left.
    """
    global _signals, _later  # noqa: PLW0603  # a process's signals are its own
    if threading.current_thread() is threading.main_thread():
        _later = later
        wait.resume()
        _signals = itertools.count()
        signal.signal(signal.SIGINT, _interrupted)
        signal.signal(signal.SIGTERM, _interrupted)


def _deafen() -> None:
    """The work has ended, as it was told to: one more signal must not make Python's own end a death by that signal.

    Python gives a signal its default action back before it ends ("Finalization" in its signal module's source), but
    leaves one alone that is ignored. What hangs now the first signal's watchdog ends.
    """
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _interrupted(number: int, frame: FrameType | None) -> None:
    if next(_signals):
        _leave()
    wait.interrupt()
    _say("interrupted: ending what runs; once more to leave it as it is")
    watchdog = threading.Timer(BOUND, _leave)
    watchdog.daemon = True
    watchdog.start()


def _leave() -> None:
    """End this process now. What stays is what `later` tells of."""
    process.kill_all()
    _say(f"left as it is{': ' if _later else ''}{_later}")
    os._exit(Interrupted.exit_code)


def _say(text: str) -> None:
    os.write(2, f"\n{text}\n".encode())  # print is not safe in a signal handler
