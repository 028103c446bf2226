"""Settings: a file of defaults, a file of one's own, the environment; each value with its origin.

Each package defines its section as a frozen struct and is handed it. Here is only what puts the
layers together, and says which of them holds a value that can't be used.
"""

from __future__ import annotations

import functools
import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_origin

import msgspec

from cloud import typed
from cloud.aws.settings import AwsSettings
from cloud.azure.settings import AzureSettings
from cloud.caller import CallerSettings
from cloud.errors import InputError
from cloud.local.settings import LocalSettings
from cloud.publish.settings import PublishSettings
from cloud.settings import GithubSettings, RunnersSettings
from packer.settings import BoxesSettings, ImagesSettings, PackerSettings, ProductSettings, ReleaseSettings

ROOT = Path(__file__).resolve().parents[1]
DEFAULTS = ROOT / "settings.toml"
PREFIX = "KM_"


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All of them."""

    images: ImagesSettings
    packer: PackerSettings
    boxes: BoxesSettings
    product: ProductSettings
    release: ReleaseSettings
    local: LocalSettings
    aws: AwsSettings
    azure: AzureSettings
    caller: CallerSettings
    runners: RunnersSettings
    github: GithubSettings
    publish: PublishSettings


@dataclass(frozen=True)
class Value:
    """One setting: its name, what it is, and where that comes from."""

    name: str
    value: Any
    origin: str


def load(environment: Mapping[str, str] | None = None, own: Path = ROOT / "settings.local.toml") -> Settings:
    """The settings as they are now.

    Raises:
        InputError: a layer holds something that is no setting, or no value for it; it is named.
    """
    merged: dict[str, dict[str, Any]] = {}
    for value in origins(environment, own):
        section, key = value.name.split(".", 1)
        merged.setdefault(section, {})[key] = value.value
    try:
        return typed.convert(merged, Settings)
    except msgspec.ValidationError as problem:
        raise InputError(f"{DEFAULTS.name} is not complete: {problem}", hint="git checkout settings.toml") from problem


def origins(environment: Mapping[str, str] | None = None, own: Path = ROOT / "settings.local.toml") -> list[Value]:
    """Every value that is in force, with its origin."""
    last: dict[str, Value] = {}
    for value in _layers(os.environ if environment is None else environment, own):
        last[value.name] = value
    return list(last.values())


def _layers(environment: Mapping[str, str], own: Path) -> Iterator[Value]:
    """Every value of every layer, checked; the later ones win."""
    for path in (DEFAULTS, own):
        if path.exists() or path == DEFAULTS:
            for section, values in _read(path).items():
                if not isinstance(values, dict):
                    raise _unknown(section, path.name)
                for key, value in values.items():
                    yield _checked(section, key, value, path.name, strict=True)
    for variable in sorted(environment):
        if variable.startswith(PREFIX):
            section, separator, key = variable.removeprefix(PREFIX).lower().partition("__")
            if not separator:
                raise _unknown(variable, "the environment")
            yield _checked(section, key, environment[variable], variable, strict=False)


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as problem:  # no UTF-8, no TOML, or brackets without end
        raise InputError(f"{path.name}: {problem}", hint=f"mend {path}") from problem


def _checked(section: str, key: str, value: Any, origin: str, *, strict: bool) -> Value:
    """One value as what it is to be; from the environment a text that reads as such."""
    name = f"{section}.{key}"
    kind = _kinds(Settings).get(section)
    fields = _kinds(kind) if kind else {}
    if key not in fields:
        raise _unknown(name, origin)
    if not strict and fields[key] is not str:
        value = _as_typed(value, fields[key])
    try:
        return Value(name, typed.convert(value, fields[key], strict=strict), origin)
    except msgspec.ValidationError as problem:
        told = f"{origin}: {name} can't be {value!r}: {problem}"
        raise InputError(told, hint="./inv settings lists them all") from problem


@functools.cache
def _kinds(struct: type[msgspec.Struct]) -> dict[str, Any]:
    """The type of each field: msgspec works it out anew, and slowly, whenever it is asked."""
    return {field.name: field.type for field in msgspec.structs.fields(struct)}


def _as_typed(text: str, kind: Any) -> Any:
    """A list's words, separated by commas; everything else as it is."""
    return [word.strip() for word in text.split(",") if word.strip()] if get_origin(kind) is list else text


def _unknown(name: str, origin: str) -> InputError:
    return InputError(f"{origin}: there is no setting {name!r}", hint="./inv settings lists them all")
