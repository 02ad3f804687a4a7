"""Where an Avro datum ends, or what is wrong with it: every byte is checked, no value is built.

The rules are those of the Avro specification's binary encoding, and of the logical types. Beside them are limits of
ours: MAX_DEPTH for recursive types, MAX_EMPTY for array items that take no bytes (ten bytes could announce billions of
them), MAX_SCALE and MAX_DECIMAL for decimals.
"""

from collections.abc import Callable
from typing import Any, Final

from ...schemas.errors import SchemaError
from .avro_logical_types import MAX_DECIMAL, MAX_SCALE, VARIABLE_DECIMAL, decimal_of

Check = Callable[[bytes, int, int], int]
"""(payload, start, depth of recursive records) -> end of the datum that begins there. Raises Malformed, IndexError."""

MAX_DEPTH: Final = 64
MAX_EMPTY: Final = 1_000


class Malformed(ValueError):
    """The payload is not a datum of its schema."""


def validator(schema: Any) -> Callable[[bytes, int], int]:
    """A function (payload, start) -> end of the datum. It raises Malformed, or IndexError where the payload is cut."""
    check, _ = _compile(schema, "", {})
    return lambda data, at: check(data, at, 0)


def _compile(schema: Any, namespace: str, named: dict[str, Any]) -> tuple[Check, int]:
    """The check of a schema, and `min_size`: 0 where a datum may take no bytes, else 1.

    `named` are the types defined so far by full name; None stands for a record that is still being defined.
    """
    if isinstance(schema, list):
        return _union([_compile(branch, namespace, named)[0] for branch in schema]), 1
    if isinstance(schema, str):
        return _named(schema, namespace, named)
    kind = schema["type"]
    if kind == "array":
        return _items(*_compile(schema["items"], namespace, named), keys=False), 1
    if kind == "map":
        return _items(*_compile(schema["values"], namespace, named), keys=True), 1
    if kind in ("record", "error", "enum", "fixed"):
        return _new_named(schema, kind, namespace, named)
    if isinstance(kind, str) and kind in _PRIMITIVES:
        return _by_logical_type(schema, _PRIMITIVES[kind][0]), 1 if kind != "null" else 0
    return _compile({**schema, **kind} if isinstance(kind, dict) else kind, namespace, named)


def _by_logical_type(schema: dict[str, Any], check: Check) -> Check:
    """The check of a primitive or fixed type: `check`, or a stricter one where its logical type allows less."""
    decimal = decimal_of(schema)
    return _short_bytes if decimal is not None and decimal[0] is None and schema["type"] == "bytes" else check


def _in_range(least: int, most: int) -> Check:
    """A varint between both, which may be met."""

    def check(data: bytes, at: int, depth: int) -> int:
        value, at = _varint(data, at)
        if not least <= value <= most:
            raise Malformed(f"{value} is not between {least} and {most}")
        return at

    return check


def _variable_decimal(data: bytes, at: int, depth: int) -> int:
    return _short_bytes(data, _in_range(-MAX_SCALE, MAX_SCALE)(data, at, depth), depth)


def _short_bytes(data: bytes, at: int, depth: int) -> int:
    end = _bytes(data, at, depth)
    if end - _varint(data, at)[1] > MAX_DECIMAL:
        raise Malformed(f"a decimal of more than {MAX_DECIMAL} bytes")
    return end


def _named(name: str, namespace: str, named: dict[str, Any]) -> tuple[Check, int]:
    if name in _PRIMITIVES:
        return _PRIMITIVES[name]
    full = name if name in named else f"{namespace}.{name}"
    if full not in named:
        raise SchemaError(f"the type {name!r} is defined nowhere")
    defined = named[full]
    if defined is not None:
        return defined

    # Inside its own definition: the record's check is looked up when a payload is read, for it does not exist yet.
    def recursive(data: bytes, at: int, depth: int) -> int:
        if depth > MAX_DEPTH:
            raise Malformed(f"nested deeper than {MAX_DEPTH}")
        return named[full][0](data, at, depth + 1)

    return recursive, 1


def _new_named(schema: dict[str, Any], kind: str, namespace: str, named: dict[str, Any]) -> tuple[Check, int]:
    name = schema["name"]
    inner = name.rpartition(".")[0] if "." in name else schema.get("namespace", namespace) or ""
    full = name if "." in name or not inner else f"{inner}.{name}"
    if kind == "enum":
        named[full] = _enum(len(schema["symbols"])), 1
    elif kind == "fixed":
        if type(schema["size"]) is not int or schema["size"] < 0:
            raise SchemaError(f"the size of fixed {name} is no number of bytes")
        named[full] = _by_logical_type(schema, _fixed(schema["size"])), min(schema["size"], 1)
    else:
        named[full] = None
        if schema.get("connect.name") == VARIABLE_DECIMAL:
            named[full] = _variable_decimal, 1
            return named[full]
        parts = [_compile(field["type"], inner, named) for field in schema["fields"]]
        named[full] = _record([check for check, _ in parts]), max((min_size for _, min_size in parts), default=0)
    return named[full]


def _record(parts: list[Check]) -> Check:
    def check(data: bytes, at: int, depth: int) -> int:
        for part in parts:
            at = part(data, at, depth)
        return at

    return check


def _union(branches: list[Check]) -> Check:
    count = len(branches)

    def check(data: bytes, at: int, depth: int) -> int:
        # Most branches are numbers of one byte: zigzag of an even byte is its half, an odd byte is negative.
        byte = data[at]
        if byte < 128:
            index, at = byte >> 1 if not byte & 1 else -1, at + 1
        else:
            index, at = _varint(data, at)
        if not 0 <= index < count:
            raise Malformed(f"union branch {index} of {count}")
        return branches[index](data, at, depth)

    return check


def _enum(symbols: int) -> Check:
    def check(data: bytes, at: int, depth: int) -> int:
        index, at = _varint(data, at)
        if not 0 <= index < symbols:
            raise Malformed(f"enum symbol {index} of {symbols}")
        return at

    return check


def _fixed(size: int) -> Check:
    def check(data: bytes, at: int, depth: int) -> int:
        if at + size > len(data):
            raise Malformed("the payload ends too early")
        return at + size

    return check


def _items(item: Check, min_size: int, keys: bool) -> Check:
    """The blocks of an array, or with `keys` of a map, up to the empty block that ends them."""

    def check(data: bytes, at: int, depth: int) -> int:
        total = 0
        while True:
            count, at = _varint(data, at)
            if count == 0:
                return at
            stop = None
            # A negative count is followed by the size of the block in bytes.
            if count < 0:
                count = -count
                size, at = _varint(data, at)
                stop = at + size
            total += count
            if not min_size and not keys:
                if total > MAX_EMPTY:
                    raise Malformed(f"{total} items of no bytes")
                count = 0  # Items without bytes need no check, however many they are.
            for _ in range(count):
                if keys:
                    at = _bytes(data, at, depth)
                at = item(data, at, depth)
            if stop is not None and stop != at:
                raise Malformed("a block that is not as long as it says")

    return check


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A zigzag varint of at most 64 bits, and where it ends."""
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


def _long(data: bytes, at: int, depth: int) -> int:
    return at + 1 if data[at] < 128 else _varint(data, at)[1]


def _int(data: bytes, at: int, depth: int) -> int:
    if data[at] < 128:
        return at + 1
    value, at = _varint(data, at)
    if not -(1 << 31) <= value < 1 << 31:
        raise Malformed(f"{value} is no 32-bit number")
    return at


def _bytes(data: bytes, at: int, depth: int) -> int:
    # As in `_union`: a length of one byte is an even byte below 128.
    size = data[at]
    if size < 128 and not size & 1:
        at += 1 + (size >> 1)
    else:
        size, at = _varint(data, at)
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


_PRIMITIVES: Final[dict[str, tuple[Check, int]]] = {
    "null": (lambda data, at, depth: at, 0),
    "boolean": (_boolean, 1),
    "int": (_int, 1),
    "long": (_long, 1),
    "float": (_fixed(4), 1),
    "double": (_fixed(8), 1),
    "bytes": (_bytes, 1),
    "string": (_bytes, 1),
}
