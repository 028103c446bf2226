"""The build record: which image this is, and out of what it was made. Inside and beside it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cloud import process
from cloud.errors import KitError
from packer.definition import ROOT

if TYPE_CHECKING:
    from packer.driver import Packer
    from packer.pipeline import Plan


def write(path: Path, plan: Plan, build: str, created: str, packer: Packer) -> Path:
    """Write the record that goes into the VM, where versions are added to it."""
    path.write_text(json.dumps(told(plan, build, created, packer), indent=2, sort_keys=True) + "\n")
    return path


def told(plan: Plan, build: str, created: str, packer: Packer) -> dict[str, Any]:
    """Which build it is, and out of what."""
    return {
        "image": plan.definition.name,
        "build": build,
        "cloud": plan.cloud,
        "created": created,
        "fingerprint": plan.fingerprint,
        "base": {"id": plan.base.id, **plan.base.source},
        "packer": packer.version_text,
        "toolkit": _revision(),
    }


def _revision() -> str:
    """The toolkit's commit, with `-dirty` if files differ from it; empty outside of a checkout.

    Not by git's own `--dirty`, which locks the index: who is killed meanwhile would leave the lock behind.
    """
    try:
        commit = process.run([*_GIT, "describe", "--always", "--abbrev=40"]).text
        changed = process.run([*_GIT, "status", "--porcelain", "--untracked-files=no"]).text
    except KitError:
        return ""
    return f"{commit}-dirty" if changed else commit


_GIT = ("git", "--no-optional-locks", "-C", str(ROOT))
