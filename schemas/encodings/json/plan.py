"""What the loop is told of a schema, and the columns that are built of what it wrote.

A schema is Kafka Connect's, as its JSON converter writes it; names of types mean what they mean in Avro. Four keys are
our own: `forms` (bits of `nodes`), `as`, the Arrow type of a column whose type the job declares, `rows`, of an
array's items whose fields `keep` is asked about, and `partial`, of an object that tells which fields it lacks.
"""

from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ...errors import SchemaError
from ...model.absent_fields import ABSENT_TYPE, absent_field
from ..columns import layout
from ..columns.decimals import MAX_BYTES, MAX_SCALE
from ..columns.layout import NONE, ROOT, Layout
from ..columns.logical_types import Form, Scalar, field_metadata, is_variable_decimal, scalar
from ..columns.slots import Column
from ..columns.types import Type
from ..encoding import Keep
from .nodes import (
    ABSENT,
    AS_BASE64,
    BOOLEAN,
    BYTES,
    DECIMAL,
    INT,
    LIST,
    MAP,
    NULLS,
    PAIR,
    REAL,
    RECORD,
    SINGLE,
    SKIP,
    TEXT,
    WIDTH,
    ZONED,
)

SCALARS: Final = {
    "boolean": ("boolean", 0),
    "int8": ("int", 8),
    "int16": ("int", 16),
    "int32": ("int", 32),
    "int64": ("long", 64),
    "float": ("float", 0),
    "float32": ("float", 0),
    "double": ("double", 0),
    "float64": ("double", 0),
    "string": ("string", 0),
    "bytes": ("bytes", 0),
}
"""By Connect's type that of Avro, and the bits of a whole number."""
KINDS: Final = {
    layout.INTEGER: INT,
    layout.STRING: TEXT,
    layout.BYTES: BYTES,
    layout.BOOLEAN: BOOLEAN,
    layout.FLOAT: SINGLE,
    layout.DOUBLE: REAL,
    layout.DECIMAL: DECIMAL,
    layout.ZONED: ZONED,
}
CONNECT_DECIMAL: Final = "org.apache.kafka.connect.data.Decimal"
PRECISION: Final = "connect.decimal.precision"
MAX_DEPTH: Final = 60
MOST_MICROS: Final = 1 << 60
"""Of an instant that is a number: far beyond the year 9999, and short of what stands for a text."""
MAX_NODES: Final = 10_000
Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a value is written: its path, level, and the slot of its validity; without `write` it is skipped.

    `ask`: whether `keep` is asked about fields below.
    """

    path: Path = ()
    level: int = 0
    valid: int = ROOT
    write: bool = True
    ask: bool = True

    @property
    def place(self) -> str:
        return ".".join(self.path)

    def inside(self, name: str) -> "Destination":
        return Destination((*self.path, name), self.level, self.valid, self.write, self.ask)


@dataclass(slots=True, eq=False)
class Plan:
    """`nodes` and `fields` as in `nodes`, not placed; `places` are the nodes' names for people."""

    column: Column
    layout: Layout
    nodes: NDArray[np.int64]
    fields: NDArray[np.int64]
    names: NDArray[np.uint8]
    places: tuple[str, ...]


@dataclass(slots=True)
class _Builder:
    """Rows of the plan while a schema is read."""

    keep: Keep | None
    layout: Layout = field(default_factory=Layout)
    nodes: list[list[int]] = field(default_factory=list)
    fields: list[list[int]] = field(default_factory=list)
    names: bytearray = field(default_factory=bytearray)
    places: list[str] = field(default_factory=list)

    def value(self, schema: Any, dest: Destination) -> tuple[Column | None, Type]:
        """Add the node of a schema and all below it; its column, None where it is skipped."""
        place = dest.place or "the payload"
        if not isinstance(schema, dict) or not isinstance(schema.get("type"), str):
            raise SchemaError(f"the embedded schema of {place} has no type")
        if len(dest.path) > MAX_DEPTH or len(self.nodes) >= MAX_NODES:
            raise SchemaError("the embedded schema is nested too deeply, or has too many fields")
        node = [SKIP, int(schema.get("optional") is True), NONE, NONE, dest.level, *(0,) * 6, NONE]
        self.nodes.append(node)
        self.places.append(dest.place)
        if dest.write and node[1]:
            node[2] = self.layout.valid_slot(dest.level)
            dest = Destination(dest.path, dest.level, node[2], True, dest.ask)
        made = _type_of(schema)
        return self._column(schema, made, node, dest), made

    def _column(self, schema: dict[str, Any], made: Type, node: list[int], dest: Destination) -> Column | None:
        kind = schema["type"]
        if kind in SCALARS:
            return self._scalar(schema, made, node, dest) if dest.write else None
        if kind == "null":
            node[0] = NULLS if dest.write else SKIP
            return Column(Form.NULL, pa.null(), NONE, dest.valid, dest.level) if dest.write else None
        if kind == "array":
            return self._items(LIST, schema.get("items"), node, dest)
        if kind == "map":
            return self._map(schema, node, dest)
        if kind == "struct":
            return self._record(schema, made, node, dest)
        raise SchemaError(f"the embedded schema of {dest.place or 'the payload'}: {kind!r:.40} is no type")

    def _scalar(self, schema: dict[str, Any], made: Type, node: list[int], dest: Destination) -> Column:
        how, bits = scalar(made), SCALARS[schema["type"]][1]
        arrow = schema.get("as", how.arrow)
        node[0], node[3] = KINDS[how.op], self.layout.slots(dest.level, how.slots)
        node[5], node[6] = _bounds(how, bits)
        node[9] = schema.get("forms", AS_BASE64 if how.op == layout.DECIMAL else 0)
        node[10] = schema.get("unit", arrow.scale if how.op == layout.DECIMAL else 0)
        if how.op == layout.DOUBLE:
            node[5] = int(schema.get("exact", False))
        if how.op == layout.ZONED:
            node[5], node[6] = -MOST_MICROS, MOST_MICROS
        valid = dest.valid
        if how.op == layout.ZONED and node[2] == NONE:
            node[2] = valid = self.layout.valid_slot(dest.level)
        return Column(how.form, arrow, node[3], valid, dest.level, scale=how.scale)

    def _items(self, kind: int, schema: Any, node: list[int], dest: Destination) -> Column | None:
        if not dest.write:
            return None
        level = self.layout.new_level()
        node[0], node[3] = kind, self.layout.slots(dest.level, 1)
        key = None
        if kind == MAP:
            key, node[5] = self._key(dest.path, level), len(self.nodes) - 1
        node[7], node[8] = len(self.nodes), level
        mark = "[]" if kind == LIST else "{}"
        ask = dest.ask and isinstance(schema, dict) and schema.get("rows") is True
        item, made = self.value(schema, Destination((*dest.path, mark), level, NONE, True, ask))
        assert item is not None
        node[6] = self.layout.cells[level]
        if key is not None:
            return Column(Form.MAP, pa.map_(key.arrow, item.arrow), node[3], dest.valid, dest.level, (key, item))
        arrow = pa.list_(pa.field("item", item.arrow, metadata=field_metadata(made)))
        return Column(Form.LIST, arrow, node[3], dest.valid, dest.level, (item,))

    def _key(self, path: Path, level: int) -> Column:
        column, _ = self.value({"type": "string"}, Destination((*path, "key"), level, NONE, True, False))
        assert column is not None
        return column

    def _map(self, schema: dict[str, Any], node: list[int], dest: Destination) -> Column | None:
        keys, values = schema.get("keys"), schema.get("values")
        if isinstance(keys, dict) and keys.get("type") == "string" and keys.get("optional") is not True:
            return self._items(MAP, values, node, dest)
        parts = [{**_checked(keys), "field": "key"}, {**_checked(values), "field": "value"}]
        return self._items(LIST, {"type": "struct", "fields": parts, "pair": True}, node, dest)

    def _record(self, schema: dict[str, Any], made: Type, node: list[int], dest: Destination) -> Column | None:
        written = schema.get("fields")
        parts: list[Any] = written if isinstance(written, list) else [None]
        named = all(isinstance(part, dict) and part.get("field") for part in parts)
        if not named or len({str(part["field"]) for part in parts}) != len(parts):
            raise SchemaError(f"the embedded schema of {dest.place or 'the payload'} has fields without names")
        if not dest.write:
            return None
        node[0], node[7], node[8] = PAIR if schema.get("pair") else RECORD, len(self.fields), len(parts)
        self.fields += [[0, 0, 0, 0] for _ in parts]
        columns, fields = [], []
        for at, part in enumerate(parts, node[7]):
            name = str(part["field"])
            inner = dest.inside(name)
            if dest.ask and self.keep is not None and not self.keep(inner.path):
                inner = Destination(inner.path, dest.level, NONE, False, False)
            self.fields[at] = [len(self.nodes), *self._name(name)]
            column, kind = self.value(part, inner)
            if column is not None:
                columns.append(column)
                fields.append(pa.field(name, column.arrow, metadata=field_metadata(kind)))
                if schema.get("partial") is True:
                    columns.append(self._absent(self.fields[at][0], dest.level))
                    fields.append(absent_field(name))
        if is_variable_decimal(made):
            return self._variable_decimal(columns, dest)
        return Column(Form.STRUCT, pa.struct(fields), NONE, dest.valid, dest.level, tuple(columns))

    def _absent(self, node: int, level: int) -> Column:
        """The column, valid where an object lacks the field of this node."""
        slot = self.nodes[node][ABSENT] = self.layout.valid_slot(level)
        return Column(Form.STRUCT, ABSENT_TYPE, NONE, slot, level)

    def _variable_decimal(self, columns: list[Column], dest: Destination) -> Column:
        """A decimal with a scale of its own: the slots of both fields side by side."""
        slot = self.layout.slots(dest.level, 3)
        for node in self.nodes[-2:]:
            node[3], node[2] = (slot + 2, NONE) if node[0] == INT else (slot, NONE)
            node[5], node[6] = (-MAX_SCALE, MAX_SCALE) if node[0] == INT else (MAX_BYTES, 0)
        return Column(Form.DECIMAL_TEXT, pa.string(), slot, dest.valid, dest.level, own_scale=True)

    def _name(self, name: str) -> tuple[int, int, int]:
        """Where the name stands in `names`, its length, and that in JSON: far too much where it is escaped."""
        raw = name.encode("utf-8", "replace")
        self.names += raw
        plain = not any(byte < 0x20 or byte in b'"\\' for byte in raw)
        return len(self.names) - len(raw), len(raw), len(raw) if plain else 1 << 40


def plan_of(schema: Any, keep: Keep | None) -> Plan:
    """The plan of a schema; its fields that `keep` refuses are skipped. Raises SchemaError."""
    builder = _Builder(keep)
    column, _ = builder.value(schema, Destination())
    assert column is not None
    return Plan(
        column,
        builder.layout,
        np.array(builder.nodes, np.int64).reshape(-1, WIDTH),
        np.array(builder.fields, np.int64).reshape(-1, 4),
        np.frombuffer(bytes(builder.names) + b"\0" * 8, np.uint8).copy(),
        tuple(builder.places),
    )


def _bounds(how: Scalar, bits: int) -> tuple[int, int]:
    """A and B of a node."""
    if bits:
        return max(how.a, -(1 << bits - 1)), min(how.b, (1 << bits - 1) - 1)
    return how.a, how.b


def _checked(schema: Any) -> dict[str, Any]:
    if not isinstance(schema, dict):
        raise SchemaError("the embedded schema of a map has no type of its keys or values")
    return schema


def _type_of(schema: dict[str, Any]) -> Type:
    """The type of one schema, without what is below it, as Confluent's converter makes it in Avro."""
    kind, name, parameters = schema["type"], schema.get("name"), schema.get("parameters")
    attributes: dict[str, Any] = {}
    if isinstance(name, str):
        attributes["connect.name"] = name
    if isinstance(parameters, dict):
        attributes["connect.parameters"] = parameters
    if name == CONNECT_DECIMAL and kind == "bytes":
        said = parameters if isinstance(parameters, dict) else {}
        attributes |= {"logicalType": "decimal", "scale": said.get("scale", "0"), "precision": said.get(PRECISION, 64)}
    if kind == "struct" and isinstance(schema.get("fields"), list):
        parts = [part for part in schema["fields"] if isinstance(part, dict)]
        children = [Type(SCALARS.get(str(part.get("type")), ("", 0))[0]) for part in parts]
        return Type("record", str(name), children, [str(part.get("field")) for part in parts], attributes=attributes)
    return Type(SCALARS[kind][0] if kind in SCALARS else str(kind), attributes=attributes)
