"""What is Postgres' own: its server, its limits, what people do to its tables, and many writers at once."""

import os
import subprocess
import sys
import threading
import time
import uuid

import psycopg
import pyarrow as pa
import pytest
from meddling import Meddling
from postgres_server import PASSWORD, ROLE_PASSWORD, USER, PostgresServer, binaries, missing, schema_of, server
from processes import until
from targets import Target, delete, delta, position, upsert

from millrace.schemas.errors import (
    IncompatibleSchemaError,
    JobError,
    LedgerGapError,
    MissingExtraError,
    SinkError,
    TableError,
    TerminalSinkError,
    TransientSinkError,
)
from millrace.schemas.ledger import Account
from millrace.transforms.sinks import open_sink, postgres_connection, postgres_growth
from millrace.transforms.sinks.postgres_columns import physical


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


def sql(target, query, parameters=None):
    """What another program does in the target's schema."""
    with psycopg.connect(server().dsn(), autocommit=True) as con:
        con.execute("SELECT set_config('search_path', %s, false)", ['"' + schema_of(target.folder) + '"'])
        done = con.execute(query.encode(), parameters)
        return done.fetchall() if done.description else []


def staged_tables(target):
    query = "SELECT relname FROM pg_class WHERE relname ~ '^_millrace_staged' AND relnamespace::regnamespace::text = %s"
    return sql(target, query, ['"' + schema_of(target.folder) + '"'])


def opened(target):
    """The target with its schema made: threads do not have to agree on that."""
    target.sink.tables()
    return target


# --- the tables


def test_the_tables_have_the_types_of_the_mapping(target):
    kinds = {"a": pa.uint16(), "b": pa.timestamp("ms", "UTC"), "c": pa.decimal256(50, 2), "d": pa.duration("s")}
    kinds |= {"e": pa.time32("s"), "f": pa.binary(4), "g": pa.list_(pa.struct([("x", pa.int8())])), "h": pa.null()}
    kinds |= {"i": pa.uint64(), "j": pa.timestamp("ns"), "k": pa.date32(), "l": pa.float16(), "m": pa.bool_()}
    target.apply(upsert(1, id=1), schema=pa.schema([("id", pa.int64()), *kinds.items()]))
    found = sql(
        target,
        "SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = 'orders'::regclass AND attnum > 0",
    )
    assert [kind for (kind,) in found] == [
        *(
            "bigint",
            "integer",
            "timestamp with time zone",
            "numeric(50,2)",
            "bigint",
            "time without time zone",
            "bytea",
        ),
        *("jsonb", "integer", "numeric(20,0)", "bigint", "date", "real", "boolean", "bytea"),
    ]


def test_other_programs_read_the_rows(target):
    target.schema = pa.schema(
        [("id", pa.int64()), ("tags", pa.list_(pa.string())), ("at", pa.timestamp("us", "UTC")), ("n", pa.uint64())]
    )
    target.apply(upsert(1, id=1, tags=["a", "b"], at=1_000_000, n=2**64 - 1))
    assert sql(target, "SELECT tags ->> 1, at = '1970-01-01 00:00:01Z', n::text FROM orders WHERE tags ? 'a'") == [
        ("b", True, str(2**64 - 1))
    ]


def test_the_ledger_table_sums_the_accounts(target):
    target.commit([target.stage(upsert(5, id=1, v="a"))], Account("orders", 0, 0, 5, read=4, filtered=2, dead=1))
    target.commit([target.stage(upsert(4, id=1, v="late"))], Account("orders", 0, 5, 6, read=1))
    target.commit([], Account("orders", 0, 0, 6, read=6, skipped=6))
    columns = "next, start, first, stop, read, applied, superseded, filtered, dead, skipped"
    assert sql(target, f"SELECT {columns} FROM _millrace_ledger") == [(6, 0, 5, 6, 5, 1, 1, 2, 1, 0)]


@pytest.mark.parametrize(
    "made",
    ["CREATE TABLE orders (id bigint, v text)", "CREATE VIEW orders AS SELECT 1 AS id", "CREATE SEQUENCE orders"],
)
def test_a_table_that_millrace_did_not_make_is_left_alone(target, made):
    target.sink.tables()
    sql(target, made)
    with pytest.raises(TerminalSinkError, match=r"has a table 'orders' that Millrace did not make: rename it"):
        target.apply(upsert(1, id=1, v="a"))
    assert target.next is None
    kind = made.split()[1]
    sql(target, f"DROP {kind} orders")
    assert target.apply(upsert(1, id=1, v="a")) == (1, 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("DROP TABLE orders", "the table 'orders' was dropped, but its ledger stands"),
        ("ALTER TABLE orders ADD COLUMN mine INT", "the column 'mine' of table 'orders' is not Millrace's"),
        ("ALTER TABLE orders DROP COLUMN v", "the column 'v' of table 'orders' is gone"),
        ("ALTER TABLE orders ALTER v TYPE varchar(9)", r"the column 'v' .* is character varying\(9\) and was text"),
    ],
)
def test_a_table_that_was_changed_by_others_stops(target, change, message):
    target.apply(upsert(1, id=1, v="a"))
    sql(target, change)
    with pytest.raises(TerminalSinkError, match=message):
        target.apply(upsert(2, id=2, v="b"))
    with pytest.raises(TerminalSinkError, match=message):
        target.read()
    assert target.next == 1


def test_rows_that_a_trigger_keeps_out_stop_the_commit(target):
    target.apply(upsert(1, id=1, v="a"))
    sql(target, "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'")
    sql(target, "CREATE TRIGGER no BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION no()")
    with pytest.raises(TerminalSinkError, match=r"took 1 of 2 changes, 2 of them rows; nothing was committed"):
        target.apply(upsert(2, id=1, v="b"), upsert(2, id=2, v="b"))
    assert (target.rows(), target.next) == ([(1, "a")], 1)


def test_a_view_stands_against_a_wider_column(target):
    target.apply(upsert(1, id=1, n=1), schema=pa.schema([("id", pa.int64()), ("n", pa.int32())]))
    sql(target, "CREATE VIEW shown AS SELECT n FROM orders")
    wide = pa.schema([("id", pa.int64()), ("n", pa.int64()), ("w", pa.int8())])
    with pytest.raises(TerminalSinkError, match="drop what depends on it, such as a view"):
        target.apply(upsert(2, id=1, n=2), schema=wide)
    sql(target, "DROP VIEW shown")
    assert target.apply(upsert(2, id=1, n=2), schema=wide) == (1, 0)


# --- names


def test_long_names_stay_apart(target):
    names = ["x" * 64 + "a", "x" * 64 + "b", "ctid", "é" * 40]
    target.schema = pa.schema([("id", pa.int64()), *((name, pa.string()) for name in names)])
    row = {name: name for name in names}
    target.apply(upsert(1, id=1, **row))
    target.apply(upsert(2, [names[0], "ctid"], id=1, **dict.fromkeys(names)))
    assert target.read().to_pylist() == [{"id": 1, **dict.fromkeys(names), names[0]: names[0], "ctid": "ctid"}]
    first, second = (
        Target("postgres", target.folder, name="t" * 100 + end, schema=target.schema, _sink=target.sink) for end in "ab"
    )
    first.apply(upsert(1, id=1), delete(5, id=2))
    second.apply(upsert(1, id=2), delete(5, id=1))
    assert [len(one.rows()) for one in (first, second)] == [1, 1]
    assert target.sink.tables() == ("orders", first.name, second.name)


def test_a_name_that_is_another_ones_short_form_is_refused(target):
    long = "x" * 64
    target.schema = pa.schema([("id", pa.int64()), (long, pa.string()), (physical(long), pa.string())])
    with pytest.raises(IncompatibleSchemaError, match="have one name in Postgres"):
        target.apply(upsert(1, id=1))
    target.schema = target.schema.remove(2)
    target.name = long
    target.apply(upsert(1, id=1))
    target.name = physical(long)
    with pytest.raises(TableError, match=f"'{long}' has its name in Postgres"):
        target.apply(upsert(1, id=1))


def test_a_key_that_no_index_can_hold_is_named(target):
    target.key, target.schema = ("k",), pa.schema([("k", pa.string())])
    text = "".join(uuid.uuid4().hex for _ in range(200))
    with pytest.raises(TerminalSinkError, match="larger than Postgres allows"):
        target.apply(upsert(1, k=text))


# --- values that Postgres has no room for


def moments(unit):
    return pa.schema([("id", pa.int64()), ("t", pa.timestamp(unit)), ("v", pa.string())])


def counts(target):
    return {row["id"]: row["t"] for row in target.read().cast(COUNTED).to_pylist()}


COUNTED = pa.schema([("id", pa.int64()), ("t", pa.int64()), ("v", pa.string())])
EARLY = -(1 << 40)


def test_a_time_beyond_the_range_stays_exact_through_partial_rows_and_growth(target):
    target.apply(upsert(1, id=1, t=EARLY), upsert(1, id=2, t=5), schema=moments("s"))
    assert counts(target) == {1: EARLY, 2: 5}
    target.apply(upsert(2, ["t"], id=1, v="partial"), upsert(2, id=3, t=EARLY - 1), schema=moments("s"))
    assert counts(target) == {1: EARLY, 2: 5, 3: EARLY - 1}
    target.apply(upsert(3, id=2, t=7), upsert(3, id=3, t=8), schema=moments("ms"))
    assert counts(target) == {1: EARLY * 1000, 2: 7, 3: 8}
    assert sql(target, "SELECT id, t::text FROM orders WHERE t = '-infinity'") == [(1, "-infinity")]
    with pytest.raises(IncompatibleSchemaError, match="does not fit"):
        target.apply(upsert(4, id=4, t=1), schema=moments("ns"))
    target.apply(upsert(4, id=1, t=0), schema=moments("s"))
    target.apply(upsert(5, id=4, t=1), schema=moments("ns"))
    assert counts(target) == {1: 0, 2: 7_000_000, 3: 8_000_000, 4: 1}


def test_a_key_beyond_the_range_is_refused(target):
    target.key, target.schema = ("t",), pa.schema([("t", pa.timestamp("s"))])
    rows = delta(target.schema, [upsert(1)]).set_column(0, "t", pa.array([EARLY * 8]).view(pa.timestamp("s")))
    with pytest.raises(TableError, match="key column 't' holds a date or time beyond Postgres' range"):
        target.sink.stage(target.table(), rows)


def test_nested_values_grow_on_many_pages(target, monkeypatch):
    monkeypatch.setattr(postgres_growth, "BLOCKS", 50)
    narrow = pa.schema([("id", pa.int64()), ("n", pa.list_(pa.float32())), ("t", pa.string())])
    wide = narrow.set(1, pa.field("n", pa.list_(pa.float64())))
    target.apply(*(upsert(1, id=number, n=[number / 7], t="x" * 1500) for number in range(2_000)), schema=narrow)
    assert target.apply(upsert(2, id=0, n=[0.1]), schema=wide) == (1, 0)
    held = dict(zip(*(target.read(["id", "n"])[name].to_pylist() for name in ("id", "n")), strict=True))
    expected = pa.array([number / 7 for number in range(2_000)], pa.float32()).cast(pa.float64()).to_pylist()
    assert held == {number: [value] for number, value in enumerate(expected)} | {0: [0.1]}


def test_a_scan_comes_in_bounded_batches_of_one_moment(target, monkeypatch):
    monkeypatch.setattr(postgres_connection, "BATCH_ROWS", 1_000)
    target.apply(*(upsert(1, id=number, v="a") for number in range(2_500)))
    batches = target.sink.scan("orders")
    sizes = [next(batches).num_rows]
    target.apply(*(delete(2, id=number) for number in range(2_500)))
    sizes += [batch.num_rows for batch in batches]
    assert sizes == [1_000, 1_000, 500]
    monkeypatch.setattr(postgres_connection, "BATCH_BYTES", 1)
    target.apply(*(upsert(3, id=number, v="a") for number in range(3)))
    assert [batch.num_rows for batch in target.sink.scan("orders")] == [1, 1, 1]


def test_a_scan_that_is_given_up_lets_go_of_its_connection(target, monkeypatch):
    target.apply(*(upsert(1, id=number, v="a") for number in range(3_000)))
    monkeypatch.setattr(postgres_connection, "BATCH_ROWS", 1_000)
    batches = target.sink.scan("orders")
    next(batches)
    batches.close()
    target.close()
    assert until(
        lambda: not server().sql("SELECT 1 FROM pg_stat_activity WHERE usename = 'millrace' AND state = 'active'")
    )


# --- several writers


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


# --- staged rows


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
    young, old, busy = (f"_millrace_staged_{now - age * hour:x}_{uuid.uuid4().hex}" for age in (23, 25, 25))
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


# --- servers that fail


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
        ("53100", TerminalSinkError, "the server's disk is full; nothing was committed"),
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
    monkeypatch.setattr(postgres_connection, "LIMITS", "SET LOCAL lock_timeout = '200ms'")
    with psycopg.connect(server().dsn()) as other:
        other.execute(f'LOCK TABLE "{schema_of(target.folder)}".orders'.encode())
        with pytest.raises(TransientSinkError, match="lock timeout"):
            target.apply(upsert(2, id=1, v="b"))
    assert target.apply(upsert(2, id=1, v="b")) == (1, 0)


# --- what people see


def test_the_line_that_describes_a_table_runs_and_has_no_password(target):
    target.name = 'it\'s "mine"'
    target.apply(upsert(1, id=1, v="a"))
    line = target.sink.describe(target.name)
    assert ROLE_PASSWORD not in line and "millrace" in line
    env = {**os.environ, "PGPASSWORD": ROLE_PASSWORD, "PATH": f"{binaries()}:{os.environ['PATH']}"}
    done = subprocess.run(f"{line} -At", shell=True, env=env, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("1|a|\\x")


def test_the_sink_shows_no_password(target):
    target.sink.tables()
    assert ROLE_PASSWORD not in f"{target.sink!r} {target.sink.describe('x')} {target.sink._server}"


def test_a_url_is_a_dsn_too(own_server):
    dsn = f"postgresql://{USER}:{PASSWORD}@127.0.0.1:{own_server.port}/postgres?sslmode=require"
    sink = connection(dsn)
    assert isinstance(sink.tables(), tuple)
    assert PASSWORD not in sink.describe("orders")
    sink.close()


def test_positions_are_kept_as_bytes_in_order(target):
    target.apply(upsert((1 << 192) - 1, id=1, v="a"), upsert(0, id=2, v="b"))
    assert sql(target, "SELECT id FROM orders ORDER BY _millrace_position") == [(2,), (1,)]
    assert bytes(sql(target, "SELECT _millrace_position FROM orders WHERE id = 2")[0][0]) == position(0)


def test_without_psycopg_the_error_names_the_extra():
    script = "import sys; sys.modules['psycopg'] = None; from millrace.transforms.sinks import open_sink"
    command = [sys.executable, "-c", f"{script}; open_sink('postgres', {{'dsn': 'host=x'}})"]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert f"{MissingExtraError.__name__}: target.type: postgres needs an extra" in done.stderr
    assert "pip install 'millrace[postgres]'" in done.stderr
