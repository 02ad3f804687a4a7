"""What every target promises about offsets and accounts, and about crashes between its steps."""

import pyarrow as pa
import pytest
from support.targets import Target, delete, position, upsert

from millrace.schemas.errors import AccountingError, LedgerGapError, NewSourceError, TableError
from millrace.schemas.model.connector_mark import ConnectorMark
from millrace.schemas.model.ledger import Account, Commit, Ledger, TopicPartition
from millrace.schemas.model.source_mark import Climb, SourceMark
from millrace.transforms.sinks.shared.guarantees import Promise

ORDERS = TopicPartition("orders", 0)


def test_there_is_no_ledger_before_the_first_commit(target):
    assert target.ledger == Ledger()


def test_the_ledger_moves_with_the_rows(target):
    target.apply(upsert(1, id=1, v="a"), upsert(1, id=2, v="b"))
    assert target.next == 2
    target.commit([target.stage(upsert(2, id=1, v="c"))], Account("orders", 0, 2, 40, read=1))
    assert target.next == 40
    target.reopen()
    assert target.next == 40


@pytest.mark.parametrize("rows", [False, True], ids=["no table yet", "a table"])
def test_a_commit_without_rows_moves_the_ledger_only(target, rows):
    if rows:
        target.apply(upsert(1, id=1, v="a"))
    first = target.next or 0
    settled = target.commit([], Account("orders", 0, first, 100, read=90, filtered=60, dead=30))
    assert (settled.filtered, settled.dead) == (60, 30)
    assert target.next == 100
    assert target.sink.tables() == (("orders",) if rows else ())
    target.apply(upsert(2, id=1, v="b"))
    assert target.rows() == [(1, "b")]


def test_a_partition_without_a_block_keeps_its_offset(target):
    target.apply(upsert(1, id=1, v="a"))
    settled = target.commit([target.stage(upsert(2, id=1, v="b"))], Account("orders", 0, -1, -1, read=1))
    assert settled.applied == 1
    assert target.next == 1
    target.commit([target.stage(upsert(3, id=1, v="c"))], Account("items", 3, -1, -1, read=1))
    assert target.sink.ledger("shop", "orders", [TopicPartition("items", 3)]).next == {}


def test_an_account_that_does_not_add_up_commits_nothing(target):
    target.apply(upsert(1, id=1, v="a"))
    staged = target.stage(upsert(2, id=1, v="b"), delete(2, id=2))
    with pytest.raises(AccountingError, match=r"orders\[0\] offsets 1 to 4: read 3"):
        target.commit([staged], Account("orders", 0, 1, 4, read=3))
    assert (target.rows(), target.next) == ([(1, "a")], 1)
    target.commit([staged], Account("orders", 0, 1, 3, read=2))
    assert (target.rows(), target.next) == ([(1, "b")], 3)
    assert target.apply(upsert(1, id=2, v="late")) == (0, 1)


def test_a_gap_in_the_ledger_is_refused(target):
    target.apply(upsert(1, id=1, v="a"))
    with pytest.raises(LedgerGapError, match=r"orders\[0\] stands at 1, but the commit begins at 3"):
        target.commit([target.stage(upsert(2, id=1, v="b"))], Account("orders", 0, 3, 4, read=1))
    with pytest.raises(LedgerGapError):
        target.commit([], Account("orders", 0, 3, 4))
    assert (target.rows(), target.next) == ([(1, "a")], 1)


def test_a_range_that_is_covered_already_leaves_the_ledger(target):
    target.commit([target.stage(upsert(5, id=1, v="a"))], Account("orders", 0, 0, 10, read=1))
    target.commit([target.stage(upsert(4, id=1, v="late"))], Account("orders", 0, 2, 6, read=1))
    assert (target.rows(), target.next) == ([(1, "a")], 10)
    target.commit([target.stage(upsert(6, id=1, v="b"))], Account("orders", 0, 6, 12, read=1))
    assert (target.rows(), target.next) == ([(1, "b")], 12)


def test_a_snapshot_is_of_one_moment_whatever_is_committed_meanwhile(target, tmp_path):
    with target.sink.snapshot("orders") as empty:
        assert (empty.there, empty.ledger("shop", [ORDERS])) == (False, Ledger())
        with pytest.raises(TableError, match="orders"):
            list(empty.scan(None))
    target.apply(upsert(1, id=1, v="a"), upsert(1, id=2, v="b"), upsert(1, id=3, v="c"))
    other = Target(target.kind, tmp_path, target.options)
    with target.sink.snapshot("orders") as table:
        other.apply(upsert(2, id=1, v="z"), delete(2, id=2), upsert(2, id=4, v="d"))
        other.apply(upsert(3, id=5, v="e"))
        seen = [pa.Table.from_batches(table.scan(names)).to_pylist() for names in (["id", "v"], ["id"])]
        ledger = table.ledger("shop", [ORDERS])
    other.close()
    after = Promise.ATOMIC in target.exceptions
    rows = {1: "z", 3: "c", 4: "d", 5: "e"} if after else {1: "a", 2: "b", 3: "c"}
    assert {row["id"]: row["v"] for row in seen[0]} == rows
    assert {row["id"] for row in seen[1]} == rows.keys()
    assert ledger.next == {ORDERS: 7 if after else 3}
    target.reopen()
    assert target.rows() == [(1, "z"), (3, "c"), (4, "d"), (5, "e")]


def test_a_crash_between_stage_and_commit_loses_and_doubles_nothing(target):
    target.apply(upsert(1, id=1, v="a"))
    target.stage(upsert(2, id=1, v="b"))
    crashed = Target(target.kind, target.folder)
    crashed.stage(upsert(2, id=1, v="b"))
    target.reopen()
    assert (target.rows(), target.next) == ([(1, "a")], 1)
    assert target.apply(upsert(2, id=1, v="b")) == (1, 0)
    assert (target.rows(), target.next) == ([(1, "b")], 2)


def test_a_commit_whose_answer_was_lost_can_be_repeated(target):
    staged = [target.stage(upsert(2, id=1, v="b"), delete(2, id=2)), target.stage(upsert(2, id=3, v="c"))]
    account = Account("orders", 0, 0, 3, read=3)
    assert target.commit(staged, account, truncate=position(1)).applied == 3
    again = target.commit(staged, account, truncate=position(1))
    assert again.applied + again.superseded == 3
    assert (target.rows(), target.next) == ([(1, "b"), (3, "c")], 3)


def test_two_jobs_keep_their_own_offsets_in_one_table(target):
    west = Target(target.kind, target.folder, job="west", _sink=target.sink)
    target.apply(upsert(1, id=1, v="a"), upsert(1, id=2, v="b"))
    assert west.next is None
    west.commit([west.stage(upsert(5, id=9, v="w"))], Account("orders", 0, 70, 71, read=1))
    assert (target.next, west.next) == (2, 71)
    assert target.rows() == [(1, "a"), (2, "b"), (9, "w")]


def test_partitions_are_asked_for_by_name(target):
    odd = "a/b \"c\" 'd' 😀"
    accounts = (Account("orders", 1, 0, 7), Account(odd, 0, 5, 9), Account("orders", 0, -1, -1))
    target.sink.commit(target.table(), [], Commit('job "x"/1', accounts))
    asked = [TopicPartition("orders", 1), TopicPartition(odd, 0), TopicPartition("orders", 0), TopicPartition("x", 1)]
    assert target.sink.ledger('job "x"/1', "orders", asked).next == {asked[0]: 7, asked[1]: 9}
    assert target.sink.ledger('job "x"/1', "orders", asked[:1]).next == {asked[0]: 7}


def test_tombstones_are_forgotten_after_the_retention(target):
    kept = Promise.RETENTION in target.exceptions
    target.options = {} if kept else {"tombstone_retention": "0s"}
    target.apply(upsert(1, id=1, v="a"))
    target.apply(delete(9, id=1))
    target.apply(delete(9, id=2))
    target.apply(upsert(5, id=1, v="late, after the retention"))
    assert target.rows() == ([] if kept else [(1, "late, after the retention")])


def test_the_ids_of_topics_are_kept_with_the_offsets(target):
    account = Account("orders", 0, 0, 5)
    for topic_ids in ({"orders": 7}, {}, {"orders": 1 << 59}):
        target.sink.commit(target.table(), [], Commit(target.job, (account,), topic_ids=topic_ids))
    ledger = target.sink.ledger(target.job, "orders", [TopicPartition("orders", 0)])
    assert ledger.topic_ids == {"orders": 1 << 59}


def test_the_ledger_knows_a_repeated_range_from_a_new_source(target):
    source = TopicPartition(target.topic, 0)
    sent = Climb("shop", 0, (5, 1), (7, 2), 1_600_000_000_000, 1_700_000_000_000, 101, (101,))
    other = Climb("Läden", 0, (1, 1), (2, 0), 1_500_000_000_000, 1_500_000_000_000, 7, (7, 8))
    target.apply(upsert(1, id=1, v="a"), marks={source: SourceMark(climbs=(sent, other))})
    shop = ConnectorMark((7, 2), 1_700_000_000_000, (101,))
    kept = SourceMark({"shop": shop, "Läden": ConnectorMark((2, 0), 1_500_000_000_000, (7, 8))})
    target.reopen()
    assert target.ledger.marks == {source: kept}
    repeated = Climb("shop", 1, (5, 1), (6, 0), 1_600_000_000_000, 1_650_000_000_000, 101, (101,))
    more = Climb("Läden", 1, (2, 1), (2, 1), 1_500_000_000_000, 1_500_000_000_000, 7, (7,))
    target.apply(upsert(2, id=2, v="b"), marks={source: SourceMark(climbs=(repeated, more))})
    connectors = {
        "shop": shop._replace(below=1, lowest=(5, 1)),
        "Läden": kept.connectors["Läden"]._replace(highest=(2, 1)),
    }
    assert target.ledger.marks == {source: SourceMark(connectors)}
    rows, ledger = target.rows(), target.ledger
    words = r"orders: orders\[0\] offset 1: changes of a new source begin here\. They are of the connector shop\."
    for climb in (
        Climb("shop", 2, (6, 0), (6, 5), 1_650_000_000_000, 1_700_000_000_001, 101, (101,)),
        Climb("shop", 2, (6, 0), (6, 5), 1_650_000_000_000, 1_650_000_000_000, 7, (7,)),
    ):
        with pytest.raises(NewSourceError, match=words):
            target.apply(upsert(3, id=3, v="c"), marks={source: SourceMark(climbs=(climb,))})
        assert (target.rows(), target.ledger) == (rows, ledger)
    news = Climb("shop", 2, (8, 0), (9, 5), 0, 0, 202, (202,))
    target.apply(upsert(3, id=3, v="c"), marks={source: SourceMark(climbs=(news,))})
    assert target.ledger.marks[source].connectors["shop"] == ConnectorMark((9, 5), 1_700_000_000_000, (101, 202))


def test_a_ledger_goes_back_and_the_guard_refuses_what_the_rows_have(target):
    if Promise.REWINDS in target.exceptions:
        return
    target.apply(upsert(1, id=1, v="a"), upsert(2, id=2, v="b"))
    target.commit([], Account("orders", 0, 0, 0), rewind=True)
    assert (target.next, target.rows()) == (0, [(1, "a"), (2, "b")])
    assert target.apply(upsert(1, id=1, v="x"), upsert(3, id=3, v="c")) == (1, 1)
    assert target.rows()[1:] == [(2, "b"), (3, "c")]
