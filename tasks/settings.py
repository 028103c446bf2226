"""Settings, as they are in force."""

from __future__ import annotations

from collections.abc import Callable
from json import dumps
from typing import Any

from invoke.context import Context

from tasks import _console
from tasks._task import task


@task(help={"json": "print the result as JSON"})
def settings(c: Context, json: bool = False) -> None:
    """Show every setting, its value and where that comes from.

    An address is shown without what gives access to it.

    Example: KM_LOCAL__CPUS=4 ./inv settings
    """
    from cloud.local.download import public
    from tasks import _settings

    def shown(value: Any) -> Any:
        return public(value) if isinstance(value, str) and "://" in value else value

    rows = [{**vars(each), "value": shown(each.value)} for each in _settings.origins()]
    _console.result(rows, as_json=json, text=_console.table(_COLUMNS, rows, none="no settings"))


_COLUMNS: dict[str, Callable[[Any], str]] = {"name": str, "value": dumps, "origin": str}
