"""Random schemas and data, whole and damaged: Millrace's columns say what fastavro says, or refuse."""

import copy
import io
import json
import re
import struct
from datetime import datetime, timedelta
from decimal import Context, Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import fastavro
import numpy as np
import pyarrow as pa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.avro_payloads import damaged, data, schemas

from millrace.schemas.encodings.avro import payload_errors
from millrace.schemas.encodings.avro.decoder import compile_decoder

STREAM = Path(__file__).parents[1] / "data" / "debezium-postgres"
EPOCH = datetime(1970, 1, 1)
NO_TIME_OF_DAY = re.compile(r"time\d\d\[.s\] -?\d+ is not within the acceptable range")
WIDE = Context(prec=100)
FAILURES = (EOFError, IndexError, ValueError, KeyError, OverflowError, TypeError, struct.error, StopIteration)
STRICTER = {
    payload_errors.VARINT: "fastavro lets numbers of more than 64 bits wrap",
    payload_errors.RANGE: "fastavro takes any byte as a boolean, 64 bits as an int, and enums from the end",
    payload_errors.NEGATIVE: "fastavro reads to the end for a negative length",
    payload_errors.BRANCH: "fastavro takes branches from the end",
    payload_errors.BLOCK_SIZE: "fastavro ignores the size of a block",
}


def label(kind):
    return kind if isinstance(kind, str) else kind.get("name", kind["type"])


def plain(schema):
    """The schema without logical types: fastavro then gives the numbers and bytes themselves."""
    if isinstance(schema, list):
        return [plain(part) for part in schema]
    if isinstance(schema, dict):
        return {key: plain(value) for key, value in schema.items() if key != "logicalType"}
    return schema


def read_strictly(schema, payload):
    """fastavro's value, or None where it fails or leaves bytes."""
    stream = io.BytesIO(payload)
    try:
        value = fastavro.schemaless_reader(stream, schema)
    except FAILURES:
        return None
    return (value,) if stream.tell() == len(payload) else None


def decode(schema, payloads, keep=None):
    buffer = np.frombuffer(b"".join(payloads), np.uint8)
    length = np.array([len(payload) for payload in payloads], np.int64)
    decoded = compile_decoder(schema, keep).decode(buffer, np.cumsum(length) - length, length)
    assert len(decoded.array) == len(payloads)
    try:
        decoded.array.validate(full=True)
    except pa.ArrowInvalid as error:
        assert NO_TIME_OF_DAY.search(str(error)), error
    return decoded


def values(array, schema, known):
    """The rows of an Arrow array as fastavro gives them without logical types."""
    if isinstance(schema, str) and schema in known:
        schema = known[schema]
    if isinstance(schema, list):
        branches = [branch for branch in schema if branch != "null"]
        if len(branches) > 1 and not {label(branch) for branch in branches} <= {"int", "long"}:
            return members(array, branches, known)
        return values(array, branches[0] if branches else "null", known)
    kind = schema if isinstance(schema, str) else schema["type"]
    valid = array.is_valid().to_pylist()
    if kind == "record":
        names = [field["name"] for field in schema["fields"]]
        parts = [values(array.field(i), field["type"], known) for i, field in enumerate(schema["fields"])]
        rows = zip(*parts, strict=True) if parts else [()] * len(array)
        return [dict(zip(names, row, strict=True)) if good else None for row, good in zip(rows, valid, strict=True)]
    if kind in ("array", "map"):
        return repeated(array, schema, known, valid)
    if pa.types.is_temporal(array.type) or pa.types.is_duration(array.type):
        return array.view(pa.int32() if array.type.bit_width == 32 else pa.int64()).to_pylist()
    if pa.types.is_decimal(array.type):
        return [None if value is None else int(value.scaleb(array.type.scale, WIDE)) for value in array.to_pylist()]
    return array.to_pylist()


def members(array, branches, known):
    parts = [values(array.field(i), branch, known) for i, branch in enumerate(branches)]
    chosen = [array.field(i).is_valid().to_pylist() for i in range(len(branches))]
    valid, rows = array.is_valid().to_pylist(), []
    for row in range(len(array)):
        picked = [part[row] for part, there in zip(parts, chosen, strict=True) if there[row]]
        assert len(picked) == (1 if valid[row] else 0)
        rows.append(picked[0] if picked else None)
    return rows


def repeated(array, schema, known, valid):
    offsets = array.offsets.to_pylist()
    if schema["type"] == "array":
        items = values(array.values, schema["items"], known)
    else:
        items = list(zip(array.keys.to_pylist(), values(array.items, schema["values"], known), strict=True))
    rows = [items[offsets[i] : offsets[i + 1]] if good else None for i, good in enumerate(valid)]
    return rows if schema["type"] == "array" else [None if row is None else dict(row) for row in rows]


def normal(value, schema, known):
    """fastavro's value with decimals as whole numbers."""
    if isinstance(schema, str) and schema in known:
        schema = known[schema]
    if value is None:
        return None
    if isinstance(schema, list):
        branches = [branch for branch in schema if branch != "null"]
        return normal(value, branches[0], known) if len(branches) == 1 else value
    kind = schema if isinstance(schema, str) else schema["type"]
    if kind == "record":
        return {field["name"]: normal(value[field["name"]], field["type"], known) for field in schema["fields"]}
    if kind == "array":
        return [normal(item, schema["items"], known) for item in value]
    if kind == "map":
        return {key: normal(item, schema["values"], known) for key, item in value.items()}
    if isinstance(schema, dict) and schema.get("logicalType") == "decimal":
        number = int.from_bytes(value, "big", signed=True)
        # What has more digits than declared is NULL, with its text beside.
        return number if abs(number) < 10 ** schema["precision"] else None
    return value


SLOW = settings(deadline=None, suppress_health_check=list(HealthCheck), max_examples=150)


@SLOW
@given(st.data())
def test_columns_hold_what_fastavro_reads(drawn):
    schema, known = drawn.draw(schemas())
    payloads = drawn.draw(st.lists(data(schema, known), max_size=4))
    oracle = fastavro.parse_schema(plain(schema))
    expected = [read_strictly(oracle, payload) for payload in payloads]
    assert None not in expected
    decoded = decode(schema, payloads)
    assert not decoded.errors.any(), decoded.message(int(np.flatnonzero(decoded.errors)[0]))
    assert repr(values(decoded.array, schema, known)) == repr([normal(row[0], schema, known) for row in expected])


@SLOW
@given(st.data())
def test_damaged_payloads_are_refused_or_read_as_fastavro_reads_them(drawn):
    schema, known = drawn.draw(schemas())
    whole = drawn.draw(data(schema, known))
    payloads = [whole, drawn.draw(damaged(whole)), whole, drawn.draw(damaged(whole)), drawn.draw(damaged(whole))]
    oracle = fastavro.parse_schema(plain(schema))
    decoded = decode(schema, payloads)
    rows = values(decoded.array, schema, known)
    assert decoded.array.is_valid().to_pylist() == [error == 0 for error in decoded.errors]
    assert decoded.errors[0] == decoded.errors[2] == 0
    for row, payload in enumerate(payloads):
        expected = read_strictly(oracle, payload)
        if decoded.errors[row] == 0:
            assert expected is not None
            assert repr(rows[row]) == repr(normal(expected[0], schema, known))
        else:
            assert decoded.message(row)
            assert expected is None or decoded.errors[row] % (1 << payload_errors.CODE_BITS) in STRICTER


@SLOW
@given(st.data())
def test_fields_that_are_not_kept_are_still_checked(drawn):
    schema, known = drawn.draw(schemas())
    whole = drawn.draw(data(schema, known))
    payloads = [whole, drawn.draw(damaged(whole)), drawn.draw(damaged(whole))]
    dropped = drawn.draw(st.sets(st.integers(0, 5)))
    every = decode(schema, payloads)
    some = decode(schema, payloads, lambda path: path[0] not in {f"f{i}" for i in dropped})
    assert (some.errors != 0).tolist() == (every.errors != 0).tolist()
    kept = [i for i in range(every.array.type.num_fields) if i not in dropped]
    assert [field.name for field in some.array.type] == [f"f{i}" for i in kept]
    for place, i in enumerate(kept):
        assert some.array.field(place).equals(every.array.field(i)) or "nan" in str(every.array.field(i))


def real_payloads():
    with (STREAM / "messages.avro").open("rb") as file:
        for message in fastavro.reader(file):
            for part in ("key", "value"):
                if message[part]:
                    yield int.from_bytes(message[part][1:5], "big"), message[part][5:]


def test_a_recorded_debezium_stream_is_read_as_fastavro_reads_it():
    written = json.loads((STREAM / "schemas.json").read_text())
    groups = {}
    for number, payload in real_payloads():
        groups.setdefault(str(number), []).append(payload)
    assert set(groups) == set(written)
    for number, payloads in groups.items():
        schema = written[number]
        oracle = fastavro.parse_schema(copy.deepcopy(schema))
        decoded = decode(schema, payloads)
        assert not decoded.errors.any()
        got = decoded.array.to_pylist()
        for payload, row in zip(payloads, got, strict=True):
            (expected,) = read_strictly(oracle, payload)
            for name, value in expected.items():
                kinds = row_kinds(schema) if name in ("before", "after") else {}
                assert same(row[name], value, kinds), (number, name)


def row_kinds(schema):
    """Column -> its Connect or logical type, of the row in an envelope."""
    record = schema["fields"][0]["type"][1]
    kinds = {f["name"]: f["type"][-1] if isinstance(f["type"], list) else f["type"] for f in record["fields"]}
    return {name: kind.get("connect.name") if isinstance(kind, dict) else None for name, kind in kinds.items()}


def same(found, expected, kinds):
    if not kinds or expected is None:
        return repr(found) == repr(expected)
    return all(repr(found[name]) == repr(person(value, kinds[name])) for name, value in expected.items())


def person(value, kind):
    """The value that the source meant."""
    if value is None:
        return None
    match kind:
        case "io.debezium.time.MicroTimestamp":
            return EPOCH + timedelta(microseconds=value)
        case "io.debezium.time.ZonedTimestamp":
            return datetime.fromisoformat(value).astimezone(ZoneInfo("UTC"))
        case "io.debezium.time.Date":
            return EPOCH.date() + timedelta(days=value)
        case "io.debezium.time.MicroTime":
            return (EPOCH + timedelta(microseconds=value)).time()
        case "io.debezium.time.MicroDuration":
            return timedelta(microseconds=value)
        case "org.apache.kafka.connect.data.Decimal":
            return value
        case "io.debezium.data.VariableScaleDecimal":
            return f"{Decimal(int.from_bytes(value['value'], 'big', signed=True)).scaleb(-value['scale'], WIDE):f}"
    return value
