"""HTTP to a schema registry: its addresses, who we are, what is tried again, and what an answer means."""

import email.utils
import json
import logging
import re
import time
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urljoin, urlsplit

import requests

from ...schemas.errors import JobError, RegistryError, UnknownSchemaError
from ...schemas.secrets import resolve, resolve_url, shown
from ..retry import STOPPING, Backoff
from .authorization import Busy, Credentials, authorization
from .connection import Connection

LOGGER: Final = logging.getLogger("millrace")

ANSWER_LIMIT: Final = 16 << 20
REDIRECTS: Final = 5
FIRST_PAUSE: Final = 0.2
LONGEST_PAUSE: Final = 10.0
BACKOFF: Final = Backoff(2 * FIRST_PAUSE, LONGEST_PAUSE)
ACCEPT: Final = "application/vnd.schemaregistry.v1+json, application/vnd.schemaregistry+json, application/json"
UNKNOWN: Final = (40401, 40402, 40403)
"""The registry's own codes for a subject, a version and a schema that it does not have; a gateway's 404 has none."""


class RegistryClient:
    """One connection pool, with the secrets resolved; never leaves the process. Not for several threads at once."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        addresses = [_address(url) for url in connection.urls]
        self._bases = [base for base, _, _ in addresses]
        self._verify = resolve(connection.ca) if connection.ca else True
        key = connection.certificate_key or connection.certificate
        self._certificate = (resolve(connection.certificate), resolve(key)) if connection.certificate and key else None
        self._session = requests.Session()
        self._session.headers["Accept"] = ACCEPT
        self._session.headers["Accept-Encoding"] = "identity"
        _, username, password = addresses[0]
        if connection.username is not None:
            username, password = resolve(connection.username), resolve(connection.password or "")
        credentials = Credentials(username, password, connection.token, connection.oauth)
        self._session.auth = authorization(credentials, self._verify, connection.timeout)

    @property
    def shown(self) -> str:
        """The address that is asked now, for people."""
        return shown(self._bases[0])

    def get(self, path: str, what: str) -> Any:
        """The parsed JSON of an answer; tries again, at the next address, until `give_up_after`.

        Raises RegistryError, UnknownSchemaError.
        """
        give_up = time.monotonic() + self._connection.give_up_after
        tries = 0
        while True:
            try:
                return self._once(path, what, give_up)
            except Busy as busy:
                tries += 1
                pause = max(busy.pause, BACKOFF.pause(tries))
                left = give_up - time.monotonic()
                said = f"schema registry {self.shown}: {what}: {busy}"
                if pause >= left:
                    raise RegistryError(
                        f"{said}; gave up after {tries} tries in {self._connection.give_up_after:g} s"
                    ) from None
                if len(self._bases) > 1:
                    self._bases.append(self._bases.pop(0))
                    pause = min(pause, FIRST_PAUSE) if tries % len(self._bases) else pause
                LOGGER.warning("%s; next try in %.1f s, giving up in %.0f s", said, pause, left)
                if STOPPING.wait(pause):
                    raise RegistryError(f"{said}; gave up, since the run was told to end") from None

    def _once(self, path: str, what: str, give_up: float) -> Any:
        url = self._bases[0] + path
        for _ in range(REDIRECTS):
            status, headers, body = self._exchange(url, give_up)
            if status not in (301, 302, 303, 307, 308):
                return self._answer(status, headers, body, what)
            url = self._redirected(url, headers.get("Location", ""))
        raise RegistryError(f"schema registry {self.shown}: {what}: more than {REDIRECTS} redirects")

    def _exchange(self, url: str, give_up: float) -> tuple[int, Mapping[str, str], bytes]:
        timeout = max(0.1, min(self._connection.timeout, give_up - time.monotonic()))
        try:
            # `verify` and `cert` are given here: on the session, REQUESTS_CA_BUNDLE would win over them.
            with self._session.get(
                url, timeout=timeout, stream=True, allow_redirects=False, verify=self._verify, cert=self._certificate
            ) as response:
                return response.status_code, response.headers, self._body(response, give_up)
        except requests.exceptions.SSLError as error:
            raise RegistryError(f"schema registry {self.shown}: TLS: {_tls_reason(error)}") from None
        except requests.exceptions.Timeout:
            raise Busy(f"no answer within {timeout:.1f} s") from None
        except requests.exceptions.ContentDecodingError:
            raise Busy("the answer cannot be decompressed") from None
        except (requests.exceptions.ConnectionError, requests.exceptions.ChunkedEncodingError):
            raise Busy("the connection failed or was cut off") from None
        except requests.exceptions.RequestException as error:
            raise RegistryError(f"schema registry {self.shown}: {type(error).__name__}: is the url right?") from None
        except OSError as error:
            raise RegistryError(f"schema registry {self.shown}: a TLS file cannot be read: {error}") from None

    def _body(self, response: requests.Response, give_up: float) -> bytes:
        body = bytearray()
        for chunk in response.iter_content(1 << 16):
            # An answer that is there in one piece is good, though it came in the last moment.
            if body and time.monotonic() > give_up:
                raise Busy("the answer is too slow")
            body += chunk
            if len(body) > ANSWER_LIMIT:
                raise RegistryError(f"schema registry {self.shown}: an answer is larger than {ANSWER_LIMIT >> 20} MiB")
        return bytes(body)

    def _answer(self, status: int, headers: Mapping[str, str], body: bytes, what: str) -> Any:
        if status in (408, 429) or status >= 500:
            raise Busy(f"answered {status}", _retry_after(headers))
        if status in (401, 403):
            by_token = self._connection.token is not None or self._connection.oauth is not None
            wrong = "the token is not taken" if by_token else "user name and password are missing or wrong"
            reason = wrong if status == 401 else "this user may not read it"
            raise RegistryError(f"schema registry {self.shown}: {what}: answered {status}: {reason}")
        try:
            answer = json.loads(body)
        except (ValueError, RecursionError):
            answer = None
        if status == 404 and isinstance(answer, dict) and answer.get("error_code") in UNKNOWN:
            raise UnknownSchemaError(f"{what}: schema registry {self.shown} does not know it")
        if status != 200 or not isinstance(answer, dict):
            raise RegistryError(
                f"schema registry {self.shown}: {what}: answered {status}, not as a registry does: is the url right?"
            )
        return answer

    def _redirected(self, url: str, location: str) -> str:
        target = urljoin(url, location)
        here, there = urlsplit(url), urlsplit(target)
        if not location or (here.scheme, here.netloc) != (there.scheme, there.netloc):
            raise RegistryError(
                f"schema registry {self.shown}: redirects to {there.scheme}://{there.netloc.rpartition('@')[2]}; "
                "redirects to another host are not followed, set the url to it"
            )
        return target


def _address(url: str) -> tuple[str, str | None, str | None]:
    """(url without user information, user name, password), with the secrets resolved."""
    base, username, password = resolve_url(url)
    parts = urlsplit(base)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise JobError(f"format.registry: {shown(url)!r} is not a http:// or https:// address")
    if parts.query or parts.fragment:
        raise JobError(f"format.registry: {shown(url)!r} must end with its path: no '?' and no '#'")
    return base.rstrip("/"), username, password


def _retry_after(headers: Mapping[str, str]) -> float:
    """Seconds that a busy registry asks us to wait, written as a number or as a date (RFC 9110, section 10.2.3)."""
    text = headers.get("Retry-After", "").strip()
    if re.fullmatch(r"\d{1,9}", text):
        return min(float(text), LONGEST_PAUSE)
    try:
        moment = email.utils.parsedate_to_datetime(text)
    except ValueError:
        return 0.0
    return min(max(0.0, moment.timestamp() - time.time()), LONGEST_PAUSE)


def _tls_reason(error: Exception) -> str:
    refused = re.search(r"certificate verify failed: ([^()]*)", str(error))
    return f"the registry's certificate is refused: {refused[1].strip()}" if refused else "the handshake failed"
