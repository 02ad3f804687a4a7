"""What is DuckDB's own: its file, its limits, and what people do to its tables."""

import os
import subprocess
import sys
import textwrap
import threading

import duckdb
import pyarrow as pa
import pytest
from support.targets import Target, delete, upsert

from millrace.schemas.errors import JobError, SinkError, TableError, TerminalSinkError, TransientSinkError
from millrace.schemas.model.ledger import Account
from millrace.transforms.sinks import open_sink
from millrace.transforms.sinks.duckdb.file import DuckDBFile


@pytest.fixture
def target(tmp_path):
    found = Target("duckdb", tmp_path)
    yield found
    found.close()


def sql(target, query):
    """What another program does to the file while Millrace does not run."""
    target.reopen()
    with duckdb.connect(str(target.folder / "warehouse.duckdb")) as con:
        return con.execute(query).fetchall()


def test_a_file_that_another_process_has_open(target):
    target.apply(upsert(1, id=1, v="a"))
    target.reopen()
    script = "import duckdb, sys; con = duckdb.connect(sys.argv[1]); print('open', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", script, str(target.folder / "warehouse.duckdb")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"open\n"
        with pytest.raises(TransientSinkError, match=r"warehouse.duckdb: another process has the file open"):
            target.apply(upsert(2, id=1, v="b"))
        other.stdin.close()
    assert target.apply(upsert(2, id=1, v="b")) == (1, 0)


def test_a_file_that_is_no_database(target):
    (target.folder / "warehouse.duckdb").write_bytes(b"id,v\n1,a\n" * 1000)
    with pytest.raises(TerminalSinkError, match=r"this is not a DuckDB file; correct target.path"):
        target.apply(upsert(1, id=1, v="a"))


@pytest.mark.parametrize("path", ["", ":memory:"])
def test_a_path_that_is_no_file(path):
    with pytest.raises(JobError, match=r"target.path: .* is not a file"):
        open_sink("duckdb", {"path": path})


@pytest.mark.parametrize(
    ("retention", "wrong"), [("7", "has no unit"), *((text, "is not a duration") for text in ("a week", "-1d", ""))]
)
def test_a_retention_that_is_no_time(tmp_path, retention, wrong):
    with pytest.raises(JobError, match=f"^target.tombstone_retention: '{retention}' {wrong}; write"):
        open_sink("duckdb", {"path": str(tmp_path / "w.duckdb"), "tombstone_retention": retention})


@pytest.mark.parametrize("made", ["CREATE TABLE Orders (id INT)", "CREATE VIEW ORDERS AS SELECT 1 AS id"])
def test_a_table_that_millrace_did_not_make_is_left_alone(target, made):
    sql(target, made)
    with pytest.raises(TerminalSinkError, match=r"has a table '(Orders|ORDERS)' that Millrace did not make"):
        target.apply(upsert(1, id=1, v="a"))
    assert sql(target, "SELECT column_name FROM duckdb_columns() WHERE lower(table_name) = 'orders'") == [("id",)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("DROP TABLE orders", "the table 'orders' was dropped, but its ledger stands"),
        ("ALTER TABLE orders ADD COLUMN mine INT", "the column 'mine' of table 'orders' is not Millrace's"),
        ("ALTER TABLE orders DROP COLUMN v", "the column 'v' of table 'orders' is gone"),
    ],
)
def test_a_table_that_was_changed_by_others_stops(target, change, message):
    target.apply(upsert(1, id=1, v="a"))
    sql(target, change)
    with pytest.raises((TableError, TerminalSinkError), match=message):
        target.apply(upsert(2, id=2, v="b"))


def test_views_and_tables_beside_it_are_left_alone(target):
    sql(target, "CREATE TABLE mine AS SELECT 1 AS x")
    target.apply(upsert(1, id=1, v="a"))
    sql(target, "CREATE VIEW shown AS SELECT v FROM orders")
    target.apply(upsert(2, id=1, v="b"))
    assert sql(target, "FROM shown") == [("b",)]
    assert target.sink.tables() == ("orders",)


def test_the_tables_have_the_types_of_the_mapping(target):
    kinds = {"a": pa.uint16(), "b": pa.timestamp("ms", "UTC"), "c": pa.decimal256(50, 2), "d": pa.duration("s")}
    kinds |= {"e": pa.time32("s"), "f": pa.binary(4), "g": pa.list_(pa.struct([("x", pa.int8())])), "h": pa.null()}
    target.apply(upsert(1, id=1), schema=pa.schema([("id", pa.int64()), *kinds.items()]))
    found = dict(sql(target, "SELECT column_name, data_type FROM duckdb_columns() WHERE table_name = 'orders'"))
    assert list(found.values()) == [
        *("BIGINT", "USMALLINT", "TIMESTAMP WITH TIME ZONE", "VARCHAR", "BIGINT", "TIME", "BLOB"),
        *("STRUCT(x TINYINT)[]", "INTEGER", "BLOB"),
    ]


def test_the_ledger_table_sums_the_accounts(target):
    target.commit([target.stage(upsert(5, id=1, v="a"))], Account("orders", 0, 0, 5, read=4, filtered=2, dead=1))
    target.commit([target.stage(upsert(4, id=1, v="late"))], Account("orders", 0, 5, 6, read=1))
    target.commit([], Account("orders", 0, 0, 6, read=6, superseded=6))
    columns = "next, first, stop, read, applied, superseded, filtered, dead"
    assert sql(target, f"SELECT {columns} FROM _millrace_ledger") == [(6, 5, 6, 5, 1, 1, 2, 1)]


FULL_DISK = """
    import resource, signal, sys
    from pathlib import Path
    from support.targets import Target, upsert
    from millrace.schemas.errors import TerminalSinkError

    target = Target("duckdb", Path(sys.argv[1]))
    target.apply(upsert(1, id=1, v="a"))
    staged = [target.stage(*(upsert(2, id=n, v=f"{n * 7919:x}" * 20) for n in range(50_000)))]
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, resource.RLIM_INFINITY))
    try:
        target.commit(staged)
    except TerminalSinkError as error:
        print("refused", error)
"""


def test_a_full_disk_commits_nothing(target):
    command = [sys.executable, "-c", textwrap.dedent(FULL_DISK), str(target.folder)]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=60)
    assert "refused" in done.stdout, done.stderr
    assert "nothing was committed" in done.stdout
    assert (target.rows(), target.next) == ([(1, "a")], 1)
    assert target.apply(upsert(2, id=1, v="b")) == (1, 0)


def test_the_file_does_not_grow_with_the_number_of_commits(target):
    sizes = []
    for number in range(30):
        target.apply(*(upsert(number, id=n, v=f"{n * 7919 + number:x}" * 4) for n in range(20_000)))
        target.reopen()
        sizes.append((target.folder / "warehouse.duckdb").stat().st_size)
    assert max(sizes[15:]) <= 1.5 * max(sizes[:15])


def test_nothing_is_left_in_the_staging_folder(target):
    staged = [target.stage(upsert(1, id=1, v="a")), target.stage(upsert(1, id=2, v="a"))]
    target.commit(staged[:1])
    target.close()
    assert [path.name for path in target.folder.iterdir()] == ["warehouse.duckdb"]


def test_sinks_of_one_process_share_the_file(target):
    others = [Target("duckdb", target.folder, name=f"t{number}") for number in range(4)]
    failures: list[Exception] = []

    def fill(other: Target) -> None:
        try:
            for number in range(10):
                retried(lambda number=number: other.apply(upsert(number, id=1, v=str(number)), delete(number, id=2)))
        except (SinkError, AssertionError) as error:
            failures.append(error)

    threads = [threading.Thread(target=fill, args=[other]) for other in others]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert [other.rows() for other in others] == [[(1, "9")]] * 4
    for other in others:
        other.close()


def retried(call):
    """As the job does: a transient error is worth another try."""
    for _ in range(200):
        try:
            return call()
        except TransientSinkError:
            continue
    raise AssertionError("still refused")


def test_an_error_among_the_rows_of_a_snapshot_keeps_its_own_words(target):
    target.apply(*[upsert(n, id=n, v="a") for n in range(200_000)])
    with pytest.raises(ValueError, match="what really happened"), target.sink.snapshot(target.table().name) as held:
        rows = held.scan(None)
        next(rows)
        raise ValueError("what really happened")
    assert target.apply(upsert(300_000, id=1, v="b")) == (1, 0)


def test_connections_that_are_made_at_the_same_moment_all_read_arrow(tmp_path):
    for number in range(20):
        together, failures = threading.Barrier(6), []

        def read(place: str, together=together, failures=failures) -> None:
            file, rows = DuckDBFile(place, 64 << 20), pa.table({"a": [1]})
            together.wait()
            try:
                assert file._connect().execute("FROM rows").fetchall() == [(1,)] and rows.num_rows
            except duckdb.Error as error:
                failures.append(error)
            file.close()

        threads = [threading.Thread(target=read, args=[str(tmp_path / f"{number}.duckdb")]) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures
