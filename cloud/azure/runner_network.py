"""What runners share: a resource group with a virtual network, and a security group with nothing open."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from cloud import names
from cloud.azure.body import SUBNET, network_path
from cloud.azure.session import Session, missing_is_none
from cloud.azure.settings import AzureSettings
from cloud.errors import InputError
from cloud.progress import Progress

_API = "2024-05-01"
_TAGS = {names.KIND: "network"}


@dataclass(frozen=True)
class _Seen:
    """What there is; None for what is not there or was left half made."""

    group: Any
    firewall: Any
    network: Any

    @property
    def subnet(self) -> dict[str, Any] | None:
        found = (self.network or {}).get("subnets") or ()
        return next((each for each in found if each["name"] == SUBNET), None)

    @property
    def shut(self) -> bool:
        """Whether the subnet has a security group."""
        return bool(self.subnet and self.subnet.get("properties", {}).get("networkSecurityGroup"))


class AzureNetwork:
    """The runners' network of a subscription, in a location."""

    def __init__(self, session: Session, settings: AzureSettings) -> None:
        self._session = session
        self._settings = settings

    def missing(self) -> Sequence[str]:
        """What of it is not there, in words, in the order in which it is made."""
        return [words for words, _ in self._steps(self._seen())]

    def complete(self, progress: Progress) -> None:
        """Make what is missing, and leave what is there, whoever made it.

        Raises:
            InputError: the range that is set is none.
        """
        try:
            ipaddress.ip_network(self._settings.range)
        except ValueError as problem:
            raise InputError(f"azure.range: {problem}", hint="as 10.77.0.0/20") from problem
        steps = self._steps(self._seen())
        for number, (words, make) in enumerate(steps, 1):
            with progress.step(f"make {words}", number, len(steps)):
                make()

    def _steps(self, seen: _Seen) -> list[tuple[str, Callable[[], Any]]]:
        group, name = self._settings.runner_group, self._settings.network
        steps: list[tuple[str, Callable[[], Any]]] = []
        if seen.group is None:
            steps.append((f"resource group {group}", self._make_group))
        if seen.firewall is None:
            steps.append((f"security group {name}", self._make_firewall))
        if seen.network is None:
            steps.append((f"virtual network {name}", self._make_network))
        elif seen.subnet is None or not seen.shut:
            what = "subnet" if seen.subnet is None else "security group of the subnet"
            steps.append((f"{what} {SUBNET} in {name}", lambda: self._make_subnet(seen.subnet)))
        return steps

    def _seen(self) -> _Seen:
        """Look at all at once. Their own client takes longer to load than to ask, and each start looks."""
        paths = [network_path(self._settings, kind) for kind in ("networkSecurityGroups", "virtualNetworks")]
        with ThreadPoolExecutor(3) as threads:
            group = threads.submit(
                lambda: missing_is_none(
                    lambda: self._session.call("resources", "resource_groups.get", self._settings.runner_group)
                )
            )
            firewall, network = threads.map(self._get, paths)
            return _Seen(group.result(), firewall, network)

    def _get(self, path: str) -> dict[str, Any] | None:
        where = f"/subscriptions/{self._session.subscription}/{path}"
        told = missing_is_none(lambda: self._session.call("resources", "resources.get_by_id", where, api_version=_API))
        properties = dict(told.properties or {}) if told is not None else {}
        # One whose making failed, or was cut off, is made again.
        return properties if properties.get("provisioningState") in ("Succeeded", "Updating") else None

    def _made(self) -> dict[str, Any]:
        return {"location": self._settings.location, "tags": {**self._settings.tags, **_TAGS}}

    def _make_group(self) -> None:
        group = self._settings.runner_group
        self._session.call("resources", "resource_groups.create_or_update", group, self._made())

    def _make_firewall(self) -> None:
        self._put("network_security_groups", self._settings.network, {**self._made(), "properties": {}})

    def _make_network(self) -> None:
        inside = {"name": SUBNET, "properties": self._subnet(self._settings.range)}
        spaces = {"addressSpace": {"addressPrefixes": [self._settings.range]}, "subnets": [inside]}
        self._put("virtual_networks", self._settings.network, {**self._made(), "properties": spaces})

    def _make_subnet(self, there: dict[str, Any] | None) -> None:
        known = (there or {}).get("properties", {})
        prefix = known.get("addressPrefix") or (known.get("addressPrefixes") or [self._settings.range])[0]
        self._put("subnets", self._settings.network, SUBNET, {"properties": self._subnet(prefix)})

    def _subnet(self, prefix: str) -> dict[str, Any]:
        where = network_path(self._settings, "networkSecurityGroups")
        firewall = f"/subscriptions/{self._session.subscription}/{where}"
        return {"addressPrefix": prefix, "networkSecurityGroup": {"id": firewall}}

    def _put(self, what: str, *arguments: Any) -> None:
        group = self._settings.runner_group
        verb = f"{what}.begin_create_or_update"
        self._session.call("network", verb, group, *arguments, polling_interval=self._settings.runner_poll)
