"""What a job file says of RabbitMQ."""

import re
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field

from ....schemas.option_values import Words, read_secret, refuse_password
from ....schemas.options import Location, Options, has_reference, unless_reference

SERVER: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\s:/@\[\],]+)(:\d{1,5})?")
PORT: Final = 5552
TLS_PORT: Final = 5551
KEY: Final = re.compile(
    r"(message_id|user_id|to|subject|reply_to|correlation_id|group_id|reply_to_group_id)"
    r"|(application_properties|message_annotations)\.(.+)"
)
KEY_FORMS: Final = (
    "a property of the message, such as message_id or subject, application_properties.NAME or message_annotations.NAME"
)


def address(server: str, port: int = PORT) -> tuple[str, int]:
    """Host and port of `host:port`, `host` or `[address]:port`."""
    host, _, number = server.rpartition(":")
    if not host or server.endswith("]"):
        return server.strip("[]"), port
    return host.strip("[]"), int(number)


def _check_server(server: str) -> None:
    if has_reference(server):
        return
    if SERVER.fullmatch(server) is None or int(address(server)[1]) > 65535:
        raise ValueError(f"{'one of the servers' if '@' in server else repr(server)} is not written host:port")


def _check_servers(servers: tuple[str, ...]) -> tuple[str, ...]:
    for server in servers:
        _check_server(server)
    return servers


def _check_key(key: str) -> str:
    if KEY.fullmatch(key) is None:
        raise ValueError(f"{key!r} is not {KEY_FORMS}")
    return key


def _check_url(url: str) -> str:
    if not url.startswith(("http://", "https://")):
        raise ValueError(f"{url!r} is no URL of the management plugin, as http://host:15672")
    return url.rstrip("/")


class TlsOptions(Options):
    """How the server shows who it is, and how the job does."""

    cafile: Location | None = Field(default=None, description="Certificates that are trusted; else the system's.")
    certfile: Location | None = Field(
        default=None, description="The job's own certificate, for servers that ask for it."
    )
    keyfile: Location | None = Field(default=None, description="The private key of that certificate.")


class RabbitmqOptions(Options):
    """How to reach the streams of a virtual host, and what is a message's key."""

    servers: Annotated[Words, AfterValidator(_check_servers)] = Field(
        description="host:port of some nodes; the port is that of the stream protocol."
    )
    virtual_host: str = Field(default="/", description="The virtual host that holds the streams.")
    username: str = Field(default="guest", description="A user that may read the streams.")
    password: Annotated[str, AfterValidator(read_secret)] | None = Field(
        default=None, repr=False, description="Its password, as a reference; without it: guest."
    )
    tls: TlsOptions | None = Field(default=None, description="Speak TLS; `{}` trusts the system's certificates.")
    key: Annotated[str, unless_reference(_check_key)] = Field(
        default="message_id", description="The property of a message that is its key."
    )
    body: Literal["amqp", "raw"] = Field(
        default="amqp", description="Messages are AMQP 1.0, as RabbitMQ's clients write them, or bytes without a key."
    )
    management: Annotated[str, AfterValidator(refuse_password), unless_reference(_check_url)] | None = Field(
        default=None, description="URL of the management plugin, which lists streams: needed by topic_pattern."
    )
