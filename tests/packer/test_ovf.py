"""The OVF envelope: the structure that DMTF's schema and VirtualBox want. The schema itself is not here."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from packer import ovf
from packer.box import load
from tests.packer.test_box import FOLDER

NAMES = {"ovf": ovf.OVF, "rasd": ovf.RASD, "vssd": ovf.VSSD, "vbox": ovf.VBOX}
BOX = load(FOLDER, "debian")

# What DSP8023 1.1 has in a sequence, in that order; sections of one kind may stand in any.
ORDER = {
    "Envelope": ("References", "DiskSection", "NetworkSection", "VirtualSystem"),
    "VirtualSystem": ("Info", "Name", "OperatingSystemSection", "VirtualHardwareSection"),
    "VirtualHardwareSection": ("Info", "System", "Item"),
}
# CIM_ResourceAllocationSettingData of CIM 2.22: one sequence, by name.
ITEM = (
    *("Address", "AddressOnParent", "AllocationUnits", "AutomaticAllocation", "AutomaticDeallocation", "Caption"),
    *("Connection", "ConsumerVisibility", "Description", "ElementName", "HostResource", "InstanceID", "Limit"),
    *("MappingBehavior", "OtherResourceType", "Parent", "PoolID", "Reservation", "ResourceSubType", "ResourceType"),
    *("VirtualQuantity", "VirtualQuantityUnits", "Weight"),
)


def parsed() -> ET.Element:
    return ET.fromstring(ovf.envelope(BOX, "box-disk001.vmdk", 1234, 8 << 30))  # noqa: S314  # it is our own


def bare(element: ET.Element) -> str:
    return element.tag.rpartition("}")[2]


def items() -> dict[str, dict[str, str]]:
    """The hardware: an item for each resource type."""
    found = [{bare(part): part.text or "" for part in item} for item in parsed().iterfind(".//ovf:Item", NAMES)]
    return {item["ResourceType"]: item for item in found}


@pytest.mark.parametrize("parent", ORDER)
def test_parts_stand_in_the_order_of_the_schema(parent: str) -> None:
    root = parsed()
    element = root if parent == "Envelope" else root.find(f".//ovf:{parent}", NAMES)
    assert element is not None
    kinds = list(dict.fromkeys(map(bare, element)))
    assert kinds == [name for name in ORDER[parent] if name in kinds] == list(ORDER[parent])


def test_an_item_has_known_parts_in_order_and_the_three_that_each_must_have() -> None:
    for item in parsed().iterfind(".//ovf:Item", NAMES):
        names = list(map(bare, item))
        assert names == [name for name in ITEM if name in names]
        assert {"ElementName", "InstanceID", "ResourceType"} <= set(names)


def test_every_section_says_what_it_is_about() -> None:
    for element in parsed().iter():
        if bare(element).endswith("Section"):
            assert bare(element[0]) == "Info" and element[0].text


def test_references_lead_to_what_is_there() -> None:
    root = parsed()
    files = {file.get(f"{{{ovf.OVF}}}id") for file in root.iterfind(".//ovf:File", NAMES)}
    disks = {disk.get(f"{{{ovf.OVF}}}diskId"): disk for disk in root.iterfind(".//ovf:Disk", NAMES)}
    networks = {network.get(f"{{{ovf.OVF}}}name") for network in root.iterfind(".//ovf:Network", NAMES)}
    assert {disk.get(f"{{{ovf.OVF}}}fileRef") for disk in disks.values()} == files
    assert items()["17"]["HostResource"].removeprefix("/disk/") in disks
    assert items()["17"]["Parent"] == items()["20"]["InstanceID"]
    assert items()["10"]["Connection"] in networks


def test_the_hardware_is_what_virtualbox_gives_such_a_guest() -> None:
    assert items()["20"]["ResourceSubType"] == "AHCI" and items()["10"]["ResourceSubType"] == "E1000"
    assert items()["4"]["VirtualQuantity"] == str(BOX.memory) and items()["4"]["AllocationUnits"] == "byte * 2^20"
    assert items()["3"]["VirtualQuantity"] == str(BOX.cpus)
    assert parsed().findtext(".//vbox:OSType", namespaces=NAMES) == "Debian_64"
    assert parsed().findtext(".//vssd:VirtualSystemType", namespaces=NAMES) == "virtualbox-2.2"


@given(st.text(min_size=1, max_size=20))
def test_a_network_card_has_an_address_of_virtualboxs_own_range(name: str) -> None:
    address = ovf.mac(msgspec.structs.replace(BOX, name=name))
    assert address.startswith("080027") and len(address) == 12 and int(address, 16)
