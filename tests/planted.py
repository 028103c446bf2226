"""Builds that were never built: in the store, with their tags, so that no VM has to run for what only looks."""

from __future__ import annotations

import subprocess
from datetime import datetime, timedelta

from cloud import connect, names, wait
from cloud.base import Artifact, Cloud, Image
from tasks import _settings
from tests.toolkit import ROOT, Toolkit

MICRO = {
    "KM_IMAGES__DEFINITION": str(ROOT / "tests/definitions/micro.toml"),
    "KM_LOCAL__ACCELERATOR": "tcg",
    "KM_LOCAL__BASE_URL": "/nowhere/base.qcow2",
    "KM_LOCAL__BASE_SHA256": "0" * 64,
    "KM_RUNNERS__IMAGE": "MicroImage",
}
"""Settings for the micro image on a base that nobody will read."""


def planted(cloud: Cloud, name: str, fingerprint: str, *states: str, created: datetime, token: str = "") -> Image:
    """A build of the image that came as far as the states say; an empty disk stands for its disk."""
    build = cloud.images.begin(names.build_name(name, created, token or wait.clock.token()))
    overlay = build.folder / "overlay.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", overlay, "1M"], check=True)
    moment = names.moment(created)
    tags = {
        names.KIND: "image",
        names.IMAGE: name,
        names.CREATED: moment,
        names.FINGERPRINT: fingerprint,
        **{f"km-{state}": moment for state in states},
    }
    image = cloud.images.adopt(build, Artifact("VM", (overlay,)), tags)
    cloud.images.finish(build)
    return image


def plant(toolkit: Toolkit, token: str, *, days_ago: int = 0, fingerprint: str = "", promoted: bool = True) -> Image:
    """A proven build whose name ends with the token; without a fingerprint it is of today's inputs."""
    plan = toolkit.run("images.l0base", "--cloud", "local", "--plan", "--json").json[0]
    cloud = connect("local", _settings.load(toolkit.environment))
    states = ("proven", "promoted") if promoted else ("proven",)
    created = wait.clock.now() - timedelta(days=days_ago)
    return planted(cloud, plan["image"], fingerprint or plan["fingerprint"], *states, created=created, token=token)
