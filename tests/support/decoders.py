"""Decoders of one topic, of Avro as the job file says it."""

from millrace.schemas.encodings.avro.encoding import AvroEncoding
from millrace.schemas.encodings.avro.options import AvroOptions
from millrace.schemas.encodings.schema_store import SchemaStore
from millrace.schemas.encodings.wire_format import Framing
from millrace.schemas.envelopes import ENVELOPES
from millrace.schemas.envelopes.decoder import TopicDecoder
from millrace.schemas.model.route import Route
from millrace.schemas.options import Options
from millrace.transforms.steps.decode import Format


def avro_format(envelope: str, schemas: SchemaStore, framing: Framing = Framing.AUTO) -> Format:
    """Avro in one of the envelopes."""
    return Format(
        encoding=AvroEncoding(AvroOptions(framing=framing), schemas), envelope=ENVELOPES[envelope].open(Options())
    )


def avro_decoder(
    envelope: str, schemas: SchemaStore, topic: str, route: Route, framing: Framing = Framing.AUTO
) -> TopicDecoder:
    """A decoder of the topic."""
    return avro_format(envelope, schemas, framing).decoder(topic, route)
