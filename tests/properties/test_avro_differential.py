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

from millrace.schemas.avro import compile_plan, faults

STREAM = Path(__file__).parents[1] / "data" / "debezium-postgres"

LOGICAL = {
    "date": {"type": "int", "logicalType": "date"},
    "time-millis": {"type": "int", "logicalType": "time-millis"},
    "time-micros": {"type": "long", "logicalType": "time-micros"},
    "timestamp-millis": {"type": "long", "logicalType": "timestamp-millis"},
    "timestamp-micros": {"type": "long", "logicalType": "timestamp-micros"},
    "local-timestamp-nanos": {"type": "long", "logicalType": "local-timestamp-nanos"},
    "decimal": {"type": "bytes", "logicalType": "decimal", "precision": 20, "scale": 3},
    "wide decimal": {"type": "bytes", "logicalType": "decimal", "precision": 60, "scale": 7},
    "micro timestamp": {"type": "long", "connect.name": "io.debezium.time.MicroTimestamp"},
    "nano duration": {"type": "long", "connect.name": "io.debezium.time.NanoDuration"},
    "json": {"type": "string", "connect.name": "io.debezium.data.Json"},
    "unknown": {"type": "string", "logicalType": "nobody-knows"},
}
BOUNDS = {
    "int": (-(1 << 31), (1 << 31) - 1),
    "long": (-(1 << 63), (1 << 63) - 1),
    "time-millis": (0, 86_400_000),
    "time-micros": (0, 86_400_000_000),
    "timestamp-millis": (-9_223_372_036_854_775, 9_223_372_036_854_775),
}
EPOCH = datetime(1970, 1, 1)
MIDNIGHT = re.compile(r"time\d\d\[.s\] 864(0)+ is not within the acceptable range")
WIDE = Context(prec=100)
PRIMITIVES = ["boolean", "int", "long", "float", "double", "bytes", "string"]
FAILURES = (EOFError, IndexError, ValueError, KeyError, OverflowError, TypeError, struct.error, StopIteration)
STRICTER = {
    faults.VARINT: "fastavro lets numbers of more than 64 bits wrap",
    faults.RANGE: "fastavro takes any byte as a boolean, 64 bits as an int, any time, and enum indices from the end",
    faults.NEGATIVE: "fastavro reads to the end for a negative length",
    faults.BRANCH: "fastavro takes branches from the end",
    faults.BLOCK_SIZE: "fastavro ignores the size of a block",
    faults.PRECISION: "fastavro ignores the precision",
}


class Names:
    """Named types defined so far; one is usable when its definition is complete."""

    def __init__(self):
        self.count, self.known = 0, {}

    def new(self):
        self.count += 1
        return f"T{self.count}"


@st.composite
def schemas(draw, logical=True):
    names = Names()
    fields = [{"name": f"f{i}", "type": draw(types(names, 3, logical))} for i in range(draw(st.integers(0, 5)))]
    return {"type": "record", "name": "Top", "namespace": "a.b", "fields": fields}, names.known


@st.composite
def types(draw, names, depth, logical=True, union=True):
    kinds = ["primitive", "primitive", "enum", "fixed"] + ["logical"] * logical + ["named"] * bool(names.known)
    kinds += ["record", "array", "map"] * (depth > 0) + ["optional", "optional", "union"] * (union and depth > 0)
    kind = draw(st.sampled_from(kinds))
    if kind == "primitive":
        return draw(st.sampled_from(PRIMITIVES))
    if kind == "logical":
        return copy.copy(LOGICAL[draw(st.sampled_from(sorted(LOGICAL)))])
    if kind == "named":
        return draw(st.sampled_from(sorted(names.known)))
    if kind in ("array", "map"):
        return {"type": kind, "items" if kind == "array" else "values": draw(types(names, depth - 1, logical))}
    if kind == "optional":
        return draw(st.permutations(["null", draw(types(names, depth - 1, logical, union=False))]))
    if kind == "union":
        count = draw(st.integers(1, 3))
        branches = [draw(types(names, depth - 1, logical=False, union=False)) for _ in range(count)]
        place = draw(st.integers(0, 2 * count))
        return [*branches[:place], "null", *branches[place:]] if place <= count else branches
    return draw(named(names, kind, depth, logical))


@st.composite
def named(draw, names, kind, depth, logical):
    made = {"type": kind, "name": names.new()}
    if kind == "enum":
        made["symbols"] = ["A", "BB", "CCC"]
    elif kind == "fixed":
        made["size"] = draw(st.integers(1, 40))
    else:
        count = draw(st.integers(1, 3))
        made["fields"] = [{"name": f"g{i}", "type": draw(types(names, depth - 1, logical))} for i in range(count)]
    names.known[made["name"]] = made
    return made


def label(kind):
    return kind if isinstance(kind, str) else kind.get("name", kind["type"])


def zigzag(number):
    bits = (number << 1) ^ (number >> 63)
    out = bytearray()
    while bits > 127:
        out.append(bits & 127 | 128)
        bits >>= 7
    return bytes([*out, bits])


@st.composite
def data(draw, schema, known):
    """One datum as bytes, in any of the ways that the format has."""
    out = bytearray()
    write(draw, schema, known, out)
    return bytes(out)


def write(draw, schema, known, out):
    if isinstance(schema, str) and schema in known:
        schema = known[schema]
    if isinstance(schema, list):
        branch = draw(st.integers(0, len(schema) - 1))
        out += zigzag(branch)
        return write(draw, schema[branch], known, out)
    kind = schema if isinstance(schema, str) else schema["type"]
    if kind == "record":
        for field in schema["fields"]:
            write(draw, field["type"], known, out)
    elif kind in ("array", "map"):
        for _ in range(draw(st.integers(0, 2))):
            write_block(draw, schema, known, out)
        out += b"\0"
    else:
        out += scalar(draw, schema, kind)
    return None


def write_block(draw, schema, known, out):
    count, block = draw(st.integers(1, 3)), bytearray()
    for i in range(count):
        if schema["type"] == "map":
            key = f"{'kéy'}{len(out)}.{i}".encode()
            block += zigzag(len(key)) + key
        write(draw, schema.get("items") or schema["values"], known, block)
    out += zigzag(-count) + zigzag(len(block)) if draw(st.booleans()) else zigzag(count)
    out += block


def scalar(draw, schema, kind):
    match kind:
        case "null":
            return b""
        case "boolean":
            return bytes([draw(st.integers(0, 1))])
        case "int" | "long":
            logical = schema.get("logicalType") if isinstance(schema, dict) else None
            return zigzag(draw(st.integers(*BOUNDS.get(logical, BOUNDS[kind]))))
        case "float":
            return struct.pack("<f", draw(st.floats(width=32)))
        case "double":
            return struct.pack("<d", draw(st.floats()))
        case "enum":
            return zigzag(draw(st.integers(0, len(schema["symbols"]) - 1)))
        case "fixed":
            return draw(st.binary(min_size=schema["size"], max_size=schema["size"]))
        case "bytes":
            content = draw(decimals(schema["precision"]) if "precision" in schema else st.binary(max_size=20))
        case "string":
            content = draw(st.text(max_size=12)).encode()
    return zigzag(len(content)) + content


def decimals(precision):
    numbers = st.integers(1 - 10**precision, 10**precision - 1) | st.integers(-300, 300)
    widths = st.integers(0, 9)
    return st.builds(lambda n, more: n.to_bytes(n.bit_length() // 8 + 1 + more, "big", signed=True), numbers, widths)


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
    decoded = compile_plan(schema, keep).decode(buffer, np.cumsum(length) - length, length)
    assert len(decoded.array) == len(payloads)
    try:
        decoded.array.validate(full=True)
    except pa.ArrowInvalid as error:
        assert MIDNIGHT.search(str(error)), error
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
        return int.from_bytes(value, "big", signed=True)
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


@st.composite
def damaged(draw, payload):
    """The payload with bytes changed, taken out, put in, or its end cut off."""
    content = bytearray(payload)
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(content)))
        change = draw(st.sampled_from(["set", "flip", "cut", "insert", "remove"]))
        if change == "insert" or not content[at:]:
            content[at:at] = draw(st.binary(min_size=1, max_size=3))
        elif change == "cut":
            del content[at:]
        elif change == "remove":
            del content[at]
        else:
            content[at] = draw(st.integers(0, 255)) if change == "set" else content[at] ^ 1 << draw(st.integers(0, 7))
    return bytes(content)


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
            assert expected is None or decoded.errors[row] % (1 << faults.CODE_BITS) in STRICTER


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
