"""RabbitMQ's streams as a source."""

from typing import Final

from ..source import SourceSpec
from .options import RabbitmqOptions

SPEC: Final = SourceSpec(
    name="rabbitmq",
    source=f"{__name__}.source:open_source",
    options=RabbitmqOptions,
    extra="rabbitmq",
    files=("tls.cafile", "tls.certfile", "tls.keyfile"),
    libraries={"rstream": "message_log"},
)
