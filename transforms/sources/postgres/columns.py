"""Postgres's text of values to Arrow columns, of the types that Debezium's Avro gives."""

from collections.abc import Callable
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ....schemas.envelopes.topic_columns import TopicColumns, columns_of_row
from ....schemas.model.route import Route
from .blocks import Column, TableSchema
from .pgoutput import gathered

PLAIN: Final[dict[str, pa.DataType]] = {
    "int2": pa.int32(),
    "int4": pa.int32(),
    "oid": pa.int64(),
    "int8": pa.int64(),
    "float4": pa.float32(),
    "float8": pa.float64(),
}
DATE: Final = r"^\d{4}-\d\d-\d\d$"
CLOCK: Final = r"^([01]\d|2[0-3]):\d\d:\d\d(\.\d+)?$"
MOMENT: Final = r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)?(\+00)?$"
NUMBER: Final = r"^[-+0-9.]+$"
WIDEST: Final = 38
HIGH: Final = np.frombuffer(bytes(max("0123456789abcdef".find(chr(i)), 0) for i in range(256)), np.uint8)


def column_of(
    data: NDArray[np.uint8], at: NDArray[np.int64], size: NDArray[np.int64], column: Column
) -> tuple[pa.Array, pa.Array | None]:
    """The values, and by row the text of a value that the type has not, such as infinity; None where all fit.

    Raises ArrowInvalid for text that is not UTF-8.
    """
    offsets, content, there = gathered(data, at, size)
    mask = None if there.all() else pa.array(there).buffers()[1]
    text = pa.Array.from_buffers(pa.large_string(), len(at), [mask, pa.py_buffer(offsets), pa.py_buffer(content)])
    text.validate(full=True)
    if offsets[-1] < 1 << 31:
        text = text.cast(pa.string())
    return _typed(text, column)


def _typed(text: pa.Array, column: Column) -> tuple[pa.Array, pa.Array | None]:
    name, modifier = column.type_name, column.modifier
    if name == "bool":
        return pc.equal(text, "t"), None
    if name in PLAIN:
        return text.cast(PLAIN[name]), None
    if name == "bytea":
        return _bytes(text), None
    if name == "numeric" and (kind := decimal_of(modifier)) is not None:
        return _fitting(text, NUMBER, lambda good: good.cast(kind))
    if name == "date":
        return _fitting(text, DATE, lambda good: good.cast(pa.date32()))
    unit = "ms" if 0 <= modifier <= 3 else "us"
    if name == "time":
        return _fitting(text, CLOCK, lambda good: _clock(good, unit))
    if name == "timestamp":
        return _fitting(text, MOMENT, lambda good: good.cast(pa.timestamp(unit)))
    if name == "timestamptz":
        return _fitting(text, MOMENT, lambda good: good.cast(pa.timestamp("us", "UTC")))
    return text, None


def topic_columns(schema: TableSchema, route: Route, topic: str) -> TopicColumns:
    """What the changes of a table have. Raises SchemaError for a table without a key."""
    arrays = [_typed(pa.nulls(1, pa.string()), column)[0] for column in schema.columns]
    row = pa.StructArray.from_arrays(arrays, [column.name for column in schema.columns])
    key = None
    if schema.key:
        key = pa.StructArray.from_arrays([row.field(name) for name in schema.key], list(schema.key))
    return columns_of_row(row, key, route, topic)


def decimal_of(modifier: int) -> pa.DataType | None:
    """The decimal of a numeric's typmod; None where it has no bounds, or Arrow's has not those."""
    if modifier < 4:
        return None
    precision, scale = (modifier - 4) >> 16 & 0xFFFF, (modifier - 4) & 0x7FF
    if precision > WIDEST or scale > precision:
        return None
    return pa.decimal128(precision, scale)


def _fitting(text: pa.Array, pattern: str, convert: Callable[[pa.Array], pa.Array]) -> tuple[pa.Array, pa.Array | None]:
    """The values that match the pattern, and the texts of the others."""
    fits = pc.match_substring_regex(text, pattern)
    if pc.all(fits).as_py() in (True, None):
        return convert(text), None
    nothing = pa.scalar(None, text.type)
    return convert(pc.if_else(fits, text, nothing)), pc.if_else(fits, nothing, text).cast(pa.string())


def _clock(text: pa.Array, unit: str) -> pa.Array:
    """Times of day; Arrow reads them as part of a timestamp only."""
    moments = pc.binary_join_element_wise("1970-01-01", text, " ").cast(pa.timestamp(unit))
    numbers = moments.cast(pa.int64())
    return numbers.cast(pa.int32()).cast(pa.time32("ms")) if unit == "ms" else numbers.cast(pa.time64("us"))


def _bytes(text: pa.Array) -> pa.Array:
    r"""What `\x0a1b` says, two digits a byte."""
    text = text.cast(pa.large_string())
    offsets = np.frombuffer(text.buffers()[1], np.int64, len(text) + 1, text.offset * 8)
    there = np.asarray(text.is_valid())
    digits = np.frombuffer(text.buffers()[2] or b"", np.uint8)
    kept = np.ones(len(digits), np.bool_)
    heads = offsets[:-1][there]
    kept[heads] = kept[heads + 1] = False
    numbers = HIGH[digits[kept]] if len(digits) else np.empty(0, np.uint8)
    content = (numbers[0::2] << 4 | numbers[1::2]).astype(np.uint8)
    sizes = np.where(there, (np.diff(offsets) - 2) // 2, 0)
    starts = np.concatenate(([0], np.cumsum(sizes))).astype(np.int64)
    mask = None if there.all() else pa.array(there).buffers()[1]
    made = pa.Array.from_buffers(pa.large_binary(), len(text), [mask, pa.py_buffer(starts), pa.py_buffer(content)])
    return made.cast(pa.binary()) if starts[-1] < 1 << 31 else made
