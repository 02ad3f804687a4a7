"""Protobuf's bytes as fields by name, for the proof only: read one by one, by rules of its own.

Of Google's library it takes descriptors alone. Format: Protocol Buffers, "Encoding"; Confluent's "Wire format".
"""

import struct
from collections.abc import Iterator
from typing import Any, Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from .avro_validator import Malformed

MOST_DEPTH: Final = 100
MOST_LEVELS: Final = 4
MOST_INDEX: Final = 254
WIRES: Final = {
    **dict.fromkeys((3, 4, 5, 8, 13, 14, 17, 18), 0),
    **dict.fromkeys((1, 6, 16), 1),
    **dict.fromkeys((9, 11, 12), 2),
    **dict.fromkeys((2, 7, 15), 5),
}
"""By the number of a field's type the wire type of its values."""
TIMESTAMP: Final = "google.protobuf.Timestamp"
DURATION: Final = "google.protobuf.Duration"
DECIMAL: Final = "confluent.type.Decimal"


def header(payload: bytes) -> tuple[tuple[int, tuple[int, ...]], int]:
    """The id and the indexes that stand before a message, and where it begins. Raises Malformed."""
    if len(payload) < 5 or payload[0] != 0:
        raise Malformed("no framing that is known")
    at, count = varint(payload, 5)
    path = []
    for _ in range(count // 2):
        at, index = varint(payload, at)
        path.append(index // 2)
        if index % 2 or path[-1] > MOST_INDEX:
            raise Malformed("an index that cannot be")
    if count % 2 or len(path) > MOST_LEVELS:
        raise Malformed("indexes that cannot be")
    return (int.from_bytes(payload[1:5], "big"), tuple(path) or (0,)), at


def varint(data: bytes, at: int) -> tuple[int, int]:
    """Where a number of at most 64 bits ends, and the number. Raises Malformed, IndexError."""
    value = shift = 0
    while True:
        byte = data[at]
        at, value, shift = at + 1, value | (byte & 127) << shift, shift + 7
        if byte < 128:
            if value >> 64:
                raise Malformed("a number of more than 64 bits")
            return at, value
        if shift > 63:
            raise Malformed("a number of more than 64 bits")


def _raw(data: bytes, at: int, wire: int, number: int, depth: int) -> tuple[int, Any]:
    """Where a value ends, and what it is: an int, or bytes. Raises Malformed, IndexError."""
    if wire == 0:
        return varint(data, at)
    if wire in (1, 5):
        size = 8 if wire == 1 else 4
        if at + size > len(data):
            raise Malformed("truncated")
        return at + size, int.from_bytes(data[at : at + size], "little")
    if wire == 2:
        at, size = varint(data, at)
        if at + size > len(data):
            raise Malformed("truncated")
        return at + size, data[at : at + size]
    if wire != 3 or depth > MOST_DEPTH:
        raise Malformed("no such wire type, or groups too deep")
    while True:
        at, tag = varint(data, at)
        if not 0 < tag >> 3 < 1 << 29:
            raise Malformed("no field number")
        if tag & 7 == 4:
            if tag >> 3 != number:
                raise Malformed("another group ends")
            return at, None
        at, _ = _raw(data, at, tag & 7, tag >> 3, depth + 1)


def _tokens(data: bytes) -> Iterator[tuple[int, int, Any]]:
    at = 0
    while at < len(data):
        at, tag = varint(data, at)
        if not 0 < tag >> 3 < 1 << 29:
            raise Malformed("no field number")
        at, value = _raw(data, at, tag & 7, tag >> 3, 1)
        yield tag >> 3, tag & 7, value


def fields_of(kind: Descriptor, data: bytes, depth: int) -> dict[str, Any]:
    """By name the fields that a message has: messages as such dictionaries. Raises Malformed, IndexError."""
    if depth > MOST_DEPTH + 1:
        raise Malformed("nested too deeply")
    found: dict[str, Any] = {}
    is_entry = kind.GetOptions().map_entry
    for number, wire, raw in _tokens(data):
        field = kind.fields_by_number.get(number)
        if is_entry and (field is None or wire != WIRES[field.type]):
            raise Malformed("an entry of a map with more than key and value")
        if field is None:
            continue
        if wire == WIRES.get(field.type, -1):
            values = [_single(field, raw, depth)]
        elif field.is_repeated and wire == 2 and WIRES.get(field.type) in (0, 1, 5):
            values = list(_packed(field, raw, depth))
        else:
            continue
        if field.is_repeated:
            found.setdefault(field.name, []).extend(values)
            continue
        oneof = field.containing_oneof
        if oneof is not None and any(one.name in found and one.name != field.name for one in oneof.fields):
            raise Malformed("two members of a oneof")
        if field.type == 11 and field.name in found:
            raise Malformed("a message that stands twice")
        found[field.name] = values[0]
    if any(field.is_required and field.name not in found for field in kind.fields):
        raise Malformed("a required field is missing")
    _check(kind, found)
    return found


def _packed(field: FieldDescriptor, data: bytes, depth: int) -> Iterator[Any]:
    at = 0
    while at < len(data):
        at, raw = _raw(data, at, WIRES[field.type], 0, 1)
        yield _single(field, raw, depth)


def _single(field: FieldDescriptor, raw: Any, depth: int) -> Any:
    kind = field.type
    if kind == 11:
        return fields_of(field.message_type, raw, depth + 1)
    if kind in (9, 12):
        return raw.decode() if kind == 9 else raw
    if kind in (1, 2):
        return struct.unpack("<d" if kind == 1 else "<f", raw.to_bytes(8 if kind == 1 else 4, "little"))[0]
    if kind == 8:
        return raw != 0
    bits = 32 if kind in (5, 7, 13, 14, 15, 17) else 64
    value = raw % (1 << bits)
    if kind in (17, 18):
        return value >> 1 if value % 2 == 0 else -(value >> 1) - 1
    signed = kind in (3, 5, 14, 15, 16)
    return value - (1 << bits) if signed and value >> (bits - 1) else value


def _check(kind: Descriptor, found: dict[str, Any]) -> None:
    if kind.full_name in (TIMESTAMP, DURATION):
        seconds, nanos = found.get("seconds", 0), found.get("nanos", 0)
        if kind.full_name == TIMESTAMP:
            good = -62_135_596_800 <= seconds <= 253_402_300_799 and 0 <= nanos < 10**9
        else:
            good = abs(seconds) <= 315_576_000_000 and abs(nanos) < 10**9 and seconds * nanos >= 0
        if not good:
            raise Malformed("no time that can be")
    if kind.full_name == DECIMAL and (abs(found.get("scale", 0)) > 20_000 or len(found.get("value", b"")) > 65_536):
        raise Malformed("a decimal beyond all limits")
