"""Arrow columns to protobuf messages, a message a row, without Python for each of them.

Every column becomes an Arrow array of bytes: the encoded field of each row, tag and all, empty for NULL. A message is
the fields of a row joined; a nested message is such a join after its tag and length. Field numbers count from one in
the order of the columns, so `columns.message` describes these messages. Columns have the types of
`types.in_bigquery`. Source of the format: protobuf's "Encoding", and for DATETIME and TIME the bit fields of
CivilTimeEncoder in java-bigquerystorage.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numba
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ....schemas.loops import array, compile_ahead, read_only

Bytes = NDArray[np.uint8]
Numbers = NDArray[np.int64]
Mask = NDArray[np.bool_]

VARINT: Final = 0
FIXED64: Final = 1
SIZED: Final = 2
BATCH_BYTES: Final = 4 << 20
SEPARATOR: Final = pa.scalar(b"", pa.binary())

_njit: Any = numba.njit
_compiled: Final[Any] = _njit(cache=True, nogil=True)


@dataclass(frozen=True, slots=True)
class Rows:
    """`count` encoded rows; `data` is the content of a ProtoRows message: each row after its tag and length."""

    data: memoryview
    count: int


class RowTooLargeError(ValueError):
    """One row alone is beyond what a request may hold; `row` is its number, `size` its bytes."""

    def __init__(self, row: int, size: int) -> None:
        super().__init__(row, size)
        self.row, self.size = row, size


def encode(columns: pa.RecordBatch, limit: int) -> Iterator[Rows]:
    """The rows in their order, in parts of at most `limit` bytes. Raises RowTooLargeError."""
    step = max(1, columns.num_rows * BATCH_BYTES // max(1, columns.nbytes))
    for first in range(0, columns.num_rows, step):
        yield from _parts(_sized(message(columns.slice(first, step).columns), 1), limit, first)


def _parts(rows: pa.Array, limit: int, first: int) -> Iterator[Rows]:
    # `rows` is a binary array: its bytes are one buffer, of which each part of the rows is a slice.
    offsets, data = _offsets(rows), memoryview(rows.buffers()[2]).cast("B")
    start = 0
    while start < len(rows):
        stop = int(np.searchsorted(offsets, offsets[start] + limit, "right")) - 1
        if stop <= start:
            raise RowTooLargeError(first + start, int(offsets[start + 1] - offsets[start]))
        yield Rows(data[int(offsets[start]) : int(offsets[stop])], stop - start)
        start = stop


def message(columns: Sequence[pa.Array]) -> pa.Array:
    """Binary array: the message of each row; column `i` is field `i + 1`."""
    return pc.binary_join_element_wise(*(_field(column, i) for i, column in enumerate(columns, 1)), SEPARATOR)


def _field(column: pa.Array, number: int) -> pa.Array:
    kind = column.type
    if pa.types.is_nested(kind):
        inner = message(column.flatten()) if pa.types.is_struct(kind) else _repeated(column)
        return _sized(inner, number, _valid(column))
    if pa.types.is_string(kind) or pa.types.is_binary(kind):
        return _sized(column, number, _valid(column))
    if pa.types.is_decimal(kind):
        return _sized(column.cast(pa.string()), number, _valid(column))
    if pa.types.is_floating(kind):
        data = np.ascontiguousarray(column.fill_null(0)).view(np.uint8)
        return _binary(*_fixed64(data, _valid(column), tag(number, FIXED64)))
    return _binary(*_varints(_integers(column), _valid(column), tag(number, VARINT)))


def _repeated(column: pa.Array) -> pa.Array:
    """Messages whose field 1, repeated, is a message of each element: of `element`, or of a map's `key` and `value`.

    Arrow may hold elements under a NULL list; they are encoded here, and `_sized` leaves them out.
    """
    parts = [column.keys, column.items] if pa.types.is_map(column.type) else [column.values]
    # Elements are encoded once, all rows together; the bytes of row i end where its last element ends.
    elements = _sized(message(parts), 1)
    ends = _offsets(elements)[np.asarray(column.offsets)]
    return pa.Array.from_buffers(pa.binary(), len(column), [None, pa.py_buffer(ends), elements.buffers()[2]])


def _integers(column: pa.Array) -> Numbers:
    kind = column.type
    if pa.types.is_time(kind):
        return _clock(np.asarray(column.cast(pa.int64()).fill_null(0)))
    if pa.types.is_timestamp(kind) and kind.tz is None:
        return _civil(column)
    if pa.types.is_date32(kind):
        column = column.cast(pa.int32())
    return np.asarray(column.cast(pa.int64()).fill_null(0))


def _clock(micros: Numbers) -> Numbers:
    """Hours, 6 bits of minutes, 6 of seconds, 20 of microseconds."""
    seconds, rest = np.divmod(micros, 1_000_000)
    minutes, second = np.divmod(seconds, 60)
    hour, minute = np.divmod(minutes, 60)
    return (((((hour << 6) | minute) << 6) | second) << 20) | rest


def _civil(column: pa.Array) -> Numbers:
    """Years, 4 bits of months, 5 of days, 5 of hours, and the rest as `_clock` has it."""
    moments = column.fill_null(0)
    year, month, day = (np.asarray(part(moments)) for part in (pc.year, pc.month, pc.day))
    micros = np.asarray(moments.cast(pa.int64())) % 86_400_000_000
    return (((((year << 4) | month) << 5) | day) << 37) | _clock(micros)


def _sized(column: pa.Array, number: int, valid: Mask | None = None) -> pa.Array:
    """Tag, length and bytes of each value of a binary or text array; nothing where not `valid`."""
    _, _, buffer = column.buffers()
    data = np.frombuffer(buffer, np.uint8) if buffer is not None and buffer.size else np.zeros(1, np.uint8)
    there = np.ones(len(column), np.bool_) if valid is None else valid
    return _binary(*_lengths(data, _offsets(column), there, tag(number, SIZED)))


def _offsets(column: pa.Array) -> NDArray[np.int32]:
    return np.frombuffer(column.buffers()[1], np.int32, len(column) + 1, column.offset * 4)


def _valid(column: pa.Array) -> Mask:
    return np.asarray(column.is_valid())


def _binary(data: Bytes, offsets: NDArray[np.int32]) -> pa.Array:
    return pa.Array.from_buffers(pa.binary(), len(offsets) - 1, [None, pa.py_buffer(offsets), pa.py_buffer(data)])


def tag(number: int, wire: int) -> Bytes:
    """The bytes before a field's value."""
    return np.frombuffer(varint(number << 3 | wire), np.uint8).copy()


def varint(number: int) -> bytes:
    """The number in seven bits a byte, the lowest first."""
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


# The loops below take a column and return its encoded fields: all bytes (uint8), and n + 1 offsets (int32) of the rows.
# Each goes over the rows twice: sizes first, so that the bytes are allocated once. `mark` is the field's tag.


@_compiled
def _width(value):  # type: ignore[no-untyped-def]
    """Bytes of a varint."""
    width = 1
    while value > np.uint64(127):
        value >>= np.uint64(7)
        width += 1
    return width


@_compiled
def _put(data, at, value):  # type: ignore[no-untyped-def]
    """Write a varint; the place after it."""
    while value > np.uint64(127):
        data[at] = np.uint8(value & np.uint64(127)) | np.uint8(128)
        value >>= np.uint64(7)
        at += 1
    data[at] = np.uint8(value)
    return at + 1


@compile_ahead(
    (array(np.int64), array(np.bool_), array(np.uint8)), (read_only(np.int64), array(np.bool_), array(np.uint8))
)
@_compiled
def _varints(values, valid, mark):  # type: ignore[no-untyped-def]
    """`values`: int64; a negative one takes ten bytes, as protobuf has it."""
    offsets = np.zeros(len(values) + 1, np.int32)
    for i in range(len(values)):
        offsets[i + 1] = offsets[i] + (len(mark) + _width(np.uint64(values[i])) if valid[i] else 0)
    data = np.empty(offsets[-1], np.uint8)
    for i in range(len(values)):
        if valid[i]:
            at = offsets[i]
            data[at : at + len(mark)] = mark
            _put(data, at + len(mark), np.uint64(values[i]))
    return data, offsets


@compile_ahead((read_only(np.uint8), array(np.bool_), array(np.uint8)))
@_compiled
def _fixed64(values, valid, mark):  # type: ignore[no-untyped-def]
    """`values`: the doubles' bytes, little-endian, 8 for each row."""
    offsets = np.zeros(len(valid) + 1, np.int32)
    for i in range(len(valid)):
        offsets[i + 1] = offsets[i] + (len(mark) + 8 if valid[i] else 0)
    data = np.empty(offsets[-1], np.uint8)
    for i in range(len(valid)):
        if valid[i]:
            at = offsets[i]
            data[at : at + len(mark)] = mark
            data[at + len(mark) : offsets[i + 1]] = values[8 * i : 8 * i + 8]
    return data, offsets


@compile_ahead(
    (array(np.uint8), array(np.int32), array(np.bool_), array(np.uint8)),
    (array(np.uint8), read_only(np.int32), array(np.bool_), array(np.uint8)),
    (read_only(np.uint8), read_only(np.int32), array(np.bool_), array(np.uint8)),
)
@_compiled
def _lengths(values, places, valid, mark):  # type: ignore[no-untyped-def]
    """`values`: the bytes of all rows; those of row i are `values[places[i] : places[i + 1]]`."""
    offsets = np.zeros(len(valid) + 1, np.int32)
    for i in range(len(valid)):
        size = places[i + 1] - places[i]
        offsets[i + 1] = offsets[i] + (len(mark) + _width(np.uint64(size)) + size if valid[i] else 0)
    data = np.empty(offsets[-1], np.uint8)
    for i in range(len(valid)):
        if valid[i]:
            at, size = offsets[i], places[i + 1] - places[i]
            data[at : at + len(mark)] = mark
            at = _put(data, at + len(mark), np.uint64(size))
            data[at : at + size] = values[places[i] : places[i + 1]]
    return data, offsets
