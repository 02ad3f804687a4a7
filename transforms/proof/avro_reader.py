"""Payloads as Python rows, for the proof only: fastavro, behind a strict validator. It shares no code with the job.

fastavro 1.13 takes what is no Avro (varints beyond 64 bits, branches and
symbols below zero, a boolean of 2) and dies of deep recursion, so each payload is validated first.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import fastavro

from ...schemas.encodings.schema_store import SchemaStore, Side
from ...schemas.errors import SchemaError, UnknownSchemaError
from .avro_validator import Malformed, walker
from .avro_values import Convert, converter, field_converter, odd_symbols
from .framing import Framing, SchemaName, unframe

UNREADABLE: Final = (Malformed, IndexError, EOFError, ValueError, SchemaError, UnknownSchemaError)


@dataclass(frozen=True, slots=True)
class Reader:
    """Of one writer's schema: `read` gives plain fastavro values, `convert` makes canonical ones of them."""

    schema: Any
    parsed: Any
    walk: Callable[[bytes, int], int]
    convert: Convert | None
    parts: dict[str, Convert | None] = field(default_factory=dict)

    @classmethod
    def of(cls, schema: Any) -> "Reader":
        try:
            parsed = fastavro.parse_schema(_plain(schema))
            return cls(schema, parsed, walker(schema), converter(schema))
        except (fastavro.schema.SchemaParseException, fastavro.schema.UnknownType, KeyError, TypeError) as error:
            raise SchemaError(f"not an Avro schema: {error}") from None

    def read(self, payload: bytes, at: int) -> Any:
        """The datum at `at`, which must end with the payload; raises one of UNREADABLE."""
        if self.walk(payload, at) != len(payload):
            raise Malformed("bytes are left behind the datum")
        stream = io.BytesIO(payload)
        stream.seek(at)
        return fastavro.schemaless_reader(stream, self.parsed, None)

    def convert_part(self, name: str) -> Convert | None:
        """As `convert`, for the value of one field of the record."""
        if name not in self.parts:
            self.parts[name] = field_converter(self.schema, name)
        return self.parts[name]

    def part_type(self, name: str) -> str:
        """The Avro type's name of one field of the record, without null."""
        return _type_name(next(part["type"] for part in self.schema["fields"] if part["name"] == name))


class PayloadReader:
    """Readers by what the messages name; one a schema."""

    def __init__(self, schemas: SchemaStore, framing: Framing = "auto") -> None:
        self._schemas, self._framing = schemas, framing
        self._readers: dict[SchemaName, Reader] = {}
        self._broken: dict[SchemaName, str] = {}

    def read(self, payload: bytes, topic: str, side: Side) -> tuple[Any, Reader]:
        """The datum and its reader; raises one of UNREADABLE, or RegistryError, or JobError."""
        name, at = unframe(payload, self._framing, topic, side)
        reader = self._readers.get(name)
        if reader is None:
            reader = self._readers[name] = self._new_reader(name)
        return reader.read(payload, at), reader

    def _new_reader(self, name: SchemaName) -> Reader:
        if name in self._broken:
            raise SchemaError(self._broken[name])
        schema = name.schema(self._schemas)
        try:
            return Reader.of(schema)
        except SchemaError as error:
            self._broken[name] = str(error)
            raise


def _type_name(schema: Any) -> str:
    if isinstance(schema, list):
        return next((_type_name(branch) for branch in schema if branch != "null"), "null")
    return schema if isinstance(schema, str) else _type_name(schema["type"])


def _plain(schema: Any) -> Any:
    """Without logical types, so that their numbers and bytes come as they were written, and without defaults.

    A writer's defaults mean nothing to a reader, and fastavro refuses a schema for a wrong one. It also refuses symbols
    of an enum that are no names, so these are numbered, and `avro_values` takes the numbers back.
    """
    if isinstance(schema, list):
        return [_plain(part) for part in schema]
    if isinstance(schema, dict) and odd_symbols(schema):
        return {**schema, "symbols": [f"_{number}" for number in range(len(schema["symbols"]))], "default": "_0"}
    if isinstance(schema, dict):
        return {name: _plain(part) for name, part in schema.items() if name not in ("logicalType", "default")}
    return schema
