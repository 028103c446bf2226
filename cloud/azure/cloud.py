"""A subscription of Azure, with what a cloud can do."""

from __future__ import annotations

import platformdirs

from cloud.azure import rights
from cloud.azure.images import AzureImages
from cloud.azure.machines import AzureMachines
from cloud.azure.session import Session
from cloud.azure.settings import AzureSettings
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
        self.machines = AzureMachines(self._session, settings, us, work)

    def check(self) -> str:
        """Where we are, whether the resource group of the images is there, and whether we have all rights in it."""
        group = self._settings.resource_group
        self._session.call("resources", "resource_groups.get", group)
        rights.check(self._session, group)
        return f"subscription {self._session.subscription}, {group} in {self._settings.location}"
