"""The HTTP schema registry (Confluent REST protocol): schemas by id, each fetched once a process."""

import json
import logging
import random
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self
from urllib.parse import quote, urljoin, urlsplit

import requests
from requests.auth import HTTPBasicAuth

from ...schemas.encodings.schema_store import Side, complete, definitions, parse
from ...schemas.errors import JobError, MillraceError, RegistryError, SchemaError, UnknownSchemaError
from ...schemas.secrets import resolve, resolve_url, shown

LOGGER: Final = logging.getLogger("millrace")

ANSWER_LIMIT: Final = 16 << 20
REFUSALS_KEPT: Final = 10_000
REDIRECTS: Final = 5
FIRST_PAUSE: Final = 0.2
LONGEST_PAUSE: Final = 10.0
ACCEPT: Final = "application/vnd.schemaregistry.v1+json, application/vnd.schemaregistry+json, application/json"


@dataclass(frozen=True)
class ConfluentRegistry:
    """Contracts from a registry at `url`; holds the settings as written, so a pickle or `repr` has no resolved secret.

    `url` may carry `user:password@`; every text may hold `${env:NAME}` and `${file:PATH}`. `ca`, `certificate`
    and `certificate_key` are PEM files. Seconds: `timeout` of one request, `give_up_after` for all tries of one
    schema, `remember_refusals` for which an unknown id is not asked for again. Objects with equal settings share
    one cache in a process. 5xx, 408, 429, timeouts and lost connections are tried again, with a WARNING each.
    """

    url: str
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    ca: str | None = None
    certificate: str | None = None
    certificate_key: str | None = None
    timeout: float = 10.0
    give_up_after: float = 60.0
    remember_refusals: float = 30.0

    def by_id(self, schema_id: int) -> Any:
        """The schema with this id; UnknownSchemaError, SchemaError (not Avro) or RegistryError."""
        return _cache(self).get(("id", schema_id), lambda client: _by_id(client, schema_id))

    def by_fingerprint(self, fingerprint: bytes) -> Any:
        """A registry cannot look a fingerprint up: always UnknownSchemaError."""
        raise UnknownSchemaError(
            f"schema fingerprint {fingerprint.hex()}: a registry finds schemas by id only; "
            "single-object encoding needs format.schemas, a folder of .avsc files"
        )

    def by_topic(self, topic: str, side: Side) -> Any:
        """A registry cannot tell which version wrote a bare datum: always JobError."""
        raise JobError(
            f"{topic}: bare data need one fixed schema; set format.schemas to a folder with {topic}-{side}.avsc"
        )

    def __repr__(self) -> str:
        return f"HttpContracts({shown(self.url)!r})"


class _Client:
    """One connection pool, with the secrets resolved; never leaves the process."""

    def __init__(self, settings: ConfluentRegistry) -> None:
        self.settings = settings
        self.base, username, password = _address(settings)
        self.shown = shown(self.base)
        self.session = requests.Session()
        self.session.headers["Accept"] = ACCEPT
        self.session.headers["Accept-Encoding"] = "identity"
        self.verify = resolve(settings.ca) if settings.ca else True
        key = settings.certificate_key or settings.certificate
        self.certificate = (resolve(settings.certificate), resolve(key)) if settings.certificate and key else None
        if username is not None:
            self.session.auth = HTTPBasicAuth(username.encode(), (password or "").encode())

    def get(self, path: str, what: str) -> Any:
        """The parsed JSON of an answer; tries again until `give_up_after`."""
        give_up = time.monotonic() + self.settings.give_up_after
        tries = 0
        while True:
            try:
                return self._once(path, what, give_up)
            except _Busy as busy:
                tries += 1
                pause = max(busy.pause, random.uniform(0.5, 1.0) * min(FIRST_PAUSE * 2**tries, LONGEST_PAUSE))
                left = give_up - time.monotonic()
                said = f"schema registry {self.shown}: {what}: {busy}"
                if pause >= left:
                    raise RegistryError(
                        f"{said}; gave up after {tries} tries in {self.settings.give_up_after:g} s"
                    ) from None
                LOGGER.warning("%s; next try in %.1f s, giving up in %.0f s", said, pause, left)
                time.sleep(pause)

    def _once(self, path: str, what: str, give_up: float) -> Any:
        url = self.base + path
        for _ in range(REDIRECTS):
            status, headers, body = self._exchange(url, give_up)
            if status not in (301, 302, 303, 307, 308):
                return self._answer(status, headers, body, what)
            url = self._redirected(url, headers.get("Location", ""))
        raise RegistryError(f"schema registry {self.shown}: {what}: more than {REDIRECTS} redirects")

    def _exchange(self, url: str, give_up: float) -> tuple[int, Mapping[str, str], bytes]:
        timeout = max(0.1, min(self.settings.timeout, give_up - time.monotonic()))
        try:
            # `verify` and `cert` are given here: on the session, REQUESTS_CA_BUNDLE would win over them.
            with self.session.get(
                url, timeout=timeout, stream=True, allow_redirects=False, verify=self.verify, cert=self.certificate
            ) as response:
                return response.status_code, response.headers, self._body(response, give_up)
        except requests.exceptions.SSLError as error:
            raise RegistryError(f"schema registry {self.shown}: TLS: {_tls_reason(error)}") from None
        except requests.exceptions.Timeout:
            raise _Busy(f"no answer within {timeout:.1f} s") from None
        except requests.exceptions.ContentDecodingError:
            raise _Busy("the answer cannot be decompressed") from None
        except (requests.exceptions.ConnectionError, requests.exceptions.ChunkedEncodingError):
            raise _Busy("the connection failed or was cut off") from None
        except requests.exceptions.RequestException as error:
            raise RegistryError(f"schema registry {self.shown}: {type(error).__name__}: is the url right?") from None
        except OSError as error:
            raise RegistryError(f"schema registry {self.shown}: a TLS file cannot be read: {error}") from None

    def _body(self, response: requests.Response, give_up: float) -> bytes:
        body = bytearray()
        for chunk in response.iter_content(1 << 16):
            body += chunk
            if len(body) > ANSWER_LIMIT:
                raise RegistryError(f"schema registry {self.shown}: an answer is larger than {ANSWER_LIMIT >> 20} MiB")
            if time.monotonic() > give_up:
                raise _Busy("the answer is too slow")
        return bytes(body)

    def _answer(self, status: int, headers: Mapping[str, str], body: bytes, what: str) -> Any:
        if status in (408, 429) or status >= 500:
            raise _Busy(f"answered {status}", _retry_after(headers))
        if status in (401, 403):
            raise RegistryError(
                f"schema registry {self.shown}: {what}: answered {status}: "
                + ("user name and password are missing or wrong" if status == 401 else "this user may not read it")
            )
        try:
            answer = json.loads(body)
        except (ValueError, RecursionError):
            answer = None
        if status == 404 and isinstance(answer, dict) and answer.get("error_code") != 404:
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


class _Busy(Exception):
    """Worth another try, after `pause` seconds at least."""

    def __init__(self, text: str, pause: float = 0.0) -> None:
        super().__init__(text)
        self.pause = pause


class _Cache:
    """Answers and refusals of one registry; one thread fetches at a time, known answers are read without a lock."""

    def __init__(self, settings: ConfluentRegistry) -> None:
        self.settings = settings
        self.lock = threading.Lock()
        self.client: _Client | None = None
        self.answers: dict[Any, Any] = {}
        self.refusals: dict[Any, tuple[float, MillraceError]] = {}

    def get(self, name: Any, fetch: Callable[[_Client], Any]) -> Any:
        if name in self.answers:
            return self.answers[name]
        with self.lock:
            if name in self.answers:
                return self.answers[name]
            until, refusal = self.refusals.get(name, (0.0, None))
            if refusal is not None and time.monotonic() < until:
                raise type(refusal)(*refusal.args)
            if self.client is None:
                self.client = _Client(self.settings)
            try:
                answer = self.answers[name] = fetch(self.client)
            except (UnknownSchemaError, SchemaError) as error:
                self._refuse(name, error)
                raise
            return answer

    def _refuse(self, name: Any, error: MillraceError) -> None:
        if len(self.refusals) >= REFUSALS_KEPT:
            self.refusals.clear()
        self.refusals[name] = (time.monotonic() + self.settings.remember_refusals, error)


@dataclass(frozen=True)
class _Registered:
    """An answer of the registry: the schema's JSON, and what it refers to as (name, subject, version)."""

    schema: Any
    references: tuple[tuple[str, str, int], ...]

    @classmethod
    def read(cls, answer: Mapping[str, Any], what: str) -> Self:
        kind = answer.get("schemaType", "AVRO")
        if kind != "AVRO":
            raise SchemaError(f"{what}: its type is {kind!s:.40}, and Millrace reads AVRO")
        try:
            references = tuple(
                (str(part["name"]), str(part["subject"]), int(part["version"]))
                for part in answer.get("references") or ()
            )
            text = answer["schema"]
        except (KeyError, TypeError, ValueError):
            raise RegistryError(f"{what}: the registry's answer lacks 'schema' or a part of 'references'") from None
        try:
            return cls(parse(text), references)
        except SchemaError as error:
            raise SchemaError(f"{what}: {error}") from None


def _by_id(client: _Client, schema_id: int) -> Any:
    what = f"schema id {schema_id}"
    found = _Registered.read(client.get(f"/schemas/ids/{schema_id}", what), what)
    types: dict[str, Any] = {}
    waiting, seen = list(found.references), set[tuple[str, int]]()
    while waiting:
        _, subject, version = waiting.pop()
        if (subject, version) in seen:
            continue
        seen.add((subject, version))
        part = f"{what}, which refers to version {version} of subject {subject!r}"
        path = f"/subjects/{quote(subject, safe='')}/versions/{version}?deleted=true"
        referred = _Registered.read(client.get(path, part), part)
        types.update(definitions(referred.schema))
        waiting.extend(referred.references)
    try:
        return complete(found.schema, types)
    except SchemaError as error:
        raise SchemaError(f"{what}: {error}") from None


_CACHES: Final[dict[ConfluentRegistry, _Cache]] = {}
_CACHES_LOCK: Final = threading.Lock()


def _cache(settings: ConfluentRegistry) -> _Cache:
    with _CACHES_LOCK:
        return _CACHES.setdefault(settings, _Cache(settings))


def _address(settings: ConfluentRegistry) -> tuple[str, str | None, str | None]:
    """(url without user information, user name, password), with the secrets resolved."""
    base, username, password = resolve_url(settings.url)
    parts = urlsplit(base)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise JobError(f"format.registry: {shown(settings.url)!r} is not a http:// or https:// address")
    if parts.query or parts.fragment:
        raise JobError(f"format.registry: {shown(settings.url)!r} must end with its path: no '?' and no '#'")
    if settings.username is not None:
        username, password = resolve(settings.username), resolve(settings.password or "")
    return base.rstrip("/"), username, password


def _retry_after(headers: Mapping[str, str]) -> float:
    text = headers.get("Retry-After", "")
    return min(float(text), LONGEST_PAUSE) if re.fullmatch(r"\d{1,9}", text) else 0.0


def _tls_reason(error: Exception) -> str:
    found = re.search(r"certificate verify failed: ([^()]*)", str(error))
    return f"the registry's certificate is refused: {found[1].strip()}" if found else "the handshake failed"
