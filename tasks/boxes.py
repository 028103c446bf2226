"""Vagrant boxes: build, test, register, publish."""

from __future__ import annotations

from invoke.context import Context

from tasks import _console
from tasks._task import task

_OS = {"os": "a system, as ubuntu-24.04; may be repeated. Without it the setting boxes.os"}
_PROVIDER = {"provider": "libvirt or virtualbox; may be repeated. Without it the setting boxes.providers"}
_PRODUCT = {"product": "folder of kontain.tar.gz and kkm.run. Without it the setting product.folder"}
_JSON = {"json": "print the result as JSON"}
_PLAN = {"plan": "say what would be done, look only"}
_YES = {"yes": "install missing system packages without asking"}
_SENT = {
    "to": "vagrant-cloud or catalog; without it the setting publish.to",
    "os": "the built boxes of this system; may be repeated. Without it all that boxes.build left",
    "file": "a box file instead of what boxes.build left; may be repeated",
    "box": "ORG/NAME that the files are published as; without it the name that is in them",
}


@task(
    later="./inv boxes.clean removes it",
    iterable=["os", "provider"],
    help=_OS | _PROVIDER | _PRODUCT | _JSON | _PLAN | _YES | {"force": "build even if nothing has changed"},
)
def build(
    c: Context,
    os: list[str],
    provider: list[str],
    product: str = "",
    force: bool = False,
    plan: bool = False,
    json: bool = False,
    yes: bool = False,
) -> None:
    """Build a box a system and provider, with the product inside.

    From the vendor's cloud image packer makes one disk, and of that a box for each provider. Nothing is done when
    nothing that the build reads has changed. A box that is there stays until the new one is whole, and one that fails
    does not stop the others.

    Example: ./inv boxes.build --os ubuntu-24.04 --provider libvirt --product ../km/build
    """
    from tasks import _boxes

    _boxes.build(os, provider, product, force=force, plan=plan, as_json=json, yes=yes)


@task(
    iterable=["os", "provider"],
    help=_OS
    | _PROVIDER
    | _JSON
    | _PLAN
    | _YES
    | {"version": "its version, as a tag of a release has it. Without it RELEASE_TAG, or the moment of the build"},
)
def register(
    c: Context,
    os: list[str],
    provider: list[str],
    version: str = "",
    plan: bool = False,
    json: bool = False,
    yes: bool = False,
) -> None:
    """Register the boxes that are there with this machine's vagrant.

    By a catalog, so that version and checksum are real. What vagrant has already is left alone; other content
    under a version that it has is refused.

    Example: ./inv boxes.register --os ubuntu-24.04
    """
    from tasks import _boxes

    _boxes.register(os, provider, version, plan=plan, as_json=json, yes=yes)


@task(later="./inv boxes.clean removes it", iterable=["os", "provider"], help=_OS | _PROVIDER | _JSON | _YES)
def test(c: Context, os: list[str], provider: list[str], json: bool = False, yes: bool = False) -> None:
    """Boot the boxes that are there, log in by Vagrant's key, and prove that the product is inside.

    With the provider that a box is for, where vagrant has it on this machine; else its disk in QEMU, with the same
    controllers. The result says which.

    Example: ./inv boxes.test --os ubuntu-24.04 --provider libvirt
    """
    from tasks import _boxes

    _boxes.test(os, provider, as_json=json, yes=yes)


@task(name="list", iterable=["os", "provider"], help=_OS | _PROVIDER | _JSON)
def list_boxes(c: Context, os: list[str], provider: list[str], json: bool = False) -> None:
    """Show the boxes that are there.

    Without a system, all of them.

    Example: ./inv boxes.list --json
    """
    from tasks import _boxes

    _boxes.show(os, provider, as_json=json)


@task(iterable=["os", "provider"], help=_OS | _PROVIDER | _PLAN)
def clean(c: Context, os: list[str], provider: list[str], plan: bool = False) -> None:
    """Remove boxes, and what killed commands left of their builds.

    Without a system, all of them; one that is being built is left alone. What vagrant has registered is its own.

    Example: ./inv boxes.clean --os ubuntu-24.04 --plan
    """
    from tasks import _boxes

    _boxes.clean(os, provider, plan=plan)


@task(
    later="the same command goes on",
    iterable=["os", "file"],
    help=_SENT
    | _JSON
    | _PLAN
    | {
        "version": "the version, as 1.2.3; without it that of the variable RELEASE_TAG, without its v",
        "replace": "put other content in the place of what is there, where that is not released",
        "release": "--no-release: send and read back, and let nobody see it yet",
    },
)
def upload(
    c: Context,
    os: list[str],
    file: list[str],
    to: str = "",
    box: str = "",
    version: str = "",
    replace: bool = False,
    release: bool = True,
    plan: bool = False,
    json: bool = False,
) -> None:
    """Publish boxes: send them, read them back, and only then let everybody have the version.

    What is published with the same content is left alone. A version that is released never changes: other
    content under it is refused, and nothing is sent. After an interrupt the same command goes on, and what
    is there is not sent again.

    Example: ./inv boxes.upload --to catalog --version 1.2.3 --plan
    """
    from tasks import _publish

    wanted = _publish.wanted(to, os, file, box, version)
    with _console.long_work("boxes.upload", wanted.left) as console:
        rows = _publish.published(wanted, console, replace=replace, release=release, look=plan)
        _console.result(rows, as_json=json, text=_publish.text(rows, planned=plan))
        _publish.agree(rows)


@task(
    later="./inv boxes.test-upload removes a trial that is a day old",
    iterable=["os", "file"],
    help=_SENT | _JSON | _YES,
)
def test_upload(
    c: Context,
    os: list[str],
    file: list[str],
    to: str = "",
    box: str = "",
    json: bool = False,
    yes: bool = False,
) -> None:
    """Publish boxes as a version of its own, let vagrant add them, and take that version away again.

    It shows that login, registry or catalog, and Vagrant fit together. The version is removed also when
    something fails, and one that a killed trial left when it is a day old; others are not touched.

    Example: ./inv boxes.test-upload --to catalog --os ubuntu-22.04
    """
    from tasks import _publish, _tools

    wanted = _publish.wanted(to, os, file, box, trial=True)
    _tools.ensure("boxes", yes=yes)
    with _console.long_work("boxes.test-upload", list) as console:
        rows = _publish.tried(wanted, console)
        _console.result(rows, as_json=json, text=_publish.text(rows))
        _publish.agree(rows)
