"""Protobuf to columns: every type of field; mutated payloads are read and refused as the proof's reader does."""

import datetime as dt
import math
from decimal import Decimal
from random import Random

import numpy as np
import pyarrow as pa
import pytest
from google.protobuf.message_factory import GetMessageClass
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.schemas.encodings.protobuf.decoder import compile_decoder
from millrace.schemas.encodings.protobuf.messages import main_file, message_at, message_named
from millrace.schemas.encodings.protobuf.schema_text import PROTOBUF
from millrace.schemas.errors import SchemaError
from millrace.transforms.proof.avro_reader import UNREADABLE
from millrace.transforms.proof.protobuf_reader import row_of
from millrace.transforms.proof.protobuf_wire import fields_of

SCHEMA = """syntax = "proto3";
package shop;
import "google/protobuf/timestamp.proto";
import "google/protobuf/duration.proto";
import "google/protobuf/wrappers.proto";
import "google/protobuf/struct.proto";
import "google/protobuf/empty.proto";
import "confluent/type/decimal.proto";
enum Color { RED = 0; BLUE = 3; }
message Node { string name = 1; Node next = 2; repeated Node more = 3; map<string, double> weights = 4;
  Color color = 5; }
message Order {
  int64 id = 1; string name = 2; double price = 3; optional int32 amount = 4; repeated sint64 numbers = 5;
  map<string, int64> counts = 6; Color color = 7; google.protobuf.Timestamp at = 8;
  google.protobuf.Int64Value whole = 9;
  google.protobuf.Struct any = 10; Node node = 11; repeated Line lines = 12; uint64 big = 13; fixed32 few = 14;
  float single = 15; bool good = 16; bytes raw = 17;
  oneof choice { string word = 18; Line line = 19; }
  map<int32, Line> by_number = 20; sint32 zigzag = 21; uint32 low = 22; fixed64 eight = 23; sfixed32 four = 24;
  sfixed64 signed = 25; repeated Color colors = 26; google.protobuf.Empty empty = 27;
  repeated google.protobuf.Timestamp times = 28;
  confluent.type.Decimal cost = 200; google.protobuf.Duration took = 201; repeated string tags = 300;
  message Line { string sku = 1; int32 amount = 2; repeated int32 sizes = 3; }
}
"""
FILE = main_file(PROTOBUF.complete(PROTOBUF.parse(SCHEMA), {}).descriptors)
ORDER = message_at(FILE, (1,))
DECODER = compile_decoder(ORDER)
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def decoded(payloads, decoder=DECODER):
    data = np.frombuffer(b"".join(payloads) + b"\0", np.uint8)
    length = np.array([len(one) for one in payloads], np.int64)
    return decoder.decode(data, np.cumsum(length) - length, length)


def order(number):
    made = GetMessageClass(ORDER)(
        id=number,
        name=f"näme {number}",
        price=number / 4,
        numbers=[-number, number, 1 << 62],
        color=3 if number % 2 else 0,
        big=(1 << 64) - 1 - number,
        few=(1 << 32) - 1,
        single=1.5,
        good=True,
        raw=b"\xff",
        tags=["a", ""],
        zigzag=-(1 << 31),
        low=(1 << 32) - 1,
        eight=1 << 63,
        four=-4,
        signed=-(1 << 63),
        colors=[3, 0, 7],
    )
    if number % 3:
        made.amount = 0
    made.counts["a"] = -number
    made.at.seconds, made.at.nanos = 1_700_000_000 + number, 123_456_789
    made.whole.value = number
    made.any["x"] = [1, None, {"y": True}, 2.5, "ü"]
    made.node.name, made.node.next.name, made.node.next.color = "x", "y", 3
    made.node.next.weights["k"] = 0.5
    made.lines.add(sku="s").sizes.extend([1, 2, number])
    made.lines.add(amount=-4)
    made.line.sku = "one of them"
    made.by_number[4].amount = 7
    made.cost.value, made.cost.scale = (12345).to_bytes(2, "big"), 2
    made.took.seconds, made.took.nanos = -5, -5_000
    made.empty.SetInParent()
    made.times.add(seconds=-1)
    return made.SerializeToString()


def test_each_type_has_its_column():
    found = decoded([order(1), b""]).array.to_pylist()
    whole, empty = found
    assert (
        whole
        | {
            "id": 1,
            "name": "näme 1",
            "price": 0.25,
            "amount": 0,
            "numbers": [-1, 1, 1 << 62],
            "counts": [("a", -1)],
            "color": "BLUE",
            "whole": 1,
            "any": '{"x":[1,null,{"y":true},2.5,"ü"]}',
            "node": {
                "name": "x",
                "next": '{"name":"y","weights":{"k":0.5},"color":"BLUE"}',
                "more": [],
                "weights": [],
                "color": "RED",
            },
            "lines": [{"sku": "s", "amount": 0, "sizes": [1, 2, 1]}, {"sku": "", "amount": -4, "sizes": []}],
            "big": Decimal((1 << 64) - 2),
            "few": (1 << 32) - 1,
            "single": 1.5,
            "good": True,
            "raw": b"\xff",
            "word": None,
            "line": {"sku": "one of them", "amount": 0, "sizes": []},
            "by_number": [{"key": 4, "value": {"sku": "", "amount": 7, "sizes": []}}],
            "zigzag": -(1 << 31),
            "low": (1 << 32) - 1,
            "eight": Decimal(1 << 63),
            "four": -4,
            "signed": -(1 << 63),
            "colors": ["BLUE", "RED", "7"],
            "empty": "{}",
            "cost": "123.45",
            "tags": ["a", ""],
        }
        == whole
    )
    assert whole["at"] == dt.datetime(2023, 11, 14, 22, 13, 21, 123_456, tzinfo=dt.UTC)
    assert whole["took"] == dt.timedelta(seconds=-5, microseconds=-5)
    assert whole["times"] == [EPOCH - dt.timedelta(seconds=1)]
    lacking = {"amount", "at", "whole", "any", "node", "word", "line", "empty", "cost", "took"}
    assert {name for name, value in empty.items() if value is None} == lacking
    assert (empty["id"], empty["name"], empty["color"], empty["tags"]) == (0, "", "RED", [])


def as_read(value, kind):
    """A value of Arrow as the proof's reader gives it."""
    if value is None:
        return None
    if pa.types.is_struct(kind):
        return {part.name: as_read(value[part.name], part.type) for part in kind}
    if pa.types.is_map(kind):
        return {name: as_read(one, kind.item_type) for name, one in value}
    if pa.types.is_list(kind):
        return [as_read(one, kind.value_type) for one in value]
    if pa.types.is_timestamp(kind):
        return (value - EPOCH) // dt.timedelta(microseconds=1)
    if pa.types.is_duration(kind):
        return value // dt.timedelta(microseconds=1)
    if pa.types.is_decimal(kind):
        return int(value).to_bytes(9, "big", signed=True)
    return "NaN" if isinstance(value, float) and math.isnan(value) else value


def without_nan(value):
    if isinstance(value, dict):
        return {name: without_nan(one) for name, one in value.items()}
    if isinstance(value, list):
        return [without_nan(one) for one in value]
    return "NaN" if isinstance(value, float) and math.isnan(value) else value


def mutated(random):
    whole = bytearray(order(random.randrange(20)))
    if random.random() < 0.2:
        del whole[random.randrange(len(whole)) :]
    for _ in range(random.randrange(4) if whole else 0):
        whole[random.randrange(len(whole))] = random.randrange(256)
    return bytes(whole) + (order(3) if random.random() < 0.1 else b"")


@settings(max_examples=40)
@given(st.integers(0, 1 << 32))
def test_mutated_payloads_read_as_the_proof_reads_them(seed):
    random = Random(seed)
    payloads = [mutated(random) for _ in range(100)]
    found = decoded(payloads)
    rows = found.array.to_pylist()
    for number, payload in enumerate(payloads):
        try:
            expected = row_of(ORDER, fields_of(ORDER, payload, 1))
        except UNREADABLE:
            assert found.errors[number] and found.message(number), payload.hex()
        else:
            assert not found.errors[number], (found.message(number), payload.hex())
            assert as_read(rows[number], found.array.type) == without_nan(expected)


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        (b"\x08", "truncated in field id"),
        (b"\x08" + b"\xff" * 10, "a number of more than 64 bits in field id"),
        (b"\x12\x01\xff", "invalid UTF-8 in field name"),
        (b"\x92\x01\x01a\x9a\x01\x00", "field line and another member of its oneof are both there"),
        (b"\x42\x00\x42\x00", "the message field at stands twice: Millrace does not merge the two"),
        (b"\x42\x07\x08\xff\xff\xff\xff\xff\x7f", "field at.seconds makes its value a time beyond"),
        (b"\x07", "0 is no field number"),
        (b"\xff\x0f\x00", "wire type 7 does not exist"),
        (b"\xfb\x0f\xf4\x0f", "a group ends that did not begin"),
        (b"\x32\x02\x18\x01", "an entry of a map has more than a key and a value"),
    ],
)
def test_what_is_wrong_is_said(payload, said):
    found = decoded([payload, order(2)])
    assert found.errors[0] and not found.errors[1]
    assert said in found.message(0)


def test_a_packed_field_may_come_unpacked_and_the_reverse():
    assert decoded([b"\x28\x01\x2a\x02\x03\x05\x28\x07"]).array.to_pylist()[0]["numbers"] == [-1, -2, -3, -4]


def test_a_message_that_only_has_the_name_of_a_time_is_a_record():
    text = """syntax = "proto3"; package google.protobuf; message Timestamp { int64 seconds = 99; }
    message Row { Timestamp at = 1; }"""
    row = message_named(main_file(PROTOBUF.complete(PROTOBUF.parse(text), {}).descriptors), "google.protobuf.Row")
    assert decoded([b"\x0a\x03\x98\x06\x05"], compile_decoder(row)).array.to_pylist() == [{"at": {"seconds": 5}}]


def test_files_that_are_imported_are_found_by_their_name():
    text = 'syntax = "proto3"; import "parts/money.proto"; message Row { parts.Money cost = 1; }'
    money = PROTOBUF.parse('syntax = "proto3"; package parts; message Money { int64 cents = 1; }')
    for name in ("parts/money.proto", "money.proto"):
        made = PROTOBUF.complete(PROTOBUF.parse(text), {name: money})
        assert compile_decoder(message_at(main_file(made.descriptors), (0,))).arrow_type.names == ["cost"]
    with pytest.raises(SchemaError, match=r"it imports 'parts/money\.proto', which is defined nowhere"):
        PROTOBUF.complete(PROTOBUF.parse(text), {})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('syntax = "proto3";\nmessage Row {\n  strin name = 1;\n}', 'line 3: "strin" is not defined'),
        ("message", "line 1: "),
        ('syntax = "proto3"; import "../../secret.proto"; message Row {}', "defined nowhere"),
    ],
)
def test_a_wrong_file_is_told_with_its_line(text, said):
    with pytest.raises(SchemaError, match=said):
        PROTOBUF.complete(PROTOBUF.parse(text), {})


def test_groups_are_refused_by_name():
    text = 'syntax = "proto2"; message Row { repeated group Part = 1 { optional int32 a = 2; } }'
    made = PROTOBUF.complete(PROTOBUF.parse(text), {})
    with pytest.raises(SchemaError, match=r"Row\.part is a group"):
        compile_decoder(message_at(main_file(made.descriptors), (0,)))


def test_a_message_of_a_name_that_there_is_not_is_told():
    with pytest.raises(SchemaError, match=r"there is no message 'shop.Odrer'; the schema has shop.Node, shop.Order"):
        message_named(FILE, "shop.Odrer")
    with pytest.raises(SchemaError, match=r"Set format.message to one of"):
        message_named(FILE, None)


PLAIN = [field.name for field in ORDER.fields if field.message_type is None and field.enum_type is None]
"""Fields of numbers, texts and bytes, repeated ones too."""


@settings(max_examples=60)
@given(st.integers(0, 1 << 32))
def test_numbers_and_texts_are_those_that_googles_own_reader_gives(seed):
    random, whole = Random(seed), GetMessageClass(ORDER)
    ends = {"low": (0, 32), "few": (0, 32), "big": (0, 64), "eight": (0, 64), "amount": (1, 32), "zigzag": (1, 32)}
    sent = whole()
    for name in ("id", "amount", "big", "few", "zigzag", "low", "eight", "four", "signed"):
        signed, bits = ends.get(name, (1, 32 if name == "four" else 64))
        least, most = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
        setattr(sent, name, random.choice((0, 1, least, most, random.randint(least, most))))
    sent.price, sent.name, sent.raw = (
        random.uniform(-1e300, 1e300),
        chr(random.randrange(1, 0xD800)),
        random.randbytes(9),
    )
    sent.numbers.extend(random.getrandbits(63) - (1 << 62) for _ in range(random.randrange(4)))
    payload = sent.SerializeToString()
    (row,), read = decoded([payload]).array.to_pylist(), whole.FromString(payload)
    for name in PLAIN:
        field = ORDER.fields_by_name[name]
        missing = field.has_presence and not read.HasField(name)
        value = getattr(read, name)
        assert row[name] == (None if missing else list(value) if field.is_repeated else value), name
