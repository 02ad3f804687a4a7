"""Types that contain themselves: the field that leads back is JSON text, checked to its last byte."""

import io
import json

import fastavro
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.schemas.encodings.avro.decoder import compile_decoder
from millrace.schemas.encodings.avro.recursive_json import json_text
from millrace.schemas.encodings.avro.schema_types import parse_schema

NODE = {
    "type": "record",
    "name": "Node",
    "namespace": "tree",
    "fields": [
        {"name": "label", "type": "string"},
        {"name": "next", "type": ["null", "Node"]},
        {"name": "children", "type": {"type": "array", "items": "Node"}},
        {"name": "by_name", "type": {"type": "map", "values": ["int", "Node"]}},
    ],
}
LEAF = {"label": "é", "next": None, "children": [], "by_name": {}}
TREES = st.recursive(
    st.just(LEAF),
    lambda inner: st.fixed_dictionaries(
        {
            "label": st.text(max_size=5),
            "next": st.none() | inner,
            "children": st.lists(inner, max_size=2),
            "by_name": st.dictionaries(st.text(max_size=3), inner | st.integers(-5, 5), max_size=2),
        }
    ),
    max_leaves=6,
)


def encode(schema, row) -> bytes:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(json.loads(json.dumps(schema))), row)
    return out.getvalue()


def decode(schema, payloads, keep=None):
    length = np.array([len(payload) for payload in payloads], np.int64)
    buffer = np.frombuffer(b"".join(payloads), np.uint8)
    decoded = compile_decoder(schema, keep).decode(buffer, np.cumsum(length) - length, length)
    decoded.array.validate(full=True)
    return decoded


def test_only_the_fields_that_lead_back_are_text():
    assert compile_decoder(NODE).arrow_type == pa.struct(
        [("label", pa.string()), ("next", pa.string()), ("children", pa.string()), ("by_name", pa.string())]
    )
    plain = {"type": "record", "name": "Pair", "fields": [{"name": "l", "type": NODE}, {"name": "n", "type": "int"}]}
    kinds = compile_decoder(plain).arrow_type
    assert pa.types.is_struct(kinds.field("l").type)
    assert kinds.field("n").type == pa.int32()


@settings(deadline=None)
@given(st.lists(TREES, max_size=3))
def test_trees_come_back_whole(trees):
    rows = decode(NODE, [encode(NODE, tree) for tree in trees]).array.to_pylist()
    for tree, row in zip(trees, rows, strict=True):
        assert row["label"] == tree["label"]
        assert json.loads(row["children"]) == tree["children"]
        assert json.loads(row["by_name"]) == tree["by_name"]
        assert (row["next"] and json.loads(row["next"])) == tree["next"]


@settings(deadline=None)
@given(TREES, st.data())
def test_damaged_trees_are_refused_or_read_as_fastavro_reads_them(tree, drawn):
    whole = bytearray(encode(NODE, tree))
    whole[drawn.draw(st.integers(0, len(whole) - 1))] = drawn.draw(st.integers(0, 255))
    decoded = decode(NODE, [bytes(whole)])
    if not decoded.errors[0]:
        stream = io.BytesIO(whole)
        expected = fastavro.schemaless_reader(stream, fastavro.parse_schema(json.loads(json.dumps(NODE))))
        assert stream.tell() == len(whole)
        (row,) = decoded.array.to_pylist()
        assert json.loads(row["children"]) == expected["children"]
        assert json.loads(row["by_name"]) == expected["by_name"]


def test_a_recursive_field_that_is_not_kept_is_walked():
    payload = encode(NODE, {**LEAF, "next": {**LEAF, "children": [LEAF]}})
    decoded = decode(NODE, [payload, payload[:-3]], lambda path: path == ("label",))
    assert decoded.array.to_pylist() == [{"label": "é"}, None]


def test_two_records_that_contain_one_another():
    b = {"type": "record", "name": "B", "fields": [{"name": "a", "type": ["null", "A"]}, {"name": "n", "type": "int"}]}
    a = {"type": "record", "name": "A", "fields": [{"name": "b", "type": ["null", b]}]}
    payload = encode(a, {"b": {"a": {"b": {"a": None, "n": 2}}, "n": 1}})
    assert decode(a, [payload]).array.to_pylist() == [{"b": {"a": '{"b":{"a":null,"n":2}}', "n": 1}}]


def test_a_record_without_end_has_no_values():
    endless = {"type": "record", "name": "A", "fields": [{"name": "a", "type": "A"}]}
    decoded = decode(endless, [b"", b"\0"])
    assert decoded.message(0).startswith("more than 64 records of A in one another")
    assert decoded.errors[1] != 0


def test_a_schema_of_many_records_that_know_one_another_compiles():
    names = [f"R{i}" for i in range(30)]
    fields = [{"name": name.lower(), "type": ["null", name]} for name in names]
    schema = {"type": "record", "name": "Top", "fields": []}
    for name in reversed(names):
        links = [dict(field) for field in fields] if name == names[0] else []
        schema = {"type": "record", "name": name, "fields": [{"name": "in", "type": ["null", schema]}, *links]}
    assert compile_decoder(schema).arrow_type.num_fields == 31


EVERY = [
    ("boolean", True, True),
    ("float", float("nan"), "NaN"),
    ("float", 0.5, 0.5),
    ("double", float("-inf"), "-Infinity"),
    ("double", float("inf"), "Infinity"),
    ("bytes", b"\xff\0", "ÿ\0"),
    ("long", -(1 << 63), -(1 << 63)),
    ({"type": "fixed", "name": "F", "size": 2}, b"ab", "ab"),
    ({"type": "enum", "name": "E", "symbols": ["A", "B"]}, "B", "B"),
]


@pytest.mark.parametrize(("schema", "value", "expected"), EVERY)
def test_every_type_as_json(schema, value, expected):
    payload = encode(schema, value)
    assert json.loads(json_text(parse_schema(schema), memoryview(b"?" + payload), 1, len(payload)) or "") == expected


def test_null_and_blocks_with_a_size_as_json():
    kind = parse_schema({"type": "array", "items": ["null", "int"]})
    assert json_text(kind, memoryview(b"\x03\x06\x02\x02\x00\x00"), 0, 6) == "[1,null]"
    assert json_text(parse_schema("null"), memoryview(b""), 0, 0) is None
