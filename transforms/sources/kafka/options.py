"""What a job file says of Kafka."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo

from ....schemas.errors import JobError
from ....schemas.option_values import distinct, listed, one_or_more
from ....schemas.options import Options, folder_of, has_reference, located, mistake
from .settings import KafkaSettings

SERVER: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\s:/@\[\],]+)(:\d{1,5})?")
PASSWORDS: Final = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
MECHANISMS: Final = "PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, GSSAPI or OAUTHBEARER"
LOGIN: Final = ("sasl_plain_username", "sasl_plain_password")
FILES: Final = ("ssl_cafile", "ssl_certfile", "ssl_keyfile", "ssl_crlfile")
LOCATED: Final = (*FILES, "sasl_oauth_token_file")
"""Settings that are paths, relative to the job file; a bundle takes those of `FILES` along."""


def _split(value: Any) -> Any:
    """Servers as a list, or as one text separated by commas."""
    entries = listed(value)
    if not isinstance(entries, list | tuple):
        return entries
    return [part for text in entries for part in (text.split(",") if isinstance(text, str) else [text])]


def _check_server(text: str) -> str:
    server = text.strip()
    if has_reference(server):
        return server
    if SERVER.fullmatch(server) is None or int(server.rpartition(":")[2] or 0 if ":" in server else 0) > 65535:
        said = "one of the servers" if "@" in server else repr(server)
        raise ValueError(f"{said} is not written host:port")
    return server


def _read_client(client: Mapping[str, Any], info: ValidationInfo) -> Mapping[str, Any]:
    """Options that kafka-python knows; paths of certificates are relative to the job file."""
    folder = folder_of(info)
    for name, value in client.items():
        try:
            KafkaSettings("", {name: value})
        except JobError as error:
            raise mistake(str(error), name) from None
    if folder is None:
        return client
    _check_protocol(client)
    return {
        name: located(value, folder) if name in LOCATED and isinstance(value, str) else value
        for name, value in client.items()
    }


def _check_protocol(client: Mapping[str, Any]) -> None:
    """Refuse settings of TLS or a login that the protocol leaves unused, and a login that cannot work.

    kafka-python takes them without a word, and would send what it reads in clear. Raises ValidationError.
    """
    protocol = client.get("security_protocol") or "PLAINTEXT"
    if has_reference(protocol):
        return
    given = [name for name, value in client.items() if value is not None]
    login = [name for name in given if name.startswith("sasl_")]
    tls = [name for name in given if name.startswith("ssl_")]
    unused = login[:1] if "SASL" not in protocol else []
    unused += tls[:1] if "SSL" not in protocol else []
    if unused:
        right = "SASL_PLAINTEXT or SASL_SSL" if login else "SSL"
        if (login or "SASL" in protocol) and (tls or "SSL" in protocol):
            right = "SASL_SSL"
        said = protocol if "security_protocol" in client else f"{protocol}, the default"
        raise mistake(f"has no effect with security_protocol: {said}; write security_protocol: {right}", unused[0])
    if "SASL" not in protocol:
        return
    mechanism = client.get("sasl_mechanism")
    if mechanism is None:
        raise mistake(f"{protocol} needs a login: add sasl_mechanism: {MECHANISMS}", "security_protocol")
    needed = [name for name in LOGIN if name not in given]
    if mechanism in PASSWORDS and needed:
        raise mistake(f"{mechanism} needs a user name and a password: add {' and '.join(needed)}", "sasl_mechanism")


Servers = Annotated[
    tuple[Annotated[str, AfterValidator(_check_server)], ...],
    AfterValidator(distinct),
    BeforeValidator(_split, json_schema_input_type=one_or_more(str)),
]


class KafkaOptions(Options):
    """How to reach a cluster."""

    bootstrap_servers: Servers = Field(description="host:port of some brokers: a list, or one text with commas.")
    client: Annotated[Mapping[str, Any], AfterValidator(_read_client)] = Field(
        default={},
        repr=False,
        description="kafka-python's settings, such as security_protocol; secrets as references.",
    )

    @property
    def kafka(self) -> KafkaSettings:
        """The settings; secrets are still references."""
        return KafkaSettings(",".join(self.bootstrap_servers), self.client)
