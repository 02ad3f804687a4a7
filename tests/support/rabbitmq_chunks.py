"""Chunks of RabbitMQ's log written by hand, for tests without a server."""

import struct
import zlib
from collections.abc import Sequence

from millrace.schemas.model.block import Block
from millrace.transforms.sources.rabbitmq.chunk_header import HEADER, MAGIC

from .rabbitmq_streams import SubBatch

Entry = bytes | tuple[SubBatch, Sequence[bytes]]


def chunk(first: int, entries: Sequence[Entry], timestamp: int = 1_000) -> bytes:
    """Messages, and sub-batches with theirs."""
    body, records = b"", 0
    for entry in entries:
        if isinstance(entry, bytes):
            body += struct.pack(">I", len(entry)) + entry
            records += 1
        else:
            frame = entry[0].frame(entry[1])
            sizes = (frame.subbatching_message_count, frame.uncompressed_data_size, frame.compressed_data_size)
            body += struct.pack(">BHII", frame.compress_type, *sizes) + frame.messages
            records += frame.subbatching_message_count
    return HEADER.pack(MAGIC, 0, len(entries), records, timestamp, 1, first, zlib.crc32(body), len(body), 0, 0) + body


def block(first: int, stop: int, *chunks: bytes) -> Block:
    return Block("t", 0, first, stop, b"".join(chunks))
