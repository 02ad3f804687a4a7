"""Copies of tables by `source.sync: full` and `source.snapshot`, of each kind of database: what SELECT gives."""

import signal
import subprocess
import sys
import time

import pytest
from support import mysql_source, postgres_source
from support.mysql_server import KINDS, server

from millrace.pipelines.cli.check import check
from millrace.pipelines.cli.status import status
from millrace.pipelines.cli.verify import verify_job
from millrace.pipelines.execution.run_passes import run as run_job
from millrace.schemas.errors import JobError, LostOffsetsError
from millrace.transforms.proof.report import Outcome
from millrace.transforms.sources import read_ahead

ROWS = {
    "postgres": "SELECT i, 'n' || i, repeat('b', 50) FROM generate_series(1, 300) i",
    "mysql": "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300) "
    "SELECT i, concat('n', i), repeat('b', 50) FROM n",
}


class Shop:
    """Tables `orders` and `customers` of 300 rows each, in a database of this kind."""

    def __init__(self, folder, kind):
        self.kind = kind
        on_postgres = kind == "postgres"
        self.db = (
            postgres_source.SourceDatabase(folder) if on_postgres else mysql_source.SourceDatabase(folder, server(kind))
        )
        for table in ("orders", "customers"):
            self.sql(f"CREATE TABLE {table} (id int PRIMARY KEY, name varchar(40), body text)")
            self.sql(f"INSERT INTO {table} {ROWS['postgres' if on_postgres else 'mysql']}")
        self.folder, self.run, self.rows, self.close = self.db.folder, self.db.run, self.db.rows, self.db.close

    def sql(self, *queries):
        found = None
        for query in queries:
            found = self.db.sql(query)
        return [tuple(row) for row in found or ()]

    def topic(self, table):
        return f"public.{table}" if self.kind == "postgres" else self.db.topic(table)

    def job(self, *tables, more, rest=""):
        if self.kind == "postgres":
            return self.db.job(", ".join(map(self.topic, tables)), rest, f", {more}")
        return self.db.job(*tables, rest=rest, more=f", {more}")

    def assert_equal(self, table="orders", where="true"):
        query = f"SELECT id, name, body FROM {table} WHERE {where} ORDER BY 1"
        assert self.rows(f"SELECT id, name, body FROM {table} ORDER BY 1") == self.sql(query)


@pytest.fixture(params=["postgres", *sorted(KINDS)])
def shop(request, tmp_path):
    found = Shop(tmp_path, request.param)
    yield found
    found.close()


@pytest.fixture
def one(request, tmp_path):
    """What does not depend on the server is tried on one: it costs time."""
    found = Shop(tmp_path, "postgres")
    yield found
    found.close()


def test_a_full_copy_is_made_anew_by_each_run_and_rows_that_are_gone_go(shop):
    job = shop.job("orders", "customers", more="sync: full, snapshot: {chunk_rows: 40}")
    assert [one.level for one in check(job) if one.level == "fail"] == []
    for number in range(3):
        summary = shop.run(job)
        assert {table.error for table in summary.tables.values()} == {None}
        for table in ("orders", "customers"):
            shop.assert_equal(table)
        assert [standing.lag for standing in status(job).standings] == [0, 0]
        assert {report.outcome for report in verify_job(job)} == {Outcome.EQUAL}
        shop.sql(f"DELETE FROM orders WHERE id % 7 = {number}", f"UPDATE orders SET name = 'u{number}' WHERE id < 60")
        shop.sql(f"UPDATE orders SET id = -id WHERE id % 11 = {number}")
    assert {report.outcome for report in verify_job(job)} == {Outcome.DIFFERENT, Outcome.EQUAL}
    shop.sql("DELETE FROM customers")
    shop.run(job)
    shop.assert_equal()
    assert shop.rows("SELECT * FROM customers") == []
    if shop.kind == "postgres":
        assert shop.sql("SELECT 1 FROM pg_replication_slots WHERE database = current_database()") == []
        assert shop.sql("SELECT 1 FROM pg_publication") == []


@pytest.mark.parametrize("shop", ["postgres", "mariadb"], indirect=True)
def test_conditions_choose_the_rows_of_a_copy(shop):
    condition = f"{{where: {{{shop.topic('orders')}: 'id % 2 = 0 -- even'}}, chunk_rows: 30}}"
    job = shop.job("orders", "customers", more=f"sync: full, snapshot: {condition}")
    shop.run(job)
    shop.assert_equal(where="id % 2 = 0")
    shop.assert_equal("customers")
    assert {report.outcome for report in verify_job(job)} == {Outcome.EQUAL}
    (shop.folder / "w.duckdb").unlink()
    job = shop.job("orders", "customers", more=f"snapshot: {condition}")
    shop.run(job)
    shop.assert_equal(where="id % 2 = 0")
    shop.sql("UPDATE orders SET name = 'odd' WHERE id = 5", "DELETE FROM orders WHERE id = 6")
    shop.run(job)
    shop.assert_equal(where="id % 2 = 0 OR id = 5")


@pytest.mark.parametrize(("shop", "sync"), [("postgres", "hybrid"), ("mariadb", "full")], indirect=["shop"])
def test_several_tables_are_copied_at_once(shop, monkeypatch, sync):
    """Each chunk comes once and in order, whether it was read ahead or not."""
    at_once, most = [0], [0]
    read = read_ahead._read

    def counted(*told):
        at_once[0] += 1
        most[0] = max(most[0], at_once[0])
        time.sleep(0.05)
        read(*told)
        at_once[0] -= 1

    monkeypatch.setattr(read_ahead, "_read", counted)
    shop.sql(
        "CREATE TABLE third (id int PRIMARY KEY, name varchar(40), body text)", "INSERT INTO third SELECT * FROM orders"
    )
    job = shop.job("orders", "customers", "third", more=f"sync: {sync}, snapshot: {{chunk_rows: 7, parallel: 2}}")
    for number in range(2):
        assert not shop.run(job).failed
        for table in ("orders", "customers", "third"):
            shop.assert_equal(table)
        shop.sql(f"DELETE FROM third WHERE id % 5 = {number}", f"UPDATE orders SET name = 'x' WHERE id % 3 = {number}")
    assert most == [2]


def test_a_server_that_goes_away_while_chunks_are_read_ahead(one, monkeypatch):
    """The run asks again, from the chunk that is lacking."""
    from millrace.schemas.errors import SourceError
    from millrace.transforms.sources.postgres.client import Session

    copied, calls = Session.copied, []

    def failing(self, query):
        calls.append(query)
        if len(calls) in (3, 4):
            raise SourceError("Postgres at nowhere: the connection was lost")
        return copied(self, query)

    monkeypatch.setattr(Session, "copied", failing)
    job = one.job("orders", "customers", more="sync: full, snapshot: {chunk_rows: 50, parallel: 2}")
    assert not one.run(job).failed
    one.assert_equal()
    one.assert_equal("customers")


class Told(postgres_source.Quiet):
    """Keeps how many rows were copied, each time that it is told."""

    def __init__(self):
        self.rows = []

    def copying(self, rows, total, tables):
        self.rows.append(rows)


KILLED = """
import os, signal, sys
from millrace.pipelines.cli.main import main
from millrace.transforms.sources.{kind}.reader import TableReader
read, calls = TableReader.chunk, []
def chunk(self):
    calls.append(self.next)
    if len(calls) == 50:
        os.kill(os.getpid(), signal.SIGKILL)
    return read(self)
TableReader.chunk = chunk
main(["run", sys.argv[1], "--once"])
"""


@pytest.mark.parametrize(("shop", "sync"), [("postgres", "hybrid"), ("mariadb", "full")], indirect=["shop"])
def test_a_copy_that_is_killed_goes_on_at_its_last_chunk(shop, sync):
    """kill -9 while it copies; the next run reads what is left, and each chunk once."""
    job = shop.job("orders", more=f"sync: {sync}, snapshot: {{chunk_rows: 5}}")
    script = KILLED.format(kind="postgres" if shop.kind == "postgres" else "mysql")
    killed = subprocess.run([sys.executable, "-c", script, str(job.file)], capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL
    held = shop.rows("SELECT count(*) FROM orders")[0][0]
    assert held == 32 * 5
    told = Told()
    assert run_job(job, once=True, progress=told).tables["orders"].read == 300 - held
    assert told.rows == [held]
    shop.assert_equal()


@pytest.mark.parametrize("shop", ["postgres", "mariadb"], indirect=True)
def test_a_log_of_changes_has_each_change_of_a_transaction_and_of_a_chunk(shop):
    """They have one offset; a number tells them apart."""
    rest = f"tables: [{{from: {shop.topic('orders')}, mode: [mirror, append]}}]"
    job = shop.job("orders", more="snapshot: {chunk_rows: 40}", rest=rest)
    shop.run(job)
    shop.sql("UPDATE orders SET name = 'u' WHERE id <= 20", "DELETE FROM orders WHERE id > 290")
    shop.sql("UPDATE orders SET id = id + 1000 WHERE id = 5")
    done = shop.run(job)
    shop.assert_equal()
    counted = dict(shop.rows("SELECT _millrace_change, count(*) FROM orders_changes GROUP BY 1"))
    assert counted == {"upsert": 300 + 20 + 1, "delete": 10 + 1}
    assert done.tables["orders_changes"].superseded == 0


def test_what_cannot_be_is_said(one):
    where = "sync: full, snapshot: {where: {public.order: 'id > 5'}}"
    with pytest.raises(JobError, match=r"there is no table 'public.order'; did you mean 'public.orders'"):
        one.run(one.job("orders", more=where))
    where = "snapshot: {where: {public.orders: 'nothing > 5', public.customers: 'true'}}"
    said = {finding.what: finding.found for finding in check(one.job("orders", more=where)) if finding.level == "fail"}
    assert set(said) == {"public.orders", "public.customers"} and "nothing" in said["public.orders"]
    with pytest.raises(JobError, match="mode: scd2 needs sync: hybrid"):
        one.job("orders", more="sync: full", rest="tables: [{from: public.orders, mode: scd2}]")
    one.run(one.job("orders", more="sync: full"))
    with pytest.raises(LostOffsetsError, match=r"read with source.sync: full, and source.sync is hybrid now"):
        one.run(one.job("orders", more="sync: hybrid"))
