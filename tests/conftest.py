"""What every test gets: a home of its own, nothing of the caller's settings, no interrupt from before.

And what many share: the micro guest, and a store with a finished micro image, built once by the toolkit itself.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
from botocore.client import ClientCreator
from botocore.loaders import create_loader
from filelock import FileLock
from hypothesis import HealthCheck, settings

from cloud import wait
from tasks._tools import ADMINISTRATION
from tests.guests import micro_disk
from tests.toolkit import ROOT, Toolkit

# The same examples everywhere: a test that fails in CI fails here too. No deadline: this shares its processors.
settings.register_profile(
    "toolkit",
    derandomize=True,
    deadline=None,
    database=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("toolkit")

# A user's PATH on Debian has no folders for administrators, and there are mke2fs, sfdisk, debugfs and depmod.
os.environ["PATH"] = os.pathsep.join((os.environ["PATH"], *ADMINISTRATION))

_OTHERS = ("KM_", "AWS_", "AZURE_", "ARM_", "SP_", "GH_", "GITHUB_", "VAGRANT_", "PACKER_", "PKR_", "INVOKE_", "XDG_")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The files that take longest come first, and the others go on beside them."""
    order = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path.name, len(order)))


LONGEST = ("test_l0base.py", "test_boxes_debian.py", "test_runner_faults.py", "test_runners.py", "test_boxes.py")
"""The one with the whole base image is first of all."""


@pytest.fixture(autouse=True)
def _home(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A home of its own and no variable that means something to us, a cloud or a program of ours."""
    for variable in list(os.environ):
        if variable.startswith(_OTHERS) or variable.lower().endswith("_proxy"):
            monkeypatch.delenv(variable)
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(home))
    for variable, folder in (
        ("XDG_DATA_HOME", ".local/share"),
        ("XDG_STATE_HOME", ".local/state"),
        ("XDG_CACHE_HOME", ".cache"),
        ("XDG_CONFIG_HOME", ".config"),
    ):
        monkeypatch.setenv(variable, str(home / folder))
    before = Path.cwd()
    yield
    wait.resume()
    assert Path.cwd() == before


@pytest.fixture(scope="session", autouse=True)
def _boto_reads_once() -> Iterator[None]:
    """boto reads what EC2 is, and makes a class of it, once a process: else that is most of the time of many tests."""
    loader = create_loader()
    made, classes = ClientCreator._create_client_class, dict[str, type]()
    read, models = ClientCreator._load_service_model, dict[str, Any]()

    def model(creator: ClientCreator, service: str, *version: Any) -> Any:
        if service not in models:
            models[service] = read(creator, service, *version)
        return models[service]

    def known(creator: ClientCreator, service: str, *arguments: Any) -> type:
        if service not in classes:
            classes[service] = made(creator, service, *arguments)
        return classes[service]

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("botocore.session.create_loader", lambda paths=None: loader)
        patched.setattr(ClientCreator, "_load_service_model", model)
        patched.setattr(ClientCreator, "_create_client_class", known)
        yield


COUNTED = "counted"
"""The property of a test that tells how much it has tried: all of them are told at the end."""


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Tell what the tests have counted."""
    passed = terminalreporter.getreports("passed")
    told = [text for report in passed for key, text in report.user_properties if key == COUNTED]
    if told:
        terminalreporter.section("counted")
        for text in sorted(told):
            terminalreporter.line(text)


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
        "KM_LOCAL__BOOT_TIMEOUT": "240",
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
def built(micro: dict[str, str], tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Built:
    """One build of the micro image, from nothing, with everything watched: to be looked at and copied, and no more.

    Workers side by side wait for the one of them that makes it, as pytest-xdist advises
    ("Making session-scoped fixtures execute only once").
    """
    if worker_id == "master":
        return _build(tmp_path_factory.mktemp("built"), micro)
    shared = tmp_path_factory.getbasetemp().parent
    kept = shared / "built.pickle"
    with FileLock(shared / "built.lock"):
        if not kept.exists():
            kept.write_bytes(pickle.dumps(_build(Path(tempfile.mkdtemp(dir=shared, prefix="built-")), micro)))
    made: Built = pickle.loads(kept.read_bytes())  # noqa: S301  # our own
    return made


def _build(home: Path, micro: dict[str, str]) -> Built:
    secrets = dict.fromkeys(("AWS_SECRET_ACCESS_KEY", "SP_PASSWORD", "GH_TOKEN", "VAGRANT_CLOUD_TOKEN"), CANARY)
    toolkit = Toolkit(home, {**micro, **secrets})
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
