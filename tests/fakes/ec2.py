"""EC2, the parameter store and STS as a server: moto keeps the books, real VMs run behind it.

What moto leaves out is added here: one name for one AMI, a client token that starts one VM,
states that take a while, pages, limits, faults; `ec2_rules` has what EC2 refuses. boto3 and packer
speak to it as they do to AWS.
"""

from __future__ import annotations

import base64
import functools
import io
import json
import os
import re
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode
from xml.etree import ElementTree

import boto3
import requests
from moto.ec2.models.instances import StateReason
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

from cloud import wait
from tests.fakes import ec2_amis, ec2_rules, quick
from tests.fakes.ec2_rules import SPACE as _SPACE
from tests.fakes.guests import Guests, Paper

CANONICAL = "099720109477"
BASE = "micro-22.04-amd64-server-20261101"
"""The AMI of Canonical's that everything starts from; behind it is the micro guest."""

# moto reads these when it is first used, and accepts nonsense without them.
os.environ.update(
    {
        "MOTO_ENABLE_AMI_VALIDATION": "true",
        "MOTO_ENABLE_KEYPAIR_VALIDATION": "true",
        "MOTO_EC2_ENABLE_INSTANCE_TYPE_VALIDATION": "true",
        "MOTO_EC2_LOAD_DEFAULT_AMIS": "false",
    }
)


class _Quiet(WSGIRequestHandler):
    """Writes no line for each call: they are in `calls`."""

    def log(self, type: str, message: str, *args: object) -> None:
        pass


POLICY = Path(__file__).resolve().parents[2] / "docs" / "policies" / "aws.json"
"""The rights of the one whose keys are in `Ec2.variables`, and of nobody else here."""

RELEASE = POLICY.with_name("aws-release.json")
"""The rights that who makes releases needs, besides."""

NETWORK = POLICY.with_name("aws-network.json")
"""The rights of who makes the network of runners, once."""

USER, SECRET = "AKIAIOSFODNN7EXAMPLE", "canary-secret-5d1c"


def allowed(call: str, *policies: Path) -> bool:
    """Whether the policy that we give out allows the call, as `ec2:RunInstances`; everybody may ask who he is."""
    rights = (right for policy in policies or (POLICY,) for right in _rights(policy))
    return call == "sts:GetCallerIdentity" or any(fnmatchcase(call, right) for right in rights)


@functools.cache
def _rights(policy: Path) -> list[str]:
    return [right for statement in json.loads(policy.read_text())["Statement"] for right in statement["Action"]]


@dataclass
class Fault:
    """How a call is to end, some times; `after` the work was done, whose answer is lost."""

    action: str
    code: str
    status: int = 400
    times: int = 1
    after: bool = False


@dataclass
class Ec2:
    """An account, and Canonical's image in its home region. Each region keeps what it has to itself.

    Which one a call means, its signature says; faults, lags and rights hold in all of them.
    """

    folder: Path
    disk: Path
    """What Canonical's image boots."""
    calls: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    """Every call that came: `ec2:RunInstances` and its parameters."""
    faults: list[Fault] = field(default_factory=list)
    lag: int = 1
    """How many looks at an instance still show the state before."""
    ami_lag: int = 1
    """How many looks at a new AMI, of packer and of us each, show that it is not done."""
    denied: set[str] = field(default_factory=set)
    """Calls that the policy allows and a test does not, as `ec2:DescribeImages`."""
    paper: Paper | None = None
    """Guests that are only written down, in the place of real ones."""
    policies: tuple[Path, ...] = (POLICY,)
    """The rights that our user has."""
    page: int = 0
    """How many rows a listing has at the most; 0: all that there are."""
    vcpus: int = 10_000
    """How many processors may run together."""
    dies: tuple[str, str] = ("", "")
    """Code and message of why the next VM ends at once, though it was started."""
    copies_fail: dict[str, int] = field(default_factory=dict)
    """How many of the next copies into a region fail: `{"eu-central-1": 1}`."""
    block_public: bool = False
    """Whether the account blocks public AMIs, in every region."""
    refused: list[str] = field(default_factory=list)
    """What was called though the policy that we give out does not allow it."""

    def __enter__(self) -> Ec2:
        (self.folder / "vms").mkdir(parents=True)
        (self.folder / "amis").mkdir()
        self.guests = self.paper or Guests(self.folder / "vms")
        quick.quicken()
        self._moto = DomainDispatcherApplication(create_backend_app)
        self._disks: dict[str, Path] = {}
        self._tokens: dict[str, tuple[str, bytes]] = {}
        self._lags: dict[str, tuple[str, int]] = {}
        self._ami_lags: dict[tuple[str, bool], int] = {}
        self._booted: set[str] = set()
        self._ended: dict[str, float] = {}
        self._seen = 0
        self._at: dict[int, str] = {}
        self._guard = threading.RLock()
        self._moto_guard = threading.Lock()
        self._ending = threading.Lock()
        self._naming = threading.Lock()
        self._server = make_server("127.0.0.1", 0, self, threaded=True, request_handler=_Quiet)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.port}"
        requests.post(f"{self.url}/moto-api/reset", timeout=10)
        self.base = self.register(BASE, CANONICAL)
        self.calls.clear()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self.guests.close()

    @property
    def variables(self) -> dict[str, str]:
        """The environment of one who works here."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": USER,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
            "AWS_EC2_METADATA_DISABLED": "true",
            "KM_AWS__SSH_PORT": str(self.guests.port),
            "KM_AWS__POLL": "1",
            "KM_AWS__BOOT_TIMEOUT": "180",
            "KM_CALLER__CIDR": "127.0.0.1/32",
            "KM_PACKER__MINIMUM": "1.6.6",
        }

    def client(self, service: str, region: str = "") -> Any:
        """boto3's own client, of one who may do everything; at home, if no other region is named."""
        keys = {"aws_access_key_id": "AKIAADMINISTRATOR000", "aws_secret_access_key": "x"}
        return boto3.client(service, region_name=region or ec2_rules.region(), endpoint_url=self.url, **keys)

    def register(self, name: str, owner: str = "self", *, region: str = "", **tags: str) -> str:
        """An AMI that is there without a build; its id."""
        ami = str(self.client("ec2", region).register_image(Name=name, RootDeviceName="/dev/sda1")["ImageId"])
        self.ami(ami).architecture = "x86_64"
        self.ami(ami).root_device_type = "ebs"
        if owner != "self":
            self.ami(ami).owner_id = owner
        self.mark(ami, region=region, **tags)
        self._disks[ami] = self.disk
        return ami

    def ami(self, ami: str) -> Any:
        """What moto keeps of an AMI, in whatever region."""
        kept = (ec2_rules.backend(region).amis for region in ec2_rules.regions())
        return next(amis[ami] for amis in kept if ami in amis)

    def snapshot(self, **tags: str) -> str:
        """A snapshot that no AMI consists of; its id."""
        client = self.client("ec2")
        volume = client.create_volume(AvailabilityZone="us-east-2a", Size=8)["VolumeId"]
        made = str(client.create_snapshot(VolumeId=volume)["SnapshotId"])
        client.delete_volume(VolumeId=volume)
        self.mark(made, **tags)
        return made

    def mark(self, thing: str, *, region: str = "", **tags: str) -> None:
        """Set tags of something."""
        if tags:
            made = [{"Key": key, "Value": text} for key, text in tags.items()]
            self.client("ec2", region).create_tags(Resources=[thing], Tags=made)

    def fails(self, action: str, code: str, status: int = 400, *, times: int = 1, after: bool = False) -> None:
        """Let the next calls of that action end so."""
        self.faults.append(Fault(action, code, status, times, after))

    def fails_at(self, number: int, kind: str, times: int = 1) -> None:
        """Let our user's call of that number, counted from now on, and those after it end so.

        `refused`, `throttled`, `broken`, `denied` and `capacity` are answers, after which nothing was done. `reset`
        is a line that is cut before anything was done, `silent` one on which nothing is said, `lost` one that is
        cut after it was.
        """
        assert kind in (*ec2_rules.KINDS, *ec2_rules.CUT)
        with self._guard:
            self._at = {self._seen + number + each: kind for each in range(times)}

    def powers_off(self, instance: str) -> None:
        """A VM switches itself off, as `shutdown` in it does: what becomes of it was said when it was started."""
        self.guests.halt(instance)
        self._notice()

    def existing(self) -> list[str]:
        """All that costs money or can't be made twice, by its id: VMs, disks, cards, addresses, ways in."""
        return sorted(thing for region in ec2_rules.regions() for thing in self._existing(region))

    def _existing(self, region: str) -> list[str]:
        kept = ec2_rules.backend(region)
        groups = [group for groups in kept.groups.values() for group in groups.values()]
        with ec2_rules.within(region):
            vms = ec2_rules.instances()
        return [
            *(each.id for each in vms if each._state.name != "terminated"),
            *kept.volumes,
            *kept.enis,
            *(each.allocation_id for each in kept.addresses if each.allocation_id),
            *(
                group.id
                for group in groups
                if group.ingress_rules or any(tag["key"] == "km-vm" for tag in group.get_tags())
            ),
        ]

    def actions(self) -> list[str]:
        """What was called, in order."""
        return [action for action, _ in self.calls]

    def given(self, action: str) -> list[dict[str, str]]:
        """The parameters of each call of that action."""
        return [given for called, given in self.calls if called == f"ec2:{action}"]

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer a request (WSGI)."""
        with ec2_rules.within(_region(environ)):
            return self._answer(environ, start_response)

    def _answer(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        # Of two who want one name at once one gets it: that it is free and that it is taken are one step.
        with self._naming if _read(environ, body)[1] == "CopyImage" else nullcontext():
            return self._done_or_not(environ, body, start_response)

    def _done_or_not(self, environ: dict[str, Any], body: bytes, start_response: Callable[..., Any]) -> Iterable[bytes]:
        service, action, given = _read(environ, body)
        self.calls.append((f"{service}:{action}", given))
        of_user = USER in environ.get("HTTP_AUTHORIZATION", "")
        fault, way = self._fault(action), self._way() if of_user else ""
        if not_done := self._not_done(service, action, given, of_user, fault, way):
            told = ec2_amis.MESSAGES.get((action, not_done[0]), "")
            return _refuse(start_response, service, *not_done, told)
        if way in ("reset", "silent"):
            ec2_rules.hang_up(environ, late=way == "silent")
        self._notice()
        # Two that end a VM at once would both find its card, which moto then has for one of them.
        with self._ending if action == "TerminateInstances" else nullcontext():
            status, headers, answer = self._done(service, action, given, environ, body)
        if way == "lost":
            ec2_rules.hang_up(environ)
        if fault:
            return _refuse(start_response, service, fault.code, fault.status)
        kept = [(key, text) for key, text in headers if key.lower() != "content-length"]
        start_response(status, [*kept, ("Content-Length", str(len(answer)))])
        return [answer]

    def _not_done(
        self, service: str, action: str, given: dict[str, str], of_user: bool, fault: Fault | None, way: str
    ) -> tuple[str, int] | None:
        """Code and status of a call that is refused, so that nothing is done."""
        calls = [f"{service}:{action}"]
        if action == "CopyImage" and ec2_amis.tags(given):
            calls.append("ec2:CreateTags")  # "Grant permissions to copy Amazon EC2 AMIs"
        for call in calls if of_user else ():
            if call in self.denied:
                return "UnauthorizedOperation", 403
            if not allowed(call, *self.policies):
                self.refused.append(call)
                return "UnauthorizedOperation", 403
        if way in ec2_rules.KINDS:
            return ec2_rules.KINDS[way]
        if fault and not fault.after:
            return fault.code, fault.status
        if service != "ec2":
            return None
        if given.get("DryRun") == "true":
            return "DryRunOperation", 412
        if before := self._tokens.get(_token(action, given)):
            if before[0] != _without_token(given):
                return "IdempotentParameterMismatch", 400
            if action == "CopyImage":
                return None
            (known,) = re.findall(r"<instanceId>(i-[0-9a-f]+)</instanceId>", before[1].decode())[:1]
            ended = ec2_rules.instance(known)._state.name == "terminated"
            return ("IdempotentInstanceTerminated", 400) if ended else None
        code = self._refusal(action, given)
        return (code, 400) if code else None

    def _done(
        self, service: str, action: str, given: dict[str, str], environ: dict[str, Any], body: bytes
    ) -> tuple[str, list[tuple[str, str]], bytes]:
        """Do what was asked for; status, headers and answer."""
        if service == "servicequotas":
            told = {"Quota": {"ServiceCode": "ec2", "QuotaCode": "L-1216C47A", "Value": float(self.vcpus)}}
            return "200 OK", [("Content-Type", "application/x-amz-json-1.1")], json.dumps(told).encode()
        token, of_user = _token(action, given), USER in environ.get("HTTP_AUTHORIZATION", "")
        if token in self._tokens:
            return "200 OK", [("Content-Type", "text/xml")], self._tokens[token][1]
        if action == "TerminateInstances" and ec2_rules.ended(given):
            return "200 OK", [("Content-Type", "text/xml")], ec2_rules.nothing(action)
        start = int(given.get("NextToken", "page-0").removeprefix("page-"))
        if (asked := ec2_rules.as_moto_reads(given)) != given:
            body = urlencode(asked).encode()
            environ = {**environ, "CONTENT_LENGTH": str(len(body))}
        mended = self._mended(action, given)
        status, headers, answer = self._moto_answers(environ, body)
        if service == "ec2" and status.startswith("200"):
            mended(answer)
            answer = self._told(action, given, self._happens(action, given, answer))
            if self.page and of_user and action.startswith("Describe"):
                answer = ec2_rules.page(answer, start, self.page)
            if action == "DescribeImages" and of_user:
                answer = self._while_made(answer, "Boto3" in environ.get("HTTP_USER_AGENT", ""))
            if token:
                self._tokens[token] = (_without_token(given), answer)
        return status, headers, answer

    def _moto_answers(self, environ: dict[str, Any], body: bytes) -> tuple[str, list[tuple[str, str]], bytes]:
        told: list[Any] = []
        given = {**environ, "wsgi.input": io.BytesIO(body)}
        # One at a time: moto is made for one thread, and lost a question among several (404 without a word).
        with self._moto_guard:
            answer = b"".join(self._moto(given, lambda status, headers, *_: told.extend((status, headers))))
        return str(told[0]), list(told[1]), answer

    def _fault(self, action: str) -> Fault | None:
        with self._guard:
            for fault in self.faults:
                if fault.action == action and fault.times:
                    fault.times -= 1
                    return fault
        return None

    def _refusal(self, action: str, given: dict[str, str]) -> str:
        """What EC2 refuses and moto does not."""
        if action in ("CreateImage", "RegisterImage"):
            owned = self.client("ec2").describe_images(Owners=["self"])["Images"]
            if given["Name"] in (ami["Name"] for ami in owned):
                return "InvalidAMIName.Duplicate"
        if action in ec2_amis.ABOUT:
            pending = {ami for (ami, ours), looks in self._ami_lags.items() if ours and looks}
            return ec2_amis.refusal(action, given, pending, self.block_public)
        if action == "DeleteSnapshot":
            ours = self.client("ec2").describe_images(Owners=["self"])["Images"]
            used = (disk.get("Ebs", {}).get("SnapshotId") for ami in ours for disk in ami["BlockDeviceMappings"])
            if given["SnapshotId"] in used:
                return "InvalidSnapshot.InUse"
        if action == "DeleteSecurityGroup":
            states = [{"Name": "instance.group-id", "Values": [given.get("GroupId", "")]}]
            running = self.client("ec2").describe_instances(Filters=states)["Reservations"]
            if any(each["State"]["Name"] != "terminated" for row in running for each in row["Instances"]):
                return "DependencyViolation"
        shown = {name: state for name, (state, looks) in self._lags.items() if looks}
        return ec2_rules.refusal(action, given, shown, self.vcpus)

    def _way(self) -> str:
        """How our user's call is to end, by its number; empty: as it does."""
        with self._guard:
            self._seen += 1
            return self._at.pop(self._seen, "")

    def _notice(self) -> None:
        """VMs that have switched themselves off are stopped or ended, as was said when they were started.

        Those that ended an hour ago are not told of any more ("Terminate Amazon EC2 instances").
        """
        for region in ec2_rules.regions():
            with ec2_rules.within(region), self._guard:
                self._notice_here()

    def _notice_here(self) -> None:
        now = wait.clock.monotonic()
        here = {each.id for each in ec2_rules.instances()}
        if forgotten := [name for name, since in self._ended.items() if now - since > 3600 and name in here]:
            self._ended = {name: since for name, since in self._ended.items() if name not in forgotten}
            told = re.compile("|".join(forgotten).encode())
            self._tokens = {token: said for token, said in self._tokens.items() if not told.search(said[1])}
            ec2_rules.forget(forgotten)
        for each in ec2_rules.instances():
            if each._state.name == "terminated":
                self._ended.setdefault(each.id, now)
        for each in ec2_rules.instances():
            if each.id in self._booted and each._state.name == "running" and not self.guests.runs(each.id):
                self._booted.discard(each.id)
                if each.instance_initiated_shutdown_behavior == "terminate":
                    ec2_rules.backend().terminate_instances([each.id])
                    self.guests.erase(each.id)
                else:
                    each.stop()
                word = "Client.InstanceInitiatedShutdown"
                each.state_reason = StateReason(f"{word}: Instance initiated shutdown", word)

    def _mended(self, action: str, given: dict[str, str]) -> Callable[[bytes], None]:
        """What moto loses: what is not named of an instance's metadata options, and a card's tags."""
        if action == "ModifyInstanceMetadataOptions":
            known = ec2_rules.instance(given["InstanceId"])
            before = known.metadata_options

            def keep(_: bytes) -> None:
                now = known.metadata_options
                now.http_tokens = now.http_tokens or before.http_tokens
                now.http_endpoint = now.http_endpoint or before.http_endpoint
                if "HttpPutResponseHopLimit" not in given:
                    now.http_put_response_hop_limit = before.http_put_response_hop_limit

            return keep
        if action == "RunInstances":
            marked = ec2_rules.specified(given, "network-interface")

            def mark(answer: bytes) -> None:
                cards = re.findall(r"<networkInterfaceId>(eni-[0-9a-f]+)</networkInterfaceId>", answer.decode())
                for card in set(cards) if marked else ():
                    ec2_rules.backend().create_tags([card], marked)

            return mark
        return lambda answer: None

    def _happens(self, action: str, given: dict[str, str], answer: bytes) -> bytes:
        """Do to the VMs what moto has noted."""
        told = answer.decode()
        instances = re.findall(r"<instanceId>(i-[0-9a-f]+)</instanceId>", told)
        if action == "RunInstances":
            data = base64.b64decode(given.get("UserData", "")).decode()
            for instance in instances:
                if self.dies[0]:
                    self._die(instance)
                    continue
                self._boot(instance, self._disks[given["ImageId"]], data)
        elif action == "StopInstances":
            for instance in instances:
                self._booted.discard(instance)
                self.guests.halt(instance)
                self._lags[instance] = ("stopping", 1 if given.get("Force") == "true" else self.lag)
        elif action == "StartInstances":
            for instance in instances:
                if not self.guests.runs(instance):
                    self._boot(instance, self.disk, "")
        elif action == "TerminateInstances":
            for instance in instances:
                self._booted.discard(instance)
                self.guests.erase(instance)
                self._lags[instance] = ("shutting-down", self.lag)
        elif action == "CreateImage":
            (ami,) = re.findall(r"<imageId>(ami-[0-9a-f]+)</imageId>", told)
            self._disks[ami] = self.folder / "amis" / f"{ami}.qcow2"
            self._ami_lags |= {(ami, ours): self.ami_lag for ours in (True, False)}
            self.guests.capture(given["InstanceId"], self._disks[ami])
        elif action == "CopyImage":
            (ami,) = re.findall(r"<imageId>(ami-[0-9a-f]+)</imageId>", told)
            ec2_amis.copied(ami, given, self._copy_fails())
            self._disks[ami] = self._disks[given["SourceImageId"]]
            self._ami_lags |= {(ami, ours): self.ami_lag for ours in (True, False)}
        return answer

    def _told(self, action: str, given: dict[str, str], answer: bytes) -> bytes:
        """What moto tells, as EC2 does: states as slowly, and what stands behind it."""
        told = answer.decode()
        if action == "GetConsoleOutput":
            printed = base64.b64encode(self._console(given["InstanceId"]).encode()).decode()
            told = re.sub(r"<output>[^<]*</output>", f"<output>{printed}</output>", told)
        elif action == "RunInstances":
            told = ec2_rules.without_address(told)
        elif action == "DescribeInstances":
            told = re.sub(r"<ipAddress>[^<]*</ipAddress>", "<ipAddress>127.0.0.1</ipAddress>", told)
            told = re.sub(r"<dnsName>[^<]+</dnsName>", "<dnsName>127.0.0.1</dnsName>", told)
            for instance in re.findall(r"<instanceId>(i-[0-9a-f]+)</instanceId>", told):
                told = self._as_before(told, instance)
            told = ec2_rules.with_processors(told)
        return told.encode()

    def _console(self, instance: str) -> str:
        try:
            return self.guests.console(instance)
        except FileNotFoundError:
            return ""  # it never booted

    def _boot(self, instance: str, disk: Path, data: str) -> None:
        self.guests.boot(instance, disk, data)
        if self.guests.runs(instance):
            self._booted.add(instance)
        self._lags[instance] = ("pending", self.lag)

    def _die(self, instance: str) -> None:
        """It ended before it ran."""
        word, message = self.dies
        ec2_rules.backend().terminate_instances([instance])
        ec2_rules.instance(instance).state_reason = StateReason(f"{word}: {message}", word)
        self.dies = ("", "")

    def _copy_fails(self) -> StateReason | None:
        """Why the next copy into the region becomes nothing, if a test wants it so."""
        with self._guard:
            left = self.copies_fail.get(ec2_rules.region(), 0)
            self.copies_fail[ec2_rules.region()] = max(0, left - 1)
        return StateReason("Copy image failed with an internal error.", "Server.InternalError") if left else None

    def _while_made(self, answer: bytes, ours: bool) -> bytes:
        """AMIs as they are told of while EC2 makes them: without the snapshots that they will consist of."""
        told = ElementTree.fromstring(answer)  # noqa: S314  # moto's own
        for image in told.findall(f"{_SPACE}imagesSet/{_SPACE}item"):
            ami = image.findtext(f"{_SPACE}imageId", "")
            looks = self._ami_lags.get((ami, ours), 0)
            if looks:
                self._ami_lags[ami, ours] = looks - 1
                for state in image.findall(f"{_SPACE}imageState"):
                    state.text = "pending"
                for reason in image.findall(f"{_SPACE}stateReason"):
                    image.remove(reason)
            if looks or image.findtext(f"{_SPACE}imageState") == "failed":
                for disk in image.iter(f"{_SPACE}ebs"):
                    for snapshot in disk.findall(f"{_SPACE}snapshotId"):
                        disk.remove(snapshot)
        return bytes(ElementTree.tostring(told, encoding="utf-8", xml_declaration=True))

    def _as_before(self, told: str, instance: str) -> str:
        state, looks = self._lags.get(instance, ("", 0))
        if not looks:
            return told
        self._lags[instance] = (state, looks - 1)
        code = {"pending": 0, "stopping": 64, "shutting-down": 32}[state]
        head, found, rest = told.partition(f"<instanceId>{instance}</instanceId>")
        if state == "pending":
            ours, more, others = rest.partition("<instanceId>")
            rest = ec2_rules.without_address(ours) + more + others
        fresh = f"<code>{code}</code>\n<name>{state}</name>"
        return head + found + re.sub(r"<code>\d+</code>\s*<name>[\w-]+</name>", fresh, rest, count=1)


def _read(environ: dict[str, Any], body: bytes) -> tuple[str, str, dict[str, str]]:
    """Service, action and parameters, as each protocol has them."""
    if target := environ.get("HTTP_X_AMZ_TARGET"):
        name, _, action = target.partition(".")
        known = {"AmazonSSM": "ssm", "ServiceQuotasV20190624": "servicequotas"}
        return known.get(name, name), action, json.loads(body or b"{}")
    given = {key: texts[0] for key, texts in parse_qs(body.decode(), keep_blank_values=True).items()}
    found = re.search(r"/(\w+)/aws4_request", environ.get("HTTP_AUTHORIZATION", ""))
    return found[1] if found else "", given.get("Action", ""), given


def _region(environ: dict[str, Any]) -> str:
    """The region that a call is signed for."""
    found = re.search(r"Credential=[^/]+/\d+/([a-z0-9-]+)/", environ.get("HTTP_AUTHORIZATION", ""))
    return found[1] if found and ec2_rules.is_region(found[1]) else ec2_rules.HOME


def _token(action: str, given: dict[str, str]) -> str:
    """What a call that is not to be done twice is known by, in its region; empty for every other."""
    token = given.get("ClientToken", "") if action in ("RunInstances", "CopyImage") else ""
    return f"{ec2_rules.region()} {action} {token}" if token else ""


def _without_token(given: dict[str, str]) -> str:
    return urlencode(sorted((key, text) for key, text in given.items() if key != "ClientToken"))


def _refuse(
    start_response: Callable[..., Any], service: str, code: str, status: int, told: str = ""
) -> Iterable[bytes]:
    message = told or f"{code}, as was asked for"
    if code == "NoAnswer":  # as of a proxy between us
        body, kind = b"<!doctype html>\n<title>no</title>", "text/html"
    elif service in ("ssm", "servicequotas"):
        body = json.dumps({"__type": code, "message": message}).encode()
        kind = "application/x-amz-json-1.1"
    else:
        error = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
        body = f"<Response><Errors>{error}</Errors><RequestID>r-{time.monotonic_ns()}</RequestID></Response>".encode()
        kind = "text/xml"
    later = [("Retry-After", "1")] if status in (429, 503) else []
    start_response(f"{status} No", [("Content-Type", kind), ("Content-Length", str(len(body))), *later])
    return [body]
