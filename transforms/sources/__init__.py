"""Where change streams come from. Here is the registry of sources; their contract is in `source`."""

from typing import Final

from ...schemas.plugins import Plugins
from . import kafka, mysql, postgres, rabbitmq, scripted

SOURCES: Final = Plugins(
    "millrace.sources", "source.type", (kafka.SPEC, mysql.SPEC, postgres.SPEC, rabbitmq.SPEC, scripted.SPEC)
)
