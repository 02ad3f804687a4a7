"""What is Postgres' own: its types, names and limits, and what people see of its tables and do to them."""

import os
import subprocess
import sys
import uuid

import pyarrow as pa
import pytest
from support.postgres_server import ROLE_PASSWORD, binaries, server
from support.postgres_tables import sql
from support.processes import until
from support.targets import Target, delete, delta, position, upsert

from millrace.schemas.errors import IncompatibleSchemaError, MissingExtraError, TableError, TerminalSinkError
from millrace.schemas.model.ledger import Account
from millrace.transforms.sinks.postgres import client, evolve
from millrace.transforms.sinks.postgres.columns import physical


@pytest.fixture
def target(tmp_path):
    found = Target("postgres", tmp_path)
    yield found
    found.close()


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
    target.commit([], Account("orders", 0, 0, 6, read=6, superseded=6))
    columns = "next, start, first, stop, read, applied, superseded, filtered, dead"
    assert sql(target, f"SELECT {columns} FROM _millrace_ledger") == [(6, 0, 5, 6, 5, 1, 1, 2, 1)]


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
    with pytest.raises((TableError, TerminalSinkError), match=message):
        target.apply(upsert(2, id=2, v="b"))
    with pytest.raises(TerminalSinkError, match=message):
        target.read()
    if "DROP TABLE" in change:
        with pytest.raises(TableError, match=message):
            _ = target.next
    else:
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
    monkeypatch.setattr(evolve, "BLOCKS", 50)
    narrow = pa.schema([("id", pa.int64()), ("n", pa.list_(pa.float32())), ("t", pa.string())])
    wide = narrow.set(1, pa.field("n", pa.list_(pa.float64())))
    target.apply(*(upsert(1, id=number, n=[number / 7], t="x" * 1500) for number in range(2_000)), schema=narrow)
    assert target.apply(upsert(2, id=0, n=[0.1]), schema=wide) == (1, 0)
    held = dict(zip(*(target.read(["id", "n"])[name].to_pylist() for name in ("id", "n")), strict=True))
    expected = pa.array([number / 7 for number in range(2_000)], pa.float32()).cast(pa.float64()).to_pylist()
    assert held == {number: [value] for number, value in enumerate(expected)} | {0: [0.1]}


def test_a_scan_comes_in_bounded_batches_of_one_moment(target, monkeypatch):
    monkeypatch.setattr(client, "BATCH_ROWS", 1_000)
    target.apply(*(upsert(1, id=number, v="a") for number in range(2_500)))
    batches = target.sink.scan("orders")
    sizes = [next(batches).num_rows]
    target.apply(*(delete(2, id=number) for number in range(2_500)))
    sizes += [batch.num_rows for batch in batches]
    assert sizes == [1_000, 1_000, 500]
    monkeypatch.setattr(client, "BATCH_BYTES", 1)
    target.apply(*(upsert(3, id=number, v="a") for number in range(3)))
    assert [batch.num_rows for batch in target.sink.scan("orders")] == [1, 1, 1]


def test_a_scan_that_is_given_up_lets_go_of_its_connection(target, monkeypatch):
    target.apply(*(upsert(1, id=number, v="a") for number in range(3_000)))
    monkeypatch.setattr(client, "BATCH_ROWS", 1_000)
    batches = target.sink.scan("orders")
    next(batches)
    batches.close()
    target.close()
    assert until(
        lambda: not server().sql("SELECT 1 FROM pg_stat_activity WHERE usename = 'millrace' AND state = 'active'")
    )


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


def test_positions_are_kept_as_bytes_in_order(target):
    target.apply(upsert((1 << 192) - 1, id=1, v="a"), upsert(0, id=2, v="b"))
    assert sql(target, "SELECT id FROM orders ORDER BY _millrace_position") == [(2,), (1,)]
    assert bytes(sql(target, "SELECT _millrace_position FROM orders WHERE id = 2")[0][0]) == position(0)


def test_without_psycopg_the_error_names_the_extra():
    script = "import sys; sys.modules['psycopg'] = None; from millrace.transforms.sinks import open_sink"
    command = [sys.executable, "-c", f"{script}; open_sink('postgres', {{'dsn': 'host=x'}})"]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert f"{MissingExtraError.__name__}: target.type: postgres needs the extra" in done.stderr
    assert "[postgres]" in done.stderr
