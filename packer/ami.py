"""The release AMI: built and proven as every image is, copied to other regions, given to those who may use it.

`plan` decides and changes nothing; `apply` does what the plan says. An AMI that was given away is never changed and
never built again. An edge's is for its own account alone, and in its own region.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from cloud import names, wait
from cloud.aws.sharing import PUBLIC, Audience
from cloud.base import Base, Image
from cloud.errors import InputError, KitError
from cloud.progress import Progress
from packer import pipeline
from packer.definition import Definition
from packer.driver import Packer
from packer.fingerprint import fingerprint
from packer.product import Product
from packer.render import render
from packer.settings import ReleaseSettings
from packer.version import Version

if TYPE_CHECKING:
    from cloud.aws.cloud import AwsCloud


@dataclass(frozen=True)
class Place:
    """The AMI in one region, and what is to be done for it."""

    region: str
    image: Image | None
    state: str
    """`missing`, `stale` (of other inputs), `there`, or `released`: those who may use it can."""
    does: tuple[str, ...]
    """Some of `build`, `prove`, `copy`, `share`, in this order."""
    why: str


@dataclass(frozen=True)
class Plan:
    """What is to be done so that the AMI of a version is where it is to be."""

    version: Version
    places: tuple[Place, ...]
    """The first is where it is built."""
    audience: Audience
    build: pipeline.Plan | None
    """How it comes to be; None: nothing is to be built, or nothing can be, since the product is not there."""

    @property
    def foreign(self) -> str:
        """Why nothing can be done for this version: it was released of another commit or other files. Empty: it can."""
        return next((place.why for place in self.places if place.state == "stale" and not place.does), "")

    @property
    def up_to_date(self) -> bool:
        """Whether nothing is to be done."""
        return not any(place.does for place in self.places)


def audience(settings: ReleaseSettings) -> Audience:
    """Who may use a release's AMI.

    Raises:
        InputError: everybody, and nothing says that this is meant.
    """
    if settings.groups and not settings.public:
        raise InputError("release.groups has all, and release.public is false", hint="set both, or neither")
    return Audience(tuple(settings.accounts), tuple(settings.groups))


def plan(
    definition: Definition,
    version: Version,
    clouds: Sequence[AwsCloud],
    product: Product | None,
    settings: ReleaseSettings,
    oldest: str,
    *,
    force: bool = False,
) -> Plan:
    """Look what there is, and say what is missing. The first cloud is the region in which it is built.

    Without the product nothing can be said of an AMI's inputs: one of the right version will do.

    Raises:
        InputError: the definition can't be rendered, its base can't be had, or a tag can't be filled in.
    """
    clouds = clouds[:1] if version.edge else clouds
    wanted = Audience((), ()) if version.edge else audience(settings)
    with ThreadPoolExecutor(len(clouds) + 1) as threads:
        listing = [threads.submit(_of_version, cloud, definition.name, version) for cloud in clouds]
        base = threads.submit(clouds[0].images.resolve, definition.base_on("aws")) if product else None
        there = [answer.result() for answer in listing]
        build = None
        if product and base:
            build = _build(definition, version, clouds[0], product, base.result(), settings, oldest)
        out = {image.build for images in there for image in images if image.state == "promoted"}
        home = _home(clouds[0].region, there[0], out, build, version, force=force)
        copies = [_copy(cloud.region, found, home) for cloud, found in zip(clouds[1:], there[1:], strict=True)]
        places = [home, *copies]
        if not version.edge:
            places = list(threads.map(_given, clouds, places, [wanted] * len(places)))
    if build and home.does:
        start = None if "build" in home.does else home.image
        build = replace(build, steps=home.does, start=start, reason=home.why)
    return Plan(version, tuple(places), wanted, build if home.does else None)


def _of_version(cloud: AwsCloud, name: str, version: Version) -> list[Image]:
    return [image for image in cloud.images.list(name) if image.tags.get(names.RELEASE) == version.text]


def _build(
    definition: Definition,
    version: Version,
    home: AwsCloud,
    product: Product,
    base: Base,
    settings: ReleaseSettings,
    oldest: str,
) -> pipeline.Plan:
    """How it would be built, as far as that does not depend on what there is."""
    files = render(definition, home.name, home.images.source(), oldest, product.sums)
    told = {
        "version": version.text,
        "commit": version.commit,
        "base": base.source.get("image", base.id),
        "time": wait.clock.now().strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    tags = {key: _filled(key, text, told) for key, text in settings.tags.items()}
    tags |= {names.RELEASE: version.text, names.COMMIT: version.commit, names.PRODUCT: product.mark}
    variables = {"product": str(product.folder)}
    mark = fingerprint(files, base)
    return pipeline.Plan(home.name, definition, files, base, mark, (), None, "", variables, names.tag_values(tags))


def _filled(key: str, text: str, told: Mapping[str, str]) -> str:
    def word(found: re.Match[str]) -> str:
        if found[1] not in told:
            known = ", ".join(f"{{{each}}}" for each in told)
            raise InputError(f"release.tags: nothing fills {found[0]} in {key}", hint=f"choose from: {known}")
        return told[found[1]]

    return re.sub(r"\{(\w*)\}", word, text)


def _home(
    region: str,
    there: Sequence[Image],
    out: Collection[str],
    build: pipeline.Plan | None,
    version: Version,
    *,
    force: bool,
) -> Place:
    """What there is where it is built, and what is to be done so that it is proven.

    `out` are the builds that are released somewhere: sharing may have failed here, and gone well for a copy.
    """
    given = next((image for image in there if image.build in out), None)
    if given and (other := given.tags.get(names.COMMIT, version.commit)) != version.commit:
        return Place(
            region, given, "stale", (), f"{given.build} of {other[:10]} was released as {version.text}, and stays"
        )
    if given and build and given.tags.get(names.PRODUCT, mark := build.tags[names.PRODUCT]) != mark:
        return Place(
            region, given, "stale", (), f"{given.build} was released as {version.text} with other files, and stays"
        )
    if given:
        return Place(region, given, "there", (), f"{given.build}, which was released and stays")
    if not there:
        return Place(region, None, "missing", ("build", "prove"), f"no AMI is of {version.text}")
    newest = there[0]
    if force:
        return Place(region, newest, "stale", ("build", "prove"), "asked for")
    if build and newest.tags.get(names.FINGERPRINT) != build.fingerprint:
        return Place(region, newest, "stale", ("build", "prove"), f"its inputs differ from those of {newest.build}")
    if newest.state == "built":
        return Place(region, newest, "there", ("prove",), f"{newest.build} was built and not proven")
    return Place(region, newest, "there", (), newest.build)


def _copy(region: str, there: Sequence[Image], home: Place) -> Place:
    """What there is of it in another region."""
    if home.does or home.image is None:
        why = "it is copied when it was proven"
        return Place(region, there[0] if there else None, "stale" if there else "missing", ("copy",), why)
    if home.state == "stale":
        return Place(region, there[0] if there else None, "stale", (), home.why)
    same = next((image for image in there if image.build == home.image.build), None)
    if same is None:
        return Place(region, None, "missing", ("copy",), "it was not copied yet")
    return Place(region, same, "there", (), same.build)


def _given(cloud: AwsCloud, place: Place, wanted: Audience) -> Place:
    """The same, and whether those may use it who are to."""
    if place.state == "stale" and not place.does:
        return place
    if place.image is None or place.does:
        return replace(place, does=(*place.does, "share"))
    has = cloud.audience(place.image)
    short = [*(set(wanted.accounts) - set(has.accounts)), *(set(wanted.groups) - set(has.groups))]
    if short:
        return replace(place, does=("share",), why=f"{place.image.build} is not for {', '.join(sorted(short))} yet")
    if place.image.state != "promoted":
        return replace(place, does=("share",), why=f"{place.image.build} is proven, and not released")
    return replace(place, state="released")


def apply(
    plan: Plan, clouds: Sequence[AwsCloud], packer: Callable[[], Packer], ear: Callable[[str], Progress]
) -> dict[str, KitError | None]:
    """Do what the plan says; what became of each region. One that fails keeps no other from having it.

    `packer` is asked for where something is built; `ear` hears what is done in a region.

    Raises:
        KitError: it could not be built, or not proven. What there was is there.
    """
    home = plan.places[0]
    image = home.image
    if plan.build and plan.build.steps:
        image = pipeline.apply(plan.build, clouds[0], packer(), 1, ear(home.region)).image
    assert image is not None  # a plan without `build` starts from one
    done = image

    def one(cloud: AwsCloud, place: Place) -> KitError | None:
        try:
            _brought(plan, clouds[0], cloud, place, done, ear)
        except KitError as error:
            return error
        return None

    with ThreadPoolExecutor(len(plan.places)) as threads:
        ended = list(threads.map(one, clouds, plan.places))
    return {place.region: error for place, error in zip(plan.places, ended, strict=False)}


def _brought(
    plan: Plan, home: AwsCloud, cloud: AwsCloud, place: Place, image: Image, ear: Callable[[str], Progress]
) -> None:
    """Copy it there, and let those use it who may; last of all it says of itself that it is released."""
    steps = [step for step in place.does if step in ("copy", "share")]
    for number, step in enumerate(steps, 1):
        with ear(place.region).step(f"{step} {image.build} in {place.region}", number, len(steps)):
            if step == "copy":
                image = home.copy_to(cloud, image, ear(place.region))
            else:
                here = place.image if cloud is not home and place.image and "copy" not in place.does else image
                cloud.share(here, plan.audience)
                cloud.images.tag(here, {names.PROMOTED: names.moment(wait.clock.now())})


def superfluous(cloud: AwsCloud, name: str, keep: int) -> list[Image]:
    """The edges' AMIs of a region but the newest ones, as far as nobody uses them and nobody else may."""
    edges = [image for image in cloud.images.list(name) if names.RELEASE in image.tags and _of(image).edge]
    private = [image for image in edges if _private(cloud, image)]
    return [image for image in private[keep:] if not cloud.images.in_use(image)]


def of_version(cloud: AwsCloud, name: str, version: str) -> list[Image]:
    """All AMIs of a version in a region, so that they can be taken back.

    Raises:
        InputError: it is no version that comes before a release; or it was released to everybody, or is in use.
    """
    if not Version(version, "").prerelease:
        raise InputError(f"{version} is a release, and stays", hint="edges and versions as 1.0.0-rc.1 can be retired")
    found = [image for image in cloud.images.list(name) if image.tags.get(names.RELEASE) == version]
    for image in found:
        if not _private(cloud, image):
            raise InputError(
                f"{image.build} in {cloud.region} is for everybody, and stays", hint="./inv release.status"
            )
        if user := cloud.images.in_use(image):
            raise InputError(f"{image.build} in {cloud.region} is used by {user}", hint="end that first")
    return found


def _private(cloud: AwsCloud, image: Image) -> bool:
    return PUBLIC not in cloud.audience(image).groups


def _of(image: Image) -> Version:
    return Version(image.tags[names.RELEASE], image.tags.get(names.COMMIT, ""))
