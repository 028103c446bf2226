"""Builds of images as versions in a Compute Gallery: the promoted ones are those that its `latest` may mean."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cloud import caller, names, ssh
from cloud.azure import gallery, leftovers
from cloud.azure.session import Session, blamed, missing_is_none
from cloud.azure.settings import AzureSettings
from cloud.base import Artifact, Base, Build, Cost, Image, Leftover, newest_first
from cloud.caller import CallerSettings
from cloud.errors import InputError, KitError, NotFound
from cloud.progress import Progress
from cloud.work import Work, marks

BUILDER = "builder"
"""The user that packer logs in as. `clean.sh` removes it, when all else is done."""

_ACCESS = ("SSL_CERT_", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "AZURE_CONFIG_DIR")


class AzureImages:
    """The images in a gallery of a subscription."""

    def __init__(self, session: Session, settings: AzureSettings, us: CallerSettings, work: Work) -> None:
        self._session = session
        self._settings = settings
        self._us = us
        self._work = work
        self._gallery = (settings.resource_group, settings.gallery)

    def resolve(self, base: Mapping[str, Any]) -> Base:
        """The newest version of what the release's publisher offers.

        For another location it is another base: an image is of use only where it is.
        """
        known = base.get("release", {})
        wanted = known.get(self._settings.release)
        if wanted is None:
            what = f"the image has no base for release {self._settings.release}"
            raise InputError(what, hint=f"set azure.release to one that it has: {', '.join(known) or 'none'}")
        place = self._settings.location
        names_of = (wanted["publisher"], wanted["offer"], wanted["sku"])
        found = self._session.list(
            "compute", "virtual_machine_images.list", place, *names_of, top=1, orderby="name desc"
        )
        if not found:
            raise NotFound(f"no image {':'.join(names_of)} in {place}", hint="see [base.azure] in its definition")
        urn = ":".join((*names_of, str(found[0].name)))
        return Base(f"{urn} in {place}", {"image": urn, "location": place})

    def source(self) -> Mapping[str, str | int]:
        """What packer's template of this cloud is filled with."""
        settings = self._settings
        trusted = settings.security_type == "TrustedLaunch"
        return {
            "builder": BUILDER,
            "disk": settings.disk,
            "trusted": int(trusted),
            "secure_boot": int(trusted and settings.secure_boot),
        }

    def environment(self) -> Mapping[str, str]:
        """How packer reaches Azure; who it is there goes by its variables."""
        return {key: text for key, text in os.environ.items() if key.upper().startswith(_ACCESS)}

    def cost(self) -> Cost:
        """What a build takes; next to nothing of this machine's disk."""
        return Cost("20 to 35", 0, 0, silence=self._settings.image_timeout)

    def begin(self, build: str) -> Build:
        """Open a build."""
        return Build(build, self._work.begin(build))

    def prepare(self, build: Build, base: Base, progress: Progress) -> Mapping[str, str]:
        """See to the gallery, and make a key; the variables of packer's source."""
        progress.line(f"base: {base.id}")
        image = names.image_of(build.name)
        owned = {names.KIND: "image", names.IMAGE: image}
        gallery.ready(self._session, self._settings, image, owned)
        cidr = caller.cidr(self._us)
        secret = {**self._session.secret, "subscription_id": self._session.subscription}
        return self._variables(build, base.source["image"], cidr, marks("build", image, build.name), secret)

    def sample(self, folder: Path) -> Mapping[str, str]:
        """Variables with which packer can judge the files. Nothing is asked."""
        secret = dict.fromkeys(("tenant_id", "client_id", "client_secret", "subscription_id"), _NOBODY)
        build = Build("sample-20200101T000000Z-000000", folder)
        return self._variables(build, "a:b:c:1.0.0", "192.0.2.1/32", {names.KIND: "build"}, secret)

    def _variables(
        self, build: Build, base: str, cidr: str, tagged: Mapping[str, str], secret: Mapping[str, str]
    ) -> Mapping[str, str]:
        settings = self._settings
        key = build.folder / "key"
        ssh.make_key(key, build.name)
        publisher, offer, sku, version = base.split(":")
        group, in_gallery = self._gallery
        return {
            **secret,
            "azure_cli": json.dumps(not secret["client_id"]),
            "metadata_host": urlsplit(settings.endpoint).netloc,
            "name": build.name,
            "publisher": publisher,
            "offer": offer,
            "sku": sku,
            "version": version,
            "key": str(key),
            "caller": cidr,
            "tags": json.dumps(tagged),
            "location": settings.location,
            "resource_group": group,
            "gallery": in_gallery,
            "image": names.image_of(build.name),
            "image_version": gallery.version_of(names.time_of(build.name)),
            "replicas": str(settings.replicas),
            "size": settings.build_size,
            "ssh_port": str(settings.ssh_port),
            "ssh_timeout": f"{settings.boot_timeout}s",
            "image_timeout": f"{settings.image_timeout}s",
        }

    def adopt(self, build: Build, artifact: Artifact, tags: Mapping[str, str]) -> Image:
        """Make the version that packer published an image of ours. A managed image that it came from goes."""
        version = gallery.version_of(names.time_of(build.name))
        told = self._version(tags[names.IMAGE], version)
        if told.tags.get(names.BUILD) != build.name:
            raise KitError(f"version {version} of {tags[names.IMAGE]} is of another build", hint="the same again")
        made = _read(self._put(tags[names.IMAGE], version, {names.EXPIRES: None, **tags}), tags[names.IMAGE])
        if made is None:
            raise KitError(f"version {version} of {tags[names.IMAGE]} does not show its tags", hint="the same again")
        if artifact.id.lower().rpartition("/")[0].endswith("/microsoft.compute/images"):
            leftovers.remove_managed(self._session, self._settings, build.name)
        return made

    def blame(self, words: str) -> type[KitError] | None:
        """The kind of error whose code packer ended with."""
        return blamed(words)

    def finish(self, build: Build) -> None:
        """Close a build: what of it is no image goes, and its folder once nothing else is left of it."""
        try:
            gone = leftovers.clear(self._session, self._settings, build.name)
        except KitError:
            gone = False
        if gone:
            self._work.finish(build.name)
        else:
            self._work.leave(build.name)  # `prune` finds the rest, by the folder that stays

    def list(self, name: str) -> Sequence[Image]:
        """The versions of an image that are ours, newest first, and a plain managed image of exactly that name."""
        with ThreadPoolExecutor(1) as thread:
            plain = thread.submit(
                missing_is_none,
                lambda: self._session.call("compute", "images.get", self._settings.resource_group, name),
            )
            listing = ("compute", "gallery_image_versions.list_by_gallery_image", *self._gallery, name)
            versions = missing_is_none(lambda: self._session.list(*listing)) or []
        found = [image for each in versions if (image := _read(each, name))]
        if old := plain.result():
            found.append(Image("azure", name, name, str(old.id), 0, _BEFORE))
        return newest_first(found)

    def tag(self, image: Image, tags: Mapping[str, str | None]) -> Image:
        """Set tags, remove those that are None. The gallery's `latest` may mean it if it is promoted then.

        Raises:
            NotFound: it is gone.
        """
        told = missing_is_none(lambda: self._put(image.name, image.id.rpartition("/")[2], tags))
        if told is None:
            raise NotFound(f"{image.build} is not there any more", hint="./inv images.list")
        return replace(image, tags=dict(told.tags))

    def announce(self, image: Image) -> None:
        """Let the gallery's `latest` mean it, for engines that start VMs by themselves."""
        if not self.announced(image):
            self.tag(image, {})

    def announced(self, image: Image) -> bool:
        """Whether the gallery's `latest` may mean it."""
        if image.state == "plain":
            return True
        told = self._version(image.name, image.id.rpartition("/")[2])
        return not told.publishing_profile.exclude_from_latest

    def describe(self, image: Image, record: Mapping[str, object]) -> None:
        """The parts of the record that a tag has room for; the whole is in the image."""
        told = {key: str(record.get(key, ""))[:256] for key in ("packer", "toolkit", "kernel")}
        self.tag(image, {f"km-{key}": text for key, text in told.items() if text})

    def delete(self, image: Image) -> None:
        """Remove the version with its copies."""
        leftovers.remove_version(self._session, image.id)

    def in_use(self, image: Image) -> str:
        """The build under way, or a VM that was started from it."""
        if self._work.busy(image.build):
            return "its build"
        definition, _, version = image.id.lower().partition("/versions/")
        for machine in self._session.list("compute", "virtual_machines.list_all"):
            source = machine.storage_profile.image_reference if machine.storage_profile else None
            wanted = str(source.id or "").lower() if source else ""
            exact = source is not None and wanted == definition and source.exact_version == version
            if exact or wanted == image.id.lower():
                return f"VM {machine.name}"
        return ""

    def leftovers(self) -> Sequence[Leftover]:
        """What killed builds left in the subscription, and their folders here."""
        return leftovers.find(self._session, self._settings, self._work)

    def remove(self, leftover: Leftover) -> None:
        """Remove one of them."""
        leftovers.remove(self._session, self._settings, self._work, leftover)

    def _version(self, name: str, version: str) -> Any:
        return self._session.call("compute", "gallery_image_versions.get", *self._gallery, name, version)

    def _put(self, name: str, version: str, tags: Mapping[str, str | None]) -> Any:
        """Change a version's tags, as the Azure CLI does: the whole of what was read is written back."""
        told = self._version(name, version)
        told.tags = {key: text for key, text in {**told.tags, **tags}.items() if text is not None}
        told.publishing_profile.exclude_from_latest = names.PROMOTED not in told.tags
        return self._session.call(
            "compute", "gallery_image_versions.begin_create_or_update", *self._gallery, name, version, told
        )


_NOBODY = "00000000-0000-0000-0000-000000000000"

_BEFORE = datetime(1970, 1, 1, tzinfo=UTC)
"""Azure does not tell when a managed image was made."""


def _read(version: Any, name: str) -> Image | None:
    """A version as an image, if it is ours and done.

    One with some of our tags that lacks others is none of ours: somebody has set them by hand.
    """
    known = dict(version.tags or {})
    if known.get(names.KIND) != "image":
        return None
    try:
        created = names.parse_moment(known[names.CREATED])
        return Image("azure", name, known[names.BUILD], str(version.id), 0, created, known)
    except (KeyError, ValueError):
        return None
