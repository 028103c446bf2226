"""What a VM's console tells about a boot that came to nothing. Pure."""

from __future__ import annotations

import re

_CAUSES = (
    # (what stands there, what it means and what to do)
    (r"is deprecated and cannot receive messages", "GitHub does not accept this version of the runner any more"),
    (r"curl: \(22\).*\b404\b", "the runner's download is not there (404)"),
    (r"curl: \(22\).*\b(\d{3})\b", "the runner's download was refused"),
    (r"curl: \((6|7|28|35|56)\)", "the VM has no network, or its download's server does not answer"),
    (r"sha256sum: WARNING|kontain: failed: checksum", "the runner's download has another checksum"),
    (r"No space left on device", "the VM's disk is full"),
    (
        r"(server time|clock).{0,60}(skew|differ|wrong|not match)|certificate is not yet valid",
        "the VM's clock is wrong",
    ),
    (r"kontain: failed: registering", "GitHub refused to register the runner"),
    (r"kontain: failed: (.+)", "its setup failed"),
    (r"Kernel panic|soft lockup", "its kernel hangs or has stopped"),
    (r"emergency mode|Failed to mount", "its disk can't be mounted"),
)


def cause(text: str) -> str:
    """Why a VM did not become a runner, with the line that says so; empty where none does."""
    lines = text.splitlines()
    for pattern, meaning in _CAUSES:
        known = re.compile(pattern, re.IGNORECASE)
        for line in reversed(lines):
            if known.search(line):
                return f"{meaning} ({line.strip()[:200]})"
    return ""
