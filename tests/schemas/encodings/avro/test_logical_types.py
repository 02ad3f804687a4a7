"""Each logical type, and each of Connect's and Debezium's names, arrives as the Arrow type a person expects."""

import struct
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from uuid import UUID

import numpy as np
import pyarrow as pa
import pytest

from millrace.schemas.encodings.avro.decoder import compile_decoder


def decode(schema, *payloads):
    length = np.array([len(payload) for payload in payloads], np.int64)
    plan = compile_decoder(schema)
    decoded = plan.decode(np.frombuffer(b"".join(payloads), np.uint8), np.cumsum(length) - length, length)
    assert not decoded.errors.any(), decoded.message(0)
    decoded.array.validate(full=True)
    assert decoded.array.type == plan.arrow_type
    return decoded.array


def number(value):
    bits, out = (value << 1) ^ (value >> 63), bytearray()
    while bits > 127:
        out.append(bits & 127 | 128)
        bits >>= 7
    return bytes([*out, bits])


def sized(content):
    return number(len(content)) + content


def avro(kind, logical, **more):
    return {"type": kind, "logicalType": logical, **more}


def connect(kind, name, **more):
    return {"type": kind, "connect.version": 1, "connect.name": name, **more}


def fixed(size, logical, **more):
    return {"type": "fixed", "name": "F", "size": size, "logicalType": logical, **more}


DEBEZIUM, KAFKA = "io.debezium.", "org.apache.kafka.connect.data."
DAY, MICROS = number(20_000), number(1_700_000_000_123_456)
MOMENT = datetime(2023, 11, 14, 22, 13, 20, 123456)
PRICE = sized((-1250).to_bytes(2, "big", signed=True))
NANOS = 1_700_000_000_123_456_000

CASES = [
    (avro("int", "date"), DAY, pa.date32(), date(2024, 10, 4)),
    (avro("int", "time-millis"), number(3_723_004), pa.time32("ms"), time(1, 2, 3, 4000)),
    (avro("long", "time-micros"), number(3_723_000_004), pa.time64("us"), time(1, 2, 3, 4)),
    (avro("long", "timestamp-millis"), number(5), pa.timestamp("ms", "UTC"), datetime(1970, 1, 1, 0, 0, 0, 5000, UTC)),
    (avro("long", "timestamp-micros"), MICROS, pa.timestamp("us", "UTC"), MOMENT.replace(tzinfo=UTC)),
    (avro("long", "timestamp-nanos"), number(NANOS), pa.timestamp("ns", "UTC"), NANOS),
    (avro("long", "local-timestamp-millis"), number(5), pa.timestamp("ms"), datetime(1970, 1, 1, 0, 0, 0, 5000)),
    (avro("long", "local-timestamp-micros"), MICROS, pa.timestamp("us"), MOMENT),
    (avro("long", "local-timestamp-nanos"), number(NANOS), pa.timestamp("ns"), NANOS),
    (avro("bytes", "decimal", precision=6, scale=2), PRICE, pa.decimal128(6, 2), Decimal("-12.50")),
    (fixed(4, "decimal", precision=6, scale=2), b"\xff\xff\xfb\x1e", pa.decimal128(6, 2), Decimal("-12.50")),
    (avro("bytes", "decimal", scale=2), PRICE, pa.decimal128(38, 2), Decimal("-12.50")),
    (avro("bytes", "decimal", precision=2, scale=5), PRICE, pa.decimal128(5, 5), Decimal("-0.01250")),
    (avro("bytes", "decimal", precision=50, scale=1), PRICE, pa.decimal256(50, 1), Decimal("-125.0")),
    (avro("bytes", "decimal", precision=90, scale=2), PRICE, pa.string(), "-12.50"),
    (avro("bytes", "decimal", precision=5, scale=-2), PRICE, pa.string(), "-125000"),
    (fixed(16, "uuid"), UUID(int=5).bytes, pa.string(), str(UUID(int=5))),
    (avro("string", "uuid"), sized(b"ABC"), pa.string(), "ABC"),
    (fixed(12, "duration"), struct.pack("<III", 1, 2, 2**32 - 1), None, {"months": 1, "days": 2, "millis": 2**32 - 1}),
    (fixed(3, "nothing"), b"abc", pa.binary(3), b"abc"),
    (fixed(0, "nothing"), b"", pa.binary(), b""),
    (avro("string", "date"), sized(b"x"), pa.string(), "x"),
    (avro("int", ["odd"]), number(3), pa.int32(), 3),
    (connect("int", DEBEZIUM + "time.Date"), DAY, pa.date32(), date(2024, 10, 4)),
    (connect("int", DEBEZIUM + "time.Time"), number(1), pa.time32("ms"), time(0, 0, 0, 1000)),
    (connect("long", DEBEZIUM + "time.MicroTime"), number(1), pa.time64("us"), time(0, 0, 0, 1)),
    (connect("long", DEBEZIUM + "time.NanoTime"), number(10**9), pa.time64("ns"), time(0, 0, 1)),
    (connect("long", DEBEZIUM + "time.Timestamp"), number(0), pa.timestamp("ms"), datetime(1970, 1, 1)),
    (connect("long", DEBEZIUM + "time.MicroTimestamp"), MICROS, pa.timestamp("us"), MOMENT),
    (connect("long", DEBEZIUM + "time.NanoTimestamp"), number(NANOS), pa.timestamp("ns"), NANOS),
    (connect("string", DEBEZIUM + "time.ZonedTime"), sized(b"10:00Z"), pa.string(), "10:00Z"),
    (connect("int", DEBEZIUM + "time.Year"), number(2024), pa.int32(), 2024),
    (connect("long", DEBEZIUM + "time.MicroDuration"), number(-3), pa.duration("us"), timedelta(microseconds=-3)),
    (connect("long", DEBEZIUM + "time.NanoDuration"), number(9), pa.duration("ns"), 9),
    (connect("string", DEBEZIUM + "time.Interval"), sized(b"P1Y"), pa.string(), "P1Y"),
    (connect("bytes", DEBEZIUM + "data.Bits"), sized(b"\1"), pa.binary(), b"\1"),
    (connect("int", KAFKA + "Date", logicalType="date"), DAY, pa.date32(), date(2024, 10, 4)),
    (connect("int", KAFKA + "Time"), number(1), pa.time32("ms"), time(0, 0, 0, 1000)),
    (connect("long", KAFKA + "Timestamp"), number(0), pa.timestamp("ms", "UTC"), datetime(1970, 1, 1, tzinfo=UTC)),
    *(
        (connect("string", DEBEZIUM + "data." + name), sized(b"a"), pa.string(), "a")
        for name in ("Json", "Uuid", "Enum", "EnumSet", "Xml", "Ltree")
    ),
]


@pytest.mark.parametrize(("schema", "payload", "arrow", "value"), CASES)
def test_types(schema, payload, arrow, value):
    for optional in (False, True):
        array = decode(["null", schema], b"\0", b"\2" + payload) if optional else decode(schema, payload)
        if arrow is not None:
            assert array.type == arrow
        if (isinstance(value, int) and pa.types.is_temporal(array.type)) or pa.types.is_duration(array.type):
            array, value = (
                array.view(pa.int64()),
                value if isinstance(value, int) else value // timedelta(microseconds=1),
            )
        assert array.to_pylist() == ([None, value] if optional else [value])


@pytest.mark.parametrize(
    ("more", "arrow"),
    [
        ({"connect.parameters": {"scale": "2", "connect.decimal.precision": "10"}}, pa.decimal128(10, 2)),
        ({"connect.parameters": {"scale": "2"}}, pa.decimal128(38, 2)),
        ({"logicalType": "decimal", "precision": 64, "scale": 2, "connect.parameters": {}}, pa.decimal128(38, 2)),
        ({"logicalType": "decimal", "precision": 12, "scale": 2}, pa.decimal128(12, 2)),
        ({"logicalType": "decimal", "precision": 0, "scale": 2}, pa.decimal128(38, 2)),
        (
            {"connect.parameters": {"scale": "--2", "connect.decimal.precision": "9" * 5000}, "scale": 2},
            pa.decimal128(38, 2),
        ),
    ],
)
def test_connects_decimal_takes_its_parameters(more, arrow):
    array = decode(connect("bytes", KAFKA + "Decimal", **more), PRICE)
    assert array.type == arrow
    assert array.to_pylist() == [Decimal("-12.50")]


def test_a_variable_scale_decimal_is_its_exact_text_and_null_where_the_union_is():
    value = {
        "type": "record",
        "name": "VariableScaleDecimal",
        "fields": [{"name": "scale", "type": "int"}, {"name": "value", "type": "bytes"}],
        "connect.name": DEBEZIUM + "data.VariableScaleDecimal",
    }
    array = decode(["null", value], b"\0", b"\2" + number(2) + PRICE, b"\2" + number(-2) + PRICE)
    assert array.to_pylist() == [None, "-12.50", "-125000"]


def test_a_point_stays_a_struct():
    point = {
        "type": "record",
        "name": "Point",
        "fields": [{"name": "x", "type": "double"}, {"name": "srid", "type": ["null", "int"], "default": None}],
        "connect.name": DEBEZIUM + "data.geometry.Point",
    }
    assert decode(point, struct.pack("<d", 1.5) + b"\0").to_pylist() == [{"x": 1.5, "srid": None}]


def test_zoned_timestamps_are_instants_and_the_placeholder_is_null():
    schema = connect("string", DEBEZIUM + "time.ZonedTimestamp")
    texts = [b"2024-01-31T23:59:59.123456789+01:00", b"__debezium_unavailable_value"]
    moment = datetime(2024, 1, 31, 22, 59, 59, 123456, UTC)
    assert decode(schema, *map(sized, texts)).to_pylist() == [moment, None]
    assert decode([schema, "null"], *(b"\0" + sized(text) for text in texts), b"\2").to_pylist() == [moment, None, None]


def test_unions_are_sparks():
    union = ["string", "null", "int", {"type": "array", "items": "long"}]
    array = decode(union, b"\0" + sized(b"a"), b"\2", b"\4\6", b"\6\2\6\0")
    assert array.to_pylist() == [
        {"member0": "a", "member1": None, "member2": None},
        None,
        {"member0": None, "member1": 3, "member2": None},
        {"member0": None, "member1": None, "member2": [3]},
    ]
    assert decode(["int", "null", "long"], b"\0\2", b"\2", b"\4" + number(1 << 40)).to_pylist() == [1, None, 1 << 40]
    assert decode(["int", "long"], b"\0\2").type == pa.int64()
    assert decode([avro("int", "date"), "long"], b"\0\2").type.num_fields == 2
    assert decode(["int"], b"\0\2").to_pylist() == [1]
    assert decode(["null"], b"\0").to_pylist() == [None]


def test_fields_are_nullable_and_keep_connects_name():
    inner = {
        "type": "record",
        "name": "I",
        "fields": [{"name": "j", "type": connect("string", DEBEZIUM + "data.Json")}],
    }
    fields = [
        {"name": "d", "type": ["null", connect("int", DEBEZIUM + "time.Date")], "default": None},
        {"name": "i", "type": inner},
        {"name": "n", "type": "int", "default": 5},
    ]
    schema = compile_decoder({"type": "record", "name": "R", "fields": fields, "connect.name": "s.R"}).schema
    assert schema.field("d").metadata == {b"connect.name": b"io.debezium.time.Date"}
    assert schema.field("i").type.field("j").metadata == {b"connect.name": b"io.debezium.data.Json"}
    assert schema.field("n").metadata is None
    assert schema.field("n").nullable


def test_null_stays_null_whatever_the_default_is():
    field = {"name": "n", "type": ["int", "null"], "default": 5}
    assert decode({"type": "record", "name": "R", "fields": [field]}, b"\2").to_pylist() == [{"n": None}]
