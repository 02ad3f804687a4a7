"""What stands before the datum in a message, as the proof reads it: which schema wrote it, and where it begins."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

from ...schemas.encodings.schema_store import SchemaStore, Side
from .avro_validator import Malformed

Framing = Literal["auto", "confluent", "single_object", "bare", "embedded", "plain"]
"""The last two are JSON's, which has nothing before it: its schema in each message, or none."""


@dataclass(frozen=True, slots=True, eq=False)
class Header:
    """A way of framing: the first bytes tell it, the next name the schema."""

    magic: bytes
    name_bytes: int

    @property
    def size(self) -> int:
        """Bytes before the datum."""
        return len(self.magic) + self.name_bytes


CONFLUENT: Final = Header(b"\0", 4)
SINGLE_OBJECT: Final = Header(b"\xc3\x01", 8)
HEADERS: Final[Mapping[Framing, tuple[Header, ...]]] = {
    "auto": (CONFLUENT, SINGLE_OBJECT),
    "confluent": (CONFLUENT,),
    "single_object": (SINGLE_OBJECT,),
    "bare": (),
}


class SchemaName(NamedTuple):
    """What names a schema: an id or fingerprint as it is in the message, or for bare data the topic and the side."""

    header: Header | None
    name: bytes
    topic: str
    side: Side

    def schema(self, schemas: SchemaStore) -> Any:
        """The schema. Raises SchemaError, UnknownSchemaError, RegistryError, JobError."""
        if self.header is CONFLUENT:
            return schemas.by_id(int.from_bytes(self.name, "big"))
        if self.header is SINGLE_OBJECT:
            return schemas.by_fingerprint(self.name)
        return schemas.by_topic(self.topic, self.side)


def unframe(payload: bytes, framing: Framing, topic: str, side: Side) -> tuple[SchemaName, int]:
    """The schema's name, and where the datum begins. Raises Malformed."""
    if framing == "bare":
        return SchemaName(None, b"", topic, side), 0
    for header in HEADERS[framing]:
        if payload.startswith(header.magic) and len(payload) >= header.size:
            return SchemaName(header, payload[len(header.magic) : header.size], "", "value"), header.size
    raise Malformed("no framing that is known")
