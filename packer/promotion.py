"""Which build is current, and which are kept: by tags, on any cloud."""

from __future__ import annotations

from dataclasses import dataclass

from cloud import names, wait
from cloud.base import Cloud, Image, Leftover, current
from cloud.errors import InputError, KitError, NotFound


def find(cloud: Cloud, name: str, build: str) -> Image:
    """The build of that name, or the only one whose name ends so.

    Raises:
        NotFound: there is none, or more than one.
    """
    found = [image for image in cloud.images.list(name) if build and image.build.endswith(build)]
    if len(found) != 1:
        what = "no build" if not found else f"{len(found)} builds"
        raise NotFound(f"{what} of {name} on {cloud.name} named {build!r}", hint="./inv images.list")
    return found[0]


def promote(cloud: Cloud, image: Image) -> Image:
    """Make this build current: it gets the tag first, then the newer ones lose it.

    The newest of them, which is the current one, loses it last: whenever this is cut short, the
    current image is the one before or this one, and none between.

    Raises:
        InputError: it was never proven.
        NotFound: it is gone.
    """
    if names.PROVEN not in image.tags:
        raise InputError(f"{image.build} was never proven", hint="./inv images.l0base goes on with it")
    now = names.moment(wait.clock.now())
    promoted = cloud.images.tag(image, {names.PROMOTED: now, names.WITHDRAWN: None})
    for other in reversed(cloud.images.list(image.name)):
        if other.state == "promoted" and other.created > image.created:
            try:
                cloud.images.tag(other, {names.PROMOTED: None, names.WITHDRAWN: now})
            except NotFound:
                pass  # another one has just pruned it
    cloud.images.announce(promoted)
    return promoted


def rollback(cloud: Cloud, name: str) -> Image:
    """Make the build current that was so before.

    Raises:
        InputError: there was none before.
    """
    promoted = [image for image in cloud.images.list(name) if image.state == "promoted"]
    if len(promoted) < 2:
        raise InputError(f"{name} on {cloud.name} has no build to go back to", hint="./inv images.list")
    return promote(cloud, promoted[1])


@dataclass(frozen=True)
class Superfluous:
    """What `prune` removes: builds, and what killed builds left."""

    images: tuple[Image, ...]
    leftovers: tuple[Leftover, ...]

    def words(self) -> tuple[str, ...]:
        """Each of them, as a person calls it."""
        return (
            *(f"build {image.build}" for image in self.images),
            *(f"{leftover.what} {leftover.id}" for leftover in self.leftovers),
        )


def superfluous(cloud: Cloud, name: str, keep: int) -> Superfluous:
    """All builds but `keep`: the current one, the newest that were proven, and any in use.

    The current one stays, whatever `keep` is.

    Raises:
        InputError: `keep` is less than nothing.
    """
    if keep < 0:
        raise InputError(f"{keep} builds can't be kept", hint="--keep 1 keeps the current one alone")
    builds = [image for image in cloud.images.list(name) if image.state != "plain"]
    now = current(builds)
    proven = [image for image in builds if image.state != "built" and image != now]
    kept = [now, *proven[: max(keep - 1, 0)]] if now else proven[:keep]
    gone = [image for image in builds if image not in kept and not cloud.images.in_use(image)]
    return Superfluous(tuple(gone), tuple(cloud.images.leftovers()))


def prune(what: Superfluous, cloud: Cloud) -> tuple[str, ...]:
    """Remove it, all of it that can be; return what is gone, in words.

    Raises:
        KitError: something could not be removed; the rest is.
    """
    problems = []
    gone = []
    things: tuple[Image | Leftover, ...] = (*what.images, *what.leftovers)
    for thing, words in zip(things, what.words(), strict=True):
        try:
            if isinstance(thing, Image):
                cloud.images.delete(thing)
            else:
                cloud.images.remove(thing)
            gone.append(words)
        except (KitError, OSError) as problem:
            problems.append(f"{words}: {problem}")
    if problems:
        raise KitError(f"not all could be removed: {'; '.join(problems)}", hint="./inv images.prune tries again")
    return tuple(gone)
