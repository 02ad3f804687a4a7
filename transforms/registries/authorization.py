"""Who asks a schema registry: nobody, a user with a password, a bearer token, or a client of an OAuth server."""

import time
from dataclasses import dataclass, field
from typing import Final

import requests
from requests.auth import AuthBase, HTTPBasicAuth

from ...schemas.errors import RegistryError
from ...schemas.secrets import resolve, shown
from .connection import OAuth

TOKEN_MARGIN: Final = 30.0
"""A token is asked for anew so many seconds before it ends."""
UNSAID_SECONDS: Final = 300.0
"""How long a token is taken to last that does not say it."""


class Busy(Exception):
    """Worth another try, after `pause` seconds at least."""

    def __init__(self, text: str, pause: float = 0.0) -> None:
        super().__init__(text)
        self.pause = pause


@dataclass(frozen=True)
class Credentials:
    """At most one way to say who we are: a user name, a bearer token or OAuth. The name and password are resolved."""

    username: str | None
    password: str | None = field(repr=False)
    token: str | None = field(repr=False)
    oauth: OAuth | None


def authorization(credentials: Credentials, verify: bool | str, timeout: float) -> AuthBase:
    """What adds the credentials to each request; `verify` and `timeout` (seconds) are for the OAuth server."""
    if credentials.oauth is not None:
        return _ClientCredentials(credentials.oauth, verify, timeout)
    if credentials.token is not None:
        return _Bearer(resolve(credentials.token))
    if credentials.username is not None:
        return HTTPBasicAuth(credentials.username.encode(), (credentials.password or "").encode())
    return _Nobody()


class _Nobody(AuthBase):
    """No credentials: requests would look for some in the user's netrc file otherwise."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        return request


@dataclass(slots=True)
class _Bearer(AuthBase):
    token: str

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self.token}"
        return request


@dataclass(slots=True)
class _ClientCredentials(AuthBase):
    """A token of the OAuth server, asked for when the last one is about to end."""

    oauth: OAuth
    verify: bool | str
    timeout: float
    _token: str = ""
    _until: float = 0.0

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if time.monotonic() >= self._until:
            self._fetch()
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request

    def _fetch(self) -> None:
        url = resolve(self.oauth.token_url)
        form = {"grant_type": "client_credentials"} | ({"scope": self.oauth.scope} if self.oauth.scope else {})
        who = HTTPBasicAuth(resolve(self.oauth.client_id).encode(), resolve(self.oauth.client_secret).encode())
        try:
            response = requests.post(
                url, data=form, auth=who, timeout=self.timeout, verify=self.verify, allow_redirects=False
            )
            status, answer = response.status_code, response.json()
        except requests.exceptions.JSONDecodeError:
            answer = None
        except requests.exceptions.RequestException:
            raise Busy(f"the OAuth server {shown(url)} does not answer") from None
        if status in (408, 429) or status >= 500:
            raise Busy(f"the OAuth server {shown(url)} answered {status}")
        if status != 200 or not isinstance(answer, dict) or not isinstance(answer.get("access_token"), str):
            reason = answer.get("error", "") if isinstance(answer, dict) else ""
            raise RegistryError(
                f"schema registry: the OAuth server {shown(url)} gave no token: answered {status} {reason!s:.100}"
            )
        self._token = answer["access_token"]
        lasts = answer.get("expires_in")
        self._until = time.monotonic() + max(
            0.0, (float(lasts) if isinstance(lasts, int | float) else 300.0) - TOKEN_MARGIN
        )
