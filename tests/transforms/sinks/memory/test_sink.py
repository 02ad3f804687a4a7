"""What tables in memory promise beyond the contract: names, sharing, and that nobody sees half a commit."""

from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pyarrow as pa
import pytest
from support.targets import Target, upsert

from millrace.schemas.errors import TableError, TerminalSinkError
from millrace.schemas.model.ledger import Account
from millrace.transforms.sinks import open_sink
from millrace.transforms.sinks.memory.sink import MemorySink


@pytest.fixture
def target(tmp_path):
    found = Target("memory", tmp_path)
    yield found
    found.close()


def test_a_name_that_no_test_has_made_is_refused():
    name = uuid4().hex
    sink = open_sink("memory", {"name": name})
    for use in (sink.tables, lambda: sink.ledger("shop", "orders", []), lambda: list(sink.scan("orders"))):
        with pytest.raises(TerminalSinkError, match=rf"memory '{name}' does not exist in this process: make millrace"):
            use()
    made = MemorySink(name)
    assert sink.tables() == made.tables() == ()


def test_a_test_reads_what_a_job_wrote(target):
    target.apply(upsert(1, id=1, v="a"), upsert(1, id=2, v=None))
    tables = MemorySink(str(target.folder))
    assert tables.read("orders").sort_by("id").to_pylist() == [{"id": 1, "v": "a"}, {"id": 2, "v": None}]
    assert tables.read("orders", ["v"]).column_names == ["v"]
    assert eval(tables.describe("orders"), {"millrace": __import__("millrace")}).equals(tables.read("orders"))
    assert MemorySink(uuid4().hex).tables() == ()


def test_an_empty_table_is_read_with_its_columns(target):
    target.apply(upsert(1, id=1, v="a"), truncate=b"\xff" * 32, truncates={})
    assert MemorySink(str(target.folder)).read("orders").equals(pa.table({"id": [], "v": []}, target.schema))


def test_a_cleared_name_has_no_tables_and_no_ledgers(target):
    target.apply(upsert(1, id=1, v="a"))
    tables = MemorySink(str(target.folder))
    tables.clear()
    assert (target.sink.tables(), target.next) == ((), None)
    with pytest.raises(TableError, match="no table 'orders'"):
        tables.read("orders")
    target.apply(upsert(1, id=1, v="b"))
    assert target.rows() == [(1, "b")]


def test_a_scan_is_not_disturbed_by_commits(target):
    target.apply(upsert(1, id=1, v="a"))
    rows = target.sink.scan("orders")
    first = next(rows)
    target.apply(upsert(2, id=1, v="b"), upsert(2, id=2, v="c"))
    assert [*first.to_pylist(), *(row for batch in rows for row in batch.to_pylist())] == [{"id": 1, "v": "a"}]


def test_commits_of_several_threads_lose_nothing(target):
    def fill(number):
        writer = Target("memory", target.folder, job=f"job{number}")
        for step in range(10):
            staged = writer.stage(upsert(1, id=10 * number + step, v="a"))
            writer.commit([staged], Account("orders", 0, step, step + 1, read=1))
        writer.close()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(fill, range(8)))
    assert [row[0] for row in target.rows()] == sorted(range(80), key=lambda number: repr((number, "a")))
    assert all(Target("memory", target.folder, job=f"job{number}").next == 10 for number in range(8))


def test_staged_rows_do_not_add_up(target):
    for step in range(5):
        target.apply(upsert(step, id=step, v="a"))
    tables = target.sink._tables
    assert len(tables.staged) == 1
    target.close()
    assert not tables.staged
