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
    things = [Leftover("azure", what, thing) for what, thing, tags in _tagged(session, settings) if left(tags, dead)]
    return [*things, *(Leftover("azure", _FOLDER, name) for name in dead)]


def of_build(session: Session, settings: AzureSettings, build: str) -> list[Leftover]:
    """What there is of one build that is no image."""
    return [
        Leftover("azure", what, thing)
        for what, thing, tags in _tagged(session, settings)
        if tags.get(names.BUILD) == build and tags.get(names.KIND) == "build"
    ]


def remove(session: Session, settings: AzureSettings, work: Work, leftover: Leftover) -> None:
    """Remove one of them. It may be gone already.

    Raises:
        KitError: it is still needed by something that is not gone, or is not gone itself.
    """
    thing = leftover.id
    if leftover.what == _FOLDER:
        if still := [each.id for each in find(session, settings, work) if each.what != _FOLDER]:
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


def _tagged(session: Session, settings: AzureSettings) -> list[tuple[str, str, dict[str, str]]]:
    """All that builds make: what it is, its name or id, its tags."""
    asked = (
        lambda: session.list("resources", "resource_groups.list", filter=f"tagName eq '{names.BUILD}'"),
        lambda: session.list("compute", "images.list_by_resource_group", settings.resource_group),
        lambda: list(_versions(session, settings)),
    )
    with ThreadPoolExecutor(len(asked)) as threads:
        made, managed, versions = threads.map(lambda ask: ask(), asked)
    told = [(_GROUP, each.name, each) for each in made]
    told += [(_MANAGED, each.name, each) for each in managed]
    told += [(_VERSION, each.id, each) for each in versions]
    return [(what, str(thing), dict(each.tags or {})) for what, thing, each in told]


def _versions(session: Session, settings: AzureSettings) -> Iterator[Any]:
    where = (settings.resource_group, settings.gallery)
    images = missing_is_none(lambda: session.list("compute", "gallery_images.list_by_gallery", *where))
    for image in images or ():
        yield from session.list("compute", "gallery_image_versions.list_by_gallery_image", *where, str(image.name))


def _gone_or(session: Session, operation: str, *where: str) -> None:
    missing_is_none(lambda: session.call("compute", operation, *where))
