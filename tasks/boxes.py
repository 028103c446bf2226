"""Vagrant boxes: publish them."""

from __future__ import annotations

from invoke.context import Context

from tasks import _console
from tasks._task import task

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
        _console.result(rows, as_json=json, text=_publish.text(rows))
        _publish.agree(rows)


@task(iterable=["os", "file"], help=_SENT | _JSON | _YES)
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

    It shows that login, registry or catalog, and Vagrant fit together. Other versions are not touched; the
    one that was made is removed also when something fails.

    Example: ./inv boxes.test-upload --to catalog --os ubuntu-22.04
    """
    from tasks import _publish, _tools

    wanted = _publish.wanted(to, os, file, box, trial=True)
    _tools.ensure("vagrant", yes=yes)
    with _console.long_work("boxes.test-upload", list) as console:
        rows = _publish.tried(wanted, console)
        _console.result(rows, as_json=json, text=_publish.text(rows))
        _publish.agree(rows)
