"""One sum over all that a build reads: equal sums, equal images."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from cloud.base import Base


def fingerprint(files: Mapping[str, bytes], base: Base) -> str:
    """The sum of the rendered files and the resolved base: 64 hexadecimal digits.

    Lengths are part of it, so that no two sets of files run into the same text.
    """
    whole = hashlib.sha256()
    for part in (base.id.encode(), *(part for path in sorted(files) for part in (path.encode(), files[path]))):
        whole.update(len(part).to_bytes(8, "big"))
        whole.update(part)
    return whole.hexdigest()
