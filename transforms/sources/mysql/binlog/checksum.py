"""CRC32 of the binlog's events: one compiled loop, eight bytes a step."""

import zlib
from typing import Final

import numba
import numpy as np
from numpy.typing import NDArray

from .....schemas.loops import array, compile_ahead, read_only


def _tables() -> NDArray[np.uint32]:
    """Table k holds the checksum of each byte that k zero bytes follow."""
    tables = np.zeros((8, 256), np.uint32)
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = crc >> 1 ^ (0xEDB88320 if crc & 1 else 0)
        tables[0, byte] = crc
    for k in range(1, 8):
        tables[k] = tables[k - 1] >> np.uint32(8) ^ tables[0][tables[k - 1] & np.uint32(255)]
    assert tables[0, 1] == zlib.crc32(b"\x01", 0xFFFFFFFF) ^ 0xFFFFFFFF
    return tables


TABLES: Final = _tables()


@compile_ahead((read_only(np.uint8), array(np.int64), array(np.int64), array(np.uint8)))
@numba.njit(cache=True, nogil=True)
def first_damaged(data, start, stop, cleared):  # type: ignore[no-untyped-def]
    """The first i whose bytes [start, stop) have another CRC32 than the four bytes behind them say; -1: none.

    `cleared` says of which events bit 0 of byte 17 counts as 0: the flag of a file that is open is set afterwards.
    """
    for i in range(len(start)):
        crc = np.uint32(0xFFFFFFFF)
        p, end = start[i], stop[i]
        if cleared[i]:
            for j in range(p, p + 18):
                byte = data[j] & np.uint8(254) if j == p + 17 else data[j]
                crc = TABLES[0, (crc ^ byte) & 255] ^ (crc >> np.uint32(8))
            p += 18
        while p + 8 <= end:
            low = crc ^ (
                np.uint32(data[p])
                | np.uint32(data[p + 1]) << np.uint32(8)
                | np.uint32(data[p + 2]) << np.uint32(16)
                | np.uint32(data[p + 3]) << np.uint32(24)
            )
            crc = (
                TABLES[7, low & 255]
                ^ TABLES[6, (low >> np.uint32(8)) & 255]
                ^ TABLES[5, (low >> np.uint32(16)) & 255]
                ^ TABLES[4, low >> np.uint32(24)]
                ^ TABLES[3, data[p + 4]]
                ^ TABLES[2, data[p + 5]]
                ^ TABLES[1, data[p + 6]]
                ^ TABLES[0, data[p + 7]]
            )
            p += 8
        for j in range(p, end):
            crc = TABLES[0, (crc ^ data[j]) & 255] ^ (crc >> np.uint32(8))
        crc ^= np.uint32(0xFFFFFFFF)
        for j in range(4):
            if data[end + j] != (crc >> np.uint32(8 * j)) & 255:
                return i
    return -1
