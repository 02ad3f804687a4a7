"""Values that the source did not send: Debezium's placeholder for unchanged out-of-line columns."""

from typing import Final

import numba
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ...loops import array, compile_ahead, read_only
from ...model.change import names_by_row
from ...model.message_batch import MessageBatch

PLACEHOLDER: Final = b"__debezium_unavailable_value"
OLD_KEY: Final = "__debezium.oldkey"
NEW_KEY: Final = "__debezium.newkey"


def blank_unavailable(columns: dict[str, pa.Array]) -> tuple[dict[str, pa.Array], pa.Array | None]:
    """The columns with placeholders as nulls, and by row the names of the columns that held one.

    The names are a `list<string>` array, null where the row is whole; None where all rows are. Placeholders are
    known in string and binary columns, in lists of one such element and in maps of one such key.
    """
    masks = {name: mask for name, array in columns.items() if (mask := _placeholders(array)) is not None}
    if not masks:
        return columns, None
    blanked = dict(columns)
    for name, mask in masks.items():
        array = columns[name]
        blanked[name] = array.take(pa.array(np.arange(len(array)), mask=mask))
    return blanked, names_by_row(masks, len(next(iter(columns.values()))))


def _placeholders(array: pa.Array) -> NDArray[np.bool_] | None:
    kind = array.type
    if pa.types.is_string(kind) or pa.types.is_binary(kind):
        offsets = np.frombuffer(array.buffers()[1], np.int32, len(array) + 1, array.offset * 4)
        if not (np.diff(offsets) == len(PLACEHOLDER)).any():
            return None
        return _found(pc.equal(array, pa.scalar(PLACEHOLDER, pa.binary()).cast(kind)))
    if pa.types.is_list(kind) or pa.types.is_map(kind):
        return _single_element(array)
    return None


def _single_element(array: pa.Array) -> NDArray[np.bool_] | None:
    """Lists, or the keys of maps, whose only element is the placeholder."""
    offsets = np.asarray(array.offsets)
    single = (np.diff(offsets) == 1) & np.asarray(array.is_valid())
    if not single.any():
        return None
    items = array.keys if pa.types.is_map(array.type) else array.values
    if not (pa.types.is_string(items.type) or pa.types.is_binary(items.type)):
        return None
    rows = np.flatnonzero(single)
    hits = _found(pc.equal(items.take(pa.array(offsets[rows])), pa.scalar(PLACEHOLDER, pa.binary()).cast(items.type)))
    if hits is None:
        return None
    mask = np.zeros(len(array), np.bool_)
    mask[rows] = hits
    return mask


def _found(equal: pa.BooleanArray) -> NDArray[np.bool_] | None:
    mask = np.asarray(equal.fill_null(False))
    return mask if mask.any() else None


def moved_keys(
    records: MessageBatch, rows: NDArray[np.int64], deletes: NDArray[np.bool_], partial: pa.Array | None
) -> pa.Array | None:
    """By row the other key of a key change, as the JSON of the header that names it; None where there is none.

    Looked for on deletes (the new key) and on rows with unavailable values (the old key): nobody else needs it.
    """
    headers = records.headers
    if headers is None:
        return None
    partial_rows = np.zeros(len(rows), np.bool_) if partial is None else np.asarray(partial.is_valid())
    names: list[bytes] = []
    index = np.zeros(len(rows), np.int64)
    for header, wanted in ((NEW_KEY, deletes), (OLD_KEY, partial_rows & ~deletes)):
        looked = np.flatnonzero(wanted)
        pattern = np.frombuffer(header.encode(), np.uint8)
        places = (headers.first, headers.name_at, headers.name_len)
        for row in looked[_named(records.data, places, rows[looked], pattern)]:
            value = dict(records.headers_of(int(rows[row]))).get(header)
            if value is not None:
                names.append(value)
                index[row] = len(names)
    if not names:
        return None
    return pa.array(names, pa.binary()).take(pa.array(index - 1, mask=index == 0))


@compile_ahead(
    (read_only(np.uint8), (array(np.int64), array(np.int64), array(np.int64)), array(np.int64), read_only(np.uint8))
)
@numba.njit(cache=True, nogil=True)
def _named(data, places, rows, pattern):  # type: ignore[no-untyped-def]
    """By row whether one of its headers has this name."""
    first, name_at, name_len = places
    found = np.zeros(len(rows), np.bool_)
    for i in range(len(rows)):
        for header in range(first[rows[i]], first[rows[i] + 1]):
            if name_len[header] != len(pattern):
                continue
            q = 0
            while q < len(pattern) and data[name_at[header] + q] == pattern[q]:
                q += 1
            if q == len(pattern):
                found[i] = True
                break
    return found
