"""What the tasks of `runners` share: what they open, and what they show."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from cloud import names
from cloud.errors import InputError, KitError
from tasks import _actions, _clouds, _console

if TYPE_CHECKING:
    from datetime import timedelta

    from cloud.base import Leftover, RunnerCloud, Vm
    from cloud.github import Github, Job
    from cloud.runners import Due, Plan, Started, Stopped, Wanted
    from tasks._settings import Settings

T = TypeVar("T")
U = TypeVar("U")

WORDS = {"aws": "ec2"}
"""What CI calls a cloud, where that is another word than ours: the keys of `run-ons`."""


def word(cloud: str) -> str:
    """What CI calls the cloud."""
    return WORDS.get(cloud, cloud)


def opened(named: Sequence[str], settings: Settings) -> list[RunnerCloud]:
    """The clouds that were named, or else are set.

    Raises:
        InputError: one of them is none that runs VMs, or no cloud is meant.
    """
    from cloud import connect_for_runners

    return [connect_for_runners(each, settings) for each in chosen(named, settings)]


def chosen(named: Sequence[str], settings: Settings) -> list[str]:
    """Their names, as we call them.

    Raises:
        InputError: no cloud is meant.
    """
    from cloud import WORDS as OURS

    wanted = named or settings.runners.clouds
    if not wanted:
        raise InputError("no cloud is named", hint="--cloud local runs VMs on this machine")
    return list(dict.fromkeys(OURS.get(each, each) for each in wanted))


def github(settings: Settings, of: str | Vm) -> Github:
    """GitHub as the environment names it, for the runners of a repository, or of the one that a VM is for.

    Without a token each call of it says so; a VM can be ended all the same.
    """
    import msgspec

    from cloud.github import Github

    told = settings.github
    api = os.environ.get("GITHUB_API_URL") or told.api
    server = os.environ.get("GITHUB_SERVER_URL") or told.server
    token = os.environ.get("GH_TOKEN") or os.environ.get("GITHUB_TOKEN", "")
    repository = of if isinstance(of, str) else of.tags.get(names.REPO, "")
    return Github(msgspec.structs.replace(told, api=api, server=server), token, repository, _actions.mask)


def jobs(settings: Settings, run: names.Run) -> list[Job] | None:
    """The jobs of a run, all attempts of it being one; None, with a word, where GitHub does not tell."""
    try:
        return github(settings, run.repository).jobs(run.id, run.attempt)
    except KitError as problem:
        _console.say(f"warning: {problem.message}: the results of the jobs decide for all clouds")
        return None


def enough(typed: str, settings: Settings) -> str:
    """How many clouds must be ready: any or all.

    Raises:
        InputError: it is another word.
    """
    wanted = typed or settings.runners.require
    if wanted not in ("any", "all"):
        raise InputError(f"--require {wanted}", hint="any or all")
    return wanted


def wanted(
    settings: Settings,
    clouds: Sequence[RunnerCloud],
    name: str,
    image: str,
    size: Sequence[str],
    ttl: str,
    timeout: str,
    labels: Sequence[str],
    ephemeral: bool,
) -> Wanted:
    """What a start asks for: what was typed, and else what is set.

    Raises:
        InputError: a word can't be used.
    """
    from cloud import work
    from cloud.runners import Wanted, keys
    from tasks._settings import ROOT

    told = settings.runners
    repository = os.environ.get("GITHUB_REPOSITORY") or settings.github.repository
    return Wanted(
        run=_actions.run(os.environ) or by_hand(name or work.owner({}), repository),
        image=image or told.image,
        user=told.user,
        keys=keys(ROOT / told.keys, Path.home()),
        ttl=span(ttl, told.ttl),
        timeout=span(timeout, told.timeout),
        size=sizes(size, [each.name for each in clouds]),
        labels=tuple(names.extra_labels(labels)),
        ephemeral=ephemeral,
        poll=told.poll,
    )


def by_hand(name: str, repository: str) -> names.Run:
    """A run of somebody's own, outside of any workflow. No other has its number."""
    from cloud import wait

    token = wait.clock.token()
    return names.Run(repository=repository, workflow=name, number=token, id=f"by-hand-{token}", attempt="1")


def sizes(words: Sequence[str], clouds: Sequence[str]) -> Mapping[str, str]:
    """Sizes by cloud, out of `CLOUD=SIZE` words; one without a cloud is for the only cloud there is.

    Raises:
        InputError: it can't be told which cloud is meant.
    """
    from cloud import WORDS as OURS

    found = {}
    for text in words:
        cloud, separator, size = text.rpartition("=")
        cloud = OURS.get(cloud, cloud) if separator else clouds[0]
        if cloud not in clouds or (not separator and len(clouds) > 1):
            raise InputError(f"--size {text}: for which cloud?", hint="as local=2x4096")
        found[cloud] = size
    return found


def span(text: str, fallback: str) -> timedelta:
    """A time that was typed, or else is set."""
    from cloud.wait import span as read

    return read(text or fallback)


def needs(file: str) -> Mapping[str, str] | None:
    """What became of the jobs that this one needs: out of a file, `-` for stdin, or the variable NEEDS.

    Raises:
        InputError: there is no such file.
    """
    import sys

    from cloud import keep

    if not file:
        return keep.parse_needs(os.environ.get("NEEDS", ""))
    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8", errors="replace")
    except OSError as problem:
        raise InputError(f"--needs {file}: {problem.strerror}", hint="a file with ${{ toJSON(needs) }}") from problem
    return keep.parse_needs(text)


Pair = tuple["RunnerCloud", T]
"""Something with the cloud that it is on."""


def all_vms(clouds: Sequence[RunnerCloud]) -> tuple[list[Pair[Vm]], list[_clouds.Answer[Any]]]:
    """Every VM, and how each look-up ended."""
    looked = _clouds.ask(clouds, lambda cloud: [(cloud, vm) for vm in cloud.machines.list()])
    return [pair for answer in looked for pair in answer.value or ()], list(looked)


def of_run(run: names.Run, clouds: Sequence[RunnerCloud]) -> tuple[list[Pair[Vm]], list[_clouds.Answer[Any]]]:
    """Every VM of a run, and how each look-up ended."""
    from cloud import runners

    looked = _clouds.ask(clouds, lambda cloud: [(cloud, vm) for vm in runners.of_run(run, cloud)])
    return [pair for answer in looked for pair in answer.value or ()], list(looked)


def meant(named: str, clouds: Sequence[RunnerCloud]) -> list[Pair[Vm]]:
    """The VMs that a word means.

    Raises:
        NotFound: there is none.
        KitError: a cloud could not be asked.
    """
    from cloud import runners

    pairs, looked = all_vms(clouds)
    _clouds.agree(looked)
    wanted = {(vm.cloud, vm.id) for vm in runners.find(named, [vm for _, vm in pairs])}
    return [(cloud, vm) for cloud, vm in pairs if (vm.cloud, vm.id) in wanted]


def one(named: str, clouds: Sequence[RunnerCloud]) -> Pair[Vm]:
    """The only VM that a word means.

    Raises:
        NotFound: there is none.
        InputError: there are several.
    """
    pairs = meant(named, clouds)
    if len(pairs) > 1:
        ids = ", ".join(vm.id for _, vm in pairs)
        raise InputError(f"{named!r} means {len(pairs)} VMs", hint=f"name one of: {ids}")
    return pairs[0]


def each(pairs: Sequence[Pair[T]], act: Callable[[RunnerCloud, T], U]) -> list[_clouds.Answer[U]]:
    """Do it with all of them at the same time; what fails with one leaves the others alone."""
    return _clouds.side_by_side([(cloud, partial(act, cloud, thing)) for cloud, thing in pairs], AT_ONCE)


AT_ONCE = 8
"""VMs that are worked on at the same time."""


def due(pairs: Sequence[Pair[Vm]], grace: timedelta) -> list[Pair[Due]]:
    """What is to be done with them now."""
    from cloud import runners

    return [(cloud, found) for cloud, vm in pairs for found in runners.due([vm], grace)]


def vm_row(vm: Vm) -> _console.Row:
    """A VM, for programs."""
    tags = vm.tags
    return {
        "label": tags.get(names.LABEL, ""),
        "cloud": vm.cloud,
        "state": vm.state,
        "address": vm.address,
        "created": vm.created,
        "expires": tags.get(names.EXPIRES, ""),
        "kept": tags.get(names.KEPT, ""),
        "job": tags.get(names.JOB, ""),
        "who": tags.get(names.OWNER, ""),
        "run": tags.get(names.RUN_NUMBER, ""),
        "id": vm.id,
        "size": vm.size,
    }


def _left(text: str) -> str:
    """How long there is still until a moment that is written in a tag."""
    from cloud import wait

    try:
        until = names.parse_moment(text)
    except ValueError:
        return text
    now = wait.clock.now()
    return f"in {_console.age(now - (until - now))}" if until > now else "over"


VM_COLUMNS: dict[str, Callable[[Any], str]] = {
    "label": str,
    "cloud": str,
    "state": str,
    "address": str,
    "created": _console.age,
    "expires": _left,
    "kept": str,
    "job": str,
    "who": str,
    "id": str,
}


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


def plan_row(plan: Plan) -> _console.Row:
    """What a start would do on a cloud."""
    return {
        "cloud": plan.cloud,
        "steps": list(plan.steps),
        "label": plan.label,
        "name": plan.name,
        "image": plan.image.build,
        "runner": plan.cached or (plan.download.version if plan.download else ""),
        "from": "" if not plan.download else "the image" if plan.cached else plan.download.url,
        "there": plan.there.id if plan.there else "",
        "erase": [vm.id for vm in plan.halves],
    }


PLAN_COLUMNS: dict[str, Callable[[Any], str]] = {
    "cloud": str,
    "steps": lambda steps: ", ".join(steps) or "none: it is there",
    "label": str,
    "image": str,
    "runner": str,
    "erase": ", ".join,
}


def left(clouds: Sequence[RunnerCloud], run: names.Run) -> list[str]:
    """What there is of a run, having looked."""
    from cloud import runners

    looked = _clouds.ask(clouds, lambda cloud: runners.of_run(run, cloud))
    found = [vm.id for answer in looked for vm in answer.value or ()]
    if not found:
        return ["left behind: nothing"]
    return [f"left behind: {'; '.join(found)}: ./inv runners.stop --run {run.number} --destroy ends it"]


def stopped_row(stopped: Stopped) -> _console.Row:
    """What became of a VM."""
    return {
        "cloud": stopped.vm.cloud,
        "id": stopped.vm.id,
        "state": "kept" if stopped.kept else "destroyed",
        "why": stopped.why,
        "job": stopped.vm.tags.get(names.JOB, ""),
        "expires": stopped.vm.tags.get(names.EXPIRES, "") if stopped.kept else "",
        "warning": stopped.warning,
    }


STOPPED_COLUMNS: dict[str, Callable[[Any], str]] = {
    "cloud": str,
    "id": str,
    "state": str,
    "why": str,
    "expires": lambda text: _left(text) if text else "",
}


def due_row(due: Due) -> _console.Row:
    """What the reaper does with a VM."""
    label = due.vm.tags.get(names.LABEL, "")
    return {"cloud": due.vm.cloud, "what": due.what, "id": due.vm.id, "label": label, "why": due.why}


def half_row(half: Leftover) -> _console.Row:
    """What the reaper does with what is no VM yet, or none any more."""
    return {"cloud": half.cloud, "what": "erase", "id": half.id, "label": "", "why": half.what}


DUE_COLUMNS: dict[str, Callable[[Any], str]] = {"cloud": str, "what": str, "id": str, "label": str, "why": str}


def moment(vm: Vm) -> str:
    """When a VM's time is over, for people."""
    from cloud import runners

    until = runners.expires(vm)
    return f"{until:%Y-%m-%d %H:%M} UTC" if until else "nobody knows"
