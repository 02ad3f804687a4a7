"""Arrow columns to rows of SQL's VALUES, `('text',1,NULL),` and a line's end: LOAD DATA and INSERT both read them.

Each column becomes cells: where the text of each row lies, and whether it stands in quotes. One pass a column measures,
another puts the texts where their rows stand in the output, with backslashes before what they would end.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numba
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from .....schemas.loops import array, compile_ahead, read_only
from ...shared.json_values import to_json
from ..columns import JSON, is_bytes, is_limited, is_text
from .moments import held_moments, moment_texts

LINES: Final = (
    r"CHARACTER SET binary FIELDS TERMINATED BY ',' ENCLOSED BY '\'' ESCAPED BY '\\' "
    r"LINES STARTING BY '(' TERMINATED BY '),\n'"
)
"""How LOAD DATA reads the rows."""

Numbers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Cells:
    """The texts of one column: `raw`, the start of each row's and their length, -1 for NULL; `quoted`: in quotes."""

    raw: NDArray[np.uint8]
    starts: Numbers
    sizes: Numbers
    quoted: bool


@dataclass(frozen=True, slots=True)
class RowTexts:
    """Rows one after another, and where each ends."""

    data: memoryview
    ends: Numbers


def encode(columns: Sequence[Cells]) -> RowTexts:
    """The rows of these columns, of which there is at least one."""
    rows = len(columns[0].sizes)
    lengths = np.full(rows, len("(") + len("),\n") + len(columns) - 1, np.int64)
    for column in columns:
        _measure(lengths, column.raw, column.starts, column.sizes, column.quoted)
    ends = np.cumsum(lengths)
    out = np.empty(int(ends[-1]) if rows else 0, np.uint8)
    at = ends - lengths
    out[at] = ord("(")
    at += 1
    for number, column in enumerate(columns):
        _place(out, at, (column.raw, column.starts, column.sizes), column.quoted, number == len(columns) - 1)
    return RowTexts(out.data, ends)


CELLS: Final = tuple((raw(np.uint8), array(np.int64), array(np.int64)) for raw in (array, read_only))


@compile_ahead(*((array(np.int64), *cells, True) for cells in CELLS))
@numba.njit(cache=True, nogil=True)
def _measure(lengths, raw, starts, sizes, quoted):  # type: ignore[no-untyped-def]
    """Add the bytes that the column's texts take in each row."""
    for row in range(len(lengths)):
        size = sizes[row]
        if size < 0:
            lengths[row] += 4
            continue
        lengths[row] += size
        if quoted:
            lengths[row] += 2
            for p in range(starts[row], starts[row] + size):
                byte = raw[p]
                lengths[row] += byte == 0 or byte == 39 or byte == 92


@compile_ahead(*((array(np.uint8), array(np.int64), cells, True, True) for cells in CELLS))
@numba.njit(cache=True, nogil=True)
def _place(out, at, cells, quoted, last):  # type: ignore[no-untyped-def]
    """Write the column's texts at `at`, and move it past them and past what follows them."""
    raw, starts, sizes = cells
    for row in range(len(at)):
        p, size, start = at[row], sizes[row], starts[row]
        if size < 0:
            out[p], out[p + 1], out[p + 2], out[p + 3] = 78, 85, 76, 76
            p += 4
        elif quoted:
            out[p] = 39
            p += 1
            for place in range(start, start + size):
                byte = raw[place]
                if byte == 0 or byte == 39 or byte == 92:
                    out[p] = 92
                    p += 1
                    byte = 48 if byte == 0 else byte
                out[p] = byte
                p += 1
            out[p] = 39
            p += 1
        else:
            for place in range(start, start + size):
                out[p] = raw[place]
                p += 1
        if last:
            out[p], out[p + 1], out[p + 2] = 41, 44, 10
        else:
            out[p] = 44
        at[row] = p + 1


def cells(column: pa.Array) -> Cells:
    """A column as MySQL's type of it wants it."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        return cells(column.dictionary_decode())
    if isinstance(kind, pa.BaseExtensionType):
        return cells(column.storage)
    if pa.types.is_nested(kind):
        return _texts(to_json(column, JSON), quoted=True)
    if is_text(kind) or is_bytes(kind):
        view = pa.types.is_string_view(kind) or pa.types.is_binary_view(kind)
        return _texts(column.cast(pa.large_binary()) if view else column, quoted=True)
    if pa.types.is_fixed_size_binary(kind):
        return _fixed(column, kind.byte_width)
    if pa.types.is_decimal(kind):
        return _texts(column.cast(pa.string()), quoted=True)
    if is_limited(kind):
        return _texts(_limited(column), quoted=not pa.types.is_floating(kind))
    return _texts(_whole(column).cast(pa.string()), quoted=False)


def _whole(column: pa.Array) -> pa.Array:
    kind = column.type
    if pa.types.is_null(kind):
        return pa.nulls(len(column), pa.int32())
    if pa.types.is_boolean(kind):
        return column.cast(pa.uint8())
    return column.view(pa.int64()) if pa.types.is_temporal(kind) else column


def _limited(column: pa.Array) -> pa.Array:
    """The texts, NULL or the nearest moment for what is out of range."""
    kind = column.type
    if pa.types.is_floating(kind):
        numbers = column.cast(pa.float32()) if pa.types.is_float16(kind) else column
        finite = pc.is_finite(numbers)
        plain = numbers if pc.all(finite).as_py() in (True, None) else pc.if_else(finite, numbers, None)
        return plain.cast(pa.string())
    return moment_texts(kind, held_moments(column)[0])


def beyond(column: pa.Array) -> pa.Array | None:
    """The values that MySQL's type cannot hold, as int64; None where there are none."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        return beyond(column.dictionary_decode())
    if isinstance(kind, pa.BaseExtensionType):
        return beyond(column.storage)
    if not len(column) or not is_limited(kind):
        return None
    if not pa.types.is_floating(kind):
        return held_moments(column)[1]
    numbers = column.cast(pa.float32()) if pa.types.is_float16(kind) else column
    values = numbers.cast(pa.float64()).fill_null(0.0).to_numpy()
    mask = ~np.isfinite(values) | ((values == 0) & np.signbit(values))
    return pa.array(values.view(np.int64), mask=~mask) if mask.any() else None


def _texts(column: pa.Array, quoted: bool) -> Cells:
    large = pa.types.is_large_string(column.type) or pa.types.is_large_binary(column.type)
    kind: Any = np.int64 if large else np.int32
    _, offsets, data = column.buffers()
    ends = np.frombuffer(offsets, kind, len(column) + 1, column.offset * np.dtype(kind).itemsize).astype(np.int64)
    raw = np.frombuffer(data, np.uint8) if data is not None and data.size else np.zeros(1, np.uint8)
    return Cells(raw, ends[:-1], _with_nulls(column, np.diff(ends)), quoted)


def _fixed(column: pa.Array, width: int) -> Cells:
    data = column.buffers()[1]
    raw = np.frombuffer(data, np.uint8) if data is not None and data.size else np.zeros(1, np.uint8)
    starts = (column.offset + np.arange(len(column))) * width
    return Cells(raw, starts, _with_nulls(column, np.full(len(column), width, np.int64)), quoted=True)


def _with_nulls(column: pa.Array, sizes: Numbers) -> Numbers:
    if column.null_count:
        sizes[column.is_null().to_numpy(zero_copy_only=False)] = -1
    return sizes
