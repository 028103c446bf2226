"""What cloud-init is told, as a dict; written as YAML, of which JSON is a part.

No template and no shell line: whatever a name or a key holds arrives as data.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cloud.errors import InputError

GUEST = Path(__file__).parent / "guest"
"""Scripts and units that a runner VM gets."""

LIMIT = 16_384
"""Bytes of user data that EC2 takes ("Instance user data", in its user guide). Azure takes four times as many."""

UserData = Mapping[str, Any]

# JSON writes what lies beyond 16 bits as two escapes, and YAML reads them as two letters.
_PAIR = re.compile(r"\\ud[89ab][0-9a-f]{2}\\ud[c-f][0-9a-f]{2}")


def login(user: str, keys: Sequence[str], *, sudo: bool = False) -> dict[str, Any]:
    """A user who may log in with one of the keys. One who exists keeps all that he has."""
    entry: dict[str, Any] = {"name": user, "shell": "/bin/bash", "ssh_authorized_keys": list(keys)}
    if sudo:
        entry["sudo"] = "ALL=(ALL) NOPASSWD:ALL"
    return {"users": [entry], "ssh_pwauth": False}


def host_key(private: str, public: str) -> dict[str, Any]:
    """The ssh host key that a throw-away VM gets, so that we know whom we talk to.

    Other host keys are left where they are: an image that brings some is a bad one, and the
    proof wants to see them.
    """
    keys = {"ed25519_private": private, "ed25519_public": public}
    return {"ssh_deletekeys": False, "ssh_keys": keys}


@dataclass(frozen=True)
class Runner:
    """What a VM is told that is to become a runner. Two of these are secrets, and it is shown without them."""

    user: str
    keys: tuple[str, ...]
    """Public keys of those who may log in."""
    ends: datetime
    """When the VM switches itself off, whatever it does then."""
    patience: int
    """Seconds after which it does so when it has not become a runner."""
    url: str = ""
    """Where it registers; empty: it is no runner, but a VM to work in by hand."""
    name: str = ""
    labels: tuple[str, ...] = ()
    download: str = ""
    sha256: str = ""
    cached: str = ""
    """A file of the image that may be taken instead of the download."""
    token: str = ""
    jit: str = ""

    def __repr__(self) -> str:
        return f"Runner(name={self.name!r}, url={self.url!r}, labels={self.labels!r})"

    def forgotten(self) -> Runner:
        """The same without its secrets."""
        return replace(self, token="", jit="")


def runner(told: Runner) -> dict[str, Any]:
    """All that a runner VM gets: who may log in, its scripts and units, and what it is to do at its first boot.

    Raises:
        InputError: it is more than a cloud takes.
    """
    files = [_file("/etc/systemd/system/kontain-expire.timer", expiry(told.ends))]
    files += [_given("kontain-expire.service"), _given("kontain-wipe.service"), _given("wipe.sh")]
    units = ["kontain-expire.timer"]
    commands = [["systemctl", "daemon-reload"], ["systemctl", "enable", "kontain-wipe.service"]]
    if told.url:
        units.append("kontain-unregistered.timer")
        files += [_given("kontain-runner.service", told.user), _given("kontain-unregistered.service")]
        files += [_given("setup.sh"), _file("/etc/kontain/runner.json", _setup(told), "0600")]
        files += [_file("/etc/systemd/system/kontain-unregistered.timer", _timer(f"OnActiveSec={told.patience}"))]
    commands.append(["systemctl", "enable", "--now", *units])
    if told.url and (told.token or told.jit):
        commands.append(["sh", "/opt/kontain/setup.sh"])
    # What it was told is shut away once it runs. A boot that found nothing would make it another VM, with new host
    # keys, after minutes of asking; and all that there is to be done is done (cloud-init, "How to disable cloud-init").
    commands.append(["touch", "/etc/cloud/cloud-init.disabled"])
    data = login(told.user, told.keys) | {"write_files": files, "runcmd": commands}
    if (size := len(write(data).encode())) > LIMIT - _KEYS_OF_OURS:
        raise InputError(
            f"user data of {size} bytes is more than a VM can be given: {LIMIT - _KEYS_OF_OURS}",
            hint="fewer or shorter keys in the folder that runners.keys names",
        )
    return data


_KEYS_OF_OURS = 1024
"""Bytes that a cloud adds to it: a key of ours, and the VM's host key."""


def _setup(told: Runner) -> str:
    plain = ("user", "url", "name", "download", "sha256", "cached", "token", "jit")
    return json.dumps({**{key: getattr(told, key) for key in plain}, "labels": ",".join(told.labels)})


def _given(name: str, user: str = "") -> dict[str, str]:
    """A file of ours, where such a file belongs in a VM."""
    text = (GUEST / name).read_text()
    folder = "/opt/kontain" if name.endswith(".sh") else "/etc/systemd/system"
    return _file(f"{folder}/{name}", re.sub(r"^User=.*$", f"User={user}", text, flags=re.MULTILINE) if user else text)


def _file(path: str, content: str, permissions: str = "0644") -> dict[str, str]:
    return {"path": path, "content": content, "permissions": permissions}


def _timer(when: str) -> str:
    return f"[Timer]\n{when}\nAccuracySec=1s\n\n[Install]\nWantedBy=timers.target\n"


def expiry(moment: datetime) -> str:
    """The timer that switches the VM off then; a moment that is over does not come again ("systemd.timer")."""
    return _timer(f"OnCalendar={moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC")


def write(data: UserData) -> str:
    """The text that a cloud takes as user data."""
    return "#cloud-config\n" + _yaml(data)


def metadata(instance: str, hostname: str) -> str:
    """The text that NoCloud takes as meta-data."""
    return _yaml({"instance-id": instance, "local-hostname": hostname})


def _yaml(data: Mapping[str, Any]) -> str:
    written = json.dumps(data, indent=1, sort_keys=True)
    return _PAIR.sub(lambda found: str(json.loads(f'"{found[0]}"')), written) + "\n"
