"""Vagrant boxes: build, register, test."""

from __future__ import annotations

from invoke.context import Context

from tasks._task import task

_OS = {"os": "a system, as ubuntu-24.04; may be repeated. Without it the setting boxes.os"}
_PROVIDER = {"provider": "libvirt or virtualbox; may be repeated. Without it the setting boxes.providers"}
_PRODUCT = {"product": "folder of kontain.tar.gz and kkm.run. Without it the setting boxes.product"}
_JSON = {"json": "print the result as JSON"}
_PLAN = {"plan": "say what would be done, look only"}
_YES = {"yes": "install missing system packages without asking"}


@task(
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

    By a catalog, so that version and checksum are real. What vagrant has already is left alone.

    Example: ./inv boxes.register --os ubuntu-24.04
    """
    from tasks import _boxes

    _boxes.register(os, provider, version, plan=plan, as_json=json, yes=yes)


@task(iterable=["os", "provider"], help=_OS | _PROVIDER | _JSON | _YES)
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

    Without a system, all of them. What vagrant has registered is its own.

    Example: ./inv boxes.clean --os ubuntu-24.04 --plan
    """
    from tasks import _boxes

    _boxes.clean(os, provider, plan=plan)
