"""Positions of Debezium's connectors, read from the `source` block."""

from collections.abc import Mapping
from typing import Final

import numba
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ...loops import compile_ahead
from ...model.declared_type import INT64, STRING, DeclaredType
from ...model.position import Numbers
from ..texts import TEXTS, text_parts
from .commit_lsn import commit_lsn_order

SOURCE_FIELDS: Final = frozenset(
    {"name", "ts_ms", "server_id", "snapshot", "sequence", "lsn", "file", "pos", "row"}
    | {"commit_scn", "scn", "commit_lsn", "change_lsn"}
)

TABLE_FIELDS: Final = ("db", "schema", "table")
"""They name the source's table, which is needed where the end of its snapshot deletes rows."""

SOURCE_TYPES: Final[Mapping[str, DeclaredType]] = {
    **dict.fromkeys(TABLE_FIELDS, STRING),
    **dict.fromkeys(("name", "sequence", "file", "commit_scn", "scn", "commit_lsn", "change_lsn"), STRING),
    **dict.fromkeys(("ts_ms", "server_id", "pos", "row"), INT64),
}
"""Their types, in messages that do not say them; `lsn` is a number or, of YugabyteDB, a text."""


def bears_order(source: pa.StructType) -> bool:
    """Whether the `source` block has fields of a position that is known here; their values may be null."""
    names = {field.name for field in source}
    whole = ({"commit_lsn", "change_lsn"}, {"commit_scn", "scn"}, {"file", "pos"})
    return any(pair <= names for pair in whole) or ("lsn" in names and pa.types.is_integer(source.field("lsn").type))


def source_order(source: pa.StructArray) -> tuple[Numbers, NDArray[np.bool_]]:
    """(commit order, order inside it) of each change from Debezium's `source`, and which rows' could not be read."""
    names = {field.name for field in source.type}
    if "commit_lsn" in names and "change_lsn" in names:
        return commit_lsn_order(source.field("commit_lsn"), source.field("change_lsn"))
    if "commit_scn" in names and "scn" in names:
        commit, bad = _decimal(*text_parts(source.field("commit_scn")))
        inner, inner_bad = _decimal(*text_parts(source.field("scn")))
        return (commit, inner), bad | inner_bad
    if "file" in names and "pos" in names:
        return _binlog(source)
    if "lsn" in names and pa.types.is_integer(source.type.field("lsn").type):
        return _postgres(source)
    zeros = np.zeros(len(source), np.uint64)
    return (zeros, zeros), np.zeros(len(source), np.bool_)


def _postgres(source: pa.StructArray) -> tuple[Numbers, NDArray[np.bool_]]:
    lsn = _unsigned(source.field("lsn"))
    if source.type.get_field_index("sequence") < 0:
        return (lsn, lsn), np.zeros(len(source), np.bool_)
    data, offsets, valid = text_parts(source.field("sequence"))
    commit, inner, bad = _sequence(data, offsets, valid)
    missing = ~valid
    commit[missing], inner[missing] = lsn[missing], lsn[missing]
    return (commit, inner), bad


def _binlog(source: pa.StructArray) -> tuple[Numbers, NDArray[np.bool_]]:
    names = {field.name for field in source.type}
    data, offsets, valid = text_parts(source.field("file"))
    number, bad = _trailing_number(data, offsets, valid)
    pos = _unsigned(source.field("pos"))
    row = _unsigned(source.field("row")) if "row" in names else np.zeros(len(source), np.uint64)
    bad |= (pos >= np.uint64(1 << 40)) | (row >= np.uint64(1 << 24))
    return (number, (pos << np.uint64(24)) | row), bad


def _unsigned(array: pa.Array) -> NDArray[np.uint64]:
    return np.asarray(array.fill_null(0)).astype(np.uint64)


@compile_ahead(TEXTS)
@numba.njit(cache=True, nogil=True)
def _sequence(data, offsets, valid):  # type: ignore[no-untyped-def]
    n = len(offsets) - 1
    commit, inner, bad = np.zeros(n, np.uint64), np.zeros(n, np.uint64), np.zeros(n, np.bool_)
    for i in range(n):
        if not valid[i]:
            continue
        # Debezium holds an LSN in a signed number: above 2^63 it is sent as a negative one.
        part, number, digits, known, negative = 0, np.uint64(0), 0, False, False
        for p in range(offsets[i], offsets[i + 1]):
            byte = data[p]
            if 48 <= byte <= 57:
                number = number * np.uint64(10) + np.uint64(byte - 48)
                digits += 1
            elif byte == 45:
                negative = True
            elif byte == 44:
                commit[i], known = np.uint64(0) - number if negative else number, digits > 0
                part, number, digits, negative = part + 1, np.uint64(0), 0, False
            if digits > 19:
                bad[i] = True
        inner[i] = np.uint64(0) - number if negative else number
        # A connector that has not seen a commit yet sends null for it: the LSN stands for it.
        if not known:
            commit[i] = inner[i]
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
