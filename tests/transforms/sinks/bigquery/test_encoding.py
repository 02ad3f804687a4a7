"""Rows that protobuf's own library reads as what they were: by the descriptor that is sent with them."""

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from support.bigquery_tables import Column, message_class, writer_columns
from support.bigquery_tables import _value as read_value

from millrace.transforms.sinks.bigquery.columns import columns_in_bigquery, message, schema_fields, to_bigquery
from millrace.transforms.sinks.bigquery.encoding import RowTooLargeError, encode, varint

MOMENTS = st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59, 999_999))
LEAVES = [
    (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
    (pa.int8(), st.integers(-128, 127)),
    (pa.uint64(), st.integers(0, 2**64 - 1)),
    (pa.float64(), st.floats(allow_nan=False)),
    (pa.bool_(), st.booleans()),
    (pa.string(), st.text(max_size=300)),
    (pa.binary(), st.binary(max_size=300)),
    (pa.decimal128(20, 5), st.decimals(-(10**14), 10**14, places=5)),
    (pa.decimal256(60, 30), st.decimals(-(10**29), 10**29, places=3)),
    (pa.date32(), st.dates()),
    (pa.time64("us"), st.times()),
    (pa.timestamp("us"), MOMENTS),
    (pa.timestamp("us", "UTC"), MOMENTS.map(lambda moment: moment.replace(tzinfo=UTC))),
]


@st.composite
def typed(draw, depth: int = 2):
    """A type, and a strategy of its values: NULL among them everywhere."""
    shape = draw(st.sampled_from(["leaf", "leaf", "list", "struct", "map"] if depth else ["leaf"]))
    if shape == "leaf":
        kind, values = draw(st.sampled_from(LEAVES))
        return kind, st.none() | values
    inner, values = draw(typed(depth - 1))
    if shape == "list":
        return pa.list_(inner), st.none() | st.lists(values, max_size=3)
    if shape == "map":
        return pa.map_(pa.int64(), inner), st.none() | st.lists(st.tuples(st.integers(0, 99), values), max_size=3)
    other, more = draw(typed(depth - 1))
    kind = pa.struct([("a", inner), ("b c", other)])
    return kind, st.none() | st.fixed_dictionaries({"a": values, "b c": more})


@st.composite
def batches(draw) -> pa.RecordBatch:
    kinds = draw(st.lists(typed(), min_size=1, max_size=4))
    count = draw(st.integers(0, 20))
    arrays = [pa.array(draw(st.lists(values, min_size=count, max_size=count)), kind) for kind, values in kinds]
    return pa.RecordBatch.from_arrays(arrays, [f"c{number}" for number in range(len(arrays))])


def decoded(rows: pa.RecordBatch, limit: int = 1 << 20) -> list[dict]:
    """The rows by protobuf's library and the columns' types in REST."""
    descriptor = message("Row", rows.schema)
    columns = tuple(Column.read(field.to_api_repr()) for field in schema_fields(rows.schema))
    writer, kind, found = writer_columns(descriptor, columns), message_class(descriptor), []
    for part in encode(rows, limit):
        assert len(part.data) <= limit
        for number in range(part.count):
            length, at = _length(part.data)
            row = kind()
            row.ParseFromString(bytes(part.data[at : at + length]))
            found.append({name: read_value(row, name, column) for name, column in writer.items()})
            part = type(part)(part.data[at + length :], part.count - number - 1)
        assert not len(part.data)
    return found


def _length(data: memoryview) -> tuple[int, int]:
    assert data[0] == 1 << 3 | 2
    size, shift, at = 0, 0, 1
    while True:
        size |= (data[at] & 127) << shift
        shift, at = shift + 7, at + 1
        if data[at - 1] < 128:
            return size, at


def plain(value: object, kind: pa.DataType) -> object:
    """A value of Arrow as BigQuery nests it."""
    if value is None:
        return None
    if pa.types.is_list(kind):
        return {"list": [{"element": plain(item, kind.value_type)} for item in value]}
    if pa.types.is_map(kind):
        return {"key_value": [{"key": key, "value": plain(item, kind.item_type)} for key, item in value]}
    if pa.types.is_struct(kind):
        return {name: plain(value[old], kind.field(old).type) for old, name in (("a", "a"), ("b c", "b_x20_c"))}
    return value


@settings(phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.target])
@given(batches(), st.integers(0, 3))
def test_protobuf_reads_what_was_written(batch, skip):
    batch = batch.slice(min(skip, batch.num_rows))
    expected = [{field.name: plain(row[field.name], field.type) for field in batch.schema} for row in batch.to_pylist()]
    found = decoded(to_bigquery(batch, batch.schema))
    for row in found:
        for name, value in row.items():
            if isinstance(value, dict) and set(value) in ({"list"}, {"key_value"}) and value[next(iter(value))] is None:
                row[name] = None
    assert found == expected


@pytest.mark.parametrize("number", [0, 1, 127, 128, 300, 2**32, 2**63, 2**64 - 1])
def test_numbers_are_written_as_protobuf_writes_them(number):
    from google.protobuf.internal.encoder import _VarintBytes

    assert varint(number) == _VarintBytes(number)


def test_moments_at_the_ends_of_time():
    columns = pa.schema([("d", pa.date32()), ("t", pa.time64("us")), ("n", pa.timestamp("us"))])
    rows = [
        {"d": date(1, 1, 1), "t": time(0), "n": datetime(1, 1, 1)},
        {"d": date(9999, 12, 31), "t": time(23, 59, 59, 999_999), "n": datetime(9999, 12, 31, 23, 59, 59, 999_999)},
        {"d": date(1969, 12, 31), "t": time(1, 2, 3, 4), "n": datetime(1970, 1, 1) - timedelta(microseconds=1)},
    ]
    assert decoded(pa.RecordBatch.from_pylist(rows, columns)) == rows


def test_numbers_too_small_for_plain_digits_keep_their_value():
    batch = pa.record_batch({"v": pa.array([Decimal("1E-38"), Decimal("-0.0000001")], pa.decimal128(38, 38))})
    found = decoded(to_bigquery(batch, batch.schema))
    assert [row["v"] for row in found] == [Decimal("1E-38"), Decimal("-1E-7")]


def test_rows_are_cut_into_parts_that_a_request_can_hold():
    batch = pa.record_batch({"v": [f"{number:>100}" for number in range(1000)]})
    parts = list(encode(batch, 1000))
    assert sum(part.count for part in parts) == 1000
    assert 110 <= len(parts) <= 125
    assert [row["v"] for row in decoded(batch, 1000)] == batch["v"].to_pylist()


def test_a_row_that_no_request_can_hold_is_named():
    batch = pa.record_batch({"v": ["x", "y" * 5000, "z"]})
    with pytest.raises(RowTooLargeError) as caught:
        list(encode(batch, 1000))
    assert (caught.value.row, caught.value.size) == (1, 5000 + 3 + 3)


def test_what_stands_behind_a_null_is_not_sent():
    mask, values = pa.array([False, True, False]), pa.array([1, 2, 3, 4])
    lists = pa.ListArray.from_arrays(pa.array([0, 1, 3, 4], pa.int32()), values, mask=mask)
    maps = pa.MapArray.from_arrays(pa.array([0, 1, 3, 4], pa.int32()), values, values, mask=mask)
    structs = pa.StructArray.from_arrays([pa.array([1, 2, 3])], ["a"], mask=mask)
    batch = pa.record_batch({"l": lists, "m": maps, "s": structs})
    assert [len(row["l"]["list"]) if row["l"] else None for row in decoded(batch)] == [1, None, 1]
    last = {"l": {"list": [{"element": 4}]}, "m": {"key_value": [{"key": 4, "value": 4}]}, "s": {"a": 3}}
    assert decoded(batch.slice(1)) == [{"l": None, "m": None, "s": None}, last]


def test_columns_that_are_always_null_are_left_out():
    schema = pa.schema([("a", pa.null()), ("b", pa.int64())])
    assert columns_in_bigquery(schema).names == ["b"]
