"""What Azure is told of a VM: one that proves, and a runner with all that belongs to it in one call."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from cloud.azure.settings import AzureSettings
from cloud.base import Image, Order

SUBNET = "runners"
"""The part of their network that runners are in."""
INTERFACE, ADDRESS, DISK = "-nic", "-ip", "-disk"
"""What a VM consists of has its name, and such a word behind it. All limits are above ours (80 letters)."""

_NETWORK_API = "2022-11-01"
"""The newest that a VM with its network in one call may name (NetworkApiVersion)."""


def properties(
    settings: AzureSettings, *, image: Image, size: str, name: str, user: str, public: str
) -> dict[str, Any]:
    """What each VM has. Azure wants a user and a key that lets him in; cloud-init makes the users of our own."""
    key = {"path": f"/home/{user}/.ssh/authorized_keys", "keyData": public}
    told: dict[str, Any] = {
        "hardwareProfile": {"vmSize": size},
        "storageProfile": {
            "imageReference": {"id": image.id},
            "osDisk": {"createOption": "FromImage", "deleteOption": "Delete", "caching": "ReadWrite"},
        },
        "osProfile": {
            "computerName": name,
            "adminUsername": user,
            "linuxConfiguration": {"disablePasswordAuthentication": True, "ssh": {"publicKeys": [key]}},
        },
        "diagnosticsProfile": {"bootDiagnostics": {"enabled": True}},
    }
    if settings.security_type == "TrustedLaunch":
        told["securityProfile"] = {
            "securityType": "TrustedLaunch",
            "uefiSettings": {"secureBootEnabled": settings.secure_boot, "vTpmEnabled": True},
        }
    return told


def network_path(settings: AzureSettings, kind: str) -> str:
    """Where the runners' network is, or with `networkSecurityGroups` its security group, in the subscription."""
    return f"resourceGroups/{settings.runner_group}/providers/Microsoft.Network/{kind}/{settings.network}"


def runner(
    settings: AzureSettings,
    subscription: str,
    order: Order,
    *,
    name: str,
    size: str,
    zone: str,
    public: str,
    data: str,
    tags: Mapping[str, str],
) -> dict[str, Any]:
    """A VM with an interface, a Standard address and a disk that end with it.

    The tags are on all of them: a disk gets its VM's when both are made (terraform-provider-azurerm#8162).
    """
    told = properties(settings, image=order.image, size=size, name=name, user=order.user, public=public)
    told["userData"] = encoded(data)
    disk = told["storageProfile"]["osDisk"]
    disk["name"] = name + DISK
    # Else it is of the image's kind, and that is a slow one (epam/cloud-pipeline#29). Each size takes this one.
    disk["managedDisk"] = {"storageAccountType": "StandardSSD_LRS"}
    if settings.runner_disk:
        disk["diskSizeGB"] = settings.runner_disk
    address = {
        "name": name + ADDRESS,
        "tags": dict(tags),
        # A Basic one is no longer given out since 2025-03-31 (Azure's notice of its retirement).
        "sku": {"name": "Standard"},
        "properties": {"publicIPAllocationMethod": "Static", "deleteOption": "Delete"},
    }
    subnet = f"/subscriptions/{subscription}/{network_path(settings, 'virtualNetworks')}/subnets/{SUBNET}"
    way = {
        "name": "ip",
        "properties": {"primary": True, "subnet": {"id": subnet}, "publicIPAddressConfiguration": address},
    }
    interface = {
        "name": name + INTERFACE,
        "tags": dict(tags),
        "properties": {"primary": True, "deleteOption": "Delete", "ipConfigurations": [way]},
    }
    told["networkProfile"] = {"networkApiVersion": _NETWORK_API, "networkInterfaceConfigurations": [interface]}
    made = {"location": settings.location, "tags": dict(tags), "properties": told}
    return {**made, "zones": [zone]} if zone else made


def encoded(data: str) -> str:
    """User data as Azure takes it."""
    return base64.b64encode(data.encode()).decode()
