"""A release as a table: a row for each piece, looked up anew; and the same table acted on.

What a piece is, how one looks at it and what is done for it, is in `_pieces`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cloud import wait
from cloud.errors import InputError, Interrupted, KitError, TemporaryError
from packer import manifest, product, version
from tasks import _actions, _boxes, _clouds, _console, _images, _kept, _pieces, _report, _runners, _settings, _tools

if TYPE_CHECKING:
    from cloud.github.releases import Releases
    from packer.version import Version
    from tasks._kept import Kept
    from tasks._pieces import Looked, Row
    from tasks._settings import Settings

PIECES = ("ami", "box", "github")
"""What can be made of the product."""


@dataclass(frozen=True)
class Desk:
    """What a release is made with."""

    settings: Settings
    version: Version
    checkout: Path | None
    folder: Path
    """Where the product's files are, or will be."""
    final: bool = False
    """Whether the release at GitHub is for everybody in the end."""

    @property
    def repository(self) -> str:
        """The product's, at GitHub."""
        return _repository(self.settings)

    @property
    def releases(self) -> Releases:
        """Its releases."""
        return _releases(self.settings)


def opened(checkout: str, folder: str, told: str, *, final: bool = False) -> Desk:
    """What the options and the settings mean.

    Raises:
        InputError: one of them can't be used, or nothing says which version is meant.
    """
    settings = _settings.load()
    product.check(settings.product)
    where = checkout or settings.product.checkout
    place = product.place(settings.product, folder, checkout)
    at = version.look(product.path(where)) if where else None

    def edges() -> Iterator[Version]:
        for each in _releases(settings).all():
            yield version.Version(each.tag.removeprefix("v"), each.commit)

    noted = manifest.read(place)
    wanted = version.decide(
        told or os.environ.get("RELEASE_TAG", ""), at, noted.of if noted else None, edges, settings.release.edge
    )
    if final and wanted.edge:
        raise InputError(f"{wanted.text} is an edge, and none is final", hint="tag a release, or leave --final out")
    return Desk(settings, wanted, at.folder if at else None, place, final)


def _repository(settings: Settings) -> str:
    return settings.release.repository or _runners.repository(settings)


def _releases(settings: Settings) -> Releases:
    from cloud.github.releases import Releases

    return Releases(*_runners.account(settings), _repository(settings))


def chosen(named: Sequence[str], desk: Desk) -> list[str]:
    """The pieces that are meant.

    Raises:
        InputError: one of them is none.
    """
    wanted = list(dict.fromkeys(_boxes.split(named) or desk.settings.release.pieces))
    if unknown := [each for each in wanted if each not in PIECES]:
        raise InputError(f"{unknown[0]!r} is no piece of a release", hint=f"choose from: {', '.join(PIECES)}")
    return wanted


@dataclass(frozen=True)
class Seen:
    """What was found of a piece, or why nothing was, or not all."""

    piece: str
    looked: Looked | None
    error: KitError | None = None

    @property
    def rows(self) -> tuple[Row, ...]:
        """Its rows."""
        if self.looked:
            return self.looked.rows
        return (_pieces.Row(self.piece, "", "unknown", (), self.error.message if self.error else ""),)


def look(desk: Desk, wanted: Sequence[str], *, force: bool = False) -> list[Seen]:
    """The product, and then all that is made of it, side by side."""
    kept, blind = _at_github(desk, wanted)
    # What is made here of the product alone can still give way to what GitHub has.
    product = partial(_pieces.product, desk, kept, blind if wanted else None)
    before = [_seen("product", product), _seen("smoke", partial(_pieces.smoke, desk, kept))]
    goods = before[0].looked.product if before[0].looked else None

    def github() -> Looked:
        if blind:
            raise blind
        assert kept  # it was asked: it is wanted
        return _pieces.github(desk, goods, kept)

    known: Mapping[str, Callable[[], Looked]] = {
        "ami": partial(_pieces.ami, desk, goods, force=force),
        "box": partial(_pieces.boxes, desk, goods),
        "github": github,
    }
    answers = _clouds.together([partial(_seen, each, known[each]) for each in wanted], len(known))
    return [*before, *(seen or Seen(piece, None, error) for piece, (seen, error) in zip(wanted, answers, strict=True))]


def _at_github(desk: Desk, wanted: Sequence[str]) -> tuple[Kept | None, KitError | None]:
    """What GitHub has of the version, where that is a piece of a release; or why that is not known."""
    if "github" not in (*wanted, *desk.settings.release.pieces):
        return None, None
    return _clouds.together([partial(_kept.look, desk)], 1)[0]


def with_draft(desk: Desk, wanted: Sequence[str]) -> tuple[Desk, list[str]]:
    """The pieces, and the draft at GitHub: whatever is made, it is made of the files that GitHub has.

    Only who asks for the release at GitHub makes it final.
    """
    if not wanted or "github" in wanted or "github" not in desk.settings.release.pieces:
        return desk, list(wanted)
    return replace(desk, final=False), [*wanted, "github"]


def _seen(piece: str, act: Callable[[], Looked]) -> Seen:
    try:
        looked = act()
    except KitError as error:
        return Seen(piece, None, error)
    return Seen(piece, looked, looked.error)


def status(desk: Desk, wanted: Sequence[str], *, as_json: bool, force: bool = False) -> None:
    """Show the table."""
    desk, pieces = with_draft(desk, wanted)
    seen = look(desk, pieces, force=force)
    show(desk, seen, as_json=as_json)
    _settle(seen, {}, wanted)


def make(task: str, desk: Desk, wanted: Sequence[str], *, as_json: bool, yes: bool, force: bool = False) -> None:
    """Act on the table, and show what it is then. What fails keeps nothing else from being done.

    Raises:
        InputError: the product is not there, and nothing makes it.
        KitError: the product could not be made, does not work, or is not whole at GitHub: nothing else was begun. Or
            a piece failed.
    """
    asked = wanted
    desk, wanted = with_draft(desk, asked)
    seen = look(desk, wanted, force=force)
    if not any(row.does for each in seen for row in each.rows):
        show(desk, seen, as_json=as_json)
        _settle(seen, {}, asked)
        if not wanted:
            _there(seen[0])
        return
    _there(seen[0])
    _tools.ensure(*_purposes(seen), yes=yes)
    with _console.long_work(task, lambda: _left(desk, wanted)) as console:
        seen = _product_first(desk, seen, wanted, console, force=force)
        seen = _draft_next(desk, seen, wanted, console, force=force)
        failed = _acted([each for each in seen[2:] if each.piece != "github"], console)
        if wait.interrupted():
            raise Interrupted
        if desk.final and "github" in wanted and not any(failed.values()):
            failed["github"] = _clouds.together([partial(_finally, desk)], 1)[0][1]
        now = look(desk, wanted)
        show(desk, now, as_json=as_json)
        _settle(now, failed, asked)


_OUT = {"product": ("there",), "smoke": ("there",), "github": ("there", "released")}
"""How a piece is when the release at GitHub may be published: else `released`."""


def _finally(desk: Desk) -> None:
    """Let everybody have the release at GitHub, when all else of it is out and all files are there.

    Raises:
        KitError: something is not.
    """
    seen = look(desk, list(dict.fromkeys([*desk.settings.release.pieces, "github"])))
    _clouds.settle([(each.piece, each.error) for each in seen])
    rows = [row for each in seen for row in each.rows]
    inside = [row for row in rows if row.state not in _OUT.get(row.piece, ("released",))]
    if inside:
        raise KitError(
            f"{desk.version.tag} stays a draft: {inside[0].piece} {inside[0].what} is {inside[0].state}",
            hint="./inv release.publish without --piece makes all of it",
        )
    _pieces.publish(desk)


def _settle(seen: Sequence[Seen], failed: Mapping[str, KitError | None], asked: Sequence[str]) -> None:
    """Raise what has failed. Of what went well that alone counts as a part which was asked for."""
    ended = [(each.piece, failed.get(each.piece) or each.error) for each in seen]
    _clouds.settle([(piece, error) for piece, error in ended if error or piece in asked])


def _there(product: Seen) -> None:
    """The product is there, or will be.

    Raises:
        InputError: nothing makes it so. What is made of other files, or published beside them, is of no version.
    """
    (row,) = product.rows
    if not product.looked or row.does:
        return
    if row.state == "missing":
        raise InputError(row.why, hint="--checkout names the product's repository, --product the folder of its files")
    if row.state == "stale":
        raise InputError(
            f"the product in {row.what}: {row.why}", hint="--checkout builds it anew; or take what was changed back"
        )


def _product_first(
    desk: Desk, seen: list[Seen], wanted: Sequence[str], console: _console.Console, *, force: bool
) -> list[Seen]:
    """Make the product and try it, where that is due; then all else is looked at again, since it depends on that."""
    made = _done(seen[0], console)
    tried = _done(_seen("smoke", partial(_pieces.smoke, desk)) if made else seen[1], console)
    return look(desk, wanted, force=force) if made or tried else seen


def _draft_next(
    desk: Desk, seen: list[Seen], wanted: Sequence[str], console: _console.Console, *, force: bool
) -> list[Seen]:
    """Draft the release at GitHub, before anything is made of the product: the version is the draft's from then on.

    Raises:
        KitError: it is not whole there.
    """
    draft = next((each for each in seen if each.piece == "github"), None)
    if draft is None or not _done(draft, console):
        return seen
    seen = look(desk, wanted, force=force)
    (now,) = [each for each in seen if each.piece == "github"]
    if now.error:
        raise now.error
    if now.rows[0].state not in _OUT["github"]:
        raise TemporaryError(
            f"{desk.version.tag} at GitHub: {now.rows[0].why}", hint="does another one send it too? The same once more"
        )
    # Another one may have been faster with other files.
    return _product_first(desk, seen, wanted, console, force=force)


def _done(seen: Seen, console: _console.Console) -> bool:
    did = bool(seen.looked and seen.looked.act(console))
    if seen.error:
        raise seen.error
    return did


def _acted(seen: Sequence[Seen], console: _console.Console) -> dict[str, KitError | None]:
    """Do what the rows say, side by side; how each piece ended."""
    answers = _clouds.together([partial(_done, each, console) for each in seen], max(1, len(seen)))
    return {each.piece: error for each, (_, error) in zip(seen, answers, strict=True)}


def show(desk: Desk, seen: Sequence[Seen], *, as_json: bool) -> None:
    """The table, on stdout and on the page of a workflow's run."""
    rows = [_row(desk, row) for each in seen for row in each.rows]
    kind = "an edge" if desk.version.edge else "a release"
    head = f"{desk.version.tag}, {kind}, of {desk.version.commit[:10]}"
    _actions.summary(f"### {head}\n\n{_report.markdown(_COLUMNS, rows)}")
    _console.result(rows, as_json=as_json, text=f"{head}\n{_console.table(_COLUMNS, rows, none='')}")


def _row(desk: Desk, row: Row) -> _console.Row:
    return {
        "piece": row.piece,
        "what": row.what,
        "state": row.state,
        "does": list(row.does),
        "why": row.why,
        "version": desk.version.text,
        "commit": desk.version.commit,
    }


_COLUMNS: dict[str, Callable[[Any], str]] = {
    "piece": str,
    "what": str,
    "state": str,
    "does": ", ".join,
    "why": str,
}


def _purposes(seen: Sequence[Seen]) -> list[str]:
    """For what programs have to be on this machine."""
    does = {each.piece: {step for row in each.rows for step in row.does} for each in seen}
    wanted = ["images"] if any("build" in does.get(piece, ()) for piece in ("ami", "box")) else []
    return [*wanted, *(["local"] if "build" in does.get("box", ()) else [])]


def _left(desk: Desk, wanted: Sequence[str]) -> list[str]:
    """What killed work left, having looked."""
    left = []
    if "ami" in wanted:
        left += [f"AWS: {line}" for line in _images.left_behind(_pieces.regions(desk.settings))]
    if "box" in wanted:
        left += [f"boxes: {line}" for line in _boxes.left(_boxes.opened()[1])]
    return [*left, "the same command goes on"]
