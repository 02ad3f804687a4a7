"""Payloads as Python rows, for the proof only: fastavro, after a strict validator. It shares no code with the job.

Each payload is validated first, because fastavro 1.13 accepts what is no Avro (varints beyond 64 bits, negative
branches and symbols, a boolean of 2) and crashes on deep recursion.
"""

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import fastavro

from ...schemas.encodings.schema_store import SchemaStore, Side
from ...schemas.errors import SchemaError, UnknownSchemaError
from ...schemas.model.unrepresentable import OnUnrepresentable
from .avro_validator import Malformed, validator
from .avro_values import Convert, converter, field_converter, has_invalid_symbols
from .framing import Framing, SchemaName, unframe

UNREADABLE: Final = (Malformed, IndexError, EOFError, ValueError, SchemaError, UnknownSchemaError)


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads what one schema wrote: `read` gives fastavro's plain values, `convert` makes canonical ones of them.

    `parsed` is the schema as fastavro takes it, `end_of` the validator: (payload, start) -> end of the datum. `convert`
    is None where plain values are canonical already, `key_convert` that of keys: nothing stands in the place of a key.
    """

    schema: Any
    parsed: Any
    end_of: Callable[[bytes, int], int]
    convert: Convert | None
    key_convert: Convert | None
    policy: OnUnrepresentable
    parts: dict[tuple[str, OnUnrepresentable], Convert | None] = field(default_factory=dict)

    @classmethod
    def of(cls, schema: Any, policy: OnUnrepresentable = OnUnrepresentable.NULL_AND_NOTE) -> "Reader":
        try:
            parsed = fastavro.parse_schema(_plain(schema))
            convert, key_convert = (converter(schema, one) for one in (policy, _of_keys(policy)))
            return cls(schema, parsed, validator(schema), convert, key_convert, policy)
        except (fastavro.schema.SchemaParseException, fastavro.schema.UnknownType, KeyError, TypeError) as error:
            raise SchemaError(f"not an Avro schema: {error}") from None

    def read(self, payload: bytes, at: int) -> Any:
        """The datum at `at`, which must end with the payload; raises one of UNREADABLE."""
        if self.end_of(payload, at) != len(payload):
            raise Malformed("bytes are left after the datum")
        stream = io.BytesIO(payload)
        stream.seek(at)
        return fastavro.schemaless_reader(stream, self.parsed, None)

    def convert_part(self, name: str) -> Convert | None:
        """As `convert`, for the value of one field of the record."""
        return self._part(name, self.policy)

    def convert_key_part(self, name: str) -> Convert | None:
        """As `key_convert`, for the value of one field of the record."""
        return self._part(name, _of_keys(self.policy))

    def _part(self, name: str, policy: OnUnrepresentable) -> Convert | None:
        if (name, policy) not in self.parts:
            self.parts[name, policy] = field_converter(self.schema, name, policy)
        return self.parts[name, policy]

    def part_schema(self, name: str) -> Mapping[str, Any]:
        """The Avro type of one field of the record, without null."""
        return _type_of(next(part["type"] for part in self.schema["fields"] if part["name"] == name))


class PayloadReader:
    """Reads keys and values; keeps a reader for each schema that messages name."""

    def __init__(
        self,
        schemas: SchemaStore,
        framing: Framing = "auto",
        policy: OnUnrepresentable = OnUnrepresentable.NULL_AND_NOTE,
    ) -> None:
        self._schemas, self._framing, self._policy = schemas, framing, policy
        self._readers: dict[SchemaName, Reader] = {}
        self._bad_schemas: dict[SchemaName, str] = {}

    def read(self, payload: bytes, topic: str, side: Side) -> tuple[Any, Reader]:
        """The datum and its reader; raises one of UNREADABLE, or RegistryError, or JobError."""
        name, at = unframe(payload, self._framing, topic, side)
        reader = self._readers.get(name)
        if reader is None:
            reader = self._readers[name] = self._new_reader(name)
        return reader.read(payload, at), reader

    def _new_reader(self, name: SchemaName) -> Reader:
        if name in self._bad_schemas:
            raise SchemaError(self._bad_schemas[name])
        schema = name.schema(self._schemas)
        try:
            return Reader.of(schema, self._policy)
        except SchemaError as error:
            self._bad_schemas[name] = str(error)
            raise


def _of_keys(policy: OnUnrepresentable) -> OnUnrepresentable:
    return policy if policy is OnUnrepresentable.TEXT else OnUnrepresentable.DEAD_LETTER


def _type_of(schema: Any) -> Mapping[str, Any]:
    if isinstance(schema, list):
        return next((_type_of(branch) for branch in schema if branch != "null"), {"type": "null"})
    if isinstance(schema, str):
        return {"type": schema}
    return schema if isinstance(schema["type"], str) else _type_of(schema["type"])


def _plain(schema: Any) -> Any:
    """The schema as fastavro shall read it: without logical types, so that numbers and bytes come as they were written.

    Defaults are dropped: they mean nothing to who reads with the writer's schema, and fastavro refuses a schema for a
    wrong one. It also refuses enum symbols that are no names: they are replaced by numbers, which `avro_values`
    translates back.
    """
    if isinstance(schema, list):
        return [_plain(part) for part in schema]
    if isinstance(schema, dict) and has_invalid_symbols(schema):
        return {**schema, "symbols": [f"_{number}" for number in range(len(schema["symbols"]))], "default": "_0"}
    if isinstance(schema, dict):
        return {name: _plain(part) for name, part in schema.items() if name not in ("logicalType", "default")}
    return schema
