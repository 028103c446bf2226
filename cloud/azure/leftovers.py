"""What killed builds left in a subscription: found by tags, and never anything of a build under way."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from cloud import names
from cloud.azure import groups
from cloud.azure.session import Session, missing_is_none
from cloud.azure.settings import AzureSettings
from cloud.base import Leftover
from cloud.errors import KitError
from cloud.work import Work, left

_GROUP = "resource group of a killed build"
_MANAGED = "managed image of a killed build"
_VERSION = "version of a killed build"
_FOLDER = "folder of a killed build"


def find(session: Session, settings: AzureSettings, work: Work) -> list[Leftover]:
    """All of it, in the order in which it can be removed; last the folders here that tell what is dead."""
    dead = work.dead()
    asked = (
        lambda: session.list("resources", "resource_groups.list", filter=f"tagName eq '{names.BUILD}'"),
        lambda: session.list("compute", "images.list_by_resource_group", settings.resource_group),
        lambda: list(_versions(session, settings)),
    )
    with ThreadPoolExecutor(len(asked)) as threads:
        made, managed, versions = threads.map(lambda ask: ask(), asked)
    found = [
        *(Leftover("azure", _GROUP, str(each.name)) for each in made if _left(each, dead)),
        *(Leftover("azure", _MANAGED, str(each.name)) for each in managed if _left(each, dead)),
        *(Leftover("azure", _VERSION, str(each.id)) for each in versions if _left(each, dead)),
    ]
    return [*found, *(Leftover("azure", _FOLDER, name) for name in dead)]


def remove(session: Session, settings: AzureSettings, work: Work, leftover: Leftover) -> None:
    """Remove one of them. It may be gone already.

    Raises:
        KitError: it is still needed by something that is not gone.
    """
    thing = leftover.id
    if leftover.what == _FOLDER:
        if still := [each.id for each in find(session, settings, work)[: -len(work.dead()) or None]]:
            raise KitError(f"{thing} is needed to tell that {still[0]} is dead", hint="./inv images.prune again")
        work.finish(thing)
    elif leftover.what == _MANAGED:
        remove_managed(session, settings, thing)
    elif leftover.what == _VERSION:
        remove_version(session, thing)
    elif not groups.remove(session, thing):
        raise KitError(f"{thing} is not gone yet", hint="./inv images.prune again")


def remove_managed(session: Session, settings: AzureSettings, name: str) -> None:
    """Remove a managed image. It may be gone already."""
    _gone_or(session, "images.begin_delete", settings.resource_group, name)


def remove_version(session: Session, thing: str) -> None:
    """Remove a version of a gallery's image, by its id. It may be gone already."""
    parts = thing.split("/")  # /subscriptions/S/resourceGroups/G/providers/P/galleries/G/images/I/versions/V
    _gone_or(session, "gallery_image_versions.begin_delete", parts[4], parts[8], parts[10], parts[12])


def _versions(session: Session, settings: AzureSettings) -> Iterator[Any]:
    where = (settings.resource_group, settings.gallery)
    images = missing_is_none(lambda: session.list("compute", "gallery_images.list_by_gallery", *where))
    for image in images or ():
        yield from session.list("compute", "gallery_image_versions.list_by_gallery_image", *where, str(image.name))


def _left(thing: Any, dead: list[str]) -> bool:
    return left(dict(thing.tags or {}), dead)


def _gone_or(session: Session, operation: str, *where: str) -> None:
    missing_is_none(lambda: session.call("compute", operation, *where))
