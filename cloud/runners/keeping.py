"""Get a kept VM back for a while, and let it live longer."""

from __future__ import annotations

from datetime import timedelta

from cloud import names, ssh, userdata, wait
from cloud.base import Cloud, Vm
from cloud.runners.reaping import expires


def resume(vm: Vm, awake: timedelta, cloud: Cloud) -> Vm:
    """Start a VM again for somebody who looks into it. It is stopped again after so long.

    Raises:
        TimedOut: it does not answer ssh.
    """
    until = wait.clock.now() + awake
    vm = cloud.machines.resume(cloud.machines.tag(vm, {names.RESUMED: names.moment(until)}))
    machine = cloud.machines.reach(vm)
    ssh.answers(machine)
    # In the VM as well, for where no reaper comes by. What it says of that is for its own users.
    ssh.run(machine, f"sudo shutdown -P +{max(1, round(awake.total_seconds() / 60))}", check=False, timeout=30)
    return cloud.machines.read(vm)


def extend(vm: Vm, longer: timedelta, cloud: Cloud) -> Vm:
    """Let a VM live longer: from its end on, or from now on where that is over.

    Raises:
        KitError: it runs, and its own timer could not be told; its tag is changed all the same.
    """
    now = wait.clock.now()
    until = max(expires(vm) or now, now) + longer
    vm = cloud.machines.tag(vm, {names.EXPIRES: names.moment(until), names.DOOMED: None})
    if vm.state == "running":
        timer = userdata.expiry(until)
        command = "sudo tee /etc/systemd/system/kontain-expire.timer > /dev/null && sudo systemctl daemon-reload"
        restart = "sudo systemctl restart kontain-expire.timer < /dev/null > /dev/null 2>&1"
        ssh.run(cloud.machines.reach(vm), f"{command} && {restart}", stdin=timer.encode())
    return vm
