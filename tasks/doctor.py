"""Is this machine ready? Every check with what it found and, where that is not good, the cure."""

from __future__ import annotations

from invoke.context import Context

from tasks import _console
from tasks._task import task


@task(
    iterable=["cloud"],
    help={
        "cloud": "a cloud to log into: aws or azure; may be repeated. Without it the setting images.clouds",
        "json": "print the result as JSON",
    },
)
def doctor(c: Context, cloud: list[str], json: bool = False) -> None:
    """Look at tools, settings, disk, accelerator and clouds; name each cure.

    All checks run side by side and none takes longer than its deadline. It ends with 1 when one
    failed; a warning costs speed or a part of the work. A cloud is asked who we are and whether we
    may look at images.

    Example: ./inv doctor --cloud aws --cloud azure
    """
    from cloud.errors import KitError
    from tasks import _checks

    found = _checks.look(cloud)
    rows = [vars(finding) for finding in found]
    _console.result(rows, as_json=json, text=_console.table(_COLUMNS, rows, none="nothing to look at"))
    if failed := [finding.name for finding in found if finding.state == "failed"]:
        raise KitError(f"not ready: {', '.join(failed)}", hint="the table has the cure of each")


_COLUMNS = {"name": str, "state": str, "found": str, "cure": str}
