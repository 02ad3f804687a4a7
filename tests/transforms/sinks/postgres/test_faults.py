"""Postgres with many writers, workers that were killed, and servers that fail."""

import threading
import time
import uuid

import psycopg
import pyarrow as pa
import pytest
from support.concurrent_commits import Meddling
from support.postgres_server import PASSWORD, ROLE_PASSWORD, USER, PostgresServer, missing, schema_of, server
from support.postgres_tables import opened, sql, staged_tables
from support.processes import until
from support.targets import Target, delete, upsert

from millrace.schemas.errors import (
    JobError,
    LedgerGapError,
    SinkError,
    TableError,
    TerminalSinkError,
    TransientSinkError,
)
from millrace.schemas.model.ledger import Account
from millrace.transforms.sinks import open_sink
from millrace.transforms.sinks.postgres import client


@pytest.fixture
def target(tmp_path):
    found = Target("postgres", tmp_path)
    yield found
    found.close()


@pytest.fixture(scope="module")
def own_server():
    """A server that the tests of this module may stop and kill."""
    reason = missing()
    if reason is not None:
        pytest.skip(reason)
    found = PostgresServer()
    found.sql("CREATE SCHEMA mine AUTHORIZATION millrace")
    yield found
    found.close()


@pytest.mark.parametrize("isolation", ["read committed", "repeatable read", "serializable"])
def test_a_commit_waits_for_another_one_and_decides_on_top_of_it(target, isolation):
    target.apply(upsert(1, id=1, v="a"))
    other = Target("postgres", target.folder, job="other", topic="elsewhere")
    default = server().role_dsn(options="-c default_transaction_isolation=" + isolation.replace(" ", "\\\\ "))
    other.options = {"dsn": default}
    theirs = [other.stage(upsert(5, id=1, v="other"), upsert(2, id=2, v="other"))]
    done = []
    thread = threading.Thread(target=lambda: done.append(other.commit(theirs, Account("elsewhere", 0, 0, 2, read=2))))

    def begin_the_other():
        thread.start()
        waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND usename = 'millrace'"
        assert until(lambda: server().sql(waiting))
        assert not done

    mine = [target.stage(upsert(4, id=1, v="mine"), upsert(4, id=2, v="mine"))]
    commit = Meddling(target.job, (Account("orders", 0, 1, 3, read=2),), meddle=[begin_the_other])
    (settled,) = target.sink.commit(target.table(), mine, commit)
    thread.join(60)
    assert (settled.applied, done[0].applied, done[0].superseded) == (2, 1, 1)
    assert target.rows() == [(1, "other"), (2, "mine")]
    assert (target.next, other.next) == (3, 2)
    other.close()


def test_new_tables_that_differ_in_case_only_are_refused_also_while_one_is_being_made(target):
    opened(target)
    other = opened(Target("postgres", target.folder, name="ORDERS"))
    failures = []

    def commit_the_other():
        try:
            other.apply(upsert(1, id=1, v="other"))
        except TableError as error:
            failures.append(str(error))

    thread = threading.Thread(target=commit_the_other)

    def begin_the_other():
        thread.start()
        waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'advisory' AND usename = 'millrace'"
        assert until(lambda: server().sql(waiting))

    staged = [target.stage(upsert(1, id=1, v="a"))]
    commit = Meddling(target.job, (Account("orders", 0, 0, 1, read=1),), meddle=[begin_the_other])
    target.sink.commit(target.table(), staged, commit)
    thread.join(60)
    assert len(failures) == 1 and "differs in case only" in failures[0]
    assert target.sink.tables() == ("orders",)
    other.close()


def test_writers_of_one_new_table_agree_on_it(target):
    others = [opened(Target("postgres", target.folder, job=f"job{number}")) for number in range(4)]
    failures, barrier = [], threading.Barrier(4)

    def fill(number, other):
        try:
            schema = pa.schema([("id", pa.int64()), ("v", pa.string()), (f"own{number}", pa.int32())])
            barrier.wait(60)
            for at in range(5):
                other.apply(*(upsert(4 * at + number, id=key, v=f"{at}-{number}") for key in range(50)), schema=schema)
        except (SinkError, TableError, AssertionError) as error:
            failures.append(error)

    threads = [threading.Thread(target=fill, args=one) for one in enumerate(others)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert not failures
    rows = target.read(["id", "v"]).to_pylist()
    assert sorted(row["id"] for row in rows) == list(range(50)) and {row["v"] for row in rows} == {"4-3"}
    assert [other.next for other in others] == [250] * 4
    for other in others:
        other.close()


def test_workers_stage_at_once_for_one_commit(target):
    workers = [opened(Target("postgres", target.folder)) for _ in range(4)]
    staged: list = []

    def work(number, worker):
        for part in range(5):
            staged.append(worker.stage(*(upsert(1, id=1000 * number + 100 * part + n, v="a") for n in range(100))))

    threads = [threading.Thread(target=work, args=one) for one in enumerate(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert target.commit(staged).applied == 2000
    assert len(target.rows()) == 2000
    for worker in workers:
        worker.close()


def test_a_zombie_that_commits_late_changes_nothing_newer(target):
    zombie = Target("postgres", target.folder)
    old = [zombie.stage(upsert(1, id=1, v="old"), upsert(2, id=2, v="old"))]
    target.apply(upsert(1, id=1, v="old"), upsert(2, id=2, v="old"))
    target.apply(upsert(3, id=1, v="new"), delete(4, id=2))
    settled = zombie.commit(old, Account("orders", 0, 0, 2, read=2))
    assert (settled.applied, settled.superseded) == (0, 2)
    assert (target.rows(), target.next) == ([(1, "new")], 4)
    with pytest.raises(LedgerGapError):
        zombie.commit([zombie.stage(upsert(9, id=9, v="x"))], Account("orders", 0, 7, 8, read=1))
    assert target.rows() == [(1, "new")]
    zombie.close()


def test_nothing_is_left_of_staged_rows(target):
    staged = [target.stage(upsert(1, id=1, v="a")), target.stage(upsert(1, id=2, v="a"))]
    assert len(staged_tables(target)) == 2
    target.commit(staged[:1])
    target.apply(upsert(2, id=1, v="b"))
    assert len(staged_tables(target)) == 2
    target.close()
    assert staged_tables(target) == []


@pytest.mark.parametrize("when", ["at the first commit", "at the end"])
def test_what_killed_workers_left_goes_after_a_day_and_never_before(target, when):
    target.apply(upsert(1, id=1, v="a"))
    target.reopen()
    opened(target)
    hour, now = 3600, int(time.time())
    young, old, busy = (f"_millrace_staged_1_{now - age * hour:x}_{uuid.uuid4().hex}" for age in (23, 25, 25))
    for name in (young, old, busy):
        sql(target, f"CREATE UNLOGGED TABLE {name} (c0 int)")
        sql(target, f"ALTER TABLE {name} OWNER TO millrace")
    with psycopg.connect(server().dsn()) as commit:
        commit.execute(f'SELECT * FROM "{schema_of(target.folder)}"."{busy}"'.encode())
        if when == "at the end":
            target.close()
        else:
            target.commit([], Account("orders", 0, 1, 1))
    assert {name for (name,) in staged_tables(target)} == {young, busy}


def connection(dsn, schema="mine", **options):
    return open_sink("postgres", {"dsn": dsn, "schema": schema, **options})


def wrong_place(dsn, kind, message, schema="mine"):
    sink = connection(dsn, schema)
    with pytest.raises(kind, match=message) as caught:
        sink.tables()
    assert PASSWORD not in str(caught.value) and ROLE_PASSWORD not in str(caught.value)
    sink.close()


def test_wrong_places_and_credentials_are_named(own_server):
    role = own_server.role_dsn
    wrong_place(own_server.dsn("millrace", "wr0ng"), TerminalSinkError, "user name or password of target.dsn are wrong")
    wrong_place(own_server.dsn("nobody", "x"), TerminalSinkError, "user name or password of target.dsn are wrong")
    wrong_place(role(dbname="no_such"), TerminalSinkError, 'database "no_such" does not exist')
    wrong_place(role(), TerminalSinkError, "the schema 'none' does not exist; CREATE SCHEMA it", "none")
    wrong_place(role(sslmode="verify-full", sslrootcert="/none"), TerminalSinkError, "sslmode and sslrootcert")
    own_server.sql("CREATE DATABASE ascii ENCODING 'SQL_ASCII' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'")
    wrong_place(role(dbname="ascii"), TerminalSinkError, "encoding is SQL_ASCII, which cannot hold all texts")


@pytest.mark.parametrize(
    "dsn", ["host=db password='s3cr3t", "postgresql://ann:s3%zzcr3t@db/x", "s3cr3t", "passwort=s3cr3t", "", " "]
)
def test_a_dsn_that_is_none_is_not_repeated(dsn):
    with pytest.raises(JobError, match=r"target.*dsn") as caught:
        open_sink("postgres", {"dsn": dsn})
    shown = f"{caught.value!r} {caught.value.__cause__!r}"
    assert "s3" not in shown and caught.value.__suppress_context__ is bool("s3" in dsn or "pass" in dsn)


def test_tls_with_the_servers_own_certificate(own_server):
    trusted = own_server.role_dsn(sslmode="verify-full", sslrootcert=str(own_server.certificate))
    sink = connection(trusted)
    assert sink.tables() == ()
    assert own_server.sql(
        "SELECT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE usename = 'millrace'"
    ) == [(True,)]
    sink.close()


def test_a_certificate_of_somebody_else_is_refused(own_server):
    wrong = own_server.role_dsn(sslmode="verify-ca", sslrootcert=str(server().certificate))
    wrong_place(wrong, TerminalSinkError, "the server's certificate is not trusted; see sslmode and sslrootcert")


def test_a_server_that_is_away_is_worth_another_try(own_server, tmp_path):
    target = Target("postgres", tmp_path, _sink=connection(own_server.role_dsn()))
    target.apply(upsert(1, id=1, v="a"))
    staged = [target.stage(upsert(2, id=1, v="b"))]
    own_server.stop()
    with pytest.raises(TransientSinkError, match="does not answer"):
        target.commit(staged, Account("orders", 0, 1, 2, read=1))
    with pytest.raises(TransientSinkError, match="does not answer"):
        target.read()
    own_server.start()
    assert target.commit(staged, Account("orders", 0, 1, 2, read=1)).applied == 1
    own_server.stop()
    own_server.start()
    assert target.apply(upsert(3, id=1, v="c")) == (1, 0)
    assert target.rows() == [(1, "c")]
    target.close()


def test_a_server_that_crashed_has_lost_staged_rows_and_the_commit_says_so(own_server, tmp_path):
    target = Target("postgres", tmp_path, name="crashed", _sink=connection(own_server.role_dsn()))
    target.apply(upsert(1, id=1, v="a"))
    staged = [target.stage(upsert(2, id=1, v="b"))]
    own_server.crash()
    with pytest.raises(TransientSinkError, match=r"staged rows of table crashed are gone.*run the job again"):
        target.commit(staged, Account("orders", 0, 1, 2, read=1))
    assert (target.rows(), target.next) == ([(1, "a")], 1)
    assert target.apply(upsert(2, id=1, v="b")) == (1, 0)
    target.close()


def test_a_connection_that_is_cut_in_a_commit_leaves_nothing(target):
    target.apply(upsert(1, id=1, v="a"))
    staged = [target.stage(upsert(2, id=1, v="b"), upsert(2, id=2, v="b"))]
    account = Account("orders", 0, 1, 3, read=2)

    def cut():
        server().sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'millrace'")

    with pytest.raises(TransientSinkError, match="terminat"):
        target.sink.commit(target.table(), staged, Meddling(target.job, (account,), meddle=[cut]))
    assert (target.rows(), target.next) == ([(1, "a")], 1)
    assert target.commit(staged, account).applied == 2
    assert (target.rows(), target.next) == ([(1, "b"), (2, "b")], 3)


@pytest.mark.parametrize(
    ("code", "kind", "message"),
    [
        ("53100", TransientSinkError, "the server's disk is full; nothing was committed"),
        ("53200", TerminalSinkError, "out of memory"),
        ("57014", TransientSinkError, "on purpose"),
        ("40001", TransientSinkError, "on purpose"),
        ("XX001", TerminalSinkError, "on purpose"),
    ],
)
def test_an_error_of_the_server_commits_nothing_and_the_next_try_does(target, code, kind, message):
    target.apply(upsert(1, id=1, v="a"))
    staged = [target.stage(upsert(2, id=1, v="b"), delete(2, id=2))]
    raises = f"BEGIN RAISE EXCEPTION ''on purpose'' USING ERRCODE = ''{code}''; END"
    sql(target, f"CREATE FUNCTION bad() RETURNS trigger LANGUAGE plpgsql AS '{raises}'")
    sql(target, "CREATE TRIGGER bad AFTER INSERT ON _millrace_tombstones_orders EXECUTE FUNCTION bad()")
    account = Account("orders", 0, 1, 3, read=2)
    with pytest.raises(kind, match=message):
        target.commit(staged, account)
    assert (target.rows(), target.next) == ([(1, "a")], 1)
    sql(target, "DROP TRIGGER bad ON _millrace_tombstones_orders")
    assert target.commit(staged, account).applied == 2
    assert (target.rows(), target.next) == ([(1, "b")], 3)


def test_a_read_only_database_is_named(own_server, tmp_path):
    read_only = own_server.role_dsn(options="-c default_transaction_read_only=on")
    target = Target("postgres", tmp_path, name="read_only", _sink=connection(read_only))
    with pytest.raises(TerminalSinkError, match="the database is read-only; connect to the primary"):
        target.apply(upsert(1, id=1, v="a"))
    target.close()


def test_a_table_that_another_transaction_holds_is_worth_another_try(target, monkeypatch):
    target.apply(upsert(1, id=1, v="a"))
    monkeypatch.setattr(client, "LIMITS", "SET LOCAL lock_timeout = '200ms'")
    with psycopg.connect(server().dsn()) as other:
        other.execute(f'LOCK TABLE "{schema_of(target.folder)}".orders'.encode())
        with pytest.raises(TransientSinkError, match="lock timeout"):
            target.apply(upsert(2, id=1, v="b"))
    assert target.apply(upsert(2, id=1, v="b")) == (1, 0)


def test_a_url_is_a_dsn_too(own_server):
    dsn = f"postgresql://{USER}:{PASSWORD}@127.0.0.1:{own_server.port}/postgres?sslmode=require"
    sink = connection(dsn)
    assert isinstance(sink.tables(), tuple)
    assert PASSWORD not in sink.describe("orders")
    sink.close()
