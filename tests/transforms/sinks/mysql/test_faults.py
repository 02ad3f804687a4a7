"""MySQL with many writers, processes that die in the middle of a growth, and connections that are lost."""

import threading

import pyarrow as pa
import pytest
from support import mysql_target
from support.concurrent_commits import Meddling
from support.mysql_target import sql
from support.targets import Target, delete, delta, upsert

from millrace.schemas.errors import IncompatibleSchemaError, SinkError, TableError, TransientSinkError
from millrace.schemas.model.ledger import Account, TopicPartition
from millrace.transforms.sinks.mysql import catalog, evolve, staging
from millrace.transforms.sinks.mysql.client import Session
from millrace.transforms.sinks.shared.drift import inspect
from millrace.transforms.sinks.shared.renames import rename_columns


class Killed(BaseException):
    """The process dies here."""


@pytest.fixture
def target(tmp_path):
    found = Target("mysql", tmp_path)
    yield found
    found.close()


def die_at(patch, number):
    """Die before the statement of this number that changes a table's columns or what is known of them; those before."""
    sent, real = [], Session.run

    def run(self, query, parameters=None):
        if query.startswith(("ALTER", "CREATE TABLE IF", "UPDATE")):
            if len(sent) == number:
                # A killed process says no more to its server.
                self.con._force_close()
                raise Killed
            sent.append(query)
        return real(self, query, parameters)

    patch.setattr(Session, "run", run)
    return sent


OLD = pa.schema([("id", pa.timestamp("s")), ("n", pa.int32()), ("d", pa.duration("s")), ("day", pa.date32())])
NEW = pa.schema(
    [("id", pa.timestamp("ns")), ("n", pa.int64()), ("d", pa.duration("us")), ("day", pa.timestamp("us")),
     ("more", pa.string())]
)  # fmt: skip
FAR = 4_000_000
"""A day after year 9999: it has a companion."""


def grown(target, number):
    """A table that grows in a process that dies before the statement of this number: whether it died, what it did."""
    target.schema, target.name = OLD, f"t{number}"
    target.apply(upsert(1, id=1, n=1, d=5, day=3), delete(1, id=2), upsert(1, id=3, d=6))
    rows = delta(OLD, [upsert(1, id=4, n=4, d=7)])
    rows = rows.set_column(OLD.get_field_index("day"), "day", pa.array([FAR], pa.int32()).view(pa.date32()))
    target.commit([target.sink.stage(target.table(), rows)])
    with pytest.MonkeyPatch.context() as patch:
        sent = die_at(patch, number)
        try:
            target.apply(upsert(2, id=5_000 * 10**9 + 1, n=2**40, d=1, more="x"), schema=NEW)
        except Killed:
            died = True
        else:
            died = False
    target.reopen()
    return died, sent


def numbers(target):
    found = target.read()
    units = {"s": 1, "us": 1_000_000, "ns": 1_000_000_000}

    def seconds(name):
        column = found[name].combine_chunks()
        kind = column.type
        if pa.types.is_date32(kind):
            return [None if day is None else day * 86_400 for day in column.view(pa.int32()).to_pylist()]
        return [None if one is None else one / units[kind.unit] for one in column.view(pa.int64()).to_pylist()]

    return sorted(zip(seconds("id"), found["n"].to_pylist(), seconds("d"), seconds("day"), strict=True))


@pytest.mark.timeout(600)
def test_a_growth_that_dies_at_any_of_its_statements_loses_nothing(target):
    """Whatever was done of it, readers see all rows as they were, and the next commit goes on."""
    number, died = 0, True
    before = [(1, 1, 5, 3 * 86_400), (3, None, 6, None), (4, 4, 7, FAR * 86_400)]
    while died:
        died, sent = grown(target, number)
        table = inspect(target.sink, target.name).table
        assert inspect(target.sink, target.name).drift == (), sent
        assert table.columns in (OLD, NEW)
        rows = [row for row in numbers(target) if row[0] < 1_000]
        assert rows == before, sent
        assert target.apply(upsert(1, id=2_000_000_000, n=5), upsert(1, id=9_000 * 10**9, n=9), schema=NEW) == (1, 1)
        assert target.read().schema == NEW
        assert [row for row in numbers(target) if row[0] < 1_000] == before, sent
        number += 1
    assert number > 10


@pytest.mark.timeout(300)
def test_a_table_that_dies_while_it_is_made_is_made_by_the_next(target):
    number, died = 0, True
    while died:
        target.name, died = f"t{number}", False
        with pytest.MonkeyPatch.context() as patch:
            die_at(patch, number)
            try:
                target.apply(upsert(1, id=1, v="a"))
            except Killed:
                died = True
        target.reopen()
        if died:
            assert target.next is None
            assert target.apply(upsert(1, id=1, v="a"), delete(1, id=2)) == (2, 0)
        assert target.rows() == [(1, "a")]
        number += 1
    assert number > 5


def test_a_growth_that_fails_for_a_value_leaves_the_table_as_it_was(target):
    narrow, wide = (pa.schema([("id", pa.int64()), ("v", pa.timestamp(unit))]) for unit in ("s", "ns"))
    target.apply(upsert(1, id=1, v=2**34), schema=narrow)
    with pytest.raises(IncompatibleSchemaError, match="does not fit the wider type"):
        target.apply(upsert(1, id=2, v=1), schema=wide)
    assert sql(target, "SELECT growing FROM _millrace_tables WHERE columns IS NOT NULL") == [(None,)]
    assert inspect(target.sink, "orders").drift == ()
    assert target.apply(upsert(1, id=2, v=1), schema=narrow) == (1, 0)


def test_a_rename_that_dies_before_or_after_its_statement_is_finished(target):
    for number in range(3):
        target.name = f"t{number}"
        target.apply(upsert(1, id=1, v="a"))
        with pytest.MonkeyPatch.context() as patch:
            die_at(patch, number)
            with pytest.raises(Killed):
                rename_columns(target.sink, target.name, [("v", "w")])
        target.reopen()
        assert target.rows() == [(1, "a")]
        rename_columns(target.sink, target.name, [("v", "w")])
        assert target.read().column_names == ["id", "w"]


@pytest.mark.parametrize("locks", [True, False], ids=["with locks", "without, as on two nodes"])
def test_a_commit_decides_on_top_of_one_that_came_between(target, locks, monkeypatch):
    target.apply(upsert(1, id=1, v="a"))
    if not locks:
        monkeypatch.setattr(catalog, "_lock", lambda *_: None)
    other = Target("mysql", target.folder, job="other", topic="elsewhere")
    theirs = [other.stage(upsert(5, id=1, v="other"), upsert(2, id=2, v="other"))]
    done = []
    thread = threading.Thread(target=lambda: done.append(other.commit(theirs, Account("elsewhere", 0, 0, 2, read=2))))
    mine = [target.stage(upsert(4, id=1, v="mine"), upsert(4, id=2, v="mine"))]
    commit = Meddling(target.job, (Account("orders", 0, 1, 3, read=2),), meddle=[thread.start])
    (settled,) = target.sink.commit(target.table(), mine, commit)
    thread.join(60)
    assert (settled.applied, done[0].applied, done[0].superseded) == (2, 1, 1)
    assert target.rows() == [(1, "other"), (2, "mine")]
    assert (target.next, other.next) == (3, 2)
    other.close()


def test_a_commit_that_came_between_ledger_and_rows_is_noticed(target, monkeypatch):
    """Without the lock by name, as on two nodes of a cluster: what the other one wrote to the ledger is not lost."""
    target.apply(upsert(1, id=1, v="a"))
    monkeypatch.setattr(catalog, "_lock", lambda *_: None)
    other, real = Target("mysql", target.folder), staging.find
    theirs, waiting = other.stage(upsert(5, id=2, v="other")), [other]

    def find(*more):
        if waiting:
            waiting.pop().commit([theirs], Account("orders", 1, 0, 7, read=1))
        return real(*more)

    staged = target.stage(upsert(4, id=1, v="mine"))
    monkeypatch.setattr(staging, "find", find)
    assert target.commit([staged]).applied == 1
    assert target.rows() == [(1, "mine"), (2, "other")]
    places = [TopicPartition("orders", number) for number in (0, 1)]
    assert target.sink.ledger("shop", "orders", places).next == {places[0]: 2, places[1]: 7}
    other.close()


@pytest.mark.timeout(300)
def test_writers_of_one_new_table_agree_on_it(target):
    others = [Target("mysql", target.folder, job=f"job{number}") for number in range(3)]
    failures, barrier = [], threading.Barrier(3)
    for other in others:
        assert other.sink.tables() == ()

    def fill(number, other):
        try:
            schema = pa.schema([("id", pa.int64()), ("v", pa.string()), (f"own{number}", pa.int32())])
            barrier.wait(60)
            for at in range(4):
                other.apply(*(upsert(3 * at + number, id=key, v=f"{at}-{number}") for key in range(50)), schema=schema)
        except (SinkError, TableError, AssertionError) as error:
            failures.append(error)

    threads = [threading.Thread(target=fill, args=one) for one in enumerate(others)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert not failures
    assert {(row["id"], row["v"]) for row in target.read(["id", "v"]).to_pylist()} == {
        (key, "3-2") for key in range(50)
    }
    assert set(target.read().column_names) == {"id", "v", "own0", "own1", "own2"}
    for other in others:
        other.close()


def kill_all(target):
    """As a server does that is restarted: every connection of the writer ends."""
    on = mysql_target.server()
    for (number,) in on.sql("SELECT id FROM information_schema.processlist WHERE user = %s", [mysql_target.WRITER]):
        on.sql(f"KILL {number}")


def test_a_connection_that_was_lost_is_made_anew(target):
    target.apply(upsert(1, id=1, v="a"))
    staged = [target.stage(upsert(2, id=1, v="b"))]
    kill_all(target)
    assert target.commit(staged).applied == 1
    staged = [target.stage(upsert(3, id=1, v="c"))]
    commit = Meddling(target.job, (Account("orders", 0, 2, 3, read=1),), meddle=[lambda: kill_all(target)])
    with pytest.raises(TransientSinkError):
        target.sink.commit(target.table(), staged, commit)
    assert (target.rows(), target.next) == ([(1, "b")], 2)
    assert target.commit(staged).applied == 1
    assert (target.rows(), target.next) == ([(1, "c")], 3)


def test_a_deadlock_and_a_lock_that_takes_too_long_may_be_tried_again(target):
    target.apply(upsert(1, id=1, v="a"))
    with mysql_target.server().connect(database=mysql_target.database_of(target.folder), autocommit=False) as other:
        with other.cursor() as cursor:
            cursor.execute("SELECT * FROM orders WHERE id = 1 FOR UPDATE")
        staged = [target.stage(upsert(2, id=1, v="b"))]
        target.sink._open.run("SET innodb_lock_wait_timeout = 1")
        with pytest.raises(TransientSinkError, match="Lock wait timeout exceeded"):
            target.commit(staged)
    assert (target.rows(), target.next) == ([(1, "a")], 1)
    assert target.commit(staged).applied == 1


def test_a_reader_keeps_what_it_saw_while_others_commit(target):
    target.apply(upsert(1, id=1, v="a"))
    other = Target("mysql", target.folder)
    with target.sink.snapshot("orders") as seen:
        other.apply(upsert(2, id=1, v="b"), upsert(2, id=2, v="b"))
        assert [batch.to_pylist() for batch in seen.scan(None)] == [[{"id": 1, "v": "a"}]]
        assert list(seen.ledger("shop", [target.account(0).source]).next.values()) == [1]
    assert len(target.rows()) == 2
    other.close()


def test_what_a_growth_needs_of_arrow_is_known():
    assert evolve._needs_arrow(pa.duration("s"), pa.duration("ms"), None)
    assert evolve._needs_arrow(pa.date32(), pa.timestamp("us"), "_millrace_beyond_1")
    assert not evolve._needs_arrow(pa.float32(), pa.float64(), "_millrace_beyond_1")
    assert not evolve._needs_arrow(pa.int32(), pa.decimal128(20, 0), None)
