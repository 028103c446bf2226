"""A published box, added by the real vagrant, in a home that is thrown away; and what killed trials have left."""

from __future__ import annotations

import os
import shutil
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any

from cloud import process, wait
from cloud.errors import KitError
from cloud.progress import Progress
from cloud.publish.box import Box
from cloud.publish.names import Tag, tried
from cloud.publish.place import Place

OLD = timedelta(days=1)
"""No trial lasts longer: what is older nobody works on."""

_TIMEOUT = 6 * 3600.0
"""Seconds in which a box is downloaded and unpacked."""


def add(place: Place, tag: Tag, version: str, box: Box, progress: Progress) -> None:
    """Let vagrant add the box from where it was published, and see that it has it.

    python-vagrant is asked what is there. Its `box_add` knows no version, and its runner of commands hears no
    interrupt, after which the trial would stay: so that is run by us.

    Raises:
        CommandFailed: vagrant does not take it.
        KitError: vagrant took another one.
        Interrupted: an interrupt came; vagrant has been ended.
    """
    import vagrant

    home = Path(tempfile.mkdtemp(prefix="kontain-vagrant-"))
    try:
        own = {"VAGRANT_HOME": str(home), "VAGRANT_CHECKPOINT_DISABLE": "1", "VAGRANT_NO_PLUGINS": "1"}
        environment = {name: text for name, text in {**os.environ, **place.login(), **own}.items() if text}
        words = ["vagrant", "box", "add", "--provider", box.provider, "--box-version", version, place.address(tag)]
        process.run(words, cwd=home, env=environment, on_line=progress.line, timeout=_TIMEOUT)
        client: Any = vagrant.Vagrant(root=str(home), env=environment)  # type: ignore[no-untyped-call]
        there = [(each.name, each.provider, each.version) for each in client.box_list()]
        if there != [(str(tag), box.provider, version)]:
            raise KitError(f"vagrant has added {there}, not {tag} {version} {box.provider}")
    finally:
        shutil.rmtree(home, ignore_errors=True)


def left(place: Place, tag: Tag) -> list[str]:
    """Versions of the box that were trials, and that nobody takes away any more."""
    now = wait.clock.now()
    return [version for version in place.versions(tag) if (begun := tried(version)) and now - begun > OLD]
