"""Key changes: the headers by which Debezium's delete names the new key, and its create the old one."""

from typing import Final

import numba
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ...loops import array, compile_ahead, read_only
from ...model.message_batch import MessageBatch

OLD_KEY: Final = "__debezium.oldkey"
NEW_KEY: Final = "__debezium.newkey"


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
