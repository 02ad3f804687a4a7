"""Connect's JSON to columns: the recorded stream is that of Avro, and every text is what Python's `json` says it is."""

import json
from collections import defaultdict

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support import recorded_stream
from support.connect_json import as_json

from millrace.schemas.encodings import ENCODINGS
from millrace.schemas.encodings.encoding import BAD
from millrace.schemas.encodings.json.decoder import JsonDecoder
from millrace.schemas.encodings.message_reader import Failures, MessageReader
from millrace.schemas.errors import SchemaError
from millrace.schemas.model.message_batch import MessageBatch
from millrace.transforms.proof.avro_reader import UNREADABLE
from millrace.transforms.proof.json_reader import JsonPayloadReader

TYPES = ("int8", "int16", "int32", "int64", "float", "double", "boolean", "string", "bytes")
MAP = {"type": "map", "keys": {"type": "string"}, "values": {"type": "int64", "optional": True}}
ENTRIES = {"type": "map", "keys": {"type": "int32"}, "values": {"type": "string"}}
FIELDS = [
    *({"type": name, "optional": True, "field": name} for name in TYPES),
    {"type": "array", "items": {"type": "double", "optional": True}, "optional": True, "field": "list"},
    {**MAP, "optional": True, "field": "map"},
    {**ENTRIES, "optional": True, "field": "entries"},
    {"type": "struct", "fields": [{"type": "int32", "field": "é\n"}], "optional": True, "field": "inner"},
]
SCHEMA = {"type": "struct", "optional": False, "fields": FIELDS}


def batch_of(values):
    """Messages with these values and no keys."""
    data = np.frombuffer(b"".join(value or b"" for value in values) + b"\0", np.uint8)
    length = np.array([-1 if value is None else len(value) for value in values], np.int64)
    at = np.concatenate(([0], np.cumsum(np.maximum(length, 0))))[:-1].astype(np.int64)
    count = np.arange(len(values), dtype=np.int64)
    nothing = np.full(len(values), -1, np.int64)
    return MessageBatch("t", 0, 0, len(values), data, count, nothing, np.zeros_like(count), nothing, at, length)


def encoding(name="json", schemas=None):
    return ENCODINGS[name].open(ENCODINGS[name].options(), schemas)


def decoded(values, one):
    """Rows by number, and dead letters."""
    messages = batch_of(values)
    failures, found = Failures(messages), {}
    for group in MessageReader(one, "t").read(messages, failures, keys_of_values=False):
        if group.value is not None:
            found.update(zip(group.rows.tolist(), group.value.to_pylist(maps_as_pydicts="lossy"), strict=True))
    return found, failures.letters


def message(text, schema=SCHEMA):
    return b'{"schema":' + json.dumps(schema).encode() + b',"payload":' + text + b"}"


def told(text):
    """The row or None, as the job has it."""
    found, letters = decoded([message(text)], encoding())
    assert len(found) + len(letters) == 1
    return found.get(0)


def of_proof(text):
    """The row or None, as the proof reads it."""
    try:
        row, _ = JsonPayloadReader().read(message(text), "t", "value")
    except UNREADABLE:
        return None
    return row


def same(one, other):
    return repr(one) == repr(other)


def test_the_recorded_stream_is_the_same_in_json_and_in_avro(tmp_path):
    schemas = recorded_stream.contracts(tmp_path)
    by_topic = defaultdict(list)
    for one in recorded_stream.messages():
        by_topic[one.topic].append(one)
    avro, json_encoding = encoding("avro", schemas), encoding()
    for messages in by_topic.values():
        values = [one.value for one in messages]
        rows, letters = decoded(values, avro)
        others, more = decoded([as_json(one, schemas).value for one in messages], json_encoding)
        assert letters == more == []
        assert same(sorted(others.items()), sorted(rows.items()))


def test_columns_have_the_types_that_they_have_in_avro():
    name = "org.apache.kafka.connect.data.Decimal"
    parameters = {"scale": "2", "connect.decimal.precision": "9"}
    fields = [
        {"type": "bytes", "name": name, "parameters": parameters, "field": "price"},
        {"type": "int64", "name": "io.debezium.time.MicroTimestamp", "optional": True, "field": "at"},
    ]
    row = b'{"at":1,"price":"AQ=="}'
    decoder = JsonDecoder({"type": "struct", "fields": fields}, None)
    done = decoder.decode(np.frombuffer(row, np.uint8), np.array([0]), np.array([len(row)]))
    assert done.array.type == pa.struct([("price", pa.decimal128(9, 2)), ("at", pa.timestamp("us"))])
    assert str(done.array[0]["price"]) == "0.01"


def test_large_numbers_and_texts_keep_every_digit_and_letter():
    row = told('{"int64":-9223372036854775808,"string":"\\u00e9\\ud83d\\ude00\\n\\/ü","double":1e-7}'.encode())
    assert (row["int64"], row["string"], row["double"]) == (-(1 << 63), "é😀\n/ü", 1e-7)
    assert told(b'{"int64":9007199254740993}')["int64"] == 9007199254740993
    assert told(b'{"double":11000000000000001.0}')["double"] == 11000000000000000.0


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b'{"int64":9223372036854775808}', "int64: a number beyond the range"),
        (b'{"int8":128}', "int8: a number beyond the range"),
        (b'{"int32":1.0}', "int32: the value is not of the type that its field has"),
        (b'{"string":"\\ud800"}', "an escape in a text that means no character"),
        (b'{"bytes":"A==="}', "bytes: bytes that are not base64"),
        (b'{"inner":{}}', "inner.\u00e9\n: a field that is not optional"),
        (b"{}x", "something stands behind the payload"),
        (b'{"int8":', "the JSON ends too early"),
    ],
)
def test_a_dead_letter_says_where_and_why(text, why):
    found, (letter,) = decoded([message(text)], encoding())
    assert found == {} and why in letter.error


def test_a_message_without_its_schema_is_told_by_name():
    found, (letter,) = decoded([b'{"id":1}'], encoding())
    assert found == {} and "schemas.enable=true" in letter.error
    assert encoding().frame(batch_of([b'{"payload":1,"schema":{}}']), "value").kind.tolist() == [BAD]


def test_many_messages_of_two_schemas_in_one_block():
    other = {"type": "struct", "fields": [{"type": "string", "field": "name"}]}
    texts = [message(b'{"name":"%d"}' % i, other) if i % 3 else message(b'{"int32":%d}' % i) for i in range(300)]
    found, letters = decoded(texts, encoding())
    assert letters == []
    assert [row.get("name") or row["int32"] for _, row in sorted(found.items())] == [
        str(i) if i % 3 else i for i in range(300)
    ]


@pytest.mark.parametrize("schema", [{}, {"type": "odd"}, {"type": "struct"}, {"type": "array"}, [], 5])
def test_a_schema_that_is_none_is_told(schema):
    with pytest.raises(SchemaError, match="the embedded schema"):
        JsonDecoder(schema, None)


LEAVES = (
    st.none() | st.booleans() | st.integers(-(1 << 66), 1 << 66) | st.floats() | st.text(max_size=6)
) | st.sampled_from(["NaN", "Infinity", "-Infinity", "AAAA", "AA==", "AB=="])
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
FITTING = {
    "int8": st.integers(-130, 130),
    "int64": st.integers(-(1 << 64), 1 << 64),
    "float": st.floats(width=64),
    "double": st.floats() | st.integers(),
    "string": st.text(),
    "list": st.lists(st.none() | st.floats(), max_size=4),
    "map": st.dictionaries(st.text(max_size=3), st.none() | st.integers(0, 9), max_size=3),
    "entries": st.lists(st.tuples(st.integers(0, 9), st.text(max_size=2)), max_size=3),
    "inner": st.fixed_dictionaries({"é\n": st.integers(0, 9)}),
}
ROWS = st.dictionaries(st.sampled_from([part["field"] for part in FIELDS]), VALUES, max_size=3)
GOOD = st.fixed_dictionaries({}, optional=FITTING)


@settings(max_examples=300, deadline=None)
@given(row=GOOD | ROWS, ascii_only=st.booleans())
@example(row={"float": 1.00000017881393432617187499}, ascii_only=True)
def test_every_value_is_what_the_proofs_reader_makes_of_it(row, ascii_only):
    written = {k: "NaN" if isinstance(v, float) and v != v else v for k, v in row.items()}
    text = json.dumps(written, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    assert same(told(text), of_proof(text))


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_a_mutated_text_is_a_row_or_a_dead_letter_as_the_proof_has_it(data):
    text = bytearray(json.dumps(data.draw(GOOD)).encode())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(text) - 1))
        text[at] = data.draw(st.sampled_from(b'"\\{}[],:0-.eEnu \x00\xc3\xa9') | st.integers(0, 255))
    assert same(told(bytes(text)), of_proof(bytes(text)))


def test_a_key_twice_has_its_last_value():
    assert told(b'{"int32":1,"int32":2,"map":{"a":1,"a":2}}')["int32"] == 2
    assert told(b'{"map":{"a":1,"a":2}}')["map"] == {"a": 2}


def test_what_a_failed_payload_wrote_of_its_items_is_gone():
    texts = [b'{"list":[1,2.5],"int8":1000}', b'{"list":[null,3],"map":{"b":null}}', b'{"map":{"a":1},"list":["x"]}']
    found, letters = decoded([message(text) for text in texts], encoding())
    assert [letter.offset for letter in letters] == [0, 2]
    assert (found[1]["list"], found[1]["map"]) == ([None, 3.0], {"b": None})


def test_there_is_room_for_any_number_of_items():
    many = {"list": [i / 3 for i in range(5_000)], "map": {f"k{i}": i for i in range(3_000)}}
    found, _ = decoded([message(json.dumps(row).encode()) for row in ({}, many, {"list": [1]})], encoding())
    assert (found[1]["list"], found[1]["map"], found[2]["list"]) == (many["list"], many["map"], [1.0])


def test_keys_in_another_order_with_escapes_and_unknown_ones_between():
    texts = [b'{"string":"a","int8":1}', b'{ "int8" : 2 , "x" : [{"y":"\\n"}] , "str\\u0069ng" : "b" }', b'{"int8":3}']
    found, _ = decoded([message(text) for text in texts], encoding())
    assert [(row["int8"], row["string"]) for row in found.values()] == [(1, "a"), (2, "b"), (3, None)]
