"""What a job file says of Kafka."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo

from ....schemas.errors import JobError
from ....schemas.option_values import distinct, listed, one_or_more
from ....schemas.options import Options, folder_of, located, mistake
from .settings import KafkaSettings

SERVER: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\s:/@\[\],]+)(:\d{1,5})?")
FILES: Final = ("ssl_cafile", "ssl_certfile", "ssl_keyfile", "ssl_crlfile")


def _split(value: Any) -> Any:
    """Servers as a list, or as one text separated by commas."""
    entries = listed(value)
    if not isinstance(entries, list | tuple):
        return entries
    return [part for text in entries for part in (text.split(",") if isinstance(text, str) else [text])]


def _check_server(text: str) -> str:
    server = text.strip()
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
    return {
        name: located(value, folder) if name in FILES and isinstance(value, str) else value
        for name, value in client.items()
    }


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
