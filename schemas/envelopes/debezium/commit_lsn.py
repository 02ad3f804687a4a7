"""Positions of the connectors whose `source` block bears `commit_lsn` and `change_lsn` as texts.

Three shapes, as the connectors' `Lsn.toString` writes them:

    SQL Server  0000002a:00000ac0:0002              log file, block and slot in hexadecimal: 32, 32 and 16 bits
    Db2         00000000:00000000:00000000000a1b2c  16 bytes in hexadecimal
    Informix    30064771072                         a decimal number; -1 stands for none
"""

import numba
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ...loops import compile_ahead
from ...model.position import Numbers
from ..texts import TEXTS, text_parts

NONE, DECIMAL, THREE_PARTS, SIXTEEN_BYTES, BAD = 0, 1, 2, 3, 4
SLOT_BITS = 16
INNER = np.uint64((1 << 48) - 1)
"""The change LSN's part of an SQL Server's second number: 48 bits."""


def commit_lsn_order(commit: pa.Array, change: pa.Array) -> tuple[Numbers, NDArray[np.bool_]]:
    """(commit order, order inside it) of each change, and which rows' could not be read.

    Two numbers have no room for two LSNs of 80 or 128 bits. SQL Server: the commit's LSN is exact, and the change's
    counts within the log file in which its transaction was committed. Db2: the commit's LSN alone. Where both are
    equal the offset decides, which is the order in which the connector sent the changes of a transaction.
    """
    numbers, inner, bad = _orders(*text_parts(commit), *text_parts(change))
    return (numbers, inner), bad


@numba.njit(cache=True, nogil=True)
def _read(data, start, end):  # type: ignore[no-untyped-def]
    """(shape, three numbers) of the text between two places of the bytes."""
    parts, digits = np.zeros(3, np.uint64), np.zeros(3, np.int64)
    number, part, decimal, negative = np.uint64(0), 0, True, False
    for p in range(start, end):
        byte = data[p]
        if byte == 58 and part < 2:  # a colon
            part += 1
        elif byte == 45 and p == start:  # a minus
            negative = True
        else:
            if 48 <= byte <= 57:
                digit = byte - 48
            elif 97 <= byte <= 102 or 65 <= byte <= 70:
                digit, decimal = (byte & 15) + 9, False
            else:
                return BAD, parts
            parts[part] = parts[part] << np.uint64(4) | np.uint64(digit)
            number = number * np.uint64(10) + np.uint64(digit)
            digits[part] += 1
    if part == 0 and decimal and 0 < digits[0] <= 19:
        parts[0] = number
        return NONE if negative else DECIMAL, parts
    if part != 2 or negative or not (0 < digits[0] <= 8 and 0 < digits[1] <= 8 and 0 < digits[2] <= 16):
        return BAD, parts
    return THREE_PARTS if digits[2] <= 4 else SIXTEEN_BYTES, parts


@compile_ahead(TEXTS + TEXTS)
@numba.njit(cache=True, nogil=True)
def _orders(data, offsets, valid, change_data, change_offsets, change_valid):  # type: ignore[no-untyped-def]
    n = len(offsets) - 1
    commit, inner, bad = np.zeros(n, np.uint64), np.zeros(n, np.uint64), np.zeros(n, np.bool_)
    for i in range(n):
        if not valid[i]:
            continue
        shape, lsn = _read(data, offsets[i], offsets[i + 1])
        of_change, change = NONE, lsn
        if change_valid[i]:
            of_change, change = _read(change_data, change_offsets[i], change_offsets[i + 1])
        if shape == BAD or of_change == BAD or (NONE not in (shape, of_change) and shape != of_change):
            bad[i] = True
        elif shape == DECIMAL:
            commit[i] = lsn[0]
            inner[i] = change[0] if of_change == DECIMAL else np.uint64(0)
        elif shape == SIXTEEN_BYTES:
            commit[i], inner[i] = lsn[0] << np.uint64(32) | lsn[1], lsn[2]
        elif shape == THREE_PARTS:
            commit[i] = lsn[0] << np.uint64(32) | lsn[1]
            inner[i] = lsn[2] << np.uint64(48)
            if of_change == THREE_PARTS and change[0] == lsn[0]:
                inner[i] |= change[1] << np.uint64(SLOT_BITS) | change[2]
    return commit, inner, bad
