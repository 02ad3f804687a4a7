"""Record batches made by kafka-python, and its public reader as the oracle."""

import struct

import google_crc32c
from kafka.record.memory_records import MemoryRecords, MemoryRecordsBuilder

CODECS = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}
HEADER = struct.calcsize(">qiibIhiqqqhii")


def batch(base, records, codec="none", deltas=None):
    """One batch; records are (timestamp, key, value, headers), at offsets base, base + 1... or base + deltas."""
    builder = MemoryRecordsBuilder(2, CODECS[codec], 1 << 40)
    for place, (timestamp, key, value, headers) in enumerate(records):
        if deltas is not None:
            builder.skip(deltas[place] - builder.next_offset())
        builder.append(timestamp, key, value, headers)
    builder.close()
    raw = bytearray(builder.buffer())
    raw[:8] = struct.pack(">q", base)
    return bytes(raw)


def with_body(raw, body, *, attributes=None, count=None):
    """The batch with another body (compressed or not) and a right length and CRC."""
    head = bytearray(raw[:HEADER])
    head[8:12] = struct.pack(">i", HEADER + len(body) - 12)
    if attributes is not None:
        head[21:23] = struct.pack(">h", attributes)
    if count is not None:
        head[57:61] = struct.pack(">i", count)
    return sealed(bytes(head) + body)


def sealed(raw):
    """The batch with its CRC computed again."""
    return raw[:17] + struct.pack(">I", google_crc32c.value(bytes(raw[21:]))) + raw[21:]


def read(raw):
    """(offset, timestamp, key, value, headers) of each record, by kafka-python's reader."""
    found = []
    for one in MemoryRecords(raw):
        if not one.is_control_batch:
            found += [(r.offset, r.timestamp, r.key, r.value, list(r.headers)) for r in one]
    return found


def rows(records):
    """The same of a MessageBatch."""
    columns = (records.offset.tolist(), records.timestamp.tolist())
    return [
        (offset, timestamp, records.key(row), records.value(row), records.headers_of(row))
        for row, (offset, timestamp) in enumerate(zip(*columns, strict=True))
    ]
