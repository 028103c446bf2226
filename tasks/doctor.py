"""Is this machine ready? Every check with what it found and, where that is not good, the cure."""

from __future__ import annotations

from invoke.context import Context

from tasks import _console
from tasks._task import task


@task(help={"json": "print the result as JSON"})
def doctor(c: Context, json: bool = False) -> None:
    """Look at tools, settings, disk and accelerator; name each cure.

    All checks run side by side and none takes longer than its deadline. It ends with 1 when one
    failed; a warning costs speed or a part of the work.

    Example: ./inv doctor
    """
    from cloud.errors import KitError
    from tasks import _checks

    found = _checks.look()
    rows = [vars(finding) for finding in found]
    _console.result(rows, as_json=json, text=_console.table(_COLUMNS, rows, none="nothing to look at"))
    if failed := [finding.name for finding in found if finding.state == "failed"]:
        raise KitError(f"not ready: {', '.join(failed)}", hint="the table has the cure of each")


_COLUMNS = {"name": str, "state": str, "found": str, "cure": str}
