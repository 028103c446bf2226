"""What every test gets: a home of its own, nothing of the caller's settings, no interrupt from before."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from cloud import wait

# The same examples everywhere: a test that fails in CI fails here too. No deadline: this shares its processors.
settings.register_profile(
    "toolkit",
    derandomize=True,
    deadline=None,
    database=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("toolkit")

_OTHERS = ("KM_", "AWS_", "AZURE_", "ARM_", "SP_", "GH_", "GITHUB_", "VAGRANT_", "PACKER_", "PKR_", "INVOKE_", "XDG_")


@pytest.fixture(autouse=True)
def _home(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A home of its own and no variable that means something to us, a cloud or a program of ours."""
    for variable in list(os.environ):
        if variable.startswith(_OTHERS) or variable.lower().endswith("_proxy"):
            monkeypatch.delenv(variable)
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(home))
    for variable, folder in (
        ("XDG_DATA_HOME", ".local/share"),
        ("XDG_STATE_HOME", ".local/state"),
        ("XDG_CACHE_HOME", ".cache"),
        ("XDG_CONFIG_HOME", ".config"),
    ):
        monkeypatch.setenv(variable, str(home / folder))
    before = Path.cwd()
    yield
    wait.resume()
    assert Path.cwd() == before
