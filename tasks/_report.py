"""What a start tells Actions, and people, when it ends: a row for each cloud, whatever happens."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from cloud import names
from cloud.errors import KitError
from tasks import _actions, _clouds, _console

if TYPE_CHECKING:
    from cloud.runners import Plan, Started

WORDS = {"aws": "ec2"}
"""What CI calls a cloud, where that is another word than ours: the keys of `run-ons`."""


def word(cloud: str) -> str:
    """What CI calls the cloud."""
    return WORDS.get(cloud, cloud)


STATUS_COLUMNS: dict[str, Callable[[Any], str]] = {
    "cloud": str,
    "state": str,
    "label": str,
    "id": str,
    "address": str,
    "reason": str,
}


def markdown(columns: Mapping[str, Callable[[Any], str]], rows: Sequence[_console.Row]) -> str:
    """The rows as a table of Markdown."""

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"

    head = [line(list(columns)), line(["---"] * len(columns))]
    return "\n".join([*head, *(line([written(row[key]) for key, written in columns.items()]) for row in rows)])


_NOT_YET = "it was not come to"


class Report:
    """What became of a start on each cloud, told when it ends, however it ends."""

    def __init__(self) -> None:
        self._rows: dict[str, dict[str, Any]] = {}

    def clouds(self, wanted: Sequence[str]) -> None:
        """These clouds are asked for: each has a row from now on."""
        empty = {"state": "failed", "label": "", "id": "", "address": "", "reason": _NOT_YET}
        self._rows = {each: {"cloud": each, **empty} for each in wanted}

    def stopped(self, error: KitError) -> None:
        """Note why it was not come to what there is no word of."""
        for row in self._rows.values():
            if row["reason"] == _NOT_YET:
                row["reason"] = error.message

    def planned(self, answers: Sequence[_clouds.Answer[Plan]]) -> None:
        """Note on which clouds it can't begin."""
        for answer in answers:
            if answer.error:
                self._rows[answer.cloud.name]["reason"] = answer.error.message

    def started(self, answers: Sequence[_clouds.Answer[Started]]) -> None:
        """Note how it ended on each cloud."""
        for answer in answers:
            row = self._rows[answer.cloud.name]
            if answer.error:
                row["reason"] = answer.error.message
            elif answer.value:
                vm = answer.value.vm
                row |= {"state": "ready", "label": answer.value.label, "reason": ""}
                row |= {"id": vm.id, "address": vm.address, "expires": vm.tags.get(names.EXPIRES, "")}
                row |= {"seconds": {step: round(took, 1) for step, took in answer.value.seconds.items()}}

    def outputs(self) -> dict[str, Any]:
        """What other jobs get: the label of each cloud's runner, empty where there is none; and the whole story."""
        told = {word(cloud): {key: row[key] for key in row if key != "cloud"} for cloud, row in self._rows.items()}
        return {"run-ons": {word(cloud): row["label"] for cloud, row in self._rows.items()}, "status": told}

    def text(self) -> str:
        """The same for people."""
        return _console.table(STATUS_COLUMNS, list(self._rows.values()), none="")

    def write(self) -> None:
        """Tell Actions."""
        for name, value in self.outputs().items():
            _actions.output(name, value)
        rows = list(self._rows.values())
        ready = any(row["state"] == "ready" for row in rows)
        for row in rows:
            if row["state"] != "ready":
                (_actions.warn if ready else _actions.fail)(f"no runner on {row['cloud']}", row["reason"])
        if rows:
            _actions.summary("### Runners\n\n" + markdown(STATUS_COLUMNS, rows))


@contextmanager
def reported(named: Sequence[str]) -> Iterator[Report]:
    """A report that Actions gets whatever happens, about these clouds until others are known to be meant."""
    from cloud import WORDS as OURS

    report = Report()
    report.clouds(list(dict.fromkeys(OURS.get(each, each) for each in named)))
    try:
        yield report
    except KitError as error:
        report.stopped(error)
        raise
    finally:
        report.write()
