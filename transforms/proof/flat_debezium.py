"""Flat messages of Debezium, as the proof reads them: made an envelope again, which the proof knows to read.

The transform `ExtractNewRecordState` names fields of the envelope with two underscores, those of its source block with
`__source_` or with two underscores too.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from ...schemas.encodings.schema_store import Side
from ...schemas.model.unrepresentable import OnUnrepresentable
from .avro_reader import Reader
from .avro_validator import Malformed

_PLACES: Final = ("name", "server_id", "sequence", "lsn", "file", "pos", "row")
_OTHER_PLACES: Final = ("commit_scn", "scn", "commit_lsn", "change_lsn")
SOURCE: Final = {f"{start}{name}": name for name in (*_PLACES, *_OTHER_PLACES) for start in ("__", "__source_")}
SOURCE_TIME: Final = "__source_ts_ms"


class Payloads(Protocol):
    """As in `payloads`."""

    def read(self, payload: bytes, topic: str, side: Side) -> tuple[Any, Reader]:
        """The value, and the reader of its schema."""


@dataclass(slots=True)
class FlatPayloads:
    """Values without what the transform added; with `rewritten` as Debezium's envelopes, which they were."""

    inner: Payloads
    rewritten: bool
    policy: OnUnrepresentable
    _readers: dict[int, tuple[Reader, Reader]] = field(default_factory=dict)

    def read(self, payload: bytes, topic: str, side: Side) -> tuple[Any, Reader]:
        value, reader = self.inner.read(payload, topic, side)
        if side == "key":
            return value, reader
        if not isinstance(value, dict) or ("__deleted" in value) != self.rewritten:
            raise Malformed("no flat message, or its deletes are of the other kind")
        _, flat = self._readers.setdefault(id(reader), (reader, self._reader(reader)))
        row = {name: part for name, part in value.items() if not _added(name)}
        deleted = value.get("__deleted") in ("true", True)
        op = value.get("__op", "d" if deleted else "u")
        if op not in ("r", "c", "u", "d") or (op == "d") != deleted:
            raise Malformed(f"__op {op!r}")
        if not self.rewritten:
            return row, flat
        source = {SOURCE[name]: part for name, part in value.items() if name in SOURCE} if "__op" in value else {}
        before, after = (row, None) if deleted else (None, row)
        return {"op": op, "before": before, "after": after, "source": source}, flat

    def _reader(self, reader: Reader) -> Reader:
        """Of the row alone, or of an envelope with it."""
        row = _without_added(reader.schema)
        if not self.rewritten:
            return Reader.of(row, self.policy)
        space, name = row.get("namespace"), row["name"]
        named = f"{space}.{name}" if space and "." not in name else name
        fields = [{"name": "before", "type": row}, {"name": "after", "type": named}]
        return Reader.of({"type": "record", "name": "FlatEnvelope", "fields": fields}, self.policy)


def _added(name: str) -> bool:
    return name in ("__op", "__deleted", SOURCE_TIME) or name in SOURCE


def _without_added(schema: Any) -> Mapping[str, Any]:
    if not isinstance(schema, dict) or "fields" not in schema:
        raise Malformed("the value is no record")
    return {**schema, "fields": [part for part in schema["fields"] if not _added(part["name"])]}
