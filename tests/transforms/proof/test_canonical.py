"""Canonical values: equal where the values are equal, whatever holds them, and unequal everywhere else."""

import math
import re
import struct
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.transforms.proof.canonical import DAY, Moment, Number, encode, natural, number, parse_time, shown
from millrace.transforms.proof.type_coercion import from_stream, from_target

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(codec="utf-8"))
    | st.binary()
    | st.builds(number, st.integers(), st.integers(-5, 20))
    | st.builds(Moment, st.sampled_from(["date", "time", "instant", "duration"]), st.integers(), st.just(1))
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", max_size=2), inner, max_size=3)
)


def same(a, b):
    if type(a) is not type(b):
        return False
    if isinstance(a, float):
        return struct.pack(">d", a) == struct.pack(">d", b) or (math.isnan(a) and math.isnan(b))
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[name], b[name]) for name in a)
    return a == b


@given(st.lists(VALUES, max_size=3), st.lists(VALUES, max_size=3))
def test_rows_have_the_same_bytes_only_where_they_are_the_same(left, right):
    bytes_of = [b"".join(map(encode, row)) for row in (left, right)]
    assert (bytes_of[0] == bytes_of[1]) == same(left, right)


def test_what_is_easily_mixed_up_is_kept_apart():
    values = [None, "", b"", 0, 0.0, -0.0, False, "0", b"0", number(0, 0), [], {}, [None], float("nan"), "NULL", "nan"]
    assert len({encode(value) for value in values}) == len(values)
    for kind in (str, bytes):
        texts = [("as", "b"), ("a", "sb"), ("ay", "b"), ("a", "yb")]
        rows = texts if kind is str else [tuple(part.encode() for part in row) for row in texts]
        assert len({b"".join(map(encode, row)) for row in rows}) == len(rows)
    assert encode(float("nan")) == encode(-float("nan"))
    assert encode("\u00e9") != encode("e\u0301")


CASES = [
    (5, pa.int8(), 5),
    (5, pa.uint64(), 5),
    (True, pa.bool_(), True),
    (1.5, pa.float32(), 1.5),
    (7, pa.float64(), 7.0),
    ("é", pa.string(), "é"),
    ("é", pa.large_string(), "é"),
    ("x", pa.string_view(), "x"),
    ("x", pa.dictionary(pa.int8(), pa.string()), "x"),
    (b"\0", pa.binary(), b"\0"),
    (b"\0\1", pa.binary(2), b"\0\1"),
    ("00000000-0000-0000-0000-000000000001", pa.binary(16), bytes(15) + b"\1"),
    (number(150, 2), pa.decimal128(10, 5), Decimal("1.50000")),
    (number(10**60, 0), pa.decimal256(70, 3), Decimal(10**60)),
    (Number(-150, 2), pa.string(), "-1.50"),
    (Number(5, -2), pa.large_string(), "500"),
    (number(5, -3), pa.int64(), 5000),
    (3, pa.decimal128(10, 2), Decimal("3.00")),
    (Moment("date", -1, DAY), pa.date32(), date(1969, 12, 31)),
    (Moment("date", -1, DAY), pa.date64(), date(1969, 12, 31)),
    (Moment("date", 1, DAY), pa.timestamp("us"), datetime(1970, 1, 2)),
    (Moment("time", 1, 1_000_000), pa.time32("ms"), time(0, 0, 0, 1000)),
    (Moment("time", 1000, 1), pa.time64("us"), time(0, 0, 0, 1)),
    (Moment("time", 999, 1), pa.int64(), 999),
    (Moment("instant", 1_000, 1_000), pa.timestamp("ns"), datetime(1970, 1, 1, 0, 0, 0, 1000)),
    (Moment("instant", 1, 1_000_000), pa.timestamp("us", "Europe/Berlin"), datetime(1970, 1, 1, 0, 0, 0, 1000, UTC)),
    (Moment("instant", 77, 1_000), pa.int64(), 77),
    ("2026-01-01T01:00:00.5+01:00", pa.timestamp("us", "UTC"), datetime(2026, 1, 1, 0, 0, 0, 500_000, UTC)),
    ("10:00:00Z", pa.time64("us"), time(10)),
    (Moment("duration", 5, 1_000), pa.duration("us"), timedelta(microseconds=5)),
    (Moment("duration", -5, 1_000), pa.int64(), -5),
    (Moment("duration", DAY + 7, 1), pa.month_day_nano_interval(), pa.MonthDayNano([0, 1, 7])),
    ([1, None], pa.list_(pa.int32()), [1, None]),
    ([1, 2], pa.list_(pa.int32(), 2), [1, 2]),
    ([Moment("instant", 1, 1)], pa.list_(pa.timestamp("ns")), [1]),
    ({"b": 1, "a": None}, pa.struct({"a": pa.string(), "b": pa.int64()}), {"a": None, "b": 1}),
    ({"y": 1, "x": 2}, pa.map_(pa.string(), pa.int64()), [("x", 2), ("y", 1)]),
]


@pytest.mark.parametrize(("stream", "kind", "stored"), CASES, ids=[f"{c[0]!r:.30}-{c[1]}" for c in CASES])
def test_stream_and_target_meet_in_every_type(stream, kind, stored):
    array = pa.concat_arrays([pa.array([None], kind), pa.array([stored], kind), pa.array([None], kind)])
    for part, index in ((array, 1), (array.slice(1), 0)):
        found = from_target(part)
        assert encode(found[index]) == encode(from_stream(kind)(stream))
        assert found[index + 1] is None
    assert from_stream(kind)(None) is None


@pytest.mark.parametrize(
    ("stream", "kind", "stored"),
    [
        (number(15, 1), pa.int64(), 1),
        (number(123, 2), pa.decimal128(10, 1), Decimal("1.2")),
        (2**60 + 1, pa.float64(), float(2**60)),
        (Moment("instant", 1, 1), pa.timestamp("us"), datetime(1970, 1, 1)),
        ("2026-01-01T00:00:00.0000001Z", pa.timestamp("us", "UTC"), datetime(2026, 1, 1, tzinfo=UTC)),
        ("infinity", pa.timestamp("us", "UTC"), None),
        ("x", pa.string(), "X"),
        ([1, 2], pa.list_(pa.int32()), [2, 1]),
        ({"a": 1, "gone": 2}, pa.struct({"a": pa.int64()}), {"a": 1}),
    ],
)
def test_what_a_target_lost_does_not_meet(stream, kind, stored):
    assert encode(from_target(pa.array([stored], kind))[0]) != encode(from_stream(kind)(stream))


@given(st.datetimes(), st.integers(-23, 23))
def test_iso_text_is_read_as_python_reads_it(moment, hours):
    text = f"{moment.isoformat()}{hours:+03d}:30"
    expected = datetime.fromisoformat(text) - datetime(1970, 1, 1, tzinfo=UTC)
    assert parse_time(text, "instant") == Moment("instant", expected // timedelta(microseconds=1) * 1000, 1)
    assert parse_time(moment.date().isoformat(), "date").amount == (moment.date() - date(1970, 1, 1)).days


@pytest.mark.parametrize("text", ["", "x", "2026-13-01T00:00:00Z", "10:00", "2026-01-01T", "infinity"])
def test_what_is_no_time_is_none(text):
    assert parse_time(text, "instant") is None


def test_values_are_shown_as_people_write_them():
    assert shown(number(-1505, 3)) == "-1.505"
    assert shown(number(5, -2)) == "500"
    assert shown(number(5, 3)) == "0.005"
    assert shown(Moment("instant", 1_500_000, 1_000_000)) == "1970-01-01 00:25:00"
    assert shown(natural(Moment("time", 1_500, 1_000_000))) == "00:00:01.5"
    assert shown(Moment("date", 365, DAY)) == "1971-01-01"
    assert shown({"a": [b"\xff", float("nan")]}) == {"a": ["0xff", "nan"]}
    assert re.fullmatch("day .*", shown(Moment("date", 10**9, DAY)))
