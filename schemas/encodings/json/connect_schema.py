"""Kafka Connect's schemas, as its JSON converter writes them: as Avro schemas, and as a plan for the loop.

The Avro schema of a Connect schema is the one that Confluent's converter makes of it, so names and logical types mean
the same in both.
"""

from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ...errors import SchemaError
from ..encoding import Keep

BOOLEAN, INT, DOUBLE, FLOAT, TEXT, BYTES, LIST, MAP, PAIR, RECORD = range(10)
SCALARS: Final = {
    "boolean": (BOOLEAN, "boolean", 0),
    "int8": (INT, "int", 8),
    "int16": (INT, "int", 16),
    "int32": (INT, "int", 32),
    "int64": (INT, "long", 64),
    "float": (FLOAT, "float", 4),
    "float32": (FLOAT, "float", 4),
    "double": (DOUBLE, "double", 8),
    "float64": (DOUBLE, "double", 8),
    "string": (TEXT, "string", 0),
    "bytes": (BYTES, "bytes", 0),
}
DECIMAL: Final = "org.apache.kafka.connect.data.Decimal"
PRECISION: Final = "connect.decimal.precision"
MAX_DEPTH: Final = 64
MAX_NODES: Final = 10_000


@dataclass(slots=True)
class Plan:
    """What the loop needs of a schema.

    `nodes`, a row each: kind, 1 where null is allowed, and two numbers: of a record its first row of `fields` and how
    many it has, of a list or map the node of its items, of a pair the nodes of key and value, of a number its bits.
    `fields`: node, where its name begins in `names`, the name's length. `places` are the nodes' names for people.
    """

    nodes: NDArray[np.int64]
    fields: NDArray[np.int64]
    names: NDArray[np.uint8]
    places: tuple[str, ...]


@dataclass(slots=True)
class _Builder:
    """Rows of the plan while a schema is read; `keep` as in `Encoding.decoder`."""

    keep: Keep | None
    nodes: list[list[int]] = field(default_factory=list)
    fields: list[list[int]] = field(default_factory=list)
    names: bytearray = field(default_factory=bytearray)
    places: list[str] = field(default_factory=list)
    records: int = 0

    def type_of(self, schema: Any, path: tuple[str, ...], inside: bool) -> Any:
        """Add the node of a schema; its Avro schema. `inside` a list or map every field is kept."""
        place = ".".join(path) or "the payload"
        if not isinstance(schema, dict) or not isinstance(schema.get("type"), str):
            raise SchemaError(f"the embedded schema of {place} has no type")
        if len(path) > MAX_DEPTH or len(self.nodes) >= MAX_NODES:
            raise SchemaError("the embedded schema is nested too deeply, or has too many fields")
        node = len(self.nodes)
        optional = schema.get("optional") is True
        self.nodes.append([0, int(optional), 0, 0])
        self.places.append(place if path else "")
        found = {**self._bare(schema, node, path, inside), **_names_of(schema)}
        return ["null", found] if optional else found

    def _bare(self, schema: dict[str, Any], node: int, path: tuple[str, ...], inside: bool) -> dict[str, Any]:
        row, kind = self.nodes[node], schema["type"]
        if kind in SCALARS:
            row[0], avro, row[2] = SCALARS[kind]
            return {"type": avro}
        if kind == "array":
            row[0], row[2] = LIST, len(self.nodes)
            return {"type": "array", "items": self.type_of(schema.get("items"), (*path, "[]"), True)}
        if kind == "map":
            return self._map(schema, row, path)
        if kind == "struct":
            return self._record(schema, row, path, inside)
        raise SchemaError(f"the embedded schema of {'.'.join(path) or 'the payload'}: {kind!r:.40} is no type")

    def _map(self, schema: dict[str, Any], row: list[int], path: tuple[str, ...]) -> dict[str, Any]:
        keys = schema.get("keys")
        if isinstance(keys, dict) and keys.get("type") == "string" and keys.get("optional") is not True:
            row[0], row[2] = MAP, len(self.nodes)
            return {"type": "map", "values": self.type_of(schema.get("values"), (*path, "{}"), True)}
        row[0], row[2] = LIST, len(self.nodes)
        self.nodes.append([PAIR, 0, len(self.nodes) + 1, 0])
        pair = self.nodes[-1]
        self.places.append(".".join(path))
        key = self.type_of(keys, (*path, "key"), True)
        pair[3] = len(self.nodes)
        value = self.type_of(schema.get("values"), (*path, "value"), True)
        entry = [{"name": "key", "type": key}, {"name": "value", "type": value}]
        return {"type": "array", "items": {"type": "record", "name": self._name(), "fields": entry}}

    def _record(self, schema: dict[str, Any], row: list[int], path: tuple[str, ...], inside: bool) -> dict[str, Any]:
        written = schema.get("fields")
        parts: list[Any] = written if isinstance(written, list) else [None]
        named = all(isinstance(part, dict) and part.get("field") for part in parts)
        if not named or len({str(part["field"]) for part in parts}) != len(parts):
            raise SchemaError(f"the embedded schema of {'.'.join(path) or 'the payload'} has fields without names")
        kept = [part for part in parts if inside or self.keep is None or self.keep((*path, str(part["field"])))]
        row[0], row[2], row[3] = RECORD, len(self.fields), len(kept)
        self.fields += [[0, 0, 0] for _ in kept]
        made, name = [], self._name()
        for at, part in enumerate(kept, row[2]):
            text = str(part["field"])
            raw = text.encode("utf-8", "replace")
            self.fields[at] = [len(self.nodes), len(self.names), len(raw)]
            self.names += raw
            made.append({"name": text, "type": self.type_of(part, (*path, text), inside)})
        return {"type": "record", "name": name, "fields": made}

    def _name(self) -> str:
        """A name of its own for each record: Avro wants one, and what it is does not matter."""
        self.records += 1
        return f"record{self.records}"


def plan_of(schema: Any, keep: Keep | None) -> tuple[Any, Plan]:
    """The Avro schema of an embedded schema, and its plan. Raises SchemaError."""
    builder = _Builder(keep)
    avro = builder.type_of(schema, (), False)
    return avro, Plan(
        np.array(builder.nodes, np.int64).reshape(-1, 4),
        np.array(builder.fields, np.int64).reshape(-1, 3),
        np.frombuffer(bytes(builder.names) or b"\0", np.uint8).copy(),
        tuple(builder.places),
    )


def _names_of(schema: dict[str, Any]) -> dict[str, Any]:
    """What Connect says of a type beside its structure, as Avro's attributes."""
    found: dict[str, Any] = {}
    name, parameters = schema.get("name"), schema.get("parameters")
    if isinstance(name, str):
        found["connect.name"] = name
    if isinstance(parameters, dict):
        found["connect.parameters"] = parameters
    if name == DECIMAL and schema["type"] == "bytes":
        said = parameters if isinstance(parameters, dict) else {}
        found |= {"logicalType": "decimal", "scale": said.get("scale", "0"), "precision": said.get(PRECISION, 64)}
    return found
