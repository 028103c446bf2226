"""Runners as EC2 instances: they outlive the command that made them, and all that is known of one is in its tags."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from cloud import access, names, wait
from cloud.aws import door, ending, reading, sweeping
from cloud.aws.catalogue import Catalogue
from cloud.aws.launch import launch
from cloud.aws.machines import AwsMachines
from cloud.aws.ordering import Prepared, root_disk
from cloud.aws.runner_network import AwsNetwork
from cloud.aws.session import AwsError, Session, Unanswered, code, listed, tagged, where
from cloud.aws.settings import AwsSettings
from cloud.base import Leftover, Machine, Order, Vm
from cloud.caller import CallerSettings
from cloud.errors import InputError, Interrupted, KitError, NotFound, TemporaryError, TimedOut
from cloud.work import Work

_CONSISTENT = 30.0
"""Seconds until EC2 knows everywhere of a VM that it has started ("Eventual consistency in the EC2 API")."""

_STOPPED = 300.0
"""Seconds in which EC2 has stopped a VM; one that does not listen is switched off after that."""

_RUNNING = 300.0
"""Seconds in which a VM that was stopped runs again."""

_WRONG_STATE = ("IncorrectInstanceState", "IncorrectState")
_UNKNOWN = ("InvalidInstanceID.NotFound", "InvalidInstanceID.Malformed")


class AwsFleet(AwsMachines):
    """The runners of an account in a region, beside the VMs that prove."""

    def __init__(
        self,
        session: Session,
        settings: AwsSettings,
        us: CallerSettings,
        work: Work,
        catalogue: Catalogue,
        network: AwsNetwork,
    ) -> None:
        super().__init__(session, settings, us, work)
        self._catalogue = catalogue
        self._network = network
        self.pause = float(settings.poll)
        self._every = min(2.0, self.pause)
        self._opened: set[str] = set()
        """VMs that had no door when they were read, and have one since."""

    def create(self, order: Order) -> Vm:
        """An instance of the first type, in the first zone, that EC2 has room for."""
        with ThreadPoolExecutor(3) as threads:
            types = threads.submit(self._catalogue.types, order.size)
            place = threads.submit(self._network.place)
            disk = threads.submit(root_disk, self._session, order.image, self._settings.runner_disk)
            prepared = Prepared(order, self._settings)
            requests = prepared.requests(types.result(), place.result(), disk.result())
        try:
            return self._vm(launch(self._session, requests, self._every, order.full))
        except (Unanswered, Interrupted):
            # Why it failed is what is to be told. What can't be ended now `reap` ends: its tags say when.
            with suppress(KitError):
                self._end_unseen(prepared.host_key)
            raise

    def list(self) -> Sequence[Vm]:
        """All instances that our tags call runners, and that are not ended."""
        ours = [*tagged(**{names.KIND: "runner"}), *where(instance_state_name=reading.LIVING)]
        return sorted(self._found(ours), key=lambda vm: (vm.created, vm.id), reverse=True)

    def read(self, vm: Vm) -> Vm:
        """The instance as it is now. EC2 remembers for an hour why one ended."""
        told = self._told(vm.id)
        if told:
            seen = self._vm(told)
            return replace(seen, tags=seen.tags or vm.tags)
        if _young(vm):
            return vm  # EC2 does not know yet everywhere what it has just started
        raise NotFound(f"{vm.id} is not there any more", hint="./inv runners.list")

    def strangers(self) -> Sequence[Vm]:
        """Instances with the names of the action before, and none of our tags."""
        theirs = [*tagged(Name="ec2-runner-*"), *where(instance_state_name=reading.LIVING)]
        return [vm for vm in self._found(theirs) if names.KIND not in vm.tags]

    def tag(self, vm: Vm, tags: Mapping[str, str | None]) -> Vm:
        """Set tags of the instance, then remove those that are None."""
        fresh = {key: text for key, text in tags.items() if text is not None}
        gone = [key for key, text in tags.items() if text is None]
        if fresh:
            self._of(vm, "create_tags", Resources=[vm.id], Tags=listed(fresh.items()))
        if gone:
            self._of(vm, "delete_tags", Resources=[vm.id], Tags=[{"Key": key} for key in gone])
        now = self.read(vm)
        if now.state == "gone":
            raise NotFound(f"{vm.id} is not there any more", hint="./inv runners.list")
        return replace(now, tags={key: text for key, text in {**now.tags, **fresh}.items() if key not in gone})

    def forget(self, vm: Vm, user_data: Mapping[str, Any]) -> None:
        """Shut its metadata: an instance that runs can't be given other user data.

        One with a role gets its rights by metadata, which stay open then. What is told there is worth little: a
        token to register with is good for an hour.
        """
        if not self._settings.role:
            self._of(vm, "modify_instance_metadata_options", InstanceId=vm.id, HttpEndpoint="disabled")

    def stop(self, vm: Vm, *, force: bool = False) -> bool:
        """Stop the instance. From then on it can be switched off from inside without being ended for good."""
        trouble: KitError | None = None
        try:
            door.shut_door(self._session, vm.id)
        except KitError as problem:
            trouble = problem
        stopped = self._stop(vm, force)
        if trouble:
            raise trouble
        return stopped

    def resume(self, vm: Vm) -> Vm:
        """Start the instance again. It gets another address."""
        started, before = False, ""

        def running() -> Vm | None:
            nonlocal started, before
            now = self._present(vm)
            if now.state == "stopped" and not started:
                self._kept(vm)
                self._of(vm, "start_instances", InstanceIds=[vm.id])
                started, before = True, now.reason
            elif now.state == "stopped" and now.reason not in ("", before):
                raise TemporaryError(f"{vm.id} does not start: {now.reason}", hint="the same command may work later")
            return now if now.state == "running" and now.address else None

        return wait.until(running, what=f"start of {vm.id}", timeout=_RUNNING, every=self._every)

    def reach(self, vm: Vm) -> Machine:
        """Its host key is in its tags, since before it was started."""
        told = self._placed(vm)
        now = self._vm(told)
        key, user = now.tags.get(names.HOST_KEY, ""), now.tags.get(names.USER, "")
        if not key or not user:
            tag = names.USER if key else names.HOST_KEY
            raise InputError(
                f"{vm.id} has no tag {tag}, so nobody can tell that it is what it says",
                hint="./inv runners.stop ends it",
            )
        address = str(told.get("PublicIpAddress", ""))
        if not address:
            raise NotFound(f"{vm.id} has no address: it is {now.state}", hint="./inv runners.resume starts it")
        self._opened.add(vm.id)
        door.open_door(self._session, self._settings, self._us, told, self._settings.tags)
        port = self._settings.ssh_port
        known_hosts = access.pin("aws", vm.id, address, port, key)
        keys = access.own_keys(Path.home())
        return Machine("aws", vm.id, user, address, port, keys, known_hosts, self._settings.boot_timeout)

    def boot_log(self, vm: Vm) -> str:
        """Its console, as it is now where the type lets EC2 look, else as it was minutes ago."""
        for latest in ({"Latest": True}, {}):
            try:
                # Once: who waits for the console leaves what is more urgent undone.
                told = self._session.call("ec2", "get_console_output", once=True, InstanceId=vm.id, **latest)
                return str(told.get("Output", ""))
            except KitError as problem:
                if code(problem) != "UnsupportedOperation":  # of types that are not on Nitro ("GetConsoleOutput")
                    return ""
        return ""

    def erase(self, vm: Vm) -> None:
        """Terminate it: its disk, its card and its address go with it."""
        if door.DOOR in vm.tags or vm.id in self._opened:
            with suppress(KitError):
                door.shut_door(self._session, vm.id)  # what stays of it is a half, since its VM is gone
        try:
            self._of(vm, "terminate_instances", InstanceIds=[vm.id])
        except NotFound:
            pass  # it is gone already
        access.unpin("aws", vm.id)

    def had(self, runner: str) -> bool:
        """Whoever asks sees all VMs there are: one that has none any more had one here."""
        return True

    def halves(self) -> Sequence[Leftover]:
        """Disks, cards and doors of runners that are gone."""
        return sweeping.halves(self._session)

    def remove(self, leftover: Leftover) -> None:
        """Remove one of them."""
        sweeping.remove(self._session, leftover)

    def _end_unseen(self, host_key: str) -> None:
        """End the VM that may have been started though nobody told us. No other has its host key."""
        found: list[Vm] = []

        def look() -> bool | None:
            found.extend(self._found(tagged(**{names.HOST_KEY: host_key})))
            return bool(found) or None

        ending.seen(look, what="VM that nobody told us of", patience=10, hurried=1)
        for vm in found:
            self.erase(vm)

    def _stop(self, vm: Vm, force: bool) -> bool:
        state = self._state(vm)
        if state == "gone":
            return True
        try:
            self._kept(vm)
        except NotFound:
            return True
        if state == "stopped":
            return True
        ordered = False

        def stopped() -> bool | None:
            nonlocal ordered
            now = self._state(vm)
            if now in ("stopped", "gone"):
                return True
            if now == "running" and not ordered:
                try:
                    self._of(vm, "stop_instances", InstanceIds=[vm.id], Force=force)
                except NotFound:
                    return True  # it ended by itself under our hands
                ordered = True
            return None

        if not force:
            try:
                return wait.until(stopped, what=f"end of {vm.id}", timeout=_STOPPED, every=self._every)
            except TimedOut:
                ordered, force = False, True
                # An instance that is stopping can be asked again, by force ("StopInstances").
                self._session.call("ec2", "stop_instances", InstanceIds=[vm.id], Force=True)
        if not ending.seen(stopped, what=f"end of {vm.id}", patience=_STOPPED, hurried=1) and not wait.interrupted():
            raise TimedOut(f"{vm.id} does not stop", hint="the same command again, or ./inv runners.reap ends it")
        return False

    def _kept(self, vm: Vm) -> None:
        """From now on who switches it off from inside stops it, and does not end it for good."""
        stays = {"Value": "stop"}
        self._of(vm, "modify_instance_attribute", InstanceId=vm.id, InstanceInitiatedShutdownBehavior=stays)

    def _state(self, vm: Vm) -> reading.State:
        try:
            return self.read(vm).state
        except NotFound:
            return "gone"

    def _present(self, vm: Vm) -> Vm:
        now = self.read(vm)
        if now.state == "gone":
            raise NotFound(f"{vm.id} is not there any more", hint="./inv runners.list")
        return now

    def _of(self, vm: Vm, operation: str, **arguments: Any) -> None:
        """A call about a VM, as soon as EC2 knows everywhere that there is one.

        Raises:
            NotFound: it is gone.
        """

        def act() -> bool | None:
            try:
                self._session.call("ec2", operation, **arguments)
            except AwsError as error:
                if error.code in _UNKNOWN and _young(vm):
                    return None
                if error.code not in _UNKNOWN and not (error.code in _WRONG_STATE and self._state(vm) == "gone"):
                    raise
                raise NotFound(f"{vm.id} is not there any more", hint="./inv runners.list") from error
            return True

        late = wait.interrupted()
        wait.until(act, what=f"{operation} of {vm.id}", timeout=3 if late else _CONSISTENT, every=1, finish=late)

    def _told(self, instance: str) -> dict[str, Any]:
        """What EC2 tells of an instance; nothing where it knows none."""
        try:
            rows = self._session.pages("describe_instances", "Reservations", InstanceIds=[instance])
        except AwsError as error:
            if error.code not in _UNKNOWN:
                raise
            rows = []
        return dict(rows[0]["Instances"][0]) if rows else {}

    def _placed(self, vm: Vm) -> dict[str, Any]:
        """What EC2 tells of it, with its address if it is to have one: it gets that as it starts."""

        def placed() -> dict[str, Any] | None:
            told = self._told(vm.id)
            starts = self._vm(told).state == "starting" if told else self._present(vm).state == "starting"
            return None if starts and not told.get("PublicIpAddress") else told

        return wait.until(placed, what=f"address of {vm.id}", timeout=_RUNNING, every=self._every)

    def _found(self, filters: Sequence[Mapping[str, Any]]) -> Sequence[Vm]:
        rows = self._session.pages("describe_instances", "Reservations", Filters=filters)
        return [self._vm(each) for row in rows for each in row["Instances"]]

    def _vm(self, instance: dict[str, Any]) -> Vm:
        return reading.vm(instance, self._settings.ssh_port)


def _young(vm: Vm) -> bool:
    """Whether it was started so lately that EC2 may not know it everywhere."""
    return (wait.clock.now() - vm.created).total_seconds() < 2 * _CONSISTENT
