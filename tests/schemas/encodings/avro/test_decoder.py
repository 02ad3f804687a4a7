"""Payloads that must not pass, and what the message of each says."""

import io
import json
import resource

import fastavro
import numpy as np
import pyarrow as pa
import pytest

from millrace.schemas.encodings.avro.decoder import Decoded, compile_decoder
from millrace.schemas.errors import SchemaError


def decode(schema, *payloads: bytes, keep=None) -> Decoded:
    length = np.array([len(payload) for payload in payloads], np.int64)
    buffer = np.frombuffer(b"".join(payloads), np.uint8)
    return compile_decoder(schema, keep).decode(buffer, np.cumsum(length) - length, length)


def encode(schema, row) -> bytes:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(json.loads(json.dumps(schema))), row)
    return out.getvalue()


def record(*fields, name="R", **more):
    return {
        "type": "record",
        "name": name,
        "fields": [{"name": field, "type": kind} for field, kind in fields],
        **more,
    }


ORDER = record(("id", "long"), ("after", ["null", record(("name", "string"), ("gift", "boolean"), name="Row")]))
GOOD = encode(ORDER, {"id": 7, "after": {"name": "ab", "gift": True}})

POISON = [
    (ORDER, b"", "truncated in field id"),
    (ORDER, GOOD[:1], "truncated in field after"),
    (ORDER, GOOD[:4], "truncated in field after.name"),
    (ORDER, GOOD[:-1], "truncated in field after.gift"),
    (ORDER, GOOD + b"xy", "2 bytes left over"),
    (ORDER, GOOD + b"x", "1 byte left over"),
    (ORDER, b"\x0e\x02\x01", "negative length -1 in field after.name"),
    (ORDER, b"\x0e\x02\x04\xffb\x01", "invalid UTF-8 in field after.name"),
    (ORDER, b"\x0e\x04\x04ab\x01", "no branch 2 in the union of 2 in field after"),
    (ORDER, b"\x0e\x01\x04ab\x01", "no branch -1 in the union of 2 in field after"),
    (ORDER, b"\x0e\x02\x04ab\x02", "2 is not a boolean (0 or 1) in field after.gift"),
    (ORDER, b"\x80" * 12 + b"\x00", "a number of more than 64 bits in field id"),
    (ORDER, b"\xff" * 9 + b"\x02\x00", "a number of more than 64 bits in field id"),
    ("int", b"\x80\x80\x80\x80\x10", "2147483648 is not an int in the datum"),
    ({"type": "enum", "name": "E", "symbols": ["A"]}, b"\x02", "1 is not enum E of 1 symbols in the datum"),
    ({"type": "array", "items": "long"}, b"\x03\x01\x02\x02\x00", "negative length -1 in the datum"),
    ({"type": "array", "items": "long"}, b"\x03\x06\x02\x02\x00", "a block of items is not as long as it says"),
    ({"type": "array", "items": "long"}, b"\x03\x60\x02\x02\x00", "a block of items is not as long as it says"),
    ({"type": "array", "items": "long"}, b"\x80\xc2\xd7\x2f", "truncated in the datum"),
    ({"type": "array", "items": "null"}, b"\x80\x9b\xee\x02\x00", "3000000 items without bytes in the datum"),
    ({"type": "array", "items": record()}, b"\x80\x9b\xee\x02\x00", "3000000 items without bytes in the datum"),
    ({"type": "map", "values": "int"}, b"\x02\x02\xc3\x02\x00", "invalid UTF-8 in the datum"),
]


@pytest.mark.parametrize(("schema", "payload", "message"), POISON)
@pytest.mark.parametrize("kept", [True, False])
def test_poison_is_refused_by_itself_whether_its_field_is_kept_or_not(schema, payload, message, kept):
    if not kept:
        schema = record(("x", schema), name="Outer")
        message = (
            message.replace("the datum", "field x").replace("field id", "field x.id").replace("field a", "field x.a")
        )
    decoded = decode(schema, payload, payload, keep=lambda path: kept)
    assert (decoded.errors != 0).all()
    assert decoded.message(0) == decoded.message(1)
    assert decoded.message(0).startswith(message)
    assert decoded.array.null_count == 2


def test_a_bad_payload_between_good_ones_takes_none_with_it():
    decoded = decode(ORDER, GOOD, GOOD[:4], GOOD)
    assert decoded.errors.dtype == np.int32
    assert decoded.array.to_pylist() == [
        {"id": 7, "after": {"name": "ab", "gift": True}},
        None,
        {"id": 7, "after": {"name": "ab", "gift": True}},
    ]
    assert decoded.array.field("id").to_pylist() == [7, None, 7]
    assert decoded.array.field("after").field("name").to_pylist() == ["ab", None, "ab"]


def test_a_failed_payload_leaves_no_items_behind():
    schema = {"type": "array", "items": ["null", {"type": "array", "items": "string"}]}
    good = encode(schema, [["a", "b"], None, ["c"]])
    decoded = decode(schema, good, good[:-2], good)
    assert decoded.array.to_pylist() == [[["a", "b"], None, ["c"]], None, [["a", "b"], None, ["c"]]]
    assert len(decoded.array.values) == 6


def test_a_failed_payload_leaves_no_bytes_behind():
    decoded = decode(ORDER, GOOD, GOOD + b"?", GOOD)
    assert decoded.array.field("after").field("name").buffers()[2].to_pybytes() == b"abab"


def test_no_payloads_give_an_empty_array():
    assert decode(ORDER).array.type == compile_decoder(ORDER).arrow_type
    assert len(decode({"type": "map", "values": "int"}).array) == 0


def test_payloads_outside_the_data_are_refused():
    decoded = compile_decoder("long").decode(np.zeros(2, np.uint8), np.array([0, 2, -1, 1]), np.array([1, 1, 1, -1]))
    assert (decoded.errors != 0).tolist() == [False, True, True, True]


def test_items_may_not_take_far_more_memory_than_bytes():
    wide = record(*((f"f{i}", "long") for i in range(1_000)), name="Wide")
    schema = {"type": "array", "items": ["null", wide]}
    decoded = decode(schema, b"\x80\xea\x30" + bytes(400_000) + b"\x00")
    assert decoded.message(0).startswith("400000 items in the datum would take too much memory")


def test_depth_5000_of_a_recursive_record_is_refused_and_not_a_crash():
    node = record(("value", "int"), ("next", ["null", "Node"]), name="Node")
    decoded = decode(node, b"\x02\x02" * 5_000 + b"\x02\x00", b"\x02\x02" * 60 + b"\x02\x00")
    assert decoded.message(0) == "more than 64 records of Node in one another in field Node.next"
    assert decoded.errors[1] == 0


def test_keep_drops_columns_and_names_the_paths_once():
    asked = []

    def keep(path):
        asked.append(path)
        return path in {("after",), ("after", "name")}

    plan = compile_decoder(ORDER, keep)
    assert asked == [("id",), ("after",), ("after", "name"), ("after", "gift")]
    assert plan.arrow_type == pa.struct([("after", pa.struct([("name", pa.string())]))])
    assert decode(ORDER, GOOD, keep=keep).array.to_pylist() == [{"after": {"name": "ab"}}]


def test_ten_thousand_columns_work():
    schema = record(*((f"f{i}", ["null", "int", "long"]) for i in range(10_000)))
    payload = b"".join(b"\x02\x02" if i % 2 else b"\x00" for i in range(10_000))
    decoded = decode(schema, payload, payload[:-1])
    assert decoded.message(1) == "truncated in field f9999"
    assert list(decoded.array[0].as_py().values()) == [None, 1] * 5_000


def test_memory_stays_near_the_size_of_the_data():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for payload in (b"\x80\x9b\xee\x02\x00", b"\xfe\xff\xff\xff\x0f" * 3, b"\xff" * 9 + b"\x01"):
        for schema in ({"type": "array", "items": kind} for kind in ("null", "long", "string", "bytes")):
            assert decode(schema, payload).errors[0]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64_000


def test_names_are_resolved_in_their_namespaces():
    inner = {"type": "enum", "name": "Colour", "symbols": ["RED", "BLUE"]}
    other = record(("c", {"type": "fixed", "name": "Colour", "size": 2}), name="Other", namespace="x.y")
    schema = record(("a", inner), ("b", other), ("c", "Colour"), ("d", "x.y.Colour"), name="shop.R")
    assert decode(schema, b"\x02okX\x00ab"[:3] + b"\x02hi").array.to_pylist() == [
        {"a": "BLUE", "b": {"c": b"ok"}, "c": "BLUE", "d": b"hi"}
    ]


DEEP = "int"
for _ in range(3_000):
    DEEP = {"type": "array", "items": DEEP}
BOMB = [record(("x", "int"), name="B0")]
for number in range(1, 30):
    BOMB.append(record(("l", f"B{number - 1}"), ("r", f"B{number - 1}"), name=f"B{number}"))


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ("Nobody", "unknown type 'Nobody' in the schema"),
        ([], "has no branches"),
        (["null", ["int", "null"]], "holds a union directly"),
        ({"type": "array"}, "no 'items'"),
        ({"name": "x"}, "no 'type'"),
        (17, "neither a type's name nor an object nor a list"),
        ({"type": "record", "name": "R"}, "no list of fields"),
        (record(("a", "int"), ("a", "int")), "repeat a name"),
        (record(("a", record(("b", "int")))), "type R is defined twice"),
        ({"type": "enum", "name": "E", "symbols": "AB"}, "must be a list of names"),
        ({"type": "enum", "name": "E", "symbols": ["\ud800"]}, "half a character"),
        (record(("x\udfff", "int")), "half a character"),
        ({"type": "enum", "name": "E", "symbols": ["A" * 1_001]}, "more than 1000 characters"),
        ({"type": "fixed", "name": "F", "size": -1}, "not a number of bytes"),
        ({"type": "fixed", "size": 4}, "has no name"),
        (DEEP, "nested more than 64 deep"),
        (record(*((f"f{i}", kind) for i, kind in enumerate(BOMB))), "more than 100000 types"),
        (record(*((f"f{i}", "int") for i in range(100_001))), "more than 100000 types"),
    ],
)
def test_schemas_that_cannot_be_decoded_say_why(schema, message):
    with pytest.raises(SchemaError, match=message):
        compile_decoder(schema)
