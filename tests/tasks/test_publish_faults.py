"""A fault at every call of a publication: what holds then, and that the same command again comes to its end.

The calls are learned from a good run. What must hold at any moment: nothing is released without its files, nothing
that is released changes, what a person sees is one line. The next run completes, and what is there is not sent again.
"""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import COUNTED
from tests.fakes.registry_wire import FAULTS, Call, Registry
from tests.publishing import PROVIDERS, TAG, Desk, at, built, hasty, sha256

pytestmark = [pytest.mark.matrix, pytest.mark.timeout(600)]

BEFORE = "1.0.0"
"""A version that was released before any trouble."""

CODES = {0, 1, 4, 5}


class Matrix:
    """One who publishes version after version, each with another fault."""

    def __init__(self, home: Path, registry: Registry) -> None:
        self.registry = registry
        self.desk = Desk(home, at(registry))
        self.files = {provider: built(self.desk.store, provider) for provider in PROVIDERS}
        self.versions = (f"2.0.{number}" for number in itertools.count())
        assert self.desk.upload(version=BEFORE).code == 0
        self.before = self.released(BEFORE)

    def released(self, version: str) -> object:
        """All that is known of a version."""
        found = self.registry.books.version(TAG, version)
        assert found is not None
        return dataclasses.asdict(found)

    def complete(self, version: str) -> bool:
        """Whether it is released with these files, and everybody sees it."""
        found = self.registry.books.version(TAG, version)
        there = {each.name: each.checksum for each in found.providers} if found else {}
        right = there == {provider: sha256(path) for provider, path in self.files.items()}
        return bool(right and found and found.status == "active" and not self.registry.books.broken())

    def whole(self, version: str) -> int:
        """How many of its files are there, and right."""
        found = self.registry.books.version(TAG, version)
        files = [each for each in found.providers if each.file] if found else []
        return sum(self.registry.books.sha256(each.file) == each.checksum for each in files)

    def wrong(self) -> Iterator[str]:
        """What never may be."""
        yield from self.registry.books.broken()
        yield from self.registry.violations
        if self.released(BEFORE) != self.before:
            yield "a released version has changed"

    def once(self, number: int = 0, kind: str = "") -> tuple[list[Call], list[str]]:
        """Publish once, with a fault; then once more without. The calls of the first time, and what was wrong."""
        version = next(self.versions)
        begun = len(self.registry.calls)
        if kind:
            self.registry.fails_at(number, kind)
        ran = self.desk.upload(version=version)
        made = self.registry.calls[begun:]
        self.registry.works()
        found = list(self.wrong())
        if ran.code not in CODES or (ran.code == 0 and not self.complete(version)):
            found.append(f"ended with {ran.code}: {ran.err[-300:]}")
        if ran.code:
            told = [line for line in ran.err.splitlines() if line.startswith(("error: ", "hint: "))]
            if len(told) != 2:
                found.append(f"no error with a hint: {ran.err[-300:]}")
        if re.search(r"Traceback|a bug of ours|canary", ran.err):
            found.append(f"a bug, or a secret: {ran.err[-300:]}")
        whole = self.whole(version)
        again = len(self.registry.calls)
        next_one = self.desk.upload(version=version)
        if next_one.code != 0 or not self.complete(version):
            found.append(f"the next run: {next_one.code}: {next_one.err[-300:]}")
        if self.registry.uploads(again) != len(PROVIDERS) - whole:
            found.append(f"the next run sent {self.registry.uploads(again)} though {whole} were there")
        found += self.wrong()
        return made, found


@pytest.mark.parametrize("kind", FAULTS)
def test_a_fault_at_any_call_never_releases_what_is_not_there_and_the_next_run_completes(
    tmp_path: Path, kind: str, record_property: Callable[[str, object], None]
) -> None:
    with Registry(tmp_path / "registry") as registry, hasty():
        matrix = Matrix(tmp_path, registry)
        calls, wrong = matrix.once()
        assert wrong == []
        if kind in ("silent", "drip"):
            matrix.desk.settings |= {"KM_PUBLISH__TIMEOUT": "0.2", "KM_PUBLISH__STALL": "0.2"}
        points = [number for number, call in enumerate(calls, 1) if re.fullmatch(FAULTS[kind].only or ".*", str(call))]
        for number in points:
            _, found = matrix.once(number, kind)
            wrong += [f"{kind} at {calls[number - 1]}: {each}" for each in found]
        record_property(COUNTED, f"publication, {kind}: at {len(points)} of {len(calls)} calls")
        assert wrong == [], f"{len(wrong)}:\n" + "\n".join(wrong[:20])
