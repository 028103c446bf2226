"""What a VM does that is to be a runner, without a VM: it reads its user data, registers, is heard of, and ends.

For what is about clouds and GitHub and not about VMs; those are shown with guests that boot.
"""

from __future__ import annotations

import json
import threading
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from tests.fakes.github import Hub
from tests.fakes.guests import Paper


class Player:
    """Plays all guests that are on paper, at one GitHub."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._waiting: dict[str, threading.Timer] = {}
        self._known: dict[str, str] = {}
        self.broken: set[str] = set()
        """Names of VMs, or parts of them, that never become runners."""

    def plays(self, paper: Paper, boot: float) -> None:
        """Play what is on that paper too; `boot` is how many seconds its VMs take to be online."""
        paper.boots, paper.ends = partial(self._boots, boot), self._ends

    def close(self) -> None:
        """Nobody registers any more."""
        for timer in self._waiting.values():
            timer.cancel()

    def _boots(self, boot: float, vm: str, user_data: str) -> None:
        told = _runner(user_data)
        # One that was kept has wiped its credentials, and cloud-init does nothing twice.
        if told is None or vm in self._known or any(part in told["name"] for part in self.broken):
            return
        self._known[vm] = told["name"]
        self._waiting[vm] = threading.Timer(boot, self._registers, (told,))
        self._waiting[vm].daemon = True
        self._waiting[vm].start()

    def _registers(self, told: dict[str, Any]) -> None:
        if entry := self._hub.find(told["name"]):  # made by GitHub, for one job
            entry.as_told = (True, False)
            return
        what, owner, _ = self._hub.tokens[told["token"]]
        assert what == "registration" and owner == urlsplit(told["url"]).path.strip("/")
        self._hub.add_runner(told["name"], owner=owner, labels=told["labels"].split(","))

    def _ends(self, vm: str) -> None:
        if vm in self._waiting:
            self._waiting[vm].cancel()
        if entry := self._hub.find(self._known.get(vm, "")):
            entry.as_told = (False, False)


def _runner(user_data: str) -> dict[str, Any] | None:
    data = json.loads(user_data.removeprefix("#cloud-config\n")) if user_data.startswith("#cloud-config\n") else {}
    found = [each["content"] for each in data.get("write_files", ()) if each["path"] == "/etc/kontain/runner.json"]
    return dict(json.loads(found[0])) if found else None
