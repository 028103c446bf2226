"""The Compute Gallery that holds the images: made when it is not there, and how its versions are called."""

from __future__ import annotations

from datetime import datetime

from cloud.azure.session import Session, missing_is_none
from cloud.azure.settings import AzureSettings


def version_of(created: datetime) -> str:
    """The version of a build that began then: three numbers, which sort as the builds do.

    Numbers of 32 bits without zeros before them; the highest is the latest ("Azure Compute Gallery").
    """
    clock = created.hour * 10000 + created.minute * 100 + created.second
    return f"{created.year}.{created.month * 100 + created.day}.{clock}"


def ready(session: Session, settings: AzureSettings, name: str, tags: dict[str, str]) -> None:
    """See to it that there are a gallery, and in it a definition of that name."""
    group, gallery, location = settings.resource_group, settings.gallery, settings.location
    if not _there(session, "gallery_images.get", group, gallery, name):
        if not _there(session, "galleries.get", group, gallery):
            made = {"location": location, "tags": tags, "properties": {"description": "images of Kontain's CI"}}
            session.call("compute", "galleries.begin_create_or_update", group, gallery, made)
        definition = {
            "location": location,
            "tags": tags,
            "properties": {
                "osType": "Linux",
                "osState": "Generalized",
                "hyperVGeneration": "V2",
                "architecture": "x64",
                "identifier": {"publisher": "kontain", "offer": "ci", "sku": name},
                # Such images start VMs with and without Trusted Launch ("Trusted Launch for Azure VMs").
                "features": [{"name": "SecurityType", "value": "TrustedLaunchSupported"}],
            },
        }
        session.call("compute", "gallery_images.begin_create_or_update", group, gallery, name, definition)


def _there(session: Session, operation: str, *where: str) -> bool:
    return missing_is_none(lambda: session.call("compute", operation, *where)) is not None
