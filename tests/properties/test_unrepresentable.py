"""Values that no target's type has: whatever a source holds arrives, or is told, by each policy; the proof agrees.

The oracles are numpy's calendar, Python's integers and decimals, and fastavro, which writes the messages.
"""

import io
import json
import math
import struct
from decimal import Context, Decimal

import fastavro
import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st
from support.decoders import avro_decoder
from support.record_batches import batch

from millrace.schemas.encodings.avro.schema_text import AVRO
from millrace.schemas.encodings.schema_store import FolderSchemaStore
from millrace.schemas.model.block import Block
from millrace.schemas.model.change import POSITION, own_columns
from millrace.schemas.model.ledger import TopicPartition
from millrace.schemas.model.message import Message
from millrace.schemas.model.route import Route
from millrace.schemas.model.unrepresentable import OnUnrepresentable
from millrace.transforms.proof.compare import compare
from millrace.transforms.proof.reference_table import ReferenceTable
from millrace.transforms.proof.rules import Rules

DEBEZIUM = "io.debezium.time."
UNITS = {"ms": 1_000, "us": 1_000_000}
DAY = 86_400


def connect(kind, name, **more):
    return {"type": kind, "connect.name": name, **more}


DATE = connect("int", DEBEZIUM + "Date")
LOCAL = connect("long", DEBEZIUM + "MicroTimestamp")
INSTANT = {"type": "long", "logicalType": "timestamp-millis"}
TIME = connect("long", DEBEZIUM + "MicroTime")
ZONED = connect("string", DEBEZIUM + "ZonedTimestamp")
PRICE = {"type": "bytes", "logicalType": "decimal", "precision": 4, "scale": 2}
WIDE = {"type": "fixed", "size": 20, "name": "Wide", "logicalType": "decimal", "precision": 40, "scale": 0}
MONEY = {"type": "bytes", "logicalType": "decimal", "precision": 19, "scale": 2}
NUMERIC = {
    "type": "record",
    "name": "VariableScaleDecimal",
    "namespace": "io.debezium.data",
    "connect.name": "io.debezium.data.VariableScaleDecimal",
    "fields": [{"name": "scale", "type": "int"}, {"name": "value", "type": "bytes"}],
}
FIELDS = {
    "date": connect("int", DEBEZIUM + "Date"),
    "local": LOCAL,
    "instant": INSTANT,
    "time": TIME,
    "zoned": ZONED,
    "price": PRICE,
    "wide": WIDE,
    "dates": {"type": "array", "items": DATE},
    "zones": {"type": "map", "values": ZONED},
    "inner": {"type": "record", "name": "Inner", "fields": [{"name": "since", "type": ["null", LOCAL]}]},
    "either": [DATE, "string"],
    "double": "double",
    "real": "float",
    "doubles": {"type": "array", "items": "double"},
    "money": MONEY,
    "numeric": NUMERIC,
}
VALUE = {
    "type": "record",
    "name": "Value",
    "fields": [
        {"name": "id", "type": "long"},
        *(
            {"name": name, "type": ["null", *(kind if isinstance(kind, list) else [kind])]}
            for name, kind in FIELDS.items()
        ),
    ],
}
KEY = {"type": "record", "name": "Key", "fields": [{"name": "id", "type": "long"}]}


def edges(least, most, low, high):
    """Whole numbers of a type's range, often beside the ends of what a target has."""
    near = st.sampled_from([low, high]).flatmap(lambda end: st.integers(end - 2, end + 2))
    return near | st.integers(low, high) | st.integers(least, most)


LONG = (-(1 << 63), (1 << 63) - 1)
FIRST, LAST = -719_162, 2_932_896
DATES = edges(-(1 << 31), (1 << 31) - 1, FIRST, LAST)
LOCALS = edges(*LONG, FIRST * DAY * 10**6, (LAST + 1) * DAY * 10**6 - 1)
ZONES = st.sampled_from(
    [
        "infinity",
        "-infinity",
        "+294247-01-10T04:00:54.775807Z",
        "-0043-03-15T00:00:00Z",
        "0000-12-31T23:59:59Z",
        "9999-12-31T23:59:59.999999Z",
        "9999-12-31T23:59:59-00:01",
        "0001-01-01T00:00:00Z",
        "0001-01-01T00:00:00+00:01",
        "2024-02-29T12:00:00.123456789+01:00",
        "odd",
        "2024-02-30T00:00:00Z",
        "24:00",
        "é",
    ]
)
ODD = st.sampled_from([math.nan, -math.nan, math.inf, -math.inf, -0.0])
ROWS = st.fixed_dictionaries(
    {
        "date": st.none() | DATES,
        "local": st.none() | LOCALS,
        "instant": st.none() | edges(*LONG, FIRST * DAY * 1000, (LAST + 1) * DAY * 1000 - 1),
        "time": st.none() | edges(*LONG, 0, DAY * 10**6 - 1),
        "zoned": st.none() | ZONES,
        "price": st.none() | edges(-(10**30), 10**30, -9_999, 9_999),
        "wide": st.none() | edges(1 - (1 << 159), (1 << 159) - 1, 1 - 10**40, 10**40 - 1),
        "dates": st.none() | st.lists(DATES, max_size=3),
        "zones": st.none() | st.dictionaries(st.sampled_from("ab"), ZONES),
        "inner": st.none() | st.fixed_dictionaries({"since": st.none() | LOCALS}),
        "either": st.none() | DATES | st.just("text"),
        "double": st.none() | ODD | st.floats(),
        "real": st.none() | ODD | st.floats(width=32),
        "doubles": st.none() | st.lists(ODD | st.floats(), max_size=3),
        "money": st.none() | edges(-(10**30), 10**30, 1 - 10**19, 10**19 - 1),
        "numeric": st.none() | st.tuples(st.integers(-40, 60), edges(-(10**80), 10**80, 1 - 10**38, 10**38 - 1)),
    }
)


def datum(schema, value):
    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, schema, value)
    return buffer.getvalue()


def plain(schema):
    """Without logical types: fastavro's own writers refuse what a real producer sends."""
    if isinstance(schema, list):
        return [plain(part) for part in schema]
    if isinstance(schema, dict):
        return {name: plain(part) for name, part in schema.items() if name != "logicalType"}
    return schema


def in_bytes(number):
    return number.to_bytes(number.bit_length() // 8 + 1, "big", signed=True)


def as_sent(number, row):
    sent = {"id": number, **row}
    for name in ("price", "money"):
        if row[name] is not None:
            sent[name] = in_bytes(row[name])
    if row["numeric"] is not None:
        scale, unscaled = row["numeric"]
        sent["numeric"] = {"scale": scale, "value": in_bytes(unscaled)}
    if row["wide"] is not None:
        sent["wide"] = row["wide"].to_bytes(20, "big", signed=True)
    return sent


class Place:
    """A folder of the two schemas."""

    def __init__(self, folder):
        (folder / "key.1.avsc").write_text(json.dumps(KEY))
        (folder / "value.2.avsc").write_text(json.dumps(VALUE))
        self.store = FolderSchemaStore(folder, AVRO)
        self.parsed = fastavro.parse_schema(plain(json.loads(json.dumps(VALUE))))

    def messages(self, rows):
        for number, row in enumerate(rows):
            key = struct.pack(">bI", 0, 1) + datum(KEY, {"id": number})
            value = struct.pack(">bI", 0, 2) + datum(self.parsed, as_sent(number, row))
            yield Message("t", 0, number, key, value)

    def arrived(self, messages, policy, **route):
        """The rows of the changes, and the offsets of the dead letters."""
        route = Route(table="t", sources=(TopicPartition("t", 0),), on_unrepresentable=policy, **route)
        records = [(one.timestamp, one.key, one.value, list(one.headers)) for one in messages]
        done = avro_decoder("upsert", self.store, "t", route)(Block("t", 0, 0, len(messages), batch(0, records)))
        assert done.read == len(messages) == sum(part.num_rows for part in done.changes) + len(done.letters)
        return done.changes, done.letters

    def proved(self, messages, policy, changes):
        """The proof's verdict on a table that holds these changes."""
        rules = Rules("upsert", self.store, on_unrepresentable=policy)
        reference = ReferenceTable(rules).add_all(messages)
        table = (
            pa.concat_tables(
                [pa.Table.from_batches([part]).select([*own_columns(part), POSITION]) for part in changes],
                promote_options="default",
            )
            if changes
            else None
        )

        def scan(columns):
            if table is None:
                return iter(())
            names = [name for name in table.column_names if name != POSITION]
            return iter(table.select(names if columns is None else list(columns)).to_batches())

        return compare("t", reference, scan), reference


def day_text(days):
    """numpy's calendar knows all years; ISO 8601 wants a sign before years of more than four digits."""
    year, month, day = str(np.datetime64(days, "D")).rsplit("-", 2)
    # It writes the sign of a year within its four digits.
    year = f"-{year[1:]:0>4}" if year.startswith("-") else year
    return f"{'+' if days > LAST else ''}{year}-{month}-{day}"


def moment_text(ticks, unit, zone=""):
    days, rest = divmod(ticks, DAY * UNITS[unit])
    return f"{day_text(days)}T{clock(rest, unit)}{zone}"


def clock(ticks, unit):
    seconds = Decimal(abs(ticks)) / UNITS[unit]
    whole, part = divmod(seconds, 1)
    text = f"{int(whole) // 3600:02d}:{int(whole) // 60 % 60:02d}:{int(whole) % 60:02d}"
    return ("-" if ticks < 0 else "") + text + (f"{part:f}"[1:].rstrip("0") if part else "")


def in_years(days):
    return FIRST <= days <= LAST


def expected_text(name, value):
    """The text of a value that no target has; None where each has it."""
    if value is None:
        return None
    if name in ("date", "either") and isinstance(value, int):
        return None if in_years(value) else day_text(value)
    if name in ("local", "instant"):
        unit = "us" if name == "local" else "ms"
        inside = in_years(value // (DAY * UNITS[unit]))
        return None if inside else moment_text(value, unit, "Z" if name == "instant" else "")
    if name == "time":
        return None if 0 <= value < DAY * 10**6 else clock(value, "us")
    if name in ("price", "money"):
        most = 10 ** (4 if name == "price" else 19)
        return None if abs(value) < most else f"{Decimal(value).scaleb(-2, Context(prec=60)):f}"
    if name == "wide":
        return None if abs(value) < 10**40 else str(value)
    return None


@settings(max_examples=40)
@given(st.lists(ROWS, min_size=1, max_size=4), st.sampled_from(OnUnrepresentable))
def test_every_value_arrives_or_is_told_and_the_proof_agrees(tmp_path_factory, rows, policy):
    place = _place(tmp_path_factory)
    messages = list(place.messages(rows))
    changes, letters = place.arrived(messages, policy)
    assert not letters or policy is OnUnrepresentable.DEAD_LETTER
    report, reference = place.proved(messages, policy, changes)
    # Of no row at all there is no proof.
    assert report.ok or not changes, report.examples
    assert reference.undecodable == len(letters)


@settings(max_examples=30)
@given(st.lists(ROWS, min_size=1, max_size=3))
def test_the_row_stays_with_the_exact_text_beside(tmp_path_factory, rows):
    place = _place(tmp_path_factory)
    changes, _ = place.arrived(list(place.messages(rows)), OnUnrepresentable.NULL_AND_NOTE)
    for row, sent in zip(changes[0].to_pylist(), rows, strict=True):
        for name in ("double", "real", "doubles"):
            # repr tells NaN, infinity and -0.0 apart, whatever their bits are.
            assert repr(row[name]) == repr(sent[name])
        if sent["numeric"] is not None:
            scale, unscaled = sent["numeric"]
            assert Decimal(row["numeric"]) == Decimal(unscaled).scaleb(-scale, Context(prec=200))
        for name in ("date", "local", "instant", "time", "price", "money", "wide"):
            text = expected_text(name, sent[name])
            assert row.get(f"{name}__text") == text
            assert (row[name] is None) == (text is not None or sent[name] is None)
        either = sent["either"]
        if isinstance(either, int):
            assert row["either"].get("member0__text") == expected_text("either", either)


PLACES = {}


def _place(factory):
    if "place" not in PLACES:
        PLACES["place"] = Place(factory.mktemp("schemas"))
    return PLACES["place"]


NOTHING = dict.fromkeys(FIELDS)


def one(tmp_path_factory, policy, **values):
    place = _place(tmp_path_factory)
    messages = list(place.messages([{**NOTHING, **values}]))
    changes, letters = place.arrived(messages, policy)
    return (changes[0].to_pylist()[0] if changes else None), [letter.error for letter in letters]


def test_the_policies_by_hand(tmp_path_factory):
    note, clamp, text, letter = OnUnrepresentable
    row, _ = one(
        tmp_path_factory, note, zoned="infinity", dates=[0, 1 << 30], zones={"a": "infinity"}, time=100 * 3600 * 10**6
    )
    assert (row["zoned"], row["zoned__text"]) == (None, "infinity")
    assert [str(day) for day in row["dates"]] == ["1970-01-01", "None"]
    assert row["dates__text"] == json.dumps({"1": day_text(1 << 30)})
    assert (row["zones"], row["zones__text"]) == ([("a", None)], '{"a": "infinity"}')
    assert (row["time"], row["time__text"]) == (None, "100:00:00")
    row, _ = one(tmp_path_factory, clamp, zoned="-infinity", date=1 << 30, time=-1, price=-(10**9))
    assert [str(row[name]) for name in ("zoned", "date", "time", "price")] == [
        "0001-01-01 00:00:00+00:00",
        "9999-12-31",
        "00:00:00",
        "-99.99",
    ]
    assert not any(name.endswith("__text") for name in row)
    row, _ = one(tmp_path_factory, text, zoned="infinity", date=0, local=1_500_000, time=24 * 3600 * 10**6)
    assert [row[name] for name in ("zoned", "date", "local", "time")] == [
        "infinity",
        "1970-01-01",
        "1970-01-01T00:00:01.5",
        "24:00:00",
    ]
    row, letters = one(tmp_path_factory, letter, inner={"since": LONG[1]})
    assert row is None
    assert letters == ["no target's type has this value: inner: since: +294247-01-10T04:00:54.775807"]


def test_a_key_is_never_null_nor_another_one(tmp_path_factory):
    place = _place(tmp_path_factory)
    messages = list(place.messages([{**NOTHING, "date": 1 << 30}, {**NOTHING, "date": 5}]))
    for policy in OnUnrepresentable:
        changes, letters = place.arrived(messages, policy, key=("date",))
        assert [letter.offset for letter in letters] == ([] if policy is OnUnrepresentable.TEXT else [0])
        assert sum(part.num_rows for part in changes) == 2 - len(letters)
