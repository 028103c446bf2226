"""What cloud-init is told, as a dict; written as YAML, of which JSON is a part.

No template and no shell line: whatever a name or a key holds arrives as data.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

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


def write(data: UserData) -> str:
    """The text that a cloud takes as user data."""
    return "#cloud-config\n" + _yaml(data)


def metadata(instance: str, hostname: str) -> str:
    """The text that NoCloud takes as meta-data."""
    return _yaml({"instance-id": instance, "local-hostname": hostname})


def _yaml(data: Mapping[str, Any]) -> str:
    written = json.dumps(data, indent=1, sort_keys=True)
    return _PAIR.sub(lambda found: str(json.loads(f'"{found[0]}"')), written) + "\n"
