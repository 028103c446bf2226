"""Calls to Azure, and its errors as ours.

Codes: "Common Azure deployment errors" and "Allocation failures" in Microsoft's documentation. The
code of what really failed may be deep inside the message of a deployment.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from azure.core.credentials import TokenCredential
from azure.core.exceptions import AzureError as SdkError
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError
from azure.core.polling import LROPoller
from azure.core.rest import HttpRequest
from azure.identity import (
    AzureCliCredential,
    ClientSecretCredential,
    CredentialUnavailableError,
    DefaultAzureCredential,
)
from azure.mgmt.compute import ComputeManagementClient
from azure.mgmt.resource.deployments import DeploymentsMgmtClient
from azure.mgmt.resource.resources import ResourceManagementClient
from azure.mgmt.resource.subscriptions import SubscriptionClient

from cloud import wait
from cloud.azure.settings import AzureSettings
from cloud.errors import InputError, KitError, NotAllowed, TemporaryError, TimedOut

T = TypeVar("T")

_LATER = "the same command may work later"
_LOGIN = "log in: SP_TENANT, SP_APPID and SP_PASSWORD, or az login; ./inv doctor --cloud azure looks again"
RIGHTS = "docs/policies/azure.json has the rights that are needed"
_QUOTA = "ask for more at Quotas in the portal, or set azure.build_size, proof_size or runner_sizes to others"

CAPACITY = (
    *("SkuNotAvailable", "AllocationFailed", "ZonalAllocationFailed"),
    *("OverconstrainedAllocationRequest", "OverconstrainedZonalAllocationRequest"),
)
"""There is no room for a VM of that size in that place; for another size, or in another place, there may be."""

QUOTA = ("OperationNotAllowed", "QuotaExceeded")
"""We may have no more of that size; of another one perhaps. The first of them has other meanings, without that word."""

CODES: dict[str, tuple[type[KitError], str]] = {
    **dict.fromkeys(("AuthorizationFailed", "LinkedAuthorizationFailed"), (NotAllowed, RIGHTS)),
    **dict.fromkeys(
        (
            *("AuthenticationFailed", "ExpiredAuthenticationToken", "InvalidAuthenticationToken"),
            *("invalid_client", "unauthorized_client", "InvalidAuthenticationTokenTenant"),
        ),
        (NotAllowed, _LOGIN),
    ),
    **dict.fromkeys(
        (
            *("InternalServerError", "RetryableError", "ServerTimeout", "ServiceUnavailable", "TooManyRequests"),
            *CAPACITY,
        ),
        (TemporaryError, _LATER),
    ),
    # What Azure calls OperationNotAllowed is of a VM nearly always its quota of processors.
    **dict.fromkeys(QUOTA, (KitError, _QUOTA)),
}
"""The kind of error that a code means, and what to do."""

_CODE = re.compile(rf"\b({'|'.join(sorted(CODES, key=len, reverse=True))})\b")
_ACTION = re.compile(r"perform action '([^']+)'")


def blamed(words: str) -> type[KitError] | None:
    """The kind of error whose code stands in the words."""
    found = _CODE.search(words)
    return CODES[found[1]][0] if found else None


class AzureError(KitError):
    """Azure refused a call for a reason that is none of those in the table."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class Session:
    """Who we are on Azure, in one subscription. Threads may share it."""

    def __init__(self, settings: AzureSettings) -> None:
        self._settings = settings
        self._clients: dict[str, Any] = {}
        self._credential: TokenCredential | None = None
        self._subscription = ""
        self._making = threading.RLock()

    @property
    def secret(self) -> dict[str, str]:
        """How packer logs in: as the service principal that the environment names, or as the Azure CLI does."""
        wanted = {"tenant_id": "SP_TENANT", "client_id": "SP_APPID", "client_secret": "SP_PASSWORD"}
        found = {key: os.environ.get(variable, "") for key, variable in wanted.items()}
        return found if all(found.values()) else dict.fromkeys(found, "")

    def _logged_in(self) -> TokenCredential:
        secret = self.secret
        if any(secret.values()):
            return ClientSecretCredential(**secret)
        if os.environ.get("AZURE_CLIENT_ID") or os.environ.get("AZURE_TENANT_ID"):
            return DefaultAzureCredential()
        return AzureCliCredential()

    @property
    def subscription(self) -> str:
        """SP_SUBSCRIPTION_ID, or the only one that we can see.

        Raises:
            InputError: there is none, or more than one.
        """
        # One lock for all that is made once: with two, threads that need both wait for each other.
        with self._making:
            if not self._subscription:
                self._subscription = os.environ.get("SP_SUBSCRIPTION_ID") or self._only_one()
            return self._subscription

    def _only_one(self) -> str:
        seen = [str(each.subscription_id) for each in self.list("subscriptions", "subscriptions.list")]
        if len(seen) != 1:
            raise InputError(f"{len(seen)} Azure subscriptions can be seen", hint="SP_SUBSCRIPTION_ID chooses one")
        return seen[0]

    def call(self, service: str, operation: str, *arguments: Any, timeout: float = 900, **named: Any) -> Any:
        """Make a call, as `call("compute", "galleries.get", group, gallery)`; one that takes long is waited for.

        Raises:
            Interrupted: the caller has stopped us; it is begun, and may be done.
            NotAllowed: we are not logged in, or lack the right, which is named.
            TemporaryError: Azure is busy, has no room, or does not answer.
            TimedOut: it was not done within `timeout` seconds.
            AzureError: it refused; `status` is HTTP's.
        """
        answer = self.begin(service, operation, *arguments, **named)
        return self._waited(operation, answer, timeout) if isinstance(answer, LROPoller) else answer

    def remove(self, service: str, operation: str, *where: str, timeout: float = 900, **named: Any) -> bool:
        """Remove or stop something, as `remove("compute", "images.begin_delete", group, name)`; whether that is done.

        It may be gone already. Its end is not waited for longer than `timeout` seconds, and not at all
        once the caller has stopped us: then it is begun.

        Raises:
            KitError: as of `call`, but for TimedOut.
        """
        try:
            poller = self.begin(service, operation, *where, **named)
            if wait.interrupted():
                return False
            self._waited(operation, poller, timeout)
        except TimedOut:
            return False
        except AzureError as error:
            if error.status != 404:
                raise
        return True

    def begin(self, service: str, operation: str, *arguments: Any, **named: Any) -> Any:
        """Begin a call, and do not wait for what takes long: `ended` tells of it.

        Raises:
            KitError: as of `call`.
        """
        return self._asked(operation, lambda: self._operation(service, operation)(*arguments, **named))

    def ended(self, operation: str, poller: LROPoller[Any]) -> bool:
        """Whether what was begun is done.

        Raises:
            KitError: it failed; as of `call`.
        """
        if not poller.done():
            return False
        self._asked(operation, poller.result)
        return True

    def _waited(self, operation: str, poller: LROPoller[Any], timeout: float) -> Any:
        wait.until(lambda: poller.done() or None, what=_words(operation), timeout=timeout, every=0.1)
        return self._asked(operation, poller.result)

    def pages(self, path: str, api: str) -> list[dict[str, Any]]:
        """All that a path of the subscription lists: what its own client takes longer to load than to ask.

        Raises:
            KitError: as of `call`.
        """
        client = self._client("resources")
        found: list[dict[str, Any]] = []
        address: str = f"/subscriptions/{self.subscription}/{path}?api-version={api}"
        while address:
            told = self._asked(path.rpartition("/")[2], partial(_sent, client, address))
            found += told["value"]
            address = told.get("nextLink") or ""
        return found

    def list(self, service: str, operation: str, *arguments: Any, **named: Any) -> list[Any]:
        """All that a call lists, of all its pages."""
        return self._asked(operation, lambda: list(self._operation(service, operation)(*arguments, **named)))

    def _operation(self, service: str, operation: str) -> Callable[..., Any]:
        group, _, verb = operation.partition(".")
        function: Callable[..., Any] = getattr(getattr(self._client(service), group), verb)
        return function

    def _client(self, service: str) -> Any:
        with self._making:
            if service not in self._clients:
                self._clients[service] = self._made(service)
            return self._clients[service]

    def _made(self, service: str) -> Any:
        endpoint = self._settings.endpoint
        credential = self._credential = self._credential or self._logged_in()
        manner: dict[str, Any] = {
            "polling_interval": self._settings.poll,
            "retry_total": 3,
            "connection_timeout": min(10, self._settings.timeout),
            "read_timeout": self._settings.timeout,
            **({"base_url": endpoint, "credential_scopes": [f"{endpoint}/.default"]} if endpoint else {}),
        }
        if service == "subscriptions":
            return SubscriptionClient(credential, **manner)
        if service == "network":
            # It is large, and few commands need it.
            from azure.mgmt.network import NetworkManagementClient

            return NetworkManagementClient(credential, self.subscription, **manner)
        kinds = {
            "compute": ComputeManagementClient,
            "deployments": DeploymentsMgmtClient,
            "resources": ResourceManagementClient,
        }
        return kinds[service](credential, self.subscription, **manner)

    def _asked(self, operation: str, ask: Callable[[], T]) -> T:
        try:
            return ask()
        except CredentialUnavailableError as error:
            raise NotAllowed("not logged in to Azure", hint=_LOGIN) from error
        except HttpResponseError as error:
            raise _told(error, _words(operation)) from error
        except SdkError as error:
            raise TemporaryError(f"Azure does not answer: {error.message}", hint=_LATER) from error


def missing_is_none(ask: Callable[[], T]) -> T | None:
    """What a call answers; None for what is not there."""
    try:
        return ask()
    except AzureError as error:
        if error.status != 404:
            raise
        return None


def code_of(problem: KitError) -> str:
    """Azure's own word for what failed; empty where it has none."""
    cause = problem.__cause__
    return _innermost(cause)[0] if isinstance(cause, HttpResponseError) else ""


def _sent(client: Any, address: str) -> Any:
    answer = client.send_request(HttpRequest("GET", address))
    answer.raise_for_status()
    return answer.json()


def _words(operation: str) -> str:
    return "Azure's " + operation.replace("begin_", "").replace("_", " ").replace(".", ": ")


def _told(error: HttpResponseError, what: str) -> KitError:
    words = f"{error.message} {error}"
    found = _CODE.search(words)
    kind, hint = CODES[found[1]] if found else (None, "")
    if found and kind is NotAllowed and (action := _ACTION.search(words)):
        return NotAllowed(f"Azure does not allow {action[1]} ({found[1]})", hint=hint)
    if kind is None and isinstance(error, ClientAuthenticationError):
        kind, hint = NotAllowed, _LOGIN
    status = int(error.status_code or 0)
    if kind is None and (status >= 500 or status == 429):
        kind, hint = TemporaryError, _LATER
    reason = _short(error)
    if kind is None:
        return AzureError(f"{what} is refused: {reason}", status)
    return kind(f"{what} is refused: {reason}", hint=hint)


def _short(error: HttpResponseError) -> str:
    code, message = _innermost(error)
    return f"{code}: {message}" if code else message


def _innermost(error: HttpResponseError) -> tuple[str, str]:
    """Code and message of the innermost error that it tells of: a deployment that failed wraps that of the resource."""
    told: Any = error.error
    while told is not None and getattr(told, "details", None):
        told = told.details[0]
    return (str(told.code or ""), str(told.message)) if told is not None else ("", str(error.message))
