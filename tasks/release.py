"""Releases: the product, its AMI, its boxes, and the release at GitHub, as one table that is shown or acted on."""

from __future__ import annotations

from invoke.context import Context

from tasks._task import task

_WHOSE = {
    "checkout": "the product's repository: its files are built there. Without it the setting product.checkout",
    "product": "folder of the product's files. Without it the setting product.folder, in the checkout",
    "version": "the version, as a tag has it. Without it RELEASE_TAG, the tag at HEAD, or else an edge",
}
_PIECE = {"piece": "ami, box or github; may be repeated. Without it all of the setting release.pieces"}
_FINAL = {"final": "publish the release at GitHub, which is a draft else, once all other pieces are released"}
_JSON = {"json": "print the result as JSON"}
_PLAN = {"plan": "say what would be done, look only"}
_YES = {"yes": "install missing system packages without asking"}


@task(help=_WHOSE | _JSON | _PLAN | _YES)
def product(
    c: Context,
    checkout: str = "",
    product: str = "",
    version: str = "",
    plan: bool = False,
    json: bool = False,
    yes: bool = False,
) -> None:
    """See to it that the product's files are there and good, and write their manifest.

    With a checkout they are built by the commands of the setting product.build, unless they are there and of this
    commit; without one they are taken as they are. Those that are whole at GitHub already are fetched: the version has
    no others. The command of product.smoke is run with them.

    Example: ./inv release.product --checkout ../km
    """
    from tasks import _release

    desk = _release.opened(checkout, product, version)
    if plan:
        _release.status(desk, (), as_json=json)
    else:
        _release.make("release.product", desk, (), as_json=json, yes=yes)


@task(
    later="the same command goes on",
    help=_WHOSE | _JSON | _PLAN | _YES | {"force": "build even if nothing has changed"},
)
def ami(
    c: Context,
    checkout: str = "",
    product: str = "",
    version: str = "",
    force: bool = False,
    plan: bool = False,
    json: bool = False,
    yes: bool = False,
) -> None:
    """Build the release AMI, prove it on a booted VM, copy it, and let those use it who may.

    Built in aws.region, by the same pipeline as L0BaseImage, with the product inside; the draft at GitHub with these
    files comes first. Regions, accounts and tags are in the settings [release]. An AMI that is released stays as it is;
    an edge's is for its own account alone.

    Example: ./inv release.ami --checkout ../km
    """
    from tasks import _release

    desk = _release.opened(checkout, product, version)
    if plan:
        _release.status(desk, ("ami",), as_json=json, force=force)
    else:
        _release.make("release.ami", desk, ("ami",), as_json=json, yes=yes, force=force)


@task(
    later="the same command goes on",
    help={
        "version": "take back this edge or pre-release, and no other",
        "keep": "how many edges to leave; 0: the setting release.keep",
    }
    | _JSON
    | _PLAN,
)
def retire(c: Context, version: str = "", keep: int = 0, plan: bool = False, json: bool = False) -> None:
    """Remove AMIs of edges and pre-releases, with their snapshots, in every region.

    Never what is for everybody or in use, and never a release. Without --version the newest edges stay. Snapshots that
    stayed behind when their AMI went are found by their tags, and go.

    Example: ./inv release.retire --keep 2 --plan
    """
    from tasks import _retire

    _retire.retire(version, keep, plan=plan, as_json=json)


@task(iterable=["piece"], help=_WHOSE | _PIECE | _FINAL | _JSON)
def status(
    c: Context,
    piece: list[str],
    checkout: str = "",
    product: str = "",
    version: str = "",
    final: bool = False,
    json: bool = False,
) -> None:
    """Show a row for each piece of the release: there, stale, missing or released, and what publishing would do.

    Example: ./inv release.status --checkout ../km
    """
    from tasks import _release

    desk = _release.opened(checkout, product, version, final=final)
    _release.status(desk, _release.chosen(piece, desk), as_json=json)


@task(later="the same command goes on", iterable=["piece"], help=_WHOSE | _PIECE | _FINAL | _JSON | _PLAN | _YES)
def publish(
    c: Context,
    piece: list[str],
    checkout: str = "",
    product: str = "",
    version: str = "",
    final: bool = False,
    plan: bool = False,
    json: bool = False,
    yes: bool = False,
) -> None:
    """Make the release what its table says: build, prove, send, and let people have it.

    The draft at GitHub is made first, and all else of the files that it has. A piece that fails keeps no other from
    being done, and the same command goes on with what is missing, at any time. What is released never changes. An edge
    is for nobody outside: its AMI is private, its boxes and its release at GitHub stay drafts.

    Example: ./inv release.publish --checkout ../km --final
    """
    from tasks import _release

    desk = _release.opened(checkout, product, version, final=final)
    wanted = _release.chosen(piece, desk)
    if plan:
        _release.status(desk, wanted, as_json=json)
    else:
        _release.make("release.publish", desk, wanted, as_json=json, yes=yes)
