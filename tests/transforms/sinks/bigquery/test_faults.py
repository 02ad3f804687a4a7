"""BigQuery with requests that fail, answers that are lost and other writers: nothing is lost, doubled or taken back."""

import pyarrow as pa
import pytest
from support.targets import Target, bigquery_dataset, bigquery_tables, delete, upsert

from millrace.schemas.errors import TerminalSinkError, TransientSinkError
from millrace.schemas.model.ledger import Account
from millrace.transforms.sinks import open_sink
from millrace.transforms.sinks.bigquery import client


@pytest.fixture
def target(tmp_path, bigquery):
    found = Target("bigquery", tmp_path)
    yield found
    found.close()


def held(target):
    """By key, deletes too: what the server has."""
    rows = bigquery_tables(target.folder)[target.name].rows
    return {key: (row.sequence, row.deleted, row.values) for key, row in rows.items()}


def test_a_crash_between_the_rows_and_the_ledger_repeats_and_changes_nothing(target, bigquery):
    target.apply(upsert(1, id=1, v="a", w=None))
    changes = [upsert(5, ["v"], id=1), upsert(5, id=2, v="new"), delete(5, id=3)]
    bigquery.fail("append", None, "UNAVAILABLE")
    with pytest.raises(TransientSinkError, match="busy"):
        target.apply(*changes)
    assert (target.rows(), target.next) == ([(1, "a"), (2, "new")], 1)
    before = held(target)
    target.reopen()
    assert target.apply(*changes) == (3, 0)
    assert held(target) == before
    assert target.next == 4


def test_the_ledger_is_never_written_before_the_rows(target, bigquery):
    seen = []
    bigquery.fail("append", lambda: seen.append(target.next), lambda: seen.append(len(held(target))))
    target.apply(upsert(1, id=1, v="a"), upsert(1, id=2, v="b"))
    assert seen == [None, 2]
    bigquery.fail("append", lambda: seen.append(target.next), lambda: seen.append("ledger"))
    target.apply(upsert(2, id=1, v="c"))
    assert seen[2:] == [2, "ledger"]


def test_a_writer_that_was_thought_dead_does_not_take_the_ledger_back(target, bigquery):
    target.apply(upsert(1, id=1, v="a"))
    alive = Target("bigquery", target.folder)

    def overtaken() -> None:
        alive.commit([alive.stage(upsert(9, id=1, v="alive"))], Account("orders", 0, 1, 40, read=1))

    bigquery.fail("append", overtaken)
    target.commit([target.stage(upsert(5, id=1, v="dead"))], Account("orders", 0, 1, 6, read=1))
    alive.close()
    assert (target.rows(), target.next) == ([(1, "alive")], 40)


def test_rows_whose_answer_was_lost_are_there_once(target, bigquery):
    bigquery.fail("append", None, "lost")
    staged = target.stage(upsert(2, id=1, v="b"), delete(2, id=2))
    with pytest.raises(TransientSinkError, match="connection broke"):
        target.commit([staged])
    assert target.next is None
    assert target.commit([staged]).applied == 2
    assert (target.rows(), target.next) == ([(1, "b")], 2)


@pytest.mark.parametrize(
    "fault", ["UNAVAILABLE", "ABORTED", "RESOURCE_EXHAUSTED", "INTERNAL", "DEADLINE_EXCEEDED", "CANCELLED", "closed"]
)
@pytest.mark.parametrize("place", [0, 1, 2], ids=["catalog", "rows", "ledger"])
def test_a_fault_that_passes_is_worth_another_try(target, bigquery, fault, place):
    bigquery.fail("append", *[None] * place, fault)
    with pytest.raises(TransientSinkError, match=rf"BigQuery tests\.{bigquery_dataset(target.folder)}"):
        target.apply(upsert(1, id=1, v="a"))
    assert target.next is None
    assert target.apply(upsert(1, id=1, v="a")) == (1, 0)
    assert (target.rows(), target.next) == ([(1, "a")], 1)


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("INVALID_ARGUMENT", "it refuses"),
        ("PERMISSION_DENIED", "permission is missing: the account needs roles/bigquery.dataEditor"),
        ("row", "row 0 of a request was refused: put in by a test"),
    ],
)
def test_a_fault_that_stays_is_told_in_one_sentence(target, bigquery, fault, told):
    target.apply(upsert(1, id=1, v="a"))
    bigquery.fail("append", fault)
    with pytest.raises(TerminalSinkError, match=told) as caught:
        target.apply(upsert(2, id=1, v="b"))
    assert "\n" not in str(caught.value)
    assert (target.rows(), target.next) == ([(1, "a")], 1)


@pytest.mark.parametrize("where", ["insert", "get", "patch", "query", "answer"])
@pytest.mark.parametrize("fault", ["UNAVAILABLE", "RESOURCE_EXHAUSTED"])
def test_rest_is_asked_again(target, bigquery, where, fault):
    target.apply(upsert(1, id=1, v="a"))
    target.name = "items" if where == "insert" else target.name
    wide = pa.schema([*target.schema, ("w", pa.int64())])
    bigquery.fail(where, fault)
    assert target.apply(upsert(2, id=2, v="b", w=1), schema=wide) == (1, 0)
    assert not bigquery.faults[where]


def test_another_writer_that_widened_the_table_first_is_a_transient_error(target, bigquery):
    target.apply(upsert(1, id=1, v="a"))
    wide = pa.schema([*target.schema, ("w", pa.int64())])
    bigquery.fail("patch", "FAILED_PRECONDITION")
    with pytest.raises(TransientSinkError):
        target.apply(upsert(2, id=1, v="b", w=1), schema=wide)
    assert target.apply(upsert(2, id=1, v="b", w=1), schema=wide) == (1, 0)


def test_reading_goes_on_where_it_was_broken_off(target, bigquery):
    target.apply(*(upsert(1, id=number, v=str(number)) for number in range(2500)))
    bigquery.fail("session", "UNAVAILABLE")
    assert target.next == 2500
    bigquery.fail("read", None, None, "UNAVAILABLE")
    assert sorted(target.read(["id"])["id"].to_pylist()) == list(range(2500))
    assert not bigquery.faults["read"]


def test_columns_that_the_writing_end_does_not_know_yet_are_waited_for(target, bigquery):
    bigquery.spread = 2
    target.apply(upsert(1, id=1, v="a"))
    wide = pa.schema([*target.schema, ("w", pa.struct([("x", pa.int64())]))])
    target.apply(upsert(2, id=1, v="b", w={"x": 1}), schema=wide)
    wider = pa.schema([*target.schema, ("w", pa.struct([("x", pa.int64()), ("y", pa.string())]))])
    target.apply(upsert(3, id=2, v="c", w={"x": 2, "y": "y"}), schema=wider)
    assert target.rows() == [(1, "b", {"x": 1, "y": None}), (2, "c", {"x": 2, "y": "y"})]


def test_columns_that_stay_unknown_are_a_transient_error(target, bigquery, monkeypatch):
    target.apply(upsert(1, id=1, v="a"))
    monkeypatch.setattr(client, "SPREAD_SECONDS", 0)
    bigquery.fail("append", *["fields"] * 2)
    with pytest.raises(TransientSinkError, match="columns of table orders are not known to it yet"):
        target.apply(upsert(2, id=1, v="b"))
    assert (target.rows(), target.next) == ([(1, "a")], 1)


def test_a_table_that_another_widens_meanwhile_goes_on(target, bigquery):
    target.apply(upsert(1, id=1, v="a"))
    other = Target("bigquery", target.folder, job="other", topic="elsewhere")
    wide = pa.schema([*target.schema, ("w", pa.int64())])
    bigquery.fail("append", lambda: other.apply(upsert(1, id=2, v="o", w=5), schema=wide))
    target.apply(upsert(2, id=1, v="b"))
    other.close()
    assert target.rows() == [(1, "b", None), (2, "o", 5)]


def test_a_column_that_is_taken_away_meanwhile_stops_the_table(target, bigquery):
    target.apply(upsert(1, id=1, v="a"))

    def dropped() -> None:
        table = bigquery_tables(target.folder)["orders"]
        table.columns = tuple(column for column in table.columns if column.name != "v")
        table.version += 1

    bigquery.fail("append", dropped)
    with pytest.raises(TerminalSinkError, match="'v' was taken from the table while rows were written"):
        target.apply(upsert(2, id=1, v="b"))
    assert target.next == 1
    with pytest.raises(TerminalSinkError, match="the column 'v' of table orders is gone"):
        target.apply(upsert(2, id=1, v="b"))


def test_a_table_that_was_made_by_a_commit_that_failed_is_taken_up(target, bigquery):
    bigquery.fail("append", "UNAVAILABLE")
    with pytest.raises(TransientSinkError):
        target.apply(upsert(1, id=1, v="a"))
    assert "orders" in bigquery_tables(target.folder)
    assert target.sink.tables() == ()
    assert target.apply(upsert(1, id=1, v="a")) == (1, 0)


def test_a_server_that_is_away_is_a_transient_error(monkeypatch):
    monkeypatch.setattr(client, "RETRY", client.RETRY.with_timeout(0.3))
    away = {"rest": "http://127.0.0.1:9", "grpc": "127.0.0.1:9"}
    sink = open_sink("bigquery", {"project": "p", "dataset": "d", "emulator": away})
    with pytest.raises(TransientSinkError, match=r"BigQuery p\.d cannot be reached"):
        sink.tables()
    sink.close()
