"""Protobuf messages as Python rows, for the proof only.

It gives what the proof's reader of Avro gives of the same value, so the rules for logical types stand once.
"""

import base64
import json
import math
from decimal import Context, Decimal
from typing import Any, Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor, FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool

from ...schemas.encodings.schema_store import Side
from ...schemas.errors import JobError, SchemaError
from .avro_reader import Reader
from .protobuf_wire import DECIMAL, DURATION, TIMESTAMP, fields_of, header
from .rules import Rules

BIG: Final = {"type": "bytes", "logicalType": "decimal", "precision": 20, "scale": 0}
KINDS: Final[dict[int, Any]] = {
    **dict.fromkeys((5, 15, 17), "int"),
    **dict.fromkeys((3, 7, 13, 16, 18), "long"),
    **dict.fromkeys((9, 14), "string"),
    1: "double",
    2: "float",
    4: BIG,
    6: BIG,
    8: "boolean",
    12: "bytes",
}
MOMENTS: Final = {
    TIMESTAMP: {"type": "long", "logicalType": "timestamp-micros"},
    DURATION: {"type": "long", "connect.name": "io.debezium.time.MicroDuration"},
}
EXACT: Final = Context(prec=200_000)


class ProtobufReader:
    """Reads keys and values; keeps a reader for each message that is named."""

    def __init__(self, rules: Rules) -> None:
        if rules.schemas is None:
            raise JobError("format: the proof needs the schemas of the messages")
        self._rules, self._schemas = rules, rules.schemas
        self._known: dict[Any, tuple[Descriptor, Reader]] = {}

    def read(self, payload: bytes, topic: str, side: Side) -> tuple[Any, Reader]:
        """The row as fastavro would give it, and its reader. Raises one of `avro_reader.UNREADABLE`."""
        name, at = ((topic, side), 0) if self._rules.framing == "bare" else header(payload)
        if name not in self._known:
            kind = self._message(name, side)
            self._known[name] = kind, Reader.of(_record(kind, (), [0]), self._rules.on_unrepresentable)
        kind, reader = self._known[name]
        return row_of(kind, fields_of(kind, payload[at:], 1)), reader

    def _message(self, name: Any, side: Side) -> Descriptor:
        if self._rules.framing == "bare":
            wanted = self._rules.key_message if side == "key" else self._rules.message
            return _named(_file(self._schemas.by_topic(*name).descriptors), wanted)
        number, path = name
        return _at(_file(self._schemas.by_id(number).descriptors), path)


def _file(descriptors: bytes) -> FileDescriptor:
    files, pool = FileDescriptorSet.FromString(descriptors), DescriptorPool()
    for one in files.file:
        pool.Add(one)
    return pool.FindFileByName(files.file[-1].name)


def _at(file: FileDescriptor, path: tuple[int, ...]) -> Descriptor:
    own = FileDescriptorSet().file.add()
    file.CopyToProto(own)
    found, messages = None, [file.message_types_by_name[one.name] for one in own.message_type]
    for index in path:
        if index >= len(messages):
            raise SchemaError("there is no such message")
        found = messages[index]
        messages = [one for one in found.nested_types if not one.GetOptions().map_entry]
    assert found is not None
    return found


def _named(file: FileDescriptor, name: str | None) -> Descriptor:
    waiting = list(file.message_types_by_name.values())
    if name is None:
        return waiting[0]
    while waiting:
        one = waiting.pop()
        if one.full_name == name:
            return one
        waiting += one.nested_types
    raise SchemaError(f"there is no message {name}")


def _is_json(kind: Descriptor, inside: tuple[str, ...]) -> bool:
    return kind.full_name in inside or not kind.fields or kind.file.name == "google/protobuf/struct.proto"


def _record(kind: Descriptor, inside: tuple[str, ...], names: list[int]) -> Any:
    """The Avro type of a message; `names` counts records."""
    names[0] += 1
    name, inside = f"r{names[0]}", (*inside, kind.full_name)
    fields = [{"name": field.name, "type": _kind(field, inside, names)} for field in kind.fields]
    return {"type": "record", "name": name, "fields": fields}


def _kind(field: FieldDescriptor, inside: tuple[str, ...], names: list[int]) -> Any:
    kind = field.message_type
    made: Any = KINDS.get(field.type) if kind is None else _message_kind(kind, inside, names)
    if field.is_repeated:
        if kind is not None and _has_text_keys(kind):
            return {"type": "map", "values": _kind(kind.fields_by_name["value"], (*inside, kind.full_name), names)}
        return {"type": "array", "items": made}
    return ["null", made] if field.has_presence and not isinstance(made, list) else made


def _message_kind(kind: Descriptor, inside: tuple[str, ...], names: list[int]) -> Any:
    if _is_json(kind, inside) or kind.full_name == DECIMAL:
        return "string"
    if kind.full_name in MOMENTS:
        return MOMENTS[kind.full_name]
    if kind.file.name == "google/protobuf/wrappers.proto":
        return KINDS[kind.fields[0].type]
    return _record(kind, inside, names)


def _has_text_keys(kind: Descriptor) -> bool:
    return bool(kind.GetOptions().map_entry and kind.fields_by_name["key"].type == 9)


def row_of(kind: Descriptor, found: dict[str, Any]) -> dict[str, Any]:
    """A message as fastavro would give it, of its fields by name."""
    return _row(kind, found, ())


def _row(kind: Descriptor, found: dict[str, Any], inside: tuple[str, ...]) -> dict[str, Any]:
    inside = (*inside, kind.full_name)
    return {field.name: _value(field, found.get(field.name), inside) for field in kind.fields}


def _value(field: FieldDescriptor, value: Any, inside: tuple[str, ...]) -> Any:
    if field.is_repeated:
        items = value or []
        if field.message_type is not None and _has_text_keys(field.message_type):
            inner = (*inside, field.message_type.full_name)
            item = field.message_type.fields_by_name["value"]
            return {one.get("key", ""): _one(item, _present(item, one.get("value")), inner) for one in items}
        return [_one(field, one, inside) for one in items]
    if value is None and field.has_presence:
        return None
    return _one(field, _present(field, value), inside)


def _present(field: FieldDescriptor, value: Any) -> Any:
    """The value, or what stands for it where it is missing."""
    if value is not None:
        return value
    return {} if field.type == 11 else {1: 0.0, 2: 0.0, 8: False, 9: "", 12: b""}.get(field.type, 0)


def _one(field: FieldDescriptor, value: Any, inside: tuple[str, ...]) -> Any:
    kind = field.message_type
    if kind is None:
        if field.type == 14:
            return _enum_name(field, value)
        return value.to_bytes(9, "big", signed=True) if field.type in (4, 6) else value
    if _is_json(kind, inside):
        return json.dumps(_json(kind, value), ensure_ascii=False, separators=(",", ":"))
    if kind.full_name == DECIMAL:
        whole = int.from_bytes(value.get("value", b""), "big", signed=True)
        return format(Decimal(whole).scaleb(-value.get("scale", 0), EXACT), "f")
    if kind.full_name in MOMENTS:
        seconds, nanos = value.get("seconds", 0), value.get("nanos", 0)
        return seconds * 10**6 + int(math.copysign(abs(nanos) // 1000, nanos))
    if kind.file.name == "google/protobuf/wrappers.proto":
        return _one(kind.fields[0], _present(kind.fields[0], value.get("value")), inside)
    return _row(kind, value, inside)


def _enum_name(field: FieldDescriptor, number: int) -> str:
    return next((one.name for one in field.enum_type.values if one.number == number), str(number))


def _json(kind: Descriptor, found: dict[str, Any]) -> Any:
    """A message as the JSON that stands for it."""
    if kind.file.name == "google/protobuf/struct.proto":
        if kind.name == "Struct":
            item = kind.fields_by_name["fields"].message_type.fields_by_name["value"].message_type
            pairs = {one.get("key", ""): _json(item, one.get("value", {})) for one in found.get("fields", [])}
            return dict(sorted(pairs.items()))
        if kind.name == "ListValue":
            item = kind.fields_by_name["values"].message_type
            return [_json(item, one) for one in found.get("values", [])]
        for name, value in found.items():
            part = kind.fields_by_name[name]
            return _json(part.message_type, value) if part.type == 11 else _plain(part, value)
        return None
    made: dict[str, Any] = {}
    for field in sorted(kind.fields, key=lambda one: one.number):
        if field.name in found and (field.has_presence or field.is_repeated or found[field.name] not in (0, "", b"")):
            made[field.name] = _json_field(field, found[field.name])
    return made


def _json_field(field: FieldDescriptor, value: Any) -> Any:
    if not field.is_repeated:
        return _plain(field, value)
    kind = field.message_type
    if kind is None or not kind.GetOptions().map_entry:
        return [_plain(field, one) for one in value]
    key, item = kind.fields_by_name["key"], kind.fields_by_name["value"]
    pairs = {_present(key, one.get("key")): _plain(item, _present(item, one.get("value"))) for one in value}
    return {str(name): one for name, one in sorted(pairs.items())}


def _plain(field: FieldDescriptor, value: Any) -> Any:
    if field.type == 11:
        return _json(field.message_type, value)
    if field.type == 14:
        return None if field.enum_type.full_name == "google.protobuf.NullValue" else _enum_name(field, value)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, float):
        if not math.isfinite(value):
            return str(value)
        return int(value) if value.is_integer() and abs(value) < 1 << 53 else value
    return value
