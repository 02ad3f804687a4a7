"""Schemas that converters write against the letter of Avro: the job and the proof read the same values, or neither."""

import numpy as np
import pytest

from millrace.schemas.encodings.avro.decoder import compile_decoder
from millrace.schemas.errors import SchemaError
from millrace.transforms.proof.avro_reader import UNREADABLE, Reader
from millrace.transforms.proof.canonical import encode, shown
from millrace.transforms.proof.type_coercion import from_stream, from_target

CONNECT = "org.apache.kafka.connect.data.Decimal"


def decimal(kind="bytes", **more):
    return {"type": kind, "logicalType": "decimal", **more}


def connect(**parameters):
    return {"type": "bytes", "connect.name": CONNECT, "connect.parameters": parameters}


FIVE, ZERO = b"\x02\x05", b"\x02\x00"
MAP = {"type": "map", "values": ["null", "int"]}
ODD = {
    "an enum's symbol with a dash": ({"type": "enum", "name": "E", "symbols": ["a", "in-use"]}, b"\x02", "in-use"),
    "symbols that are no names": ({"type": "enum", "name": "E", "symbols": ["a b", "é", "1st"]}, b"\x04", "1st"),
    "scale 2.0": (decimal(precision=10, scale=2.0), FIVE, "0.05"),
    "scale as text": (decimal(precision="10", scale="2"), FIVE, "0.05"),
    "scale as the text 2.0": (connect(scale="2.0"), FIVE, "0.05"),
    "scale null": (decimal(precision=10, scale=None), FIVE, "5"),
    "scale null in Connect's parameters": (connect(scale=None), FIVE, "5"),
    "half a scale": (decimal(precision=10, scale=2.5), FIVE, "5"),
    "a list as scale": (decimal(precision=10, scale=[2]), FIVE, "5"),
    "a scale that is true": (decimal(precision=10, scale=True), FIVE, "5"),
    "a scale of letters": (decimal(precision=10, scale="x"), FIVE, "5"),
    "a scale below zero": (decimal(precision=5, scale=-2), FIVE, "500"),
    "a scale beyond the precision": (decimal(precision=2, scale=5), FIVE, "0.00005"),
    "a scale beyond all reason": (decimal(precision=10, scale=-100_000), FIVE, "0x05"),
    "precision 0": (decimal(precision=0, scale=0), FIVE, "5"),
    "precision 0, the value 0": (decimal(precision=0, scale=0), ZERO, "0"),
    "precision below zero": (decimal(precision=-1), FIVE, "5"),
    "no precision": (decimal(scale=2), FIVE, "0.05"),
    "precision null": (decimal(precision=None, scale=2), FIVE, "0.05"),
    "precision 5.0": (decimal(precision=5.0, scale=2), FIVE, "0.05"),
    "a map with one key twice": (MAP, b"\x06\x02a\x02\x02\x02a\x02\x04\x02b\x00\x00", [["a", 2], ["b", None]]),
    "maps with one key twice in a list": (
        {"type": "array", "items": MAP},
        b"\x06\x04\x02a\x02\x02\x02a\x00\x00\x00\x04\x02a\x00\x02b\x02\x08\x00\x00",
        [[["a", None]], [], [["a", None], ["b", 4]]],
    ),
    "a dash in a column's name": (
        {"type": "record", "name": "R", "fields": [{"name": "x-y", "type": "int"}]},
        b"\x02",
        {"x-y": 1},
    ),
    "symbols that repeat": ({"type": "enum", "name": "E", "symbols": ["a", "a"]}, b"\x02", None),
    "a symbol that is empty": ({"type": "enum", "name": "E", "symbols": [""]}, b"\x00", None),
    "a fixed of 2.0 bytes": ({"type": "fixed", "name": "F", "size": 2.0}, b"ab", None),
}


def in_a_record(schema):
    return {"type": "record", "name": "Outer", "fields": [{"name": "v", "type": schema}]}


def decoded(schema, payload):
    """The column as the job decodes it; None for a dead letter."""
    size = np.array([len(payload)], np.int64)
    try:
        found = compile_decoder(schema).decode(np.frombuffer(payload, np.uint8), np.zeros(1, np.int64), size)
    except SchemaError:
        return None
    return None if found.errors[0] else found.array.field(0)


def read(schema, payload):
    """The value as the proof reads it; None for what it cannot read."""
    try:
        reader = Reader.of(schema)
        row = reader.read(payload, 0)
    except UNREADABLE:
        return None
    return (reader.convert(row) if reader.convert is not None else row)["v"]


@pytest.mark.parametrize("name", ODD)
def test_the_job_and_the_proof_agree(name):
    kind, payload, expected = ODD[name]
    schema = in_a_record(kind)
    column, value = decoded(schema, payload), read(schema, payload)
    if expected is None:
        assert (column, value) == (None, None)
        return
    (held,) = from_target(column)
    assert encode(from_stream(column.type)(value)) == encode(held)
    assert shown(held) == expected
