"""Values of keys: as parts of a dictionary's key, and read from the JSON of Debezium's headers."""

import base64
import binascii
import json
import struct
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

import pyarrow as pa

from .avro_logical_types import decimal_of
from .avro_reader import Reader
from .avro_validator import Malformed
from .canonical import Moment, Number, moment, natural

NAN: Final = float("nan")
"""One object, for a dictionary finds by identity what is not equal to itself."""


def hashable(value: Any) -> Any:
    """Lists and dicts as tuples, so that a key can be a key of a dictionary."""
    if isinstance(value, dict):
        return tuple((name, hashable(part)) for name, part in sorted(value.items()))
    return tuple(map(hashable, value)) if type(value) is list else value


def has_columns(row: Mapping[str, Any], names: Sequence[str]) -> bool:
    """Whether the row has all these columns, in whatever case their names are."""
    return all(name in row for name in names) or {name.casefold() for name in names} <= {n.casefold() for n in row}


def spelled(row: Mapping[str, Any], names: Sequence[str]) -> Mapping[str, Any]:
    """The row with these columns spelled so."""
    if all(name in row for name in names):
        return row
    by_fold = {name.casefold(): name for name in names}
    return {by_fold.get(name.casefold(), name): value for name, value in row.items()}


def key_names(names: tuple[str, ...], known: tuple[str, ...] | None, columns: pa.Schema | None) -> tuple[str, ...]:
    """The key's columns: a set, whose order and spelling are those that were met first, or those of the target."""
    if known is not None and {name.casefold() for name in known} == {name.casefold() for name in names}:
        return known
    spelling = {} if columns is None else {name.casefold(): name for name in columns.names}
    return tuple([spelling.get(name.casefold(), name) for name in names])


def key_part(value: Any) -> Any:
    """A key's value in one form whatever its type: a key whose type has widened is the same key.

    Whole numbers are integers, a date is its midnight.
    """
    value = natural(value)
    if isinstance(value, Number) and -80 < value.scale <= 0:
        return int(value.unscaled * 10**-value.scale)
    if type(value) is float and value.is_integer() and abs(value) < 1 << 53 and str(value) != "-0.0":
        return int(value)
    if type(value) is float and value != value:
        return NAN
    if isinstance(value, Moment) and value.kind == "date":
        return moment("instant", value.amount * value.unit)
    return hashable(value)


def agreed(part: Any, said: Any) -> Any:
    """The key's part, in the row's type where the row says it as well. Raises Malformed where the two differ."""
    kinds = {type(part), type(said)}
    if kinds == {int, str} and str(part) == str(said):
        return said
    if kinds == {int, str} or (len(kinds) == 1 and kinds <= {int, str, bytes, bool} and part != said):
        raise Malformed("key and row say two things")
    return part


def key_from_json(text: bytes, reader: Reader, names: tuple[str, ...]) -> tuple[Any, ...] | None:
    """The key in a Debezium header; None where it does not fit the key's schema."""
    try:
        given = json.loads(text, parse_float=Decimal)
        given = given.get("payload", given)
        row = {name: _from_json(part, reader.part_schema(name)) for name, part in given.items()}
        value = reader.key_convert(row) if reader.key_convert is not None else row
        by_fold = {name.casefold(): part for name, part in value.items()}
        return tuple([key_part(by_fold[name.casefold()]) for name in names])
    except (ValueError, KeyError, TypeError, AttributeError, binascii.Error):
        return None


def _from_json(value: Any, schema: Mapping[str, Any]) -> Any:
    """A value as fastavro gives it, of what Connect's JSON converter writes."""
    kind, decimal = schema["type"], decimal_of(schema)
    if kind in ("bytes", "fixed") and isinstance(value, str):
        return base64.b64decode(value, validate=True)
    if decimal is not None and isinstance(value, (int, Decimal)):
        unscaled = int(Decimal(value).scaleb(decimal[1]))
        return unscaled.to_bytes(unscaled.bit_length() // 8 + 1, "big", signed=True)
    if kind in ("float", "double") and value in ("NaN", "Infinity", "-Infinity"):
        return float(value)
    if kind == "float" and isinstance(value, (int, Decimal)):
        return struct.unpack("<f", struct.pack("<f", value))[0]
    if isinstance(value, dict) and set(value) == {"scale", "value"}:
        return {"scale": value["scale"], "value": base64.b64decode(value["value"], validate=True)}
    return float(value) if isinstance(value, Decimal) else value
