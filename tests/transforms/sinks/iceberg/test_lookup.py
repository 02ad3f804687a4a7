"""Rows of an Iceberg table by key: those that a scan finds, from the files that hold them."""

import tempfile
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import counted_io
from support.targets import PLACES, Target, delete, position, upsert

from millrace.schemas.errors import TableError
from millrace.schemas.model.change import POSITION
from millrace.transforms.sinks.shared.lookup import Lookup, find_rows

WIDE = pa.schema([("a", pa.int32()), ("b", pa.string()), ("c", pa.float64()), ("v", pa.string())])
VALUES = (
    st.none() | st.integers(0, 3),
    st.none() | st.sampled_from(["", "a", "a ", "z" * 40]),
    st.none() | st.sampled_from([0.5, float("nan"), float("inf")]),
)


class Scanned:
    """A sink that can be scanned only."""

    def __init__(self, target: Target) -> None:
        self.scan = target.sink.scan


def same(target: Target, keys: pa.Table, upto: bytes | None = None) -> list[str]:
    """What both ways find."""
    columns = [*target.schema.names, POSITION]
    assert isinstance(target.sink, Lookup) and not isinstance(Scanned(target), Lookup)
    found = find_rows(target.sink, target.name, keys, columns, upto)
    scanned = find_rows(Scanned(target), target.name, keys, columns, upto)
    assert found.schema.equals(scanned.schema) or not len(found), "a scan of no rows tells no types"
    assert sorted(map(repr, found.to_pylist())) == sorted(map(repr, scanned.to_pylist()))
    return sorted(map(repr, found.to_pylist()))


@settings(max_examples=20, suppress_health_check=list(HealthCheck), deadline=None)
@given(
    commits=st.lists(st.lists(st.tuples(*VALUES), unique_by=repr, max_size=12), min_size=1, max_size=4),
    keys=st.lists(st.tuples(*VALUES), min_size=1, max_size=12),
    parts=st.integers(1, 3),
    upto=st.none() | st.integers(0, 5),
    partitioned=st.booleans(),
)
def test_the_rows_are_those_of_a_scan(commits, keys, parts, upto, partitioned):
    names = WIDE.names[:3]
    with tempfile.TemporaryDirectory() as folder:
        options = {"partition_by": ["bucket(2, a)"]} if partitioned else {}
        target = Target("iceberg", Path(folder), options, key=tuple(names), schema=WIDE)
        for at, rows in enumerate(commits, 1):
            made = [dict(zip(names, row, strict=True)) for row in rows]
            target.apply(
                *(delete(at, **row) if n % 5 == 4 else upsert(at, v=f"{at}", **row) for n, row in enumerate(made))
            )
        asked = {repr(key[:parts]): dict(zip(names, key[:parts], strict=False)) for key in [*keys, *commits[0][:5]]}
        table = pa.Table.from_pylist(list(asked.values()), pa.schema([WIDE.field(name) for name in names[:parts]]))
        same(target, table, None if upto is None else position(upto))
        target.close()


def test_no_keys_no_table_and_a_column_that_is_not_there(tmp_path):
    target = Target("iceberg", tmp_path)
    with pytest.raises(TableError, match="has no table 'orders' of Millrace"):
        target.sink.lookup("orders", pa.table({"id": [1]}), ["id"], None)
    assert target.sink.columns("orders") is None
    target.apply(upsert(1, id=1, v="a"))
    assert target.sink.columns("orders").equals(target.schema)
    assert same(target, pa.table({"id": pa.array([], pa.int64())})) == []
    with pytest.raises(TableError, match="has no column 'w'"):
        target.sink.lookup("orders", pa.table({"id": [1]}), ["w"], None)
    target.close()


@pytest.fixture
def history(tmp_path):
    """A table of versions in six files: 20 keys each, at positions 1 to 6."""
    catalog = PLACES["iceberg"](tmp_path)["catalog"] | {"py-io-impl": "support.counted_io.CountedIO"}
    schema = pa.schema([("id", pa.int64()), ("version", pa.int64()), ("v", pa.string())])
    target = Target("iceberg", tmp_path, {"catalog": catalog}, key=("id", "version"), schema=schema)
    for at in range(1, 7):
        target.apply(*(upsert(at, id=20 * at + n, version=at, v="x") for n in range(20)))
    yield target
    target.close()


def read(target, keys, upto=None) -> tuple[int, int]:
    """(rows found, data files opened)."""
    counted_io.taken()
    rows = target.sink.lookup("orders", pa.table(keys), ["id", "v"], upto)
    return len(rows), len({path for path in counted_io.OPENED if path.endswith(".parquet")})


def test_a_whole_key_is_read_from_the_files_that_hold_it(history):
    assert read(history, {"id": [45, 47], "version": [2, 2]}) == (2, 1)
    assert read(history, {"id": [45, 125], "version": [2, 6]}) == (2, 2)
    assert read(history, {"id": [45], "version": [3]}) == (0, 0)
    history.reopen()
    assert read(history, {"id": [45], "version": [2]}) == (1, 1)


def test_a_part_of_a_key_is_read_from_the_files_that_may_hold_it(history):
    assert read(history, {"id": [45, 47]}) == (2, 1)
    assert read(history, {"id": [45, 7000]}) == (1, 1)
    assert read(history, {"version": [1, 2]}, position(1)) == (20, 1)
    assert read(history, {"id": [7000]}) == (0, 0)
