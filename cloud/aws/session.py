"""Calls to AWS, and its errors as ours.

Codes: "Error codes for the Amazon EC2 API" in its reference. That EC2 tells of missing capacity
with HTTP 500 is seen in galaxyproject/cloudman#64; SDKs take it for a fault and try again by
themselves, which is why starting a VM is tried again by us alone.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any

import boto3.session
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    HTTPClientError,
    LoginError,
    MetadataRetrievalError,
    NoAuthTokenError,
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
    RefreshWithMFAUnsupportedError,
    SSOError,
    TokenRetrievalError,
)
from botocore.exceptions import (
    ConnectionError as NoConnection,
)
from botocore.parsers import ResponseParserError

from cloud import wait
from cloud.errors import InputError, KitError, NotAllowed, TemporaryError

_LATER = "the same command may work later"
_LOGIN = "log in: AWS_* variables, a profile or a role; ./inv doctor --cloud aws looks again"
_RIGHTS = "docs/policies/aws.json has the rights that are needed, aws-release.json those for releases"
_QUOTA = "ask for more in Service Quotas, or set aws.build_type, aws.proof_type and aws.runner_types to smaller ones"
_SET = "look at AWS_* variables and the files below ~/.aws"

_NOBODY: tuple[type[Exception], ...] = (
    CredentialRetrievalError,
    LoginError,
    MetadataRetrievalError,
    NoAuthTokenError,
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
    RefreshWithMFAUnsupportedError,
    SSOError,
    TokenRetrievalError,
)
"""What botocore raises when it finds nobody to be, or one whose time is over."""


_CONSISTENT = 60.0
"""Seconds until EC2 knows everywhere what it has just made ("Eventual consistency in the EC2 API")."""


class Unanswered(TemporaryError):
    """Nobody knows whether AWS did what it was asked for: it failed in the middle, or its answer was lost."""


CODES: dict[str, tuple[type[KitError], str]] = {
    **dict.fromkeys(("AccessDenied", "AccessDeniedException", "UnauthorizedOperation"), (NotAllowed, _RIGHTS)),
    **dict.fromkeys(
        (
            *(
                "AuthFailure",
                "ExpiredToken",
                "ExpiredTokenException",
                "InvalidClientTokenId",
                "MissingAuthenticationToken",
            ),
            *("RequestExpired", "SignatureDoesNotMatch", "UnauthorizedException", "UnrecognizedClientException"),
        ),
        (NotAllowed, _LOGIN),
    ),
    **dict.fromkeys(
        (
            *("InsufficientAddressCapacity", "InsufficientCapacity", "InsufficientHostCapacity"),
            *("InsufficientInstanceCapacity", "RequestLimitExceeded", "Throttling", "ThrottlingException"),
            "UnfulfillableCapacity",
        ),
        (TemporaryError, _LATER),
    ),
    **dict.fromkeys(
        ("InternalError", "InternalFailure", "InternalServerError", "ServiceUnavailable", "Unavailable"),
        (Unanswered, _LATER),
    ),
    **dict.fromkeys(("InstanceLimitExceeded", "VcpuLimitExceeded", "VolumeLimitExceeded"), (KitError, _QUOTA)),
}
"""The kind of error that a code means, and what to do."""

_CODE = re.compile(rf"\b({'|'.join(sorted(CODES, key=len, reverse=True))})\b")


def blamed(words: str) -> type[KitError] | None:
    """The kind of error whose code stands in the words."""
    found = _CODE.search(words)
    return CODES[found[1]][0] if found else None


class AwsError(KitError):
    """AWS refused a call for a reason that is none of those in the table."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code


class Session:
    """Who we are on AWS, in one region. Threads may share it."""

    def __init__(self, region: str, timeout: float) -> None:
        self.region = region
        self._timeout = timeout
        self._clients: dict[tuple[str, bool], Any] = {}
        self._making = threading.Lock()

    @cached_property
    def _boto(self) -> boto3.session.Session:
        return boto3.session.Session(region_name=self.region)

    def call(self, service: str, operation: str, *, once: bool = False, **arguments: Any) -> dict[str, Any]:
        """Make a call, as `call("ec2", "describe_images", Owners=["self"])`; `once` is without botocore's own retries.

        Raises:
            NotAllowed: we are not logged in, or lack the right, which is named.
            InputError: what was set about AWS can't be used.
            TemporaryError: AWS is busy or has no room.
            Unanswered: it does not answer, or failed: it may have been done all the same.
            AwsError: it refused; `code` is its own.
        """
        try:
            return dict(getattr(self._client(service, once), operation)(**arguments))
        except ClientError as error:
            raise _told(error, service) from error
        except _NOBODY as error:
            raise NotAllowed(f"not logged in to AWS: {error}", hint=_LOGIN) from error
        except (NoConnection, HTTPClientError, ResponseParserError) as error:
            raise Unanswered(f"AWS does not answer: {error}", hint=_LATER) from error
        # An address that is none is a ValueError of botocore's.
        except (BotoCoreError, ValueError) as error:
            raise InputError(f"AWS can't be asked for {service}: {error}", hint=_SET) from error

    def pages(self, operation: str, key: str, **arguments: Any) -> list[dict[str, Any]]:
        """Everything under that key, of all pages that EC2 answers with."""
        found: list[dict[str, Any]] = []
        while True:
            page = self.call("ec2", operation, **arguments)
            found += page[key]
            if not page.get("NextToken"):
                return found
            arguments["NextToken"] = page["NextToken"]

    def soon(self, operation: str, *, once: bool = False, **arguments: Any) -> dict[str, Any]:
        """A call about what we have just made, as soon as EC2 knows everywhere that it is there.

        Raises:
            TimedOut: it never does.
        """

        def act() -> dict[str, Any] | None:
            try:
                return self.call("ec2", operation, once=once, **arguments)
            except AwsError as error:
                if error.code.endswith(".NotFound"):
                    return None
                raise

        return wait.until(act, what=f"{operation} of what was just made", timeout=_CONSISTENT, every=1)

    def _client(self, service: str, once: bool) -> Any:
        # Making clients is not safe in threads, using them is (boto3's guide on multithreading).
        with self._making:
            if (service, once) not in self._clients:
                retries: Any = {"mode": "standard", "total_max_attempts": 1 if once else 4}
                config = Config(retries=retries, connect_timeout=min(10, self._timeout), read_timeout=self._timeout)
                self._clients[service, once] = self._boto.client(service, config=config)
            return self._clients[service, once]


def _told(error: ClientError, service: str) -> KitError:
    code = str(error.response.get("Error", {}).get("Code", ""))
    message = str(error.response.get("Error", {}).get("Message", ""))
    call = f"{service}:{error.operation_name}"
    kind, hint = CODES.get(code, (None, ""))
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    if kind is NotAllowed:
        return NotAllowed(f"AWS does not allow {call} ({code})", hint=hint)
    if kind is None and status >= 500:
        kind, hint = Unanswered, _LATER
    if kind is None:
        return AwsError(f"AWS refuses {call}: {code}: {message}", code)
    return kind(f"AWS refuses {call}: {code}: {message}", hint=hint)


def code(problem: KitError) -> str:
    """AWS's own word for why it refused; empty where it gave none."""
    cause = problem.__cause__
    return str(cause.response.get("Error", {}).get("Code", "")) if isinstance(cause, ClientError) else ""


def tags(resource: dict[str, Any]) -> dict[str, str]:
    """The tags of a resource, as EC2 tells of it."""
    return {tag["Key"]: tag["Value"] for tag in resource.get("Tags", [])}


def where(**wanted: str | Sequence[str]) -> list[dict[str, Any]]:
    """A filter as EC2 takes it: `where(vpc_id="vpc-1")`. `tagged` makes the names that are tags."""
    return [
        {"Name": name.replace("_", "-"), "Values": [text] if isinstance(text, str) else list(text)}
        for name, text in wanted.items()
    ]


def tagged(**wanted: str) -> list[dict[str, Any]]:
    """A filter by tags: `tagged(Name="one")`."""
    return [{"Name": f"tag:{key}", "Values": [text]} for key, text in wanted.items()]


def listed(tags: Iterable[tuple[str, str]]) -> list[dict[str, str]]:
    """Tags as EC2 takes them."""
    return [{"Key": key, "Value": text} for key, text in tags]
