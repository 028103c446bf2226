"""This machine, with what a cloud can do."""

from __future__ import annotations

from cloud.local.images import LocalImages
from cloud.local.machines import LocalMachines
from cloud.local.settings import LocalSettings
from cloud.local.store import Store


class LocalCloud:
    """QEMU on this machine. A person without a cloud account has this one."""

    name = "local"

    def __init__(self, settings: LocalSettings) -> None:
        store = Store.at(settings.store)
        self.images = LocalImages(store, settings)
        self.machines = LocalMachines(store, settings)
        self._root = store.root

    def check(self) -> str:
        """This machine's user needs no other right than to write in the store."""
        return str(self._root)
