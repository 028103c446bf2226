"""Who we are at the registry.

VAGRANT_CLOUD_TOKEN holds HCP's token alone, or after a `;` behind the one of before HCP, which opens nothing any more
for who has moved. HCP_CLIENT_ID and HCP_CLIENT_SECRET are those of a service principal, to whom HCP gives a token for
an hour: that one is renewed. The first of the two that is set is used, as Vagrant's own client does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cloud import wait
from cloud.errors import NotAllowed, TemporaryError
from cloud.publish import web

AUTH = "https://auth.idp.hashicorp.com"
AUDIENCE = "https://api.hashicorp.cloud"
_EARLY = 60.0
"""Seconds before its end in which a token is renewed."""

_HINT = "set VAGRANT_CLOUD_TOKEN, or HCP_CLIENT_ID and HCP_CLIENT_SECRET"
_OLD = "tokens from before HCP (.atlasv1.) no longer work for organisations that have moved: take one of HCP"


class Login:
    """A token, as long as there is one.

    Raises:
        NotAllowed: none is set.
    """

    def __init__(self, environment: Mapping[str, str], timeout: float) -> None:
        self._token = environment.get("VAGRANT_CLOUD_TOKEN", "").strip().rpartition(";")[2].strip()
        self._given = bool(self._token)
        self._client = (environment.get("HCP_CLIENT_ID", "").strip(), environment.get("HCP_CLIENT_SECRET", "").strip())
        self._url = (environment.get("HCP_AUTH_URL") or AUTH).rstrip("/")
        self._timeout = timeout
        self._until = 0.0
        if not (self._given or all(self._client)):
            raise NotAllowed("not logged in to the registry: no token is set", hint=_HINT)
        if not self._token.isascii() or any(letter.isspace() for letter in self._token):
            raise NotAllowed("VAGRANT_CLOUD_TOKEN holds what is no token", hint=_HINT)

    @property
    def hint(self) -> str:
        """What to do when the registry does not know us."""
        return _OLD if ".atlasv1." in self._token else _HINT

    def token(self) -> str:
        """The token that is good now.

        Raises:
            NotAllowed: HCP does not know the client.
            TemporaryError: HCP does not answer.
        """
        if not self._given and wait.clock.now().timestamp() > self._until - _EARLY:
            self._renew()
        return self._token

    def renewed(self) -> bool:
        """After a 401: whether there is another token now."""
        if self._given:
            return False
        self._renew()
        return True

    def _renew(self) -> None:
        form = {"grant_type": "client_credentials", "audience": AUDIENCE}
        with web.session() as session:
            url = f"{self._url}/oauth2/token"
            answer = web.persistently(
                lambda: web.ask(session, "POST", url, timeout=self._timeout, data=form, auth=self._client)
            )
            if answer.status_code in (400, 401, 403):
                raise NotAllowed(
                    f"HCP does not know this client: {answer.status_code}",
                    hint="look at HCP_CLIENT_ID and HCP_CLIENT_SECRET",
                )
            if answer.status_code != 200:
                raise web.refusal(answer, "asking HCP for a token")
            try:
                told: Any = answer.json()
                self._token, lives = str(told["access_token"]), float(told.get("expires_in", 3600))
            except (ValueError, KeyError, TypeError, AttributeError):
                raise TemporaryError("HCP's answer holds no token", hint="again later") from None
        self._until = wait.clock.now().timestamp() + lives
