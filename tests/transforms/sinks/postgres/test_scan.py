"""Rows of a Postgres table by key: those that a scan finds, by the index, and nothing is left of the keys."""

import json
import tempfile
from pathlib import Path

import psycopg
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.postgres_server import make_database, schema_of, server
from support.processes import until
from support.targets import Target, position, upsert

from millrace.schemas.errors import TableError
from millrace.schemas.model.change import POSITION
from millrace.transforms.sinks.shared.lookup import Lookup, find_rows

PLAIN = pa.schema([("id", pa.int64()), ("v", pa.string())])
WIDE = pa.schema([("a", pa.int32()), ('b "%s" ' + "x" * 70, pa.string()), ("c", pa.float64()), ("v", pa.string())])
VALUES = (
    st.none() | st.integers(0, 3),
    st.none() | st.sampled_from(["", "a", "a ", "b\0c", "'\"%s\\"]),
    st.none() | st.sampled_from([0.5, float("nan"), float("inf")]),
)


@pytest.fixture
def target(tmp_path):
    found = Target("postgres", tmp_path, schema=PLAIN)
    yield found
    found.close()


class Scanned:
    """A sink that can be scanned only."""

    def __init__(self, target: Target) -> None:
        self.scan = target.sink.scan


def texts(found: pa.Table) -> list[str]:
    """The rows as text, sorted: NaN is NaN, and any moment is a number."""
    numbers = [pa.int64() if pa.types.is_temporal(field.type) else field.type for field in found.schema]
    plain = found.cast(pa.schema(zip(found.column_names, numbers, strict=True)))
    return sorted(map(repr, plain.to_pylist()))


def same(target: Target, keys: pa.Table, upto: bytes | None = None) -> list[str]:
    """What both ways find."""
    columns = [*target.schema.names, POSITION]
    assert isinstance(target.sink, Lookup) and not isinstance(Scanned(target), Lookup)
    found = find_rows(target.sink, target.name, keys, columns, upto)
    scanned = find_rows(Scanned(target), target.name, keys, columns, upto)
    assert found.schema.equals(scanned.schema)
    assert texts(found) == texts(scanned)
    return texts(found)


@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(
    rows=st.lists(st.tuples(*VALUES), unique_by=repr, min_size=1, max_size=30),
    keys=st.lists(st.tuples(*VALUES), min_size=1, max_size=30),
    parts=st.integers(1, 3),
    upto=st.none() | st.integers(0, 30),
)
def test_several_key_columns_with_nulls_find_what_a_scan_finds(rows, keys, parts, upto):
    names = WIDE.names[:3]
    with tempfile.TemporaryDirectory() as folder:
        target = Target("postgres", Path(folder), key=tuple(names), schema=WIDE)
        try:
            changes = [
                upsert(at, v=f"{at}", **dict(zip(names, row, strict=True))) for at, row in enumerate(rows) if at % 7 < 6
            ]
            target.apply(*changes)
            asked = {repr(key[:parts]): dict(zip(names, key[:parts], strict=False)) for key in [*keys, *rows[:5]]}
            table = pa.Table.from_pylist(list(asked.values()), pa.schema([WIDE.field(name) for name in names[:parts]]))
            found = same(target, table, None if upto is None else position(upto))
            assert found or upto is not None or not rows
        finally:
            target.close()


def test_a_time_beyond_the_range_is_found_by_itself_alone(target):
    early = -(1 << 40)
    target.schema = pa.schema([("id", pa.int64()), ("t", pa.timestamp("s")), ("u", pa.time64("us"))])
    target.apply(*(upsert(1, id=number, t=None, u=number) for number in range(3)), upsert(1, id=9, t=early))
    kind = target.schema.field("t").type

    def found(*counts):
        return same(target, pa.table({"t": pa.array(counts, pa.int64()).cast(kind)}))

    assert [len(found(early)), len(found(early - 1)), len(found(early, None)), len(found(5))] == [1, 0, 4, 0]
    target.apply(upsert(2, id=9, t=early - 1), upsert(2, id=10, t=5))
    assert [len(found(early)), len(found(early - 1, 5))] == [0, 2]


def test_no_keys_and_no_table(target):
    with pytest.raises(TableError, match="has no table 'orders' of Millrace"):
        target.sink.lookup("orders", pa.table({"id": [1]}), ["id"], None)
    assert target.sink.columns("orders") is None
    target.apply(upsert(1, id=1, v="a"))
    assert target.sink.columns("orders").equals(PLAIN)
    assert same(target, pa.table({"id": pa.array([], pa.int64())})) == []


def sql(target, query):
    with psycopg.connect(server().dsn(), autocommit=True) as con:
        return con.execute(query.encode(), [schema_of(target.folder)]).fetchall()


@pytest.mark.parametrize("null", [False, True], ids=["no nulls", "a null"])
def test_few_keys_in_a_large_table_are_found_by_the_index(target, null):
    target.key, target.schema = ("id", "n"), pa.schema([("id", pa.int64()), ("n", pa.int64()), ("v", pa.string())])
    rows = 40_000
    target.apply(*(upsert(1, id=number, n=None if number % 9 == 1 else 0, v="x" * 40) for number in range(rows)))
    target.reopen()
    counters = "SELECT seq_scan, idx_tup_fetch FROM pg_stat_user_tables WHERE relname = 'orders' AND schemaname = %s"
    # What the commit did is told when its connection has ended.
    assert until(lambda: sql(target, counters.replace("seq_scan", "n_live_tup"))[0][0] == rows)
    before = sql(target, counters)[0]
    keys = pa.table({"id": [0, 1, 2, rows], "n": pa.array([0, None if null else 0, 0, 0], pa.int64())})
    assert len(find_rows(target.sink, "orders", keys, ["v"])) == (3 if null else 2)
    target.close()
    assert until(lambda: sql(target, counters)[0] != before)
    after = sql(target, counters)[0]
    assert after[0] == before[0], "the whole table was read"
    assert after[1] - before[1] <= 8


def test_nothing_is_left_of_the_keys(target):
    target.apply(upsert(1, id=1, v="a"))
    assert len(same(target, pa.table({"id": [1, 2]}))) == 1
    target.close()
    assert (
        sql(target, "SELECT tablename FROM pg_tables WHERE schemaname = %s AND tablename ~ '^_millrace_staged'") == []
    )


def test_a_role_that_may_make_no_temporary_tables_finds_rows(tmp_path):
    make_database(tmp_path, f"strict-{tmp_path.name}")
    held = json.loads((tmp_path / "postgres").read_text())
    server().sql(f'ALTER DATABASE "{held["name"]}" OWNER TO admin')
    server().sql(f'REVOKE TEMPORARY ON DATABASE "{held["name"]}" FROM PUBLIC')
    server().sql("CREATE SCHEMA strict AUTHORIZATION millrace", dbname=held["name"])
    target = Target("postgres", tmp_path, {"dsn": held["dsn"], "schema": "strict"}, schema=PLAIN)
    target.apply(upsert(1, id=1, v="a"))
    assert len(same(target, pa.table({"id": [1, 2]}))) == 1
    target.close()
