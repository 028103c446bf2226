"""The same build in another region: begun once, waited for by whoever wants it, and never left half.

A copy has its source's name, by which it is found: names of AMIs are unique in a region, also while they are
pending. It has the tags of an image from its first moment on, and its snapshots have those of the build: EC2 copies
an AMI's tags if it is told to, but none of a snapshot's ("CopyImage"). Who asks for one may leave: EC2 goes on, and
the next one who asks waits for the same.

There is no client token of ours: one that is made of the build's name would answer, after a copy has failed, with
that one. botocore makes one for each call, which holds for its retries; a call of whose answer nobody knows is one
whose name is taken.
"""

from __future__ import annotations

from typing import Any

from cloud import names, wait
from cloud.aws import images, leftovers
from cloud.aws.session import AwsError, Session, code, listed, where
from cloud.aws.settings import AwsSettings
from cloud.base import Image
from cloud.errors import InputError, KitError, NotAllowed, NotFound, TemporaryError
from cloud.progress import Progress

_CONSISTENT = 60.0
"""Seconds until EC2 tells everybody what it has told one ("Eventual consistency in the EC2 API")."""

_STATES = (names.PROVEN, names.PROMOTED, names.WITHDRAWN)
"""What changes on an image and is kept up to date on no snapshot."""


def copy(source: Session, target: Session, settings: AwsSettings, image: Image, progress: Progress) -> Image:
    """The build in the target's region, whole, as soon as EC2 has it there; the settings are the target's.

    One that is there is taken as it is, with the tags that it has. One that EC2 is at is waited for. What EC2 gave
    up goes, and is begun anew. `image_timeout` seconds are waited.

    Raises:
        InputError: another AMI has its name there, or the key is one of another region.
        NotFound: the source is gone.
        NotAllowed: a right is missing, or the region is not the account's.
        TemporaryError: EC2 has too many copies under way.
        TimedOut: it takes longer. It goes on.
        KitError: EC2 could not copy it; nothing of it stays.
    """
    _check_key(target, settings)
    dead = ""
    if (there := _named(target, image.build)) and there["State"] in leftovers.DEAD:
        dead = str(there["ImageId"])
        progress.line(f"{dead} in {target.region} has failed before: {_reason(there)}")
        leftovers.remove_ami(target, dead)

    def begin() -> str | None:
        """The copy that is there now, or one that is begun; none while a name is not free again everywhere."""
        known = _named(target, image.build)
        if known and known["ImageId"] != dead:
            return str(known["ImageId"])
        try:
            return _begin(source, target, settings, image)
        except AwsError as error:
            if error.code == "InvalidAMIName.Duplicate":
                return None
            raise

    ami = wait.until(begin, what=f"{image.build} in {target.region}", timeout=_CONSISTENT, every=settings.poll)
    progress.line(f"{image.build} in {target.region}: {ami}")
    return _whole(target, settings, image, ami)


def _begin(source: Session, target: Session, settings: AwsSettings, image: Image) -> str:
    parts = {key: text for key, text in image.tags.items() if key not in _STATES and not key.startswith("aws:")}
    asked: dict[str, Any] = {"Name": image.build, "SourceImageId": image.id, "SourceRegion": source.region}
    if parts:
        asked["TagSpecifications"] = [{"ResourceType": "snapshot", "Tags": listed(parts.items())}]
    if settings.encrypted:
        asked |= {"Encrypted": True, **({"KmsKeyId": settings.kms_key} if settings.kms_key else {})}
    try:
        return str(target.call("ec2", "copy_image", CopyImageTags=True, **asked)["ImageId"])
    except AwsError as error:
        if error.code in ("InvalidAMIID.NotFound", "InvalidAMIID.Unavailable"):
            what = f"{image.build} can't be copied from {source.region}: {error.message}"
            raise NotFound(what, hint="./inv images.list") from error
        if error.code == "ResourceLimitExceeded":
            raise TemporaryError(error.message, hint="when other copies are done, the same again") from error
        raise


def _whole(target: Session, settings: AwsSettings, image: Image, ami: str) -> Image:
    """The copy, when EC2 is done with it."""
    seen = wait.clock.monotonic()

    def look() -> Image | None:
        nonlocal seen
        told = _shown(target, ami)
        if told is None:
            if wait.clock.monotonic() - seen > _CONSISTENT:
                what = f"{ami} in {target.region}, the copy of {image.build}, is gone"
                raise KitError(what, hint="the same again makes another")
            return None
        seen = wait.clock.monotonic()
        if told["State"] in leftovers.DEAD:
            raise _failed(target, image, told)
        if told["State"] == "disabled":
            raise InputError(f"{ami} in {target.region} is disabled", hint=f"aws ec2 enable-image --image-id {ami}")
        return _ours(target, image, told) if told["State"] == "available" else None

    return wait.until(
        look,
        what=f"{ami} in {target.region}, the copy of {image.build}",
        timeout=settings.image_timeout,
        every=settings.poll,
        hint="EC2 goes on with it, and the same again waits for it",
    )


def _ours(target: Session, image: Image, told: dict[str, Any]) -> Image:
    copied = images.read(told)
    if copied is None or copied.build != image.build:
        what = f"{told['ImageId']} in {target.region} is named {image.build}, and is no copy of it: its tags are others"
        raise InputError(what, hint="if nobody needs it: aws ec2 deregister-image; then again")
    return copied


def _failed(target: Session, image: Image, told: dict[str, Any]) -> KitError:
    """Why, when what there is of it is gone."""
    what = f"EC2 could not copy {image.build} to {target.region}: {_reason(told)}"
    try:
        leftovers.remove_ami(target, told["ImageId"])
    except KitError as problem:
        return KitError(f"{what}; and it is not gone yet: {problem.message}", hint="the same again removes it first")
    return KitError(what, hint="the same again begins anew; with aws.kms_key, the key must be one of that region")


def _reason(told: dict[str, Any]) -> str:
    return str(told.get("StateReason", {}).get("Message") or "it does not say why")


def _named(session: Session, build: str) -> dict[str, Any] | None:
    """The AMI of that name in our account, in any state."""
    try:
        found = session.pages("describe_images", "Images", Owners=["self"], Filters=where(name=build))
    except NotAllowed as problem:
        if code(problem) != "AuthFailure":
            raise
        # So EC2 answers everybody in a region that his account has not switched on.
        hint = f"is {session.region} one that the account has switched on? otherwise {problem.hint}"
        raise NotAllowed(problem.message, hint=hint) from problem
    return found[0] if found else None


def _shown(session: Session, ami: str) -> dict[str, Any] | None:
    try:
        found = session.call("ec2", "describe_images", ImageIds=[ami])["Images"]
    except AwsError as error:
        if error.code in ("InvalidAMIID.NotFound", "InvalidAMIID.Unavailable"):
            return None
        raise
    return dict(found[0]) if found else None


def _check_key(target: Session, settings: AwsSettings) -> None:
    """A key whose region is told must be one of the target's: EC2 takes any, and fails minutes later."""
    parts = settings.kms_key.split(":")
    if settings.encrypted and len(parts) > 4 and parts[3] != target.region:
        what = f"{settings.kms_key} is no key of {target.region}"
        raise InputError(what, hint="set aws.kms_key to an alias that there is in each region")
