"""Maintenance of Iceberg tables: in the commits, and all at once; and that a commit does not slow down with history."""

import os
import time
from datetime import timedelta
from itertools import count, pairwise
from types import SimpleNamespace as Namespace

import pytest
from support import counted_io
from support.iceberg_tables import live_files, opened
from support.targets import PLACES, Target, delete, upsert

from millrace.transforms.sinks.iceberg import maintenance
from millrace.transforms.sinks.iceberg.catalog.catalog import IcebergCatalog
from millrace.transforms.sinks.iceberg.maintenance import Maintenance, tier
from millrace.transforms.sinks.iceberg.table_format import snapshots
from millrace.transforms.sinks.shared.commit import Conflict

AGED = 8 * 24 * 3600


@pytest.fixture
def target(tmp_path):
    found = Target("iceberg", tmp_path)
    yield found
    found.close()


def age(folder, newest: float = 0.0) -> None:
    """Make every file as old as a week, and one of them new: the clock of the store is its newest file."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    for path in files:
        os.utime(path, (time.time() - AGED, time.time() - AGED))


def test_what_a_commit_has_to_look_at_does_not_grow_with_history(target):
    """Everything that a commit reads or writes again is bounded: files, manifests, snapshots, old metadata."""
    target.apply(*(upsert(1, id=n, v="a") for n in range(400)))
    seen = []
    for at in range(2, 122):
        changes = [upsert(at, id=(at * 37 + n * 7) % 400, v=str(at)) for n in range(10)]
        target.apply(*changes, delete(at, id=1000 + at))
        if at % 20 == 0:
            table = opened(target)
            data, deletes = live_files(table)
            manifests = table.current_snapshot().manifests(table.io)
            seen.append((len(data), len(deletes), len(manifests), len(table.snapshots())))
            assert len(table.metadata.metadata_log) <= 20
    assert max(count[0] for count in seen) <= 16, seen
    assert max(count[1] for count in seen) <= 64, seen
    assert max(count[2] for count in seen) <= 12, seen
    assert max(count[3] for count in seen) <= 40, seen
    tombstones = Target("iceberg", target.folder, name="_millrace_tombstones_orders")
    assert len(live_files(opened(tombstones))[0]) <= 16


def test_a_commit_opens_no_more_files_and_bytes_after_a_long_history(tmp_path, monkeypatch):
    """A commit a minute and half an hour of time travel: all that is kept is there after 48 commits."""
    catalog = PLACES["iceberg"](tmp_path)["catalog"] | {"py-io-impl": "support.counted_io.CountedIO"}
    target = Target("iceberg", tmp_path, {"catalog": catalog, "time_travel": "30m"})
    start, minutes, taken = time.time(), count(), []
    target.apply(*(upsert(1, id=n, v="a") for n in range(400)))
    monkeypatch.setattr(f"{snapshots.__name__}.time", Namespace(time=lambda: start + 60 * next(minutes)))
    for at in range(2, 194):
        counted_io.taken()
        target.apply(*(upsert(at, id=(at * 37 + n * 7) % 400, v=str(at)) for n in range(10)), delete(at, id=1000 + at))
        taken.append(counted_io.taken())
    early, late = ([sum(each) for each in zip(*part, strict=True)] for part in (taken[48:96], taken[144:]))
    assert late[0] <= 1.2 * early[0], (early, late)
    assert late[1] <= 1.2 * early[1], (early, late)
    assert len(opened(target).snapshots()) <= 24 + 20 + 8 + 1
    target.close()


def test_eight_small_files_become_one(target):
    for at in range(1, 9):
        target.apply(*(upsert(at, id=at * 100 + n, v="a") for n in range(20)))
    data, _ = live_files(opened(target))
    assert len(data) == 1
    assert opened(target).current_snapshot().summary.operation.value == "replace"
    assert len(target.rows()) == 160


def test_a_file_with_many_deleted_rows_is_rewritten(target, monkeypatch):
    monkeypatch.setattr(maintenance, "MOSTLY_DELETED_ROWS", 10)
    target.apply(*(upsert(1, id=n, v="a") for n in range(100)))
    target.apply(*(delete(2, id=n) for n in range(30)))
    assert len(live_files(opened(target))[1]) == 1
    target.apply(*(delete(3, id=n) for n in range(30, 50)))
    data, deletes = live_files(opened(target))
    assert ([file.record_count for file in data], deletes) == ([50], [])
    assert target.apply(*(upsert(2, id=n, v="late") for n in range(50))) == (0, 50)
    assert target.apply(upsert(4, id=70, v="b")) == (1, 0)
    assert len(target.rows()) == 50


def test_a_file_without_a_live_row_is_dropped(target):
    target.apply(*(upsert(1, id=n, v="a") for n in range(5)))
    target.apply(*(upsert(2, id=n, v="b") for n in range(3)))
    target.apply(*(upsert(3, id=n, v="c") for n in range(3, 5)))
    data, deletes = live_files(opened(target))
    assert (sorted(file.record_count for file in data), deletes) == ([2, 3], [])


def test_compaction_leaves_one_file_a_partition_and_one_manifest(tmp_path):
    target = Target("iceberg", tmp_path, {"partition_by": ["bucket(2, id)"]})
    for at in range(1, 7):
        target.apply(*(upsert(at, id=n, v=str(at)) for n in range(at, at + 20)))
    rows = target.rows()
    done = target.sink.maintain("orders")
    table = opened(target)
    data, deletes = live_files(table)
    assert (len(data), deletes, len(table.current_snapshot().manifests(table.io))) == (2, [], 1)
    assert done["rewritten"] > 2
    assert target.rows() == rows
    assert target.sink.maintain("orders")["rewritten"] == 0
    target.close()


def test_manifests_are_merged_where_files_are_not(tmp_path):
    target = Target("iceberg", tmp_path, {"partition_by": ["v"]})
    for at in range(1, 41):
        target.apply(upsert(at, id=at, v=f"p{at % 10}"))
    table = opened(target)
    assert len(live_files(table)[0]) == 40
    assert len(table.current_snapshot().manifests(table.io)) <= 7
    assert len(target.rows()) == 40
    target.close()


def test_maintenance_that_loses_against_another_writer_is_put_off(target, monkeypatch):
    for at in range(1, 8):
        target.apply(*(upsert(at, id=at * 100 + n, v="a") for n in range(20)))
    real = IcebergCatalog.commit

    def faster(self, table, produced, commit):
        if produced.updates[-2].snapshot.summary.operation.value == "replace":
            raise Conflict("another writer")
        return real(self, table, produced, commit)

    with monkeypatch.context() as patch:
        patch.setattr(IcebergCatalog, "commit", faster)
        assert target.apply(*(upsert(8, id=800 + n, v="a") for n in range(20))) == (20, 0)
    assert len(live_files(opened(target))[0]) == 8
    target.apply(upsert(9, id=1, v="a"))
    assert len(live_files(opened(target))[0]) < 8
    assert len(target.rows()) == 161


def test_snapshots_are_thinned_and_can_be_read_back(target):
    target.options = {"time_travel": "1d"}
    for at in range(1, 60):
        target.apply(upsert(at, id=1, v=str(at)))
    table = opened(target)
    assert 20 <= len(table.snapshots()) <= 32
    oldest = min(table.snapshots()[-20:], key=lambda one: one.sequence_number)
    assert table.scan(snapshot_id=oldest.snapshot_id).to_arrow().num_rows == 1


class Line:
    """A table with a snapshot a minute, for `Maintenance.expired`."""

    def __init__(self, minutes: int, refs=()) -> None:
        self._minutes, self._refs = minutes, dict(refs)

    def snapshots(self):
        return [Snap(n) for n in range(self._minutes)]

    def refs(self):
        return {"main": Snap(self._minutes - 1), **self._refs}


class Snap:
    def __init__(self, number: int) -> None:
        self.snapshot_id, self.parent_snapshot_id = number, number - 1 if number else None
        self.timestamp_ms = number * 60_000


def test_one_snapshot_is_kept_for_each_24th_of_the_time_travel():
    gone = set(Maintenance(timedelta(days=1)).expired(Line(3000)))
    kept = [n for n in range(3000) if n not in gone]
    assert len(kept) <= 24 + 20 + 2
    assert kept[-20:] == list(range(2980, 3000))
    assert min(kept) >= 3000 - 24 * 60 - 1
    assert max(b - a for a, b in pairwise(kept)) <= 61
    assert set(Maintenance(timedelta(days=1)).expired(Line(2900))) <= gone


def test_snapshots_of_branches_and_tags_stay():
    gone = set(Maintenance(timedelta(0)).expired(Line(100, {"audit": Snap(3)})))
    assert gone == set(range(4, 80))


def test_files_that_nothing_needs_are_deleted_when_they_are_old(target):
    folder = target.folder / "lake" / "shop" / "orders"
    for at in range(1, 9):
        target.apply(*(upsert(at, id=n, v=str(at)) for n in range(20)))
    rows = target.rows()
    orphan = folder / "data" / "left-behind.parquet"
    orphan.write_bytes(b"x")
    assert target.sink.maintain("orders")["deleted"] == 0
    assert orphan.exists()
    age(folder)
    young = folder / "data" / "being-written.parquet"
    young.write_bytes(b"x")
    done = target.sink.maintain("orders")
    assert done["deleted"] >= 1
    assert (orphan.exists(), young.exists()) == (False, True)
    target.reopen()
    assert target.rows() == rows
    table = opened(target)
    for snapshot in table.snapshots():
        table.scan(snapshot_id=snapshot.snapshot_id).to_arrow()


def test_orphans_go_by_the_table_s_own_count_of_commits(target, monkeypatch):
    """Each commit by a sink and a process of its own, as where a job runs once an hour."""
    monkeypatch.setattr(maintenance, "SWEEP_EVERY", 4)
    target.apply(upsert(1, id=1, v="a"))
    orphan = target.folder / "lake" / "shop" / "orders" / "data" / "left-behind.parquet"
    orphan.write_bytes(b"x")
    age(target.folder)
    for at in (2, 3):
        target.reopen()
        target.apply(upsert(at, id=at, v="a"))
    assert orphan.exists()
    target.reopen()
    target.apply(upsert(4, id=4, v="a"))
    assert not orphan.exists()
    target.reopen()
    assert len(target.rows()) == 4


def test_files_beside_the_table_are_not_touched(target):
    target.apply(upsert(1, id=1, v="a"))
    mine = target.folder / "lake" / "shop" / "orders" / "notes.txt"
    other = target.folder / "lake" / "other.parquet"
    for path in (mine, other):
        path.write_bytes(b"x")
    age(target.folder)
    target.apply(upsert(2, id=1, v="b"))
    target.sink.maintain("orders")
    assert mine.exists() and other.exists()


def test_old_tombstones_are_dropped_with_their_files(target):
    target.options = {"tombstone_retention": "0s"}
    for at in range(1, 12):
        target.apply(delete(at, id=at))
    tombstones = Target("iceberg", target.folder, name="_millrace_tombstones_orders")
    data, _ = live_files(opened(tombstones))
    assert len(data) <= 2


def test_tiers():
    assert [tier(size) for size in (0, 1 << 16, (1 << 16) + 1, 1 << 19, 1 << 22, 1 << 25)] == [0, 0, 1, 1, 2, 3]
