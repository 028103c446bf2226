"""What EC2 refuses of copies of AMIs and of sharing them, and what it makes of a copy: for `tests.fakes.ec2`."""

from __future__ import annotations

import re
from typing import Any

from moto.core.models import DEFAULT_ACCOUNT_ID

from tests.fakes.ec2_rules import backend, ids, is_region, specified, too_long

ABOUT = ("CopyImage", "DescribeImageAttribute", "ModifyImageAttribute", "ModifySnapshotAttribute")
"""The calls that are judged here."""

MESSAGES = {
    ("ModifyImageAttribute", "OperationNotPermitted"): (
        "You can't publicly share this image because block public access for AMIs is enabled for this account. "
        "To publicly share the image, you must call the DisableImageBlockPublicAccess API."
    ),
    ("ModifyImageAttribute", "InvalidParameter"): (
        "Snapshots encrypted with the AWS Managed CMK can't be shared. Specify another snapshot."
    ),
    ("ModifyImageAttribute", "UnsupportedOperation"): (
        "Encrypted snapshots can't be shared publicly. Specify another snapshot."
    ),
    ("ModifySnapshotAttribute", "OperationNotPermitted"): "Encrypted snapshots with EBS default key cannot be shared",
}
"""EC2's own words, where they say more than the code."""


def refusal(action: str, given: dict[str, str], unfinished: set[str], blocked: bool) -> str:
    """The code of what EC2 refuses. `unfinished` AMIs are pending; `blocked`: the account has no public ones."""
    if action == "CopyImage":
        return _about_copy(given, unfinished)
    if action == "ModifySnapshotAttribute":
        return _about_snapshot(given)
    return _about_sharing(action, given, blocked)


def copied(ami: str, given: dict[str, str], reason: Any) -> None:
    """Make of moto's copy what EC2 makes of one: like its source, tagged, and failed if there is a reason."""
    made, source = backend().amis[ami], backend(given["SourceRegion"]).amis[given["SourceImageId"]]
    made.root_device_type, made.root_device_name = source.root_device_type, source.root_device_name
    snapshot = made.ebs_snapshot
    task = f"SourceAmi {source.id} for SourceSnapshot {source.ebs_snapshot.id}. Task created on 1,566,308,778,174."
    snapshot.description = f"Copied for DestinationAmi {ami} from {task}"
    snapshot.encrypted = source.ebs_snapshot.encrypted or given.get("Encrypted") == "true"
    snapshot.kms_key_id = given.get("KmsKeyId")
    if given.get("CopyImageTags") == "true":
        before = backend(given["SourceRegion"]).tags.get(source.id, {})
        kept = {key: text for key, text in before.items() if not key.startswith("aws:")}
        backend().create_tags([ami], kept)
    for kind, thing in (("image", ami), ("snapshot", snapshot.id)):
        backend().create_tags([thing], specified(given, kind))
    if reason:
        made.state, made.state_reason = "failed", reason


def tags(given: dict[str, str]) -> bool:
    """Whether a copy is asked for with tags."""
    return given.get("CopyImageTags") == "true" or "TagSpecification.1.ResourceType" in given


def _about_copy(given: dict[str, str], unfinished: set[str]) -> str:
    if not is_region(given["SourceRegion"]):
        return "InvalidRequest"
    if not re.fullmatch(r"[A-Za-z0-9()\[\] ./'@_-]{3,128}", given["Name"]):
        return "InvalidAMIName.Malformed"
    source = backend(given["SourceRegion"]).amis.get(given["SourceImageId"])
    if source is None:
        gone = given["SourceImageId"] in backend(given["SourceRegion"]).deleted_amis
        return "InvalidAMIID.Unavailable" if gone else "InvalidAMIID.NotFound"
    if source.id in unfinished or source.state != "available":
        return "InvalidAMIID.Unavailable"
    if given["Name"] in (ami.name for ami in backend().amis.values() if ami.owner_id == DEFAULT_ACCOUNT_ID):
        return "InvalidAMIName.Duplicate"
    if "KmsKeyId" in given and given.get("Encrypted") != "true":
        return "InvalidParameterDependency"
    if source.ebs_snapshot.encrypted and given.get("Encrypted") == "false":
        return "InvalidRequest"
    kinds = {text for key, text in given.items() if re.fullmatch(r"TagSpecification\.\d+\.ResourceType", key)}
    return "InvalidParameterValue" if kinds - {"image", "snapshot"} else too_long(given)


def _about_sharing(action: str, given: dict[str, str], blocked: bool) -> str:
    """Who may use an AMI: moto keeps that, and refuses what is no account and no group."""
    kept, name = backend(), given["ImageId"]
    if name not in kept.amis:
        return "InvalidAMIID.Unavailable" if name in kept.deleted_amis else "InvalidAMIID.NotFound"
    ami = kept.amis[name]
    if ami.owner_id != DEFAULT_ACCOUNT_ID:
        return "AuthFailure"
    if action == "DescribeImageAttribute":
        return ""
    if ami.state != "available":
        return "InvalidAMIID.Unavailable"
    if blocked and "all" in _added(given, "Group"):
        return "OperationNotPermitted"
    if ami.ebs_snapshot.encrypted:
        if "all" in _added(given, "Group"):
            return "UnsupportedOperation"
        if not ami.ebs_snapshot.kms_key_id and _added(given, "UserId"):
            return "InvalidParameter"
    return ""


def _added(given: dict[str, str], what: str) -> set[str]:
    """The groups or accounts that a call adds to those who may use an AMI."""
    found = {text for key, text in given.items() if re.fullmatch(rf"LaunchPermission\.Add\.\d+\.{what}", key)}
    if given.get("OperationType") == "add":
        found |= set(ids(given, {"Group": "UserGroup", "UserId": "UserId"}[what]))
    return found


def _about_snapshot(given: dict[str, str]) -> str:
    kept = backend().snapshots.get(given["SnapshotId"])
    if kept is None:
        return "InvalidSnapshot.NotFound"
    if any(not re.fullmatch(r"\d{12}", account) for account in ids(given, "UserId")):
        return "InvalidAMIAttributeItemValue"
    return "OperationNotPermitted" if kept.encrypted and not kept.kms_key_id else ""
