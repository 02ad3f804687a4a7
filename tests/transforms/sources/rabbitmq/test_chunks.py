"""Chunks to messages: every codec, every place of a key, and what is corrupt becomes a dead letter by itself."""

import gzip
import struct
import zlib

import cramjam
import lz4.frame
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from rstream import amqp_decoder
from support.rabbitmq_chunks import block, chunk
from support.rabbitmq_streams import SubBatch, amqp, binary, compound, section, text

from millrace.transforms.sources.rabbitmq.chunk_header import HEADER
from millrace.transforms.sources.rabbitmq.chunks import cut, key_place, split

KEY = key_place("message_id", "amqp")
CODECS = {
    "none": SubBatch(0),
    "gzip": SubBatch(1, gzip.compress),
    "snappy framed": SubBatch(2, lambda data: bytes(cramjam.snappy.compress(data))),
    "snappy raw": SubBatch(2, lambda data: bytes(cramjam.snappy.compress_raw(data))),
    "lz4": SubBatch(3, lz4.frame.compress),
    "zstd": SubBatch(4, lambda data: zstandard.ZstdCompressor().compress(data)),
}


def found(block, place=KEY):
    messages, letters = split(block, place)
    rows = [(int(messages.offset[i]), messages.key(i), messages.value(i)) for i in range(len(messages))]
    return rows, [(letter.offset, letter.error) for letter in letters]


@pytest.mark.parametrize("codec", CODECS)
def test_sub_batches_of_every_codec_stand_between_single_messages(codec):
    inside = [amqp(b"b%d" % i, b"x" * 40 * i) for i in range(5)]
    made = chunk(7, [amqp(b"a", b"1"), (CODECS[codec], inside), amqp(b"c", None)])
    rows, letters = found(block(7, 14, made))
    assert rows == [(7, b"a", b"1"), *((8 + i, b"b%d" % i, b"x" * 40 * i) for i in range(5)), (13, b"c", None)]
    assert letters == []


@pytest.mark.parametrize("place", ["message_id", "subject", "application_properties.key", "message_annotations.x-key"])
def test_the_key_is_where_the_job_says(place):
    made = chunk(
        0, [amqp(b"k", b"v", [(b"other", b"o")], place), amqp(None, b"w", (), place), section(0x75, binary(b"z"))]
    )
    rows, letters = found(block(0, 3, made), key_place(place, "amqp"))
    assert rows == [(0, b"k", b"v"), (1, None, b"w"), (2, None, b"z")] and letters == []


def test_application_properties_are_headers():
    numbers = section(0x74, compound(0xD1, [text(b"n"), b"\x54\x05", text(b"none"), b"\x40", text(b"t"), text(b"u")]))
    messages, _ = split(
        block(0, 3, chunk(0, [amqp(b"k", b"v"), numbers + amqp(b"k", b"v"), amqp(b"k", b"v", [(b"a", b"b")])])), KEY
    )
    assert messages.headers_of(0) == []
    # What is neither text nor bytes stays in AMQP's own form.
    assert messages.headers_of(1) == [("n", b"\x54\x05"), ("none", None), ("t", b"u")]
    assert messages.headers_of(2) == [("a", b"b")]


@pytest.mark.parametrize(
    ("value", "read"),
    [
        (section(0x77, text(b"text")), b"text"),
        (section(0x77, binary(b"bytes")), b"bytes"),
        (section(0x77, b"\x40"), None),
        (section(0x75, binary(b"")), b""),
        (section(0x75, binary(b"l" * 300)), b"l" * 300),
        (b"\0\x80\0\0\0\0\0\0\0\x75" + binary(b"long code"), b"long code"),
        (b"", None),
    ],
)
def test_bodies(value, read):
    assert found(block(0, 1, chunk(0, [value]))) == ([(0, None, read)], [])


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (b"plain bytes", "no AMQP 1.0: a section of it is of an unknown kind"),
        (section(0x75, b"\xa0\x09short"), "ends inside a value"),
        (section(0x73, compound(0xD0, [b"\x80" + bytes(8)])), "the key is of an AMQP type that is neither"),
        (section(0x77, b"\x54\x05"), "the body is of an AMQP type that is neither"),
        (section(0x76, compound(0xD0, [b"\x40"])), "the body is of an AMQP type that is neither"),
        (section(0x75, binary(b"a")) + section(0x75, binary(b"b")), "the body has several parts"),
        (section(0x74, compound(0xD1, [text(b"a")])), "ends inside a value"),
    ],
)
def test_a_message_that_cannot_be_read_is_a_dead_letter_alone(wrong, why):
    made = block(5, 8, chunk(5, [amqp(b"a", b"1"), wrong, amqp(b"b", b"2")]))
    messages, (letter,) = split(made, KEY)
    assert messages.server_times
    assert [messages.value(i) for i in range(len(messages))] == [b"1", b"2"]
    assert (letter.offset, letter.value, letter.step) == (6, wrong, "split") and why in letter.error


def test_raw_bodies_are_taken_as_they_are():
    rows, letters = found(block(0, 2, chunk(0, [b"plain bytes", b""])), key_place("message_id", "raw"))
    assert rows == [(0, None, b"plain bytes"), (1, None, b"")] and letters == []


def corrupt(made, at, new):
    return made[:at] + new + made[at + len(new) :]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda made: corrupt(made, 60, b"\xff"), "the CRC-32 of the chunk is wrong"),
        (lambda made: corrupt(made, 0, b"\x51"), "format 0x51"),
        (lambda made: made[:30], "30 bytes are no chunk"),
        (lambda made: made[:60], "12 came"),
        (lambda made: corrupt(made, 4, struct.pack(">I", 9)), "2 messages, where it says 9"),
        (lambda made: corrupt(made, 2, struct.pack(">H", 40_000)), "40000 entries do not fit"),
        (lambda made: corrupt(made, 2, struct.pack(">H", 3)), "not as long as they say"),
    ],
)
def test_a_chunk_that_is_corrupt_is_one_dead_letter(change, why):
    good, wrong = chunk(0, [amqp(b"a", b"1")]), change(chunk(1, [amqp(b"b", b"2"), amqp(b"c", b"3")]))
    whole = block(0, 3, good, wrong)
    rows, ((offset, error),) = found(whole)
    assert rows == [(0, b"a", b"1")] and offset in (1, 2, 0) and why in error
    pieces = [found(piece) for piece in cut(whole, [0, 1, 2])]
    assert [row for rows, _ in pieces for row in rows] == rows
    assert [letter for _, letters in pieces for letter in letters] == [(offset, error)]


def test_a_sub_batch_that_expands_beyond_what_it_says_is_refused():
    inside = SubBatch(1, lambda data: gzip.compress(data + b"\0" * 50_000))
    _, ((offset, error),) = found(block(0, 1, chunk(0, [(inside, [amqp(b"a", b"1")])])))
    assert offset == 0 and "more than" in error


def test_a_cut_inside_a_chunk_gives_each_message_once():
    whole = block(2, 9, chunk(0, [amqp(b"%d" % i, b"v%d" % i) for i in range(6)]), chunk(8, [amqp(b"8", b"v8")]))
    pieces = cut(whole, [2, 3, 7, 8])
    assert [(piece.first, piece.stop) for piece in pieces] == [(2, 3), (3, 7), (7, 8), (8, 9)]
    assert [row for piece in pieces for row in found(piece)[0]] == found(whole)[0]
    assert [row[0] for row in found(whole)[0]] == [2, 3, 4, 5, 8]


def oracle(data):
    """What rstream reads; ... where it reads nothing."""
    try:
        message = amqp_decoder(data)
    except (IndexError, KeyError, TypeError, ValueError, AttributeError, struct.error):
        return ...
    return (
        message.properties and message.properties.message_id,
        message.body if message.body is not None else message.value,
    )


payloads = st.one_of(st.none(), st.binary(max_size=300))
names = st.text(max_size=5).map(str.encode)


@settings(max_examples=150)
@given(
    st.lists(
        st.tuples(payloads, payloads, st.lists(st.tuples(names, st.binary(max_size=5)), max_size=3)),
        min_size=1,
        max_size=8,
    )
)
def test_it_reads_what_rabbitmqs_client_reads(sent):
    messages = [amqp(*one) for one in sent]
    rows, letters = found(block(0, len(sent), chunk(0, messages)))
    assert letters == [] and [row[1:] for row in rows] == [(key, value) for key, value, _ in sent]
    assert [oracle(message) for message in messages] == [(key, value) for key, value, _ in sent]


@settings(max_examples=300)
@given(st.data())
def test_hostile_bytes_end_as_a_row_or_a_dead_letter(data):
    """A message with any bytes changed harms no other; a chunk with any bytes changed gives rows and letters."""
    message = bytearray(
        amqp(b"key", b"value" * 3, [(b"a", b"b"), (b"c", b"d")], data.draw(st.sampled_from(["message_id", "subject"])))
    )
    for _ in range(data.draw(st.integers(1, 4))):
        message[data.draw(st.integers(0, len(message) - 1))] = data.draw(st.integers(0, 255))
    rows, letters = found(block(0, 3, chunk(0, [amqp(b"x", b"1"), bytes(message), amqp(b"y", b"2")])))
    assert {row[0] for row in rows} | {offset for offset, _ in letters} == {0, 1, 2}
    assert len(rows) + len(letters) == 3 and rows[0] == (0, b"x", b"1") and rows[-1] == (2, b"y", b"2")
    body = bytearray(chunk(0, [amqp(b"x", b"1"), (CODECS["lz4"], [amqp(b"z", b"3")] * 3), bytes(message)]))
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()) and len(body) >= HEADER.size:
        # With a checksum that fits, so that the loops see what is inside.
        body[32:36] = struct.pack(">I", zlib.crc32(body[HEADER.size :]))
    rows, letters = found(block(0, 5, bytes(body)))
    assert all(0 <= row[0] < 5 for row in rows) and all(0 <= offset < 5 for offset, _ in letters)
