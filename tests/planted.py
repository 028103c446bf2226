"""Builds that were never built: in the store, with their tags, so that no VM has to run for what only looks."""

from __future__ import annotations

import subprocess
from datetime import timedelta

from cloud import connect, names, wait
from cloud.base import Image
from tasks import _settings
from tests.toolkit import ROOT, Toolkit

MICRO = {
    "KM_IMAGES__DEFINITION": str(ROOT / "tests/definitions/micro.toml"),
    "KM_LOCAL__ACCELERATOR": "tcg",
    "KM_LOCAL__BASE_URL": "/nowhere/base.qcow2",
    "KM_LOCAL__BASE_SHA256": "0" * 64,
}
"""Settings for the micro image on a base that nobody will read."""


def plant(toolkit: Toolkit, token: str, *, days_ago: int = 0, fingerprint: str = "", promoted: bool = True) -> Image:
    """A proven build whose name ends with the token; without a fingerprint it is of today's inputs.

    An empty disk stands for its disk.
    """
    plan = toolkit.run("images.l0base", "--cloud", "local", "--plan", "--json").json[0]
    images = connect("local", _settings.load(toolkit.environment).local).images
    created = wait.clock.now() - timedelta(days=days_ago)
    build = images.begin(names.build_name(plan["image"], created, token))
    overlay = build.folder / "overlay.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", overlay, "1M"], check=True)
    moment = names.moment(created)
    tags = {
        names.KIND: "image",
        names.IMAGE: plan["image"],
        names.CREATED: moment,
        names.FINGERPRINT: fingerprint or plan["fingerprint"],
        names.PROVEN: moment,
    }
    image = images.adopt(build, [overlay], tags | ({names.PROMOTED: moment} if promoted else {}))
    images.finish(build)
    return image
