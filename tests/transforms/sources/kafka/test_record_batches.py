"""`split` against kafka-python's public reader; corrupt batches; bombs."""

import gzip
import struct
import tracemalloc
import zlib

import cramjam
import lz4.frame
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.record_batches import CODECS, HEADER, batch, read, rows, sealed, with_body

from millrace.schemas.model.block import Block
from millrace.transforms.sources.compression import CodecError, decompress
from millrace.transforms.sources.kafka.record_batches import MAX_BATCH_BYTES, split

NOW = 1_700_000_000_000
HEADERS = st.lists(st.tuples(st.text(max_size=5), st.none() | st.binary(max_size=5)), max_size=3)
RECORD = st.tuples(
    st.integers(0, 2**45), st.none() | st.binary(max_size=20), st.none() | st.binary(max_size=200), HEADERS
)
PARTS = st.lists(
    st.tuples(
        st.sampled_from(sorted(CODECS)),
        st.lists(RECORD, min_size=1, max_size=8),
        st.lists(st.integers(1, 50), min_size=8, max_size=8),
    ),
    max_size=5,
)


def build(parts):
    """Batches one after another, with holes between and inside them."""
    base, batches = 0, []
    for codec, records, steps in parts:
        deltas = [sum(steps[: place + 1]) - 1 for place in range(len(records))]
        batches.append(batch(base, records, codec, deltas))
        base += deltas[-1] + 1
    return batches, base


def block(raw, stop, first=0):
    return Block("t", 3, first, stop, raw)


def plain(base, count=3, codec="none"):
    return batch(base, [(NOW + i, b"k%d" % (base + i), b"v" * 50, []) for i in range(count)], codec)


@given(PARTS)
def test_same_records_as_the_public_reader(parts):
    batches, stop = build(parts)
    records, letters = split(block(b"".join(batches), stop))
    assert letters == []
    assert rows(records) == read(b"".join(batches))
    assert (records.topic, records.partition, records.first, records.stop) == ("t", 3, 0, stop)


@given(PARTS, st.data())
def test_only_records_of_the_block(parts, data):
    batches, stop = build(parts)
    first = data.draw(st.integers(0, stop))
    end = data.draw(st.integers(first, stop))
    spans = zip(batches, [struct.unpack_from(">q", raw)[0] for raw in batches], strict=True)
    inside = [raw for raw, base in spans if base < end and base + struct.unpack_from(">i", raw, 23)[0] >= first]
    records, letters = split(block(b"".join(inside), end, first))
    assert letters == []
    assert rows(records) == [row for row in read(b"".join(batches)) if first <= row[0] < end]


def test_uncompressed_data_is_not_copied():
    raw = plain(0) + plain(3)
    records, _ = split(block(raw, 6))
    assert records.data.base is raw


def test_empty_block():
    records, letters = split(block(b"", 9))
    assert (len(records), letters) == (0, [])


@pytest.mark.parametrize("codec", CODECS)
def test_append_time_is_the_batch_maximum(codec):
    raw = bytearray(plain(0, codec=codec))
    raw[22] |= 8
    raw[35:43] = struct.pack(">q", NOW + 77)
    records, letters = split(block(sealed(bytes(raw)), 3))
    assert letters == []
    assert records.timestamp.tolist() == [NOW + 77] * 3


def test_control_batches_hold_no_records():
    raw = bytearray(plain(0))
    raw[22] |= 32
    records, letters = split(block(sealed(bytes(raw)) + plain(3), 6))
    assert (records.offset.tolist(), letters) == ([3, 4, 5], [])


def test_raw_snappy_block():
    body = plain(0)[HEADER:]
    raw = with_body(plain(0), bytes(cramjam.snappy.compress_raw(body)), attributes=2)
    records, letters = split(block(raw, 3))
    assert (rows(records), letters) == (read(plain(0)), [])


def test_gzip_of_several_members():
    body = plain(0)[HEADER:]
    raw = with_body(plain(0), gzip.compress(body[:20]) + gzip.compress(body[20:]), attributes=1)
    records, letters = split(block(raw, 3))
    assert (rows(records), letters) == (read(plain(0)), [])


@pytest.mark.parametrize("codec", CODECS)
def test_a_bad_checksum_costs_one_batch(codec):
    bad = bytearray(plain(3, codec=codec))
    bad[-1] ^= 1
    records, letters = split(block(plain(0, codec=codec) + bytes(bad) + plain(6, codec=codec), 9))
    assert records.offset.tolist() == [0, 1, 2, 6, 7, 8]
    (letter,) = letters
    assert (letter.topic, letter.partition, letter.offset, letter.timestamp) == ("t", 3, 3, -1)
    assert (letter.key, letter.value, letter.step) == (None, bytes(bad), "split")
    assert "CRC" in letter.error


@pytest.mark.parametrize("length", [-1, 0, 48, 2**31 - 1])
def test_a_bad_length_costs_the_rest(length):
    bad = bytearray(plain(3) + plain(6))
    bad[8:12] = struct.pack(">i", length)
    records, letters = split(block(plain(0) + bytes(bad), 9))
    assert records.offset.tolist() == [0, 1, 2]
    assert [(letter.offset, letter.value) for letter in letters] == [(3, bytes(bad))]


@pytest.mark.parametrize("base", [-5, 1, 900])
def test_a_batch_out_of_place_is_a_dead_letter(base):
    records, letters = split(block(plain(0) + plain(base) + plain(6), 9))
    assert records.offset.tolist() == [0, 1, 2, 6, 7, 8]
    assert [letter.value for letter in letters] == [plain(base)]
    assert 0 <= letters[0].offset < 9


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"\x80" * 12, "does not end"),
        (b"\x7e\x00\x00\x00\x00\x00\x00", "beyond"),
        (b"\x01\x00\x00\x00\x00\x00\x00", "negative"),
        (b"\x0c\x00\x00\x00\x01\x01\x01", "negative"),
        (b"\x0c\x00\x00\x00\x08\x01\x00", "beyond"),
        (b"\x0e\x00\x00\x00\x01\x01\x00\x00", "not as long"),
        (b"\x0c\x00\x00\x00\x01\x01\x00\x00", "left"),
        (b"\x0c\x00\x00\x02\x01\x01\x00", "ascend"),
        (b"\x10\x00\x00\x00\x01\x01\x02\x01\x01", "negative"),
        (b"\x0a\x00" + b"\x80" * 12, "does not end"),
        (b"", "fit"),
    ],
)
def test_bad_record_structure(body, why):
    raw = with_body(plain(0, count=1), body)
    records, letters = split(block(raw + plain(1), 4))
    assert records.offset.tolist() == [1, 2, 3]
    assert [letter.value for letter in letters] == [raw]
    assert why in letters[0].error


def test_an_offset_twice_in_a_batch():
    raw = with_body(plain(0, count=1), b"\x0c\x00\x00\x00\x01\x01\x00" * 2, count=2)
    records, letters = split(block(raw + plain(1), 4))
    assert records.offset.tolist() == [1, 2, 3]
    assert "ascend" in letters[0].error


@pytest.mark.parametrize("count", [-1, 2, 4, 2**31 - 1])
def test_a_wrong_count_of_records(count):
    raw = with_body(plain(0), plain(0)[HEADER:], count=count)
    records, letters = split(block(raw + plain(3), 6))
    assert records.offset.tolist() == [3, 4, 5]
    assert [letter.value for letter in letters] == [raw]


@pytest.mark.parametrize("codec", [1, 2, 3, 4, 5, 6, 7])
def test_bytes_that_are_not_of_the_codec(codec):
    raw = with_body(plain(0), b"this is no compressed data at all", attributes=codec)
    records, letters = split(block(raw + plain(3), 6))
    assert records.offset.tolist() == [3, 4, 5]
    assert [letter.value for letter in letters] == [raw]


def bombs():
    size = MAX_BATCH_BYTES + (4 << 20)
    deflate = zlib.compressobj(9, zlib.DEFLATED, 31)
    part = bytes(1 << 20)
    yield "gzip", 1, b"".join(deflate.compress(part) for _ in range(size >> 20)) + deflate.flush()
    yield "lz4", 3, lz4.frame.compress(bytes(size), store_size=True)
    yield "zstd", 4, zstandard.ZstdCompressor().compress(bytes(size))
    yield "snappy raw", 2, bytes(cramjam.snappy.compress_raw(bytes(size)))
    small = bytes(cramjam.snappy.compress_raw(part))
    framed = struct.pack(">i", len(small)) + small
    yield "snappy xerial", 2, b"\x82SNAPPY\x00" + struct.pack(">ii", 1, 1) + framed * (size >> 20)
    yield "snappy that lies", 2, b"\xff\xff\xff\xff\x0f" + bytes(cramjam.snappy.compress_raw(b"small"))


def test_bombs_are_never_allocated():
    for name, codec, body in bombs():
        raw = with_body(plain(0), body, attributes=codec)
        tracemalloc.start()
        records, letters = split(block(raw + plain(3), 6))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 2.3 * MAX_BATCH_BYTES, name
        assert records.offset.tolist() == [3, 4, 5], name
        assert [letter.value for letter in letters] == [raw], name
        assert "when decompressed" in letters[0].error, name


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
def test_the_bound_of_a_codec_is_exact(codec):
    body = memoryview(plain(0, 40, codec)[HEADER:])
    size = len(plain(0, 40)) - HEADER
    assert decompress(CODECS[codec], body, size) == plain(0, 40)[HEADER:]
    with pytest.raises(CodecError):
        decompress(CODECS[codec], body, size - 1)


MUTATION = st.tuples(st.integers(0, 10**6), st.integers(1, 255))


@settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow])
@given(PARTS, st.lists(MUTATION, min_size=1, max_size=4))
def test_mutated_bytes_are_dead_letters_or_change_nothing(parts, mutations):
    batches, stop = build(parts)
    raw = bytearray(b"".join(batches))
    for place, flip in mutations:
        if raw:
            raw[place % len(raw)] ^= flip
    records, letters = split(block(bytes(raw), stop))
    truth = {row[0]: row for row in read(b"".join(batches))}
    good = [row for row in rows(records) if truth.get(row[0]) == row]
    assert records.offset.tolist() == sorted(set(records.offset.tolist()))
    assert len(good) == len(records) or changed_bases(batches, bytes(raw))
    assert all(letter.step == "split" and letter.value in bytes(raw) for letter in letters)
    if len(records) < len(truth):
        assert letters or changed_bases(batches, bytes(raw))


def changed_bases(batches, raw):
    """The base offset is outside the checksum: where it is changed, the batch is moved, maybe out of the block."""
    at = 0
    for one in batches:
        if raw[at : at + 8] != one[:8]:
            return True
        at += len(one)
    return False


@settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow])
@given(PARTS, st.lists(MUTATION, min_size=1, max_size=3))
def test_mutations_under_a_right_checksum_read_as_the_specification_says(parts, mutations):
    for one in build(parts)[0]:
        raw = bytearray(one)
        for place, flip in mutations:
            raw[21 + place % (len(raw) - 21)] ^= flip
        raw = sealed(bytes(raw))
        records, letters = split(Block("t", 0, -(2**63), 2**63 - 1, raw))
        try:
            truth = rows_of(raw)
        except BadBatch:
            assert [letter.value for letter in letters] == [raw]
            assert len(records) == 0
        else:
            assert (rows(records), letters) == (truth, [])


class BadBatch(Exception):
    pass


def rows_of(raw):
    """The specification, record by record."""
    base, attributes, last, first_time, max_time = struct.unpack_from(">q13xhiqq", raw)
    (count,) = struct.unpack_from(">i", raw, 57)
    # Of a control batch too: without its last offset nobody knows where the next batch begins.
    if last < 0 or count < 0:
        raise BadBatch
    if attributes & 32:
        return []
    body, found, at = raw[HEADER:], [], 0
    if attributes & 7:
        try:
            body = decompress(attributes & 7, memoryview(body), MAX_BATCH_BYTES)
        except CodecError:
            raise BadBatch from None
    previous = -1
    for _ in range(count):
        length, at = number(body, at, 5)
        record = body[at : at + length]
        at += length
        if length < 1 or at > len(body):
            raise BadBatch
        elapsed, place = number(record, 1, 10)
        delta, place = number(record, place, 5)
        if not previous < delta <= last:
            raise BadBatch
        previous = delta
        key, place = text(record, place)
        value, place = text(record, place)
        names, place = number(record, place, 5)
        headers = []
        if names < 0:
            raise BadBatch
        for _ in range(names):
            name, place = text(record, place)
            if name is None:
                raise BadBatch
            content, place = text(record, place)
            headers.append((name.decode(errors="backslashreplace"), content))
        if place != len(record):
            raise BadBatch
        time = max_time if attributes & 8 else (first_time + elapsed + 2**63) % 2**64 - 2**63
        found.append((base + delta, time, key, value, headers))
    if at != len(body):
        raise BadBatch
    return found


def number(data, at, most):
    value = 0
    for index, byte in enumerate(data[at : at + most]):
        value |= (byte & 127) << (7 * index)
        if byte < 128:
            value &= 2**64 - 1
            return (value >> 1) ^ -(value & 1), at + index + 1
    raise BadBatch


def text(data, at):
    length, at = number(data, at, 5)
    if length > len(data) - at:
        raise BadBatch
    return (None, at) if length < 0 else (data[at : at + length], at + length)
