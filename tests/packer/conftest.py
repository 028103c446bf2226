"""A store with a finished micro image, built once by the toolkit itself and copied for each test."""

from __future__ import annotations

import hashlib
import json
import shutil
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.guests import micro_disk
from tests.toolkit import ROOT, Toolkit

CANARY = "canary-7f3a9c51"
"""Stands for a secret in the environment."""


@pytest.fixture(scope="session")
def disk(request: pytest.FixtureRequest) -> Path:
    """The micro guest: what a vendor's image boots here."""
    return micro_disk(request.config.cache.mkdir("guests"))


@pytest.fixture(scope="session")
def micro(disk: Path) -> dict[str, str]:
    """The settings with which the base image is a micro guest."""
    return {
        "KM_IMAGES__DEFINITION": str(ROOT / "tests/definitions/micro.toml"),
        "KM_LOCAL__ACCELERATOR": "tcg",
        "KM_LOCAL__BASE_SHA256": hashlib.sha256(disk.read_bytes()).hexdigest(),
        "KM_LOCAL__BASE_URL": str(disk),
        "KM_LOCAL__BOOT_TIMEOUT": "120",
        "KM_LOCAL__CPUS": "1",
        "KM_LOCAL__DISK": "2",
        "KM_LOCAL__MEMORY": "256",
    }


@dataclass
class Seen:
    """What could be seen of a command from outside while it ran."""

    argv: set[str] = field(default_factory=set)
    listening: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Built:
    """A first build, and what was seen of it."""

    toolkit: Toolkit
    outcome: dict[str, Any]
    seen: Seen


@pytest.fixture(scope="session")
def built(micro: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Built:
    """One build of the micro image, from nothing, with everything watched."""
    secrets = dict.fromkeys(("AWS_SECRET_ACCESS_KEY", "SP_PASSWORD", "GH_TOKEN", "VAGRANT_CLOUD_TOKEN"), CANARY)
    toolkit = Toolkit(tmp_path_factory.mktemp("built"), {**micro, **secrets})
    seen, over = Seen(), threading.Event()
    watcher = threading.Thread(target=_watch, args=(toolkit, seen, over))
    watcher.start()
    ran = toolkit.run("images.l0base", "--cloud", "local", "--json")
    over.set()
    watcher.join()
    assert ran.code == 0, f"{ran.err}\n{toolkit.log()}"
    return Built(toolkit, ran.json[0], seen)


def _watch(toolkit: Toolkit, seen: Seen, over: threading.Event) -> None:
    while not over.wait(0.3):
        for process in toolkit.processes():
            try:
                seen.argv.update(process.cmdline())
                for socket in process.net_connections():
                    if socket.status == psutil.CONN_LISTEN:
                        seen.listening.add(socket.laddr[0])
            except psutil.Error:
                pass  # it ended while we looked


@pytest.fixture
def toolkit(micro: dict[str, str], tmp_path: Path) -> Toolkit:
    """A toolkit with an empty store."""
    return Toolkit(tmp_path / "home", micro)


@pytest.fixture
def shipped(built: Built, toolkit: Toolkit) -> Toolkit:
    """A toolkit whose store has one image, the current one, and its base."""
    shutil.copytree(built.toolkit.store, toolkit.store)
    return toolkit


@pytest.fixture
def unproven(shipped: Toolkit) -> Toolkit:
    """A toolkit whose only build was never proven: its builder was killed before that."""
    for file in shipped.store.glob("images/*/image.json"):
        told = json.loads(file.read_text())
        told["tags"] = {key: text for key, text in told["tags"].items() if key not in ("km-proven", "km-promoted")}
        file.write_text(json.dumps(told))
    return shipped
