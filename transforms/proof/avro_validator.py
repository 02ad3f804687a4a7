"""A strict walk over an Avro datum: where it ends, or why it is none. It builds nothing.

Rules of the Avro specification's binary encoding, and limits of ours: MAX_DEPTH for recursive types, MAX_EMPTY for
array items that take no bytes, of which ten bytes could name billions, MAX_SCALE and MAX_DECIMAL for decimals.
"""

from collections.abc import Callable
from typing import Any, Final

from ...schemas.errors import SchemaError
from .avro_logical_types import MAX_DECIMAL, MAX_SCALE, VARIABLE_DECIMAL, ZONED, decimal_of, range_of, zoned

Skip = Callable[[bytes, int, int], int]

MAX_DEPTH: Final = 64
UNAVAILABLE: Final = b"__debezium_unavailable_value"
MAX_EMPTY: Final = 1_000


class Malformed(ValueError):
    """The payload is not a datum of its schema."""


def walker(schema: Any) -> Callable[[bytes, int], int]:
    """A function (payload, start) -> end of the datum; it raises Malformed or IndexError."""
    skip, _ = _compile(schema, "", {})
    return lambda data, at: skip(data, at, 0)


def _compile(schema: Any, namespace: str, named: dict[str, Any]) -> tuple[Skip, int]:
    """The walk of a schema, and the fewest bytes that a datum takes (0, or 1 for any more)."""
    if isinstance(schema, list):
        return _union([_compile(branch, namespace, named)[0] for branch in schema]), 1
    if isinstance(schema, str):
        return _named(schema, namespace, named)
    kind = schema["type"]
    if kind == "array":
        return _blocks(*_compile(schema["items"], namespace, named), keyed=False), 1
    if kind == "map":
        return _blocks(*_compile(schema["values"], namespace, named), keyed=True), 1
    if kind in ("record", "error", "enum", "fixed"):
        return _define(schema, kind, namespace, named)
    if isinstance(kind, str) and kind in _PRIMITIVES:
        return _meant(schema, _PRIMITIVES[kind][0]), 1 if kind != "null" else 0
    return _compile({**schema, **kind} if isinstance(kind, dict) else kind, namespace, named)


def _meant(schema: dict[str, Any], skip: Skip) -> Skip:
    """The walk of a number, of bytes or of text whose logical type leaves out some of what the plain type allows."""
    allowed, decimal = range_of(schema), decimal_of(schema)
    if allowed is not None:
        return _number(*allowed)
    if decimal is not None and decimal[0] is not None:
        return _digits(skip, schema["type"] == "bytes", 10 ** decimal[0])
    if decimal is not None and schema["type"] == "bytes":
        return _short
    if schema["type"] == "string" and schema.get("connect.name") == ZONED:
        return _zoned
    return skip


def _number(least: int, most: int) -> Skip:
    def skip(data: bytes, at: int, depth: int) -> int:
        value, at = _long(data, at)
        if not least <= value <= most:
            raise Malformed(f"{value} is not between {least} and {most}")
        return at

    return skip


def _digits(skip: Skip, sized: bool, limit: int) -> Skip:
    def checked(data: bytes, at: int, depth: int) -> int:
        end = skip(data, at, depth)
        start = _long(data, at)[1] if sized else at
        if not -limit < int.from_bytes(data[start:end], "big", signed=True) < limit:
            raise Malformed("a decimal of more digits than its precision")
        return end

    return checked


def _variable_decimal(data: bytes, at: int, depth: int) -> int:
    return _short(data, _number(-MAX_SCALE, MAX_SCALE)(data, at, depth), depth)


def _short(data: bytes, at: int, depth: int) -> int:
    end = _bytes(data, at, depth)
    if end - _long(data, at)[1] > MAX_DECIMAL:
        raise Malformed(f"a decimal of more than {MAX_DECIMAL} bytes")
    return end


def _zoned(data: bytes, at: int, depth: int) -> int:
    end = _bytes(data, at, depth)
    text = data[_long(data, at)[1] : end]
    if text != UNAVAILABLE and zoned(text.decode()) is None:
        raise Malformed(f"{text!r} is no ZonedTimestamp")
    return end


def _named(name: str, namespace: str, named: dict[str, Any]) -> tuple[Skip, int]:
    if name in _PRIMITIVES:
        return _PRIMITIVES[name]
    full = name if name in named else f"{namespace}.{name}"
    if full not in named:
        raise SchemaError(f"the type {name!r} is defined nowhere")
    found = named[full]
    if found is not None:
        return found

    def recursive(data: bytes, at: int, depth: int) -> int:
        if depth > MAX_DEPTH:
            raise Malformed(f"nested deeper than {MAX_DEPTH}")
        return named[full][0](data, at, depth + 1)

    return recursive, 1


def _define(schema: dict[str, Any], kind: str, namespace: str, named: dict[str, Any]) -> tuple[Skip, int]:
    name = schema["name"]
    inner = name.rpartition(".")[0] if "." in name else schema.get("namespace", namespace) or ""
    full = name if "." in name or not inner else f"{inner}.{name}"
    if kind == "enum":
        named[full] = _enum(len(schema["symbols"])), 1
    elif kind == "fixed":
        if type(schema["size"]) is not int or schema["size"] < 0:
            raise SchemaError(f"the size of fixed {name} is no number of bytes")
        named[full] = _meant(schema, _fixed(schema["size"])), min(schema["size"], 1)
    else:
        named[full] = None
        if schema.get("connect.name") == VARIABLE_DECIMAL:
            named[full] = _variable_decimal, 1
            return named[full]
        parts = [_compile(field["type"], inner, named) for field in schema["fields"]]
        named[full] = _record([skip for skip, _ in parts]), max((least for _, least in parts), default=0)
    return named[full]


def _record(parts: list[Skip]) -> Skip:
    def skip(data: bytes, at: int, depth: int) -> int:
        for part in parts:
            at = part(data, at, depth)
        return at

    return skip


def _union(branches: list[Skip]) -> Skip:
    count = len(branches)

    def skip(data: bytes, at: int, depth: int) -> int:
        byte = data[at]
        if byte < 128:
            index, at = byte >> 1 if not byte & 1 else -1, at + 1
        else:
            index, at = _long(data, at)
        if not 0 <= index < count:
            raise Malformed(f"union branch {index} of {count}")
        return branches[index](data, at, depth)

    return skip


def _enum(symbols: int) -> Skip:
    def skip(data: bytes, at: int, depth: int) -> int:
        index, at = _long(data, at)
        if not 0 <= index < symbols:
            raise Malformed(f"enum symbol {index} of {symbols}")
        return at

    return skip


def _fixed(size: int) -> Skip:
    def skip(data: bytes, at: int, depth: int) -> int:
        if at + size > len(data):
            raise Malformed("the payload ends too early")
        return at + size

    return skip


def _blocks(item: Skip, least: int, keyed: bool) -> Skip:
    def skip(data: bytes, at: int, depth: int) -> int:
        total = 0
        while True:
            count, at = _long(data, at)
            if count == 0:
                return at
            stop = None
            if count < 0:
                count = -count
                size, at = _long(data, at)
                stop = at + size
            total += count
            if not least and not keyed:
                if total > MAX_EMPTY:
                    raise Malformed(f"{total} items of no bytes")
                count = 0
            for _ in range(count):
                if keyed:
                    at = _bytes(data, at, depth)
                at = item(data, at, depth)
            if stop is not None and stop != at:
                raise Malformed("a block that is not as long as it says")

    return skip


def _long(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            break
        shift += 7
        if shift > 63:
            raise Malformed("a number of more than 64 bits")
    if value >> 64:
        raise Malformed("a number of more than 64 bits")
    return (value >> 1) ^ -(value & 1), at


def _skip_long(data: bytes, at: int, depth: int) -> int:
    return at + 1 if data[at] < 128 else _long(data, at)[1]


def _skip_int(data: bytes, at: int, depth: int) -> int:
    if data[at] < 128:
        return at + 1
    value, at = _long(data, at)
    if not -(1 << 31) <= value < 1 << 31:
        raise Malformed(f"{value} is no 32-bit number")
    return at


def _bytes(data: bytes, at: int, depth: int) -> int:
    size = data[at]
    if size < 128 and not size & 1:
        at += 1 + (size >> 1)
    else:
        size, at = _long(data, at)
        if size < 0:
            raise Malformed(f"a length of {size}")
        at += size
    if at > len(data):
        raise Malformed("the payload ends too early")
    return at


def _boolean(data: bytes, at: int, depth: int) -> int:
    if data[at] > 1:
        raise Malformed(f"a boolean of {data[at]}")
    return at + 1


_PRIMITIVES: Final[dict[str, tuple[Skip, int]]] = {
    "null": (lambda data, at, depth: at, 0),
    "boolean": (_boolean, 1),
    "int": (_skip_int, 1),
    "long": (_skip_long, 1),
    "float": (_fixed(4), 1),
    "double": (_fixed(8), 1),
    "bytes": (_bytes, 1),
    "string": (_bytes, 1),
}
