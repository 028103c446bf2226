"""A VM as VirtualBox imports it: an OVF envelope (DMTF DSP0243 1.0) around one disk.

VirtualBox takes `vbox:Machine` extensions too; nothing here needs them, so that others read it as well.
Numbers of resource types are those of CIM_ResourceAllocationSettingData: 3 processors, 4 memory, 10 network,
17 disk, 20 other storage controller, which VirtualBox reads as AHCI by its subtype.
"""

from __future__ import annotations

import hashlib
import xml.etree.ElementTree as ET
from collections.abc import Sequence

from packer.box import Box

OVF = "http://schemas.dmtf.org/ovf/envelope/1"
RASD = "http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData"
VSSD = "http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_VirtualSystemSettingData"
VBOX = "http://www.virtualbox.org/ovf/machine"

FORMAT = "http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized"

# The numbers that OVF itself has for systems (CIM_OperatingSystem.OsType): VirtualBox reads its own word beside them.
_LINUX_64 = "101"
_SYSTEMS = {"Debian_64": "96", "Ubuntu_64": "94"}


def mac(box: Box) -> str:
    """The address of its network card, as twelve hexadecimal digits: VirtualBox's own range, the same for each build.

    VirtualBox makes up another one as it imports the VM. Vagrant sets this one again, since the box's Vagrantfile has
    it as `base_mac` (hashicorp/vagrant, plugins/providers/virtualbox/action/match_mac_address.rb).
    """
    return "080027" + hashlib.sha256(box.name.encode()).hexdigest()[:6].upper()


def envelope(box: Box, disk: str, size: int, capacity: int) -> bytes:
    """The text of box.ovf: `disk` is the file of `size` bytes beside it, a disk of `capacity` bytes for the guest."""
    for prefix, namespace in (("ovf", OVF), ("rasd", RASD), ("vssd", VSSD), ("vbox", VBOX)):
        ET.register_namespace(prefix, namespace)
    root = ET.Element(_ovf("Envelope"))
    references = _under(root, "References")
    _under(references, "File", id="file1", href=disk, size=str(size))
    section = _section(root, "DiskSection", "The disk of the machine")
    _under(section, "Disk", diskId="disk1", fileRef="file1", capacity=str(capacity), format=FORMAT)
    section = _section(root, "NetworkSection", "Its network")
    _text(_under(section, "Network", name="NAT"), _ovf("Description"), "Behind the host's address")
    system = _under(root, "VirtualSystem", id=box.os)
    _text(system, _ovf("Info"), "A virtual machine")
    _text(system, _ovf("Name"), box.os)
    section = _section(system, "OperatingSystemSection", "What runs in it", id=_SYSTEMS.get(box.guest, _LINUX_64))
    _text(section, _ovf("Description"), box.guest)
    kind = ET.SubElement(section, f"{{{VBOX}}}OSType", {_ovf("required"): "false"})
    kind.text = box.guest
    hardware = _section(system, "VirtualHardwareSection", "Its hardware")
    head = _under(hardware, "System")
    for name, value in (("ElementName", "Virtual Hardware Family"), ("InstanceID", "0")):
        _text(head, f"{{{VSSD}}}{name}", value)
    for name, value in (("VirtualSystemIdentifier", box.os), ("VirtualSystemType", "virtualbox-2.2")):
        _text(head, f"{{{VSSD}}}{name}", value)
    for item in _items(box):
        entry = _under(hardware, "Item")
        # The schema has them in the order of their names.
        for name, value in sorted(item):
            _text(entry, f"{{{RASD}}}{name}", value)
    ET.indent(root)
    return bytes(ET.tostring(root, encoding="utf-8", xml_declaration=True)) + b"\n"


def _items(box: Box) -> Sequence[Sequence[tuple[str, str]]]:
    described = {
        "cpus": (("Description", "Number of virtual CPUs"), ("ElementName", f"{box.cpus} virtual CPUs")),
        "memory": (("Description", "Memory size"), ("ElementName", f"{box.memory} MB of memory")),
    }
    return [
        [("InstanceID", "1"), ("ResourceType", "3"), ("VirtualQuantity", str(box.cpus)), *described["cpus"]],
        [
            *(("InstanceID", "2"), ("ResourceType", "4"), ("VirtualQuantity", str(box.memory)), *described["memory"]),
            ("AllocationUnits", "byte * 2^20"),
        ],
        [
            *(("InstanceID", "3"), ("ResourceType", "20"), ("ResourceSubType", "AHCI"), ("Address", "0")),
            *(("ElementName", "sataController0"), ("Description", "SATA controller")),
        ],
        [
            *(("InstanceID", "4"), ("ResourceType", "17"), ("Parent", "3"), ("AddressOnParent", "0")),
            *(("HostResource", "/disk/disk1"), ("ElementName", "disk1"), ("Description", "Disk image")),
        ],
        [
            *(("InstanceID", "5"), ("ResourceType", "10"), ("ResourceSubType", "E1000"), ("Connection", "NAT")),
            *(("AutomaticAllocation", "true"), ("Address", mac(box))),
            *(("ElementName", "Ethernet adapter on 'NAT'"), ("Description", "Network card")),
        ],
    ]


def _ovf(name: str) -> str:
    return f"{{{OVF}}}{name}"


def _under(parent: ET.Element, tag: str, /, **attributes: str) -> ET.Element:
    return ET.SubElement(parent, _ovf(tag), {_ovf(key): value for key, value in attributes.items()})


def _section(parent: ET.Element, name: str, info: str, /, **attributes: str) -> ET.Element:
    section = _under(parent, name, **attributes)
    _text(section, _ovf("Info"), info)
    return section


def _text(parent: ET.Element, name: str, text: str) -> None:
    ET.SubElement(parent, name).text = text
