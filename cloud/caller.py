"""From where we reach into a VM: the one address that its firewall opens for."""

from __future__ import annotations

import ipaddress

from msgspec import Struct

from cloud.errors import InputError, TemporaryError


class CallerSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """How our own address is found, as the clouds see it."""

    cidr: str
    """The addresses that may reach VMs by ssh, as `203.0.113.7/32`; empty: the one that `service` sees."""
    service: str
    """Answers with the caller's address, as one line."""


def cidr(settings: CallerSettings) -> str:
    """The network that VMs open their ssh port for.

    Raises:
        InputError: what is set is no network.
        TemporaryError: the service does not tell our address.
    """
    if settings.cidr:
        try:
            return str(ipaddress.ip_network(settings.cidr))
        except ValueError as problem:
            raise InputError(f"caller.cidr: {problem}", hint="as 203.0.113.7/32") from problem
    import requests

    try:
        answer = requests.get(settings.service, timeout=10)
        answer.raise_for_status()
        return str(ipaddress.ip_network(answer.text.strip()))
    except (requests.RequestException, ValueError) as problem:
        raise TemporaryError(
            f"{settings.service} does not tell our address: {type(problem).__name__}",
            hint="set caller.cidr, or another caller.service",
        ) from problem
