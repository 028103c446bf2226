"""A subscription of Azure, with what a cloud can do."""

from __future__ import annotations

from collections.abc import Sequence

import platformdirs

from cloud.azure import creating, quota, rights
from cloud.azure.fleet import AzureFleet
from cloud.azure.images import AzureImages
from cloud.azure.runner_network import AzureNetwork
from cloud.azure.session import Session
from cloud.azure.settings import AzureSettings
from cloud.base import Quota
from cloud.caller import CallerSettings
from cloud.work import Work


class AzureCloud:
    """A subscription, in one location."""

    name = "azure"

    def __init__(self, settings: AzureSettings, us: CallerSettings) -> None:
        self._session = Session(settings)
        self._settings = settings
        work = Work(platformdirs.user_data_path("kontain") / "azure" / "builds")
        self.images = AzureImages(self._session, settings, us, work)
        self.machines = AzureFleet(self._session, settings, us, work)
        self.network = AzureNetwork(self._session, settings)

    def quotas(self, size: str) -> Sequence[Quota]:
        """Those of the location and of the size's family; none where we may not see them."""
        sizes = creating.sizes(size, self._settings)
        return quota.look(self._session, self._settings, sizes, self.machines.list)

    def check(self) -> str:
        """Where we are, whether the resource group of the images is there, and whether we have all rights in it."""
        group = self._settings.resource_group
        self._session.call("resources", "resource_groups.get", group)
        rights.check(self._session, group)
        return f"subscription {self._session.subscription}, {group} in {self._settings.location}"
