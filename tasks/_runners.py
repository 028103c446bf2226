"""What the tasks of `runners` share: what they open, and what they show."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from cloud import names
from cloud.errors import InputError, KitError, NotFound
from tasks import _actions, _clouds, _console

if TYPE_CHECKING:
    from datetime import timedelta

    from cloud.base import Cloud, Quota, Vm
    from cloud.github.runners import Github, Job, Runner
    from cloud.runners import Wanted
    from cloud.settings import GithubSettings
    from tasks._settings import Settings

T = TypeVar("T")
U = TypeVar("U")


def opened(named: Sequence[str], settings: Settings) -> list[Cloud]:
    """The clouds that were named, or else are set.

    Raises:
        InputError: one of them is none that runs VMs, or no cloud is meant.
    """
    from cloud import connect

    return [connect(each, settings) for each in chosen(named, settings)]


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


def account(settings: Settings) -> tuple[GithubSettings, str]:
    """Where GitHub is, as the environment names it, and the token for it; empty where there is none."""
    import msgspec

    told = settings.github
    api = os.environ.get("GITHUB_API_URL") or told.api
    server = os.environ.get("GITHUB_SERVER_URL") or told.server
    token = os.environ.get("GH_TOKEN") or os.environ.get("GITHUB_TOKEN", "")
    return msgspec.structs.replace(told, api=api, server=server), token


def github(settings: Settings, of: str | Vm) -> Github:
    """GitHub, for the runners of a repository, or of the one that a VM is for.

    Without a token each call of it says so; a VM can be ended all the same.
    """
    from cloud.github.runners import Github

    repository = of if isinstance(of, str) else of.tags.get(names.REPO, "")
    return Github(*account(settings), repository, _actions.mask)


def repository(settings: Settings) -> str:
    """The repository that a workflow runs for; outside of one that of the settings."""
    return os.environ.get("GITHUB_REPOSITORY") or settings.github.repository


def entries(settings: Settings) -> list[Runner] | None:
    """The runners at GitHub; None, without a word, for who has no token: such a one has VMs of his own alone."""
    if not (os.environ.get("GH_TOKEN") or os.environ.get("GITHUB_TOKEN")):
        return None
    return github(settings, repository(settings)).runners()


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


def reached_from(cidr: str, settings: Settings) -> Settings:
    """The settings, if VMs are to be reached from these addresses.

    Raises:
        InputError: these are none.
    """
    import msgspec

    from cloud import caller

    if not cidr:
        return settings
    told = msgspec.structs.replace(settings.caller, cidr=cidr)
    try:
        caller.cidr(told)
    except InputError as problem:
        raise InputError(f"--ssh-cidr {cidr} is no network", hint=problem.hint) from problem
    return msgspec.structs.replace(settings, caller=told)


def wanted(
    settings: Settings,
    clouds: Sequence[Cloud],
    name: str,
    image: str,
    size: Sequence[str],
    ttl: str,
    timeout: str,
    labels: Sequence[str],
    wait_quota: str,
    evict: bool,
    ephemeral: bool,
    ssh: bool,
) -> Wanted:
    """What a start asks for: what was typed, and else what is set.

    Raises:
        InputError: a word can't be used.
    """
    from datetime import timedelta

    from cloud import work
    from cloud.runners import Wanted, keys
    from tasks._settings import ROOT

    told = settings.runners
    return Wanted(
        run=_actions.run(os.environ) or by_hand(name or work.owner({}), repository(settings)),
        image=image or told.image,
        user=told.user,
        keys=keys(ROOT / told.keys, Path.home()),
        ttl=span(ttl, told.ttl),
        timeout=span(timeout, told.timeout),
        size=sizes(size, [each.name for each in clouds]),
        labels=tuple(names.extra_labels(labels)),
        wait_quota=span(wait_quota, "") if wait_quota else timedelta(),
        evict=evict,
        ephemeral=ephemeral,
        ssh=ssh,
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


Pair = tuple["Cloud", T]
"""Something with the cloud that it is on."""


def all_vms(clouds: Sequence[Cloud]) -> tuple[list[Pair[Vm]], list[_clouds.Answer[Any]]]:
    """Every VM, and how each look-up ended."""
    looked = _clouds.ask(clouds, lambda cloud: [(cloud, vm) for vm in cloud.machines.list()])
    return [pair for answer in looked for pair in answer.value or ()], list(looked)


@dataclass(frozen=True)
class Overview:
    """What there is on some clouds."""

    vms: Sequence[Vm]
    strangers: Sequence[Vm]
    limits: Sequence[str]
    """How much of each limit is used, in words."""
    quotas: Sequence[_clouds.Answer[Sequence[Quota]]]
    """The same as each cloud told it."""
    looked: Sequence[_clouds.Answer[Any]]
    """How each look-up of VMs ended."""


def overview(clouds: Sequence[Cloud]) -> Overview:
    """Look what there is, all at once."""
    looks: list[Callable[[Cloud], Any]] = [
        lambda cloud: cloud.machines.list(),
        lambda cloud: cloud.machines.strangers(),
        lambda cloud: cloud.quotas(""),
    ]
    acts = [(cloud, partial(look, cloud)) for look in looks for cloud in clouds]
    answers = _clouds.side_by_side(acts, len(acts))
    ours, others, told = (answers[n : n + len(clouds)] for n in range(0, len(answers), len(clouds)))
    return Overview(
        vms=[vm for answer in ours for vm in answer.value or ()],
        strangers=[vm for answer in others for vm in answer.value or ()],
        limits=limits(told),
        quotas=told,
        looked=[*ours, *others],
    )


def limits(answers: Sequence[_clouds.Answer[Sequence[Quota]]]) -> list[str]:
    """What of each cloud's quota is used, and how many more runners fit: a line for each limit."""
    found = [f"{answer.cloud.name}: {limit(quota)}" for answer in answers for quota in answer.value or ()]
    return found + [f"{answer.cloud.name}: {answer.error.message}" for answer in answers if answer.error]


def limit(quota: Quota) -> str:
    """A limit in words."""
    kept = f", {quota.kept} of them by kept VMs" if quota.kept else ""
    return f"{quota.used} of {quota.limit} {quota.name} are used{kept}; room for {quota.room} more runners"


def of_run(run: names.Run, clouds: Sequence[Cloud]) -> tuple[list[Pair[Vm]], list[_clouds.Answer[Any]]]:
    """Every VM of a run, and how each look-up ended."""
    from cloud import runners

    looked = _clouds.ask(clouds, lambda cloud: [(cloud, vm) for vm in runners.of_run(run, cloud)])
    return [pair for answer in looked for pair in answer.value or ()], list(looked)


def meant(named: str, clouds: Sequence[Cloud]) -> tuple[list[Pair[Vm]], list[_clouds.Answer[Any]]]:
    """The VMs that a word means, and the look-ups that failed: what there is on one cloud is no matter of another.

    Raises:
        NotFound: there is none.
        KitError: none was found, and a cloud could not be asked.
    """
    from cloud import runners

    pairs, looked = all_vms(clouds)
    try:
        found = runners.find(named, [vm for _, vm in pairs])
    except NotFound:
        _clouds.agree(looked)
        raise
    wanted = {(vm.cloud, vm.id) for vm in found}
    failed = [answer for answer in looked if answer.error]
    return [(cloud, vm) for cloud, vm in pairs if (vm.cloud, vm.id) in wanted], failed


def one(named: str, clouds: Sequence[Cloud]) -> Pair[Vm]:
    """The only VM that a word means.

    Raises:
        NotFound: there is none.
        InputError: there are several.
    """
    pairs, failed = meant(named, clouds)
    for answer in failed:
        _console.say(f"warning: {answer.cloud.name}: {answer.error.message if answer.error else ''}")
    if len(pairs) > 1:
        ids = ", ".join(vm.id for _, vm in pairs)
        raise InputError(f"{named!r} means {len(pairs)} VMs", hint=f"name one of: {ids}")
    return pairs[0]


def each(pairs: Sequence[Pair[T]], act: Callable[[Cloud, T], U]) -> list[_clouds.Answer[U]]:
    """Do it with all of them at the same time; what fails with one leaves the others alone."""
    return _clouds.side_by_side([(cloud, partial(act, cloud, thing)) for cloud, thing in pairs], AT_ONCE)


AT_ONCE = 8
"""VMs that are worked on at the same time."""


def left(clouds: Sequence[Cloud], run: names.Run) -> list[str]:
    """What there is of a run, having looked."""
    from cloud import runners

    looked = _clouds.ask(clouds, lambda cloud: runners.of_run(run, cloud))
    found = [vm.id for answer in looked for vm in answer.value or ()]
    if not found:
        return ["left behind: nothing"]
    return [f"left behind: {'; '.join(found)}: ./inv runners.stop --run {run.number} --destroy ends it"]


def still(pairs: Sequence[Pair[Vm]]) -> list[str]:
    """What there still is of some VMs, having looked."""
    looked = each(pairs, _now)
    found = [f"{vm.id} ({vm.state}, until {moment(vm)})" for answer in looked if (vm := answer.value)]
    unseen = [
        f"{vm.id} (could not be looked at)" for (_, vm), answer in zip(pairs, looked, strict=True) if answer.error
    ]
    if not (told := found + unseen):
        return ["left behind: nothing"]
    words = "./inv runners.reap ends it then, ./inv runners.stop --run ID --destroy now"
    return [f"left behind: {'; '.join(told)}: {words}"]


def _now(cloud: Cloud, vm: Vm) -> Vm | None:
    """The VM as it is now; None where it is gone."""
    try:
        now = cloud.machines.read(vm)
    except NotFound:
        return None
    return None if now.state == "gone" else now


def moment(vm: Vm) -> str:
    """When a VM's time is over, for people."""
    from cloud import runners

    until = runners.expires(vm)
    return f"{until:%Y-%m-%d %H:%M} UTC" if until else "nobody knows"
