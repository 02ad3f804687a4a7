"""Documents of MongoDB in Debezium's envelope, for the proof: rows of one column beside the key of the message."""

import json
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from ...schemas.encodings.schema_store import Side
from ...schemas.model.unrepresentable import OnUnrepresentable
from .avro_reader import Reader
from .avro_validator import Malformed

ROW: Final = {"type": "record", "name": "Row", "fields": [{"name": "document", "type": "string"}]}
ENVELOPE: Final = {
    "type": "record",
    "name": "Documents",
    "fields": [{"name": "before", "type": ["null", ROW]}, {"name": "after", "type": ["null", "Row"]}],
}


class Payloads(Protocol):
    """As in `payloads`."""

    def read(self, payload: bytes, topic: str, side: Side) -> tuple[Any, Reader]:
        """The value, and the reader of its schema."""


@dataclass(slots=True)
class DocumentPayloads:
    """Keeps the contract of `Payloads`: envelopes with rows where the messages have texts."""

    inner: Payloads
    policy: OnUnrepresentable
    _reader: Reader = field(init=False)

    def __post_init__(self) -> None:
        self._reader = Reader.of(json.loads(json.dumps(ENVELOPE)), self.policy)

    def read(self, payload: bytes, topic: str, side: Side) -> tuple[Any, Reader]:
        value, reader = self.inner.read(payload, topic, side)
        if side == "key" or not isinstance(value, dict):
            return value, reader
        document, source = value.get("after"), value.get("source")
        if type(document) not in (str, type(None)) or not isinstance(source, dict | None):
            raise Malformed("after is no text, or source no record")
        row = None if document is None else {"document": document}
        return {"op": value.get("op"), "after": row, "before": None, "source": source}, self._reader
