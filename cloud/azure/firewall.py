"""The ssh ports of runners: shut, but for one address each, as long as somebody looks into that VM.

All runners share a security group. A rule is for the one VM whose name it has, and for its address in the network.
"""

from __future__ import annotations

from typing import Any

from cloud import wait
from cloud.azure.session import AzureError, Session, code_of
from cloud.azure.settings import AzureSettings
from cloud.errors import NotFound

RULE = "ssh-"
"""What the name of a VM's rule begins with."""

_TRIES = 5
_LOWEST, _PRIORITIES = 1000, 3000
"""Between the two of them: all can be 100 to 4096 (SecurityRule.priority)."""


def let_in(session: Session, settings: AzureSettings, vm: str, inside: str, cidr: str) -> None:
    """Open the ssh port of one VM for that address, and for no other. Again is no harm.

    Raises:
        NotFound: there is no security group.
        KitError: the rule could not be made.
    """
    where = (settings.runner_group, settings.network)
    name = RULE + vm
    wanted = {
        "description": f"ssh of {vm}",
        "access": "Allow",
        "direction": "Inbound",
        "protocol": "Tcp",
        "sourceAddressPrefix": cidr,
        "sourcePortRange": "*",
        "destinationAddressPrefix": inside,
        "destinationPortRange": str(settings.ssh_port),
    }
    for tried in range(1, _TRIES + 1):
        taken: dict[str, Any] = {}
        try:
            taken = {str(rule.name): rule for rule in session.list("network", "security_rules.list", *where)}
        except AzureError as problem:
            if problem.status != 404:
                raise
            raise NotFound("runners have no network on azure", hint="./inv runners.setup-network") from problem
        there = taken.get(name)
        if there is not None and _says(there, cidr, inside, str(settings.ssh_port)):
            return
        used = {rule.priority for rule in taken.values() if rule.direction == "Inbound"}
        priority = there.priority if there is not None else _free(used)
        rule = {"properties": {**wanted, "priority": priority}}
        try:
            session.call(
                *("network", "security_rules.begin_create_or_update", *where, name, rule),
                polling_interval=settings.runner_poll,
            )
            return
        except AzureError as problem:
            # Another command took the same number for its VM just now.
            if code_of(problem) != "SecurityRuleConflict" or tried == _TRIES:
                raise


def shut(session: Session, settings: AzureSettings, vm: str) -> bool:
    """Remove a VM's rule, if there is one; whether it is gone."""
    where = (settings.runner_group, settings.network, RULE + vm)
    return session.remove(
        "network", "security_rules.begin_delete", *where, timeout=60, polling_interval=settings.runner_poll
    )


def opened(session: Session, settings: AzureSettings) -> list[str]:
    """The VMs that have a rule."""
    rules = session.list("network", "security_rules.list", settings.runner_group, settings.network)
    return [str(rule.name).removeprefix(RULE) for rule in rules if str(rule.name).startswith(RULE)]


def _says(rule: Any, cidr: str, inside: str, port: str) -> bool:
    told = (rule.source_address_prefix, rule.destination_address_prefix, rule.destination_port_range)
    return told == (cidr, inside, port)


def _free(used: set[int]) -> int:
    """A number that no rule has, and that another command does not take in the same moment."""
    start = int(wait.clock.token(), 16) % _PRIORITIES
    numbers = (_LOWEST + (start + step) % _PRIORITIES for step in range(_PRIORITIES))
    return next((number for number in numbers if number not in used), _LOWEST)
