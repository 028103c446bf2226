"""The order in which boxes come to be: fingerprint, up to date?, one build of a disk, a box for each provider.

`plan` decides and changes nothing; `apply` does what the plan says. What is on the shelf stays there, and works,
until its successor is whole.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cloud import names, process, wait
from cloud.base import Cloud, Image
from cloud.files import write_json
from cloud.progress import Progress
from packer import ovf, packing, pipeline, record
from packer.box import Box, Provider
from packer.driver import Packer
from packer.fingerprint import fingerprint
from packer.packing import Member
from packer.product import Product
from packer.render import render, vagrantfile
from packer.shelf import ARCHIVE, STORY, Kept, Shelf, Told

DISK = {"libvirt": "box.img", "virtualbox": "box-disk001.vmdk"}
"""What each provider's disk is called. That of libvirt is a name that it wants."""

_GIB = 1 << 30


@dataclass(frozen=True)
class Plan:
    """What is to be done so that a system's boxes are what its definition says."""

    box: Box
    build: pipeline.Plan
    """How their disk comes to be; without steps it is there already, of a command that was cut short."""
    marks: Mapping[Provider, str]
    """The sum of all that goes into each box."""
    wanted: tuple[Provider, ...]
    """For whom a box is to be made; none: all are up to date."""
    reason: str

    @property
    def up_to_date(self) -> bool:
        """Whether nothing is to be done."""
        return not self.wanted


def plan(
    box: Box,
    providers: Sequence[Provider],
    cloud: Cloud,
    shelf: Shelf,
    product: Product,
    oldest: str,
    *,
    force: bool = False,
) -> Plan:
    """Look what there is, and say what is missing.

    Raises:
        InputError: the box can't be rendered, or its base can't be had.
    """
    box.pinned()
    definition = box.definition
    files = render(definition, cloud.name, cloud.images.source(), oldest, product.sums)
    base = cloud.images.resolve(definition.base_on(cloud.name))
    mark = fingerprint(files, base)
    marks = {each: fingerprint({**files, **_recipe(box, each)}, base) for each in providers}
    there = {each: shelf.get(box.os, each) for each in providers}
    same = {each for each, kept in there.items() if kept and kept.told.fingerprint == marks[each]}
    wanted = tuple(each for each in providers if force or each not in same)
    disks = () if force else cloud.images.list(definition.name)
    start = next((image for image in disks if image.tags.get(names.FINGERPRINT) == mark), None)
    if force:
        reason = "asked for"
    elif not wanted:
        reason = "nothing that the build reads has changed"
    elif new := [each for each in wanted if there[each] is None]:
        reason = f"there is no box for {' and '.join(new)} yet"
    else:
        reason = f"its inputs differ from those of the box for {' and '.join(wanted)}"
    steps = ("build",) if wanted and start is None else ()
    variables = {"product": str(product.folder)}
    build = pipeline.Plan(cloud.name, definition, files, base, mark, steps, start, reason, variables)
    return Plan(box, build, marks, wanted, reason)


def _recipe(box: Box, provider: Provider) -> dict[str, bytes]:
    """What goes into a box beside its disk and the story of its build."""
    parts = {"metadata.json": metadata(box, provider, box.disk), "Vagrantfile": _vagrantfile(box, provider)}
    parts["name"] = box.name.encode()
    if provider == "virtualbox":
        parts["box.ovf"] = ovf.envelope(box, DISK[provider], 0, box.disk * _GIB)
    return {f"box/{name}": content for name, content in parts.items()}


def metadata(box: Box, provider: Provider, gibibytes: int) -> bytes:
    """The text of metadata.json: libvirt wants to know what its disk is, and how large."""
    told: dict[str, object] = {"provider": provider, "architecture": box.architecture}
    if provider == "libvirt":
        told |= {"format": "qcow2", "virtual_size": gibibytes}
    return json.dumps(told).encode() + b"\n"


def _vagrantfile(box: Box, provider: Provider) -> bytes:
    return vagrantfile(provider=provider, mac=ovf.mac(box), memory=box.memory, cpus=box.cpus)


@dataclass(frozen=True)
class Outcome:
    """What became of a plan."""

    boxes: tuple[Kept, ...]
    seconds: Mapping[str, float] = field(default_factory=dict)
    """How long each part took."""


def apply(plan: Plan, cloud: Cloud, packer: Packer, shelf: Shelf, progress: Progress) -> Outcome:
    """Do what the plan says. Its disk is kept if packing fails, and the next command goes on with it.

    Raises:
        KitError: a part failed. The boxes that were there are there.
        TemporaryError: another command builds boxes of that system.
    """
    os, made, seconds = plan.box.os, [], {}
    folder = shelf.begin(os)
    try:
        began = wait.clock.monotonic()
        image = plan.build.start
        if plan.build.steps:
            image = pipeline.apply(plan.build, cloud, packer, 1, progress).image
            seconds["build"] = wait.clock.monotonic() - began
        assert image is not None  # a plan without `build` starts from one
        info = _info(plan, image, packer)
        for number, provider in enumerate(plan.wanted, 1):
            began = wait.clock.monotonic()
            with (
                progress.step(f"pack {os} for {provider}", number, len(plan.wanted)),
                pipeline.disk_full_told(cloud),
            ):
                made.append(_packed(plan, provider, image, info, folder, shelf))
            seconds[provider] = wait.clock.monotonic() - began
        for each in cloud.images.list(plan.build.definition.name):
            cloud.images.delete(each)
    finally:
        shelf.finish(os)
    return Outcome(tuple(made), seconds)


def _packed(plan: Plan, provider: Provider, image: Image, info: bytes, work: Path, shelf: Shelf) -> Kept:
    """Convert the disk, pack it, and put the box on the shelf."""
    box, name = plan.box, DISK[provider]
    disk = work / name
    target = ("qcow2",) if provider == "libvirt" else ("vmdk", "-o", "subformat=streamOptimized")
    source = Path(image.id) / "disk.qcow2"
    process.run(["qemu-img", "convert", "-f", "qcow2", "-O", *target, source, disk], timeout=1800)
    capacity = capacity_of(source)
    members = [
        Member("metadata.json", metadata(box, provider, -(-capacity // _GIB))),
        Member("info.json", info),
        Member("Vagrantfile", _vagrantfile(box, provider)),
    ]
    if provider == "virtualbox":
        members.append(Member("box.ovf", ovf.envelope(box, name, disk.stat().st_size, capacity)))
    home = work / provider
    home.mkdir(mode=0o700)
    packed = packing.pack(home / ARCHIVE, [*members, Member(name, disk)])
    disk.unlink()
    told = Told(
        name=box.name,
        os=box.os,
        provider=provider,
        architecture=box.architecture,
        fingerprint=plan.marks[provider],
        sha256=packed.sha256,
        size=packed.size,
        built=names.moment(wait.clock.now()),
    )
    write_json(home / STORY, {key: getattr(told, key) for key in told.__struct_fields__})
    return shelf.put(box.os, provider, home)


def capacity_of(disk: Path) -> int:
    """Bytes of a disk, as a guest sees it."""
    return int(json.loads(process.run(["qemu-img", "info", "--output=json", disk]).text)["virtual-size"])


def _info(plan: Plan, image: Image, packer: Packer) -> bytes:
    """The text of info.json: what `vagrant box list -i` shows, one word or text a key.

    By its name there a file is published that is apart from its box.json.
    """
    told = record.told(plan.build, image.build, image.tags[names.CREATED], packer)
    base = told.pop("base")
    sums = plan.build.files["provision/product.sums"].decode().splitlines()
    flat = {**told, "base": base["id"], "name": plan.box.name, "description": plan.box.description}
    flat |= {name: f"sha256:{each}" for each, name in (line.split("  ") for line in sums)}
    return json.dumps(flat, indent=2, sort_keys=True).encode() + b"\n"
