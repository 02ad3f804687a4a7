"""Decoders of one topic, of Avro as the job file says it, for blocks of Kafka's record batches."""

from millrace.schemas.encodings.avro.encoding import AvroEncoding
from millrace.schemas.encodings.avro.framing import Framing
from millrace.schemas.encodings.avro.options import AvroOptions
from millrace.schemas.encodings.schema_store import SchemaStore
from millrace.schemas.envelopes import ENVELOPES
from millrace.schemas.model.route import Route
from millrace.transforms.sources.kafka.settings import KafkaSettings
from millrace.transforms.sources.kafka.source import KafkaSource
from millrace.transforms.sources.source import Source
from millrace.transforms.steps.block_decoders import BlockDecoder, BlockDecoders

NOWHERE = KafkaSource(KafkaSettings("nowhere:1"))


def avro_format(
    envelope: str, schemas: SchemaStore, framing: Framing = Framing.AUTO, source: Source = NOWHERE
) -> BlockDecoders:
    """Avro in one of the envelopes."""
    encoding = AvroEncoding(AvroOptions(framing=framing), schemas)
    return BlockDecoders(source=source, encoding=encoding, envelope=ENVELOPES[envelope].open())


def avro_decoder(
    envelope: str, schemas: SchemaStore, topic: str, route: Route, framing: Framing = Framing.AUTO
) -> BlockDecoder:
    """A decoder of the topic's blocks."""
    return avro_format(envelope, schemas, framing).decoder(topic, route)
