"""What `release.retire` does: which AMIs go, in which regions."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from cloud import names
from cloud.errors import InputError, KitError
from packer import ami, version
from packer.definition import load
from tasks import _clouds, _console, _pieces, _settings

if TYPE_CHECKING:
    from cloud.aws.cloud import AwsCloud
    from cloud.base import Image


def retire(wanted: str, keep: int, *, plan: bool, as_json: bool) -> None:
    """Look in all regions, then remove it.

    Raises:
        InputError: what is meant can't be retired. Nothing was removed.
    """
    settings = _settings.load()
    if keep < 0 or (keep and wanted):
        raise InputError(f"--keep {keep}: how many edges stay, and not with --version", hint="--keep 2")
    name = load(Path(settings.release.definition)).name
    clouds = _pieces.regions(settings)

    def due(cloud: AwsCloud) -> list[Image]:
        if wanted:
            return ami.of_version(cloud, name, version.parse(wanted))
        return ami.superfluous(cloud, name, keep or settings.release.keep)

    looked = _clouds.together([partial(due, cloud) for cloud in clouds], len(clouds))
    _clouds.settle([(cloud.region, error) for cloud, (_, error) in zip(clouds, looked, strict=True)])
    found = [(cloud, image) for cloud, (images, _) in zip(clouds, looked, strict=True) for image in images or ()]
    acts = [] if plan else [partial(cloud.images.delete, image) for cloud, image in found]
    ended = _clouds.together(acts, len(clouds))
    errors = [error for _, error in ended] if ended else [None] * len(found)
    rows = [_row(cloud, image, plan, error) for (cloud, image), error in zip(found, errors, strict=True)]
    text = "\n".join(f"{row['state']} {row['build']} of {row['version']} in {row['region']}" for row in rows)
    _console.result(rows, as_json=as_json, text=text or "nothing to retire")
    _clouds.settle([(row["build"], error) for row, error in zip(rows, errors, strict=True)])


def _row(cloud: AwsCloud, image: Image, plan: bool, error: KitError | None) -> _console.Row:
    return {
        "region": cloud.region,
        "build": image.build,
        "id": image.id,
        "version": image.tags[names.RELEASE],
        "state": "would remove" if plan else "could not remove" if error else "removed",
    }
