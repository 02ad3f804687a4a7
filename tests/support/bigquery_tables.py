"""The tables of `bigquery_server`: what BigQuery documents about names, types, keys, growth and changes, strictly.

Where BigQuery would take something that Millrace must not rely on (two rows of one key in one request, which of them
wins being anyone's guess; NULL in a key), this refuses it.
"""

import base64
import re
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, unknown_fields
from google.protobuf.message import DecodeError

COLUMN = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,299}", re.ASCII)
TABLE = re.compile(r"[\w \-]{1,1024}")
KEPT = ("_table_", "_file_", "_partition", "_row_timestamp", "__root__", "_colidentifier", "_change_", "_field_")
KEY_TYPES = {"INTEGER", "NUMERIC", "BIGNUMERIC", "STRING", "BYTES", "BOOLEAN", "DATE", "DATETIME", "TIMESTAMP"}
CLUSTER_TYPES = KEY_TYPES - {"BYTES"}
SEQUENCE = re.compile(r"[0-9A-Fa-f]{1,16}(/[0-9A-Fa-f]{1,16}){0,3}")
SELECT = re.compile(r"SELECT (`\w+`(?:, `\w+`)*) FROM `([^`]+)`\.`(\w+)`\.`([\w \-]+)`(?: WHERE (.+))?", re.DOTALL)
CONDITION = re.compile(r"`(\w+)` (=|<=|IN) (?:@(\w+)|UNNEST\(@(\w+)\))")
EPOCH = datetime(1970, 1, 1)
WIRE = descriptor_pb2.FieldDescriptorProto
WHOLE = {WIRE.TYPE_INT32, WIRE.TYPE_INT64, WIRE.TYPE_UINT32}
ACCEPTED = {
    "INTEGER": WHOLE,
    "FLOAT": {WIRE.TYPE_DOUBLE, WIRE.TYPE_FLOAT},
    "NUMERIC": {*WHOLE, WIRE.TYPE_STRING},
    "BIGNUMERIC": {*WHOLE, WIRE.TYPE_STRING},
    "STRING": {WIRE.TYPE_STRING},
    "BYTES": {WIRE.TYPE_BYTES, WIRE.TYPE_STRING},
    "BOOLEAN": {*WHOLE, WIRE.TYPE_BOOL},
    "DATE": {WIRE.TYPE_INT32, WIRE.TYPE_INT64},
    "TIME": {WIRE.TYPE_INT64},
    "DATETIME": {WIRE.TYPE_INT64},
    "TIMESTAMP": {WIRE.TYPE_INT64},
    "RECORD": {WIRE.TYPE_MESSAGE},
}
ARROW = {
    "INTEGER": pa.int64(), "FLOAT": pa.float64(), "NUMERIC": pa.decimal128(38, 9), "BIGNUMERIC": pa.decimal256(76, 38),
    "STRING": pa.string(), "BYTES": pa.binary(), "BOOLEAN": pa.bool_(), "DATE": pa.date32(), "TIME": pa.time64("us"),
    "DATETIME": pa.timestamp("us"), "TIMESTAMP": pa.timestamp("us", "UTC"),
}  # fmt: skip


class Refused(Exception):
    """What BigQuery answers: `code` as gRPC names it, `reason` as REST does."""

    def __init__(self, code: str, message: str, reason: str = "invalid") -> None:
        super().__init__(message)
        self.code, self.reason = code, reason


class ExtraFieldsError(Exception):
    """The writer's schema has fields that the writing end does not know: SCHEMA_MISMATCH_EXTRA_FIELDS."""


class RowsRefused(Exception):
    """Rows of a request, by number, that cannot be; nothing of the request is applied."""

    def __init__(self, rows: dict[int, str]) -> None:
        super().__init__(f"Errors found while processing rows: {rows}")
        self.rows = rows


@dataclass(frozen=True)
class Column:
    name: str
    kind: str
    repeated: bool = False
    fields: tuple["Column", ...] = ()

    @classmethod
    def read(cls, found: dict[str, Any]) -> "Column":
        kind, mode = found["type"], found.get("mode", "NULLABLE")
        kind = {"INT64": "INTEGER", "FLOAT64": "FLOAT", "BOOL": "BOOLEAN", "STRUCT": "RECORD"}.get(kind, kind)
        name = found["name"]
        if not COLUMN.fullmatch(name) or name.lower().startswith(KEPT):
            raise Refused("INVALID_ARGUMENT", f'Invalid field name "{name}".')
        if kind not in ACCEPTED or mode not in ("NULLABLE", "REPEATED"):
            raise Refused("INVALID_ARGUMENT", f"Field {name} has type {kind} and mode {mode}")
        fields = columns(found.get("fields", []))
        if (kind == "RECORD") != bool(fields):
            raise Refused("INVALID_ARGUMENT", f"Field {name} is type RECORD but has no schema")
        return cls(name, kind, mode == "REPEATED", fields)

    def json(self) -> dict[str, Any]:
        more = {"fields": [part.json() for part in self.fields]} if self.fields else {}
        return {"name": self.name, "type": self.kind, "mode": "REPEATED" if self.repeated else "NULLABLE", **more}

    @property
    def arrow(self) -> pa.DataType:
        kind = pa.struct([(part.name, part.arrow) for part in self.fields]) if self.fields else ARROW[self.kind]
        return pa.list_(kind) if self.repeated else kind


def columns(found: list[dict[str, Any]]) -> tuple[Column, ...]:
    read = tuple(Column.read(part) for part in found)
    if len({part.name.lower() for part in read}) < len(read) or len(read) > 2000:
        raise Refused("INVALID_ARGUMENT", "Duplicate or too many fields in the schema")
    return read


@dataclass
class Row:
    sequence: tuple[int, ...]
    deleted: bool
    values: dict[str, Any]


@dataclass
class Table:
    """A table and the newest change of each key. `unknown` more appends see the columns as they were before."""

    name: str
    resource: dict[str, Any]
    columns: tuple[Column, ...] = ()
    before: tuple[Column, ...] = ()
    version: int = 1
    unknown: int = 0
    rows: dict[tuple[Any, ...], Row] = field(default_factory=dict)
    appended: int = 0

    @classmethod
    def make(cls, name: str, resource: dict[str, Any]) -> "Table":
        if not TABLE.fullmatch(name):
            raise Refused("INVALID_ARGUMENT", f'Invalid table ID "{name}".')
        table = cls(name, resource, columns(resource["schema"]["fields"]))
        kinds = {part.name: part for part in table.columns}
        key = table.key
        if not 1 <= len(key) <= 16 or any(kinds[part].kind not in KEY_TYPES or kinds[part].repeated for part in key):
            raise Refused("INVALID_ARGUMENT", f"Primary key ({', '.join(key)}) cannot be")
        clustered = resource.get("clustering", {}).get("fields", [])
        if len(clustered) > 4 or any(kinds[part].kind not in CLUSTER_TYPES for part in clustered):
            raise Refused("INVALID_ARGUMENT", f"The table cannot be clustered by {clustered}")
        staleness = resource.get("maxStaleness")
        if staleness is not None and not re.fullmatch(r"0-0 0 \d+:\d+:\d+", staleness):
            raise Refused("INVALID_ARGUMENT", f"maxStaleness {staleness} is not an interval")
        return table

    @property
    def key(self) -> tuple[str, ...]:
        return tuple(self.resource.get("tableConstraints", {}).get("primaryKey", {}).get("columns", []))

    def json(self) -> dict[str, Any]:
        return {
            **self.resource,
            "schema": {"fields": [part.json() for part in self.columns]},
            "etag": f'"{self.version}"',
            "type": "TABLE",
        }

    def patch(self, body: dict[str, Any], etag: str | None, unknown: int) -> None:
        """Columns may be added, nullable ones; nothing else changes."""
        if etag not in (None, f'"{self.version}"'):
            raise Refused("FAILED_PRECONDITION", "Precondition check failed.", "conditionNotMet")
        wider = columns(body["schema"]["fields"])
        _check_wider(self.columns, wider)
        self.before, self.columns, self.unknown = self.columns, wider, unknown
        self.version += 1

    def written(self) -> tuple[Column, ...]:
        """The columns that the writing end knows."""
        if self.unknown:
            self.unknown -= 1
            return self.before
        return self.columns

    def apply(self, descriptor: descriptor_pb2.DescriptorProto, serialized: list[bytes]) -> None:
        """Changes of one request: all or none."""
        self.appended += 1
        known = self.written()
        writer = writer_columns(descriptor, known)
        kind = message_class(descriptor)
        made, bad = {}, {}
        for number, data in enumerate(serialized):
            try:
                change = read_change(kind, data, writer)
                key = tuple(change.values.get(part) for part in self.key)
                if None in key:
                    raise ValueError("a column of the primary key is NULL")
                if key in made:
                    raise ValueError("the key is twice in one request, and which row wins is not defined")
                made[key] = change
            except (ValueError, ArithmeticError, OverflowError) as error:
                bad[number] = str(error)
        if bad:
            raise RowsRefused(bad)
        for key, change in made.items():
            if key not in self.rows or change.sequence >= self.rows[key].sequence:
                self.rows[key] = change

    def select(self, names: list[str], conditions: list[tuple[str, str, Any]]) -> pa.Table:
        kinds = {part.name: part for part in self.columns}
        for name in [*names, *(name for name, _, _ in conditions)]:
            if name not in kinds:
                raise Refused("INVALID_ARGUMENT", f"Unrecognized name: {name}", "invalidQuery")
        found = [row.values for row in self.rows.values() if not row.deleted and _holds(row.values, conditions)]
        arrays = [_array([row.get(name) for row in found], kinds[name]) for name in names]
        return pa.table(arrays, names=names)


def _check_wider(old: tuple[Column, ...], new: tuple[Column, ...]) -> None:
    there = {part.name: part for part in new}
    for part in old:
        other = there.get(part.name)
        if other is None or (other.kind, other.repeated) != (part.kind, part.repeated):
            raise Refused(
                "INVALID_ARGUMENT", f"Provided Schema does not match: field {part.name} is missing or changed"
            )
        _check_wider(part.fields, other.fields)


def _holds(row: dict[str, Any], conditions: list[tuple[str, str, Any]]) -> bool:
    tests = {"=": lambda a, b: a == b, "<=": lambda a, b: a <= b, "IN": lambda a, b: a in b}
    return all(row.get(name) is not None and tests[test](row[name], value) for name, test, value in conditions)


def _array(values: list[Any], column: Column) -> pa.Array:
    return pa.array(values, column.arrow)


def writer_columns(descriptor: descriptor_pb2.DescriptorProto, known: tuple[Column, ...]) -> dict[str, Column]:
    """The columns that a writer's message fills, by its fields."""
    there = {part.name.lower(): part for part in known}
    nested = {part.name: part for part in descriptor.nested_type}
    found = {}
    for part in descriptor.field:
        if part.name in ("_CHANGE_TYPE", "_CHANGE_SEQUENCE_NUMBER"):
            if part.type != WIRE.TYPE_STRING:
                raise Refused("INVALID_ARGUMENT", f"{part.name} is a string")
            continue
        column = there.get(part.name.lower())
        if column is None:
            raise ExtraFieldsError(f"Input schema has more fields than BigQuery schema, extra fields: '{part.name}'")
        if part.type not in ACCEPTED[column.kind] or (part.label == WIRE.LABEL_REPEATED) != column.repeated:
            raise Refused(
                "INVALID_ARGUMENT", f"The proto field mismatched with BigQuery field at {part.name}: {column.kind}"
            )
        if column.fields:
            writer_columns(nested[part.type_name.rpartition(".")[2]], column.fields)
        found[part.name] = column
    return found


def message_class(descriptor: descriptor_pb2.DescriptorProto) -> Any:
    file = descriptor_pb2.FileDescriptorProto(name="row.proto", package="row", syntax="proto2")
    file.message_type.add().CopyFrom(descriptor)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"row.{descriptor.name}"))


def read_change(kind: Any, data: bytes, writer: dict[str, Column]) -> Row:
    found = kind()
    try:
        read = found.ParseFromString(data)
    except DecodeError as error:
        raise ValueError(f"the row cannot be parsed: {error}") from error
    if read != len(data):
        raise ValueError("the row cannot be parsed: bytes are left over")
    if len(unknown_fields.UnknownFieldSet(found)):
        raise ValueError("the row has fields that the writer's schema has not")
    change, sequence = found._CHANGE_TYPE, found._CHANGE_SEQUENCE_NUMBER
    if change not in ("UPSERT", "DELETE"):
        raise ValueError(f"The given value is not a valid CHANGE_TYPE: {change}")
    if not SEQUENCE.fullmatch(sequence):
        raise ValueError(f"Invalid _CHANGE_SEQUENCE_NUMBER: {sequence}")
    values = {name: _value(found, name, column) for name, column in writer.items()}
    return Row(tuple(int(part, 16) for part in sequence.split("/")), change == "DELETE", values)


def _value(message: Any, name: str, column: Column) -> Any:
    if column.repeated:
        return [_read(item, column) for item in getattr(message, name)]
    return _read(getattr(message, name), column) if message.HasField(name) else None


def _read(value: Any, column: Column) -> Any:
    if column.kind == "RECORD":
        return {part.name: _value(value, part.name, part) for part in column.fields}
    return READ.get(column.kind, lambda value: value)(value)


def _number(digits: int, scale: int) -> Any:
    def read(text: Any) -> Decimal:
        number = Decimal(text)
        _, figures, exponent = number.as_tuple()
        if not isinstance(exponent, int) or exponent < -scale or len(figures) + exponent > digits:
            raise ValueError(f"Invalid NUMERIC value: {text}")
        return number

    return read


def _bits(number: int, *widths: int) -> list[int]:
    parts = []
    for width in reversed(widths):
        parts.append(number & ((1 << width) - 1))
        number >>= width
    if number:
        raise ValueError(f"bits are left over: {number}")
    return parts[::-1]


def _civil(number: int) -> datetime:
    return datetime(*_bits(number, 14, 4, 5, 5, 6, 6, 20))


def _instant(micros: int) -> datetime:
    return (EPOCH + timedelta(microseconds=micros)).replace(tzinfo=UTC)


READ = {
    "NUMERIC": _number(29, 9),
    "BIGNUMERIC": _number(38, 38),
    "DATE": lambda days: date(1970, 1, 1) + timedelta(days),
    "TIME": lambda number: time(*_bits(number, 5, 6, 6, 20)),
    "DATETIME": _civil,
    "TIMESTAMP": _instant,
    "BOOLEAN": bool,
}


@dataclass(frozen=True)
class Query:
    """The one statement that this knows: SELECT columns FROM a table WHERE simple conditions."""

    dataset: str
    table: str
    columns: list[str]
    conditions: list[tuple[str, str, Any]]

    @classmethod
    def read(cls, project: str, found: dict[str, Any]) -> "Query":
        parsed = SELECT.fullmatch(found["query"])
        if parsed is None or found.get("useLegacySql", True) or parsed[2] != project:
            raise Refused("INVALID_ARGUMENT", f"Syntax error: {found['query']}", "invalidQuery")
        parameters = {part["name"]: _parameter(part) for part in found.get("queryParameters", [])}
        conditions = []
        for text in (parsed[5] or "").split(" AND ") if parsed[5] else []:
            condition = CONDITION.fullmatch(text)
            if condition is None:
                raise Refused("INVALID_ARGUMENT", f"Syntax error: {text}", "invalidQuery")
            conditions.append((condition[1], condition[2], parameters[condition[3] or condition[4]]))
        return cls(parsed[3], parsed[4], [part.strip("`") for part in parsed[1].split(", ")], conditions)


def _parameter(part: dict[str, Any]) -> Any:
    kind, value = part["parameterType"], part["parameterValue"]
    if kind["type"] == "ARRAY":
        return [_scalar(kind["arrayType"]["type"], item["value"]) for item in value["arrayValues"]]
    return _scalar(kind["type"], value["value"])


def _scalar(kind: str, text: str) -> Any:
    return {"INT64": int, "STRING": str, "BYTES": base64.b64decode}[kind](text)
