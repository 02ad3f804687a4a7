"""Values of one column to an Arrow array, of the types that Debezium's Avro gives."""

from collections.abc import Callable
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from .....schemas.errors import SourceError
from .....schemas.model.value_texts import text_field, texts_at
from . import event_types as types
from .json_text import json_of
from .numbers import cells, decimals, whole_numbers
from .rows import Image, size_of
from .table_map import Column, TableMap
from .texts import binary_of, padded_of, taken, text_of, validity
from .times import dates, instants, moments, odd_texts, times

Whole = NDArray[np.int64]
Bytes = NDArray[np.uint8]
Made = tuple[pa.Array, pa.Array | None]
SRID: Final = 4
WIDEST_DECIMAL: Final = 38
YEARS: Final = 1900
MILLIS: Final = 3
"""Digits of a fraction up to which a DATETIME has milliseconds, and beyond which microseconds."""


def column_of(data: Bytes, at: Whole, size: Whole, column: Column) -> Made:
    """The values of rows whose places these are, and by row the text of a value that the type has not; None: of no row.

    Sizes below 0 are null. Raises SourceError for bytes that are no value of the type.
    """
    at, size = np.ascontiguousarray(at), np.ascontiguousarray(size)
    maker = _MAKERS.get(column.kind)
    if maker is None:
        raise SourceError(f"column {column.name}: values of type {column.kind} are not read")
    return maker(data, at, size, column)


def struct_of(data: Bytes, image: Image, table: TableMap, chosen: Whole | None = None) -> pa.StructArray:
    """The chosen rows (None: all) as a struct of the table's columns, each with its texts beside it where it has some.

    Raises SourceError as `TableMap.demand` does.
    """
    table.demand()
    fields: list[pa.Field] = []
    arrays: list[pa.Array] = []
    for place, column in enumerate(table.columns):
        at, size = image.at[place], image.size[place]
        if chosen is not None:
            at, size = at[chosen], size[chosen]
        values, texts = column_of(data, at, size, column)
        fields.append(pa.field(column.name or "", values.type))
        arrays.append(values)
        if texts is not None:
            fields.append(text_field(column.name or ""))
            arrays.append(texts)
    return pa.StructArray.from_arrays(arrays, fields=fields)


def _made(kind: pa.DataType, values: NDArray[np.generic], size: Whole) -> pa.Array:
    return pa.Array.from_buffers(kind, len(size), [validity(size), pa.py_buffer(np.ascontiguousarray(values))])


def _numbers(data: Bytes, at: Whole, size: Whole, column: Column, *, signed: bool) -> Whole:
    out = np.empty(len(at), np.int64)
    whole_numbers(data, at, size, (size_of(column), signed), out)
    return out


def _integer(data: Bytes, at: Whole, size: Whole, column: Column) -> Made:
    unsigned = bool(column.unsigned)
    values = _numbers(data, at, size, column, signed=not unsigned)
    if column.kind == types.LONGLONG and unsigned and len(values) and values.min() < 0:
        rows = np.flatnonzero(values < 0)
        texts = texts_at(rows, [str(int(values[row]) + (1 << 64)) for row in rows], len(values))
        return _made(pa.int64(), values, np.where(values < 0, -1, size)), texts
    if column.kind == types.LONGLONG or (column.kind == types.LONG and unsigned):
        return _made(pa.int64(), values, size), None
    return _made(pa.int32(), values.astype(np.int32), size), None


def _year(data: Bytes, at: Whole, size: Whole, column: Column) -> Made:
    values = _numbers(data, at, size, column, signed=False)
    return _made(pa.int32(), np.where(values > 0, values + YEARS, 0).astype(np.int32), size), None


def _cells(data: Bytes, at: Whole, size: Whole, width: int, *, backwards: bool = False) -> Bytes:
    out = np.empty((len(at), width), np.uint8)
    cells(data, at, size, out, backwards)
    return out


def _float(data: Bytes, at: Whole, size: Whole, column: Column) -> Made:
    kind = pa.float32() if column.kind == types.FLOAT else pa.float64()
    return _made(kind, _cells(data, at, size, column.meta), size), None


def _decimal(data: Bytes, at: Whole, size: Whole, column: Column) -> Made:
    precision, scale = column.meta >> 8, column.meta & 255
    narrow = precision <= WIDEST_DECIMAL
    words = np.empty((len(at), 2 if narrow else 4), np.uint64)
    bad = int(decimals(data, at, size, (precision, scale), words, np.empty(8, np.uint64)))
    if bad >= 0:
        raise SourceError(f"column {column.name}: the bytes of row {bad} are no DECIMAL({precision},{scale})")
    kind = pa.decimal128(precision, scale) if narrow else pa.decimal256(precision, scale)
    return _made(kind, words, size), None


def _bit(data: Bytes, at: Whole, size: Whole, column: Column) -> Made:
    """BIT(1) is a boolean; of more the bytes, the lowest first."""
    if column.meta == 1:
        bits = np.packbits(_cells(data, at, size, 1)[:, 0] & 1, bitorder="little")
        return _made(pa.bool_(), bits, size), None
    width = size_of(column)
    fixed = _made(pa.binary(width), _cells(data, at, size, width, backwards=True), size)
    return fixed.cast(pa.binary()), None


def _date(data: Bytes, at: Whole, size: Whole, column: Column) -> Made:
    days, odd = np.empty(len(at), np.int64), np.empty(len(at), np.int64)
    dates(data, at, size, days, odd)
    return _made(pa.date32(), days.astype(np.int32), np.where(odd, -1, size)), odd_texts(odd, pa.date32())


def _fraction(column: Column) -> int:
    """The bytes of its fraction; -1 for the types of MySQL 5.5."""
    return (column.meta + 1) // 2 if column.kind in (types.TIME2, types.DATETIME2, types.TIMESTAMP2) else -1


def _time(data: Bytes, at: Whole, size: Whole, column: Column) -> Made:
    micros = np.empty(len(at), np.int64)
    times(data, at, size, _fraction(column), micros)
    return _made(pa.time64("us"), micros, size), None


def _datetime(data: Bytes, at: Whole, size: Whole, column: Column) -> Made:
    micros, odd = np.empty(len(at), np.int64), np.empty(len(at), np.int64)
    moments(data, at, size, _fraction(column), micros, odd)
    millis = column.meta <= MILLIS
    kind = pa.timestamp("ms" if millis else "us")
    return _made(kind, micros // 1000 if millis else micros, np.where(odd, -1, size)), odd_texts(odd, kind)


def _timestamp(data: Bytes, at: Whole, size: Whole, column: Column) -> Made:
    micros, odd = np.empty(len(at), np.int64), np.empty(len(at), np.int64)
    instants(data, at, size, _fraction(column), micros, odd)
    kind = pa.timestamp("us", "UTC")
    return _made(kind, micros, np.where(odd, -1, size)), odd_texts(odd, kind)


def _enum(data: Bytes, at: Whole, size: Whole, column: Column) -> Made:
    """The value's text; that of 0, which stands for a value that the column has not, is empty."""
    numbers = _numbers(data, at, size, column, signed=False)
    texts = ["", *(column.values or ())]
    if len(numbers) and int(numbers.max()) >= len(texts):
        raise SourceError(f"column {column.name}: value {numbers.max()} of an ENUM of {len(texts) - 1}")
    return taken(texts, numbers, size), None


def _set(data: Bytes, at: Whole, size: Whole, column: Column) -> Made:
    """Texts joined by commas, in the order of the column's values. Each combination is written once."""
    numbers = _numbers(data, at, size, column, signed=False)
    combinations, places = np.unique(numbers, return_inverse=True)
    names = column.values or ()
    texts = []
    for bits in (int(one) & (1 << 64) - 1 for one in combinations):
        if bits >> len(names):
            raise SourceError(f"column {column.name}: bits {bits:#x} of a SET of {len(names)}")
        texts.append(",".join(name for place, name in enumerate(names) if bits >> place & 1))
    return taken(texts, places.reshape(-1), size), None


def _string(data: Bytes, at: Whole, size: Whole, column: Column) -> Made:
    if column.charset != "binary":
        return text_of(data, at, size, column.charset or "utf8mb4")
    if column.kind == types.STRING:
        return padded_of(data, at, size, column.meta), None
    return binary_of(data, at, size), None


def _bytes(data: Bytes, at: Whole, size: Whole, _: Column) -> Made:
    return binary_of(data, at, size), None


def _geometry(data: Bytes, at: Whole, size: Whole, column: Column) -> Made:
    """WKB. The server keeps the number of the reference system before it."""
    if ((size >= 0) & (size < SRID)).any():
        raise SourceError(f"column {column.name}: a geometry of less than {SRID} bytes")
    return binary_of(data, at + SRID, np.where(size < 0, size, size - SRID)), None


def _json(data: Bytes, at: Whole, size: Whole, column: Column) -> Made:
    return json_of(data, at, size, column.name or ""), None


def _null(_: Bytes, at: Whole, __: Whole, ___: Column) -> Made:
    return pa.nulls(len(at), pa.string()), None


_MAKERS: Final[dict[int, Callable[[Bytes, Whole, Whole, Column], Made]]] = {
    **dict.fromkeys((types.TINY, types.SHORT, types.INT24, types.LONG, types.LONGLONG), _integer),
    **dict.fromkeys((types.FLOAT, types.DOUBLE), _float),
    **dict.fromkeys((types.TIME, types.TIME2), _time),
    **dict.fromkeys((types.DATE, types.NEWDATE), _date),
    **dict.fromkeys((types.DATETIME, types.DATETIME2), _datetime),
    **dict.fromkeys((types.TIMESTAMP, types.TIMESTAMP2), _timestamp),
    **dict.fromkeys((types.VARCHAR, types.STRING), _string),
    **dict.fromkeys((types.TINY_BLOB, types.MEDIUM_BLOB, types.LONG_BLOB, types.BLOB), _string),
    types.YEAR: _year,
    types.NEWDECIMAL: _decimal,
    types.BIT: _bit,
    types.ENUM: _enum,
    types.SET: _set,
    types.JSON: _json,
    types.GEOMETRY: _geometry,
    types.VECTOR: _bytes,
    types.NULL: _null,
}
