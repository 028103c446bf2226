"""A VM of a runner, in the first place that has room for one."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from azure.core.polling import LROPoller

from cloud import access, names, userdata, wait
from cloud.azure import body, reading
from cloud.azure.session import CAPACITY, QUOTA, Session, code_of
from cloud.azure.settings import AzureSettings
from cloud.base import Order, Vm
from cloud.errors import InputError, KitError, NotFound, TemporaryError

LIMIT = 65_536
"""Bytes of user data that Azure takes ("User Data for Azure Virtual Machine": 64 KB)."""

_NO_NETWORK = ("ResourceGroupNotFound", "InvalidResourceReference")
_NO_IMAGE = ("GalleryImageNotFound", "ImageNotFound", "PlatformImageNotFound")


def create(session: Session, settings: AzureSettings, order: Order) -> Vm:
    """A VM of the first size, in the first zone, that Azure has room for. It runs.

    It is waited for until it has processors, since only then Azure is known to have some. A size that our quota
    has no room for is not asked for in its other zones.

    Raises:
        InputError: there is no such size, no network, no image, or its user data is too large.
        TemporaryError: there is no room for it in any place.
        KitError: our quota has no room for any of the sizes.
    """
    private, host = access.new_key(order.name)
    # Azure wants a key for the user, and cloud-init brings people's: nobody has this one.
    _, public = access.new_key(order.name)
    data = userdata.write({**order.user_data, **userdata.host_key(private, host)})
    if (size := len(data.encode())) > LIMIT:
        raise InputError(f"user data of {size} bytes is more than Azure takes: {LIMIT}")
    tried, short = list[str](), dict[str, KitError]()
    for size_of, zone in [(each, zone) for each in sizes(order.size, settings) for zone in settings.zones or [""]]:
        if size_of in short:
            continue
        # Each try has a name of its own: what failed takes its time to go.
        name = f"{order.name}-{wait.clock.token()}"
        told = body.runner(
            settings,
            session.subscription,
            order,
            name=name,
            size=size_of,
            zone=zone,
            public=public,
            data=data,
            tags={**settings.tags, **order.tags, names.HOST_KEY: access.word(host)},
        )
        try:
            return _made(session, settings, name, told)
        except KitError as problem:
            code = code_of(problem)
            if code in QUOTA and "quota" in problem.message.lower():
                short[size_of] = problem
                tried.append(f"{size_of} (quota: {code})")
            elif code in CAPACITY:
                tried.append(f"{size_of}{f' in zone {zone}' if zone else ''} ({code})")
            else:
                raise _meant(problem, code) from problem
    if short and len(short) == len(tried):
        raise next(iter(short.values()))
    raise TemporaryError(
        f"Azure has no room for {order.name} in {settings.location}: {', '.join(tried)}",
        hint="later, or with other azure.runner_sizes, zones or location",
    )


def sizes(told: str, settings: AzureSettings) -> Sequence[str]:
    """The sizes that are tried, in order.

    Raises:
        InputError: there is none.
    """
    found = [size.strip() for size in told.split(",") if size.strip()] or settings.runner_sizes
    if not found:
        raise InputError("no size of a VM is set", hint="azure.runner_sizes, as Standard_D4s_v5")
    return found


def _made(session: Session, settings: AzureSettings, name: str, told: dict[str, Any]) -> Vm:
    where = (settings.runner_group, name)
    operation = "virtual_machines.begin_create_or_update"
    try:
        poller = session.begin("compute", operation, *where, told, polling_interval=settings.runner_poll)
        wait.until(
            lambda: _runs(session, settings, name, poller) or None,
            what=f"{name} running",
            timeout=settings.boot_timeout,
            every=settings.runner_poll,
        )
        return reading.read(session, settings, name)
    except BaseException:
        # Why it failed is what is to be told. An answer that is lost may be of a VM that is there all the same.
        with suppress(KitError):
            session.begin("compute", "virtual_machines.begin_delete", *where, force_deletion=True, polling=False)
        raise


def _runs(session: Session, settings: AzureSettings, name: str, poller: LROPoller[Any]) -> bool:
    """Whether it has begun to run; what its agent then says or not is nothing that anybody needs.

    Raises:
        KitError: it could not be made.
    """
    if session.ended("virtual_machines.begin_create_or_update", poller):
        return True
    with suppress(TemporaryError):
        seen = reading.glance(session, settings, name)
        return seen is not None and seen.state == "running"
    return False


def _meant(problem: KitError, code: str) -> KitError:
    if code in _NO_NETWORK:
        return NotFound("runners have no network on azure", hint="./inv runners.setup-network --cloud azure")
    if code in _NO_IMAGE:
        return NotFound(problem.message, hint="./inv images.list --cloud azure")
    return InputError(problem.message) if code == "InvalidParameter" else problem
