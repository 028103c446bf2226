"""Builds of images as AMIs of the account, with their snapshots; which one is current, in the parameter store too."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, TypeVar

from cloud import names, ssh, userdata, wait
from cloud.aws import leftovers, network
from cloud.aws.session import AwsError, Session, blamed, listed, tags
from cloud.aws.settings import AwsSettings
from cloud.base import Artifact, Base, Build, Cost, Image, Leftover, newest_first
from cloud.caller import CallerSettings
from cloud.errors import InputError, KitError, NotFound
from cloud.progress import Progress
from cloud.work import Work, marks

T = TypeVar("T")

BUILDER = "builder"
"""The user that packer logs in as. `clean.sh` removes it, when all else is done."""

_CONSISTENT = 60.0
"""Seconds until EC2 tells everybody what it has told packer ("Eventual consistency in the EC2 API")."""

_ACCESS = ("AWS_", "SSL_CERT_", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")


class AwsImages:
    """The AMIs of an account in a region."""

    def __init__(self, session: Session, settings: AwsSettings, us: CallerSettings, work: Work) -> None:
        self._session = session
        self._settings = settings
        self._us = us
        self._work = work

    def resolve(self, base: Mapping[str, Any]) -> Base:
        """The newest AMI of the release, of that owner and no other (whoAMI: names alone can be anybody's).

        Whose disks another key encrypts is another base: an image can be used by those alone who may use its key.
        """
        known = base.get("release", {})
        wanted = known.get(self._settings.release)
        if wanted is None:
            what = f"the image has no base for release {self._settings.release}"
            raise InputError(what, hint=f"set aws.release to one that it has: {', '.join(known) or 'none'}")
        found = self._session.pages(
            "describe_images",
            "Images",
            Owners=[wanted["owner"]],
            Filters=[
                {"Name": "name", "Values": [wanted["name"]]},
                {"Name": "architecture", "Values": ["x86_64"]},
                {"Name": "state", "Values": ["available"]},
            ],
        )
        if not found:
            what = f"no AMI of {wanted['owner']} named {wanted['name']}"
            raise NotFound(what, hint="see [base.aws] in its definition")
        newest = max(found, key=lambda image: str(image["CreationDate"]))
        source = {"image": newest["Name"], "owner": newest["OwnerId"], "created": newest["CreationDate"]}
        key = self._settings.kms_key if self._settings.encrypted else ""
        source |= {"ami": newest["ImageId"], "region": self._session.region, **({"key": key} if key else {})}
        return Base(f"{newest['ImageId']} with {key}" if key else newest["ImageId"], source)

    def source(self) -> Mapping[str, str | int]:
        """What packer's template of this cloud is filled with."""
        return {"builder": BUILDER, "disk": self._settings.disk, "encrypted": int(self._settings.encrypted)}

    def environment(self) -> Mapping[str, str]:
        """How packer gets into the account: the same variables as we do."""
        return {key: text for key, text in os.environ.items() if key.upper().startswith(_ACCESS)}

    def cost(self) -> Cost:
        """What a build takes; next to nothing of this machine's disk."""
        return Cost("15 to 25", 0, 0, silence=self._settings.image_timeout)

    def begin(self, build: str) -> Build:
        """Open a build."""
        return Build(build, self._work.begin(build))

    def prepare(self, build: Build, base: Base, progress: Progress) -> Mapping[str, str]:
        """Make a key and the group of packer's VM; the variables of its source."""
        progress.line(f"base: {base.id}")
        tagged = marks("build", names.image_of(build.name), build.name)
        group = network.open_group(self._session, self._settings, self._us, build.name, tagged)
        return self._variables(build, base.source["ami"], group, tagged)

    def sample(self, folder: Any) -> Mapping[str, str]:
        """Variables with which packer can judge the files. Nothing is asked."""
        return self._variables(Build("sample", folder), "ami-00000000", "sg-00000000", {"km-kind": "build"})

    def _variables(self, build: Build, base: str, group: str, tagged: Mapping[str, str]) -> Mapping[str, str]:
        key, data = build.folder / "key", build.folder / "user-data"
        public = ssh.make_key(key, build.name)
        data.write_text(userdata.write(userdata.login(BUILDER, [public], sudo=True)), encoding="utf-8")
        settings = self._settings
        return {
            "name": build.name,
            "base": base,
            "key": str(key),
            "user_data": str(data),
            "security_group": group,
            "tags": json.dumps({"Name": build.name, **tagged}),
            "region": settings.region,
            "endpoint": os.environ.get("AWS_ENDPOINT_URL_EC2") or os.environ.get("AWS_ENDPOINT_URL", ""),
            "instance_type": settings.build_type,
            "kms_key": settings.kms_key,
            "subnet": settings.subnet,
            "ssh_port": str(settings.ssh_port),
            "ssh_timeout": f"{settings.boot_timeout}s",
            "poll": str(settings.poll),
            "polls": str(-(-settings.image_timeout // settings.poll)),
        }

    def adopt(self, build: Build, artifact: Artifact, tags: Mapping[str, str]) -> Image:
        """Make packer's AMI an image of ours, by one call that tags it and its snapshots.

        Raises:
            TimedOut: EC2 does not show it so.
        """
        ami = artifact.id.rpartition(":")[2]
        done = self._shown(ami, lambda told: told if told["State"] == "available" else None)
        things = [ami, *leftovers.snapshots_of(done)]
        self._session.call("ec2", "create_tags", Resources=things, Tags=listed(tags.items()))
        self._session.call("ec2", "delete_tags", Resources=things, Tags=[{"Key": names.EXPIRES}])
        return self._shown(ami, read)

    def blame(self, words: str) -> type[KitError] | None:
        """The kind of error whose code packer ended with."""
        return blamed(words)

    def finish(self, build: Build) -> None:
        """Close a build: what of it is no image goes, and its folder once nothing else is left of it."""
        try:
            gone = leftovers.clear(self._session, build.name)
        except KitError:
            gone = False
        if gone:
            self._work.finish(build.name)
        else:
            self._work.leave(build.name)  # `prune` finds the rest, by the folder that stays

    def list(self, name: str) -> Sequence[Image]:
        """The builds of an image in this account, newest first, and a plain AMI of exactly that name."""
        ours = self._session.pages("describe_images", "Images", Owners=["self"])
        return newest_first(image for image in map(read, ours) if image and image.name == name)

    def tag(self, image: Image, tags: Mapping[str, str | None]) -> Image:
        """Set tags, then remove those that are None.

        Raises:
            NotFound: it is gone.
        """
        fresh = {key: text for key, text in tags.items() if text is not None}
        gone = [key for key, text in tags.items() if text is None and key in image.tags]
        try:
            if fresh:
                self._session.call("ec2", "create_tags", Resources=[image.id], Tags=listed(fresh.items()))
            if gone:
                self._session.call("ec2", "delete_tags", Resources=[image.id], Tags=[{"Key": key} for key in gone])
        except AwsError as error:
            if error.code == "InvalidAMIID.NotFound":
                raise NotFound(f"{image.build} is not there any more", hint="./inv images.list") from error
            raise
        kept = {key: text for key, text in image.tags.items() if key not in gone}
        return replace(image, tags={**kept, **fresh})

    def announce(self, image: Image) -> None:
        """Put its id into the parameter store, for engines that start VMs by themselves."""
        self._session.call(
            "ssm", "put_parameter", Name=self._parameter(image.name), Value=image.id, Type="String", Overwrite=True
        )

    def announced(self, image: Image) -> bool:
        """Whether the parameter store has its id."""
        try:
            told = self._session.call("ssm", "get_parameter", Name=self._parameter(image.name))
        except AwsError as error:
            if error.code == "ParameterNotFound":
                return False
            raise
        return bool(told["Parameter"]["Value"] == image.id)

    def describe(self, image: Image, record: Mapping[str, object]) -> None:
        """The parts of the record that a tag has room for; the whole is in the image."""
        told = {key: str(record.get(key, ""))[:256] for key in ("packer", "toolkit", "kernel")}
        self.tag(image, {f"km-{key}": text for key, text in told.items() if text})

    def delete(self, image: Image) -> None:
        """Remove the AMI, then its snapshots."""
        leftovers.remove_ami(self._session, image.id)

    def in_use(self, image: Image) -> str:
        """The build under way, or the instance that was started from it and not terminated."""
        if self._work.busy(image.build):
            return "its build"
        states = ["pending", "running", "shutting-down", "stopping", "stopped"]
        found = self._session.pages(
            "describe_instances",
            "Reservations",
            Filters=[{"Name": "image-id", "Values": [image.id]}, {"Name": "instance-state-name", "Values": states}],
        )
        return f"instance {found[0]['Instances'][0]['InstanceId']}" if found else ""

    def leftovers(self) -> Sequence[Leftover]:
        """What killed builds left in the account, and their folders here."""
        return leftovers.find(self._session, self._work)

    def orphans(self, name: str) -> Sequence[tuple[Leftover, Mapping[str, str]]]:
        """Snapshots of an image's builds whose AMIs are gone, with their tags; `remove` removes them."""
        return leftovers.orphans(self._session, name)

    def remove(self, leftover: Leftover) -> None:
        """Remove one of them."""
        leftovers.remove(self._session, self._work, leftover)

    def _shown(self, ami: str, look: Callable[[dict[str, Any]], T | None]) -> T:
        """What the look finds in an AMI, as soon as EC2 shows it so."""

        def told() -> T | None:
            try:
                found = self._session.call("ec2", "describe_images", ImageIds=[ami])["Images"]
            except AwsError as error:
                if error.code != "InvalidAMIID.NotFound":
                    raise
                return None
            return look(found[0]) if found else None

        return wait.until(
            told,
            what=f"{ami} as it was made",
            timeout=_CONSISTENT,
            every=self._settings.poll,
            hint="./inv images.prune removes it; then again",
        )

    def _parameter(self, name: str) -> str:
        return f"{self._settings.parameter}/{name}"


def read(ami: dict[str, Any]) -> Image | None:
    """An AMI as an image: ours by its tags, or plain by its name; none when it is a build's that is not done.

    One with some of our tags that lacks others is none of ours: somebody has set them by hand.
    """
    known = tags(ami)
    if ami["State"] != "available":
        return None
    if known.get(names.KIND) == "image":
        try:
            created = names.parse_moment(known[names.CREATED])
            return Image("aws", known[names.IMAGE], known[names.BUILD], ami["ImageId"], 0, created, known)
        except (KeyError, ValueError):
            return None
    if names.KIND in known or names.image_of(ami["Name"]):
        return None
    return Image("aws", ami["Name"], ami["Name"], ami["ImageId"], 0, datetime.fromisoformat(ami["CreationDate"]))
