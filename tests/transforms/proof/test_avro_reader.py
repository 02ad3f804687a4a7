"""The proof's reader against the job's decoder: two implementations, the same rows, the same payloads refused."""

import io
import json

import fastavro
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import recorded_stream

from millrace.schemas.encodings.avro.decoder import compile_decoder
from millrace.schemas.errors import SchemaError
from millrace.schemas.model.representable import represented
from millrace.schemas.model.unrepresentable import OnUnrepresentable
from millrace.transforms.proof.avro_reader import UNREADABLE, Reader
from millrace.transforms.proof.canonical import encode
from millrace.transforms.proof.type_coercion import from_stream, from_target


def named(kind, name):
    return {"type": kind, "connect.name": name}


VARIABLE = {
    "type": "record",
    "name": "VariableScaleDecimal",
    "namespace": "io.debezium.data",
    "fields": [{"name": "scale", "type": "int"}, {"name": "value", "type": "bytes"}],
    "connect.name": "io.debezium.data.VariableScaleDecimal",
}
DATE = {"type": "int", "logicalType": "date"}
TYPES = {
    "date": DATE,
    "time_ms": {"type": "int", "logicalType": "time-millis"},
    "time_us": ["null", {"type": "long", "logicalType": "time-micros"}],
    "time_ns": ["null", named("long", "io.debezium.time.NanoTime")],
    "ms": {"type": "long", "logicalType": "timestamp-millis"},
    "us": named("long", "io.debezium.time.MicroTimestamp"),
    "ns": named("long", "io.debezium.time.NanoTimestamp"),
    "zoned": ["null", named("string", "io.debezium.time.ZonedTimestamp")],
    "span": named("long", "io.debezium.time.MicroDuration"),
    "decimal": {"type": "bytes", "logicalType": "decimal", "precision": 5, "scale": 2},
    "wide": {"type": "bytes", "logicalType": "decimal", "precision": 60, "scale": 10},
    "variable": ["null", VARIABLE],
    "fixed": {"type": "fixed", "name": "Two", "size": 2, "logicalType": "decimal", "precision": 4, "scale": 1},
    "uuid": {"type": "fixed", "name": "Id", "size": 16, "logicalType": "uuid"},
    "months": {"type": "fixed", "name": "Months", "size": 12, "logicalType": "duration"},
    "enum": {"type": "enum", "name": "E", "symbols": ["A", "B"]},
    "list": {"type": "array", "items": ["null", {"type": "long", "logicalType": "timestamp-micros"}]},
    "map": {"type": "map", "values": {"type": "int", "logicalType": "date"}},
    "inner": ["null", {"type": "record", "name": "In", "fields": [{"name": "d", "type": DATE}]}],
    "numbers": ["null", "int", "long"],
    "several": ["null", "boolean", "string", "double"],
    "plain": ["null", "float"],
}  # fmt: skip
SCHEMA = {"type": "record", "name": "All", "fields": [{"name": n, "type": t} for n, t in TYPES.items()]}
INT, LONG = st.integers(-(1 << 31), (1 << 31) - 1), st.integers(-(1 << 63), (1 << 63) - 1)
TEXT = st.text(st.characters(codec="utf-8"), max_size=6)
ODD_INSTANTS = [
    "2024-02-29T23:59:59.123456789+01:00",
    "2024-01-01T00:00Z",
    "-0044-03-15T12:00:00Z",
    "+12345-01-01T00:00:00Z",
    "infinity",
    "2024-02-30T00:00:00Z",
    "2024-13-01T00:00:00Z",
    "2024-01-01T24:00:00Z",
    "2024-01-01",
    "",
]
ZONED = st.datetimes().map(lambda at: at.isoformat() + "Z") | st.sampled_from(ODD_INSTANTS)
ROW = st.fixed_dictionaries(
    {
        "date": INT,
        "time_ms": st.integers(-1, 86_400_001),
        "time_us": st.none() | st.integers(-1, 86_400_000_001),
        "time_ns": st.none() | st.integers(0, 86_400_000_000_000),
        "ms": st.integers(-(1 << 45), 1 << 45) | LONG,
        "us": LONG,
        "ns": LONG,
        "zoned": st.none() | ZONED,
        "span": LONG,
        "decimal": st.binary(max_size=3),
        "wide": st.binary(max_size=26),
        "variable": st.none()
        | st.fixed_dictionaries(
            {"scale": st.integers(-30, 30) | st.integers(-1_002, 1_002), "value": st.binary(max_size=20)}
        ),
        "fixed": st.binary(min_size=2, max_size=2),
        "uuid": st.binary(min_size=16, max_size=16),
        "months": st.binary(min_size=12, max_size=12),
        "enum": st.sampled_from("AB"),
        "list": st.lists(st.none() | LONG, max_size=3),
        "map": st.dictionaries(TEXT, INT, max_size=3),
        "inner": st.none() | st.fixed_dictionaries({"d": INT}),
        "numbers": st.none() | LONG,
        "several": st.none() | st.booleans() | TEXT | st.floats(),
        "plain": st.none() | st.floats(width=32),
    }
)


def without_meaning(schema):
    if isinstance(schema, list):
        return [without_meaning(part) for part in schema]
    if isinstance(schema, dict):
        return {name: without_meaning(part) for name, part in schema.items() if name != "logicalType"}
    return schema


WRITER = fastavro.parse_schema(without_meaning(SCHEMA))
PLAN = compile_decoder(SCHEMA)
READER = Reader.of(SCHEMA)


def judge(plan, reader, payloads):
    """Hold every payload's row in both, or its refusal in both."""
    data = np.frombuffer(b"".join(payloads) + b"\0", np.uint8)
    length = np.array([len(payload) for payload in payloads], np.int64)
    decoded = plan.decode(data, np.cumsum(length) - length, length)
    array = represented(decoded.array, OnUnrepresentable.NULL_AND_NOTE).struct
    kind, refused = array.type, 0
    rows = [proof(reader, payload) for payload in payloads]
    columns = {}
    for index, part in enumerate(kind):
        columns[part.name] = from_target(array.field(index))
    for number, row in enumerate(rows):
        error = decoded.errors[number] and decoded.message(number)
        assert (row is None) == bool(error), (error, payloads[number])
        refused += row is None
        for part in kind if row is not None else ():
            theirs, ours = columns[part.name][number], from_stream(part.type)(row.get(part.name))
            assert encode(theirs) == encode(ours), (part.name, theirs, ours)
    return refused


def proof(reader, payload):
    try:
        row = reader.read(payload, 0)
        return reader.convert(row) if reader.convert is not None else row
    except UNREADABLE:
        return None


def written(row):
    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, WRITER, row)
    return buffer.getvalue()


@given(st.lists(ROW, min_size=1, max_size=4))
def test_all_types_have_the_same_values_in_both(rows):
    judge(PLAN, READER, [written(row) for row in rows])


@given(ROW, st.data())
def test_both_refuse_the_same_payloads(row, data):
    payload = bytearray(written(row))
    for _ in range(data.draw(st.integers(1, 3))):
        payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))
    cut = payload[: data.draw(st.integers(0, len(payload)))]
    judge(PLAN, READER, [bytes(payload), bytes(cut), bytes(payload) + b"\0"])


def test_the_recorded_stream_is_the_same_in_both():
    schemas = json.loads((recorded_stream.FOLDER / "schemas.json").read_text())
    for schema_id, schema in schemas.items():
        schema = json.loads(schema) if isinstance(schema, str) else schema
        mark = b"\0" + int(schema_id).to_bytes(4, "big")
        payloads = [one.value[5:] for one in recorded_stream.messages() if one.value and one.value[:5] == mark]
        assert not payloads or judge(compile_decoder(schema), Reader.of(schema), payloads) == 0


NODE = {
    "type": "record",
    "name": "Node",
    "fields": [
        {"name": "n", "type": "double"},
        {"name": "raw", "type": "bytes"},
        {"name": "next", "type": ["null", "Node"]},
        {"name": "all", "type": {"type": "array", "items": "Node"}},
    ],
}


def test_a_type_that_contains_itself_is_json_text_in_both():
    leaf = {"n": float("nan"), "raw": b"\xff", "next": None, "all": []}
    row = {"n": 1.5, "raw": b"", "next": {**leaf, "all": [leaf]}, "all": [leaf, {**leaf, "n": float("-inf")}]}
    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, NODE, row)
    assert judge(compile_decoder(NODE), Reader.of(NODE), [buffer.getvalue(), b"\2" * 5_000]) == 1


def test_items_of_no_bytes_are_refused_by_both():
    schema = {"type": "record", "name": "R", "fields": [{"name": "a", "type": {"type": "array", "items": "null"}}]}
    payloads = []
    for count in (1_000, 1_001, 3_000_000):
        buffer = io.BytesIO()
        fastavro.schemaless_writer(buffer, "long", count)
        payloads.append(buffer.getvalue() + b"\0")
    assert judge(compile_decoder(schema), Reader.of(schema), payloads) == 2


@pytest.mark.parametrize("schema", [{"type": "recrod"}, {"type": "enum", "name": "E"}, "no.Such", 7])
def test_what_is_no_schema(schema):
    with pytest.raises(SchemaError):
        Reader.of(schema)
