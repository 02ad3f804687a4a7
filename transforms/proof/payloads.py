"""The reader of keys and values, by the encoding of the messages."""

from dataclasses import replace
from typing import Any, Protocol

from ...schemas.encodings.schema_store import Side
from ...schemas.errors import JobError
from .avro_reader import PayloadReader, Reader
from .documents import DocumentPayloads
from .flat_debezium import FlatPayloads
from .json_reader import JsonPayloadReader
from .plain_json_reader import PlainJsonReader
from .protobuf_reader import ProtobufReader
from .rules import Rules


class Payloads(Protocol):
    """Reads keys and values; keeps a reader for each schema that it meets."""

    def read(self, payload: bytes, topic: str, side: Side) -> tuple[Any, Reader]:
        """The value, and the reader of its schema. Raises one of UNREADABLE, or RegistryError, or JobError."""


def payload_reader(rules: Rules) -> Payloads:
    """A reader for messages of these rules. Raises JobError where they lack the schemas."""
    if rules.flat:
        plain = payload_reader(replace(rules, flat=False, format="upsert"))
        return FlatPayloads(plain, rules.format == "debezium", rules.on_unrepresentable)
    if rules.documents:
        plain = payload_reader(replace(rules, documents=False, format="upsert"))
        return DocumentPayloads(plain, rules.on_unrepresentable)
    if rules.encoding == "json" and rules.framing == "plain":
        return PlainJsonReader(rules)
    if rules.encoding == "json":
        return JsonPayloadReader(rules.on_unrepresentable)
    if rules.encoding == "protobuf":
        return ProtobufReader(rules)
    if rules.schemas is None:
        raise JobError("format: the proof needs the schemas of the messages")
    return PayloadReader(rules.schemas, rules.framing, rules.on_unrepresentable)
