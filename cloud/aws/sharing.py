"""Who may use an AMI besides the account that has it: given, and never taken away.

An account that may start an AMI can't copy it: for that it must be able to read its snapshots too ("Copy an
Amazon EC2 AMI": the owner must grant read permissions for the storage that backs it), so they are shared with it.
Snapshots are not made public with an AMI: that is blocked by another switch of the account, and seldom wanted.

Codes: EC2's "Error codes"; that block public access says OperationNotPermitted is seen in
hortonworks/cloudbreak-images#926, what it says of the account's own key in hashicorp/packer#7410 and #7499, and of
encrypted images that are to be public in opendevstack/ods-core#1062.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from cloud.aws.leftovers import snapshots_of
from cloud.aws.session import AwsError, Session
from cloud.base import Image
from cloud.errors import InputError, KitError, NotAllowed, NotFound

PUBLIC = "all"
"""The one group that there is for AMIs: everybody."""

_ACCOUNT = re.compile(r"[0-9]{12}")
_NOBODY = ("InvalidAMIAttributeItemValue", "InvalidUserID.Malformed")


@dataclass(frozen=True)
class Audience:
    """Who may use an AMI, besides its owner. Organizations, which have no place here, are left alone."""

    accounts: tuple[str, ...] = ()
    """Accounts, as 12 digits."""
    groups: tuple[str, ...] = ()
    """`all`, or nothing."""


def check(audience: Audience) -> None:
    """Whether there can be such an audience. Nothing is asked.

    Raises:
        InputError: an account is not 12 digits, or there is no such group.
    """
    for account in audience.accounts:
        if not _ACCOUNT.fullmatch(account):
            raise InputError(f"{account!r} is no AWS account", hint="12 digits, without hyphens")
    for group in audience.groups:
        if group != PUBLIC:
            raise InputError(f"an AMI can't be shared with a group {group!r}", hint=f"there is one: {PUBLIC}")


def audience(session: Session, image: Image) -> Audience:
    """Who may use it now, sorted.

    Raises:
        NotFound: it is gone.
    """
    try:
        told = session.call("ec2", "describe_image_attribute", ImageId=image.id, Attribute="launchPermission")
    except AwsError as error:
        raise _refused(error, image, Audience()) from error
    given = told.get("LaunchPermissions", [])
    return Audience(
        tuple(sorted(each["UserId"] for each in given if "UserId" in each)),
        tuple(sorted(each["Group"] for each in given if "Group" in each)),
    )


def share(session: Session, image: Image, audience: Audience) -> None:
    """Let them use it, too; the accounts may copy it. Again is no harm.

    Raises:
        InputError: there is no such account or group, or the image can't be shared as it is encrypted.
        NotAllowed: the account blocks public AMIs, or a right is missing.
        NotFound: it is gone.
    """
    check(audience)
    try:
        _share(session, image, audience)
    except AwsError as error:
        raise _refused(error, image, audience) from error


def _share(session: Session, image: Image, wanted: Audience) -> None:
    accounts = sorted(set(wanted.accounts))
    # First the snapshots: who sees the AMI can copy it.
    if accounts:
        told = session.call("ec2", "describe_images", ImageIds=[image.id])["Images"]
        for snapshot in [each for ami in told for each in snapshots_of(ami)]:
            session.call(
                "ec2",
                "modify_snapshot_attribute",
                SnapshotId=snapshot,
                Attribute="createVolumePermission",
                OperationType="add",
                UserIds=accounts,
            )
    known = audience(session, image)
    missing: list[dict[str, Any]] = [{"UserId": each} for each in accounts if each not in known.accounts]
    missing += [{"Group": each} for each in sorted(set(wanted.groups)) if each not in known.groups]
    if missing:
        session.call("ec2", "modify_image_attribute", ImageId=image.id, LaunchPermission={"Add": missing})


def _refused(error: AwsError, image: Image, wanted: Audience) -> KitError:
    if error.code in ("InvalidAMIID.NotFound", "InvalidAMIID.Unavailable"):
        return NotFound(f"{image.build} is not there any more", hint="./inv images.list")
    if error.code in _NOBODY:
        return InputError(error.message, hint="is each of them an account, as 12 digits?")
    if "encrypted" in error.message.lower():
        what = f"{image.build} is encrypted, and can't be shared so: {error.message}"
        return InputError(
            what,
            hint="a build with a key of one's own in aws.kms_key can be shared with accounts that may use the key; "
            "only one without aws.encrypted can be public",
        )
    if error.code == "OperationNotPermitted" and wanted.groups:
        return NotAllowed(
            f"the account does not let {image.build} be public: it blocks public AMIs in this region",
            hint="aws ec2 disable-image-block-public-access, which takes up to 10 minutes; then again",
        )
    return error
