"""Programs of the system that we call: are they there, are they what they are called, who brings them."""

from __future__ import annotations


def ensure(purpose: str, *, yes: bool) -> None:
    """Placeholder while the first path is laid."""
