"""Tables of MySQL and of MariaDB into tables: after each run the target is what SELECT gives at the source."""

import subprocess
import sys
import threading
import time

import duckdb
import pytest
from support.mysql_server import KINDS, server
from support.mysql_source import SourceDatabase

from millrace.pipelines.cli.check import check
from millrace.pipelines.cli.verify import verify_job
from millrace.schemas.errors import JobError, LostOffsetsError, SourceError
from millrace.transforms.proof.report import Outcome, Verdict

COLUMNS = "id, name, price, body"


ON_MARIADB = pytest.mark.parametrize("shop", ["mariadb"], indirect=True)
"""What does not depend on the server is tried on one: it costs time."""


@pytest.fixture(params=sorted(KINDS))
def shop(request, tmp_path):
    found = SourceDatabase(tmp_path, server(request.param))
    found.sql(
        "CREATE TABLE orders (id int PRIMARY KEY, name varchar(40), price decimal(10,2), body text)",
        "INSERT INTO orders WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 900) "
        "SELECT i, concat('n', i), i / 7.0, repeat(sha2(i, 256), 10) FROM n",
    )
    yield found
    found.close()


def assert_equal(shop, table="orders", columns=COLUMNS):
    query = f"SELECT {columns} FROM {table} ORDER BY 1"
    assert shop.rows(query) == shop.sql(query)


def apply(shop, *tables):
    listed = ", ".join(f"{{from: {shop.topic(table)}, on_truncate: apply}}" for table in tables)
    return f"tables: [{listed}]"


def test_copy_and_log_with_all_kinds_of_changes(shop):
    job = shop.job("orders", rest=apply(shop, "orders"))
    summary = shop.run(job)
    assert summary.tables["orders"].error is None
    assert_equal(shop)
    shop.sql("UPDATE orders SET price = 1 WHERE id <= 50", "DELETE FROM orders WHERE id BETWEEN 60 AND 70")
    shop.sql("UPDATE orders SET id = id + 100000 WHERE id BETWEEN 100 AND 110")
    shop.sql("BEGIN", "INSERT INTO orders (id, name) VALUES (-1, 'a'), (-2, NULL)",
             "UPDATE orders SET name = 'b' WHERE id = -1", "DELETE FROM orders WHERE id = -2",
             "INSERT INTO orders (id, name) VALUES (-2, 'c')", "COMMIT")  # fmt: skip
    shop.run(job)
    assert_equal(shop)
    shop.sql("ALTER TABLE orders ADD extra int", "UPDATE orders SET extra = id WHERE id < 10")
    shop.run(job)
    assert_equal(shop, columns=f"{COLUMNS}, extra")
    shop.sql("ALTER TABLE orders DROP extra", "UPDATE orders SET name = 'd' WHERE id < 10")
    shop.run(job)
    assert_equal(shop)
    shop.sql("TRUNCATE orders", "INSERT INTO orders (id, name) VALUES (5, 'after')")
    shop.run(job)
    assert_equal(shop)


def test_writers_that_never_stop(shop):
    """Rows move between chunks of the copy, come and go, while it is read and while the log is."""
    job = shop.job("orders")
    stop = threading.Event()

    def write():
        number = 0
        with shop.server.connect(database=shop.name) as con, con.cursor() as cursor:
            while not stop.is_set():
                number += 1
                cursor.execute(f"UPDATE orders SET name = 'w{number}' WHERE id % 97 = {number % 97}")
                cursor.execute(f"INSERT INTO orders (id, name) VALUES ({10_000 + number}, 'new')")
                cursor.execute(f"UPDATE orders SET id = id + 20000 WHERE id = {number}")
                cursor.execute(f"DELETE FROM orders WHERE id = {10_000 + number // 2}")

    writers = [threading.Thread(target=write) for _ in range(1)]
    for writer in writers:
        writer.start()
    try:
        shop.run(job)
        shop.run(job)
    finally:
        stop.set()
        for writer in writers:
            writer.join()
    shop.run(job)
    assert_equal(shop)
    assert proved(job).outcome is Outcome.EQUAL


def test_chunks_by_every_kind_of_key(shop, monkeypatch):
    """Each chunk begins behind the key of the one before, where keys are texts, bytes, enums or several columns too."""
    monkeypatch.setattr("millrace.transforms.sources.mysql.tables.MOST_ROWS", 7)
    kinds = {
        "numbers": ("a bigint unsigned", "i + 9223372036854775000"),
        "texts": ("a varchar(20) COLLATE utf8mb4_general_ci", "concat(char(97 + i % 26), 'É''\\\\', i)"),
        "raw": ("a varbinary(8)", "unhex(hex(i * 7919))"),
        "decimals": ("a decimal(12,4)", "i / 7"),
        "floats": ("a float", "i / 7"),
        "choices": ("a enum('z','b','a')", "1 + i % 3"),
        "bits": ("a bit(10)", "i"),
        "moments": ("a datetime(3)", "timestampadd(microsecond, i * 1001000, '2024-01-01')"),
    }
    for name, (column, value) in kinds.items():
        shop.sql(
            f"CREATE TABLE {name} ({column}, b int, v int, PRIMARY KEY (a, b))",
            f"INSERT INTO {name} WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60) "
            f"SELECT {value}, i % 5 + 10 * (i DIV 5), i FROM n",
        )
    job = shop.job(*kinds)
    summary = shop.run(job)
    assert {name: table.error for name, table in summary.tables.items()} == dict.fromkeys(kinds)
    for report in verify_job(job):
        assert report.outcome is Outcome.EQUAL and report.counts[Verdict.MATCH] == 60, (report.table, report.error)


def proved(job):
    (report,) = verify_job(job)
    return report


@ON_MARIADB
def test_several_tables_share_the_stream_and_a_key_comes_from_the_job_file(shop):
    shop.sql("CREATE TABLE bare (a int, b int)", "INSERT INTO bare VALUES (1, 2), (2, 3)")
    job = shop.job("orders", "bare", rest=f"tables: [{{from: {shop.topic('bare')}, key: [a]}}]")
    shop.run(job)
    shop.sql("BEGIN", "UPDATE orders SET name = 'x' WHERE id < 5", "DELETE FROM bare WHERE a = 2",
             "UPDATE bare SET a = 9 WHERE a = 1", "COMMIT", "DROP TABLE IF EXISTS elsewhere")  # fmt: skip
    shop.run(job)
    assert_equal(shop)
    assert_equal(shop, "bare", "a, b")
    assert [report.outcome for report in verify_job(job)] == [Outcome.EQUAL] * 2


@ON_MARIADB
@pytest.mark.parametrize("statement", ["TRUNCATE orders", "DROP TABLE orders"])
def test_what_leaves_no_row_stops_the_table_until_the_job_says_what_it_does(shop, statement):
    job = shop.job("orders")
    shop.run(job)
    made = shop.sql("SHOW CREATE TABLE orders")[0][1]
    shop.sql(statement, "CREATE TABLE IF NOT EXISTS" + made.removeprefix("CREATE TABLE"))
    shop.sql("INSERT INTO orders (id, name) VALUES (7, 'after')")
    error = shop.run(job).tables["orders"].error
    assert "on_truncate: apply" in str(error)
    shop.run(shop.job("orders", rest=apply(shop, "orders")))
    assert_equal(shop)


@ON_MARIADB
@pytest.mark.parametrize(
    "statements",
    [
        ("CREATE TABLE next LIKE orders", "RENAME TABLE orders TO before_it, next TO orders"),
        ("SET SESSION binlog_format = 'STATEMENT'", "UPDATE orders SET name = 'unseen' WHERE id = 1"),
    ],
    ids=["renamed", "statement"],
)
def test_what_the_log_does_not_hold_the_rows_of_is_an_error(shop, statements):
    job = shop.job("orders")
    shop.run(job)
    shop.sql(*statements)
    error = shop.run(job).tables["orders"].error
    assert "the log does not say what became of its rows" in str(error) and "for a new copy" in str(error)


def test_a_log_that_was_purged_is_an_error_that_offers_a_new_copy(shop):
    job = shop.job("orders")
    shop.run(job)
    shop.sql("DELETE FROM orders WHERE id = 1", "FLUSH BINARY LOGS", "FLUSH BINARY LOGS")
    last, deadline = shop.sql("SHOW BINARY LOGS")[-1][0], time.monotonic() + 30
    while len(shop.sql("SHOW BINARY LOGS")) > 1 and time.monotonic() < deadline:
        # A file that a reader has open, who has just left, is not purged.
        shop.sql(f"PURGE BINARY LOGS TO '{last}'")
        time.sleep(0.1)
    with pytest.raises(LostOffsetsError, match=r"nothing was skipped\. For a new copy"):
        shop.run(job)
    (shop.folder / "w.duckdb").unlink()
    shop.run(job)
    assert_equal(shop)


@ON_MARIADB
def test_incremental_begins_where_the_first_run_does(shop):
    job = shop.job("orders", more=", sync: incremental")
    shop.run(job)
    shop.sql("INSERT INTO orders (id, name) VALUES (9000, 'new')")
    shop.run(job)
    assert shop.rows("SELECT id, name FROM orders") == [(9000, "new")]


@ON_MARIADB
def test_incremental_may_begin_at_a_place_of_the_log(shop):
    shop.sql("INSERT INTO orders (id, name) VALUES (9000, 'before')")
    file, position, *_ = shop.sql("SHOW MASTER STATUS")[0]
    shop.sql("INSERT INTO orders (id, name) VALUES (9001, 'behind')", "UPDATE orders SET name = 'u' WHERE id = 9000")
    job = shop.job("orders", more=f", sync: incremental, binlog_start: '{file}:{position}'")
    shop.run(job)
    shop.sql("DELETE FROM orders WHERE id = 9001")
    shop.run(job)
    assert shop.rows("SELECT id, name FROM orders") == [(9000, "u")]
    (shop.folder / "w.duckdb").unlink()
    for place in ("binlog.999999:4", f"{file}:{position + 3}"):
        with pytest.raises(LostOffsetsError, match="nothing was skipped"):
            shop.run(shop.job("orders", more=f", sync: incremental, binlog_start: '{place}'"))
    for place, said in (("binlog", "is not FILE:POSITION"), ("b.1:4, sync: full", "begins with a copy")):
        with pytest.raises(JobError, match=said):
            shop.job("orders", more=f", binlog_start: {place}" + ("" if "sync" in place else ", sync: incremental"))


@ON_MARIADB
def test_verify_finds_each_way_in_which_a_target_can_be_wrong(shop):
    job = shop.job("orders")
    shop.run(job)
    shop.sql("UPDATE orders SET price = 1 WHERE id = 50", "DELETE FROM orders WHERE id = 60")
    behind = proved(job)
    assert behind.outcome is Outcome.UNPROVED and behind.ahead == 2
    shop.run(job)
    assert proved(job).outcome is Outcome.EQUAL and proved(job).counts[Verdict.MATCH] == 899
    with duckdb.connect(str(shop.folder / "w.duckdb")) as con:
        con.execute("UPDATE orders SET price = 2.01 WHERE id = 7")
        con.execute("UPDATE orders SET body = NULL WHERE id = 10")
        con.execute("DELETE FROM orders WHERE id = 8")
        con.execute("INSERT INTO orders SELECT * REPLACE (-5 AS id) FROM orders WHERE id = 9")
    after = proved(job)
    assert after.outcome is Outcome.DIFFERENT
    assert (after.counts[Verdict.DIFFERS], after.counts[Verdict.MISSING], after.counts[Verdict.EXTRA]) == (2, 1, 1)


@ON_MARIADB
def test_runs_that_are_killed_lose_and_double_nothing(shop):
    """kill -9 at several moments of the copy and of the log, with changes in between; the last run has it all."""
    shop.sql("INSERT INTO orders SELECT 1000 + a.id * 20 + b.id, 'n', 1, repeat('x', 900) FROM orders a, orders b "
             "WHERE a.id <= 550 AND b.id <= 20")  # fmt: skip
    job = shop.job("orders")
    command = [sys.executable, "-m", "millrace.pipelines", "run", str(job.file), "--once"]
    for number, seconds in enumerate((2.5, 4.0, 5.5)):
        run = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(seconds)
        run.kill()
        run.wait()
        shop.sql(f"UPDATE orders SET name = 'k{number}', id = id + 100000 WHERE id % 97 = {number}")
        shop.sql(f"DELETE FROM orders WHERE id % 89 = {number}")
    shop.run(job)
    assert_equal(shop)
    assert proved(job).outcome is Outcome.EQUAL


def test_rows_that_a_foreign_key_changes_are_in_the_log_or_the_check_says_that_they_are_not(shop):
    shop.sql("CREATE TABLE parents (id int PRIMARY KEY)", "INSERT INTO parents VALUES (1), (2)")
    shop.sql(
        "CREATE TABLE children (id int PRIMARY KEY, parent int, "
        "CONSTRAINT of_parent FOREIGN KEY (parent) REFERENCES parents (id) ON DELETE CASCADE)"
    )
    shop.sql("INSERT INTO children VALUES (1, 1), (2, 2)")
    job = shop.job("children")
    shop.run(job)
    shop.sql("DELETE FROM parents WHERE id = 1")
    shop.run(job)
    said = [finding.fix for finding in check(job) if finding.level == "fail"]
    if proved(job).outcome is Outcome.EQUAL:
        assert said == []
    else:
        assert [fix.partition(", ")[0][-28:] for fix in said] == ["DROP FOREIGN KEY `of_parent`"]


def test_a_check_says_what_is_not_set_with_the_statement(shop):
    assert [finding for finding in check(shop.job("orders")) if finding.level == "fail"] == []
    variable = {"mariadb": "NO_LOG", "mysql": "MINIMAL"}[shop.server.name]
    shop.sql(f"SET GLOBAL binlog_row_metadata = '{variable}'")
    try:
        said = [finding for finding in check(shop.job("orders")) if finding.level == "fail"]
    finally:
        shop.sql("SET GLOBAL binlog_row_metadata = 'FULL'")
    assert [finding.what for finding in said] == ["binlog_row_metadata"]
    assert "binlog_row_metadata = 'FULL'" in said[0].fix


@ON_MARIADB
def test_a_table_that_is_not_there_is_named(shop):
    with pytest.raises(SourceError, match=r"did you mean '.*\.orders'"):
        shop.run(shop.job("ordes"))
