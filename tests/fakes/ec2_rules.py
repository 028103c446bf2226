"""What EC2 refuses and moto does not, and how EC2 tells things that moto tells otherwise: for `tests.fakes.ec2`."""

from __future__ import annotations

import base64
import functools
import re
import socket
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any
from xml.etree import ElementTree

from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.ec2.models import ec2_backends

from tests.fakes.silence import until_he_hangs_up

SPACE = "{http://ec2.amazonaws.com/doc/2016-11-15}"
ElementTree.register_namespace("", SPACE[1:-1])

KINDS = {
    "refused": ("InvalidParameterValue", 400),
    "throttled": ("RequestLimitExceeded", 503),
    "broken": ("InternalError", 500),
    "denied": ("UnauthorizedOperation", 403),
    "capacity": ("InsufficientInstanceCapacity", 500),
}
"""How a call can end that is not done: its code and status."""

CUT = ("reset", "silent", "lost")
"""How one can end without an answer; `lost`: it was done."""


HOME = "us-east-2"
"""The region of whoever names none, and the only one that Canonical's image is in."""

_REGION = ContextVar("region", default=HOME)


@contextmanager
def within(region: str) -> Iterator[None]:
    """Mean that region, in this thread, by all that follows."""
    before = _REGION.set(region)
    try:
        yield
    finally:
        _REGION.reset(before)


def region() -> str:
    """The region that is meant: that of the call which is answered, home outside of one."""
    return _REGION.get()


def regions() -> list[str]:
    """Those in which something was ever asked for, home first."""
    return [HOME, *(name for name in list(ec2_backends[DEFAULT_ACCOUNT_ID]) if name != HOME)]


def is_region(name: str) -> bool:
    """Whether there is such a region."""
    return name in ec2_backends[DEFAULT_ACCOUNT_ID].regions


def backend(name: str = "") -> Any:
    """What moto keeps of the region, or of another one."""
    return ec2_backends[DEFAULT_ACCOUNT_ID][name or region()]


def instances() -> list[Any]:
    """All instances that moto knows."""
    return [each for row in backend().reservations.values() for each in row.instances]


def instance(name: str) -> Any:
    """One of them; None where there is none."""
    return next((each for each in instances() if each.id == name), None)


def forget(ended: Iterable[str]) -> None:
    """Let nobody know any more that these were there."""
    kept, gone = backend(), set(ended)
    for row in list(kept.reservations.values()):
        row.instances = [each for each in row.instances if each.id not in gone]
        if not row.instances:
            del kept.reservations[row.id]
    with_them = (name for name in kept.tags if name.startswith(("vol-", "eni-")))
    gone.update(name for name in with_them if name not in kept.volumes and name not in kept.enis)
    for name in gone:
        kept.tags.pop(name, None)


@functools.cache
def catalogue() -> dict[str, Any]:
    """What moto knows about each instance type."""
    return {each["InstanceType"]: each for each in backend(HOME).describe_instance_types()}


def processors(kind: str) -> int:
    """How many a type has."""
    return int(catalogue()[kind]["VCpuInfo"]["DefaultVCpus"])


def ids(given: dict[str, str], key: str) -> list[str]:
    """The values of a list among parameters: `InstanceId.1`, `InstanceId.2`."""
    return [text for name, text in given.items() if re.fullmatch(rf"{key}(\.\d+)?", name)]


def refusal(action: str, given: dict[str, str], shown: dict[str, str], limit: int) -> str:
    """The code of what EC2 refuses. `shown` are states that EC2 still tells and moto does not."""
    named = ids(given, "InstanceId")
    known = {name: instance(name) for name in named}
    states = {name: shown.get(name) or each._state.name for name, each in known.items() if each}
    if action in _ABOUT_INSTANCES and any(not each for each in known.values()):
        return "InvalidInstanceID.NotFound"
    if action in ("CreateTags", "DeleteTags"):
        return _about_tags(given)
    if action == "RunInstances":
        return _about_start(given, limit)
    if action == "CreateSecurityGroup" and len(given.get("GroupName", "")) > 255:
        return "InvalidParameterValue"
    if action == "StopInstances":
        if any(each.lifecycle == "spot" for each in known.values()):
            return "UnsupportedOperation"
        if any(state in ("pending", "shutting-down", "terminated") for state in states.values()):
            return "IncorrectInstanceState"
    if action == "StartInstances" and any(state not in ("stopped", "running", "pending") for state in states.values()):
        return "IncorrectInstanceState"
    if action == "ModifyInstanceAttribute":
        if "UserData.Value" in given and any(state != "stopped" for state in states.values()):
            return "IncorrectInstanceState"
        if any(state in ("shutting-down", "terminated") for state in states.values()):
            return "IncorrectInstanceState"
    if action == "ModifyInstanceMetadataOptions" and any(
        state in ("shutting-down", "terminated") for state in states.values()
    ):
        return "IncorrectInstanceState"
    return too_long(given)


_ABOUT_INSTANCES = (
    *("GetConsoleOutput", "ModifyInstanceAttribute", "ModifyInstanceMetadataOptions"),
    *("StartInstances", "StopInstances", "TerminateInstances"),
)


def _about_tags(given: dict[str, str]) -> str:
    for name in ids(given, "ResourceId"):
        if name.startswith("ami-") and name not in backend().amis:
            return "InvalidAMIID.NotFound"
        if name.startswith("i-") and not instance(name):
            return "InvalidInstanceID.NotFound"
    return too_long(given)


def too_long(given: dict[str, str]) -> str:
    """Tags as EC2 takes them: 50, of 128 and 256 letters ("Tag your Amazon EC2 resources")."""
    for name, text in given.items():
        if re.search(r"Tag\.\d+\.Key$", name) and (len(text) > 128 or text.lower().startswith("aws:")):
            return "InvalidParameterValue"
        if re.search(r"Tag\.\d+\.Value$", name) and len(text) > 256:
            return "InvalidParameterValue"
        if re.search(r"Tag\.5[1-9]\.Key$", name):
            return "TagLimitExceeded"
    return ""


def specified(given: dict[str, str], kind: str) -> dict[str, str]:
    """The tags that a call wants on things of that kind."""
    prefixes = [key.removesuffix("ResourceType") for key, text in given.items() if text == kind]
    return {
        text: given[f"{key.removesuffix('Key')}Value"]
        for prefix in prefixes
        for key, text in given.items()
        if key.startswith(prefix) and key.endswith(".Key")
    }


def _about_start(given: dict[str, str], limit: int) -> str:
    if len(base64.b64decode(given.get("UserData", ""))) > 16384:
        return "InvalidUserData.TooLarge"
    if len(given.get("ClientToken", "")) > 64:
        return "InvalidParameterValue"
    kind = given.get("InstanceType", "m1.small")
    if kind not in catalogue():
        return "InvalidParameterValue"
    nested = "nested-virtualization" in catalogue()[kind]["ProcessorInfo"].get("SupportedFeatures", [])
    if given.get("CpuOptions.NestedVirtualization") == "enabled" and not nested:
        return "UnsupportedOperation"
    taken = sum(processors(each.instance_type) for each in instances() if each._state.name == "running")
    return "VcpuLimitExceeded" if taken + processors(kind) > limit else too_long(given)


def ended(given: dict[str, str]) -> bool:
    """Whether all instances that are named are terminated: EC2 does that again without a word, moto fails."""
    return all(instance(name)._state.name == "terminated" for name in ids(given, "InstanceId"))


def nothing(action: str) -> bytes:
    """The answer to an action that there was nothing to do for."""
    return f'<{action}Response xmlns="{SPACE[1:-1]}"><requestId>r-0</requestId></{action}Response>'.encode()


def as_moto_reads(given: dict[str, str]) -> dict[str, str]:
    """Parameters without our pages; and what moto would take for an order to leave all groups, as it reads it."""
    asked = {key: text for key, text in given.items() if key != "NextToken"}
    if behaviour := asked.pop("InstanceInitiatedShutdownBehavior.Value", ""):
        asked |= {"Attribute": "instanceInitiatedShutdownBehavior", "Value": behaviour}
    return asked


def without_address(told: str) -> str:
    """Instances that have no address yet."""
    return re.sub(r"<ipAddress>[^<]*</ipAddress>|<dnsName>[^<]+</dnsName>", "", told)


def with_processors(told: str) -> str:
    """Instances with their processors, which moto does not tell."""

    def add(found: re.Match[str]) -> str:
        count = processors(found[1])
        options = f"<coreCount>{max(1, count // 2)}</coreCount><threadsPerCore>{2 if count > 1 else 1}</threadsPerCore>"
        return f"{found[0]}<cpuOptions>{options}</cpuOptions>"

    return re.sub(r"<instanceType>([^<]+)</instanceType>", add, told)


def page(answer: bytes, start: int, size: int) -> bytes:
    """A part of a listing, and where the next one begins."""
    told = ElementTree.fromstring(answer)  # noqa: S314  # moto's own
    for listing in told:
        rows = listing.findall(f"{SPACE}item")
        for number, row in enumerate(rows):
            if not start <= number < start + size:
                listing.remove(row)
        if len(rows) > start + size:
            ElementTree.SubElement(told, f"{SPACE}nextToken").text = f"page-{start + size}"
            break
    return bytes(ElementTree.tostring(told, encoding="utf-8", xml_declaration=True))


def hang_up(environ: dict[str, Any], *, late: bool = False) -> None:
    """End the connection as a line that is cut: without a word. If `late`, the caller ends it: he has waited enough."""
    line: socket.socket = environ["werkzeug.socket"]
    if late:
        until_he_hangs_up(line)
    line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    with suppress(OSError):  # he has hung up himself
        line.shutdown(socket.SHUT_RDWR)
    raise ConnectionResetError
