"""VMs as EC2 instances."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from cloud import names, ssh, userdata, wait
from cloud.aws import ending, network
from cloud.aws.session import AwsError, Session, Unanswered, listed
from cloud.aws.settings import AwsSettings
from cloud.base import Image, Machine
from cloud.caller import CallerSettings
from cloud.errors import Interrupted, KitError, TimedOut
from cloud.work import Work

_AFTER_INTERRUPT = 3.0
"""Seconds that clean-up may take once the caller has stopped us; what it can't end then is tagged, for `prune`."""

_CONSISTENT = 10.0
"""Seconds until a VM that EC2 has started is found by its tags ("Eventual consistency in the EC2 API")."""


class AwsMachines:
    """The instances of an account in a region."""

    def __init__(self, session: Session, settings: AwsSettings, us: CallerSettings, work: Work) -> None:
        self._session = session
        self._settings = settings
        self._us = us
        self._work = work

    def start(self, image: Image, *, name: str, user: str, tags: Mapping[str, str]) -> Machine:
        """An instance of the image, which gives out its metadata by IMDSv2 alone.

        Its keys are in the folder of the build that it is for, and end with that.
        """
        folder = self._work.folder(tags[names.BUILD]) / name
        folder.mkdir(mode=0o700)
        public = ssh.make_key(folder / "key", name)
        host = ssh.make_key(folder / "host_key", name)
        data = userdata.login(user, [public]) | userdata.host_key((folder / "host_key").read_text(), host)
        group = network.open_group(self._session, self._settings, self._us, name, tags)
        instance = ""
        try:
            instance = self._run(image, name, group, userdata.write(data), tags)
            address = self._address(instance)
        except BaseException as problem:
            # Why it failed is what is to be told. What can't be ended now the build's end looks for again.
            with suppress(KitError):
                if isinstance(problem, Unanswered | Interrupted) and not instance:
                    instance = self._lost(name, tags)
                self._end(instance, group)
            raise
        known_hosts = folder / "known_hosts"
        port = self._settings.ssh_port
        known_hosts.write_text(f"{address if port == 22 else f'[{address}]:{port}'} {host}\n")
        (folder / "group").write_text(group)
        return Machine(
            "aws", instance, user, address, port, (folder / "key",), known_hosts, self._settings.boot_timeout
        )

    def console(self, machine: Machine) -> str:
        """The last lines of its console, as far as EC2 has them: it takes minutes to show any."""
        told = self._session.call("ec2", "get_console_output", InstanceId=machine.id).get("Output", "")
        return "\n".join(str(told).splitlines()[-20:])

    def destroy(self, machine: Machine) -> None:
        """Terminate it, and remove its group and its keys."""
        folder = machine.known_hosts.parent
        self._end(machine.id, (folder / "group").read_text() if folder.exists() else "")
        shutil.rmtree(folder, ignore_errors=True)

    def _run(self, image: Image, name: str, group: str, data: str, tags: Mapping[str, str]) -> str:
        marked = listed({"Name": name, **tags}.items())
        place: dict[str, Any] = {"SecurityGroupIds": [group]}
        if self._settings.subnet:
            subnet = {"SubnetId": self._settings.subnet, "Groups": [group], "AssociatePublicIpAddress": True}
            place = {"NetworkInterfaces": [{"DeviceIndex": 0, **subnet}]}
        request = dict(
            ImageId=image.id,
            InstanceType=self._settings.proof_type,
            MinCount=1,
            MaxCount=1,
            ClientToken=f"{tags[names.BUILD]}-{name}"[-64:],
            UserData=data,
            MetadataOptions={"HttpTokens": "required", "HttpPutResponseHopLimit": 2},
            InstanceInitiatedShutdownBehavior="terminate",
            TagSpecifications=[{"ResourceType": kind, "Tags": marked} for kind in ("instance", "volume")],
            **place,
        )
        try:
            started = self._session.call("ec2", "run_instances", once=True, **request)
        except Unanswered:
            # Again by the same token: if it runs already we are told of it, and no second one is started.
            wait.pause(self._settings.poll)
            started = self._session.call("ec2", "run_instances", once=True, **request)
        return str(started["Instances"][0]["InstanceId"])

    def _lost(self, name: str, tags: Mapping[str, str]) -> str:
        """The VM that may have been started though nobody told us; empty when there is none."""
        wanted = {"tag:Name": name, f"tag:{names.BUILD}": tags[names.BUILD]}
        filters = [{"Name": key, "Values": [text]} for key, text in wanted.items()]
        found: list[dict[str, Any]] = []

        def look() -> bool | None:
            found.extend(self._session.pages("describe_instances", "Reservations", Filters=filters))
            return bool(found) or None

        ending.seen(look, what=f"VM {name}", patience=_CONSISTENT, hurried=1)
        return str(found[0]["Instances"][0]["InstanceId"]) if found else ""

    def _address(self, instance: str) -> str:
        def look() -> str | None:
            try:
                (told,) = self._session.pages("describe_instances", "Reservations", InstanceIds=[instance])
            except AwsError as error:
                # EC2 may not know yet what it has just started ("Eventual consistency in the EC2 API").
                if error.code == "InvalidInstanceID.NotFound":
                    return None
                raise
            return told["Instances"][0].get("PublicIpAddress") or None

        return wait.until(
            look,
            what=f"address of {instance}",
            timeout=300,
            every=self._settings.poll,
            hint="does aws.subnet give public addresses?",
        )

    def _end(self, instance: str, group: str) -> None:
        if instance and not terminate(self._session, instance, hurried=_AFTER_INTERRUPT) and not wait.interrupted():
            raise TimedOut(f"{instance} does not end", hint="./inv images.prune ends it")
        if group:
            network.close_group(self._session, group)


def terminate(session: Session, instance: str, hurried: float) -> bool:
    """End an instance, which may be gone already; whether it has ended.

    It has minutes for that, and `hurried` seconds once the caller has stopped us.
    """

    def gone() -> bool | None:
        try:
            (told,) = session.pages("describe_instances", "Reservations", InstanceIds=[instance])
        except AwsError as error:
            if error.code == "InvalidInstanceID.NotFound":
                return True
            raise
        return told["Instances"][0]["State"]["Name"] == "terminated" or None

    try:
        session.call("ec2", "terminate_instances", InstanceIds=[instance])
    except AwsError as error:
        if error.code != "InvalidInstanceID.NotFound":
            raise
        return True
    return ending.seen(gone, what=f"end of {instance}", patience=network.PATIENCE, hurried=hurried)
