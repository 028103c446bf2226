"""The network of a VM that proves: of its own, with one port open for our address alone."""

from __future__ import annotations

from typing import Any

_API = "2024-05-01"
ADDRESS = "address"
"""The name of the public address."""
INTERFACE = "interface"
"""The name of the interface that a VM is given."""


def resources(location: str, port: int, cidr: str, tags: dict[str, str]) -> list[dict[str, Any]]:
    """The resources of a deployment: a network with a firewall, a Standard public address, an interface."""
    ssh = {
        "priority": 100,
        "access": "Allow",
        "direction": "Inbound",
        "protocol": "Tcp",
        "sourceAddressPrefix": cidr,
        "sourcePortRange": "*",
        "destinationAddressPrefix": "*",
        "destinationPortRange": str(port),
    }
    firewall, network, address = (
        _id("networkSecurityGroups", "firewall"),
        _id("virtualNetworks", "network"),
        _id("publicIPAddresses", ADDRESS),
    )
    subnet = "[resourceId('Microsoft.Network/virtualNetworks/subnets', 'network', 'subnet')]"
    inside = {
        "name": "subnet",
        "properties": {"addressPrefix": "10.0.0.0/24", "networkSecurityGroup": {"id": firewall}},
    }
    way = {
        "name": "ip",
        "properties": {"subnet": {"id": subnet}, "publicIPAddress": {"id": address}},
    }
    made: list[dict[str, Any]] = [
        {
            "type": "Microsoft.Network/networkSecurityGroups",
            "name": "firewall",
            "properties": {"securityRules": [{"name": "ssh", "properties": ssh}]},
        },
        {
            "type": "Microsoft.Network/virtualNetworks",
            "name": "network",
            "dependsOn": [firewall],
            "properties": {"addressSpace": {"addressPrefixes": ["10.0.0.0/24"]}, "subnets": [inside]},
        },
        {
            "type": "Microsoft.Network/publicIPAddresses",
            "name": ADDRESS,
            # A Basic one is no longer given out since 2025-03-31 (Azure's notice of its retirement).
            "sku": {"name": "Standard"},
            "properties": {"publicIPAllocationMethod": "Static"},
        },
        {
            "type": "Microsoft.Network/networkInterfaces",
            "name": INTERFACE,
            "dependsOn": [network, address],
            "properties": {"ipConfigurations": [way]},
        },
    ]
    return [{"apiVersion": _API, "location": location, "tags": tags, **each} for each in made]


def _id(kind: str, name: str) -> str:
    return f"[resourceId('Microsoft.Network/{kind}', '{name}')]"
