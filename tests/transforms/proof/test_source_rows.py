"""The comparison with a source's own rows: sums by bucket, then the rows of buckets that differ, some at a time."""

from datetime import timedelta
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest

from millrace.transforms.proof import source_rows
from millrace.transforms.proof.reference_table import ReferenceTable
from millrace.transforms.proof.report import Outcome, Verdict
from millrace.transforms.proof.source_rows import SourceTable, compare_rows, renamed

COLUMNS = ("id", "name", "price", "took", "days")
SCHEMA = pa.schema(
    [("id", pa.int64()), ("name", pa.string()), ("price", pa.decimal128(10, 2)), ("took", pa.duration("us")),
     ("days", pa.list_(pa.date32())), ("_millrace_position", pa.binary())]
)  # fmt: skip


def row(number):
    return {
        "id": number, "name": f"n{number}", "price": Decimal(number) / 4, "took": timedelta(seconds=number),
        "days": ["2024-01-01", None],
    }  # fmt: skip


def scan_of(rows, size=700):
    def scan(names=None):
        for low in range(0, len(rows), size):
            some = [{**one, "days": [np.datetime64("2024-01-01").item(), None]} for one in rows[low : low + size]]
            yield pa.RecordBatch.from_pylist([{**one, "_millrace_position": b"\0" * 32} for one in some], SCHEMA)

    return scan


@pytest.fixture
def held(monkeypatch):
    """How many rows were held at once, each time."""
    monkeypatch.setattr(source_rows, "ROWS_AT_ONCE", 300)
    found, hold = [], ReferenceTable.hold

    def counted(self, key, values):
        hold(self, key, values)
        if not found or found[-1][0] is not self:
            found.append([self, 0])
        found[-1][1] += 1

    monkeypatch.setattr(ReferenceTable, "hold", counted)
    return found


def test_equal_tables_hold_no_row(held):
    rows = [row(number) for number in range(1_000)]
    report = compare_rows("t", SourceTable(lambda: iter(rows), COLUMNS, ("id",)), scan_of(rows[::-1]))
    assert report.outcome is Outcome.EQUAL and report.counts[Verdict.MATCH] == 1_000 and not held


def test_differences_in_all_buckets_are_found_some_rows_at_a_time(held):
    rows = [row(number) for number in range(2_000)]
    target = [
        {**one, "price": one["price"] + 1} if one["id"] % 5 == 0 else one
        for one in rows
        if one["id"] % 7 or not one["id"]
    ]
    target += [row(-number) for number in range(1, 400)]
    report = compare_rows("t", SourceTable(lambda: iter(rows), COLUMNS, ("id",)), scan_of(target))
    missing = sum(1 for one in rows if one["id"] % 7 == 0 and one["id"])
    differs = sum(1 for one in rows if one["id"] % 5 == 0 and (one["id"] % 7 or not one["id"]))
    assert report.counts[Verdict.MISSING] == missing and report.counts[Verdict.EXTRA] == 399
    assert report.counts[Verdict.DIFFERS] + report.counts[Verdict.STALE] == differs
    assert report.counts[Verdict.MATCH] == 2_000 - missing - differs
    assert (report.expected, report.actual) == (2_000, len(target)) and report.outcome is Outcome.DIFFERENT
    assert len(held) > 2 and max(count for _, count in held) <= 300
    assert max(sum(one.verdict is verdict for one in report.examples) for verdict in Verdict) == 5


def test_a_column_that_was_renamed_and_is_of_the_key():
    rows = [{"old": number, **{k: v for k, v in row(number).items() if k != "id"}} for number in range(50)]
    source = SourceTable(lambda: iter(rows), ("old", *COLUMNS[1:]), ("old",))
    report = compare_rows("t", renamed(source, {"old": "id"}), scan_of([row(number) for number in range(50)]))
    assert report.outcome is Outcome.EQUAL and report.counts[Verdict.MATCH] == 50


def test_a_text_beside_a_column_that_the_target_lacks_is_a_difference():
    rows = [row(1), {**row(2), "price": None, "price__text": "NaN"}]
    target = [row(1), {**row(2), "price": None}]
    report = compare_rows("t", SourceTable(lambda: iter(rows), COLUMNS, ("id",)), scan_of(target))
    assert report.outcome is Outcome.DIFFERENT and report.counts[Verdict.MATCH] == 1
