"""VMs, each in a resource group of its own, which goes with it."""

from __future__ import annotations

import base64
import shutil
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from cloud import caller, names, ssh, userdata
from cloud.azure import body, groups, network
from cloud.azure.session import Session
from cloud.azure.settings import AzureSettings
from cloud.base import Image, Machine
from cloud.caller import CallerSettings
from cloud.errors import KitError
from cloud.work import Work

_API = "2024-11-01"
_NETWORK_API = "2024-05-01"
_VM = "vm"

_SCHEMA = "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#"


class AzureMachines:
    """The VMs of a subscription, in a location."""

    def __init__(self, session: Session, settings: AzureSettings, us: CallerSettings, work: Work) -> None:
        self._session = session
        self._settings = settings
        self._us = us
        self._work = work

    def start(self, image: Image, *, name: str, user: str, tags: Mapping[str, str]) -> Machine:
        """A VM of the image. Its keys are in the folder of the build that it is for, and end with that."""
        folder = self._work.folder(tags[names.BUILD]) / name
        folder.mkdir(mode=0o700)
        public = ssh.make_key(folder / "key", name)
        host = ssh.make_key(folder / "host_key", name)
        data = userdata.login(user, [public]) | userdata.host_key((folder / "host_key").read_text(), host)
        group = f"{tags[names.BUILD]}-{name}"
        try:
            self._deploy(group, image, public, userdata.write(data), dict(tags))
            address = self._address(group)
        except BaseException:
            # Why it failed is what is to be told. What can't be ended now the build's end looks for again.
            with suppress(KitError):
                groups.remove(self._session, group)
            raise
        port = self._settings.ssh_port
        known_hosts = folder / "known_hosts"
        known_hosts.write_text(f"{address if port == 22 else f'[{address}]:{port}'} {host}\n")
        return Machine("azure", group, user, address, port, (folder / "key",), known_hosts, self._settings.boot_timeout)

    def console(self, machine: Machine) -> str:
        """The last lines of its console, which Azure keeps as a file."""
        try:
            return "\n".join(self._printed(machine.id, _VM).splitlines()[-20:])
        except KitError as problem:
            return f"(none: {problem})"

    def destroy(self, machine: Machine) -> None:
        """Remove its resource group, and its keys."""
        groups.remove(self._session, machine.id)
        shutil.rmtree(machine.known_hosts.parent, ignore_errors=True)

    def _printed(self, group: str, name: str) -> str:
        """All that Azure has of what a VM printed.

        Raises:
            KitError: it has nothing.
        """
        import requests

        told = self._session.call("compute", "virtual_machines.retrieve_boot_diagnostics_data", group, name)
        try:
            answer = requests.get(told.serial_console_log_blob_uri, timeout=30)
            answer.raise_for_status()
        except requests.RequestException as problem:
            raise KitError(str(problem)) from problem
        return answer.text

    def _deploy(self, group: str, image: Image, public: str, data: str, tags: dict[str, str]) -> None:
        location = self._settings.location
        cidr = caller.cidr(self._us)
        self._session.call("resources", "resource_groups.create_or_update", group, {"location": location, "tags": tags})
        template = {
            "$schema": _SCHEMA,
            "contentVersion": "1.0.0.0",
            # It holds a host key: Azure does not show the value of such a parameter again.
            "parameters": {"data": {"type": "securestring"}},
            "resources": [
                *network.resources(location, self._settings.ssh_port, cidr, tags),
                self._vm(image, public, tags),
            ],
        }
        deployment = {
            "mode": "Incremental",
            "template": template,
            "parameters": {"data": {"value": base64.b64encode(data.encode()).decode()}},
        }
        self._session.call("deployments", "deployments.begin_create_or_update", group, _VM, {"properties": deployment})

    def _vm(self, image: Image, public: str, tags: dict[str, str]) -> dict[str, Any]:
        # cloud-init makes this user where the user data names no other, and ours does.
        properties = body.properties(
            self._settings, image=image, size=self._settings.proof_size, name=_VM, user="azureuser", public=public
        )
        properties["osProfile"]["customData"] = "[parameters('data')]"
        interface = f"[resourceId('Microsoft.Network/networkInterfaces', '{network.INTERFACE}')]"
        properties["networkProfile"] = {"networkInterfaces": [{"id": interface}]}
        return {
            "type": "Microsoft.Compute/virtualMachines",
            "apiVersion": _API,
            "name": _VM,
            "location": self._settings.location,
            "tags": tags,
            "dependsOn": [interface],
            "properties": properties,
        }

    def _address(self, group: str) -> str:
        scope = f"/subscriptions/{self._session.subscription}/resourceGroups/{group}"
        where = f"{scope}/providers/Microsoft.Network/publicIPAddresses/{network.ADDRESS}"
        told = self._session.call("resources", "resources.get_by_id", where, api_version=_NETWORK_API)
        return str(told.properties["ipAddress"])
