"""The comparison finds each way in which a table can be wrong and names the place; a right table has none."""

import json
import random
from datetime import timedelta
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import recorded_stream
from support.debezium_stream import Stream, contracts_in

from millrace.schemas.errors import TableError
from millrace.schemas.model.change import POSITION, POSITION_TYPE
from millrace.transforms.proof.canonical import Moment, Number, shown
from millrace.transforms.proof.compare import compare
from millrace.transforms.proof.reference_table import ReferenceTable
from millrace.transforms.proof.report import Verdict
from millrace.transforms.proof.rules import Rules

COLUMNS = pa.schema(
    [
        ("id", pa.int64()),
        ("text", pa.string()),
        ("raw", pa.binary()),
        ("tags", pa.list_(pa.string())),
        ("attrs", pa.map_(pa.string(), pa.string())),
    ]
)
COUNTS = dict.fromkeys(Verdict, 0)


@pytest.fixture(scope="module")
def fold(tmp_path_factory):
    stream = Stream()
    for key in range(500):
        stream.put(
            key, 10 + key, f"text {key}", raw=b"\0%d" % key, tags=["a", str(key)], attrs={"k": str(key), "b": ""}
        )
    stream.put(7, 9_000, "").put(8, 9_001, None).delete(9, 9_002).put(10, 9_003, "long " * 500)
    return ReferenceTable(Rules("debezium", contracts_in(tmp_path_factory.mktemp("schemas")))).add_all(stream.messages)


def target(fold, schema=COLUMNS):
    """The fold's rows as a target holds them, with their positions."""
    rows = []
    for _, position, row in fold.rows():
        if row is not None:
            attrs = None if row["attrs"] is None else list(row["attrs"].items())
            rows.append({**row, "attrs": attrs, POSITION: b"".join(n.to_bytes(8, "big") for n in position)})
    return pa.Table.from_pylist(rows, schema=schema.append(pa.field(POSITION, POSITION_TYPE)))


def scan_of(table, size=97):
    def scan(columns):
        names = [name for name in table.schema.names if name != POSITION] if columns is None else columns
        return iter(table.select(list(names)).to_batches(size))

    return scan


def counts(report):
    return {str(verdict): count for verdict, count in report.counts.items()}


def changed(table, row, column, value):
    rows = table.to_pylist()
    index = next(i for i, one in enumerate(rows) if one["id"] == row)
    rows[index][column] = value
    return pa.Table.from_pylist(rows, schema=table.schema)


def index_of(table, key):
    return table["id"].to_pylist().index(key)


def test_a_right_table_matches_whatever_its_order_and_batches(fold):
    table = target(fold)
    shuffled = table.take(random.Random(1).sample(range(len(table)), len(table)))
    report = compare("t", fold, scan_of(shuffled, 13))
    assert report.ok
    assert counts(report) == {**COUNTS, "MATCH": 499}
    assert report.examples == []
    assert json.loads(json.dumps(report.to_json()))["rows_in_target"] == 499


@given(st.integers(0, 498), st.sampled_from(["text", "raw"]), st.randoms())
def test_one_changed_byte_is_found_and_named(fold, at, column, rng):
    table = target(fold)
    value = table[column][at].as_py()
    if not value:
        return
    where = rng.randrange(len(value))
    flipped = (
        value[:where]
        + (bytes([value[where] ^ 1]) if column == "raw" else chr(ord(value[where]) ^ 1))
        + value[where + 1 :]
    )
    tampered = changed(table, table["id"][at].as_py(), column, flipped)
    report = compare("t", fold, scan_of(tampered))
    assert counts(report) == {**COUNTS, "MATCH": 498, "DIFFERS": 1}
    (example,) = report.examples
    assert (example.verdict, example.key, example.column) == (Verdict.DIFFERS, {"id": table["id"][at].as_py()}, column)
    assert example.expected != example.actual
    assert len(str(example)) < 400


def test_the_example_shows_both_values(fold):
    report = compare("t", fold, scan_of(changed(target(fold), 3, "text", "text 4")))
    assert str(report.examples[0]) == "DIFFERS id=3 text: expected 'text 3', found 'text 4'"
    assert not report.ok
    found = report.to_json()["examples"][0]
    assert (found["key"], found["expected"], found["actual"]) == ({"id": 3}, "text 3", "text 4")


@pytest.mark.parametrize(("key", "value"), [(7, None), (8, ""), (8, "NULL"), (3, None), (3, "text 3 "), (3, "Text 3")])
def test_null_is_not_the_empty_text(fold, key, value):
    report = compare("t", fold, scan_of(changed(target(fold), key, "text", value)))
    assert counts(report) == {**COUNTS, "MATCH": 498, "DIFFERS": 1}
    assert report.examples[0].actual == value


def test_two_rows_whose_values_are_swapped(fold):
    table = changed(changed(target(fold), 20, "text", "text 21"), 21, "text", "text 20")
    report = compare("t", fold, scan_of(table))
    assert counts(report) == {**COUNTS, "MATCH": 497, "DIFFERS": 2}


def test_one_row_deleted_and_another_twice(fold):
    table = target(fold)
    at = [*range(len(table))]
    at[index_of(table, 30)] = index_of(table, 31)
    report = compare("t", fold, scan_of(table.take(at)))
    assert report.expected == report.actual
    assert counts(report) == {**COUNTS, "MATCH": 498, "MISSING": 1, "EXTRA": 1}
    assert {str(example) for example in report.examples} == {"MISSING id=30", "EXTRA id=31 (a second row of this key)"}


def test_rows_too_few_and_too_many(fold):
    table = target(fold)
    more = pa.Table.from_pylist([{**table.slice(0, 1).to_pylist()[0], "id": 9}], schema=table.schema)
    report = compare("t", fold, scan_of(pa.concat_tables([table.slice(2), more])), examples=1)
    assert counts(report) == {**COUNTS, "MATCH": 497, "MISSING": 2, "EXTRA": 1}
    assert [example.verdict for example in report.examples] == [Verdict.EXTRA, Verdict.MISSING]
    assert report.examples[0].key == {"id": 9}


def test_an_older_version_is_stale(fold):
    old = changed(changed(target(fold), 7, "text", "text 7"), 7, POSITION, bytes(32))
    report = compare("t", fold, scan_of(old))
    assert counts(report) == {**COUNTS, "MATCH": 498, "STALE": 1}
    assert "the stream is at 00000000000000000000000000002328" in str(report.examples[0])


def test_a_column_that_is_not_there(fold):
    table = target(fold)
    report = compare("t", fold, scan_of(table.drop_columns(["tags"])))
    assert counts(report) == {**COUNTS, "MATCH": 3, "DIFFERS": 496}
    assert {example.actual for example in report.examples} == {"(no such column)"}
    empty = table.append_column("more", pa.nulls(len(table), pa.int32()))
    assert compare("t", fold, scan_of(empty)).ok
    filled = table.append_column("more", pa.array([None] * 498 + [0], pa.int32()))
    assert counts(compare("t", fold, scan_of(filled)))["DIFFERS"] == 1
    with pytest.raises(TableError, match="the target has no column 'id'"):
        compare("t", fold, scan_of(table.drop_columns(["id"])))


def test_empty_sides(fold):
    report = compare("t", fold, lambda columns: iter(()))
    assert counts(report) == {**COUNTS, "MISSING": 499}
    assert len(report.examples) == 5
    nothing = ReferenceTable(fold.rules)
    assert compare("t", nothing, lambda columns: iter(())).ok
    report = compare("t", nothing, scan_of(target(fold).slice(0, 3)), key=("id",))
    assert counts(report) == {**COUNTS, "EXTRA": 3}


WIDER = pa.schema(
    [
        ("tags", pa.large_list(pa.string_view())),
        ("id", pa.decimal128(20, 2)),
        ("raw", pa.large_binary()),
        ("text", pa.dictionary(pa.int32(), pa.string())),
        ("attrs", pa.map_(pa.string(), pa.string())),
    ]
)


def test_other_types_and_another_order_of_columns_hold_the_same_rows(fold):
    rows = [{**row, "id": Decimal(row["id"])} for row in target(fold).to_pylist()]
    wider = pa.Table.from_pylist(rows, schema=WIDER.append(pa.field(POSITION, POSITION_TYPE)))
    assert compare("t", fold, scan_of(wider)).ok


# The recorded stream, all types -------------------------------------------------------------------------------------

ORDERS = {
    "id": pa.int64(),
    "customer": pa.string(),
    "total": pa.decimal128(12, 2),
    "weight": pa.decimal256(76, 30),
    "created_at": pa.timestamp("us"),
    "updated_at": pa.timestamp("us", "UTC"),
    "due": pa.date32(),
    "slot": pa.time64("us"),
    "gift": pa.bool_(),
    "priority": pa.int32(),
    "discount": pa.float32(),
    "score": pa.float64(),
    "ref": pa.string(),
    "doc": pa.string(),
    "attrs": pa.string(),
    "photo": pa.binary(),
    "tags": pa.list_(pa.string()),
    "status": pa.string(),
    "notes": pa.string(),
    "coupon": pa.string(),
}


def stored(value):
    if isinstance(value, Number):
        return Decimal(f"{value.unscaled}E{-value.scale}")
    if isinstance(value, Moment):
        return value.amount * value.unit if value.kind != "date" else value.amount
    return value


def column(kind, values):
    plain = [stored(value) for value in values]
    if pa.types.is_timestamp(kind) or pa.types.is_time(kind):
        return pa.array([None if value is None else value // 1000 for value in plain], pa.int64()).cast(kind)
    if pa.types.is_date(kind):
        return pa.array(plain, pa.int32()).cast(kind)
    return pa.array(plain, kind)


def test_the_sources_own_rows_match_the_recorded_stream_in_all_types(tmp_path):
    fold = ReferenceTable(Rules("debezium", recorded_stream.contracts(tmp_path), truncate=True))
    fold.add_all(one for one in recorded_stream.messages() if one.topic == "store.public.orders")
    _, final = recorded_stream.final("orders")
    columns = {name: column(kind, [row[name] for row in final.values()]) for name, kind in ORDERS.items()}
    # `channel` and `hold` cannot be told from the source's text (README of the recording): the stream's own values.
    rows = {key: row for key, _, row in fold.rows() if row is not None}
    columns["channel"] = pa.array([rows[key].get("channel") for key in final], pa.string())
    holds = [rows[key]["hold"] for key in final]
    columns["hold"] = pa.array([hold and timedelta(microseconds=hold.amount) for hold in holds], pa.duration("us"))
    table = pa.table({**columns, POSITION: pa.array([b"\xff" * 32] * len(final), POSITION_TYPE)})
    assert counts(compare("orders", fold, scan_of(table))) == {**COUNTS, "MATCH": 519}
    as_text = table.set_column(3, "weight", pa.array([shown(rows[key]["weight"]) for key in final], pa.string()))
    as_text = as_text.set_column(21, "hold", table["hold"].cast(pa.int64()))
    as_text = as_text.set_column(4, "created_at", table["created_at"].cast(pa.timestamp("ms"), safe=False))
    report = compare("orders", fold, scan_of(as_text), examples=1000)
    assert {example.column for example in report.examples} == {"created_at"}
