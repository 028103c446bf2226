"""This machine, with what a cloud can do."""

from __future__ import annotations

from collections.abc import Sequence

from cloud.base import Quota
from cloud.local.images import LocalImages
from cloud.local.machines import LocalMachines
from cloud.local.network import LocalNetwork
from cloud.local.settings import LocalSettings
from cloud.local.store import Store


class LocalCloud:
    """QEMU on this machine. A person without a cloud account has this one."""

    name = "local"

    def __init__(self, settings: LocalSettings) -> None:
        store = Store.at(settings.store)
        self.images = LocalImages(store, settings)
        self.machines = LocalMachines(store, settings)
        self.network = LocalNetwork()
        self._root = store.root

    def quotas(self, size: str) -> Sequence[Quota]:
        """None: a machine that is too small says so by itself."""
        return ()

    def check(self) -> str:
        """This machine's user needs no other right than to write in the store."""
        return str(self._root)
