"""What every target promises about logs (`mode: append`): every change once, whatever is repeated or interrupted."""

from datetime import date

import pyarrow as pa
import pytest
from support.change_logs import LogTarget, log_delta, log_schema, logged, places
from support.values import VALUES, of_years_1_to_9999, same

from millrace.schemas.errors import AccountingError, IncompatibleSchemaError, LedgerGapError, TableError
from millrace.schemas.model.ledger import Account, Ledger, TopicPartition
from millrace.schemas.model.modes import Mode
from millrace.transforms.sinks import SINKS
from millrace.transforms.sinks.shared.guarantees import Promise

PLACE_NAMES = [
    *(kind for kind in sorted(SINKS) if kind != "files"),
    *(f"files-{n}" for n in ("local", "avro", "s3", "gcs", "hdfs")),
]


@pytest.fixture(params=PLACE_NAMES)
def log(request, tmp_path):
    """An empty log of each kind of target, and of each kind of store."""
    kind, options = places(tmp_path, request.getfixturevalue)[request.param]()
    if Mode.APPEND not in SINKS[kind].modes:
        pytest.skip(f"a target of type {kind} keeps no logs")
    found = LogTarget(kind, tmp_path, options)
    yield found
    found.close()


def test_every_change_is_kept(log):
    settled = log.log(logged(0, id=1, v="a"), logged(1, id=1, v="b"), logged(2, "delete", id=1))
    assert (settled.applied, settled.superseded, log.next) == (3, 0, 3)
    columns = ["id", "v", "_millrace_change", "_millrace_offset"]
    rows = sorted(log.read(columns).to_pylist(), key=lambda row: row["_millrace_offset"])
    assert [tuple(row.values()) for row in rows] == [
        (1, "a", "upsert", 0),
        (1, "b", "upsert", 1),
        (1, None, "delete", 2),
    ]
    assert log.sink.tables() == ("orders",)
    assert "orders" in log.sink.describe("orders")


def test_a_snapshot_is_of_one_moment_whatever_is_committed_meanwhile(log):
    log.log(*(logged(offset, id=offset) for offset in range(3)))
    other = LogTarget(log.kind, log.folder, log.options)
    with log.sink.snapshot("orders") as table:
        other.log(*(logged(offset, id=offset) for offset in range(3, 6)))
        offsets = [row["_millrace_offset"] for batch in table.scan(None) for row in batch.to_pylist()]
        ledger = table.ledger("shop", [TopicPartition("orders", 0)])
    other.close()
    stop = 6 if Promise.ATOMIC in log.exceptions else 3
    assert (sorted(offsets), ledger.next) == ([*range(stop)], {TopicPartition("orders", 0): stop})


def test_a_range_that_comes_again_adds_nothing(log):
    changes = [logged(offset, id=offset) for offset in range(5)]
    log.log(*changes)
    settled = log.log(*changes, first=0, stop=5)
    assert log.counts(settled) == (0, 5)
    assert (log.offsets(), log.next) == ([0, 1, 2, 3, 4], 5)


def test_a_range_with_other_borders_is_trimmed(log):
    log.log(*(logged(offset, id=offset) for offset in range(5)))
    settled = log.log(*(logged(offset, id=offset) for offset in range(2, 9)), first=2)
    assert log.counts(settled) == (4, 3)
    assert (log.offsets(), log.next) == ([*range(9)], 9)


def test_a_gap_and_a_wrong_account_commit_nothing(log):
    log.log(logged(0, id=1))
    with pytest.raises(LedgerGapError, match=r"orders\[0\] stands at 1, but the commit begins at 3"):
        log.log(logged(3, id=1), first=3)
    with pytest.raises(AccountingError, match="read 3"):
        log.commit([log.put(logged(1, id=1))], Account("orders", 0, 1, 2, read=3))
    assert (log.offsets(), log.next) == ([0], 1)
    log.log(logged(1, id=1))
    assert (log.offsets(), log.next) == ([0, 1], 2)


def test_a_change_of_a_key_is_two_rows_of_one_offset(log):
    log.log(logged(0, id=1), logged(1, "delete", id=1, source=-1), logged(1, id=2))
    assert log.offsets() == [0, 1, 1]
    log.log(logged(1, "delete", id=1, source=-1), logged(1, id=2), logged(2, id=2), first=1)
    assert log.offsets() == [0, 1, 1, 2]


def test_partitions_topics_and_jobs_have_their_own_offsets(log):
    staged = [log.put(logged(7, id=1), logged(0, id=2, partition=1)), log.put(logged(5, id=3, topic="more", source=2))]
    accounts = (Account("orders", 0, 7, 8, 1), Account("orders", 1, 0, 1, 1), Account("more", 0, 5, 6, 1))
    log.sink.commit(staged[0].table, staged, log.order(*accounts))
    west = LogTarget(log.kind, log.folder, log.options, job="west", _sink=log.sink)
    if log.kind == "files":
        west.log(logged(7, id=9), first=7)
        assert west.offsets() == [0, 5, 7, 7]
    assert west.next == (8 if log.kind == "files" else None)
    asked = [TopicPartition("orders", 0), TopicPartition("orders", 1), TopicPartition("more", 0)]
    ledger = log.sink.ledger("shop", "orders", [*asked, TopicPartition("more", 1)])
    assert (ledger.next, ledger.start) == (
        dict(zip(asked, (8, 1, 6), strict=True)),
        dict(zip(asked, (7, 0, 5), strict=True)),
    )


def test_there_is_no_ledger_before_the_first_commit(log):
    assert log.ledger == Ledger()
    assert log.sink.tables() == ()
    with pytest.raises(TableError, match="no table 'orders'"):
        log.read()


def test_a_commit_without_changes_moves_the_ledger_only(log):
    log.commit([], Account("orders", 0, 3, 100, read=90, filtered=60, dead=30), topic_ids={"orders": 7})
    assert (log.next, log.sink.tables(), log.ledger.topic_ids) == (100, (), {"orders": 7})
    log.log(logged(100, id=1), topic_ids={"orders": 7})
    log.reopen()
    assert (log.offsets(), log.next, log.ledger.topic_ids) == ([100], 101, {"orders": 7})


def test_a_commit_whose_answer_was_lost_can_be_repeated(log):
    staged, account = [log.put(logged(0, id=1), logged(1, id=2))], Account("orders", 0, 0, 2, read=2)
    assert log.commit(staged, account).applied == 2
    again = log.commit(staged, account)
    assert again.applied + again.superseded == 2
    assert (log.offsets(), log.next) == ([0, 1], 2)


def test_a_crash_between_stage_and_commit_loses_and_doubles_nothing(log):
    log.log(logged(0, id=1))
    LogTarget(log.kind, log.folder, log.options, _sink=log.sink).put(logged(1, id=1))
    log.reopen()
    assert (log.offsets(), log.next) == ([0], 1)
    log.log(logged(1, id=1))
    assert (log.offsets(), log.next) == ([0, 1], 2)


def test_columns_are_added_and_grow(log):
    log.log(logged(0, id=1, v="a"), schema=log_schema(pa.field("id", pa.int32()), pa.field("v", pa.string())))
    wide = log_schema(pa.field("id", pa.int64()), pa.field("v", pa.string()), pa.field("w", pa.float64()))
    log.log(logged(1, id=2**40, v="b", w=1.5), schema=wide)
    log.log(logged(2, id=3), schema=log_schema(pa.field("id", pa.int32())))
    found = log.read(["_millrace_offset", "id", "v", "w"])
    assert found.schema.field("id").type == pa.int64()
    rows = sorted(tuple(row.values()) for row in found.to_pylist())
    assert rows == [(0, 1, "a", None), (1, 2**40, "b", 1.5), (2, 3, None, None)]


def test_a_type_that_would_lose_values_is_refused_and_changes_nothing(log):
    log.log(logged(0, id=1, v="a"))
    with pytest.raises(IncompatibleSchemaError, match="column 'v' was string and is now int64"):
        log.log(logged(1, id=1, v=5), schema=log_schema(pa.field("id", pa.int64()), pa.field("v", pa.int64())))
    assert (log.offsets(), log.next) == ([0], 1)


def test_all_types_come_back_as_they_went_in(log):
    moved = of_years_1_to_9999 if Promise.YEARS in log.exceptions else lambda values: values
    columns = [moved(values) for values in VALUES]
    fields = [pa.field(f"c{number}", values.type) for number, values in enumerate(columns)]
    log.schema, count = log_schema(*fields), max(map(len, columns))
    table = log.put(*(logged(offset) for offset in range(count))).table
    rows = log_delta(log.schema, [logged(offset) for offset in range(count)])
    for number, values in enumerate(columns):
        padded = pa.concat_arrays([values, pa.nulls(count - len(values), values.type)])
        rows = rows.set_column(number, fields[number], padded)
    log.commit([log.sink.stage(table, rows)], Account("orders", 0, 0, count, read=count))
    log.reopen()
    found = log.read().sort_by("_millrace_offset").combine_chunks()
    for number, values in enumerate(columns):
        assert found.schema.field(f"c{number}").type == values.type
        assert same(found[f"c{number}"].chunk(0).slice(0, len(values)), values), values.type


@pytest.mark.parametrize("name", ["a b", "..", "_x", "ä/ö", "C:\\x", "%2e", "x+y"])
def test_odd_names_of_tables_topics_and_columns(log, name):
    log.name = log.topic = name
    log.schema = log_schema(pa.field(name, pa.string()), pa.field("a.b", pa.date32()), pa.field("_1", pa.int64()))
    log.log(logged(0, topic=name, **{name: "x", "a.b": date(2024, 2, 29), "_1": 5}))
    log.reopen()
    log.log(logged(1, topic=name, **{name: "y"}))
    assert sorted(log.read([name]).column(0).to_pylist()) == ["x", "y"]
    assert (log.sink.tables(), log.next) == ((name,), 2)
