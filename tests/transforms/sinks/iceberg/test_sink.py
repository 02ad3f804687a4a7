"""What is Iceberg's own: snapshots, other writers, other engines' changes, lost answers."""

import json
import os
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
from support.concurrent_commits import Meddling
from support.iceberg_tables import catalog_of, live_files, opened
from support.targets import Target, delete, position, upsert

from millrace.schemas.errors import JobError, MissingExtraError, TerminalSinkError, TransientSinkError
from millrace.schemas.model.ledger import Account
from millrace.transforms.sinks import open_sink
from millrace.transforms.sinks.iceberg.catalog import catalog as catalogs
from millrace.transforms.sinks.iceberg.keys.keyed_table import KeyedTable
from millrace.transforms.sinks.iceberg.pyiceberg import CommitFailedException, CommitStateUnknownException


@pytest.fixture
def target(tmp_path):
    found = Target("iceberg", tmp_path)
    yield found
    found.close()


def test_rows_deletes_and_ledger_are_one_snapshot(target):
    target.apply(upsert(1, id=1, v="a"), upsert(1, id=2, v="b"))
    before = opened(target).metadata.last_sequence_number
    target.apply(upsert(2, id=1, v="c"))
    table = opened(target)
    assert table.metadata.last_sequence_number == before + 1
    summary = table.current_snapshot().summary.additional_properties
    assert (summary["added-records"], summary["added-position-deletes"]) == ("1", "1")
    assert (summary["total-records"], summary["total-position-deletes"]) == ("3", "1")
    assert json.loads(summary["millrace.accounts"])[0]["stop"] == 3
    ledger = json.loads(table.properties["millrace.ledger.shop"])
    assert ledger["format"] == 1
    assert ledger["topics"]["orders"]["partitions"]["0"][:2] == [3, 0]


def test_a_commit_is_decided_again_on_top_of_another_writers(target):
    target.apply(upsert(1, id=1, v="a"))
    other = Target("iceberg", target.folder, job="other", topic="elsewhere")
    meddle = [lambda: other.apply(upsert(5, id=1, v="other")), lambda: other.apply(upsert(9, id=2, v="other"))]
    staged = [target.stage(upsert(4, id=1, v="late"), upsert(4, id=2, v="late"), upsert(4, id=3, v="mine"))]
    commit = Meddling(target.job, (Account("orders", 0, 1, 4, read=3),), meddle=meddle)
    (settled,) = target.sink.commit(target.table(), staged, commit)
    assert (settled.applied, settled.superseded) == (1, 2)
    assert target.rows() == [(1, "other"), (2, "other"), (3, "mine")]
    assert (target.next, other.next) == (4, 2)
    other.close()


def test_two_writers_of_one_key_leave_one_live_row(target):
    """apache/iceberg-python: a fast append does not look whether the rows that it replaces are still there."""
    target.apply(*(upsert(1, id=n, v="a") for n in range(10)))
    other = Target("iceberg", target.folder, job="other", topic="elsewhere")
    meddle = [lambda: other.apply(*(upsert(2, id=n, v="other") for n in range(5)))]
    staged = [target.stage(*(upsert(3, id=n, v="mine") for n in range(3, 8)))]
    target.sink.commit(
        target.table(), staged, Meddling(target.job, (Account("orders", 0, 10, 15, read=5),), meddle=meddle)
    )
    rows = opened(target).scan().to_arrow()
    assert sorted(rows["id"].to_pylist()) == list(range(10))
    assert target.rows() == [(n, "other" if n < 3 else "mine" if n < 8 else "a") for n in range(10)]
    other.close()


def test_a_writer_that_is_always_faster_is_a_transient_error(target):
    target.apply(upsert(1, id=1, v="a"))
    other = Target("iceberg", target.folder, job="other", topic="elsewhere")
    meddle = [lambda at=at: other.apply(upsert(at, id=1, v="other")) for at in range(20)]
    staged = [target.stage(upsert(100, id=1, v="mine"))]
    with pytest.raises(TransientSinkError, match="other writers were faster 8 times"):
        target.sink.commit(
            target.table(), staged, Meddling(target.job, (Account("orders", 0, 1, 2, read=1),), meddle=meddle)
        )
    assert (target.rows(), target.next) == ([(1, "other")], 1)
    other.close()


def test_a_zombie_that_wakes_up_changes_nothing(target):
    """It staged and read the table before the new writer took over, and commits long after."""
    target.apply(upsert(1, id=1, v="a"), upsert(1, id=2, v="b"))
    zombie = Target("iceberg", target.folder)
    assert zombie.rows() == [(1, "a"), (2, "b")]
    staged = [zombie.stage(upsert(5, id=1, v="five"), delete(5, id=2))]
    account = Account("orders", 0, 2, 4, read=2)
    target.commit([target.stage(upsert(5, id=1, v="five"), delete(5, id=2))], account)
    target.apply(upsert(6, id=1, v="six"), upsert(6, id=2, v="six"))
    settled = zombie.commit(staged, account)
    assert (settled.applied, settled.superseded) == (0, 2)
    assert (target.rows(), target.next) == ([(1, "six"), (2, "six")], 6)
    zombie.close()


LOST = CommitStateUnknownException("the answer was lost")


def lost(target, monkeypatch, before=False, error=LOST):
    """The next answer of the catalog is lost, behind or before the commit itself."""
    found = target.sink._catalog._catalog
    real = found.commit_table

    def commit_table(*arguments):
        monkeypatch.setattr(found, "commit_table", real)
        if not before:
            real(*arguments)
        raise error

    monkeypatch.setattr(found, "commit_table", commit_table)


@pytest.fixture
def no_patience(monkeypatch):
    monkeypatch.setattr(catalogs, "LOOKS", (0.0,))


@pytest.mark.parametrize("error", [CommitStateUnknownException("lost"), ConnectionError("reset"), TimeoutError("late")])
def test_a_commit_whose_answer_was_lost_is_found_in_the_history(target, monkeypatch, error):
    target.apply(upsert(1, id=1, v="a"), upsert(1, id=2, v="b"))
    lost(target, monkeypatch, error=error)
    decided, real = [], target.sink._transaction
    monkeypatch.setattr(target.sink, "_transaction", lambda *arguments: (decided.append(1), real(*arguments))[1])
    assert target.apply(upsert(2, id=1, v="c"), upsert(0, id=2, v="late")) == (1, 1)
    assert (target.rows(), target.next) == ([(1, "c"), (2, "b")], 4)
    assert (opened(target).metadata.last_sequence_number, len(decided)) == (2, 1)


def test_a_refusal_after_a_commit_that_arrived_is_not_a_conflict(target, monkeypatch):
    """A client that repeats a request by itself is told that another was faster: it was its own first try."""
    target.apply(upsert(1, id=1, v="a"))
    lost(target, monkeypatch, error=CommitFailedException("branch main has changed"))
    assert target.apply(upsert(2, id=1, v="b")) == (1, 0)
    assert (target.rows(), target.next) == ([(1, "b")], 2)


def test_while_the_outcome_is_unknown_no_file_is_deleted(target, monkeypatch, no_patience):
    target.apply(upsert(1, id=1, v="a"))
    lost(target, monkeypatch, before=True)
    files = set(target.folder.rglob("*.parquet"))
    staged = [target.stage(upsert(2, id=1, v="b"))]
    account = Account("orders", 0, 1, 2, read=1)
    with pytest.raises(TransientSinkError, match=r"answer to a commit was lost.*nothing was deleted"):
        target.commit(staged, account)
    assert files < set(target.folder.rglob("*.parquet"))
    assert target.commit(staged, account).applied == 1
    assert (target.rows(), target.next) == ([(1, "b")], 2)


def test_a_commit_that_arrives_late_is_not_made_twice(target, monkeypatch, no_patience):
    """The request was still under way when its outcome was asked for, and is carried out before the repetition."""
    target.apply(upsert(1, id=1, v="a"))
    found = target.sink._catalog._catalog
    real, kept = found.commit_table, []

    def commit_table(*arguments):
        kept.append(arguments)
        monkeypatch.setattr(found, "commit_table", real)
        raise CommitStateUnknownException("lost")

    monkeypatch.setattr(found, "commit_table", commit_table)
    staged, account = [target.stage(upsert(2, id=1, v="b"), delete(2, id=7))], Account("orders", 0, 1, 3, read=2)
    with pytest.raises(TransientSinkError):
        target.commit(staged, account)
    monkeypatch.setattr(found, "commit_table", real)
    if kept[-1][0].name()[-1] == "orders":
        real(*kept[-1])
    settled = target.commit(staged, account)
    assert settled.applied + settled.superseded == 2
    assert (target.rows(), target.next) == ([(1, "b")], 3)
    assert target.apply(upsert(1, id=7, v="late")) == (0, 1)


def test_a_repeated_commit_gives_the_same_accounts(target):
    staged = [target.stage(upsert(2, id=1, v="b"), delete(2, id=2))]
    account = Account("orders", 0, 0, 2, read=2)
    first = target.commit(staged, account)
    sequence = opened(target).metadata.last_sequence_number
    assert target.commit(staged, account) == first
    assert opened(target).metadata.last_sequence_number == sequence


def test_a_tombstone_of_a_commit_that_failed_does_not_refuse_its_delete(target, monkeypatch):
    target.apply(upsert(1, id=1, v="a"), upsert(1, id=2, v="b"))
    real = catalogs.IcebergCatalog.commit

    def killed(self, table, *arguments):
        if table.name()[-1] == "orders":
            raise KeyboardInterrupt
        return real(self, table, *arguments)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(catalogs.IcebergCatalog, "commit", killed)
        target.apply(delete(5, id=1), delete(5, id=7))
    target.reopen()
    assert (target.rows(), target.next) == ([(1, "a"), (2, "b")], 2)
    assert sum(target.apply(delete(5, id=1), delete(5, id=7))) == 2
    assert target.rows() == [(2, "b")]
    assert target.apply(upsert(4, id=1, v="late"), upsert(4, id=7, v="late")) == (0, 2)


def test_the_ledger_survives_the_expiry_of_its_snapshots(target):
    target.options = {"time_travel": "0s"}
    target.apply(upsert(1, id=1, v="a"), truncate=position(0))
    for at in range(2, 60):
        target.apply(upsert(at, id=1, v=str(at)))
    table = opened(target)
    assert len(table.snapshots()) < 30
    target.sink.maintain("orders")
    for snapshot in opened(target).snapshots():
        if snapshot.snapshot_id != opened(target).metadata.current_snapshot_id:
            table = opened(target)
            table.maintenance.expire_snapshots().by_id(snapshot.snapshot_id).commit()
    target.reopen()
    assert (target.next, target.ledger.truncate) == (59, position(0))
    assert target.rows() == [(1, "59")]


@pytest.mark.parametrize("memory", ["512MB", "0MB"], ids=["indexed", "read each time"])
def test_keys_are_found_in_any_case(tmp_path, memory):
    target = Target("iceberg", tmp_path, {"index_memory": memory}, key=("id", "s"))
    target.schema = pa.schema([("id", pa.int32()), ("s", pa.string()), ("v", pa.int64())])
    dice, held = np.random.default_rng(5), {}
    for at in range(1, 12):
        changes = {}
        for number in dice.integers(0, 60, 30).tolist():
            key = (number % 7 or None, f"s{number % 5}")
            gone = bool(dice.random() < 0.2)
            changes[key] = (
                delete(at, id=key[0], s=key[1]) if gone else upsert(at, id=key[0], s=key[1], v=at * 1000 + number)
            )
        target.apply(*changes.values())
        for key, change in changes.items():
            held.pop(key, None)
            if not change.op:
                held[key] = change.row["v"]
        if at % 4 == 0:
            target.reopen()
    found = {(row["id"], row["s"]): row["v"] for row in target.read().to_pylist()}
    assert found == held
    target.close()


def test_a_column_renamed_in_the_catalog_is_written_on(target):
    target.apply(upsert(1, id=1, v="a"), upsert(1, id=2, v="b"))
    with opened(target).update_schema() as update:
        update.rename_column("v", "value")
        update.rename_column("id", "number")
    assert target.apply(upsert(2, id=1, v="c")) == (1, 0)
    assert target.rows() == [(1, "c"), (2, "b")]
    assert sorted(opened(target).scan().to_arrow()["value"].to_pylist()) == ["b", "c"]


@pytest.mark.parametrize("change", ["add", "drop"])
def test_columns_that_others_added_or_dropped_stop_the_table(target, change):
    target.apply(upsert(1, id=1, v="a"))
    with opened(target).update_schema() as update:
        if change == "add":
            from pyiceberg.types import LongType

            update.add_column("mine", LongType())
        else:
            update.delete_column("v")
    with pytest.raises(TerminalSinkError, match=f"other columns by now: column '(mine|v)' was {change}"):
        target.apply(upsert(2, id=1, v="b"))


def test_a_table_that_millrace_did_not_make_is_left_alone(target):
    target.apply(upsert(1, id=1, v="a"))
    rows = pa.table({"id": [1]})
    catalog_of(target).create_table(("shop", "mine"), rows.schema).append(rows)
    other = Target("iceberg", target.folder, name="mine", _sink=target.sink)
    with pytest.raises(TerminalSinkError, match=r"shop.mine is an Iceberg table that Millrace did not make"):
        other.apply(upsert(1, id=1, v="a"))
    assert target.sink.tables() == ("orders",)
    assert catalog_of(target).load_table(("shop", "mine")).scan().to_arrow().to_pydict() == {"id": [1]}


def test_a_row_that_another_engine_deleted_is_not_found(target):
    target.apply(*(upsert(1, id=n, v="a") for n in range(5)))
    with pytest.warns(UserWarning, match="falling back to copy-on-write"):
        opened(target).delete("id < 3")
    assert target.apply(upsert(2, id=1, v="again"), upsert(2, id=4, v="b")) == (2, 0)
    assert target.rows() == [(1, "again"), (3, "a"), (4, "b")]


def test_rows_that_another_engine_appended_are_found(target):
    target.apply(upsert(5, id=1, v="a"))
    table = opened(target)
    rows = pa.table({"_millrace_position": [position(3)], "id": [7], "v": ["theirs"]}, schema=table.schema().as_arrow())
    table.append(rows)
    assert target.apply(upsert(2, id=7, v="late"), upsert(4, id=1, v="late")) == (0, 2)
    assert target.apply(upsert(4, id=7, v="new")) == (1, 0)
    assert target.rows() == [(1, "a"), (7, "new")]


def test_positions_are_read_only_where_a_files_newest_does_not_decide(target, monkeypatch):
    target.apply(*(upsert(n, id=n, v="a") for n in range(1, 50)))
    read = []
    real = type(target.sink._opened("orders")[0]).values

    def values(self, found, ids):
        read.append(len(found.row))
        return real(self, found, ids)

    monkeypatch.setattr(type(target.sink._opened("orders")[0]), "values", values)
    target.apply(*(upsert(100, id=n, v="b") for n in range(1, 50)))
    assert read == []
    assert target.apply(upsert(40, id=3, v="late")) == (0, 1)
    assert read == [1]


def test_each_delete_file_is_of_one_data_file_and_small_ones_are_merged(target):
    target.apply(*(upsert(1, id=n, v="a") for n in range(1000)))
    for at in range(2, 40):
        target.apply(*(upsert(at, id=at * 20 + n, v="b") for n in range(5)))
    data, deletes = live_files(opened(target))
    by_file = {}
    for file in deletes:
        path = file.lower_bounds[2147483546]
        assert path == file.upper_bounds[2147483546]
        by_file.setdefault(path, []).append(file)
    assert max(map(len, by_file.values())) <= 8
    assert len(data) <= 16


def test_names_in_the_catalog_are_plain(target):
    target.name = "a b/ü"
    target.apply(upsert(1, id=1, v="a"))
    assert catalog_of(target).list_tables("shop") == [("shop", "a~20b~2F~C3~BC")]
    assert target.sink.describe("a b/ü").startswith("Iceberg table a~20b~2F~C3~BC in ")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"catalog": "sqlite:///x.db"}, "target.catalog: expected a mapping"),
        ({"catalog": {"type": "no such"}}, "target.catalog"),
        ({"namespace": "a..b"}, "target.namespace"),
        ({"time_travel": "long"}, "target.time_travel: 'long' is not a duration; write"),
        ({"index_memory": "much"}, "target.index_memory: 'much' is not a size"),
        ({"partition_by": ["bucket(id)"]}, r"'bucket\(id\)' is written like bucket\(8, id\)"),
        ({"partition_by": {"orders": [3]}}, "3 is not a column or a term"),
    ],
)
def test_options_that_mean_nothing(tmp_path, options, message):
    given = {"namespace": "shop", "catalog": {"type": "sql", "uri": "sqlite:///:memory:"}, **options}
    with pytest.raises(JobError, match=message):
        open_sink("iceberg", given).tables()


def test_without_pyiceberg_the_error_names_the_extra():
    script = "import sys; sys.modules['pyiceberg'] = None; from millrace.transforms.sinks import open_sink"
    command = [sys.executable, "-c", f"{script}; open_sink('iceberg', {{}})"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert f"{MissingExtraError.__name__}: target.type: iceberg needs the extra" in done.stderr
    assert "[iceberg]" in done.stderr


def test_sinks_of_one_process_hand_on_the_index_of_keys(target, monkeypatch):
    """A pass opens a sink of its own: it must not read the keys of the whole table again."""
    target.apply(*(upsert(1, id=n, v="a") for n in range(50)))
    target.close()
    read = []
    real = KeyedTable._keys
    monkeypatch.setattr(
        KeyedTable, "_keys", lambda self, file, *more: (read.append(file.path), real(self, file, *more))[1]
    )
    second = Target("iceberg", target.folder)
    assert second.apply(upsert(2, id=1, v="b"), upsert(0, id=2, v="late")) == (1, 1)
    assert read == []
    third = Target("iceberg", target.folder, job="other", topic="elsewhere")
    assert third.apply(upsert(3, id=1, v="c")) == (1, 0)
    assert len(read) == 2
    assert second.apply(upsert(4, id=1, v="d"), delete(4, id=3)) == (2, 0)
    assert len(second.rows()) == 49
    for other in (second, third):
        other.close()
