"""What every target promises of a table that is built again beside: it takes the place of the live one in one step."""

import sys

import pyarrow as pa
import pytest
from support.targets import MIRRORS, Target, delete, position, upsert

from millrace.schemas.errors import LedgerGapError, TableError
from millrace.schemas.model.connector_mark import ConnectorMark
from millrace.schemas.model.epoch import Epochs
from millrace.schemas.model.ledger import Account, Commit, TopicPartition
from millrace.schemas.model.source_mark import SourceMark
from millrace.transforms.sinks import SINKS
from millrace.transforms.sinks.shared.drift import inspect
from millrace.transforms.sinks.shared.guarantees import Promise
from millrace.transforms.sinks.shared.resync import Resyncing, Swap

SOURCE = TopicPartition("orders", 0)
OLD = pa.schema([("id", pa.int64()), ("v", pa.string()), ("gone", pa.int32())])
NEW = pa.schema([("id", pa.int64()), ("v", pa.int64()), ("more", pa.list_(pa.string()))])
BUILT = [(1, 10, ["x"]), (2, 20, None)]


@pytest.fixture(params=[kind for kind in MIRRORS if Promise.RESYNCS not in SINKS[kind].exceptions])
def live(request, tmp_path):
    """A table of rows, tombstones and a TRUNCATE."""
    found = Target(request.param, tmp_path, schema=OLD)
    found.apply(upsert(5, id=1, v="a", gone=1), upsert(5, id=9, v="z"), upsert(6, id=8, v="y"), truncate=position(1))
    found.apply(delete(50, id=7), delete(8, id=8))
    yield found
    found.close()


def build(live, read=9):
    """The table beside: `read` offsets of the topic."""
    beside = Target(live.kind, live.folder, name="orders__resync", schema=NEW, _sink=live.sink)
    beside.sink.commit(beside.table(), [], Commit(beside.job, (Account("orders", 0, 0, 0),)))
    changes = [upsert(5, id=1, v=10, more=["x"]), upsert(6, id=2, v=20), upsert(5, id=3, v=3), delete(1000, id=6)]
    staged = beside.stage(*changes)
    beside.commit([staged], Account("orders", 0, 0, read, read=4))
    last = beside.stage(delete(70, id=3))
    beside.commit([last], Account("orders", 0, read, read + 1, read=1))
    return beside


def wanted(beside, **more):
    return Swap(
        **{"job": "shop", "table": "orders", "beside": beside.name, "sources": [SOURCE], "starts": {SOURCE: 0}} | more
    )


def swapped(live, beside, **more):
    live.sink.swap(wanted(beside, **more))
    live.sink.drop(beside.name)
    live.schema = NEW
    live.reopen()


def test_rows_columns_tombstones_and_ledger_change_places_together(live):
    assert isinstance(live.sink, Resyncing)
    beside = build(live)
    assert live.sink.jobs("orders") == live.sink.jobs(beside.name) == ("shop",)
    swapped(live, beside)
    assert (live.rows(), live.next, live.ledger.truncate) == (BUILT, 10, None)
    assert live.read().schema == NEW
    assert (live.sink.tables(), live.sink.jobs(beside.name)) == (("orders",), ())
    assert inspect(live.sink, "orders").drift == ()
    # The tombstones are those of what was built: 6 and 3 are refused, 7 and 8 of the old table are not.
    late = [upsert(999, id=6, v=1), upsert(65, id=3, v=1), upsert(40, id=7, v=7), upsert(7, id=8, v=8)]
    assert live.apply(*late) == (2, 2)
    assert live.apply(upsert(9, id=1, v=11), delete(99, id=2)) == (2, 0)
    assert sorted(row[:2] for row in live.rows()) == [(1, 11), (7, 7), (8, 8)]


def test_it_may_be_done_again_and_again(live):
    for round in range(3):
        swapped(live, build(live, read=10 * (round + 1)))
        assert (live.rows(), live.next) == (BUILT, 10 * (round + 1) + 1)
        assert live.apply(upsert(7 + round, id=1, v=round)) == (1, 0)
    assert sorted(row[:2] for row in live.rows()) == [(1, 2), (2, 20)]


def test_a_live_table_that_is_further_is_left_as_it_is(live):
    beside, before = build(live, read=3), (live.rows(), live.ledger)
    with pytest.raises(LedgerGapError, match=r"a run has brought orders\[0\] further than orders__resync is"):
        live.sink.swap(wanted(beside))
    assert (live.rows(), live.ledger) == before
    unknown = TopicPartition("orders", 1)
    live.commit([], Account("orders", 1, 0, 2))
    with pytest.raises(LedgerGapError):
        live.sink.swap(wanted(build(live), sources=[SOURCE, unknown]))
    swapped(live, beside, lost=True)
    assert (live.rows(), live.next) == (BUILT, 10)


def test_what_is_not_whole_takes_no_place(live):
    beside, before = build(live), live.rows()
    with pytest.raises(TableError, match="is not what this resync has built"):
        live.sink.swap(wanted(beside, starts={SOURCE: 4}))
    live.sink.drop(beside.name)
    with pytest.raises(TableError, match="orders__resync has no rows"):
        live.sink.swap(wanted(beside))
    live.sink.drop("never there")
    assert (live.rows(), live.sink.tables()) == (before, ("orders",))


def test_the_ledger_knows_from_where_on_the_log_was_read(live):
    beside = build(live)
    swapped(live, beside, older={SOURCE: -7})
    assert live.ledger.start == {SOURCE: -7}


def test_a_partition_begins_with_the_mark_that_it_is_given(live):
    epochs = Epochs(((3, 1),))
    beside = Target(live.kind, live.folder, name="orders__resync", schema=NEW, _sink=live.sink)
    seeds = {SOURCE: SourceMark({"shop": ConnectorMark((9, 9), 7, (1,))}, epochs=epochs, partitions=4).anew(0)}
    beside.sink.commit(beside.table(), [], Commit(beside.job, (Account("orders", 0, 0, 0),), seeds=seeds))
    assert beside.ledger.marks == {SOURCE: SourceMark(epochs=epochs)}


def test_a_place_of_the_source_is_never_forgotten():
    place = ConnectorMark((9, 9), 7, (1,))
    later = SourceMark({"a": place._replace(highest=(10, 0), time=8, servers=(2,)), "b": place})
    joined = place._replace(highest=(10, 0), time=8, servers=(1, 2))
    assert SourceMark({"a": place}).raised(later) == SourceMark({"a": joined, "b": place})
    assert SourceMark({"a": place}, epoch=1).raised(later) == SourceMark({"a": place}, epoch=1)


class Killed(BaseException):
    """The process dies here."""


def killed_at(call, work) -> bool:
    """Do the work, but die at the given call of a function of the targets; whether it died."""
    left = call

    def trace(frame, event, _):
        nonlocal left
        if event == "call" and "/sinks/" in frame.f_code.co_filename:
            left -= 1
            if left == 0:
                sys.settrace(None)
                raise Killed

    sys.settrace(trace)
    try:
        work()
    except Killed:
        return True
    finally:
        sys.settrace(None)
    return False


def test_a_kill_at_each_step_leaves_the_one_or_the_other(live):
    """Between two kills the live table takes a change that the tombstones of the other one would refuse."""
    beside, before, call, swaps = build(live), live.rows(), 1, 0
    while killed_at(call, lambda: live.sink.swap(wanted(beside))):
        live.reopen()
        beside._sink = live.sink
        if not beside.next or live.next == 10:
            break
        assert (live.rows(), live.next) == (before, 5)
        live.commit([live.stage(upsert(100 + 2 * swaps, id=6, v="q"))], Account("orders", 0, -1, -1, read=1))
        assert (6, "q", None) in live.rows()
        live.commit([live.stage(delete(101 + 2 * swaps, id=6))], Account("orders", 0, -1, -1, read=1))
        call += 1 + call // 4
        swaps += 1
    live.sink.drop(beside.name)
    live.reopen()
    live.schema = NEW
    assert (live.rows(), live.next, live.sink.tables()) == (BUILT, 10, ("orders",))
    assert live.apply(upsert(999, id=6, v=1), upsert(40, id=7, v=7)) == (1, 1)
    assert swaps > 5
