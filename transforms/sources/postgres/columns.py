"""Postgres's text of values to Arrow columns, of the types that Debezium's Avro gives."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ....schemas.envelopes.topic_columns import TopicColumns, columns_of_row
from ....schemas.model.route import Route
from ....schemas.model.value_texts import texts_of_items
from . import scanners
from .array_texts import array_items, bit_bytes, clock_texts, hex_bytes, hstore_json
from .blocks import Column, TableSchema
from .geometry import points, shapes
from .pgoutput import gathered

WHOLE: Final[dict[str, pa.DataType]] = {"int2": pa.int32(), "int4": pa.int32(), "oid": pa.int64(), "int8": pa.int64()}
NUMBER: Final = r"^[-+0-9.]+$"
FAR: Final = r"^(\d+-\d\d-\d\d) ([0-9:.]+)(\+00)?$"
WIDEST: Final = 76
SHORT: Final = 18
"""Digits of Arrow's widest decimal, and of those that 64 bits hold."""
MONEY_DIGITS: Final = 38

Found = tuple[pa.Array, pa.Array | None]
Whole = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Texts:
    """Where the text of each value stands in `data`, and how long it is: below 0 there is none."""

    data: NDArray[np.uint8]
    at: Whole
    size: Whole

    @property
    def absent(self) -> NDArray[np.bool_]:
        return self.size < 0

    def strings(self) -> pa.Array:
        """The texts themselves. Raises ArrowInvalid for text that is not UTF-8."""
        offsets, content, there = gathered(self.data, self.at, self.size)
        mask = None if there.all() else pa.array(there).buffers()[1]
        parts = [mask, pa.py_buffer(offsets), pa.py_buffer(content)]
        text = pa.Array.from_buffers(pa.large_string(), len(self.at), parts)
        text.validate(full=True)
        return text.cast(pa.string()) if offsets[-1] < 1 << 31 else text

    def others(self, fits: NDArray[np.bool_]) -> pa.Array | None:
        """The texts of those that do not fit, null for the rest; None where all do."""
        if fits.all():
            return None
        return Texts(self.data, self.at, np.where(fits, -1, self.size)).strings().cast(pa.string())


def column_of(data: NDArray[np.uint8], at: Whole, size: Whole, column: Column) -> Found:
    """The values, and by row the text of a value that the type has not, such as infinity; None where all fit.

    Raises ArrowInvalid for text that is not UTF-8.
    """
    return _typed(Texts(data, at, size), column.type_name, column.modifier)


def _typed(texts: Texts, name: str, modifier: int) -> Found:
    if name.endswith("]"):
        return _list(texts, name, modifier)
    if name in WHOLE:
        values, _ = scanners.whole_numbers(texts.data, texts.at, texts.size, 0)
        return _numbers(values, texts.absent, WHOLE[name]), None
    if name == "numeric":
        return _numeric(texts, modifier)
    if name == "bit" or name == "varbit":
        return _bits(texts, modifier), None
    if name in MOMENTS:
        return MOMENTS[name](texts, 0 <= modifier <= 3)
    make = PLAIN.get(name)
    return (texts.strings() if make is None else make(texts, modifier)), None


def _numbers(values: Whole, absent: NDArray[np.bool_], kind: pa.DataType) -> pa.Array:
    """Whole numbers as a column of this type."""
    width = np.int32 if kind.bit_width == 32 else np.int64
    mask = absent if absent.any() else None
    return pa.array(values.astype(width, copy=False), mask=mask).view(kind)


def _long_values(texts: Texts, written: tuple[Whole, NDArray[np.uint8]], kind: pa.DataType) -> pa.Array:
    """Text or bytes that a loop has written, one after the other."""
    offsets, content = written
    large = pa.large_string() if kind == pa.string() else pa.large_binary()
    mask = None if not texts.absent.any() else pa.array(~texts.absent).buffers()[1]
    parts = [mask, pa.py_buffer(offsets), pa.py_buffer(content)]
    made = pa.Array.from_buffers(large, len(texts.at), parts)
    made.validate(full=True)
    return made.cast(kind) if offsets[-1] < 1 << 31 else made


def topic_columns(schema: TableSchema, route: Route, topic: str) -> TopicColumns:
    """What the changes of a table have. Raises SchemaError for a table without a key."""
    nothing, absent = np.zeros(1, np.uint8), np.array([-1], np.int64)
    nothing.flags.writeable = False
    arrays = [column_of(nothing, np.zeros(1, np.int64), absent, column)[0] for column in schema.columns]
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
    return pa.decimal128(precision, scale) if precision <= MONEY_DIGITS else pa.decimal256(precision, scale)


def _numeric(texts: Texts, modifier: int) -> Found:
    kind = decimal_of(modifier)
    if kind is None:
        return texts.strings(), None
    if kind.precision <= SHORT:
        values, fits = scanners.whole_numbers(texts.data, texts.at, texts.size, kind.scale)
        if fits.all():
            return _decimals(values, texts.absent, kind), None
    strings = texts.strings()
    fits = np.asarray(pc.fill_null(pc.match_substring_regex(strings, NUMBER), True))
    if fits.all():
        return strings.cast(kind), None
    good = Texts(texts.data, texts.at, np.where(fits, texts.size, -1)).strings()
    return good.cast(kind), texts.others(fits)


def _decimals(values: Whole, absent: NDArray[np.bool_], kind: pa.DataType) -> pa.Array:
    """Unscaled numbers of 64 bits, as decimals of 128."""
    wide = np.empty((len(values), 2), np.int64)
    wide[:, 0], wide[:, 1] = values, values >> 63
    mask = None if not absent.any() else pa.array(~absent).buffers()[1]
    return pa.Array.from_buffers(kind, len(values), [mask, pa.py_buffer(wide)])


def _money(texts: Texts, digits: int) -> pa.Array:
    values = scanners.cents(texts.data, texts.at, texts.size)
    return _decimals(values, texts.absent, pa.decimal128(MONEY_DIGITS, max(digits, 0)))


def _bits(texts: Texts, length: int) -> pa.Array:
    """One bit is a boolean, more are little-endian bytes."""
    if length == 1:
        return _booleans(texts, ord("1"))
    return _long_values(texts, bit_bytes(texts.data, texts.at, texts.size), pa.binary())


def _booleans(texts: Texts, true: int) -> pa.Array:
    there = texts.size > 0
    values = np.zeros(len(texts.at), np.bool_)
    values[there] = texts.data[texts.at[there]] == true
    return pa.array(values, mask=texts.absent if texts.absent.any() else None)


def _date(texts: Texts, short: bool) -> Found:
    values, fits = scanners.days(texts.data, texts.at, texts.size)
    return _numbers(values, texts.absent | ~fits, pa.date32()), texts.others(fits)


def _time(texts: Texts, short: bool) -> Found:
    values = scanners.clocks(texts.data, texts.at, texts.size)
    if short:
        return _numbers(values // 1_000, texts.absent, pa.time32("ms")), None
    return _numbers(values, texts.absent, pa.time64("us")), None


def _zoned_time(texts: Texts, short: bool) -> Found:
    clocks = scanners.zoned_clocks(texts.data, texts.at, texts.size)
    return _long_values(texts, clock_texts(clocks), pa.string()), None


def _timestamp(texts: Texts, short: bool) -> Found:
    values, fits = scanners.moments(texts.data, texts.at, texts.size)
    kind = pa.timestamp("ms" if short else "us")
    return _numbers(values // 1_000 if short else values, texts.absent | ~fits, kind), _far(texts.others(fits), "")


def _instant(texts: Texts, short: bool) -> Found:
    values, fits = scanners.moments(texts.data, texts.at, texts.size)
    return _numbers(values, texts.absent | ~fits, pa.timestamp("us", "UTC")), _far(texts.others(fits), "Z")


def _far(texts: pa.Array | None, zone: str) -> pa.Array | None:
    """ISO 8601 of moments beyond 64 bits; infinity as it is."""
    return None if texts is None else pc.replace_substring_regex(texts, FAR, rf"+\1T\2{zone}")


def _interval(texts: Texts, short: bool) -> Found:
    values, fits = scanners.intervals(texts.data, texts.at, texts.size)
    return _numbers(values, texts.absent | ~fits, pa.duration("us")), texts.others(fits)


def _list(texts: Texts, name: str, modifier: int) -> Found:
    """An array of one dimension; the text of one with more, for its items alone do not say its shape."""
    counts, content, at, size = array_items(texts.data, texts.at, texts.size, ord(name[-2]))
    content.flags.writeable = False
    items, of_items = _typed(Texts(content, at, size), name[: name.index("[")], modifier)
    flat, lengths = counts >= 0, np.maximum(counts, 0)
    offsets = pa.array(np.concatenate(([0], np.cumsum(lengths))).astype(np.int32))
    missing = texts.absent | ~flat
    made = pa.ListArray.from_arrays(offsets, items, mask=pa.array(missing) if missing.any() else None)
    whole = texts.others(flat)
    if of_items is None:
        return made, whole
    notes = texts_of_items(of_items, lengths)
    return made, notes if whole is None else pc.coalesce(notes, whole)


MOMENTS: Final[dict[str, Callable[[Texts, bool], Found]]] = {
    "date": _date,
    "time": _time,
    "timetz": _zoned_time,
    "timestamp": _timestamp,
    "timestamptz": _instant,
    "interval": _interval,
}
PLAIN: Final[dict[str, Callable[[Texts, int], pa.Array]]] = {
    "bool": lambda texts, modifier: _booleans(texts, ord("t")),
    "float4": lambda texts, modifier: texts.strings().cast(pa.float32()),
    "float8": lambda texts, modifier: texts.strings().cast(pa.float64()),
    "bytea": lambda texts, modifier: _long_values(texts, hex_bytes(texts.data, texts.at, texts.size), pa.binary()),
    "hstore": lambda texts, modifier: _long_values(texts, hstore_json(texts.data, texts.at, texts.size), pa.string()),
    "money": _money,
    "point": lambda texts, modifier: points(texts.strings()),
    "geometry": lambda texts, modifier: shapes(hex_bytes(texts.data, texts.at, texts.size), texts.absent),
    "geography": lambda texts, modifier: shapes(hex_bytes(texts.data, texts.at, texts.size), texts.absent),
}
