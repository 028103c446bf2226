"""Get a kept VM back for a while, and let it live longer."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timedelta

from cloud import names, ssh, userdata, wait
from cloud.base import Cloud, Machine, Vm
from cloud.errors import KitError
from cloud.runners.reaping import expires


def resume(vm: Vm, awake: timedelta, cloud: Cloud) -> Vm:
    """Start a VM again for somebody who looks into it. It is stopped again after so long.

    Raises:
        TimedOut: it does not answer ssh.
        KitError: it can't be started or reached. In each case one that did not run before is stopped again.
    """
    slept = vm.state in ("stopped", "stopping")
    until = wait.clock.now() + awake
    vm = cloud.machines.tag(vm, {names.RESUMED: names.moment(until)})
    try:
        vm = cloud.machines.resume(vm)
        machine = cloud.machines.reach(vm)
        ssh.answers(machine)
        # In the VM as well, for where no reaper comes by, and since the end that it was given first may be near.
        _ends(machine, until, check=False)
        return cloud.machines.read(vm)
    except BaseException:
        if slept:
            # Why it failed is what is to be told. What can't be stopped now `reap` stops: its tag says when.
            with suppress(KitError):
                cloud.machines.stop(vm)
        raise


def extend(vm: Vm, longer: timedelta, cloud: Cloud) -> Vm:
    """Let a VM live longer: from its end on, or from now on where that is over.

    Raises:
        KitError: it runs, and its own timer could not be told; its tag is changed all the same.
    """
    now = wait.clock.now()
    until = max(expires(vm) or now, now) + longer
    marks = {names.EXPIRES: names.moment(until), names.EXTENDED: names.moment(now)}
    vm = cloud.machines.tag(vm, {**marks, names.DOOMED: None})
    if vm.state == "running":
        _ends(cloud.machines.reach(vm), until)
    return vm


def _ends(machine: Machine, moment: datetime, *, check: bool = True) -> None:
    """Let the VM switch itself off then, and at no other time."""
    write = "sudo tee /etc/systemd/system/kontain-expire.timer > /dev/null && sudo systemctl daemon-reload"
    restart = "sudo systemctl restart kontain-expire.timer < /dev/null > /dev/null 2>&1"
    ssh.run(machine, f"{write} && {restart}", stdin=userdata.expiry(moment).encode(), check=check)
