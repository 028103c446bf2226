"""Runners: VMs for the jobs of a workflow, or to work in by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from invoke.context import Context

from tasks import _console
from tasks._task import task

if TYPE_CHECKING:
    from cloud.base import Cloud, Vm

_CLOUD = {"cloud": "where: aws (or ec2), azure, local; may be repeated. Without it the setting runners.clouds"}
_JSON = {"json": "print the result as JSON"}
_PLAN = {"plan": "say what would be done, look only"}
_RUN = {"run": "a run number, a label, a VM's name or its id"}
_YES = {"yes": "install missing system packages without asking"}
_AWAKE = _YES | {"for_": "how long it runs, if it was stopped: 4h, 30m"}


@task(
    later="./inv runners.reap ends it when its time is over",
    iterable=["cloud", "size", "labels"],
    help=_CLOUD
    | _JSON
    | _PLAN
    | _YES
    | {
        "name": "what the VM is called for, outside of a workflow",
        "image": "the image to start from; without it the setting runners.image",
        "size": "how large a VM is: CLOUD=SIZE, as local=2x4096, aws=m5.xlarge; may be repeated",
        "labels": "another label that the runner has; may be repeated",
        "ttl": "how long the VM lives at the most: 6h, 90m",
        "timeout": "in which it is ready, or is taken back: 10m",
        "require": "any or all: how many clouds must be ready for this to be a success",
        "wait-quota": "how long to wait for room in a cloud's quota: 20m. Without it not at all",
        "evict": "end kept VMs before their time where there is no room else, the one that would go next first",
        "ephemeral": "a runner that takes one job and no more",
        "ssh-cidr": "who may reach its ssh port at once, as 203.0.113.7/32; with --no-register that must be you, too",
        "register": "--no-register: a VM without a runner, to work in by hand",
    },
)
def start(
    c: Context,
    cloud: list[str],
    size: list[str],
    labels: list[str],
    name: str = "",
    image: str = "",
    ttl: str = "",
    timeout: str = "",
    require: str = "",
    wait_quota: str = "",
    evict: bool = False,
    ephemeral: bool = False,
    ssh_cidr: str = "",
    register: bool = True,
    json: bool = False,
    plan: bool = False,
    yes: bool = False,
) -> None:
    """Start a VM on each cloud, ready when GitHub says that its runner is online.

    A cloud that fails is taken back alone, and leaves the other ones as they are. In a workflow the
    outputs `run-ons` and `status` tell which label each cloud's runner has; of a cloud that failed it
    is empty.

    Example: ./inv runners.start --cloud local --no-register --plan
    """
    from cloud import runners
    from tasks import _actions, _clouds, _report, _runners, _tools, _vms
    from tasks._settings import load as settings_now

    with _report.reported(cloud) as report:
        settings = _runners.reached_from(ssh_cidr, settings_now())
        clouds = _runners.opened(cloud, settings)
        report.clouds([each.name for each in clouds])
        enough = _runners.enough(require, settings)
        wanted = _runners.wanted(
            settings, clouds, name, image, size, ttl, timeout, labels, wait_quota, evict, ephemeral, bool(ssh_cidr)
        )
        github = _runners.github(settings, wanted.run.repository) if register else None
        planned = _clouds.ask(clouds, lambda each: runners.plan(wanted, each, github))
        report.planned(planned)
        plans = {answer.cloud.name: answer.value for answer in planned if answer.value}
        if plan:
            rows = [_vms.plan_row(each) for each in plans.values()]
            _console.result(rows, as_json=json, text=_console.table(_vms.PLAN_COLUMNS, rows, none=""))
            _clouds.agree(planned)
            return
        _tools.ensure("runners", yes=yes)
        work = _console.long_work("runners.start", lambda: _runners.left(clouds, wanted.run))
        with _actions.group("start runners"), work as console:

            def act(each: Cloud) -> runners.Started:
                return runners.start(plans[each.name], each, github, console.ear(each.name))

            made = _clouds.ask([each for each in clouds if each.name in plans], act)
            report.started(made)
            _console.result(report.outputs(), as_json=json, text=report.text())
            if enough == "all" or not any(answer.value for answer in made):
                _clouds.agree([*(answer for answer in planned if answer.error), *made])


@task(
    later="./inv runners.reap ends it when its time is over",
    iterable=["cloud"],
    help=_CLOUD
    | _JSON
    | {
        "run": "outside of a workflow: a run number, a label, a VM's name or its id",
        "name": "outside of a workflow: the name that it was started with",
        "needs": "file with what became of the jobs, as toJSON(needs); - for stdin. Without it the variable NEEDS",
        "keep": "keep all, whatever the jobs did",
        "destroy": "destroy all, whatever the jobs did",
        "keep-for": "how long a VM is kept: 7d",
    },
)
def stop(
    c: Context,
    cloud: list[str],
    run: str = "",
    name: str = "",
    needs: str = "",
    keep: bool = False,
    destroy: bool = False,
    keep_for: str = "",
    json: bool = False,
) -> None:
    """End a run's VMs: a cloud whose job failed is stopped and kept for a week, any other one destroyed.

    Neither is a runner any more. Where GitHub does not tell about the jobs, any failure keeps every cloud;
    what can't be read is kept, with a warning. A secret of a job does not outlive it on a kept VM.

    Example: ./inv runners.stop --cloud local --run 1f2e3d --destroy
    """
    import os

    from cloud import runners
    from cloud.errors import InputError
    from cloud.keep import Verdict, asked
    from tasks import _actions, _clouds, _runners, _vms
    from tasks._settings import load as settings_now

    if keep and destroy:
        raise InputError("--keep and --destroy contradict each other", hint="one of them, or none")
    settings = settings_now()
    clouds = _runners.opened(cloud, settings)
    here = None if run or name else _actions.run(os.environ)
    if not (run or name or here):
        raise InputError("which run is meant?", hint="--run NUMBER; ./inv runners.list shows them")
    results = None if keep or destroy else _runners.needs(needs)
    for_long = _runners.span(keep_for, settings.runners.keep)
    if here:
        pairs, looked = _runners.of_run(here, clouds)
    else:
        pairs, looked = _runners.meant(run or name, clouds)
    jobs = _runners.jobs(settings, here) if here and pairs and not (keep or destroy) else None

    def decided(vm: Vm) -> Verdict:
        if keep or destroy:
            return asked(keep)
        return runners.verdict(vm, results, _runners.github(settings, vm), jobs)

    with _actions.group("stop runners"), _console.long_work("runners.stop", lambda: _runners.still(pairs)) as console:

        def act(cloud: Cloud, vm: Vm) -> runners.Stopped:
            ear = console.ear(vm.cloud)
            return runners.stop(vm, decided(vm), for_long, cloud, _runners.github(settings, vm), ear)

        made = _runners.each(pairs, act)
        rows = [_vms.stopped_row(answer.value) for answer in made if answer.value]
        for row in rows:
            if row["warning"]:
                _actions.warn(f"runner on {row['cloud']}", row["warning"])
                _console.say(f"warning: {row['id']}: {row['warning']}")
        none = "" if pairs or any(answer.error for answer in looked) else "there is no VM of that run"
        _console.result(rows, as_json=json, text=_console.table(_vms.STOPPED_COLUMNS, rows, none=none))
        _clouds.agree([*made, *(answer for answer in looked if answer.error)])


@task(name="list", iterable=["cloud"], help=_CLOUD | _JSON)
def list_vms(c: Context, cloud: list[str], json: bool = False) -> None:
    """Show the VMs: which run each is of, until when it stays, and why it was kept.

    Below them stands what of each cloud's quota is used, and how many more runners fit. VMs of the system
    before this one, which have its names and no tags of ours, are shown too; nothing here touches them.

    Example: ./inv runners.list --cloud local
    """
    from tasks import _actions, _clouds, _fleet, _runners, _vms
    from tasks._settings import load as settings_now

    clouds = _runners.opened(cloud, settings_now())
    seen = _runners.overview(clouds)
    rows = [*map(_vms.vm_row, seen.vms), *map(_vms.stranger_row, seen.strangers)]
    none = "" if any(answer.error for answer in seen.looked) else "no VMs"
    text = "\n\n".join(filter(None, [_console.table(_vms.VM_COLUMNS, rows, none=none), "\n".join(seen.limits)]))
    _actions.summary(_fleet.vms(rows, seen.quotas))
    _console.result(rows, as_json=json, text=text)
    _clouds.agree(seen.looked)


@task(
    later="./inv runners.reap ends it when its time is over",
    iterable=["cloud"],
    positional=["run"],
    help=_CLOUD | _RUN | _AWAKE,
)
def resume(c: Context, run: str, cloud: list[str], for_: str = "", yes: bool = False) -> None:
    """Start a stopped VM again, to look into it. It takes no jobs, and is stopped again after a while.

    Example: ./inv runners.resume --cloud local 1f2e3d --for 2h
    """
    from cloud import runners
    from tasks import _clouds, _runners, _tools
    from tasks._settings import load as settings_now

    settings = settings_now()
    pairs, failed = _runners.meant(run, _runners.opened(cloud, settings))
    awake = _runners.span(for_, settings.runners.awake)
    _tools.ensure("runners", yes=yes)
    with _console.long_work("runners.resume", lambda: _runners.still(pairs)) as console:

        def act(cloud: Cloud, vm: Vm) -> Vm:
            with console.ear(vm.cloud).step(f"resume {vm.id}", 1, 1):
                return runners.resume(vm, awake, cloud)

        made = _runners.each(pairs, act)
        for answer in made:
            if answer.value:
                print(f"{answer.value.id} runs at {answer.value.address} for {for_ or settings.runners.awake}")
                print(f"  next: ./inv runners.ssh --cloud {answer.value.cloud} {answer.value.id}")
        _clouds.agree([*made, *failed])


@task(iterable=["cloud"], positional=["run"], help=_CLOUD | _RUN | _AWAKE)
def ssh(c: Context, run: str, cloud: list[str], for_: str = "", yes: bool = False) -> None:
    """Get into a VM, or run the command in it that stands after `--`. One that is stopped is started first.

    Its host key is known from its making: nothing is asked, and nothing left unchecked.

    Example: ./inv runners.ssh --cloud local 1f2e3d -- ls /actions-runner/_work
    """
    import os

    from cloud import runners
    from cloud import ssh as client
    from tasks import _runners, _tools
    from tasks._settings import load as settings_now

    settings = settings_now()
    cloud_of, vm = _runners.one(run, _runners.opened(cloud, settings))
    awake = _runners.span(for_, settings.runners.awake)
    _tools.ensure("runners", yes=yes)
    if vm.state != "running":
        pair = (cloud_of, vm)
        work = _console.long_work("runners.ssh", lambda: _runners.still([pair]))
        with work as console, console.ear().step(f"resume {vm.id}", 1, 1):
            vm = runners.resume(vm, awake, cloud_of)
    machine = cloud_of.machines.reach(vm)
    _console.say(f"{vm.id}: the jobs' files are in /actions-runner/_work")
    argv = client.command(machine, c.remainder) if c.remainder else client.session(machine)
    os.execvp(argv[0], argv)  # noqa: S606  # the terminal, its signals and the exit code are ssh's from here on


@task(
    iterable=["cloud"],
    positional=["run", "longer"],
    help=_CLOUD | _RUN | {"longer": "by how much: 3d, 12h"},
)
def extend(c: Context, run: str, longer: str, cloud: list[str]) -> None:
    """Let a run's VMs live longer.

    Example: ./inv runners.extend --cloud local 1f2e3d 3d
    """
    from cloud import runners
    from tasks import _clouds, _runners
    from tasks._settings import load as settings_now

    more = _runners.span(longer, "")
    pairs, failed = _runners.meant(run, _runners.opened(cloud, settings_now()))
    made = _runners.each(pairs, lambda cloud, vm: runners.extend(vm, more, cloud))
    for answer in made:
        if answer.value:
            print(f"{answer.value.id} stays until {_runners.moment(answer.value)}")
    _clouds.agree([*made, *failed])


@task(iterable=["cloud"], help=_CLOUD | _PLAN | _JSON)
def reap(c: Context, cloud: list[str], plan: bool = False, json: bool = False) -> None:
    """Erase the VMs whose time is over, in whatever state, and what killed commands left of others.

    One that still runs is marked at the first look, and goes at a second one. A VM without our tags is
    never touched; --plan shows those of the system before this one.

    Example: ./inv runners.reap --cloud local --plan
    """
    from tasks import _actions, _clouds, _fleet, _reaper, _runners, _vms
    from tasks._settings import load as settings_now

    settings = settings_now()
    grace = _runners.span("", settings.runners.grace)
    found, answers = _reaper.look(_runners.opened(cloud, settings), settings, grace, strangers=plan)
    rows = [row for each, what in found for row in what.rows(each.name)]
    none = "" if any(answer.error for answer in answers) else "nothing to reap"
    if not plan:
        acts = [act for each, what in found for act in _reaper.act(each, what, settings)]
        answers += _clouds.side_by_side(acts, _runners.AT_ONCE)
    _actions.summary(_fleet.reaped(rows, plan=plan))
    _console.result(rows, as_json=json, text=_console.table(_vms.DUE_COLUMNS, rows, none=none))
    _clouds.agree(answers)


@task(name="setup-network", iterable=["cloud"], help=_CLOUD | _PLAN)
def setup_network(c: Context, cloud: list[str], plan: bool = False) -> None:
    """Make what the runners of a cloud share: a network, its subnets, a firewall with nothing open.

    Once for each cloud, by somebody who may do that: starting runners needs fewer rights. What is there
    stays as it is, what is missing or was made by half is completed.

    Example: ./inv runners.setup-network --cloud aws --cloud azure --plan
    """
    from tasks import _clouds, _runners
    from tasks._settings import load as settings_now

    clouds = _runners.opened(cloud, settings_now())
    if plan:
        looked = _clouds.ask(clouds, lambda each: each.network.missing())
        for answer in looked:
            if answer.value is not None:
                print(f"{answer.cloud.name}: {', '.join(answer.value) or 'nothing'} to be made")
        _clouds.agree(looked)
        return
    with _console.long_work("runners.setup-network", list) as console:
        made = _clouds.ask(clouds, lambda each: each.network.complete(console.ear(each.name)))
        for done in made:
            if not done.error:
                print(f"{done.cloud.name}: runners have a network")
        _clouds.agree(made)
