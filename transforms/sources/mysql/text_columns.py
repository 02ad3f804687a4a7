"""Values of a copy, texts as SELECT gives them, to the Arrow columns that the binlog gives."""

from collections.abc import Callable
from datetime import date
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ....schemas.envelopes.topic_columns import TopicColumns, columns_of_row
from ....schemas.model.route import Route
from ....schemas.model.value_texts import text_field
from .binlog.columns import SRID, WIDEST_DECIMAL
from .binlog.texts import binary_of, text_of
from .tables import BYTES, SHAPES, CopiedColumn, CopiedSchema

Whole = NDArray[np.int64]
Bytes = NDArray[np.uint8]
Made = tuple[pa.Array, pa.Array | None]
SMALL: Final = ("tinyint", "smallint", "mediumint", "int", "year")
LONGEST_DIGITS: Final = 18
MOST: Final = str((1 << 63) - 1)
MILLIS: Final = 3
DAY: Final = r"^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])"
NO_YEAR: Final = "^0000-"
CLOCK: Final = r"^(?P<sign>-?)(?P<hours>\d+):(?P<minutes>\d\d):(?P<seconds>\d\d)(?P<fraction>\.\d+)?$"


def struct_of_texts(data: Bytes, at: Whole, size: Whole, columns: tuple[CopiedColumn, ...]) -> pa.StructArray:
    """Rows whose values stand there, both (columns, n), sizes below 0 of NULLs; with texts beside what a type lacks."""
    fields: list[pa.Field] = []
    arrays: list[pa.Array] = []
    for place, column in enumerate(columns):
        values, texts = column_of_texts(
            data, np.ascontiguousarray(at[place]), np.ascontiguousarray(size[place]), column
        )
        fields.append(pa.field(column.name, values.type))
        arrays.append(values)
        if texts is not None:
            fields.append(text_field(column.name))
            arrays.append(texts)
    return pa.StructArray.from_arrays(arrays, fields=fields)


def topic_columns(schema: CopiedSchema, route: Route, topic: str) -> TopicColumns:
    """What the changes of a table have. Raises SchemaError for a table without a key."""
    nothing, place, absent = np.zeros(0, np.uint8), np.zeros(1, np.int64), np.array([-1], np.int64)
    nothing.flags.writeable = False
    arrays = [column_of_texts(nothing, place, absent, column)[0] for column in schema.columns]
    row = pa.StructArray.from_arrays(arrays, [column.name for column in schema.columns])
    key = None
    if schema.key:
        key = pa.StructArray.from_arrays([row.field(name) for name in schema.key], list(schema.key))
    return columns_of_row(row, key, route, topic)


def column_of_texts(data: Bytes, at: Whole, size: Whole, column: CopiedColumn) -> Made:
    """The values, and by row the text of a value that the type has not; None: of no row."""
    kind = column.kind
    if kind in (*BYTES, "vector"):
        return binary_of(data, at, size), None
    if kind in SHAPES:
        return binary_of(data, at + SRID, np.where(size < 0, size, size - SRID)), None
    if kind == "bit":
        return _bits(data, at, size, column.precision), None
    text, _ = text_of(data, at, size, "utf8mb4")
    if kind in SMALL:
        return text.cast(pa.int64() if kind == "int" and column.unsigned else pa.int32()), None
    if kind == "bigint":
        return _long(text, size) if column.unsigned else (text.cast(pa.int64()), None)
    if kind in ("float", "double"):
        # A FLOAT is read as a DOUBLE: rounded once, to itself.
        values = text.cast(pa.float64())
        return values.cast(pa.float32(), safe=False) if kind == "float" else values, None
    if kind == "decimal":
        wide = column.precision > WIDEST_DECIMAL
        made = pa.decimal256 if wide else pa.decimal128
        return text.cast(made(column.precision, column.scale)), None
    makers: dict[str, Callable[[pa.Array, CopiedColumn], Made]] = {
        "date": _date, "time": _time, "datetime": _datetime, "timestamp": _timestamp
    }  # fmt: skip
    return makers[kind](text, column) if kind in makers else (text, None)


def _bits(data: Bytes, at: Whole, size: Whole, width: int) -> pa.Array:
    """BIT(1) is a boolean; of more the bytes, the lowest first, where the server sends the highest first."""
    there = size >= 0
    count = (width + 7) // 8
    cells = np.zeros((len(at), count), np.uint8)
    for i in range(count):
        # The server leaves out no byte.
        cells[there, i] = data[at[there] + count - 1 - i]
    if width == 1:
        return pa.array(cells[:, 0] != 0, pa.bool_(), mask=~there)
    fixed = pa.Array.from_buffers(pa.binary(count), len(at), [None, pa.py_buffer(np.ascontiguousarray(cells))])
    return pc.if_else(pa.array(there), fixed.cast(pa.binary()), pa.scalar(None, pa.binary()))


def _long(text: pa.Array, size: Whole) -> Made:
    """BIGINT UNSIGNED: above what 64 bits with a sign hold, the digits stand beside."""
    if not (size > LONGEST_DIGITS).any():
        return text.cast(pa.int64()), None
    length = pc.binary_length(text)
    fits = pc.or_(
        pc.less_equal(length, LONGEST_DIGITS), pc.and_(pc.equal(length, len(MOST)), pc.less_equal(text, MOST))
    )
    if pc.all(fits).as_py() in (True, None):
        return text.cast(pa.int64()), None
    nothing = pa.scalar(None, text.type)
    return pc.if_else(fits, text, nothing).cast(pa.int64()), pc.if_else(fits, nothing, text).cast(pa.string())


def _fitting(text: pa.Array, convert: Callable[[pa.Array], pa.Array], odd: Callable[[pa.Array], pa.Array]) -> Made:
    """The values that are days of the calendar, and the texts of the others: zeros for a day, a month or all."""
    fits = pc.and_(pc.match_substring_regex(text, DAY), pc.invert(pc.match_substring_regex(text, NO_YEAR)))
    nothing = pa.scalar(None, text.type)
    good = text if pc.all(fits).as_py() in (True, None) else pc.if_else(fits, text, nothing)
    try:
        made = convert(good)
    except pa.ArrowInvalid:
        # 31 February, which a server can be told to keep.
        fits = pc.and_(fits, pa.array([value is not None and _is_day(value[:10]) for value in text.to_pylist()]))
        made = convert(pc.if_else(fits, text, nothing))
    if made.null_count == text.null_count:
        return made, None
    return made, odd(pc.if_else(fits, nothing, text)).cast(pa.string())


def _is_day(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def _date(text: pa.Array, _: CopiedColumn) -> Made:
    return _fitting(text, lambda good: good.cast(pa.date32()), lambda odd: odd)


def _iso(odd: pa.Array) -> pa.Array:
    """As ISO 8601, without the zeros at the end of the fraction."""
    return pc.replace_substring(pc.replace_substring_regex(odd, r"(\.\d*[1-9])0+$|\.0+$", r"\1"), " ", "T")


def _datetime(text: pa.Array, column: CopiedColumn) -> Made:
    kind = pa.timestamp("ms" if column.precision <= MILLIS else "us")
    return _fitting(text, lambda good: good.cast(kind), _iso)


def _timestamp(text: pa.Array, _: CopiedColumn) -> Made:
    kind = pa.timestamp("us", "UTC")
    return _fitting(
        text,
        lambda good: good.cast(pa.timestamp("us")).cast(kind),
        lambda odd: pc.binary_join_element_wise(_iso(odd), "Z", ""),
    )


def _time(text: pa.Array, _: CopiedColumn) -> Made:
    """Microseconds; below zero and beyond a day too."""
    sign, *clock, fractions = pc.extract_regex(text, CLOCK).flatten()
    hours, minutes, seconds = (part.cast(pa.int64()) for part in clock)
    fraction = pc.utf8_rpad(pc.utf8_slice_codeunits(fractions, 1), 6, "0").cast(pa.int64())
    whole = pc.add(pc.multiply(pc.add(pc.multiply(hours, 60), minutes), 60), seconds)
    micros = pc.add(pc.multiply(whole, 1_000_000), fraction)
    signed = pc.if_else(pc.equal(sign, "-"), pc.negate(micros), micros)
    return pa.array(signed, pa.int64()).view(pa.time64("us")), None
