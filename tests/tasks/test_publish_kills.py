"""SIGKILL at every call of a publication: nothing is released without its files, and the next run completes.

The command is a process of its own here. It dies when a server has done what it asked for, before it hears of that.
"""

from __future__ import annotations

import itertools
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import COUNTED
from tests.fakes.registry_wire import Call, Registry
from tests.publishing import PROVIDERS, hasty
from tests.tasks.test_publish_faults import Matrix

pytestmark = [pytest.mark.matrix, pytest.mark.timeout(600)]


class Killer:
    """Ends a process when so many calls were done."""

    def __init__(self, registry: Registry) -> None:
        self.process: subprocess.Popen[bytes] | None = None
        self.left = 0
        registry.after = self._after

    def _after(self, call: Call) -> None:
        self.left -= 1
        if self.left == 0 and self.process:
            self.process.kill()
            self.process.wait()


def test_at_any_call_leaves_what_the_next_run_completes(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    with Registry(tmp_path / "registry") as registry, hasty():
        matrix = Matrix(tmp_path, registry)
        killer = Killer(registry)
        for number in itertools.count(1):
            version = f"3.0.{number}"
            with matrix.desk.toolkit.started("boxes.upload", "--version", version) as running:
                killer.process, killer.left = running.process, number
                ended = running.end(60)
                killer.process = None
            assert ended.code in (-signal.SIGKILL, 0), ended.err
            assert list(matrix.wrong()) == []
            assert "canary" not in ended.err
            begun, whole = len(registry.calls), matrix.whole(version)
            again = matrix.desk.upload(version=version)
            assert again.code == 0, again.err
            assert matrix.complete(version)
            assert registry.uploads(begun) == len(PROVIDERS) - whole
            assert list(matrix.wrong()) == []
            if ended.code == 0:
                break
        record_property(COUNTED, f"publication: killed at {number - 1} calls")
        assert number > 20
