"""Azure's resource manager and Entra ID as one server behind a proxy; real VMs run behind it.

It keeps resources by their path, deploys templates, takes its time over what takes long, holds
every body against the SDK's own types and every call against the role that we give out. The Azure
SDKs and packer reach it under Azure's own names: HTTPS_PROXY leads them here, and nowhere else.
"""

from __future__ import annotations

import base64
import json
import re
import socket
import ssl
import threading
import time
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import trustme

from cloud import userdata
from tests.fakes import template
from tests.fakes.contract import wrongs
from tests.fakes.guests import Guests, Paper, pass_on

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
}
"""The SDK's names of what a body is held against."""
_SINCE = "2019-07-01"
"""Packer 1.6.6 speaks an older language: such bodies are others."""
_CORES = {"Standard_D4s_v5": 4, "Standard_B2s": 2}
_COLLECTIONS = ("virtualMachines", "images", "galleries", "versions", "disks", "operations", "permissions")


@dataclass
class Fault:
    """How calls of an action are to end, some times; with 200 it is what takes long that fails later."""

    action: str
    code: str
    status: int
    times: int
    message: str = ""


@dataclass
class Refusal(Exception):
    """An answer that is an error."""

    status: int
    code: str
    message: str = ""


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
    lag: int = 1
    """How many looks at something that takes long say that it is not done."""

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
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (_Handler,), {"arm": self}))
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self._door = socket.create_server(("127.0.0.1", 0))
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

    def fails(self, action: str, code: str, status: int = 400, *, times: int = 1, message: str = "") -> None:
        """Let the next calls of that action end so."""
        self.faults.append(Fault(action, code, status, times, message or f"{code}, as was asked for"))

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
                return self._answer(method, split.path.rstrip("/"), query, given)
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
        if "/artifacttypes/vmimage/" in path.lower():
            return self._offered(path)
        if kind == "microsoft.authorization/permissions":
            return Answer(200, {"value": [{"actions": self.rights, "notActions": []}]})
        if "/providers/" not in path:
            return self._of_group(method, path, query, given)
        if "/resourcegroups/" in path.lower() and _group_of(path) not in self.things:
            raise Refusal(404, "ResourceGroupNotFound", f"Resource group '{path.split('/')[4]}' could not be found.")
        if kind.startswith("microsoft.resources/deployments"):
            return self._of_deployment(method, path, query, given, later)
        if method in ("PUT", "PATCH"):
            return self._written(path, kind, query["api-version"], given, later)
        if method == "POST":
            return self._asked_to(path, later)
        if method == "DELETE":
            return self._deleted(path, later)
        return self._read(path, kind)

    def _allowed(self, action: str, given: Any) -> Fault | None:
        """Note the call, and refuse what the role does not allow; a fault that shows itself later is returned."""
        self.calls.append((action, given))
        if not _among(action, self.rights):
            if not _among(action, ROLE_ACTIONS):  # else a test has taken the right away
                self.refused.append(action)
            words = f"The client '{APP}' does not have authorization to perform action '{action}' over scope 'it'."
            raise Refusal(403, "AuthorizationFailed", words)
        for fault in self.faults:
            if fault.action.lower() == action.lower() and fault.times:
                fault.times -= 1
                if fault.status == 200:
                    return fault
                raise Refusal(fault.status, fault.code, fault.message)
        return None

    def _read(self, path: str, kind: str) -> Answer:
        if path.lower() in self.things:
            return Answer(200, self.things[path.lower()])
        if path.rpartition("/")[2].lower() in [name.lower() for name in _COLLECTIONS]:
            parent = path.rpartition("/")[0].lower()
            if "/galleries/" in parent and parent not in self.things:
                raise Refusal(404, "ParentResourceNotFound", "Can not perform requested operation on nested resource.")
            scope = parent.partition("/providers/")[0]
            ours = [thing for key, thing in self.things.items() if key.startswith(f"{scope}/") and _kind(key) == kind]
            below = [thing for thing in ours if "/galleries/" not in parent or thing["id"].lower().startswith(parent)]
            return Answer(200, {"value": below})
        raise Refusal(404, "ResourceNotFound", f"The Resource '{path}' was not found.")

    def _written(self, path: str, kind: str, api: str, given: dict[str, Any], later: Fault | None) -> Answer:
        before = self.things.get(path.lower())
        self._made(path, kind, api, given, later)
        thing = self.things[path.lower()]
        return Answer(201 if before is None else 200, thing, self._working(later, thing=thing))

    def _made(self, path: str, kind: str, api: str, given: dict[str, Any], later: Fault | None) -> None:
        if kind in _KINDS and api >= _SINCE and (found := wrongs(given, _KINDS[kind])):
            raise Refusal(400, "InvalidRequestContent", "; ".join(found))
        parent = path.rpartition("/")[0].rpartition("/")[0]
        if "/galleries/" in parent.lower() + "/" and kind.count("/") > 1 and parent.lower() not in self.things:
            raise Refusal(404, "ParentResourceNotFound", f"{parent} was not found.")
        if kind == "microsoft.compute/galleries/images/versions":
            given = _as_newer(given)
        before = self.things.get(path.lower())
        name = path.rpartition("/")[2]
        _well_named(kind, name)
        if before is None:
            self._happens(path, kind, given)
        elif kind.endswith("/versions") and given["properties"]["storageProfile"] != before["properties"].get(
            "storageProfile"
        ):
            raise Refusal(409, "PropertyChangeNotAllowed", "Changing property 'storageProfile' is not allowed.")
        properties = {**given.get("properties", {}), "provisioningState": "Creating"}
        if kind == "microsoft.network/publicipaddresses":
            properties["ipAddress"] = "127.0.0.1"
        if kind == "microsoft.compute/virtualmachines":
            properties["vmId"] = str(uuid.uuid4())
            properties["osProfile"].pop("customData", None)
            group, disk = path.partition("/providers/")[0], properties["storageProfile"]["osDisk"]
            disk["managedDisk"] = {"id": f"{group}/providers/Microsoft.Compute/disks/{disk.get('name', 'os')}"}
            self.put(disk["managedDisk"]["id"], {"properties": {"diskState": "Attached"}})
        # A path is read in any case of letters, and told as it was first written.
        told = {"id": before["id"] if before else path, "name": name, "type": kind}
        self.things[path.lower()] = {**given, **told, "properties": properties}

    def _happens(self, path: str, kind: str, given: dict[str, Any]) -> None:
        """Do to the VMs and their disks what a new resource means."""
        properties = given.get("properties", {})
        if kind == "microsoft.compute/virtualmachines":
            sizes = [thing["properties"] for key, thing in self.things.items() if _kind(key) == kind]
            used = sum(_CORES[each["hardwareProfile"]["vmSize"]] for each in sizes)
            if used + _CORES[properties["hardwareProfile"]["vmSize"]] > self.cores:
                words = (
                    "Operation could not be completed as it results in exceeding approved Total Regional Cores quota."
                )
                raise Refusal(409, "OperationNotAllowed", f"{words} Current Limit: {self.cores}, Usage: {used}")
            self.guests.boot(_guest(path), self._started_from(properties), _told(properties["osProfile"]))
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
        assert verb in ("deallocate", "powerOff"), verb
        self.guests.halt(_guest(thing))
        machine["state"] = "deallocated" if verb == "deallocate" else "stopped"
        return Answer(202, None, self._working(later))

    def _deleted(self, path: str, later: Fault | None) -> Answer:
        if path.lower() not in self.things:
            return Answer(204)
        below = [key for key in self.things if key.startswith(f"{path.lower()}/")]
        if "/galleries/" in path.lower() and below:
            raise Refusal(409, "CannotDeleteResource", "Can not delete resource before nested resources are deleted.")
        if not later:
            for key in [path.lower(), *below]:
                del self.things[key]
                if _kind(key) == "microsoft.compute/virtualmachines":
                    self.guests.erase(_guest(key))
        return Answer(202, None, self._working(later))

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
        return self._read(path, "microsoft.resources/deployments")

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
            "Retry-After": "1",
        }

    def _progress(self, name: str, result: bool) -> Answer:
        work = self._works[name]
        if work.looks:
            work.looks -= 1
            again = {"Retry-After": "1"}
            where = (
                f"/subscriptions/{SUBSCRIPTION}/providers/Microsoft.Compute/locations/westus/operationResults/{name}"
            )
            if result:
                return Answer(202, None, {**again, "Location": f"https://{HOSTS[0]}{where}?api-version=2024-01-01"})
            return Answer(200, {"status": "InProgress"}, again)
        work.thing.get("properties", {})["provisioningState"] = "Failed" if work.error else "Succeeded"
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
            while b"\r\n\r\n" not in head and (part := caller.recv(4096)):
                head += part
            host = re.match(rb"CONNECT ([\w.-]+):443 ", head)
            if not host or host[1].decode() not in HOSTS:
                caller.sendall(b"HTTP/1.1 403 Forbidden\r\n\r\n")
                return
            with socket.create_connection(("127.0.0.1", self._server.server_port)) as server:
                caller.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                back = threading.Thread(target=pass_on, args=(server, caller), daemon=True)
                back.start()
                pass_on(caller, server)
                back.join()


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


def _well_named(kind: str, name: str) -> None:
    """Refuse names that Azure refuses ("Naming rules and restrictions for Azure resources")."""
    pattern = {
        "microsoft.compute/galleries": r"[A-Za-z0-9][\w.]{0,78}[A-Za-z0-9]|[A-Za-z0-9]",
        "microsoft.compute/galleries/images/versions": r"(0|[1-9]\d{0,9})(\.(0|[1-9]\d{0,9})){2}",
    }.get(kind, r"[A-Za-z0-9][\w.-]{0,79}")
    if not re.fullmatch(pattern, name):
        raise Refusal(400, "InvalidParameter", f"{name} is no name of {kind}")


def _group(name: str) -> str:
    return f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{name}"


def _group_of(path: str) -> str:
    return "/".join(path.split("/")[:5]).lower()


def _guest(path: str) -> str:
    """A folder's name for the VM of that path."""
    parts = path.lower().split("/")
    return f"{parts[4]}.{parts[-1]}"


def _told(profile: dict[str, Any]) -> str:
    """What cloud-init hears of a VM: its user data, or the user whom Azure names."""
    if data := profile.get("customData"):
        return base64.b64decode(data).decode()
    keys = [each["keyData"].strip() for each in profile["linuxConfiguration"]["ssh"]["publicKeys"]]
    return userdata.write(userdata.login(profile["adminUsername"], keys, sudo=True))
