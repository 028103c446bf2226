"""Start a VM where EC2 has room for it: types and zones in order, and each question asked as often as we want.

SDKs take EC2's word for missing capacity, which comes with status 500, for a fault, and ask the same place
again and again (galaxyproject/cloudman#64). So here every call is one call.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from cloud import wait
from cloud.aws.session import Session, Unanswered, code
from cloud.errors import KitError, TemporaryError

FULL = (
    *("InsufficientCapacity", "InsufficientFreeAddressesInSubnet", "InsufficientHostCapacity"),
    *("InsufficientInstanceCapacity", "UnfulfillableCapacity", "Unsupported"),
)
"""What says that this place has no room, and that another one may have some. `Unsupported`: the zone lacks the type."""

QUOTA = ("InstanceLimitExceeded", "VcpuLimitExceeded")
"""What says that we may have no more of that type, in no zone; of another one, or a smaller one, perhaps."""

_BUSY = ("RequestLimitExceeded", "Throttling", "ThrottlingException")
_PATIENCE = 6
"""How often EC2 is asked while it says that we ask too much: for two minutes, with pauses that grow."""


def place(kind: str, zone: str) -> str:
    """A type in a zone, in words."""
    return f"{kind} in {zone}"


def launch(
    session: Session, requests: Iterable[tuple[str, Mapping[str, Any]]], pause: float, before: Iterable[str] = ()
) -> dict[str, Any]:
    """Start one VM by the first request that EC2 has room for, and tell of it. Each has a word for its place.

    Places where there was no room `before` are not asked again. A type that our quota has no room for is not
    asked for in its other zones.

    Raises:
        TemporaryError: there is no room in any place.
        Unanswered: nobody knows whether it was started.
        KitError: our quota has no room for any of the types; or EC2 refused for another reason, which it would
            have in each place.
    """
    tried, short = list(before), dict[str, KitError]()
    for where, request in requests:
        kind = str(request["InstanceType"])
        if where in tried or kind in short:
            continue
        try:
            return _started(session, request, pause)
        except KitError as problem:
            if code(problem) in QUOTA:
                short[kind] = problem
                tried.append(f"{kind} (quota: {code(problem)})")
            elif code(problem) in FULL:
                tried.append(f"{where} ({code(problem)})")
            else:
                raise
    if short and len(short) == len(tried):
        raise next(iter(short.values()))
    raise TemporaryError(
        f"EC2 has no room for a runner: tried {', '.join(tried)}",
        hint="the same command may work later, or name other types: --size aws=m5.xlarge,m4.xlarge",
    )


def _started(session: Session, request: Mapping[str, Any], pause: float) -> dict[str, Any]:
    refused, unanswered = 0, False
    while True:
        try:
            return dict(session.call("ec2", "run_instances", once=True, **request)["Instances"][0])
        except Unanswered:
            # Again by the same token: if it runs already we are told of it, and no second one is started.
            if unanswered:
                raise
            unanswered = True
        except TemporaryError as problem:
            refused += 1
            if code(problem) not in _BUSY or refused == _PATIENCE:
                raise
        wait.pause(pause * 2**refused)
