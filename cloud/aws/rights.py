"""Whether we may do what builds and runners do: EC2 is asked for what they change, without doing it.

Packer's own list of rights is longer: what it has for other kinds of builds is not asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from cloud.aws.session import AwsError, Session
from cloud.errors import NotAllowed

_VM, _IMAGE, _GROUP = "i-00000000000000000", "ami-00000000000000000", "sg-00000000000000000"
"""Things that nobody has: what must be named in a question is not ours either."""

_PORT = [{"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "192.0.2.1/32"}]}]
_TAG = {"Key": "km-kind", "Value": "runner"}

ASKED: Mapping[str, Mapping[str, Any]] = {
    "describe_images": {"Owners": ["self"]},
    "create_security_group": {"GroupName": "km-doctor", "Description": "never made"},
    "delete_security_group": {"GroupId": _GROUP},
    "authorize_security_group_ingress": {"GroupId": _GROUP, "IpPermissions": _PORT},
    "revoke_security_group_ingress": {"GroupId": _GROUP, "IpPermissions": _PORT},
    "create_key_pair": {"KeyName": "km-doctor"},
    "delete_key_pair": {"KeyName": "km-doctor"},
    "create_image": {"InstanceId": _VM, "Name": "km-doctor"},
    "deregister_image": {"ImageId": _IMAGE},
    "delete_snapshot": {"SnapshotId": "snap-00000000000000000"},
    "delete_volume": {"VolumeId": "vol-00000000000000000"},
    "delete_network_interface": {"NetworkInterfaceId": "eni-00000000000000000"},
    "run_instances": {"ImageId": _IMAGE, "MinCount": 1, "MaxCount": 1},
    "create_tags": {"Resources": [_VM], "Tags": [_TAG]},
    "delete_tags": {"Resources": [_VM], "Tags": [_TAG]},
    "modify_instance_attribute": {"InstanceId": _VM, "InstanceInitiatedShutdownBehavior": {"Value": "stop"}},
    "modify_instance_metadata_options": {"InstanceId": _VM, "HttpEndpoint": "disabled"},
    "start_instances": {"InstanceIds": [_VM]},
    "stop_instances": {"InstanceIds": [_VM]},
    "terminate_instances": {"InstanceIds": [_VM]},
    "get_console_output": {"InstanceId": _VM},
}
"""Calls, with what they can't do without."""


def check(session: Session) -> None:
    """Ask for all of them at once, with `DryRun`.

    Only EC2's No counts: of a thing that is not there it may say that first, and nobody wrote down which comes first.

    Raises:
        NotAllowed: a right is missing; it is named.
        KitError: EC2 does not answer.
    """

    def ask(operation: str) -> NotAllowed | None:
        try:
            session.call("ec2", operation, DryRun=True, **ASKED[operation])
        except NotAllowed as refused:
            return refused
        except AwsError:
            pass  # DryRunOperation: we may; or it is not there
        return None

    with ThreadPoolExecutor(len(ASKED)) as threads:
        refused = [each for each in threads.map(ask, ASKED) if each]
    if refused:
        raise NotAllowed("; ".join(each.message for each in refused), hint=refused[0].hint)
