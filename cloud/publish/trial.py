"""A published box, added by the real vagrant, in a home that is thrown away."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from cloud.errors import CommandFailed, KitError
from cloud.progress import Progress
from cloud.publish.box import Box
from cloud.publish.names import Tag
from cloud.publish.place import Place


def add(place: Place, tag: Tag, version: str, box: Box, progress: Progress) -> None:
    """Let vagrant add the box from where it was published, and see that it has it.

    python-vagrant's own `box_add` knows neither a version nor an architecture, so its runner of commands is used, and
    its `box_list` to look.

    Raises:
        CommandFailed: vagrant does not take it.
        KitError: vagrant took another one.
    """
    import vagrant

    home = Path(tempfile.mkdtemp(prefix="kontain-vagrant-"))
    try:
        environment = {
            **os.environ,
            **place.login(),
            "VAGRANT_HOME": str(home),
            "VAGRANT_CHECKPOINT_DISABLE": "1",
            "VAGRANT_NO_PLUGINS": "1",
        }
        environment = {name: text for name, text in environment.items() if text}
        with _heard(home / "said", progress) as said:
            client: Any = vagrant.Vagrant(  # type: ignore[no-untyped-call]
                root=str(home), env=environment, out_cm=said, err_cm=said
            )
            words = ["box", "add", "--provider", box.provider, "--box-version", version, place.address(tag)]
            try:
                client._call_vagrant_command(words)
                there = [(each.name, each.provider, each.version) for each in client.box_list()]
            except subprocess.CalledProcessError as problem:
                told = tuple((home / "said").read_text(errors="replace").splitlines())
                raise CommandFailed("vagrant box add", problem.returncode, told) from None
        if there != [(str(tag), box.provider, version)]:
            raise KitError(f"vagrant has added {there}, not {tag} {version} {box.provider}")
    finally:
        shutil.rmtree(home, ignore_errors=True)


@contextmanager
def _said(path: Path) -> Iterator[IO[bytes]]:
    with open(path, "ab") as file:
        yield file


@contextmanager
def _heard(path: Path, progress: Progress) -> Iterator[object]:
    """A maker of contexts as python-vagrant wants it; what was said is told at the end."""
    path.touch()
    try:
        yield lambda: _said(path)
    finally:
        for line in path.read_text(errors="replace").splitlines():
            progress.line(line)
