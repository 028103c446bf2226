"""What EC2 is told about a runner that is ordered: all that its VM is and has, but its type and its zone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cloud import access, names, userdata, wait
from cloud.aws.catalogue import Type
from cloud.aws.launch import place
from cloud.aws.runner_network import Place
from cloud.aws.session import AwsError, Session, listed
from cloud.aws.settings import AwsSettings
from cloud.base import Image, Order
from cloud.errors import InputError, NotFound


class Prepared:
    """An order with a host key of its own, and tags from which it is known again."""

    def __init__(self, order: Order, settings: AwsSettings) -> None:
        private, public = access.new_key(order.name)
        self.host_key = access.word(public)
        self.tags = {**settings.tags, "Name": order.name, **order.tags, names.HOST_KEY: self.host_key}
        self.tags[names.USER] = order.user
        self._order = order
        self._role = settings.role
        self._data = _user_data(order, userdata.host_key(private, public))

    def requests(
        self, types: Sequence[Type], network: Place, disk: Mapping[str, Any]
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """What EC2 is asked for, one after the other: each type in each zone, with a word for it."""
        for each in types:
            for zone, subnet in network.subnets.items():
                yield place(each.name, zone), self._request(each, subnet, network.group, disk)

    def _request(self, each: Type, subnet: str, group: str, disk: Mapping[str, Any]) -> dict[str, Any]:
        card = {"DeviceIndex": 0, "SubnetId": subnet, "Groups": [group], "DeleteOnTermination": True}
        # Of one hop: a container with a network of its own does not get at it. A role may be for one.
        metadata = {
            "HttpEndpoint": "enabled",
            "HttpTokens": "required",
            "HttpPutResponseHopLimit": 1 + bool(self._role),
        }
        kinds = ("instance", "volume", "network-interface")
        return {
            "ImageId": self._order.image.id,
            "InstanceType": each.name,
            "MinCount": 1,
            "MaxCount": 1,
            # Another one for each place: EC2 refuses a token that comes again with other words.
            "ClientToken": f"{self._order.name}-{wait.clock.token()}"[-64:],
            "UserData": self._data,
            "MetadataOptions": metadata,
            "InstanceInitiatedShutdownBehavior": "terminate",
            "BlockDeviceMappings": [disk],
            "NetworkInterfaces": [{**card, "AssociatePublicIpAddress": True}],
            "TagSpecifications": [{"ResourceType": kind, "Tags": listed(self.tags.items())} for kind in kinds],
            **({"CpuOptions": {"NestedVirtualization": "enabled"}} if each.nested else {}),
            **({"IamInstanceProfile": {"Name": self._role}} if self._role else {}),
        }


def root_disk(session: Session, image: Image, size: int) -> dict[str, Any]:
    """The root disk, as large as is set, and never smaller than the image's: EC2 refuses that.

    Raises:
        NotFound: the image is gone.
    """
    try:
        found = session.call("ec2", "describe_images", ImageIds=[image.id])["Images"]
    except AwsError as error:
        if error.code not in ("InvalidAMIID.NotFound", "InvalidAMIID.Unavailable"):
            raise
        found = []
    if not found:
        raise NotFound(f"{image.id} is not there any more", hint="./inv images.list --cloud aws")
    root = found[0].get("RootDeviceName", "/dev/sda1")
    disks = (disk.get("Ebs", {}) for disk in found[0].get("BlockDeviceMappings", []) if disk["DeviceName"] == root)
    large = max(size, *(int(disk.get("VolumeSize", 0)) for disk in disks), 0)
    return {"DeviceName": root, "Ebs": {"VolumeSize": large, "VolumeType": "gp3", "DeleteOnTermination": True}}


def _user_data(order: Order, host_key: Mapping[str, Any]) -> str:
    data = userdata.write({**order.user_data, **host_key})
    if (size := len(data.encode())) > userdata.LIMIT:
        raise InputError(
            f"user data of {size} bytes is more than EC2 takes: {userdata.LIMIT}",
            hint="fewer or shorter keys in the folder that runners.keys names",
        )
    return data
