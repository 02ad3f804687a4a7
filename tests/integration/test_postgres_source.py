"""A Postgres database into tables: after each run the target is what SELECT gives at the source."""

import json
import subprocess
import sys
import threading
import time

import duckdb
import psycopg
import pytest
from support.postgres_source import SourceDatabase

from millrace.pipelines.cli.check import check
from millrace.pipelines.cli.main import main
from millrace.pipelines.cli.verify import verify_job
from millrace.schemas.errors import JobError, LostOffsetsError
from millrace.transforms.proof.report import Outcome, Verdict

COLUMNS = "id, name, price, body"


@pytest.fixture
def shop(tmp_path):
    found = SourceDatabase(tmp_path)
    found.sql("CREATE TABLE orders (id int PRIMARY KEY, name text, price numeric(10,2), body text)")
    found.sql("ALTER TABLE orders ALTER body SET STORAGE EXTERNAL")
    found.sql(
        "INSERT INTO orders SELECT i, 'n' || i, i / 7.0, repeat(md5(i::text), 150) FROM generate_series(1, 900) i"
    )
    yield found
    found.close()


def assert_equal(shop, table="orders", columns=COLUMNS):
    query = f"SELECT {columns} FROM {table} ORDER BY 1"
    assert shop.rows(query) == shop.sql(query)


def test_copy_and_log_with_all_kinds_of_changes(shop):
    job = shop.job("public.orders", "tables: [{from: public.orders, on_truncate: apply}]")
    assert shop.run(job).tables["orders"].error is None
    assert_equal(shop)
    shop.sql("UPDATE orders SET price = 1 WHERE id <= 50; DELETE FROM orders WHERE id BETWEEN 60 AND 70")
    shop.sql("UPDATE orders SET id = id + 100000 WHERE id BETWEEN 100 AND 110")
    shop.sql("BEGIN; INSERT INTO orders VALUES (-1, 'a'), (-2, NULL); UPDATE orders SET name = 'b' WHERE id = -1; "
             "DELETE FROM orders WHERE id = -2; INSERT INTO orders VALUES (-2, 'c'); COMMIT")  # fmt: skip
    shop.run(job)
    assert_equal(shop)
    shop.sql("ALTER TABLE orders ADD extra int; UPDATE orders SET extra = id WHERE id < 10")
    shop.run(job)
    assert_equal(shop, columns=f"{COLUMNS}, extra")
    shop.sql("TRUNCATE orders; INSERT INTO orders (id, name) VALUES (5, 'after')")
    shop.run(job)
    assert_equal(shop)
    shop.sql("ALTER TABLE orders REPLICA IDENTITY FULL; UPDATE orders SET id = 6, extra = 1; "
             "INSERT INTO orders SELECT i FROM generate_series(10, 20) i; DELETE FROM orders WHERE id=12")  # fmt: skip
    shop.run(job)
    assert_equal(shop, columns=f"{COLUMNS}, extra")


def test_a_key_change_takes_its_large_value_along(shop):
    job = shop.job("public.orders")
    shop.run(job)
    shop.sql("UPDATE orders SET id = id + 50000 WHERE id < 10")
    shop.run(job)
    assert_equal(shop)
    shop.sql("UPDATE orders SET body = repeat('z', 5000) WHERE id = 20; UPDATE orders SET id = 60020 WHERE id = 20")
    shop.run(job)
    assert_equal(shop)


def test_transactions_that_are_open_while_the_slot_is_made_win(shop):
    """They are not committed when the copy reads, and come by the log."""
    job = shop.job("public.orders")
    opened = psycopg.connect(shop.server.dsn(dbname=shop.name))
    opened.execute("UPDATE orders SET name = 'open' WHERE id <= 100")
    waiting = f"SELECT 1 FROM pg_replication_slots WHERE slot_name = '{shop.name}'"

    def commit():
        deadline = time.monotonic() + 20
        while not shop.sql(waiting) and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.3)
        opened.commit()
        opened.close()

    committing = threading.Thread(target=commit)
    committing.start()
    shop.run(job)
    committing.join()
    shop.run(job)
    assert_equal(shop)


def test_writers_that_never_stop(shop):
    job = shop.job("public.orders")
    stop = threading.Event()

    def write():
        number = 0
        with psycopg.connect(shop.server.dsn(dbname=shop.name), autocommit=True) as con:
            while not stop.is_set():
                number += 1
                con.execute("UPDATE orders SET name = %s WHERE id %% 97 = %s", (f"w{number}", number % 97))
                con.execute("INSERT INTO orders (id, name) VALUES (%s, 'new')", (10_000 + number,))
                con.execute("DELETE FROM orders WHERE id = %s", (number,))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        shop.run(job)
        shop.run(job)
    finally:
        stop.set()
        writer.join()
    shop.run(job)
    assert_equal(shop)


def test_the_slot_moves_with_the_ledgers_also_where_only_other_tables_change(shop):
    job = shop.job("public.orders")
    shop.run(job)
    shop.sql("CREATE TABLE noise (id int)")
    shop.sql("INSERT INTO noise SELECT * FROM generate_series(1, 10000)")

    def confirmed():
        return shop.sql(
            f"SELECT (confirmed_flush_lsn - '0/0')::bigint FROM pg_replication_slots WHERE slot_name = '{shop.name}'"
        )[0][0]

    before = confirmed()
    shop.run(job)
    shop.sql("INSERT INTO noise VALUES (1)")
    shop.run(job)
    assert confirmed() > before + 500_000


@pytest.mark.parametrize("again", [False, True])
def test_a_slot_that_is_gone_is_an_error_and_a_new_one_too(shop, again):
    job = shop.job("public.orders")
    shop.run(job)
    shop.drop_slot()
    shop.sql("DELETE FROM orders WHERE id = 1")
    if again:
        shop.sql(f"SELECT pg_create_logical_replication_slot('{shop.name}', 'pgoutput')")
    shop.sql("DELETE FROM orders WHERE id = 2")
    with pytest.raises(LostOffsetsError, match=r"nothing was skipped\. For a new copy"):
        shop.run(job)


def test_several_tables_share_a_slot_and_a_partitioned_one_is_its_root(shop):
    shop.sql("CREATE TABLE parts (id int, day date, PRIMARY KEY (id, day)) PARTITION BY RANGE (day)")
    for year in (2024, 2025):
        shop.sql(f"CREATE TABLE p{year} PARTITION OF parts FOR VALUES FROM ('{year}-01-01') TO ('{year + 1}-01-01')")
    shop.sql("INSERT INTO parts VALUES (1, '2024-05-05'), (2, '2025-05-05')")
    job = shop.job("public.orders, public.parts", "tables: [{from: public.parts, on_truncate: apply}, "
                   "{from: public.orders, on_truncate: apply}]")  # fmt: skip
    shop.run(job)
    shop.sql("UPDATE parts SET day = '2025-06-06' WHERE id = 1; INSERT INTO parts VALUES (3, '2024-01-01')")
    shop.sql("BEGIN; UPDATE orders SET name = 'x' WHERE id < 5; DELETE FROM parts WHERE id = 2; COMMIT")
    shop.run(job)
    assert_equal(shop)
    assert_equal(shop, "parts", "id, day")
    shop.sql("TRUNCATE orders, parts")
    shop.run(job)
    assert shop.rows("SELECT * FROM parts") == shop.rows("SELECT * FROM orders") == []


def test_types_come_out_the_same_from_the_copy_and_from_the_log(shop):
    shop.sql("CREATE TYPE mood AS ENUM ('glad', 'sad'); CREATE DOMAIN money2 AS numeric(8,2)")
    shop.sql("CREATE TABLE kinds (id bigint PRIMARY KEY, i2 int2, f4 real, f8 float8, b bool, n numeric, n2 money2, "
             "d date, t time, t3 time(3), ts timestamp, ts0 timestamp(0), tz timestamptz, by bytea, u uuid, j jsonb, "
             "m mood, c char(5), a text[], iv interval)")  # fmt: skip
    row = (
        "-3, 1.5, 1e300, true, 12345678901234567890.123, 12.30, '2024-02-29', '12:34:56.789012', '01:02:03.5', "
        "'2024-01-01 10:00:00.000001', '1969-12-31 23:59:59', '2024-06-01 12:00:00+02', '\\x00ff10', "
        "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '{\"k\": [1, null]}', 'sad', 'ab', '{x,\"y,z\",NULL}', '1 day 02:03'"
    )
    odd = "'NaN', NULL, 'infinity', '24:00', NULL, '0044-03-15 BC', NULL, '-infinity'"
    shop.sql(f"INSERT INTO kinds VALUES (1, {row}); INSERT INTO kinds (id) VALUES (2)")
    shop.sql(f"INSERT INTO kinds (id, n, n2, d, t, t3, ts, ts0, tz) VALUES (3, {odd})")
    job = shop.job("public.kinds")
    shop.run(job)
    shop.sql(
        "INSERT INTO kinds SELECT id + 10, i2, f4, f8, b, n, n2, d, t, t3, ts, ts0, tz, by, u, j, m, c, a, iv "
        "FROM kinds"
    )
    shop.run(job)
    found = {row[0]: row[1:] for row in shop.rows("SELECT * EXCLUDE (_millrace_position) FROM kinds")}
    assert [found[number] for number in (11, 12, 13)] == [found[number] for number in (1, 2, 3)]
    same = 'id, i2, f4, f8, b, n2, d, t, ts, ts0, tz, "by", c'
    query = "SELECT {} FROM kinds WHERE id IN (1, 2, 11, 12) ORDER BY 1"
    assert shop.rows(query.format(same)) == shop.sql(query.format(same))
    texts = "n, u, j, m"
    as_text = ", ".join(f"{name}::text" for name in texts.split(", "))
    assert shop.rows(query.format(texts)) == shop.sql(query.format(as_text))
    assert shop.rows("SELECT d__text, t__text, ts__text, tz__text FROM kinds WHERE id = 3") == [
        ("infinity", "24:00:00", "-0043-03-15T00:00:00", "-infinity")
    ]


def test_what_would_harm_the_source_is_refused_before_it_is_published(shop):
    shop.sql("CREATE TABLE bare (a int)")
    job = shop.job("public.bare")
    said = [finding for finding in check(job) if finding.level == "fail"]
    assert [finding.what for finding in said] == ["public.bare"] and "REPLICA IDENTITY FULL" in said[0].fix
    with pytest.raises(JobError, match=r"no replica identity.*REPLICA IDENTITY FULL"):
        shop.run(job)
    assert shop.sql("SELECT * FROM pg_publication") == []
    shop.sql("INSERT INTO bare VALUES (1); UPDATE bare SET a = 2")


def test_a_check_makes_nothing_and_says_what_the_run_will_make(shop):
    findings = check(shop.job("public.orders"))
    assert all(finding.level == "ok" for finding in findings)
    said = {finding.what: finding.found for finding in findings}
    assert said["source"].endswith("answers") and said["public.orders"] == "to orders"
    assert shop.sql("SELECT * FROM pg_publication") == []
    assert shop.sql(f"SELECT * FROM pg_replication_slots WHERE slot_name = '{shop.name}'") == []


def test_incremental_begins_at_the_slot(shop):
    job = shop.job("public.orders", more=", sync: incremental")
    shop.run(job)
    shop.sql("INSERT INTO orders (id, name) VALUES (9000, 'new')")
    shop.run(job)
    assert shop.rows("SELECT id, name FROM orders") == [(9000, "new")]


def proved(job):
    (report,) = verify_job(job)
    return report


def test_verify_compares_with_the_rows_of_the_source(shop):
    """A target that was falsified by hand in each way is different; one that is behind is not proved."""
    job = shop.job("public.orders")
    shop.run(job)
    shop.sql("UPDATE orders SET price = 1 WHERE id <= 50; DELETE FROM orders WHERE id = 60")
    behind = proved(job)
    assert behind.outcome is Outcome.UNPROVED and behind.ahead == 51
    assert "51 changes of the source came after" in behind.error
    shop.run(job)
    assert proved(job).outcome is Outcome.EQUAL and proved(job).counts[Verdict.MATCH] == 899
    for change, verdict in (
        ("UPDATE orders SET price = 2.01 WHERE id = 7", Verdict.DIFFERS),
        ("DELETE FROM orders WHERE id = 8", Verdict.MISSING),
        ("INSERT INTO orders SELECT * REPLACE (-5 AS id) FROM orders WHERE id = 9", Verdict.EXTRA),
        ("UPDATE orders SET body = NULL WHERE id = 10", Verdict.DIFFERS),
    ):
        before = proved(job).counts[verdict]
        with duckdb.connect(str(shop.folder / "w.duckdb")) as con:
            con.execute(change)
        after = proved(job)
        assert after.outcome is Outcome.DIFFERENT and after.counts[verdict] == before + 1


def test_verify_knows_every_type_and_what_no_target_has(shop):
    shop.sql(
        "CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE TABLE kinds (a int, b text, s smallint, l bigint, r real, "
        "d double precision, t bool, n numeric(12,3), free numeric, bin bytea, day date, clock time, c time(3), "
        "m timestamp, m3 timestamp(3), z timestamptz, u uuid, j jsonb, e mood, arr int[], i interval, ch char(5), "
        "bits bit(3), PRIMARY KEY (a, b))"
    )
    values = (
        "'x', 1, 9223372036854775807, 0.1, 1e300, true, 12.340, 1.500, '\\x00ff', '2024-02-29', '23:59:59.999999', "
        "'10:00:00.123', '2024-01-01 10:00:00.5', '2024-01-01 10:00:00.5', '2024-01-01 10:00:00+02', "
        "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '{\"k\": 1}', 'ok', '{1,2}', '1 day 2 hours', 'ab', B'101'"
    )
    odd = (
        "'y', -1, -5, 'NaN', '-Infinity', false, 'NaN', 'NaN', '', 'infinity', '24:00', '24:00', '-infinity', "
        "'0044-03-15 00:00:00 BC', 'infinity', NULL, 'null', NULL, '{}', NULL, '', NULL"
    )
    shop.sql(f"INSERT INTO kinds VALUES (1, {values}), (2, {odd})")
    shop.sql("INSERT INTO kinds (a, b) VALUES (3, 'z')")
    job = shop.job("public.kinds")
    shop.run(job)
    assert proved(job).outcome is Outcome.EQUAL, proved(job).examples
    shop.sql(f"INSERT INTO kinds VALUES (11, {values}), (12, {odd})")
    shop.sql("INSERT INTO kinds (a, b) VALUES (13, 'z')")
    shop.run(job)
    assert proved(job).outcome is Outcome.EQUAL, proved(job).examples
    assert proved(job).counts[Verdict.MATCH] == 6


def test_runs_that_are_killed_lose_and_double_nothing(shop):
    """kill -9 at several moments of the copy and of the log, with changes in between; the last run has it all."""
    shop.sql("INSERT INTO orders SELECT i, 'n', 1, repeat('x', 900) FROM generate_series(1000, 12000) i")
    job = shop.job("public.orders")
    command = [sys.executable, "-m", "millrace.pipelines", "run", str(job.file), "--once"]
    for number, seconds in enumerate((2.0, 3.0, 4.0, 5.0)):
        run = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(seconds)
        run.kill()
        run.wait()
        shop.sql(f"UPDATE orders SET name = 'k{number}', id = id + 100000 WHERE id % 97 = {number}")
        shop.sql(f"DELETE FROM orders WHERE id % 89 = {number}")
    shop.run(job)
    assert_equal(shop)
    assert proved(job).outcome is Outcome.EQUAL


def test_a_plan_asks_the_catalog_of_the_source(shop, capsys):
    job = shop.job("public.orders", "on_incompatible: new_column")
    words = ["plan", str(job.file), "--json", "--exit-code"]
    assert main(words) == 4
    (table,) = json.loads(capsys.readouterr().out)
    assert table["topics"] == {"public.orders": "the source's catalog"}
    columns = "id int32, name string, price decimal128(10, 2), body string"
    assert table["changes"][0]["said"] == f"new table, key (id): {columns}"
    shop.run(job)
    assert main(words) == 0
    capsys.readouterr()
    shop.sql("ALTER TABLE orders ADD extra timestamptz, ALTER id TYPE bigint, ALTER name TYPE bytea USING name::bytea")
    assert main(words) == 4
    (table,) = json.loads(capsys.readouterr().out)
    assert sorted(one["column"] for one in table["changes"]) == ["extra", "id", "name"]
    shop.sql("INSERT INTO orders VALUES (-1, 'x', 1, 'y', now())")
    shop.run(job)
    assert main(words) == 0


def test_a_column_that_was_renamed_keeps_its_values(shop, capsys):
    job = shop.job("public.orders")
    shop.run(job)
    shop.sql("ALTER TABLE orders RENAME name TO title; UPDATE orders SET title = 'new' WHERE id < 5")
    job = shop.job("public.orders", "tables: [{from: public.orders, renames: {name: title}}]")
    assert main(["plan", str(job.file)]) == 0
    assert "name: is renamed to title, and keeps its values" in capsys.readouterr().out
    assert shop.run(job).tables["orders"].error is None
    assert_equal(shop, columns="id, title, price, body")
    assert main(["verify", str(job.file)]) == 0


def test_a_table_is_copied_again_beside_and_other_tables_keep_their_log(shop):
    shop.sql("CREATE TABLE customers (id int PRIMARY KEY, name text); INSERT INTO customers VALUES (1, 'a')")
    job = shop.job("public.orders, public.customers")
    shop.run(job)
    shop.sql(
        "UPDATE orders SET price = 1 WHERE id < 50; DELETE FROM orders WHERE id > 880; UPDATE customers SET name = 'b'"
    )
    with duckdb.connect(str(shop.folder / "w.duckdb")) as db:
        db.execute("DELETE FROM orders WHERE id < 100; UPDATE orders SET name = 'spoilt'")
    assert main(["resync", str(job.file), "--table", "orders", "--yes"]) == 0
    assert_equal(shop)
    assert shop.rows("SELECT name FROM customers") == [("a",)]
    shop.sql("UPDATE orders SET price = 2 WHERE id < 20")
    shop.run(job)
    assert_equal(shop)
    assert shop.rows("SELECT name FROM customers") == [("b",)]
    assert main(["verify", str(job.file)]) == 0
