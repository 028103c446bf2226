"""What `release.retire` does: which AMIs go, and which snapshots of AMIs that are gone, in which regions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
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

    def due(cloud: AwsCloud) -> list[_Due]:
        if wanted:
            images = ami.of_version(cloud, name, version.parse(wanted))
        else:
            images = ami.superfluous(cloud, name, keep or settings.release.keep)
        # An AMI goes before its snapshots do. Where these stayed, nothing else looks for them in a copy's region.
        orphans = [(left, tags) for left, tags in cloud.images.orphans(name) if names.RELEASE in tags]
        return [
            *(_Due(cloud, each.id, each.tags, partial(cloud.images.delete, each)) for each in images),
            *(
                _Due(cloud, left.id, tags, partial(cloud.images.remove, left), ", a snapshot that was left")
                for left, tags in orphans
                if not wanted or tags[names.RELEASE] == version.parse(wanted)
            ),
        ]

    looked = _clouds.together([partial(due, cloud) for cloud in clouds], len(clouds))
    _clouds.settle([(cloud.region, error) for cloud, (_, error) in zip(clouds, looked, strict=True)])
    found = [each for things, _ in looked for each in things or ()]
    acts = [] if plan else [each.remove for each in found]
    ended = _clouds.together(acts, len(clouds))
    errors = [error for _, error in ended] if ended else [None] * len(found)
    rows = [_row(each, plan, error) for each, error in zip(found, errors, strict=True)]
    text = "\n".join(
        f"{row['state']} {row['build']} of {row['version']} in {row['region']}{each.kind}"
        for each, row in zip(found, rows, strict=True)
    )
    _console.result(rows, as_json=as_json, text=text or "nothing to retire")
    _clouds.settle([(row["build"], error) for row, error in zip(rows, errors, strict=True)])


@dataclass(frozen=True)
class _Due:
    """An AMI or a snapshot that is to go."""

    cloud: AwsCloud
    id: str
    tags: Mapping[str, str]
    remove: Callable[[], None]
    kind: str = ""
    """What it is, where it is no AMI, for people."""


def _row(due: _Due, plan: bool, error: KitError | None) -> _console.Row:
    return {
        "region": due.cloud.region,
        "build": due.tags[names.BUILD],
        "id": due.id,
        "version": due.tags[names.RELEASE],
        "state": "would remove" if plan else "could not remove" if error else "removed",
    }
