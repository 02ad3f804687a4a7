"""Columns encoded to Avro: fastavro reads back what went in, of every type, nested and sliced."""

import io
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import fastavro
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.transforms.sinks.files.avro import Avro, avro_schema
from millrace.transforms.sinks.files.avro_columns import encode_rows

SCALARS = [
    (pa.bool_(), st.booleans()),
    (pa.int8(), st.integers(-128, 127)),
    (pa.int32(), st.integers(-(2**31), 2**31 - 1)),
    (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
    (pa.float32(), st.floats(width=32, allow_nan=False)),
    (pa.float64(), st.floats(allow_nan=False)),
    (pa.string(), st.text(st.characters(exclude_categories=["Cs"]), max_size=20)),
    (pa.binary(), st.binary(max_size=200)),
    (pa.binary(5), st.binary(min_size=5, max_size=5)),
    (pa.decimal128(20, 3), st.decimals(-(10**16), 10**16, places=3)),
    (pa.decimal128(38, 0), st.integers(-(10**38) + 1, 10**38 - 1).map(Decimal)),
    (pa.date32(), st.dates()),
]


def nested(inner):
    """Lists, structs and maps of a type and its values, NULLs among them."""
    kind, values = inner
    some = st.none() | values
    return st.sampled_from([
        (pa.list_(kind), st.lists(some, max_size=4)),
        (pa.struct([("x", kind), ("y", pa.int32())]), st.fixed_dictionaries({"x": some, "y": st.integers(0, 9)})),
        (pa.map_(pa.string(), kind), st.lists(st.tuples(st.text("abc", max_size=3), some), max_size=3)),
    ])  # fmt: skip


@st.composite
def columns(draw):
    kind, values = draw(st.recursive(st.sampled_from(SCALARS), lambda inner: inner.flatmap(nested), max_leaves=3))
    return pa.array(draw(st.lists(st.none() | values, min_size=1, max_size=12)), kind)


@settings(max_examples=150)
@given(first=columns(), low=st.integers(0, 5), seed=st.integers(0, 3))
def test_files_come_back_as_they_went_in(first, low, seed):
    second = pa.array([None if number % 3 == seed else number for number in range(len(first))], pa.int64())
    rows = pa.table({"a": first, "b c": second}).slice(low)
    found, metadata = Avro().read(Avro().write(rows, {"x": "ä"}))
    assert found.to_pylist() == rows.to_pylist()
    assert metadata["x"] == "ä"


def test_fastavro_reads_the_meanings_too():
    moment = datetime(2026, 11, 24, 12, tzinfo=UTC)
    rows = pa.table({
        "at": pa.array([moment], pa.timestamp("us", "UTC")),
        "local": pa.array([moment.replace(tzinfo=None)], pa.timestamp("ms")),
        "day": [date(2026, 11, 24)],
        "price": pa.array([Decimal("-12.50")], pa.decimal128(9, 2)),
        "time": pa.array([timedelta(hours=5) // timedelta(milliseconds=1)], pa.time32("ms")),
        "2nd value": ["x"],
    })  # fmt: skip
    reader = fastavro.reader(io.BytesIO(Avro().write(rows, {}).to_pybytes()))
    (row,) = list(reader)
    assert row["at"] == moment and row["local"] == moment.replace(tzinfo=None)
    assert (row["day"], row["price"], row["time"].hour) == (date(2026, 11, 24), Decimal("-12.50"), 5)
    assert row["_x20_2nd_x20_value"] == "x"


def test_many_blocks():
    rows = pa.table({"v": ["x" * 1000 + str(number) for number in range(5_000)]})
    data = Avro().write(rows, {})
    assert len(list(fastavro.block_reader(io.BytesIO(data.to_pybytes())))) >= 4
    assert Avro().read(data)[0].equals(rows)


def test_a_cut_file_is_refused():
    data = Avro().write(pa.table({"v": ["x"] * 5_000}), {}).to_pybytes()
    sync, block = data[-16:], data.index(data[-16:]) + 16
    assert data.count(sync) == 2
    for size in (0, 3, 40, block, len(data) // 2, len(data) - 1):
        with pytest.raises((ValueError, EOFError, KeyError)):
            Avro().read(pa.py_buffer(data[:size]))


def test_a_type_that_avro_does_not_have_is_refused():
    with pytest.raises(ValueError, match="duration"):
        encode_rows(pa.record_batch({"d": pa.array([1], pa.duration("s"))}))
    assert avro_schema(pa.schema([("v", pa.int8())]))["fields"][0]["type"] == ["null", "int"]
