"""Decompression of record batches and of sub-batches, never beyond a bound."""

import zlib
from collections.abc import Callable, Mapping
from typing import Final

import cramjam
import lz4.frame
import zstandard

GZIP: Final = 1
SNAPPY: Final = 2
LZ4: Final = 3
ZSTD: Final = 4

NAMES: Final[Mapping[int, str]] = {GZIP: "gzip", SNAPPY: "snappy", LZ4: "lz4", ZSTD: "zstd"}

_CHUNK: Final = 1 << 20
_XERIAL: Final = b"\x82SNAPPY\x00"
_XERIAL_HEADER: Final = 16
_FRAMED: Final = b"\xff\x06\x00\x00sNaPpY"
_ERRORS: Final = (zlib.error, cramjam.DecompressionError, zstandard.ZstdError, RuntimeError, EOFError)


class CodecError(Exception):
    """The bytes are not of this codec, or hold more than the bound."""


def decompress(codec: int, data: memoryview, bound: int) -> bytes:
    """The content of compressed `data`; raises CodecError rather than allocate more than about twice `bound`.

    Codec numbers are Kafka's (attributes of a record batch, bits 0 to 2), and RabbitMQ's. Snappy is read in the shapes
    that producers write: the xerial stream, the framing format, and one raw block.
    """
    if codec not in _CODECS:
        raise CodecError(f"unknown codec {codec}")
    try:
        content = _CODECS[codec](data, bound)
    except _ERRORS as error:
        raise CodecError(f"{NAMES[codec]}: {error}") from error
    if len(content) > bound:
        raise CodecError(f"{NAMES[codec]}: more than {bound} bytes when decompressed")
    return content


def _gzip(data: memoryview, bound: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    rest: bytes | memoryview = data
    while rest and size <= bound:
        member = zlib.decompressobj(wbits=31)
        parts.append(member.decompress(rest, bound + 1 - size))
        size += len(parts[-1])
        if size <= bound and not member.eof:
            raise EOFError("the stream ends too early")
        rest = member.unused_data
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _snappy(data: memoryview, bound: int) -> bytes:
    if bytes(data[: len(_FRAMED)]) == _FRAMED:
        return _snappy_frames(data, bound)
    if bytes(data[: len(_XERIAL)]) != _XERIAL:
        return _snappy_block(data, bound)
    parts: list[bytes] = []
    at, size = _XERIAL_HEADER, 0
    while at < len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        at += 4
        if length > len(data) - at:
            raise EOFError("a block reaches beyond the end")
        parts.append(_snappy_block(data[at : at + length], bound - size))
        size += len(parts[-1])
        at += length
    return b"".join(parts)


def _snappy_frames(data: memoryview, bound: int) -> bytes:
    """Frames: a byte that says what one is, its length (3 bytes, little-endian), a checksum and a block."""
    at, size = 0, 0
    while at + 4 <= len(data):
        kind, stop = data[at], at + 4 + int.from_bytes(data[at + 1 : at + 4], "little")
        if kind == 0:
            size += cramjam.snappy.decompress_raw_len(data[at + 8 : stop])
        at = stop
        if size > bound:
            raise EOFError("larger than allowed when decompressed")
    return bytes(cramjam.snappy.decompress(data))


def _snappy_block(data: memoryview, bound: int) -> bytes:
    if cramjam.snappy.decompress_raw_len(data) > bound:
        raise EOFError("larger than allowed when decompressed")
    return bytes(cramjam.snappy.decompress_raw(data))


def _lz4(data: memoryview, bound: int) -> bytes:
    frame = lz4.frame.LZ4FrameDecompressor()
    content: bytes = frame.decompress(data, max_length=bound + 1)
    if len(content) <= bound and not frame.eof:
        raise EOFError("the frame ends too early")
    return content


def _zstd(data: memoryview, bound: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    with zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True) as reader:
        while size <= bound and (part := reader.read(_CHUNK)):
            parts.append(part)
            size += len(part)
    return b"".join(parts)


_CODECS: Final[Mapping[int, Callable[[memoryview, int], bytes]]] = {
    GZIP: _gzip,
    SNAPPY: _snappy,
    LZ4: _lz4,
    ZSTD: _zstd,
}
