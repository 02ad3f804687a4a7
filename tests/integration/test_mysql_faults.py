"""A MySQL source that is away, replaced, set otherwise or denied: a retry or a sentence, and then SELECT's rows."""

import threading
import time

import pytest
from support.mysql_server import KINDS, ROLE, MariaDb, server
from support.mysql_source import SourceDatabase

from millrace.pipelines.cli.check import check
from millrace.pipelines.cli.verify import verify_job
from millrace.schemas.errors import JobError, LostOffsetsError
from millrace.transforms.proof.report import Outcome
from millrace.transforms.sources.mysql.client import BinlogDump

QUERY = "SELECT id, name, body FROM orders ORDER BY 1"


class Shop(SourceDatabase):
    """A table of orders in a database of its own."""

    def fill(self):
        values = ", ".join(f"({number}, 'n{number}', '{'b' * 50}')" for number in range(1, 301))
        self.sql(
            "CREATE TABLE orders (id int PRIMARY KEY, name varchar(40) DEFAULT 'new', body text)",
            f"INSERT INTO orders VALUES {values}",
        )
        return self

    def assert_equal(self):
        assert self.rows(QUERY) == self.sql(QUERY)


@pytest.fixture
def own(tmp_path):
    """On a server that the test may stop."""
    reason = MariaDb.missing()
    if reason is not None:
        pytest.skip(reason)
    found = Shop(tmp_path, MariaDb(7, innodb_flush_log_at_trx_commit="1")).fill()
    yield found
    found.server.close()


ON_MARIADB = pytest.mark.parametrize("shop", ["mariadb"], indirect=True)
"""What does not depend on the server is tried on one: it costs time."""


@pytest.fixture(params=sorted(KINDS))
def shop(request, tmp_path):
    found = Shop(tmp_path, server(request.param)).fill()
    yield found
    found.close()


def test_a_server_that_is_restarted_between_and_during_runs(own):
    """Its tables have other numbers then, and it writes another file."""
    job = own.job("orders")
    own.run(job)
    own.sql("UPDATE orders SET name = 'before' WHERE id < 100")
    own.server.stop()
    own.server.start()
    own.sql("CREATE TABLE other (id int PRIMARY KEY)", "INSERT INTO other VALUES (1)")
    own.sql("UPDATE orders SET name = 'after' WHERE id < 50", "DELETE FROM orders WHERE id = 60")
    own.run(job)
    own.assert_equal()
    own.sql("UPDATE orders SET name = 'killed' WHERE id < 20")
    own.server.kill()
    starting = threading.Timer(3.0, own.server.start)
    running = threading.Thread(target=lambda: own.run(job))
    starting.start()
    time.sleep(3.5)
    running.start()
    running.join()
    starting.join()
    own.sql("DELETE FROM orders WHERE id = 61")
    own.run(job)
    own.assert_equal()


def test_another_server_under_the_same_name_is_an_error(own, tmp_path_factory):
    job = own.job("orders")
    own.run(job)
    other = MariaDb(8)
    try:
        port, own.server.port = own.server.port, other.port
        copy = Shop(tmp_path_factory.mktemp("other"), other)
        copy.sql(
            f"CREATE DATABASE {own.name}", f"CREATE TABLE {own.name}.orders (id int PRIMARY KEY, name text, body text)"
        )
        moved = own.job("orders")
        own.server.port = port
        with pytest.raises(LostOffsetsError, match="is another server than the one that was read"):
            own.run(moved)
    finally:
        other.close()
    assert job


def test_a_log_that_was_begun_anew_is_an_error(own):
    """RESET MASTER gives the files their numbers again."""
    job = own.job("orders")
    own.sql("FLUSH BINARY LOGS")
    own.run(job)
    time.sleep(1.1)  # a file is known by the second in which it was begun
    own.sql("RESET MASTER", "UPDATE orders SET name = 'x' WHERE id = 1", "FLUSH BINARY LOGS", "FLUSH BINARY LOGS")
    own.sql("UPDATE orders SET name = repeat('y', 40)")
    with pytest.raises(LostOffsetsError, match="nothing was skipped"):
        own.run(job)


def test_names_of_tables_in_any_case(tmp_path):
    """At a server with `lower_case_table_names=1`, a TRUNCATE in capitals empties the table all the same."""
    if (reason := MariaDb.missing()) is not None:
        pytest.skip(reason)
    shop = Shop(tmp_path, MariaDb(8, lower_case_table_names="1")).fill()
    try:
        job = shop.job("orders", rest=f"tables: [{{from: {shop.topic('orders')}, on_truncate: apply}}]")
        shop.run(job)
        shop.sql("TRUNCATE Orders")
        (report,) = verify_job(job)
        assert report.outcome is Outcome.UNPROVED and report.ahead == 1
        shop.sql("INSERT INTO ORDERS VALUES (1, 'after', 'x')")
        shop.run(job)
        shop.assert_equal()
    finally:
        shop.server.close()


@ON_MARIADB
def test_a_place_that_the_server_takes_no_reader_to(shop, monkeypatch):
    """Where a large transaction made a file longer than 4 GiB: it is read from its beginning, each change once."""
    monkeypatch.setattr("millrace.transforms.sources.mysql.binlog_stream.POSITIONS", 500)
    job = shop.job("orders")
    shop.run(job)
    begun = []
    dump = BinlogDump.__init__
    monkeypatch.setattr(
        BinlogDump, "__init__", lambda self, *at, **more: (begun.append(at[2]), dump(self, *at, **more))[1]
    )
    for number in range(3):
        shop.sql(f"UPDATE orders SET name = 'p{number}' WHERE id % 3 = {number}", "DELETE FROM orders WHERE id = 9")
        read = shop.run(job).tables["orders"].read
        shop.assert_equal()
        assert read <= 101
    assert 4 in begun and max(begun) < 500


def test_a_user_without_rights_is_told_the_statement(shop):
    for right, said in (("REPLICATION SLAVE", "user"), ("SELECT", shop.topic("orders"))):
        shop.server.sql(f"REVOKE {right} ON *.* FROM '{ROLE}'@'%'")
        try:
            if right == "SELECT":
                shop.server.sql(f"GRANT INSERT ON {shop.name}.* TO '{ROLE}'@'%'")
            found = [finding for finding in check(shop.job("orders")) if finding.level == "fail"]
            assert [finding.what for finding in found] == [said] and found[0].fix.startswith("GRANT ")
            if right == "SELECT":
                with pytest.raises(JobError, match="grant this user what is denied"):
                    shop.run(shop.job("orders"))
        finally:
            shop.server.sql(f"GRANT {right} ON *.* TO '{ROLE}'@'%'")


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_compressed_events(kind, tmp_path):
    shop = Shop(tmp_path, server(kind)).fill()
    setting = {"mariadb": "log_bin_compress", "mysql": "binlog_transaction_compression"}[kind]
    shop.server.sql(f"SET GLOBAL {setting} = ON")
    try:
        job = shop.job("orders")
        shop.run(job)
        shop.sql(f"UPDATE orders SET body = repeat('z', 3000), name = '{kind}' WHERE id % 2 = 0")
        shop.sql("BEGIN", "DELETE FROM orders WHERE id = 9",
                 "INSERT INTO orders VALUES (9, 'again', repeat('q', 9000))",
                 "UPDATE orders SET id = 1000 WHERE id = 9", "COMMIT")  # fmt: skip
        shop.run(job)
        shop.assert_equal()
    finally:
        shop.server.sql(f"SET GLOBAL {setting} = OFF")
        shop.close()


def test_values_that_were_not_sent_stay_as_they_are(shop):
    job = shop.job("orders")
    shop.run(job)
    for image in ("MINIMAL", "NOBLOB"):
        shop.sql(f"SET SESSION binlog_row_image = '{image}'", f"UPDATE orders SET name = '{image}' WHERE id % 3 = 0",
                 "UPDATE orders SET id = id + 1000 WHERE id < 10", "DELETE FROM orders WHERE id = 11")  # fmt: skip
        shop.run(job)
        shop.assert_equal()


@ON_MARIADB
def test_a_key_of_several_types_takes_what_was_not_sent_along(shop):
    kinds = "a decimal(9,3), b varbinary(8), c date, d varchar(9)"
    rows = "(-1.500, x'00ff', '2024-02-29', 'ä', 'v', 'w'), (2, x'', '1969-01-01', '', 'v2', 'w2')"
    shop.sql(
        f"CREATE TABLE wide ({kinds}, v text, w text, PRIMARY KEY (a, b, c, d))", f"INSERT INTO wide VALUES {rows}"
    )
    job = shop.job("wide")
    shop.run(job)
    shop.sql("SET SESSION binlog_row_image = 'MINIMAL'", "UPDATE wide SET w = 'newer' WHERE a < 0",
             "UPDATE wide SET a = a + 10, d = concat(d, 'x')")  # fmt: skip
    shop.run(job)
    query = "SELECT a, b, c, d, v, w FROM wide ORDER BY a"
    assert shop.rows(query) == shop.sql(query)


@ON_MARIADB
def test_a_default_that_was_not_sent_is_no_null(shop):
    job = shop.job("orders")
    shop.run(job)
    shop.sql("SET SESSION binlog_row_image = 'MINIMAL'", "INSERT INTO orders (id, body) VALUES (400, 'b')")
    assert "lacks its value of name, which is the column's default" in str(shop.run(job).tables["orders"].error)


def test_transactions_prepared_by_xa_are_an_error(shop):
    job = shop.job("orders")
    shop.run(job)
    shop.sql(
        "XA START 'a'", "UPDATE orders SET name = 'xa' WHERE id = 1", "XA END 'a'", "XA PREPARE 'a'", "XA COMMIT 'a'"
    )
    assert "prepared by XA" in str(shop.run(job).tables["orders"].error)


@ON_MARIADB
def test_a_large_transaction_and_small_ones_over_many_files(shop):
    job = shop.job("orders", "orders2")
    shop.sql("CREATE TABLE orders2 LIKE orders")
    shop.run(job)
    more = "SELECT 1000 + a.id * 300 + b.id, 'big', a.body FROM orders a, orders b WHERE b.id < 100"
    shop.sql("BEGIN", f"INSERT INTO orders {more}", "INSERT INTO orders2 SELECT * FROM orders", "COMMIT")
    for number in range(3):
        shop.sql("FLUSH BINARY LOGS", f"UPDATE orders SET name = 'f{number}' WHERE id % 7 = {number}")
    shop.run(job)
    shop.assert_equal()
    assert [report.outcome for report in verify_job(job)] == [Outcome.EQUAL] * 2
