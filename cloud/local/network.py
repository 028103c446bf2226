"""What local VMs are joined to: each has a network of QEMU's own to itself, which nobody has to make."""

from __future__ import annotations

from collections.abc import Sequence

from cloud.progress import Progress


class LocalNetwork:
    """QEMU's network for users, one for each VM."""

    def missing(self) -> Sequence[str]:
        """Nothing, ever."""
        return ()

    def complete(self, progress: Progress) -> None:
        """There is nothing to make."""
