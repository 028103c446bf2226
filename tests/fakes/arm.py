"""Azure's resource manager and Entra ID as one server behind a proxy; real VMs run behind it.

It keeps resources by their path, deploys templates, takes its time over what takes long, holds
every body against the SDK's own types and every call against the role that we give out. The Azure
SDKs and packer reach it under Azure's own names: HTTPS_PROXY leads them here, and nowhere else.
"""

from __future__ import annotations

import base64
import ipaddress
import json
import re
import socket
import ssl
import threading
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import trustme

from cloud import names, wait
from tests.fakes import template
from tests.fakes.contract import wrongs
from tests.fakes.guests import Guests, Paper, pass_on
from tests.fakes.rules import SIZES, Refusal, skus, told_in, well_named, well_ruled, well_tagged, well_told
from tests.fakes.silence import until_he_hangs_up

HOSTS = ("management.azure.com", "login.microsoftonline.com")
TENANT, APP, SECRET, TOKEN = "11111111-2222-3333-4444-555555555555", "our-app", "canary-secret-7f3e", "a-token"
SUBSCRIPTION = "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee"
GROUP = "auto-github-runner"
OFFER = ("canonical", "micro", "22_04")
VERSION = "22.04.202611010"
"""What everything starts from; behind it is the micro guest."""

ROLE = Path(__file__).resolve().parents[2] / "docs" / "policies" / "azure.json"
ROLE_ACTIONS: tuple[str, ...] = tuple(json.loads(ROLE.read_text())["Actions"])

_KINDS = {
    "microsoft.compute/galleries": "Gallery",
    "microsoft.compute/galleries/images": "GalleryImage",
    "microsoft.compute/galleries/images/versions": "GalleryImageVersion",
    "microsoft.compute/images": "Image",
    "microsoft.compute/virtualmachines": "VirtualMachine",
    "microsoft.network/networksecuritygroups": "NetworkSecurityGroup",
    "microsoft.network/networksecuritygroups/securityrules": "SecurityRule",
    "microsoft.network/virtualnetworks": "VirtualNetwork",
    "microsoft.network/virtualnetworks/subnets": "Subnet",
}
"""The SDK's names of what a body is held against."""
_SINCE = "2019-07-01"
"""Packer 1.6.6 speaks an older language: such bodies are others."""
_COLLECTIONS = (
    *("virtualMachines", "images", "galleries", "versions", "disks", "operations", "permissions"),
    *("networkInterfaces", "publicIPAddresses", "securityRules", "virtualNetworks", "networkSecurityGroups"),
)
_VM, _NIC, _IP, _DISK = (
    *("microsoft.compute/virtualmachines", "microsoft.network/networkinterfaces"),
    *("microsoft.network/publicipaddresses", "microsoft.compute/disks"),
)
_RULE = "microsoft.network/networksecuritygroups/securityrules"


@dataclass
class Fault:
    """How calls of an action are to end, some times; with 200 it is what takes long that fails later."""

    action: str
    code: str
    status: int
    times: int
    message: str = ""
    after: bool = False
    """The work is done, and the answer is lost."""
    skip: int = 0
    """How many calls pass before it comes."""


class Lost(Exception):
    """A call that gets no answer: the connection ends, or its caller ends it, who has waited long enough."""

    def __init__(self, *, late: bool = False) -> None:
        self.late = late


KINDS = {
    "refused": ("Conflict", 409),
    "throttled": ("TooManyRequests", 429),
    "broken": ("InternalServerError", 500),
    "denied": ("AuthorizationFailed", 403),
    "capacity": ("SkuNotAvailable", 409),
    "reset": ("", 0),
    "silent": ("Silence", 0),
    "lost": ("", 0),
}
"""What can happen to any call, and what its answer is then."""


@dataclass
class Work:
    """Something that takes long: how many looks at it still say so, and how it ends."""

    looks: int
    error: dict[str, Any] | None = None
    thing: dict[str, Any] = field(default_factory=dict)
    """What is made: it shows its state too."""


@dataclass
class Answer:
    """Status, body and headers."""

    status: int
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Arm:
    """A subscription with the resource group of the images in it."""

    folder: Path
    disk: Path
    """What the publisher's image boots."""
    calls: list[tuple[str, Any]] = field(default_factory=list)
    """Every call that came: `Microsoft.Compute/images/write` and its body."""
    faults: list[Fault] = field(default_factory=list)
    delays: dict[str, float] = field(default_factory=dict)
    """Seconds after which calls of an action are answered, when they are done."""
    rights: list[str] = field(default_factory=lambda: list(ROLE_ACTIONS))
    paper: Paper | None = None
    """Guests that are only written down, in the place of real ones."""
    refused: list[str] = field(default_factory=list)
    """What was called though the role that we give out does not allow it, and what this fake could not answer."""
    cores: int = 10
    """The quota: how many processors all VMs together may have."""
    families: dict[str, int] = field(default_factory=dict)
    """How many those of one family may have, where that is less."""
    lag: int = 1
    """How many looks at something that takes long say that it is not done."""
    pace: str = "1"
    """The seconds that one is to wait between two looks; empty: as one likes."""
    page: int = 100
    """How many things a page of a list has."""
    left_out: set[str] = field(default_factory=set)
    """Names of VMs that the list of states has not, as happens."""
    zones: tuple[str, ...] = ("1", "2", "3")
    asked: int = 0
    """How many calls came that are no looks at something that takes long."""

    def __enter__(self) -> Arm:
        (self.folder / "vms").mkdir(parents=True)
        (self.folder / "images").mkdir()
        self.guests = self.paper or Guests(self.folder / "vms")
        self.things: dict[str, dict[str, Any]] = {}
        self._disks: dict[str, Path] = {}
        self._works: dict[str, Work] = {}
        self._guard = threading.RLock()
        self.things[_group(GROUP).lower()] = {"id": _group(GROUP), "name": GROUP, "location": "westus", "tags": {}}
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(self.folder / "ca.pem"))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(*HOSTS).configure_cert(context)
        self._server = _Server(("127.0.0.1", 0), type("Bound", (_Handler,), {"arm": self}))
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        self._door = socket.create_server(("127.0.0.1", 0), backlog=128)
        threading.Thread(target=self._lead, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._door.close()
        self._server.shutdown()
        self._server.server_close()
        self.guests.close()

    @property
    def variables(self) -> dict[str, str]:
        """The environment of one who works here."""
        return {
            "HTTPS_PROXY": f"http://127.0.0.1:{self._door.getsockname()[1]}",
            "SSL_CERT_FILE": str(self.folder / "ca.pem"),
            "REQUESTS_CA_BUNDLE": str(self.folder / "ca.pem"),
            "SP_TENANT": TENANT,
            "SP_APPID": APP,
            "SP_PASSWORD": SECRET,
            "KM_AZURE__SSH_PORT": str(self.guests.port),
            "KM_AZURE__POLL": "1",
            "KM_AZURE__BOOT_TIMEOUT": "180",
            "KM_CALLER__CIDR": "127.0.0.1/32",
            "KM_PACKER__MINIMUM": "1.6.6",
        }

    def fails(
        self,
        action: str,
        code: str,
        status: int = 400,
        *,
        times: int = 1,
        message: str = "",
        after: bool = False,
        skip: int = 0,
    ) -> None:
        """Let the next calls of that action end so; with `after` the work is done, and its answer is lost."""
        self.faults.append(Fault(action, code, status, times, message or f"{code}, as was asked for", after, skip))

    def fails_at(self, number: int, kind: str, *, times: int = 1) -> None:
        """Let the call of that number, counted from now on, and so many after it, end in one of the `KINDS`."""
        code, status = KINDS[kind]
        fault = Fault("*", code, status, times, f"{kind}, as was asked for", kind == "lost", number - 1)
        self.faults.append(fault)

    def existing(self) -> list[str]:
        """All that is billed, or lets somebody in: VMs, interfaces, addresses, disks, ssh rules of VMs."""
        kinds = (_VM, _NIC, _IP, _DISK, _RULE)
        return sorted(thing["id"] for key, thing in self.things.items() if _kind(key) in kinds)

    def vm(self, name: str) -> dict[str, Any]:
        """The VM of that name, as it is kept."""
        return next(thing for key, thing in self.things.items() if _kind(key) == _VM and thing["name"] == name)

    def switches_itself_off(self, name: str) -> None:
        """Let the VM's guest end by itself."""
        self.guests.halt(_guest(self.vm(name)["id"]))

    def user_data(self, name: str) -> str:
        """What can be read in the VM of that name."""
        return base64.b64decode(self.vm(name)["properties"].get("userData", "")).decode()

    def actions(self) -> list[str]:
        """What was called, in order."""
        return [action for action, _ in self.calls]

    def put(self, path: str, body: dict[str, Any]) -> str:
        """Something that is there without a call; its id."""
        made = path if path.startswith("/subscriptions/") else f"{_group(GROUP)}/providers/Microsoft.Compute/{path}"
        self.things[made.lower()] = {"id": made, "name": made.rpartition("/")[2], "tags": {}, **body}
        self._disks[made.lower()] = self.disk
        return made

    def answer(self, method: str, host: str, target: str, headers: Any, body: bytes) -> Answer:
        """The answer to a request."""
        split = urlsplit(target)
        if host == HOSTS[1]:
            return _token(split.path, body)
        query = {key.lower(): texts[0] for key, texts in parse_qs(split.query).items()}
        with self._guard:
            try:
                if headers.get("Authorization") != f"Bearer {TOKEN}":
                    raise Refusal(401, "InvalidAuthenticationToken")
                if not re.fullmatch(r"20\d\d-\d\d-\d\d(-preview)?", query.get("api-version", "")):
                    raise Refusal(400, "MissingApiVersionParameter", "The api-version query parameter is required")
                given = json.loads(body) if body else None
                self._late: Fault | None = None
                answer = self._answer(method, split.path.rstrip("/"), query, given)
                if self._late:
                    raise Lost
                return answer
            except Refusal as refusal:
                told = {"code": refusal.code, "message": refusal.message or refusal.code}
                return Answer(refusal.status, {"error": told}, {"Retry-After": "1"} if refusal.status == 429 else {})

    def _answer(self, method: str, path: str, query: dict[str, str], given: Any) -> Answer:
        if path == "/subscriptions":  # everybody sees those in which he may do anything
            self.calls.append(("Microsoft.Resources/subscriptions/read", None))
            return Answer(200, {"value": [{"id": f"/subscriptions/{SUBSCRIPTION}", "subscriptionId": SUBSCRIPTION}]})
        if not path.startswith(f"/subscriptions/{SUBSCRIPTION}"):
            raise Refusal(404, "SubscriptionNotFound")
        if found := re.search(r"/operations?(?:Statuses|Results|s)/([0-9a-f-]{36})$", path, re.IGNORECASE):
            return self._progress(found[1], "results" in path.lower())
        action = _action(method, path)
        later = self._allowed(action, given)
        kind = _kind(path)
        if answer := self._special(method, path, kind, query, given):
            return answer
        if "/providers/" not in path:
            return self._of_group(method, path, query, given)
        if "/resourcegroups/" in path.lower() and _group_of(path) not in self.things:
            raise Refusal(404, "ResourceGroupNotFound", f"Resource group '{path.split('/')[4]}' could not be found.")
        if kind.startswith("microsoft.resources/deployments"):
            return self._of_deployment(method, path, query, given, later)
        match method:
            case "PATCH":
                return self._patched(path, given, later)
            case "PUT":
                return self._written(path, kind, query["api-version"], given, later)
            case "POST":
                return self._asked_to(path, later)
            case "DELETE":
                return self._deleted(path, later)
        return self._read(path, kind, query)

    def _special(self, method: str, path: str, kind: str, query: dict[str, str], given: Any) -> Answer | None:
        """What is no resource: offers, limits, sizes, rights, tags."""
        if "/artifacttypes/vmimage/" in path.lower():
            return self._offered(path)
        if kind == "microsoft.resources/tags":
            return self._tagged(method, path, given)
        if kind == "microsoft.compute/locations/usages":
            return self._paged(self._usages(), path, query)
        if kind == "microsoft.compute/skus":
            return self._paged(skus(), path, query)
        if kind == "microsoft.authorization/permissions":
            return Answer(200, {"value": [{"actions": self.rights, "notActions": []}]})
        return None

    def _allowed(self, action: str, given: Any) -> Fault | None:
        """Note the call, and refuse what the role does not allow; a fault that shows itself later is returned."""
        self.calls.append((action, given))
        if not _among(action, self.rights):
            if not _among(action, ROLE_ACTIONS):  # else a test has taken the right away
                self.refused.append(action)
            words = f"The client '{APP}' does not have authorization to perform action '{action}' over scope 'it'."
            raise Refusal(403, "AuthorizationFailed", words)
        return self._fault(action)

    def _fault(self, action: str) -> Fault | None:
        self.asked += 1
        for fault in self.faults:
            if fault.action.lower() not in ("*", action.lower()) or not fault.times:
                continue
            if fault.skip:
                fault.skip -= 1
                continue
            fault.times -= 1
            if fault.after:
                self._late = fault
            elif not fault.status:
                raise Lost(late=fault.code == "Silence")
            elif fault.status == 200:
                return fault
            else:
                raise Refusal(fault.status, fault.code, fault.message)
        return None

    def _read(self, path: str, kind: str, query: dict[str, str]) -> Answer:
        if path.lower() in self.things:
            return Answer(200, self._shown(path.lower(), query.get("$expand", "").lower()))
        if path.rpartition("/")[2].lower() in [name.lower() for name in _COLLECTIONS]:
            parent = path.rpartition("/")[0].lower()
            if "/galleries/" in parent and parent not in self.things:
                raise Refusal(404, "ParentResourceNotFound", "Can not perform requested operation on nested resource.")
            scope = parent.partition("/providers/")[0]
            ours = [thing for key, thing in self.things.items() if key.startswith(f"{scope}/") and _kind(key) == kind]
            nested = "/galleries/" in parent or kind == _RULE
            if kind == _RULE and parent not in self.things:
                raise Refusal(404, "ResourceNotFound", f"The Resource '{parent}' was not found.")
            below = [thing for thing in ours if not nested or thing["id"].lower().startswith(f"{parent}/")]
            if query.get("statusonly") == "true":
                return self._paged(
                    [self._status(each) for each in below if each["name"] not in self.left_out], path, query
                )
            return self._paged([self._shown(each["id"].lower(), "") for each in below], path, query)
        raise Refusal(404, "ResourceNotFound", f"The Resource '{path}' was not found.")

    def _paged(self, things: list[dict[str, Any]], path: str, query: dict[str, str]) -> Answer:
        start = int(query.get("$skiptoken", "0"))
        told: dict[str, Any] = {"value": things[start : start + self.page]}
        if things[start + self.page :]:
            rest = "".join(f"&{key}={text}" for key, text in query.items() if key != "$skiptoken")
            told["nextLink"] = f"https://{HOSTS[0]}{path}?$skiptoken={start + self.page}{rest.replace(' ', '%20')}"
        return Answer(200, told)

    def _shown(self, key: str, expand: str) -> dict[str, Any]:
        """A thing as it is told of: a VM without its user data, and with its state where one asks for that."""
        thing = self.things[key]
        if _kind(key).startswith("microsoft.network/") or _kind(key) == _VM:
            self._looked_at(thing)
        if _kind(key) != _VM:
            return thing
        hidden = {"userData"} if expand != "userdata" else set()
        properties = {name: value for name, value in thing["properties"].items() if name not in hidden}
        if expand == "instanceview":
            properties["instanceView"] = {"statuses": self._statuses(thing)}
        return {**{name: value for name, value in thing.items() if name not in _KEPT}, "properties": properties}

    def _status(self, thing: dict[str, Any]) -> dict[str, Any]:
        """A VM in the list of states: without its tags, and most else."""
        view = {"statuses": self._statuses(thing)}
        state = thing["properties"]["provisioningState"]
        return {
            **{name: thing[name] for name in ("id", "name", "type", "location") if name in thing},
            "properties": {"vmId": thing["properties"]["vmId"], "provisioningState": state, "instanceView": view},
        }

    def _statuses(self, thing: dict[str, Any]) -> list[dict[str, str]]:
        state, error = thing["properties"].get("provisioningState", ""), thing.get("error")
        word = f"failed/{error['code']}" if state == "Failed" and error else state.lower()
        told = {"code": f"ProvisioningState/{word}", "level": "Error" if error else "Info", "displayStatus": state}
        if error:
            told["message"] = error["message"]
        power = thing.get("state") or ("running" if self.guests.runs(_guest(thing["id"])) else "stopped")
        if power == "none":
            return [told]
        power = "deallocated" if power == "generalized" else power
        return [told, {"code": f"PowerState/{power}", "level": "Info", "displayStatus": f"VM {power}"}]

    def _looked_at(self, thing: dict[str, Any]) -> None:
        """What takes long goes on, also where nobody asks how it does."""
        for work in self._works.values():
            if work.thing is thing:
                self._goes_on(work)

    def _goes_on(self, work: Work) -> bool:
        """Whether it is done."""
        if work.looks:
            work.looks -= 1
            return False
        properties = work.thing.get("properties", {})
        if properties.get("provisioningState") not in ("Failed", "Succeeded", "Deleting"):
            properties["provisioningState"] = "Failed" if work.error else "Succeeded"
        return True

    def _usages(self) -> list[dict[str, Any]]:
        told = [("cores", "Total Regional vCPUs", self.cores, self._used(""))]
        told += [
            (family, f"{family} vCPUs", self.families.get(family, self.cores), self._used(family))
            for family in sorted({each for _, each in SIZES.values()})
        ]
        return [
            {"unit": "Count", "limit": limit, "currentValue": used, "name": {"value": name, "localizedValue": words}}
            for name, words, limit, used in told
        ]

    def _used(self, family: str) -> int:
        """Processors of all VMs, those that are deallocated too ("vCPU quotas")."""
        sizes = [thing["properties"] for key, thing in self.things.items() if _kind(key) == _VM]
        each = [SIZES[properties["hardwareProfile"]["vmSize"]] for properties in sizes]
        return sum(cores for cores, of in each if family in ("", of))

    def _tagged(self, method: str, path: str, given: Any) -> Answer:
        thing = self.things.get(path.lower().partition("/providers/microsoft.resources/tags")[0])
        if thing is None:
            raise Refusal(404, "ResourceNotFound", f"The Resource '{path}' was not found.")
        if method == "PATCH":
            tags = dict(thing.get("tags", {}))
            wanted = given["properties"]["tags"]
            if given["operation"] == "Merge":
                tags |= wanted
            else:
                assert given["operation"] == "Delete", given
                tags = {key: text for key, text in tags.items() if wanted.get(key) != text}
            well_tagged(tags)
            thing["tags"] = tags
        return Answer(200, {"id": path, "name": "default", "properties": {"tags": thing.get("tags", {})}})

    def _patched(self, path: str, given: dict[str, Any], later: Fault | None) -> Answer:
        thing = self.things.get(path.lower())
        if thing is None:
            raise Refusal(404, "ResourceNotFound", f"The Resource '{path}' was not found.")
        assert _kind(path) == _VM, path
        if found := wrongs(given, "VirtualMachineUpdate"):
            raise Refusal(400, "InvalidRequestContent", "; ".join(found))
        properties = given.get("properties", {})
        if unknown := set(properties) - {"userData"}:
            raise Refusal(409, "PropertyChangeNotAllowed", f"Changing property '{unknown.pop()}' is not allowed.")
        if "userData" in properties:
            told_in(properties)
        thing["properties"] |= properties
        thing["tags"] = given.get("tags", thing.get("tags", {}))
        return Answer(200, self._shown(path.lower(), ""), self._working(later, thing=thing))

    def _written(self, path: str, kind: str, api: str, given: dict[str, Any], later: Fault | None) -> Answer:
        before = self.things.get(path.lower())
        if before and kind == _VM and before.get("asked") == json.dumps(given):
            return Answer(200, self._shown(path.lower(), ""), self._working(later, thing=before))
        asked = json.dumps(given)
        self._made(path, kind, api, json.loads(asked), later)
        self.things[path.lower()] |= {"asked": asked} if kind == _VM else {}
        thing = self.things[path.lower()]
        if later:
            thing["error"] = {"code": later.code, "message": later.message}
        headers = self._working(later, thing=thing)
        return Answer(201 if before is None else 200, self._shown(path.lower(), ""), headers)

    def _made(self, path: str, kind: str, api: str, given: dict[str, Any], later: Fault | None) -> None:
        if kind in _KINDS and api >= _SINCE and (found := wrongs(given, _KINDS[kind])):
            raise Refusal(400, "InvalidRequestContent", "; ".join(found))
        parent = path.rpartition("/")[0].rpartition("/")[0]
        nested = "/galleries/" in parent.lower() + "/" or kind.startswith("microsoft.network/")
        if nested and kind.count("/") > 1 and parent.lower() not in self.things:
            raise Refusal(404, "ParentResourceNotFound", f"{parent} was not found.")
        if kind == "microsoft.compute/galleries/images/versions":
            given = _as_newer(given)
        before = self.things.get(path.lower())
        name = path.rpartition("/")[2]
        well_named(kind, name)
        well_tagged(given.get("tags", {}))
        if kind.startswith("microsoft.network/"):
            self._joins(path, kind, given)
        if before is None:
            self._happens(path, kind, given, later)
        elif kind == _VM:
            raise Refusal(409, "PropertyChangeNotAllowed", f"{name} is there.")
        elif kind.endswith("/versions") and given["properties"]["storageProfile"] != before["properties"].get(
            "storageProfile"
        ):
            raise Refusal(409, "PropertyChangeNotAllowed", "Changing property 'storageProfile' is not allowed.")
        properties = {**given.get("properties", {}), "provisioningState": "Creating"}
        if kind == _IP:
            properties["ipAddress"] = "127.0.0.1"
        # A path is read in any case of letters, and told as it was first written.
        told: dict[str, Any] = {"id": before["id"] if before else path, "name": name, "type": kind}
        if kind == _VM:
            self._furnished(path, properties, given)
            if later and not later.code.startswith("OSProvisioning"):
                told["state"] = "none"
        self.things[path.lower()] = {**given, **told, "properties": properties}

    def _furnished(self, path: str, properties: dict[str, Any], given: dict[str, Any]) -> None:
        """Make what a VM consists of, as far as it is not there."""
        group, tags = path.partition("/providers/")[0], given.get("tags", {})
        properties["vmId"] = str(uuid.uuid4())
        properties["timeCreated"] = names.moment(wait.clock.now())
        properties["osProfile"].pop("customData", None)
        disk = properties["storageProfile"]["osDisk"]
        where = f"{group}/providers/Microsoft.Compute/disks/{disk.get('name', 'os')}"
        disk["managedDisk"] = {**disk.get("managedDisk", {}), "id": where}
        attached = {"managedBy": path, "tags": tags, "properties": {"diskState": "Attached"}}
        self.put(disk["managedDisk"]["id"], attached)
        network = dict(properties["networkProfile"])
        for told in network.pop("networkInterfaceConfigurations", ()):
            where = f"{group}/providers/Microsoft.Network/networkInterfaces/{told['name']}"
            ways = []
            for number, each in enumerate(told["properties"]["ipConfigurations"]):
                way = dict(each["properties"])
                if address := way.pop("publicIPAddressConfiguration", None):
                    way["publicIPAddress"] = {
                        "id": f"{group}/providers/Microsoft.Network/publicIPAddresses/{address['name']}"
                    }
                    held = {
                        "ipAddress": "127.0.0.1",
                        "ipConfiguration": {"id": f"{where}/ipConfigurations/{each['name']}"},
                    }
                    self.put(way["publicIPAddress"]["id"], {"tags": address.get("tags", {}), "properties": held})
                way["privateIPAddress"] = f"10.77.0.{4 + len(self.things) % 250 + number}"
                ways.append({"name": each["name"], "properties": way})
            interface = {"ipConfigurations": ways, "virtualMachine": {"id": path}}
            self.put(where, {"tags": told.get("tags", {}), "properties": interface})
            network["networkInterfaces"] = [{"id": where, "properties": {"primary": True, "deleteOption": "Delete"}}]
        properties["networkProfile"] = network

    def _inline(self, path: str, properties: dict[str, Any]) -> None:
        """Hold the network of a VM in one call against what is there, and what we may do."""
        network = properties["networkProfile"]
        made = network.get("networkInterfaceConfigurations", ())
        if made and network.get("networkApiVersion") not in ("2020-11-01", "2022-11-01"):
            raise Refusal(400, "InvalidParameter", "networkApiVersion is needed")
        for told in made:
            for action in (
                "networkInterfaces/write",
                "networkInterfaces/join/action",
                "virtualNetworks/subnets/join/action",
            ):
                self._may(f"Microsoft.Network/{action}")
            for each in told["properties"]["ipConfigurations"]:
                way = each["properties"]
                if self._subnet(way["subnet"]["id"]) is None:
                    raise Refusal(400, "InvalidResourceReference", f"Resource {way['subnet']['id']} was not found.")
                address = way.get("publicIPAddressConfiguration")
                if address and address.get("sku", {}).get("name") != "Standard":
                    raise Refusal(
                        400, "IPv4BasicSkuPublicIpCountLimitReached", "Basic addresses are no longer given out"
                    )
        for told in network.get("networkInterfaces", ()):
            if told["id"].lower() not in self.things:
                raise Refusal(404, "InvalidResourceReference", f"Resource {told['id']} was not found.")

    def _subnet(self, path: str) -> dict[str, Any] | None:
        parent, _, name = path.lower().partition("/subnets/")
        found = self.things.get(parent, {}).get("properties", {}).get("subnets", ())
        return next((each for each in found if each["name"].lower() == name), None)

    def _joins(self, path: str, kind: str, given: dict[str, Any]) -> None:
        """Hold what makes a network against what is there."""
        properties = given.get("properties", {})
        parent = path.rpartition("/")[0].rpartition("/")[0]
        if kind == _RULE:
            well_ruled(properties)
            others = [thing for key, thing in self.things.items() if key.startswith(f"{parent.lower()}/securityrules/")]
            for thing in others:
                same = all(thing["properties"][each] == properties[each] for each in ("priority", "direction"))
                if same and thing["id"].lower() != path.lower():
                    raise Refusal(
                        400, "SecurityRuleConflict", f"Rules can not have the same priority as {thing['name']}."
                    )
        elif kind.startswith("microsoft.network/virtualnetworks"):
            whole = properties if kind.endswith("networks") else self.things[parent.lower()]["properties"]
            spaces = [ipaddress.ip_network(each) for each in whole["addressSpace"]["addressPrefixes"]]
            inside = properties.get("subnets", ()) if kind.endswith("networks") else [{"properties": properties}]
            for each in inside:
                prefix = ipaddress.ip_network(each["properties"]["addressPrefix"])
                if not any(prefix.subnet_of(space) for space in spaces):  # type: ignore[arg-type]
                    raise Refusal(400, "NetcfgInvalidSubnet", f"Subnet {prefix} is not in {spaces}.")
                firewall = each["properties"].get("networkSecurityGroup", {}).get("id")
                if firewall and firewall.lower() not in self.things:
                    raise Refusal(400, "InvalidResourceReference", f"Resource {firewall} was not found.")
            if kind.endswith("subnets"):
                others = [each for each in whole.get("subnets", ()) if each["name"] != path.rpartition("/")[2]]
                whole["subnets"] = [*others, {"name": path.rpartition("/")[2], "id": path, "properties": properties}]

    def _may(self, action: str) -> None:
        """Refuse what the role does not allow: a part of a call that makes more than one thing."""
        if not _among(action, self.rights):
            if not _among(action, ROLE_ACTIONS):
                self.refused.append(action)
            raise Refusal(
                403, "LinkedAuthorizationFailed", f"no authorization to perform action '{action}' over scope 'it'"
            )

    def _happens(self, path: str, kind: str, given: dict[str, Any], later: Fault | None) -> None:
        """Do to the VMs and their disks what a new resource means."""
        properties = given.get("properties", {})
        if kind == _VM:
            size = properties["hardwareProfile"]["vmSize"]
            if size not in SIZES:
                raise Refusal(400, "InvalidParameter", f"The value {size} provided for the VM size is not valid.")
            if unknown := set(given.get("zones", ())) - set(self.zones):
                raise Refusal(400, "InvalidAvailabilityZone", f"The zone(s) '{unknown.pop()}' is not supported.")
            well_told(properties["osProfile"])
            self._inline(path, properties)
            cores, family = SIZES[size]
            for limit, used, what in (
                (self.cores, self._used(""), "Total Regional Cores"),
                (self.families.get(family, self.cores), self._used(family), f"{family} Cores"),
            ):
                if used + cores > limit:
                    words = f"Operation could not be completed as it results in exceeding approved {what} quota."
                    numbers = f"Current Limit: {limit}, Usage: {used}, Additional Required: {cores}"
                    raise Refusal(409, "OperationNotAllowed", f"{words} {numbers}")
            started, told = self._started_from(properties), told_in({**properties["osProfile"], **properties})
            if not later or later.code.startswith("OSProvisioning"):
                self.guests.boot(_guest(path), started, told)
        elif kind == "microsoft.compute/images":
            machine = properties["sourceVirtualMachine"]["id"]
            state = self.things.get(machine.lower(), {}).get("state")
            if state != "generalized":
                raise Refusal(409, "OperationNotAllowed", f"The VM is {state}, not generalized.")
            self._disks[path.lower()] = self.folder / "images" / f"{uuid.uuid4()}.qcow2"
            self.guests.capture(_guest(machine), self._disks[path.lower()])
        elif kind == "microsoft.compute/galleries/images/versions":
            source = properties["storageProfile"]["source"]
            if source["id"].lower() not in self._disks:
                raise Refusal(404, "SourceNotFound", source["id"])
            self._disks[path.lower()] = self._disks[source["id"].lower()]

    def _started_from(self, properties: dict[str, Any]) -> Path:
        reference = properties["storageProfile"]["imageReference"]
        if "publisher" in reference:
            if tuple(reference[key] for key in ("publisher", "offer", "sku", "version")) != (*OFFER, VERSION):
                raise Refusal(404, "PlatformImageNotFound", str(reference))
            return self.disk
        if reference["id"].lower() not in self._disks:
            raise Refusal(404, "GalleryImageNotFound", reference["id"])
        return self._disks[reference["id"].lower()]

    def _asked_to(self, path: str, later: Fault | None) -> Answer:
        thing, _, verb = path.rpartition("/")
        if thing.lower() not in self.things:
            raise Refusal(404, "ResourceNotFound", thing)
        machine = self.things[thing.lower()]
        if verb == "retrieveBootDiagnosticsData":
            address = f"https://{HOSTS[0]}/console/{_guest(thing)}"
            return Answer(200, {"serialConsoleLogBlobUri": address})
        if verb == "generalize":
            if machine.get("state") != "deallocated":
                raise Refusal(409, "OperationNotAllowed", "The VM is not deallocated.")
            machine["state"] = "generalized"
            return Answer(200)
        if later:
            return Answer(202, None, self._working(later))
        if verb == "start":
            if machine.get("state") in ("deallocated", "stopped") or not self.guests.runs(_guest(thing)):
                self.guests.boot(_guest(thing), self.disk, "")
                machine.pop("state", None)
        else:
            assert verb in ("deallocate", "powerOff"), verb
            self.guests.halt(_guest(thing))
            machine["state"] = "deallocated" if verb == "deallocate" else machine.get("state", "stopped")
        return Answer(202, None, self._working(None))

    def _deleted(self, path: str, later: Fault | None) -> Answer:
        if path.lower() not in self.things:
            return Answer(204)
        below = [key for key in self.things if key.startswith(f"{path.lower()}/")]
        if "/galleries/" in path.lower() and below:
            raise Refusal(409, "CannotDeleteResource", "Can not delete resource before nested resources are deleted.")
        self._free(path)
        if not later:
            for key in [path.lower(), *below, *self._ends_with(path)]:
                if self.things.pop(key, None) is not None and _kind(key) == _VM:
                    self.guests.erase(_guest(key))
        return Answer(202, None, self._working(later))

    def _free(self, path: str) -> None:
        """Refuse to remove what something else needs."""
        held, kind = self.things[path.lower()], _kind(path)
        if kind == _NIC and held["properties"].get("virtualMachine", {}).get("id", "").lower() in self.things:
            raise Refusal(400, "NicInUse", f"Network Interface {path} is used by existing resource.")
        way = held.get("properties", {}).get("ipConfiguration", {}).get("id", "").lower()
        if kind == _IP and way.partition("/ipconfigurations/")[0] in self.things:
            raise Refusal(400, "PublicIPAddressCannotBeDeleted", f"Public IP address {path} can not be deleted.")
        if kind == _DISK and held.get("managedBy", "").lower() in self.things:
            raise Refusal(409, "OperationNotAllowed", f"Disk {path} is attached to VM {held['managedBy']}.")

    def _ends_with(self, path: str) -> Iterator[str]:
        """What goes with a VM, as it was made: a disk, an interface and its address with `deleteOption`."""
        if _kind(path) != _VM:
            return
        properties = self.things[path.lower()]["properties"]
        disk = properties["storageProfile"]["osDisk"]
        if disk.get("deleteOption") == "Delete":
            yield disk["managedDisk"]["id"].lower()
        for told in properties["networkProfile"].get("networkInterfaces", ()):
            if told.get("properties", {}).get("deleteOption") != "Delete":
                continue
            for way in self.things.get(told["id"].lower(), {}).get("properties", {}).get("ipConfigurations", ()):
                yield way["properties"].get("publicIPAddress", {}).get("id", "").lower()
            yield told["id"].lower()

    def _of_group(self, method: str, path: str, query: dict[str, str], given: Any) -> Answer:
        if path.lower().endswith("/resourcegroups"):
            wanted = re.fullmatch(r"tagName eq '([^']+)'", query.get("$filter", ""))
            groups = [thing for key, thing in self.things.items() if key.count("/") == 4]
            return Answer(200, {"value": [each for each in groups if not wanted or wanted[1] in each.get("tags", {})]})
        there = path.lower() in self.things
        if method == "HEAD":
            return Answer(204 if there else 404)
        if method in ("PUT", "PATCH"):
            state = {"provisioningState": "Succeeded"}
            self.things[path.lower()] = {"id": path, "name": path.rpartition("/")[2], **given, "properties": state}
            return Answer(200 if there else 201, self.things[path.lower()])
        if not there:
            raise Refusal(404, "ResourceGroupNotFound", f"Resource group '{path.rpartition('/')[2]}' was not found.")
        return self._deleted(path, None) if method == "DELETE" else Answer(200, self.things[path.lower()])

    def _of_deployment(self, method: str, path: str, query: dict[str, str], given: Any, later: Fault | None) -> Answer:
        if path.endswith("/validate"):
            return Answer(200, {"properties": {}})
        if method == "PUT":
            error = None
            try:
                self._deployed(path, given["properties"])
            except Refusal as refusal:
                inner = {"code": refusal.code, "message": refusal.message or refusal.code}
                words = "At least one resource deployment operation failed."
                error = {"code": "DeploymentFailed", "message": words, "details": [inner]}
            state = {"provisioningState": "Accepted", "error": error}
            thing = {"id": path, "name": path.rpartition("/")[2], "properties": state}
            self.things[path.lower()] = thing
            return Answer(201, thing, self._working(later, error, thing))
        if method == "DELETE":
            return self._deleted(path, later)
        if path.endswith("/operations"):
            error = self.things[path.rpartition("/")[0].lower()]["properties"]["error"]
            told = {"provisioningState": "Failed" if error else "Succeeded", "statusCode": "Conflict"}
            failed = {**told, "statusMessage": {"status": "Failed", "error": error["details"][0]}} if error else told
            return Answer(200, {"value": [{"operationId": "1", "properties": failed}]})
        return self._read(path, "microsoft.resources/deployments", query)

    def _deployed(self, path: str, properties: dict[str, Any]) -> None:
        group = path.partition("/providers/")[0]
        location = self.things[group.lower()]["location"]
        resources = template.resources(properties["template"], properties.get("parameters", {}), group, location)
        # VMs last: they need the others.
        for resource in sorted(resources, key=lambda each: each["type"].endswith("/virtualMachines")):
            api = resource.pop("apiVersion")
            kind, name = resource.pop("type"), resource.pop("name")
            resource.pop("dependsOn", None)
            here = f"{group}/providers/{kind}/{name}"
            later = self._allowed(f"{kind}/write", resource)
            for joined in _joined(kind):
                self._allowed(joined, None)
            if later:
                raise Refusal(409, later.code, later.message)
            self._made(here, kind.lower(), api, resource, None)

    def _offered(self, path: str) -> Answer:
        parts = path.split("/")
        if (parts[8], parts[12], parts[14]) != OFFER:
            raise Refusal(404, "NotFound", "Artifact: VMImage was not found.")
        versions = ("22.04.202610010", VERSION)
        return Answer(
            200, [{"id": f"{path}/{each}", "name": each, "location": "westus"} for each in reversed(versions)][:1]
        )

    def _working(
        self, later: Fault | None, error: dict[str, Any] | None = None, thing: dict[str, Any] | None = None
    ) -> dict[str, str]:
        name = str(uuid.uuid4())
        failed = {"code": later.code, "message": later.message} if later else error
        self._works[name] = Work(self.lag, failed, thing or {})
        where = f"https://{HOSTS[0]}/subscriptions/{SUBSCRIPTION}/providers/Microsoft.Compute/locations/westus"
        return {
            "Azure-AsyncOperation": f"{where}/operations/{name}?api-version=2024-01-01",
            "Location": f"{where}/operationResults/{name}?api-version=2024-01-01",
            **self._again,
        }

    @property
    def _again(self) -> dict[str, str]:
        return {"Retry-After": self.pace} if self.pace else {}

    def _progress(self, name: str, result: bool) -> Answer:
        if name not in self._works:  # one who does not wait any more may still ask, and ask another one of us
            raise Refusal(404, "NotFound", f"There is no operation {name}.")
        work = self._works[name]
        if not self._goes_on(work):
            where = (
                f"/subscriptions/{SUBSCRIPTION}/providers/Microsoft.Compute/locations/westus/operationResults/{name}"
            )
            if result:
                again = {"Location": f"https://{HOSTS[0]}{where}?api-version=2024-01-01"}
                return Answer(202, None, {**self._again, **again})
            return Answer(200, {"status": "InProgress"}, self._again)
        if result:
            return Answer(200, {})
        status = "Failed" if work.error else "Succeeded"
        return Answer(200, {"status": status, **({"error": work.error} if work.error else {})})

    def _lead(self) -> None:
        """Take callers where they want to go, if that is a name that we stand for."""
        while True:
            try:
                caller, _ = self._door.accept()
            except OSError:
                return
            threading.Thread(target=self._led, args=(caller,), daemon=True).start()

    def _led(self, caller: socket.socket) -> None:
        with caller:
            head = b""
            with suppress(OSError):  # a caller may go before it has said where
                while b"\r\n\r\n" not in head and (part := caller.recv(4096)):
                    head += part
            host = re.match(rb"CONNECT ([\w.-]+):443 ", head)
            if not host or host[1].decode() not in HOSTS:
                caller.sendall(b"HTTP/1.1 403 Forbidden\r\n\r\n")
                return
            try:
                server = socket.create_connection(("127.0.0.1", self._server.server_port))
            except OSError:
                return  # it is closed: somebody still asks for the end of what nobody waits for
            with server:
                caller.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                back = threading.Thread(target=pass_on, args=(server, caller), daemon=True)
                back.start()
                pass_on(caller, server)
                back.join()


class _Server(ThreadingHTTPServer):
    request_queue_size = 128
    """Else who calls at the same time as five others waits for a second."""

    def handle_error(self, *_: object) -> None:
        """A caller who went away is no error."""


class _Handler(BaseHTTPRequestHandler):
    arm: Arm
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    """Else each answer takes 40 ms longer."""

    def log_message(self, format: str, *args: object) -> None:
        pass

    def _any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        host = self.headers["Host"].partition(":")[0]
        if self.path.startswith("/console/"):
            self._send(200, self.arm.guests.console(self.path.rpartition("/")[2]).encode(), {})
            return
        try:
            answer = self.arm.answer(self.command, host, self.path, self.headers, body)
        except Lost as lost:
            if lost.late:
                until_he_hangs_up(self.connection)
            self.close_connection = True
            return
        except Exception as bug:  # noqa: BLE001  # without an answer a client tries for minutes, and nobody learns why
            self.arm.refused.append(repr(bug))
            answer = Answer(400, {"error": {"code": "BugInTheFake", "message": repr(bug)}})
        time.sleep(self.arm.delays.get(_action(self.command, urlsplit(self.path).path.rstrip("/")), 0))
        told = b"" if answer.body is None or self.command == "HEAD" else json.dumps(answer.body).encode()
        self._send(answer.status, told, answer.headers)

    def _send(self, status: int, told: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for key, text in {**headers, "Content-Type": "application/json", "Content-Length": str(len(told))}.items():
            self.send_header(key, text)
        self.end_headers()
        self.wfile.write(told)

    do_GET = do_PUT = do_PATCH = do_POST = do_DELETE = do_HEAD = _any  # noqa: N815  # so http.server calls them


_KEPT = ("state", "error", "asked")
"""What is kept with a thing and no part of it."""


def _as_newer(given: dict[str, Any]) -> dict[str, Any]:
    """A gallery's image version as a newer client reads what an older one wrote."""
    properties = dict(given["properties"])
    publishing = dict(properties.get("publishingProfile", {}))
    if "source" in publishing:
        source = publishing.pop("source")["managedImage"]
        properties |= {"publishingProfile": publishing, "storageProfile": {"source": {"id": source["id"]}}}
    return {**given, "properties": properties}


def _token(path: str, body: bytes) -> Answer:
    """Entra ID: who knows the secret gets a token."""
    if "openid-configuration" in path:
        here = f"https://{HOSTS[1]}/{TENANT}"
        told = {
            "authorization_endpoint": f"{here}/oauth2/v2.0/authorize",
            "token_endpoint": f"{here}/oauth2/v2.0/token",
        }
        return Answer(200, {**told, "issuer": f"{here}/v2.0"})
    if "discovery/instance" in path:
        return Answer(
            200, {"tenant_discovery_endpoint": f"https://{HOSTS[1]}/{TENANT}/v2.0/.well-known/openid-configuration"}
        )
    given = {key: texts[0] for key, texts in parse_qs(body.decode()).items()}
    if (given.get("client_id"), given.get("client_secret")) != (APP, SECRET) or TENANT not in path:
        return Answer(401, {"error": "invalid_client", "error_description": "AADSTS7000215: Invalid client secret."})
    lasts: Any = 3600 if "v2.0" in path else "3600"
    later = {"expires_on": "4102444800", "not_before": "0", "resource": f"https://{HOSTS[0]}/"}
    return Answer(200, {"token_type": "Bearer", "expires_in": lasts, "access_token": TOKEN, **later})


def _among(action: str, rights: Iterable[str]) -> bool:
    return any(fnmatchcase(action.lower(), right.lower()) for right in rights)


def _action(method: str, path: str) -> str:
    """The right that a call needs, as roles write it."""
    if "/providers/" not in path:
        return f"Microsoft.Resources/subscriptions/resourceGroups/{_verb(method)}"
    provider, *rest = path.rpartition("/providers/")[2].split("/")
    kinds = "/".join([provider, *rest[0::2]])
    if method == "POST":
        return f"{'/'.join([provider, *rest[0:-1:2], rest[-1]])}/action"
    return f"{kinds}/{_verb(method)}"


def _verb(method: str) -> str:
    return {"GET": "read", "HEAD": "read", "DELETE": "delete"}.get(method, "write")


def _kind(path: str) -> str:
    provider, *rest = path.rpartition("/providers/")[2].split("/")
    return "/".join([provider, *rest[0::2]]).lower()


def _joined(kind: str) -> Iterator[str]:
    """What else one must be allowed, who makes such a thing out of others."""
    joins = {
        "Microsoft.Network/networkInterfaces": ("publicIPAddresses", "virtualNetworks/subnets"),
        "Microsoft.Network/virtualNetworks": ("networkSecurityGroups",),
        "Microsoft.Compute/virtualMachines": ("networkInterfaces",),
    }
    return (f"Microsoft.Network/{each}/join/action" for each in joins.get(kind, ()))


def _group(name: str) -> str:
    return f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{name}"


def _group_of(path: str) -> str:
    return "/".join(path.split("/")[:5]).lower()


def _guest(path: str) -> str:
    """A folder's name for the VM of that path."""
    parts = path.lower().split("/")
    return f"{parts[4]}.{parts[-1]}"
