"""What builds leave in a subscription and what is no image: found by tags, and never what a build under way needs."""

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


def clear(session: Session, settings: AzureSettings, build: str) -> bool:
    """Remove what there is of a build that is over, and is no image; whether all of it is gone.

    Raises:
        KitError: nobody knows what there is.
    """
    gone = True
    for what, thing, tags in _tagged(session, settings):
        if tags.get(names.BUILD) == build and tags.get(names.KIND) in ("build", "proof"):
            try:
                gone = _removed(session, settings, what, thing) and gone
            except KitError:
                gone = False
    return gone


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
    elif not _removed(session, settings, leftover.what, thing):
        raise KitError(f"{thing} is not gone yet", hint="./inv images.prune again")


def remove_managed(session: Session, settings: AzureSettings, name: str) -> bool:
    """Remove a managed image; whether it is gone. It may be gone already."""
    return session.remove("compute", "images.begin_delete", settings.resource_group, name)


def remove_version(session: Session, thing: str) -> bool:
    """Remove a version of a gallery's image, by its id; whether it is gone. It may be gone already."""
    parts = thing.split("/")  # /subscriptions/S/resourceGroups/G/providers/P/galleries/G/images/I/versions/V
    deletion = "gallery_image_versions.begin_delete"
    return session.remove("compute", deletion, parts[4], parts[8], parts[10], parts[12])


def _removed(session: Session, settings: AzureSettings, what: str, thing: str) -> bool:
    if what == _MANAGED:
        return remove_managed(session, settings, thing)
    if what == _VERSION:
        return remove_version(session, thing)
    return groups.remove(session, thing)


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
