"""From slots to Arrow arrays: views where the layout is Arrow's already, one compiled gather where it is not."""

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ...errors import SchemaError
from ...model.value_texts import text_field, texts_at, texts_of_items
from .decimals import FEW_BYTES, decimal_text, decimal_texts
from .logical_types import Form
from .slots import Column, Slots, packed_bits
from .text import NEVER, TEXT_AT, gather, uuid_texts

MAX_BYTES: Final = (1 << 31) - 1


def build(column: Column, slots: Slots) -> pa.Array:
    """The Arrow array of a column; raises SchemaError where it would hold more than 2 GiB of text."""
    return _BUILDERS[column.form](column, slots)


def build_array(column: Column, slots: Slots, *buffers: NDArray[np.generic] | pa.Buffer) -> pa.Array:
    """An array of the column's type and validity, of these buffers."""
    parts = [part if isinstance(part, pa.Buffer) else pa.py_buffer(part) for part in buffers]
    return pa.Array.from_buffers(column.arrow, slots.count(column), [slots.validity(column), *parts])


def _word(column: Column, slots: Slots) -> pa.Array:
    return build_array(column, slots, slots.slot(column))


def _zoned(column: Column, slots: Slots) -> pa.Array:
    numbers = slots.slot(column)
    if len(numbers) and numbers.min() < NEVER:
        rows = np.flatnonzero((numbers >= TEXT_AT) & (numbers < NEVER))
        spans = [_span_at(slots.data, int(numbers[row]) - TEXT_AT) for row in rows]
        note(column, slots, rows, [span.decode() for span in spans])
    return build_array(column, slots, numbers)


def note(column: Column, slots: Slots, rows: NDArray[np.int64], texts: list[str]) -> None:
    """Put the texts of values that the column's type has not beside it, at these rows."""
    if len(rows):
        slots.texts[id(column)] = texts_at(rows, texts, slots.count(column))


def _span_at(data: NDArray[np.uint8], p: int) -> bytes:
    """The bytes whose length, which was checked, stands at `p`."""
    length = shift = 0
    while data[p] >= 128:
        length |= (int(data[p]) & 127) << shift
        p, shift = p + 1, shift + 7
    length = (length | int(data[p]) << shift) >> 1
    return data[p + 1 : p + 1 + length].tobytes()


def _half(column: Column, slots: Slots) -> pa.Array:
    return build_array(column, slots, slots.slot(column).astype(np.int32))


def _boolean(column: Column, slots: Slots) -> pa.Array:
    return build_array(column, slots, packed_bits(slots.slot(column).astype(np.uint8)))


def _offsets(lengths: NDArray[np.int64]) -> NDArray[np.int32]:
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return _narrow(offsets)


def _narrow(offsets: NDArray[np.int64]) -> NDArray[np.int32]:
    if offsets[-1] > MAX_BYTES:
        raise SchemaError("a column of one batch would hold more than 2 GiB; decode fewer messages at once")
    return offsets.astype(np.int32)


def _gathered(column: Column, slots: Slots) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
    lengths = slots.slot(column, 1)
    offsets = _offsets(lengths)
    content = np.empty(offsets[-1], np.uint8)
    gather(slots.data, slots.slot(column), lengths, offsets, content)
    return offsets, content


def _span(column: Column, slots: Slots) -> pa.Array:
    return build_array(column, slots, *_gathered(column, slots))


def _fixed_cells(column: Column, slots: Slots, size: int) -> NDArray[np.uint8]:
    """The bytes of each row, zeros where it is null, as an array of rows."""
    count = slots.count(column)
    starts = _narrow(np.arange(count + 1, dtype=np.int64) * size)
    cells = np.zeros((count, size), np.uint8)
    gather(slots.data, slots.slot(column), slots.slot(column, 1), starts, cells.reshape(-1))
    return cells


def _fixed(column: Column, slots: Slots) -> pa.Array:
    return build_array(column, slots, _fixed_cells(column, slots, column.arrow.byte_width))


def _duration(column: Column, slots: Slots) -> pa.Array:
    cells = _fixed_cells(column, slots, 12).view("<u4")
    count, validity = slots.count(column), slots.validity(column)
    children = [
        pa.Array.from_buffers(pa.uint32(), count, [validity, pa.py_buffer(np.ascontiguousarray(cells[:, i]))])
        for i in range(3)
    ]
    return pa.Array.from_buffers(column.arrow, count, [validity], children=children)


def _uuid(column: Column, slots: Slots) -> pa.Array:
    lengths = slots.slot(column, 1)
    offsets = _offsets(np.where(lengths > 0, 36, 0))
    content = np.empty(offsets[-1], np.uint8)
    uuid_texts(slots.data, slots.slot(column), lengths, content)
    return build_array(column, slots, offsets, content)


def _enum(column: Column, slots: Slots) -> pa.Array:
    symbols: pa.Array = column.symbols
    codes = slots.slot(column)
    # For its check alone: more text than 32-bit offsets reach is a SchemaError.
    if len(symbols) and len(codes):
        _offsets(np.asarray(pc.binary_length(symbols), np.int64)[codes])
    indices = pa.Array.from_buffers(pa.int64(), len(codes), [slots.validity(column), pa.py_buffer(codes)])
    return symbols.take(indices)


def _decimal(column: Column, slots: Slots) -> pa.Array:
    # A slot for each 64-bit word, lowest first; Arrow has the words of a row side by side.
    words = [slots.slot(column, i) for i in range(column.arrow.bit_width // 64)]
    values = build_array(column, slots, np.stack(words, axis=1))
    if not len(words[-1]) or words[-1].min() >= NEVER:
        return values
    # Values of more digits than the type has: no decimal that fits has so low a highest word.
    rows = np.flatnonzero(words[-1] < NEVER)
    places = [int(words[-1][row]) - TEXT_AT for row in rows]
    raw = [_span_at(slots.data, p) if column.size < 0 else slots.data[p : p + column.size].tobytes() for p in places]
    note(column, slots, rows, [decimal_text(one, column.arrow.scale) for one in raw])
    kept = np.arange(len(values))
    return values.take(pa.array(kept, mask=np.isin(kept, rows)))


def _decimal_text(column: Column, slots: Slots) -> pa.Array:
    """Slots: position and length, and the scale where the column has none of its own."""
    scale = slots.slot(column, 2) if column.own_scale else np.full(slots.count(column), column.scale)
    starts, lengths = slots.slot(column), slots.slot(column, 1)
    if (2 * lengths.sum() + np.abs(scale).sum()) > MAX_BYTES:
        raise SchemaError("a column of one batch would hold more than 2 GiB; decode fewer messages at once")
    if not len(lengths) or lengths.max() <= FEW_BYTES:
        offsets, content = decimal_texts(slots.data, starts, lengths, scale)
        return build_array(column, slots, _narrow(offsets), content)
    long = np.flatnonzero(lengths > FEW_BYTES)
    offsets, content = decimal_texts(slots.data, starts, np.where(lengths > FEW_BYTES, 0, lengths), scale)
    texts = [
        decimal_text(slots.data[starts[row] : starts[row] + lengths[row]].tobytes(), int(scale[row])) for row in long
    ]
    written = texts_at(long, texts, slots.count(column))
    return pc.coalesce(written, build_array(column, slots, _narrow(offsets), content))


def _null(column: Column, slots: Slots) -> pa.Array:
    return pa.nulls(slots.count(column))


def _struct(column: Column, slots: Slots) -> pa.Array:
    """A record; beside a field with values that its type has not stands one of their texts."""
    children = [build(child, slots) for child in column.children]
    fields = [field.with_type(child.type) for field, child in zip(column.arrow, children, strict=True)]
    for child, part in zip(column.children, column.arrow, strict=True):
        if id(child) in slots.texts:
            children.append(slots.texts[id(child)])
            fields.append(text_field(part.name))
    return pa.Array.from_buffers(pa.struct(fields), slots.count(column), [slots.validity(column)], children=children)


def _list(column: Column, slots: Slots) -> pa.Array:
    lengths, (child,) = slots.slot(column), column.children
    buffers = [slots.validity(column), pa.py_buffer(_offsets(lengths))]
    items = build(child, slots)
    if id(child) in slots.texts:
        slots.texts[id(column)] = texts_of_items(slots.texts[id(child)], lengths)
    kind = pa.list_(column.arrow.value_field.with_type(items.type))
    return pa.Array.from_buffers(kind, slots.count(column), buffers, children=[items])


def _map(column: Column, slots: Slots) -> pa.Array:
    lengths = slots.slot(column)
    keys, items = (build(child, slots) for child in column.children)
    texts = slots.texts.get(id(column.children[1]))
    kept = _last_of_each_key(keys, lengths)
    if kept is not None:
        rows = np.repeat(np.arange(len(lengths)), lengths)
        lengths = np.bincount(rows[kept], minlength=len(lengths))
        keys, items = keys.take(pa.array(kept)), items.take(pa.array(kept))
        texts = None if texts is None else texts.take(pa.array(kept))
    if texts is not None and texts.null_count < len(texts):
        slots.texts[id(column)] = texts_of_items(texts, lengths, keys)
    offsets = pa.py_buffer(_offsets(lengths))
    kind = pa.map_(keys.type, column.arrow.item_field.with_type(items.type))
    entries_type = pa.struct([kind.key_field, kind.item_field])
    entries = pa.Array.from_buffers(entries_type, len(keys), [None], children=[keys, items])
    buffers = [slots.validity(column), offsets]
    return pa.Array.from_buffers(kind, slots.count(column), buffers, children=[entries])


def _last_of_each_key(keys: pa.Array, lengths: NDArray[np.int64]) -> NDArray[np.int64] | None:
    """The entries to keep where a map has a key twice, in their order; None where no map has.

    `lengths` are the numbers of entries of each map. Avro allows a key twice, and readers keep its last value.
    """
    if not len(lengths) or lengths.max() < 2:
        return None
    codes = keys.dictionary_encode()
    # One number for each map and key: its first place from behind is the last entry of that key.
    owners = np.repeat(np.arange(len(lengths)), lengths) * len(codes.dictionary) + np.asarray(codes.indices)
    _, from_behind = np.unique(owners[::-1], return_index=True)
    return None if len(from_behind) == len(owners) else np.sort(len(owners) - 1 - from_behind)


def _json(column: Column, slots: Slots) -> pa.Array:
    assert column.as_json is not None
    starts, lengths = slots.slot(column).tolist(), slots.slot(column, 1).tolist()
    data = memoryview(slots.data.data)
    texts = [column.as_json(data, p, size) if size else None for p, size in zip(starts, lengths, strict=True)]
    return pa.array(texts, pa.string())


def _made(column: Column, slots: Slots) -> pa.Array:
    assert column.make is not None
    return column.make(column, slots)


_BUILDERS: Final[Mapping[Form, Callable[[Column, Slots], pa.Array]]] = {
    Form.WORD: _word,
    Form.ZONED: _zoned,
    Form.HALF: _half,
    Form.BOOLEAN: _boolean,
    Form.SPAN: _span,
    Form.FIXED: _fixed,
    Form.ENUM: _enum,
    Form.DECIMAL: _decimal,
    Form.DECIMAL_TEXT: _decimal_text,
    Form.UUID: _uuid,
    Form.DURATION: _duration,
    Form.NULL: _null,
    Form.STRUCT: _struct,
    Form.LIST: _list,
    Form.MAP: _map,
    Form.JSON: _json,
    Form.MADE: _made,
}
