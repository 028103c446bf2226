"""Clouds: where images are kept and machines run. Imports nothing else of ours.

`connect` opens one by name and imports its package, and so its SDK, only then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from cloud.errors import InputError

if TYPE_CHECKING:
    from cloud.aws.settings import AwsSettings
    from cloud.azure.settings import AzureSettings
    from cloud.base import Cloud
    from cloud.caller import CallerSettings
    from cloud.local.settings import LocalSettings

NAMES = ("aws", "azure", "local")

WORDS = {"ec2": "aws"}
"""What CI calls a cloud, where that is another word than ours."""


class Settings(Protocol):
    """The settings of all clouds."""

    @property
    def aws(self) -> AwsSettings:
        """Those of AWS."""

    @property
    def azure(self) -> AzureSettings:
        """Those of Azure."""

    @property
    def local(self) -> LocalSettings:
        """Those of this machine."""

    @property
    def caller(self) -> CallerSettings:
        """From where we reach into VMs."""


def connect(name: str, settings: Settings) -> Cloud:
    """The cloud of that name, ready to be asked. Nothing is asked yet.

    Raises:
        InputError: there is no cloud of that name.
    """
    match name:
        case "aws":
            from cloud.aws.cloud import AwsCloud

            return AwsCloud(settings.aws, settings.caller)
        case "azure":
            from cloud.azure.cloud import AzureCloud

            return AzureCloud(settings.azure, settings.caller)
        case "local":
            from cloud.local.cloud import LocalCloud

            return LocalCloud(settings.local)
    raise InputError(f"unknown cloud {name!r}", hint=f"choose from: {', '.join(NAMES)}")
