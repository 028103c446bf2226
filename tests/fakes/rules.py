"""What Azure refuses whatever there is: names, tags, users, rules; and the sizes that it has. Pure."""

from __future__ import annotations

import base64
import ipaddress
import re
from dataclasses import dataclass
from typing import Any

from cloud import userdata


@dataclass
class Refusal(Exception):
    """An answer that is an error."""

    status: int
    code: str
    message: str = ""


SIZES = {
    "Standard_D4s_v5": (4, "standardDSv5Family"),
    "Standard_D4ds_v5": (4, "standardDDSv5Family"),
    "Standard_D8s_v5": (8, "standardDSv5Family"),
    "Standard_D4s_v4": (4, "standardDSv4Family"),
    "Standard_D4s_v3": (4, "standardDSv3Family"),
    "Standard_B2s": (2, "standardBSFamily"),
}
"""Processors and family of each size that there is."""
_RESERVED = ("admin", "administrator", "root", "guest", "test", "user1")
"""Some of the names that Azure has no user of ("FAQ about Linux VMs")."""


def skus() -> list[dict[str, Any]]:
    return [
        {
            "resourceType": "virtualMachines",
            "name": name,
            "family": family,
            "locations": ["westus"],
            "capabilities": [{"name": "vCPUs", "value": str(cores)}],
        }
        for name, (cores, family) in SIZES.items()
    ] + [{"resourceType": "disks", "name": "Premium_LRS", "locations": ["westus"]}]


def well_tagged(tags: dict[str, str]) -> None:
    """Refuse tags that Azure refuses ("Use tags to organize your Azure resources")."""
    if len(tags) > 50 or any(len(key) > 512 or len(text) > 256 for key, text in tags.items()):
        raise Refusal(400, "InvalidTagNameOrValue", "more than 50 tags, or one that is too long")
    if wrong := [key for key in tags if set(key) & set("<>%&\\?/")]:
        raise Refusal(400, "InvalidTagNameCharacters", f"{wrong[0]} is no name of a tag")


def well_told(profile: dict[str, Any]) -> None:
    """Refuse users and names that Azure refuses."""
    if profile["adminUsername"].lower() in _RESERVED:
        raise Refusal(400, "InvalidParameter", f"The Admin Username {profile['adminUsername']} is not allowed.")
    if not re.fullmatch(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,62}[A-Za-z0-9])?", profile["computerName"]):
        raise Refusal(400, "InvalidParameter", f"{profile['computerName']} is no computer's name.")
    for key in profile.get("linuxConfiguration", {}).get("ssh", {}).get("publicKeys", ()):
        if not key["keyData"].startswith(("ssh-rsa ", "ssh-ed25519 ")):
            raise Refusal(
                400, "InvalidParameter", "The value of parameter linuxConfiguration.ssh.publicKeys is invalid."
            )


def well_ruled(properties: dict[str, Any]) -> None:
    """Refuse rules that Azure refuses."""
    needed = {"access", "direction", "priority", "protocol"}
    if missing := needed - set(properties):
        raise Refusal(400, "InvalidRequestFormat", f"{missing.pop()} is missing")
    if not 100 <= properties["priority"] <= 4096:
        raise Refusal(400, "SecurityRuleInvalidPriority", f"{properties['priority']} is not within 100 and 4096.")
    for key in ("sourceAddressPrefix", "destinationAddressPrefix"):
        try:
            if properties[key] not in ("*", "Internet", "VirtualNetwork"):
                ipaddress.ip_network(properties[key])
        except ValueError as wrong:
            raise Refusal(400, "SecurityRuleInvalidAddressPrefix", str(wrong)) from wrong


def well_named(kind: str, name: str) -> None:
    """Refuse names that Azure refuses ("Naming rules and restrictions for Azure resources")."""
    pattern = {
        "microsoft.compute/galleries": r"[A-Za-z0-9][\w.]{0,78}[A-Za-z0-9]|[A-Za-z0-9]",
        "microsoft.compute/galleries/images/versions": r"(0|[1-9]\d{0,9})(\.(0|[1-9]\d{0,9})){2}",
        "microsoft.compute/virtualmachines": r"[A-Za-z0-9][\w.-]{0,63}",
        "microsoft.network/virtualnetworks": r"[A-Za-z0-9][\w.-]{0,62}\w",
    }.get(kind, r"[A-Za-z0-9][\w.-]{0,79}")
    if not re.fullmatch(pattern, name):
        raise Refusal(400, "InvalidParameter", f"{name} is no name of {kind}")


def told_in(profile: dict[str, Any]) -> str:
    """What cloud-init hears of a VM: its user data, or the user whom Azure names."""
    if data := profile.get("customData") or profile.get("userData"):
        try:
            told = base64.b64decode(data, validate=True)
        except ValueError as wrong:
            raise Refusal(400, "InvalidParameter", "userData is no base64") from wrong
        if len(told) > 65_536:
            raise Refusal(400, "InvalidParameter", "userData is longer than 64 KB")
        return told.decode()
    keys = [each["keyData"].strip() for each in profile.get("linuxConfiguration", {})["ssh"]["publicKeys"]]
    return userdata.write(userdata.login(profile["adminUsername"], keys, sudo=True))
