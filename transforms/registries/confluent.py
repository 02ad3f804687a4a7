"""The HTTP schema registry (Confluent REST protocol): schemas by id, each fetched once a process."""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import quote

from ...schemas.encodings import ENCODINGS, SHORT_ENCODING
from ...schemas.encodings.schema_store import SchemaLanguage, Side
from ...schemas.errors import JobError, MillraceError, RegistryError, SchemaError, UnknownSchemaError
from ...schemas.secrets import shown
from ..retry import STOPPING
from .connection import Connection, OAuth, addresses

if TYPE_CHECKING:
    from .http_client import RegistryClient

LOGGER: Final = logging.getLogger("millrace")
REFUSALS_KEPT: Final = 10_000
REPLICA_SECONDS: Final = 3.0
"""How long an unknown id is asked for again: a replica may be behind the server that took the schema."""
REPLICA_PAUSE: Final = 0.5


@dataclass(frozen=True)
class ConfluentRegistry:
    """Schemas from a registry at `url`; holds the settings as written, so a pickle or `repr` has no resolved secret.

    `url` may be several with commas between, and may carry `user:password@`; every text may hold `${env:NAME}` and
    `${file:PATH}`. At most one of a user name, a bearer `token` and `oauth`. `ca`, `certificate` and `certificate_key`
    are PEM files. Seconds: `timeout` of one request, `give_up_after` for all tries of one schema,
    `remember_refusals` for which an unknown id is not asked for again. Schemas are read in the language of
    `encoding`, an encoding by its name. Objects with equal settings share one cache in a process. 5xx, 408, 429,
    timeouts and lost connections are tried again, with a WARNING each.
    An unknown id is asked for again for `REPLICA_SECONDS`, once in each `remember_refusals`.
    """

    url: str
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    ca: str | None = None
    certificate: str | None = None
    certificate_key: str | None = None
    timeout: float = 8.0
    give_up_after: float = 60.0
    remember_refusals: float = 30.0
    token: str | None = field(default=None, repr=False)
    oauth: OAuth | None = None
    encoding: str = SHORT_ENCODING

    def connection(self) -> Connection:
        """Where the registry is, and who asks it."""
        return Connection(
            urls=addresses(self.url),
            username=self.username,
            password=self.password,
            token=self.token,
            oauth=self.oauth,
            ca=self.ca,
            certificate=self.certificate,
            certificate_key=self.certificate_key,
            timeout=self.timeout,
            give_up_after=self.give_up_after,
        )

    def by_id(self, schema_id: int) -> Any:
        """The schema with this id; UnknownSchemaError, SchemaError (of another type) or RegistryError."""
        language = ENCODINGS.find(self.encoding).schema_language()
        return _cache(self).get(("id", schema_id), lambda client: _by_id(client, schema_id, language))

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

    def newest_id(self, topic: str, side: Side) -> int | None:
        """The id of the newest version of the subject `<topic>-<side>`; RegistryError."""
        subject = f"{topic}-{side}"
        what = f"the newest version of subject {subject!r}"
        path = f"/subjects/{quote(subject, safe='')}/versions/latest"
        try:
            found = _cache(self).ask(lambda client: client.get(path, what))
            return int(found["id"])
        except UnknownSchemaError:
            return None
        except (KeyError, TypeError, ValueError):
            raise RegistryError(f"{what}: the registry's answer lacks its id: is the url right?") from None

    def __repr__(self) -> str:
        return f"ConfluentRegistry({', '.join(shown(url) for url in addresses(self.url))!r})"


class _Cache:
    """Answers and refusals of one registry; one thread fetches at a time, known answers are read without a lock."""

    def __init__(self, settings: ConfluentRegistry) -> None:
        self.settings = settings
        self.lock = threading.Lock()
        self.client: RegistryClient | None = None
        self.answers: dict[Any, Any] = {}
        self.refusals: dict[Any, tuple[float, MillraceError]] = {}
        self.patient_from = 0.0

    def get(self, name: Any, fetch: Callable[["RegistryClient"], Any]) -> Any:
        if name in self.answers:
            return self.answers[name]
        with self.lock:
            if name in self.answers:
                return self.answers[name]
            until, refusal = self.refusals.get(name, (0.0, None))
            if refusal is not None and time.monotonic() < until:
                raise type(refusal)(*refusal.args)
            try:
                answer = self.answers[name] = self._patiently(self._opened(), fetch)
            except (UnknownSchemaError, SchemaError) as error:
                self._refuse(name, error)
                raise
            return answer

    def ask(self, fetch: Callable[["RegistryClient"], Any]) -> Any:
        """What the registry says now."""
        with self.lock:
            return fetch(self._opened())

    def _opened(self) -> "RegistryClient":
        if self.client is None:
            # The client library is imported by those who ask, not by those who read a job file.
            from .http_client import RegistryClient

            self.client = RegistryClient(self.settings.connection())
        return self.client

    def _patiently(self, client: "RegistryClient", fetch: Callable[["RegistryClient"], Any]) -> Any:
        """Fetch; what the registry does not know is asked for again for a while, unless that was in vain of late."""
        give_up = time.monotonic() + min(REPLICA_SECONDS, self.settings.give_up_after)
        while True:
            try:
                return fetch(client)
            except UnknownSchemaError as error:
                now = time.monotonic()
                if now < self.patient_from or now + REPLICA_PAUSE > give_up:
                    self.patient_from = max(self.patient_from, now + self.settings.remember_refusals)
                    raise
                LOGGER.warning("%s; asking again for %.0f s, since a replica may be behind", error, give_up - now)
                if STOPPING.wait(REPLICA_PAUSE):
                    raise

    def _refuse(self, name: Any, error: MillraceError) -> None:
        if len(self.refusals) >= REFUSALS_KEPT:
            self.refusals.clear()
        self.refusals[name] = (time.monotonic() + self.settings.remember_refusals, error)


@dataclass(frozen=True)
class _Registered:
    """An answer of the registry: the schema, parsed, and what it refers to as (name, subject, version)."""

    schema: Any
    references: tuple[tuple[str, str, int], ...]

    @classmethod
    def read(cls, answer: Mapping[str, Any], what: str, language: SchemaLanguage) -> Self:
        kind = answer.get("schemaType", "AVRO")
        if kind != language.registry_type:
            raise SchemaError(
                f"{what}: its type is {kind!s:.40}, and the job's encoding reads {language.registry_type}"
            )
        try:
            references = tuple(
                (str(part["name"]), str(part["subject"]), int(part["version"]))
                for part in answer.get("references") or ()
            )
            text = answer["schema"]
        except (KeyError, TypeError, ValueError):
            text = None
        if not isinstance(text, str):
            raise RegistryError(
                f"{what}: the registry's answer lacks 'schema' or a part of 'references': is the url right?"
            )
        try:
            return cls(language.parse(text), references)
        except SchemaError as error:
            raise SchemaError(f"{what}: {error}") from None


def _by_id(client: "RegistryClient", schema_id: int, language: SchemaLanguage) -> Any:
    what = f"schema id {schema_id}"
    found = _Registered.read(client.get(f"/schemas/ids/{schema_id}", what), what, language)
    types: dict[str, Any] = {}
    waiting, seen = list(found.references), set[tuple[str, int]]()
    while waiting:
        name, subject, version = waiting.pop()
        if (subject, version) in seen:
            continue
        seen.add((subject, version))
        part = f"{what}, which refers to version {version} of subject {subject!r}"
        path = f"/subjects/{quote(subject, safe='')}/versions/{version}?deleted=true"
        referred = _Registered.read(client.get(path, part), part, language)
        types.update(language.types(name, referred.schema))
        waiting.extend(referred.references)
    try:
        return language.complete(found.schema, types)
    except SchemaError as error:
        raise SchemaError(f"{what}: {error}") from None


_CACHES: Final[dict[ConfluentRegistry, _Cache]] = {}
_CACHES_LOCK: Final = threading.Lock()


def _cache(settings: ConfluentRegistry) -> _Cache:
    with _CACHES_LOCK:
        return _CACHES.setdefault(settings, _Cache(settings))
