"""Instance types: which there are in the region, how many processors they have, which run VMs in a VM."""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass

from cloud.aws.session import Session, where
from cloud.aws.settings import AwsSettings
from cloud.errors import InputError

_TYPE = re.compile(r"[a-z0-9][a-z0-9-]*\.[a-z0-9-]+")


@dataclass(frozen=True)
class Type:
    """One of them."""

    name: str
    processors: int
    nested: bool
    """Whether a VM of it may have VMs of its own, if it is started so."""


class Catalogue:
    """What EC2 says about types, asked once in a process."""

    def __init__(self, session: Session, settings: AwsSettings) -> None:
        self._session = session
        self._settings = settings
        self._known: dict[str, Type] = {}
        self._asking = threading.Lock()

    def types(self, size: str) -> Sequence[Type]:
        """The types that a size names, as `m5.xlarge,m4.xlarge`, in that order; empty: those of the settings.

        Raises:
            InputError: one of them is none here; or none of the settings' is.
        """
        wanted = [word.strip() for word in size.split(",")] if size else self._settings.runner_types
        for name in wanted:
            if not _TYPE.fullmatch(name):
                raise InputError(f"{name!r} is no instance type", hint="as m5.xlarge, or several: m8i.xlarge,m5.xlarge")
        with self._asking:
            if unknown := [name for name in wanted if name not in self._known]:
                self._ask(unknown)
        missing = [name for name in wanted if name not in self._known]
        if missing and (size or len(missing) == len(wanted)):
            raise InputError(
                f"{self._session.region} has no instance type {', '.join(missing) or 'for runners'}",
                hint="--size aws=m5.xlarge, or set aws.runner_types",
            )
        return [self._known[name] for name in wanted if name in self._known]

    def _ask(self, names: Sequence[str]) -> None:
        # By a filter: named outright, one that the region lacks would fail the whole call.
        for told in self._session.pages("describe_instance_types", "InstanceTypes", Filters=where(instance_type=names)):
            features = told.get("ProcessorInfo", {}).get("SupportedFeatures", [])
            name = str(told["InstanceType"])
            self._known[name] = Type(name, int(told["VCpuInfo"]["DefaultVCpus"]), "nested-virtualization" in features)
