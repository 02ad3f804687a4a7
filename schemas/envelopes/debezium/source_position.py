"""Positions of Debezium's connectors, read from the `source` block."""

from typing import Final

import numba
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ...loops import array, compile_ahead
from ...model.position import Numbers

SOURCE_FIELDS: Final = frozenset(
    {"name", "ts_ms", "server_id", "sequence", "lsn", "file", "pos", "row"}
    | {"commit_scn", "scn", "commit_lsn", "change_lsn"}
)

TEXTS: Final = (array(np.uint8), array(np.int32), array(np.bool_))
"""The types of what the loops below take: bytes, where each text begins, and whether it is there."""


def source_order(source: pa.StructArray) -> tuple[Numbers, NDArray[np.bool_]]:
    """(commit order, order inside it) of each change from Debezium's `source`, and which rows' could not be read."""
    names = {field.name for field in source.type}
    if "commit_lsn" in names and "change_lsn" in names:
        return _texts(source.field("commit_lsn"), source.field("change_lsn"), _sql_server_lsn)
    if "commit_scn" in names and "scn" in names:
        return _texts(source.field("commit_scn"), source.field("scn"), _decimal)
    if "file" in names and "pos" in names:
        return _binlog(source)
    if "lsn" in names or "sequence" in names:
        return _postgres(source)
    zeros = np.zeros(len(source), np.uint64)
    return (zeros, zeros), np.zeros(len(source), np.bool_)


def _postgres(source: pa.StructArray) -> tuple[Numbers, NDArray[np.bool_]]:
    names = {field.name for field in source.type}
    lsn = _unsigned(source.field("lsn")) if "lsn" in names else np.zeros(len(source), np.uint64)
    if "sequence" not in names:
        return (lsn, lsn), np.zeros(len(source), np.bool_)
    data, offsets, valid = _text(source.field("sequence"))
    commit, inner, bad = _sequence(data, offsets, valid)
    missing = ~valid
    commit[missing], inner[missing] = lsn[missing], lsn[missing]
    return (commit, inner), bad


def _binlog(source: pa.StructArray) -> tuple[Numbers, NDArray[np.bool_]]:
    names = {field.name for field in source.type}
    data, offsets, valid = _text(source.field("file"))
    number, bad = _trailing_number(data, offsets, valid)
    pos = _unsigned(source.field("pos"))
    row = _unsigned(source.field("row")) if "row" in names else np.zeros(len(source), np.uint64)
    bad |= (pos >= np.uint64(1 << 40)) | (row >= np.uint64(1 << 24))
    return (number, (pos << np.uint64(24)) | row), bad


def _texts(
    commit: pa.Array, inner: pa.Array, parse: numba.core.dispatcher.Dispatcher
) -> tuple[Numbers, NDArray[np.bool_]]:
    outer, outer_bad = parse(*_text(commit))
    order, order_bad = parse(*_text(inner))
    return (outer, order), outer_bad | order_bad


def _unsigned(array: pa.Array) -> NDArray[np.uint64]:
    return np.asarray(array.fill_null(0)).astype(np.uint64)


def _text(array: pa.Array) -> tuple[NDArray[np.uint8], NDArray[np.int32], NDArray[np.bool_]]:
    """The bytes, the n + 1 offsets and the validity of a string array; other types read as their text."""
    if array.type != pa.string():
        array = array.cast(pa.string())
    buffers = array.buffers()
    offsets = np.frombuffer(buffers[1], np.int32, len(array) + 1, array.offset * 4)
    data = np.frombuffer(buffers[2], np.uint8) if buffers[2] is not None and buffers[2].size else np.zeros(1, np.uint8)
    return data, offsets, np.asarray(array.is_valid())


@compile_ahead(TEXTS)
@numba.njit(cache=True, nogil=True)
def _sequence(data, offsets, valid):  # type: ignore[no-untyped-def]
    n = len(offsets) - 1
    commit, inner, bad = np.zeros(n, np.uint64), np.zeros(n, np.uint64), np.zeros(n, np.bool_)
    for i in range(n):
        if not valid[i]:
            continue
        part, number, digits, known = 0, np.uint64(0), 0, False
        for p in range(offsets[i], offsets[i + 1]):
            byte = data[p]
            if 48 <= byte <= 57:
                number = number * np.uint64(10) + np.uint64(byte - 48)
                digits += 1
            elif byte == 44:
                commit[i], known = number, digits > 0
                part, number, digits = part + 1, np.uint64(0), 0
            if digits > 19:
                bad[i] = True
        inner[i] = number
        # A connector that has not seen a commit yet sends null for it: the LSN stands for it.
        if not known:
            commit[i] = number
        if part != 1:
            bad[i] = True
    return commit, inner, bad


@compile_ahead(TEXTS)
@numba.njit(cache=True, nogil=True)
def _decimal(data, offsets, valid):  # type: ignore[no-untyped-def]
    n = len(offsets) - 1
    numbers, bad = np.zeros(n, np.uint64), np.zeros(n, np.bool_)
    for i in range(n):
        if not valid[i]:
            continue
        bad[i] = not 0 < offsets[i + 1] - offsets[i] <= 19
        for p in range(offsets[i], offsets[i + 1]):
            if 48 <= data[p] <= 57:
                numbers[i] = numbers[i] * np.uint64(10) + np.uint64(data[p] - 48)
            else:
                bad[i] = True
    return numbers, bad


@compile_ahead(TEXTS)
@numba.njit(cache=True, nogil=True)
def _trailing_number(data, offsets, valid):  # type: ignore[no-untyped-def]
    n = len(offsets) - 1
    numbers, bad = np.zeros(n, np.uint64), np.zeros(n, np.bool_)
    for i in range(n):
        if not valid[i]:
            bad[i] = True
            continue
        start = offsets[i + 1]
        while start > offsets[i] and 48 <= data[start - 1] <= 57:
            start -= 1
        for p in range(start, offsets[i + 1]):
            numbers[i] = numbers[i] * np.uint64(10) + np.uint64(data[p] - 48)
        bad[i] = start == offsets[i + 1] or offsets[i + 1] - start > 19
    return numbers, bad


@compile_ahead(TEXTS)
@numba.njit(cache=True, nogil=True)
def _sql_server_lsn(data, offsets, valid):  # type: ignore[no-untyped-def]
    n = len(offsets) - 1
    numbers, bad = np.zeros(n, np.uint64), np.zeros(n, np.bool_)
    for i in range(n):
        if not valid[i]:
            continue
        part, value, parts = 0, np.uint64(0), np.zeros(3, np.uint64)
        for p in range(offsets[i], offsets[i + 1]):
            byte = data[p]
            if byte == 58:
                if part < 2:
                    parts[part] = value
                part, value = part + 1, np.uint64(0)
                continue
            if 48 <= byte <= 57:
                digit = byte - 48
            elif 97 <= byte <= 102:
                digit = byte - 87
            elif 65 <= byte <= 70:
                digit = byte - 55
            else:
                bad[i] = True
                break
            value = value * np.uint64(16) + np.uint64(digit)
        parts[2] = value
        if part != 2 or parts[0] >= 1 << 24 or parts[1] >= 1 << 24 or parts[2] >= 1 << 16:
            bad[i] = True
        numbers[i] = (parts[0] << np.uint64(40)) | (parts[1] << np.uint64(16)) | parts[2]
    return numbers, bad
