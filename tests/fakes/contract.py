"""A body of a request, against the description of it in the SDK: `azure.mgmt.compute.types`, or `network`."""

from __future__ import annotations

import enum
import types as builtin
from collections.abc import Iterator, Mapping
from typing import Any, Required, Union, get_args, get_origin, get_type_hints, is_typeddict

import typing_extensions
from azure.mgmt.compute import models as compute_models
from azure.mgmt.compute import types as compute
from azure.mgmt.network import models as network_models
from azure.mgmt.network import types as network

_TABLES: dict[str, dict[str, Any]] = {
    compute.__name__: {**vars(compute_models), **vars(compute)},
    network.__name__: {**vars(network_models), **vars(network)},
}
"""What the names in a description mean, by the module that it is in."""
_OPEN = {"VirtualMachineSizeTypes"}
"""Lists of values that are no longer kept up ("VirtualMachineSizeTypes" says so itself)."""


def wrongs(body: Any, kind: str) -> list[str]:
    """What is wrong with a body of that kind, as `VirtualMachine`: unknown fields, wrong values, missing ones."""
    described = next(getattr(module, kind) for module in (compute, network) if hasattr(module, kind))
    return list(_wrongs(body, described, kind))


def _wrongs(value: Any, kind: Any, where: str) -> Iterator[str]:
    if get_origin(kind) in (Required, typing_extensions.Required):
        kind = get_args(kind)[0]
    if is_typeddict(kind) or typing_extensions.is_typeddict(kind):
        yield from _of_fields(value, kind, where)
    elif get_origin(kind) in (Union, builtin.UnionType):
        yield from _of_one(value, get_args(kind), where)
    elif get_origin(kind) is list:
        for number, each in enumerate(value if isinstance(value, list) else [None]):
            yield from _wrongs(each, get_args(kind)[0], f"{where}[{number}]")
    elif isinstance(kind, type) and issubclass(kind, enum.Enum):
        if kind.__name__ not in _OPEN and value not in [each.value for each in kind]:
            yield f"{where}: {value!r} is none of {kind.__name__}"
    elif kind in (str, int, bool) and not isinstance(value, kind):
        yield f"{where}: {value!r} is no {kind.__name__}"


def _of_fields(value: Any, kind: Any, where: str) -> Iterator[str]:
    if not isinstance(value, Mapping):
        yield f"{where}: {value!r} is no {kind.__name__}"
        return
    hints = get_type_hints(kind, globalns=_TABLES[kind.__module__], include_extras=True)
    for key, each in value.items():
        if key not in hints:
            yield f"{where}.{key}: unknown to {kind.__name__}"
        else:
            yield from _wrongs(each, hints[key], f"{where}.{key}")
    for key, hint in hints.items():
        if get_origin(hint) in (Required, typing_extensions.Required) and key not in value:
            yield f"{where}.{key}: missing"


def _of_one(value: Any, kinds: tuple[Any, ...], where: str) -> Iterator[str]:
    # "A text or one of these words" means these words.
    closed = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, enum.Enum)]
    found = [list(_wrongs(value, kind, where)) for kind in closed or kinds if kind is not type(None)]
    if value is not None and all(found):
        yield from min(found, key=len)
