"""The strict walk against fastavro: it ends where fastavro ends, and refuses what fastavro lets through."""

import io

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.schemas.errors import SchemaError
from millrace.transforms.proof.avro_validator import MAX_DEPTH, MAX_EMPTY, Malformed, validator

SCHEMA = {
    "type": "record",
    "name": "R",
    "namespace": "n",
    "fields": [
        {"name": "a", "type": ["null", "int", "string"]},
        {"name": "b", "type": {"type": "array", "items": ["null", "bytes"]}},
        {"name": "c", "type": {"type": "map", "values": "long"}},
        {"name": "d", "type": {"type": "enum", "name": "E", "symbols": ["X", "Y"]}},
        {"name": "e", "type": {"type": "fixed", "name": "F", "size": 3}},
        {"name": "f", "type": ["null", "n.E"]},
        {"name": "g", "type": "boolean"},
        {"name": "h", "type": "double"},
        {"name": "i", "type": "float"},
        {"name": "j", "type": ["null", "R"]},
    ],
}
PARSED = fastavro.parse_schema(SCHEMA)
LONGS = st.integers(-(1 << 63), (1 << 63) - 1)
ROWS = st.recursive(
    st.none(),
    lambda inner: st.fixed_dictionaries(
        {
            "a": st.none() | st.integers(-(1 << 31), (1 << 31) - 1) | st.text(st.characters(codec="utf-8"), max_size=5),
            "b": st.lists(st.none() | st.binary(max_size=100), max_size=3),
            "c": st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=3), LONGS, max_size=3),
            "d": st.sampled_from("XY"),
            "e": st.binary(min_size=3, max_size=3),
            "f": st.none() | st.sampled_from("XY"),
            "g": st.booleans(),
            "h": st.floats(),
            "i": st.floats(width=32),
            "j": inner,
        }
    ),
    max_leaves=3,
).filter(bool)


def written(row):
    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, PARSED, row)
    return buffer.getvalue()


def end_of(schema, payload):
    return validator(schema)(payload, 0)


@given(ROWS, st.binary(max_size=3))
def test_every_datum_ends_where_it_ends(row, behind):
    payload = written(row)
    assert end_of(SCHEMA, payload + behind) == len(payload)


@given(ROWS, st.data())
def test_what_the_walk_accepts_fastavro_reads_to_the_same_byte(row, data):
    payload = bytearray(written(row))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(payload) - 1))
        payload[at] = data.draw(st.integers(0, 255))
    cut = bytes(payload[: data.draw(st.integers(0, len(payload)))])
    for mutated in (bytes(payload), cut):
        try:
            end = end_of(SCHEMA, mutated)
        except (Malformed, IndexError):
            continue
        stream = io.BytesIO(mutated)
        try:
            fastavro.schemaless_reader(stream, PARSED)
        except UnicodeDecodeError:
            continue
        assert stream.tell() == end


@pytest.mark.parametrize(
    ("schema", "payload"),
    [
        ("bytes", b"\x09abc"),
        ("string", b"\x08ab"),
        ("long", b"\xff" * 11 + b"\x01"),
        ("long", b"\xff" * 9 + b"\x02"),
        ("int", b"\x80\x80\x80\x80\x10"),
        (["null", "int"], b"\x01\x00"),
        (["null", "int"], b"\x04\x00"),
        (["null", "int"], b"\x81\x00\x00"),
        ({"type": "enum", "name": "e", "symbols": ["a", "b"]}, b"\x01"),
        ({"type": "enum", "name": "e", "symbols": ["a", "b"]}, b"\x04"),
        ({"type": "fixed", "name": "f", "size": 4}, b"abc"),
        ("boolean", b"\x02"),
        ("double", b"abc"),
        ({"type": "array", "items": "int"}, b"\x01\x01\x02\x00"),
        ({"type": "map", "values": "int"}, b"\x02\x01\x02\x00"),
    ],
)
def test_what_is_no_avro_is_refused(schema, payload):
    with pytest.raises((Malformed, IndexError)):
        end_of(schema, payload)


EMPTY = ["null", {"type": "fixed", "name": "F", "size": 0}, {"type": "record", "name": "E", "fields": []}]


@pytest.mark.parametrize("item", EMPTY)
def test_items_of_no_bytes_are_limited_without_counting_them(item):
    def payload(count):
        buffer = io.BytesIO()
        fastavro.schemaless_writer(buffer, "long", count)
        return buffer.getvalue() + b"\0"

    schema = {"type": "array", "items": item}
    assert end_of(schema, payload(MAX_EMPTY)) == len(payload(MAX_EMPTY))
    for count in (MAX_EMPTY + 1, 3_000_000, 1 << 60):
        with pytest.raises(Malformed, match="items of no bytes"):
            end_of(schema, payload(count))


def test_recursion_is_limited():
    schema = {"type": "record", "name": "N", "fields": [{"name": "next", "type": ["null", "N"]}]}
    assert end_of(schema, b"\x02" * MAX_DEPTH + b"\0") == MAX_DEPTH + 1
    with pytest.raises(Malformed, match="nested deeper"):
        end_of(schema, b"\x02" * 5_000 + b"\0")


def test_a_name_that_is_not_defined():
    with pytest.raises(SchemaError, match="defined nowhere"):
        validator(["null", "x.Y"])
