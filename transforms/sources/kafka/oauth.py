"""Tokens for a login by OAUTHBEARER: from a file, or fetched with client credentials (RFC 6749, section 4.4)."""

import base64
import functools
import json
import threading
import time
from typing import Any, Final
from urllib.error import HTTPError
from urllib.parse import quote, urlencode, urlsplit
from urllib.request import Request, urlopen

from kafka.net.sasl.oauth import AbstractTokenProvider

from ....schemas.errors import JobError, SourceError

SECONDS: Final = 8.0
EARLY_SECONDS: Final = 30.0
"""A token is fetched again so long before it expires."""
LIFE_SECONDS: Final = 300.0
"""How long a token lasts whose server does not say so."""
NAMES: Final = (
    "sasl_oauth_token_file",
    "sasl_oauth_token_url",
    "sasl_oauth_client_id",
    "sasl_oauth_client_secret",
    "sasl_oauth_scope",
)
"""Settings of `source.client` that are ours, not kafka-python's."""


class TokenFile(AbstractTokenProvider):
    """A token that somebody else keeps fresh in a file, read at each login."""

    def __init__(self, path: str) -> None:
        self._path = path

    def token(self) -> str:
        """Raises SourceError where the file cannot be read or is empty."""
        try:
            with open(self._path) as file:
                found = file.read().strip()
        except OSError as error:
            raise SourceError(f"source.client.sasl_oauth_token_file: {self._path}: {error.strerror}") from None
        if not found:
            raise SourceError(f"source.client.sasl_oauth_token_file: {self._path} is empty")
        return found


class ClientCredentials(AbstractTokenProvider):
    """A token fetched from a server, kept until shortly before it expires. Thread-safe."""

    def __init__(self, url: str, client_id: str, secret: str, scope: str | None) -> None:
        self._url, self._client_id, self._secret, self._scope = url, client_id, secret, scope
        self._token, self._until, self._lock = "", 0.0, threading.Lock()

    def token(self) -> str:
        """Raises SourceError where the server does not answer, or refuses; without the secret."""
        with self._lock:
            if time.monotonic() >= self._until:
                self._fetch()
            return self._token

    def _fetch(self) -> None:
        where = f"source.client.sasl_oauth_token_url: {urlsplit(self._url).hostname}"
        form = {"grant_type": "client_credentials"} | ({"scope": self._scope} if self._scope else {})
        # RFC 6749, section 2.3.1: id and secret are form-encoded before they are joined.
        who = base64.b64encode(f"{quote(self._client_id, safe='')}:{quote(self._secret, safe='')}".encode()).decode()
        headers = {"Authorization": f"Basic {who}", "Content-Type": "application/x-www-form-urlencoded"}
        try:
            with urlopen(Request(self._url, urlencode(form).encode(), headers), timeout=SECONDS) as answer:
                found = json.loads(answer.read(1 << 20))
            self._token, life = str(found["access_token"]), float(found.get("expires_in", LIFE_SECONDS))
        except HTTPError as error:
            error.close()
            refused = error.code in (400, 401, 403)
            wrong = "client id and secret are not taken" if refused else "is it the right address?"
            raise SourceError(f"{where} answered {error.code}: {wrong}") from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise SourceError(f"{where} gives no token ({type(error).__name__}); check the address") from None
        self._until = time.monotonic() + max(0.0, life - EARLY_SECONDS)


@functools.lru_cache(maxsize=64)
def _client_credentials(url: str, client_id: str, secret: str, scope: str | None) -> ClientCredentials:
    return ClientCredentials(url, client_id, secret, scope)


def with_tokens(options: dict[str, Any]) -> dict[str, Any]:
    """kafka-python's options, in which a token provider stands for the settings of `NAMES`. Raises JobError."""
    given = {name.removeprefix("sasl_oauth_"): options[name] for name in NAMES if options.get(name)}
    rest = {name: value for name, value in options.items() if name not in NAMES}
    if not given:
        if rest.get("sasl_mechanism") == "OAUTHBEARER":
            raise JobError(
                "source.client: OAUTHBEARER needs sasl_oauth_token_file, or sasl_oauth_token_url with "
                "sasl_oauth_client_id and sasl_oauth_client_secret"
            )
        return rest
    if "token_file" in given:
        if len(given) > 1:
            raise JobError("source.client: sasl_oauth_token_file goes without the other settings sasl_oauth_*")
        return {**rest, "sasl_oauth_token_provider": TokenFile(given["token_file"])}
    for name in ("token_url", "client_id", "client_secret"):
        if name not in given:
            raise JobError(f"source.client.sasl_oauth_{name} is missing")
    if urlsplit(given["token_url"]).scheme not in ("http", "https"):
        raise JobError("source.client.sasl_oauth_token_url is not a http:// or https:// address")
    asked = (given["token_url"], given["client_id"], given["client_secret"], given.get("scope"))
    return {**rest, "sasl_oauth_token_provider": _client_credentials(*asked)}
