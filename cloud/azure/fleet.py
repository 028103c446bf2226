"""VMs of runners: all in one resource group, each made by one call with all that belongs to it, which ends with it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from cloud import access, caller, names, userdata, wait
from cloud.azure import body, creating, firewall, halves, reading
from cloud.azure.machines import AzureMachines
from cloud.azure.session import AzureError, Session
from cloud.azure.settings import AzureSettings
from cloud.base import Leftover, Machine, Order, Vm
from cloud.caller import CallerSettings
from cloud.errors import InputError, KitError, NotFound
from cloud.work import Work

_ENDING = 60.0
"""Seconds that the end of a VM is waited for: its beginning is what counts."""
_STOPPING = 600.0
"""Seconds in which Azure has stopped a VM and let go of its processors."""
_STRANGER = re.compile(r"azure-runner-.+|runner-.+-vm")
"""What the system before called its VMs."""


class AzureFleet(AzureMachines):
    """The runners' VMs of a subscription, in a location."""

    def __init__(self, session: Session, settings: AzureSettings, us: CallerSettings, work: Work) -> None:
        super().__init__(session, settings, us, work)
        self.pause = settings.runner_poll

    def create(self, order: Order) -> Vm:
        """A VM that has begun to run. What fails after that, `read` tells."""
        return creating.create(self._session, self._settings, order)

    def list(self) -> Sequence[Vm]:
        """All runners of the resource group, the newest first; one that could not be made is among them."""
        return reading.find(self._session, self._settings)

    def read(self, vm: Vm) -> Vm:
        """The VM as it is now."""
        return reading.read(self._session, self._settings, vm.id)

    def strangers(self) -> Sequence[Vm]:
        """VMs of the system before, in any resource group."""
        with ThreadPoolExecutor(2) as threads:
            states = threads.submit(reading.statuses, self._session)
            raws = self._session.list("compute", "virtual_machines.list_all")
            known = states.result()
        return [
            replace(reading.vm(raw, known.get(str(raw.id).lower(), ()), "", name=str(raw.name)), id=str(raw.id))
            for raw in raws
            if _STRANGER.fullmatch(str(raw.name)) and names.KIND not in (raw.tags or {})
        ]

    def tag(self, vm: Vm, tags: Mapping[str, str | None]) -> Vm:
        """Set tags, remove those that are None, by calls that leave all other tags and the VM itself alone."""
        gone = {key for key, text in tags.items() if text is None}
        given = {key: text for key, text in tags.items() if text is not None}
        scope = self._path(vm.id)
        with _known(vm):
            told = self._session.call("resources", "tags.get_at_scope", scope)
            if given:
                told = self._retag(scope, "Merge", given)
            if taken := {key: text for key, text in dict(told.properties.tags or {}).items() if key in gone}:
                told = self._retag(scope, "Delete", taken)
        return replace(self.read(vm), tags=dict(told.properties.tags or {}))

    def forget(self, vm: Vm, user_data: Mapping[str, Any]) -> None:
        """Put other user data in its place: whoever is in the VM can read it there as long as it lives."""
        told = {"properties": {"userData": body.encoded(userdata.write(user_data))}}
        with _known(vm):
            self._session.call("compute", "virtual_machines.begin_update", *self._where(vm), told, **self._pace)

    def stop(self, vm: Vm, *, force: bool = False) -> bool:
        """Let go of its processors: one that only switches itself off keeps them, and is billed.

        Once the caller has stopped us its end is begun, and not waited for.
        """
        with ThreadPoolExecutor(1) as threads:
            shut = threads.submit(firewall.shut, self._session, self._settings, vm.id)
            soft = not force and (self._stopped(vm, "begin_deallocate") or wait.interrupted())
            if not soft:
                self._stopped(vm, "begin_power_off", skip_shutdown=True)
                if not wait.interrupted():
                    self._stopped(vm, "begin_deallocate")
            shut.result()
        return soft

    def resume(self, vm: Vm) -> Vm:
        """Start it again. It may get another address."""
        with _known(vm):
            self._session.call("compute", "virtual_machines.begin_start", *self._where(vm), **self._pace)
        return self.read(vm)

    def reach(self, vm: Vm) -> Machine:
        """Its host key is in its tag, its user is the one whom it was created for."""
        host = vm.tags.get(names.HOST_KEY, "")
        if not host:
            raise InputError(f"the ssh host key of {vm.id} is not known", hint=f"a tag {names.HOST_KEY} has it")
        now = self.read(vm)
        if not now.address:
            raise NotFound(f"{vm.id} has no address: it is {now.state}", hint="./inv runners.resume starts it again")
        with _known(vm):
            told = self._session.call("compute", "virtual_machines.get", *self._where(vm))
            where = (self._settings.runner_group, vm.id + body.INTERFACE)
            interface = self._session.call("network", "network_interfaces.get", *where)
        inside = interface.ip_configurations[0].private_ip_address
        firewall.let_in(self._session, self._settings, vm.id, str(inside), caller.cidr(self._us))
        port = self._settings.ssh_port
        return Machine(
            cloud="azure",
            id=vm.id,
            user=str(told.os_profile.admin_username),
            address=now.address,
            port=port,
            keys=access.own_keys(Path.home()),
            known_hosts=access.pin("azure", vm.id, now.address, port, host),
            patience=self._settings.boot_timeout,
        )

    def boot_log(self, vm: Vm) -> str:
        """What it printed on its console, which Azure keeps as a file; empty while there is none."""
        try:
            return self._printed(self._settings.runner_group, vm.id)
        except KitError:
            return ""

    def erase(self, vm: Vm) -> None:
        """End it without a shutdown; interface, address and disk go with it. Its ssh rule goes too."""
        with ThreadPoolExecutor(1) as threads:
            shut = threads.submit(firewall.shut, self._session, self._settings, vm.id)
            self._session.remove(
                *("compute", "virtual_machines.begin_delete", *self._where(vm)),
                force_deletion=True,
                timeout=_ENDING,
                **self._pace,
            )
            shut.result()
        access.unpin("azure", vm.id)

    def had(self, runner: str) -> bool:
        """Whoever asks sees all VMs there are: one that has none any more had one here."""
        return True

    def halves(self) -> Sequence[Leftover]:
        """Interfaces, addresses, disks and ssh rules of VMs that are gone."""
        return halves.find(self._session, self._settings)

    def remove(self, leftover: Leftover) -> None:
        """Remove one of them."""
        halves.remove(self._session, self._settings, leftover)

    @property
    def _pace(self) -> dict[str, Any]:
        return {"polling_interval": self._settings.runner_poll}

    def _where(self, vm: Vm) -> tuple[str, str]:
        return self._settings.runner_group, vm.id

    def _path(self, name: str) -> str:
        group = f"/subscriptions/{self._session.subscription}/resourceGroups/{self._settings.runner_group}"
        return f"{group}/providers/Microsoft.Compute/virtualMachines/{name}"

    def _stopped(self, vm: Vm, verb: str, **named: Any) -> bool:
        operation = f"virtual_machines.{verb}"
        return self._session.remove("compute", operation, *self._where(vm), timeout=_STOPPING, **named, **self._pace)

    def _retag(self, scope: str, operation: str, tags: Mapping[str, str]) -> Any:
        told = {"operation": operation, "properties": {"tags": dict(tags)}}
        return self._session.call("resources", "tags.begin_update_at_scope", scope, told, **self._pace)


@contextmanager
def _known(vm: Vm) -> Iterator[None]:
    """What is asked of a VM that is gone is not found."""
    try:
        yield
    except AzureError as problem:
        if problem.status != 404:
            raise
        raise reading.gone(vm.id) from problem
