"""From a definition to the folder that packer runs in. The one place where Jinja is used.

The delimiters are `<%` and `<%=`: HCL and packer use Jinja's own. All that a template prints
is a quoted HCL text: there is no way around it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from cloud.errors import InputError
from packer.definition import PROVISION, ROOT, Definition

TEMPLATES = ROOT / "templates"
GUEST = "/var/tmp/kontain"  # noqa: S108  # in the VM, which nobody else is on
"""Where the provision folder is inside the VM, until the last step removes it."""

HARNESS = ("check.sh", "report.sh", "step.sh")
"""What runs the steps and their checks; the same for every definition."""

SOURCES = {"aws": "source.amazon-ebs.image", "azure": "source.azure-arm.image", "local": "source.qemu.image"}
"""Packer's name for each cloud's source."""

PLUGINS_SINCE = (1, 7, 0)
"""The first packer whose builders are plugins with versions of their own."""

NONE: Mapping[str, str] = {}

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class Raw(str):
    """Text of our own that is HCL already."""


def hcl(value: Any) -> str:
    """The value as an HCL literal that packer reads back as it was.

    Raises:
        InputError: no literal does that.
    """
    if isinstance(value, Raw):
        return value
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise TypeError(f"{type(value).__name__} does not go into a template")
    if isinstance(value, int):
        return str(value)
    readable(value)
    quoted = value.replace("\\", "\\\\").replace('"', '\\"').replace("${", "$${").replace("%{", "%%{")
    return '"' + _CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", quoted) + '"'


def readable(text: str) -> None:
    """See to it that packer reads the text as it is, in a template or in a variable.

    Raises:
        InputError: it would not. Packer expands `{{` a second time, with no way to escape it, and
            reads text in Unicode's normal form C (zclconf/go-cty).
    """
    if "{{" in text:
        raise InputError(f"{text!r} can't be used: packer gives '{{{{' a meaning of its own")
    if any(0xD800 <= ord(letter) <= 0xDFFF for letter in text):
        raise InputError(f"{text!r} is no valid text")
    if unicodedata.normalize("NFC", text) != text:
        raise InputError(f"{text!r} is not in Unicode's normal form C, and packer would change it")


def render(
    definition: Definition, cloud: str, source: Mapping[str, str | int], oldest: str, product: Mapping[str, str] = NONE
) -> dict[str, bytes]:
    """The files that packer needs to build the definition on that cloud, by their relative path.

    `source` fills the cloud's own template, `source.<cloud>.pkr.hcl.j2`. `oldest` is the oldest packer
    that must understand them: one before 1.7 brings builders that lack some options. `product` are the
    checksums of the product's files, by name, where the image has them: packer gets each by a variable.

    They depend on nothing but the arguments and the files of this project: not on the clock, the
    folder or the machine.

    Raises:
        InputError: a value can't be written so that packer reads it back.
    """
    template = _templates().get_template("image.pkr.hcl.j2")
    text = template.render(
        cloud=cloud,
        type=SOURCES[cloud],
        current=tuple(map(int, oldest.split("."))) >= PLUGINS_SINCE,
        steps=definition.steps,
        guest=GUEST,
        product=list(product),
        **source,
    )
    environment = {
        "KM_IMAGE": definition.name,
        "KM_CLOUD": cloud,
        "KM_USER": definition.user,
        "KM_BUILDER": str(source["builder"]),
        "KM_STEPS": " ".join(definition.steps),
    }
    tools = (
        (tool.name, tool.source, tool.installed_as, tool.version or "0", tool.check) for tool in definition.tools(cloud)
    )
    # No field is empty: a shell takes two tabs for one.
    repositories = (
        (name, each.url, each.suite or "-", each.components or "-", each.key, each.fingerprint)
        for name, each in definition.repositories(cloud).items()
    )
    downloads = ((each.url, each.sha256, each.to) for each in definition.downloads(cloud))
    files = {
        "image.pkr.hcl": text.encode(),
        "provision/image.env": "".join(f'{key}="{word}"\n' for key, word in environment.items()).encode(),
        "provision/tools.tsv": _table(tools),
        "provision/repositories.tsv": _table(repositories),
        "provision/downloads.tsv": _table(downloads),
        "provision/plugins.tsv": _table(definition.plugins(cloud).items()),
    }
    if product:
        files["provision/product.sums"] = "".join(f"{each}  {name}\n" for name, each in product.items()).encode()
    for script in HARNESS:
        files[f"provision/{script}"] = (PROVISION / script).read_bytes()
    for step in (*definition.steps, "clean"):
        for script in (f"{step}.sh", f"{step}.check.sh"):
            files[f"provision/{script}"] = (definition.folder / script).read_bytes()
    return files


def _table(rows: Iterable[Sequence[str]]) -> bytes:
    """Rows as a shell reads them: a tab between fields, of which the definition lets none hold one."""
    return "".join("\t".join(row) + "\n" for row in rows).encode()


def plugins(wanted: Mapping[str, str]) -> bytes:
    """The block that names packer's plugins with their pinned versions.

    A file of its own, since packer before 1.7 refuses it, and since which plugin builds an image
    is no part of what the image is.
    """
    named = {Raw(name): version for name, version in wanted.items()}
    return _templates().get_template("plugins.pkr.hcl.j2").render(wanted=named).encode()


def vagrantfile(*, provider: str, mac: str, memory: int, cpus: int) -> bytes:
    """What a box tells Vagrant of itself, as Ruby."""
    text = _templates().overlay(finalize=ruby).get_template("Vagrantfile.j2")
    return text.render(provider=provider, mac=mac, memory=memory, cpus=cpus).encode()


def ruby(value: str | int) -> str:
    """The value as a Ruby literal: between single quotes nothing but these two has a meaning."""
    if isinstance(value, int):
        return str(value)
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def write(files: Mapping[str, bytes], folder: Path) -> None:
    """Put the files into the folder, which may be there."""
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)


@cache
def _templates() -> Environment:
    return Environment(
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        finalize=hcl,
        autoescape=False,  # noqa: S701  # HCL, not HTML; finalize quotes everything
        block_start_string="<%",
        block_end_string="%>",
        variable_start_string="<%=",
        variable_end_string="%>",
        comment_start_string="<#",
        comment_end_string="#>",
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
