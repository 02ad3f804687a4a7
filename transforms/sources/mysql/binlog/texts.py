"""Bytes of rows to Arrow's binary and string columns, in UTF-8 whatever the column's character set is."""

from typing import Final

import numba
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from .....schemas.errors import SourceError
from .....schemas.loops import array, compile_ahead, read_only
from .....schemas.model.value_texts import texts_at
from .charset_tables import FULL_WIDTH, UTF_8, WIDTHS, char_tables

Whole = NDArray[np.int64]
Bytes = NDArray[np.uint8]
MOST: Final = (1 << 31) - 1
GB18030: Final = "gb18030"
"""It has codes of four bytes, of which no table is made: its distinct values are decoded by Python."""
SWAPPED: Final = {0xE7C7: 0x1E3F, 0x1E3F: 0xE7C7}
"""Two characters that changed places in 2005, which the server follows and Python does not."""


def validity(size: Whole) -> pa.Buffer | None:
    """The bits of values that are there; None where all are."""
    there = size >= 0
    return None if there.all() else pa.py_buffer(np.packbits(there, bitorder="little"))


def binary_of(data: Bytes, at: Whole, size: Whole) -> pa.Array:
    """The bytes of each value; `large_binary` where they are 2 GiB or more."""
    offsets = np.zeros(len(at) + 1, np.int64)
    np.cumsum(np.maximum(size, 0), out=offsets[1:])
    content = np.empty(int(offsets[-1]), np.uint8)
    gather(data, at, size, offsets, content)
    return spans(offsets, content, validity(size), text=False)


def padded_of(data: Bytes, at: Whole, size: Whole, width: int) -> pa.Array:
    """Bytes of a BINARY(width), whose zeros at the end the log leaves out."""
    offsets = np.zeros(len(at) + 1, np.int64)
    np.cumsum(np.where(size >= 0, np.maximum(width, size), 0), out=offsets[1:])
    content = np.zeros(int(offsets[-1]), np.uint8)
    gather(data, at, size, offsets, content)
    return spans(offsets, content, validity(size), text=False)


def text_of(data: Bytes, at: Whole, size: Whole, charset: str) -> tuple[pa.Array, pa.Array | None]:
    """The text, and by row the bytes, as `0x` and digits, of a value that its character set has not; None: of no row.

    Raises SourceError for a character set that is not known.
    """
    raw = binary_of(data, at, size)
    if charset == GB18030:
        return _by_value(raw)
    if charset not in UTF_8 and not _is_ascii(raw, charset):
        return _transcoded(data, at, size, charset)
    kind = pa.string() if pa.types.is_binary(raw.type) else pa.large_string()
    text = pa.Array.from_buffers(kind, len(raw), raw.buffers())
    try:
        text.validate(full=True)
    except pa.ArrowInvalid:
        return _by_value(raw, "utf_8")
    return text, None


def _is_ascii(raw: pa.Array, charset: str) -> bool:
    content = raw.buffers()[2]
    there = np.frombuffer(content, np.uint8) if content is not None else np.empty(0, np.uint8)
    return charset not in FULL_WIDTH and (not len(there) or int(there.max()) < 128)


def _by_value(raw: pa.Array, codec: str = GB18030) -> tuple[pa.Array, pa.Array | None]:
    coded = raw.dictionary_encode()
    texts: list[str | None] = []
    notes: list[str | None] = []
    for value in coded.dictionary.to_pylist():
        try:
            text = value.decode(codec)
            texts.append(text.translate(SWAPPED) if codec == GB18030 else text)
            notes.append(None)
        except UnicodeDecodeError:
            texts.append(None)
            notes.append(f"0x{value.hex().upper()}")
    noted = pa.array(notes, pa.string()).take(coded.indices)
    return pa.array(texts, pa.string()).take(coded.indices), noted if noted.null_count < len(noted) else None


def _transcoded(data: Bytes, at: Whole, size: Whole, charset: str) -> tuple[pa.Array, pa.Array | None]:
    tables = char_tables(charset)
    if tables is None:
        raise SourceError(f"text in the character set {charset} is not read")
    shape = WIDTHS.get(charset, (0, 0))
    lengths, bad = np.zeros(len(at), np.int64), np.zeros(len(at), np.uint8)
    nothing, none = np.empty(0, np.uint8), np.empty(0, np.int64)
    write_utf8(data, (at, size), (*tables, shape), (lengths, bad, none, nothing))
    offsets = np.zeros(len(at) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    content = np.empty(int(offsets[-1]), np.uint8)
    write_utf8(data, (at, size), (*tables, shape), (lengths, bad, offsets, content))
    if not bad.any():
        return spans(offsets, content, validity(size), text=True), None
    rows = np.flatnonzero(bad)
    notes = [f"0x{data[at[row] : at[row] + size[row]].tobytes().hex().upper()}" for row in rows]
    text = spans(offsets, content, validity(np.where(bad, -1, size)), text=True)
    return text, texts_at(rows, notes, len(at))


def spans(offsets: Whole, content: Bytes, bits: pa.Buffer | None, *, text: bool) -> pa.Array:
    """A column of these offsets and bytes."""
    narrow = int(offsets[-1]) <= MOST
    kinds = (pa.string(), pa.large_string()) if text else (pa.binary(), pa.large_binary())
    kept = pa.py_buffer(offsets.astype(np.int32) if narrow else offsets)
    return pa.Array.from_buffers(kinds[not narrow], len(offsets) - 1, [bits, kept, pa.py_buffer(content)])


def taken(texts: list[str], numbers: Whole, size: Whole) -> pa.Array:
    """The text of each number, null where there is no value."""
    return pa.array(texts, pa.string()).take(pa.array(numbers, mask=size < 0))


def both(first: pa.Array | None, second: pa.Array | None) -> pa.Array | None:
    """The first of two columns of texts that has one."""
    if first is None or second is None:
        return second if first is None else first
    return pc.coalesce(first, second)


@compile_ahead((read_only(np.uint8), array(np.int64), array(np.int64), array(np.int64), array(np.uint8)))
@numba.njit(cache=True, nogil=True)
def gather(data, at, size, offsets, out):  # type: ignore[no-untyped-def]
    """Copy each value to `out[offsets[i]:]`."""
    for i in range(len(at)):
        p, q = at[i], offsets[i]
        for j in range(size[i]):
            out[q + j] = data[p + j]


@numba.njit(cache=True, nogil=True)
def _put(code, out, q):  # type: ignore[no-untyped-def]
    """Write a character in UTF-8 at `q`, but for q < 0; how many bytes it takes."""
    size = 1 if code < 0x80 else 2 if code < 0x800 else 3 if code < 0x10000 else 4
    if q < 0:
        return size
    if size == 1:
        out[q] = code
        return size
    out[q] = (0xF00 >> size & 0xFF) | code >> 6 * (size - 1)
    for j in range(1, size):
        out[q + j] = 0x80 | code >> 6 * (size - 1 - j) & 0x3F
    return size


@numba.njit(cache=True, nogil=True)
def _wide(data, p, end, width, little):  # type: ignore[no-untyped-def]
    """The character at `p` of a set with `width` bytes a unit, and its bytes; -1 and 0 for none."""
    if p + width > end:
        return np.int64(-1), 0
    code = np.int64(0)
    for j in range(width):
        code = code << 8 | np.int64(data[p + width - 1 - j if little else p + j])
    if width == 2 and 0xD800 <= code < 0xDC00 and p + 4 <= end:
        low = np.int64(data[p + 3]) << 8 | data[p + 2] if little else np.int64(data[p + 2]) << 8 | data[p + 3]
        if 0xDC00 <= low < 0xE000:
            return 0x10000 + ((code - 0xD800) << 10) + low - 0xDC00, 4
    if 0xD800 <= code < 0xE000 or code > 0x10FFFF:
        return np.int64(-1), 0
    return code, width


@numba.njit(cache=True, nogil=True)
def _narrow(data, p, end, tables):  # type: ignore[no-untyped-def]
    """The character at `p` of a set with tables, and its bytes; -1 and 0 for none."""
    single, pairs, triples, _ = tables
    byte = np.int64(data[p])
    if single[byte] >= 0:
        return np.int64(single[byte]), 1
    if byte == 0x8F and len(triples) and p + 3 <= end:
        return np.int64(triples[np.int64(data[p + 1]) << 8 | data[p + 2]]), 3
    if len(pairs) and p + 2 <= end:
        return np.int64(pairs[byte << 8 | data[p + 1]]), 2
    return np.int64(-1), 0


@compile_ahead(
    (
        read_only(np.uint8),
        (array(np.int64), array(np.int64)),
        (array(np.int32), array(np.int32), array(np.int32), (2, 0)),
        (array(np.int64), array(np.uint8), array(np.int64), array(np.uint8)),
    )
)
@numba.njit(cache=True, nogil=True)
def write_utf8(data, values, tables, written):  # type: ignore[no-untyped-def]
    """Write each value in UTF-8 to `content[offsets[i]:]`, where there are offsets; `lengths` and `bad` where not.

    `tables`: code points by byte, by two bytes, by two behind 8F, -1 for none; (bytes of a unit or 0, little-endian).
    """
    at, size = values
    lengths, bad, offsets, content = written
    width, little = tables[3]
    for i in range(len(at)):
        p, end = at[i], at[i] + max(size[i], 0)
        q = offsets[i] if len(offsets) else np.int64(-1)
        total = 0
        while p < end and not (q >= 0 and bad[i]):
            code, used = _wide(data, p, end, width, little) if width else _narrow(data, p, end, tables)
            if code < 0:
                bad[i] = 1
                total = 0
                break
            total += _put(code, content, q + total if q >= 0 else np.int64(-1))
            p += used
        lengths[i] = total
