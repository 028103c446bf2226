"""Stores with a finished micro image, copied for each test."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.conftest import Built
from tests.toolkit import Toolkit


@pytest.fixture
def toolkit(micro: dict[str, str], tmp_path: Path) -> Toolkit:
    """A toolkit with an empty store."""
    return Toolkit(tmp_path / "home", micro)


@pytest.fixture
def shipped(built: Built, toolkit: Toolkit) -> Toolkit:
    """A toolkit whose store has one image, the current one, and its base."""
    shutil.copytree(built.toolkit.store, toolkit.store)
    return toolkit


@pytest.fixture
def unproven(shipped: Toolkit) -> Toolkit:
    """A toolkit whose only build was never proven: its builder was killed before that."""
    for file in shipped.store.glob("images/*/image.json"):
        told = json.loads(file.read_text())
        told["tags"] = {key: text for key, text in told["tags"].items() if key not in ("km-proven", "km-promoted")}
        file.write_text(json.dumps(told))
    return shipped
