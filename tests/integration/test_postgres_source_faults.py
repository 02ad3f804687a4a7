"""What happens to a Postgres source: after each fault the target is what SELECT gives, or the run says what is lost."""

import os
import signal
import threading

import psycopg
import pytest
from support.postgres_server import PostgresServer, missing
from support.postgres_source import SourceDatabase

from millrace.pipelines.cli.check import check
from millrace.pipelines.cli.slot import slot
from millrace.pipelines.cli.status import status, status_lines
from millrace.pipelines.cli.verify import verify_job
from millrace.schemas.errors import JobError, LostOffsetsError, SourceError
from millrace.transforms.proof.report import Outcome
from millrace.transforms.sources.postgres import slot_stream
from millrace.transforms.sources.postgres.slot_stream import SlotStream

EQUAL = "SELECT {} FROM {} ORDER BY 1"


@pytest.fixture(scope="module")
def own_server():
    if missing():
        pytest.skip(missing())
    server = PostgresServer(wal_sender_timeout="4s")
    yield server
    server.close()


def filled(shop):
    shop.sql("CREATE TABLE orders (id int PRIMARY KEY, name text)")
    shop.sql("INSERT INTO orders SELECT i, 'n' || i FROM generate_series(1, 2000) i")
    return shop


@pytest.fixture
def shop(tmp_path):
    found = SourceDatabase(tmp_path)
    yield filled(found)
    found.close()


@pytest.fixture
def own(tmp_path, own_server):
    found = SourceDatabase(tmp_path, own_server)
    yield filled(found)
    found.close()


def assert_equal(shop, columns="id, name", table="orders"):
    query = EQUAL.format(columns, table)
    assert shop.rows(query) == shop.sql(query)


def once(monkeypatch, what):
    """Do it when the stream has given its first messages."""
    given, done = SlotStream.messages, []

    def messages(self):
        found = given(self)
        if len(found) and not done:
            done.append(True)
            what()
        return found

    monkeypatch.setattr(SlotStream, "messages", messages)
    return done


def test_the_server_restarts_while_its_log_is_read(own, monkeypatch):
    job = own.job("public.orders")
    own.run(job)
    own.sql("UPDATE orders SET name = 'changed' WHERE id % 2 = 0; DELETE FROM orders WHERE id % 7 = 0")
    done = once(monkeypatch, own.server.crash)
    own.run(job)
    assert done
    assert_equal(own)


def test_a_connection_that_stalls_is_given_up_and_made_anew(own, monkeypatch):
    """The server's process that sends the log stands still; it holds the slot until it goes on."""
    monkeypatch.setattr(slot_stream, "SILENT_SECONDS", 1.0)
    job = own.job("public.orders")
    own.run(job)
    own.sql("UPDATE orders SET name = 'changed' WHERE id % 2 = 0")
    stalled = []

    def stall():
        ((sender,),) = own.sql("SELECT pid FROM pg_stat_replication")
        own.sql("DELETE FROM orders WHERE id < 100")
        os.kill(sender, signal.SIGSTOP)
        stalled.append(sender)
        threading.Timer(4, os.kill, (sender, signal.SIGCONT)).start()

    once(monkeypatch, stall)
    own.run(job)
    own.run(job)
    assert stalled
    assert_equal(own)


def test_wal_that_was_removed_is_an_error_and_check_says_it(own):
    job = own.job("public.orders")
    own.run(job)
    own.sql("ALTER SYSTEM SET max_slot_wal_keep_size = '1MB'")
    own.sql("SELECT pg_reload_conf()")
    for _ in range(4):
        own.sql("INSERT INTO orders VALUES (-1, 'x'); DELETE FROM orders WHERE id = -1")
        own.sql("SELECT pg_switch_wal()")
        own.sql("CHECKPOINT")
    with pytest.raises(LostOffsetsError, match=r"lost its WAL \(max_slot_wal_keep_size\).*nothing was skipped"):
        own.run(job)
    assert [one.what for one in check(job) if one.level == "fail"] == ["slot"]
    own.sql("ALTER SYSTEM RESET max_slot_wal_keep_size")
    own.sql("SELECT pg_reload_conf()")


def test_another_cluster_behind_the_same_address(own, shop):
    job = own.job("public.orders")
    own.run(job)
    elsewhere = shop.job("public.orders")
    slot(elsewhere, "create")
    with pytest.raises(LostOffsetsError, match="is another cluster than the one that was read"):
        shop.run(elsewhere)


@pytest.mark.parametrize("again", ["", "CREATE PUBLICATION {} FOR TABLE orders"])
def test_a_publication_that_was_dropped_is_not_made_again_in_silence(shop, again):
    """What was written meanwhile would not be in the log, and later servers say nothing of it."""
    job = shop.job("public.orders")
    shop.run(job)
    shop.sql(f"DROP PUBLICATION {shop.name}")
    shop.sql("UPDATE orders SET name = 'unpublished' WHERE id = 1")
    if again:
        shop.sql(again.format(shop.name))
    with pytest.raises(LostOffsetsError, match=r"does not list public\.orders as it did when it was read"):
        shop.run(job)


def test_a_publication_that_is_dropped_while_it_is_read(shop, monkeypatch):
    job = shop.job("public.orders")
    shop.run(job)
    shop.sql(f"DROP PUBLICATION {shop.name}")
    shop.sql("UPDATE orders SET name = 'a' WHERE id = 1")
    monkeypatch.setattr("millrace.transforms.sources.postgres.source.prepared", lambda *told, new: False)
    monkeypatch.setattr("millrace.transforms.sources.postgres.source.PostgresConnection.cut_short", lambda *told: {})
    with pytest.raises(LostOffsetsError, match="was read without its publication"):
        shop.run(job)


@pytest.mark.parametrize(
    "change",
    ["DROP TABLE orders; CREATE TABLE orders (id int PRIMARY KEY, name text)", "ALTER TABLE orders RENAME TO o"],
)
def test_a_table_that_was_made_anew_or_renamed(shop, change):
    job = shop.job("public.orders")
    shop.run(job)
    shop.sql(change)
    with pytest.raises(SourceError, match=r"does not list public\.orders|there is no table 'public\.orders'"):
        shop.run(job)
    assert len(shop.rows("SELECT * FROM orders")) == 2000


def test_columns_that_change_while_the_log_is_read(shop):
    job = shop.job("public.orders")
    shop.run(job)
    for statement in (
        "ALTER TABLE orders ADD n int",
        "UPDATE orders SET n = id",
        "ALTER TABLE orders ALTER n TYPE bigint",
        "UPDATE orders SET n = n * 10000000000 WHERE id < 50",
        "ALTER TABLE orders RENAME n TO m",
        "UPDATE orders SET m = m + 1",
        "ALTER TABLE orders ADD extra numeric(5,1) DEFAULT 1.5",
        "UPDATE orders SET extra = extra + 1",
        "ALTER TABLE orders ALTER extra TYPE numeric(9,3)",
        "UPDATE orders SET extra = extra + 0.001 WHERE id > 1000",
        "ALTER TABLE orders DROP name",
        "INSERT INTO orders VALUES (-1, 5, 7.25)",
        "DELETE FROM orders WHERE id = 100",
    ):
        shop.sql(statement)
    shop.run(job)
    assert_equal(shop, "id, m, extra")
    (report,) = verify_job(job)
    assert report.outcome is Outcome.EQUAL, report.examples


def test_every_replica_identity(shop):
    """DEFAULT, FULL and an index that holds the key are read; what does not say which row goes is refused."""
    shop.sql("ALTER TABLE orders ALTER name SET NOT NULL; CREATE UNIQUE INDEX wide ON orders (name, id)")
    shop.sql("CREATE UNIQUE INDEX narrow ON orders (name)")
    job = shop.job("public.orders")
    for number, identity in enumerate(("DEFAULT", "FULL", "USING INDEX wide")):
        shop.sql(f"ALTER TABLE orders REPLICA IDENTITY {identity}")
        shop.run(job)
        shop.sql(f"UPDATE orders SET name = 'new' || id WHERE id % 10 = {number}")
        shop.sql(f"UPDATE orders SET id = -id WHERE id % 11 = {number}; DELETE FROM orders WHERE id % 13 = {number}")
        assert not shop.run(job).failed
        assert_equal(shop)
    for identity, said in (("USING INDEX narrow", "without its primary key"), ("NOTHING", "no replica identity")):
        shop.sql(f"ALTER TABLE orders REPLICA IDENTITY {identity}")
        assert [said in one.found for one in check(job) if one.level == "fail"] == [True]
        with pytest.raises(JobError, match=said):
            shop.run(job)


@pytest.mark.parametrize(
    ("publication", "said"),
    [
        ("FOR TABLE orders WITH (publish = 'insert')", "leaves out some kinds of changes"),
        ("FOR TABLE orders WHERE (id > 5)", "has a row filter"),
        ("FOR TABLE orders (id)", "has a row filter or a list of columns"),
    ],
)
def test_a_publication_that_leaves_changes_out_is_refused(shop, publication, said):
    shop.sql(f"CREATE PUBLICATION {shop.name} {publication}")
    job = shop.job("public.orders")
    assert [said in one.found for one in check(job) if one.level == "fail"] == [True]
    with pytest.raises(JobError, match=said):
        shop.run(job)


def test_generated_columns_are_left_out_of_the_copy_as_of_the_log(shop):
    shop.sql("ALTER TABLE orders ADD twice int GENERATED ALWAYS AS (id * 2) STORED")
    job = shop.job("public.orders")
    shop.run(job)
    shop.sql("UPDATE orders SET name = 'u' WHERE id < 9; INSERT INTO orders VALUES (-1, 'x')")
    shop.run(job)
    assert_equal(shop)
    (report,) = verify_job(job)
    assert report.outcome is Outcome.EQUAL


def test_a_table_that_joins_a_running_job_and_one_that_nobody_writes(shop):
    """The new one is copied while all are written; the idle one holds no WAL back."""
    shop.sql("CREATE TABLE idle (id int PRIMARY KEY, name text); INSERT INTO idle VALUES (1, 'x')")
    shop.sql("CREATE TABLE later (id int PRIMARY KEY, name text)")
    shop.sql("INSERT INTO later SELECT i, 'n' FROM generate_series(1, 3000) i")
    job = shop.job("public.orders, public.idle")
    shop.run(job)
    stop = threading.Event()

    def write():
        number = 0
        with psycopg.connect(shop.server.dsn(dbname=shop.name), autocommit=True) as con:
            while not stop.is_set():
                number += 1
                con.execute("UPDATE orders SET name = %s WHERE id = %s", (f"w{number}", number % 2000))
                con.execute("UPDATE later SET name = %s, id = -id WHERE id = %s", (f"w{number}", number % 3000))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        shop.run(job)
        job = shop.job("public.orders, public.idle, public.later")
        shop.run(job)
    finally:
        stop.set()
        writer.join()
    shop.sql("UPDATE orders SET name = repeat('x', 5000)")
    for _ in range(2):
        shop.run(job)
    for table in ("orders", "idle", "later"):
        assert_equal(shop, table=table)
    confirmed = (
        f"SELECT pg_current_wal_lsn() - confirmed_flush_lsn FROM pg_replication_slots WHERE slot_name = '{shop.name}'"
    )
    assert shop.sql(confirmed)[0][0] < 200_000


def test_the_slot_is_made_and_dropped_by_commands_and_named_in_status(shop):
    job = shop.job("public.orders")
    assert slot(job, "create") == [f"slot {shop.name}: made", f"publication {shop.name}: public.orders"]
    assert slot(job, "create") == [f"slot {shop.name}: was there", f"publication {shop.name}: has all"]
    shop.run(job)
    (held,) = [line for line in status_lines(status(job)) if line.startswith("slot ")]
    assert held.startswith(f"slot {shop.name} holds back") and held.endswith("MB of WAL")
    first, second = slot(job, "drop")
    assert first.startswith(f"slot {shop.name}: dropped; the server is free of") and second.endswith(": dropped")
    assert shop.sql(f"SELECT 1 FROM pg_replication_slots WHERE slot_name = '{shop.name}'") == []
    assert slot(job, "drop") == [f"slot {shop.name}: was not there", f"publication {shop.name}: was not there"]
    with pytest.raises(LostOffsetsError):
        shop.run(job)
