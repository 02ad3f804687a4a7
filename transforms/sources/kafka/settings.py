"""How to reach a Kafka cluster, with secrets kept as references."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import urlsplit

from ....schemas.errors import JobError
from ....schemas.secrets import REFERENCE, resolve
from ....schemas.suggestions import guess

_OWN: Final = frozenset(
    {"allow_auto_create_topics", "auto_offset_reset", "bootstrap_servers", "check_crcs", "enable_auto_commit"}
    | {"group_id", "group_instance_id", "isolation_level", "key_deserializer", "value_deserializer"}
)
_WORDS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "security_protocol": ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"),
        "sasl_mechanism": ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "GSSAPI", "OAUTHBEARER"),
    }
)
"""Settings that kafka-python compares as they are: one in other letters would mean no TLS and no login."""
_SECRETS: Final = frozenset({"sasl_plain_password", "ssl_password", "sasl_oauth_client_secret"})
_OBJECTS: Final = frozenset({"ssl_context", "sasl_oauth_token_provider"})


@dataclass(frozen=True, slots=True)
class KafkaSettings:
    """`client` holds kafka-python's option names; each text may hold `${env:NAME}` or `${file:PATH}`.

    The references are looked up by `resolved`, in the worker: this object, its repr and its pickle never hold a
    secret. Raises JobError for an option that kafka-python does not know, that Millrace sets itself, or that is a
    password written out.
    """

    bootstrap_servers: str
    client: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, value in self.client.items():
            _check(name, value)
        object.__setattr__(self, "client", dict(self.client))

    @property
    def key(self) -> tuple[Any, ...]:
        """Equal for equal settings, and hashable."""
        return (self.bootstrap_servers, *sorted(self.client.items()))

    def __hash__(self) -> int:
        return hash(self.key)

    def resolved(self) -> tuple[dict[str, Any], list[str]]:
        """kafka-python's options with the references looked up, and the texts that came from them.

        Raises JobError where a reference leads nowhere, or settings of OAUTHBEARER do not fit together.
        """
        servers = _resolved("bootstrap_servers", self.bootstrap_servers, place="source")
        options: dict[str, Any] = {"bootstrap_servers": [server.strip() for server in servers.split(",")]}
        secrets = []
        for name, value in self.client.items():
            options[name] = value
            if isinstance(value, str) and REFERENCE.search(value):
                options[name] = _resolved(name, value)
                secrets.append(options[name])
        from .oauth import with_tokens

        return with_tokens(options), secrets


@cache
def _options() -> Mapping[str, Any]:
    """The settings that a job can give, each with its default.

    The client library is imported where a job gives some: a small command takes less time than that.
    """
    from kafka import KafkaConsumer

    from .oauth import NAMES

    defaults = {
        name: default
        for name, default in KafkaConsumer.DEFAULT_CONFIG.items()
        if name not in _OWN and (default is None or isinstance(default, str | int | float))
    }
    return MappingProxyType(defaults | dict.fromkeys(NAMES))


def _resolved(name: str, value: str, place: str = "source.client") -> str:
    try:
        return resolve(value)
    except JobError as error:
        raise JobError(f"{place}.{name}: {error}") from None


def _check(name: str, value: Any) -> None:
    place = f"source.client.{name}"
    if name in _OWN:
        raise JobError(f"{place} is set by Millrace; remove it")
    if name in _OBJECTS or name not in _options():
        near = difflib.get_close_matches(name, set(_options()) - _OBJECTS, 1)
        hint = f"did you mean {near[0]!r}?" if near else "see kafka-python's KafkaConsumer for the options"
        raise JobError(f"{place} is not a client option that a job can set; {hint}")
    if not (value is None or isinstance(value, str | int | float)):
        raise JobError(f"{place} must be a text, a number or true or false, not {type(value).__name__}")
    if isinstance(value, str) and REFERENCE.search(value):
        return
    if isinstance(value, str) and (name in _SECRETS or _has_password(name, value)):
        raise JobError(f"{place} is a secret: write ${{env:NAME}} or ${{file:PATH}} instead of the value")
    if name in _WORDS and value is not None and value not in _WORDS[name]:
        said = ", ".join(_WORDS[name])
        raise JobError(f"{place}: {value!r} is not one of {said}{guess(str(value).upper(), _WORDS[name])}")
    if _is_number(_options()[name]) and value is not None and not _is_number(value):
        raise JobError(f"{place} must be a number, not {value!r}")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _has_password(name: str, value: str) -> bool:
    return name.endswith("proxy_url") and urlsplit(value).password is not None
