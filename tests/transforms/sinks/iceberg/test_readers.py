"""Every engine that is not ours reads the same rows: after updates, deletes, growth, partitions and maintenance."""

import pyarrow as pa
import pytest
from support import iceberg_engines
from support.iceberg_tables import live_files, opened
from support.lake_history import SCHEMA, SELECT, expected, history
from support.targets import Target, delete, upsert

PARTITIONS = [None, ["bucket(4, id)", "day(made)"], ["truncate(3, name)", "flag"]]


@pytest.fixture(params=PARTITIONS, ids=["whole", "bucket and day", "truncate and identity"])
def filled(request, tmp_path):
    target = Target("iceberg", tmp_path, {"partition_by": request.param}, schema=SCHEMA)
    rows = history(target)
    yield target, rows
    target.close()


def metadata(target: Target) -> str:
    return opened(target).metadata_location


def ours(target: Target) -> list[list]:
    return sorted(expected({**row, "made": moment}) for row, moment in zip(*_split(target), strict=True))


def _split(target: Target):
    table = target.read()
    return table.to_pylist(), table["made"].cast(pa.int64()).to_pylist()


def by_pyiceberg(target: Target) -> list[list]:
    table = opened(target).scan().to_arrow()
    pairs = zip(table.to_pylist(), table["made"].cast(pa.int64()).to_pylist(), strict=True)
    return sorted(expected({**row, "made": moment}) for row, moment in pairs)


def test_duckdb_and_pyiceberg_read_what_we_wrote(filled):
    target, rows = filled
    assert ours(target) == rows
    assert by_pyiceberg(target) == rows
    assert sorted(iceberg_engines.duckdb_rows(metadata(target), SELECT["duckdb"])) == rows
    target.sink.maintain("orders")
    assert by_pyiceberg(target) == rows
    assert sorted(iceberg_engines.duckdb_rows(metadata(target), SELECT["duckdb"])) == rows


@pytest.mark.parametrize("reader", ["native", "pyiceberg"])
def test_polars_reads_what_we_wrote(filled, reader):
    target, rows = filled
    found = iceberg_engines.polars_rows(metadata(target), "id, n, name, flag", reader)
    assert sorted(found) == [[row[0], row[1], row[2], row[5]] for row in rows]


@pytest.mark.timeout(600)
@pytest.mark.java
def test_spark_reads_what_we_wrote(tmp_path):
    reason = iceberg_engines.missing_for_java()
    if reason is not None:
        pytest.skip(reason)
    target = Target("iceberg", tmp_path, {"partition_by": ["bucket(2, id)"]}, schema=SCHEMA)
    rows = history(target)
    target.apply(upsert(30, id=1000, extra="x"), schema=pa.schema([("id", pa.int64()), ("extra", pa.string())]))
    target.apply(*(delete(31, id=row[0]) for row in rows[:10]))
    rows = [*rows[10:], [1000, None, None, None, None, None, None]]
    assert live_files(opened(target))[1]
    assert sorted(iceberg_engines.spark_rows(metadata(target), SELECT["spark"])) == rows
    target.close()


def test_an_update_that_moves_a_row_to_another_partition_leaves_no_stale_copy(tmp_path):
    target = Target("iceberg", tmp_path, {"partition_by": {"orders": ["v", "bucket(2, id)"]}})
    target.apply(*(upsert(1, id=n, v="a") for n in range(6)))
    target.apply(upsert(2, id=1, v="b"), upsert(2, id=2, v=None), delete(2, id=3))
    assert target.apply(upsert(1, id=1, v="late")) == (0, 1)
    expected = [(0, "a"), (1, "b"), (2, None), (4, "a"), (5, "a")]
    assert target.rows() == expected
    data, deletes = live_files(opened(target))
    assert {repr(file.partition) for file in deletes} <= {repr(file.partition) for file in data}
    rows = iceberg_engines.duckdb_rows(metadata(target), "id, v")
    assert sorted(map(tuple, rows)) == expected
    only = opened(target).scan(row_filter="v == 'b'").to_arrow()
    assert only["id"].to_pylist() == [1]
    target.close()


@pytest.mark.parametrize(
    "term", ["id", "bucket(3, id)", "truncate(10, id)", "year(made)", "month(made)", "day(made)", "hour(made)"]
)
def test_every_partition_transform(tmp_path, term):
    target = Target("iceberg", tmp_path, {"partition_by": [term]})
    target.schema = pa.schema([("id", pa.int64()), ("made", pa.timestamp("us")), ("v", pa.string())])
    hour = 3_600_000_000
    target.apply(*(upsert(1, id=n, made=n * 500 * hour, v="a") for n in range(-8, 8)))
    target.apply(*(upsert(2, id=n, made=n * 900 * hour, v="b") for n in range(-8, 8, 2)), upsert(2, id=99, v="null"))
    rows = {row["id"]: row["v"] for row in target.read(["id", "v"]).to_pylist()}
    assert rows == {**{n: "ab"[n % 2 == 0] for n in range(-8, 8)}, 99: "null"}
    found = iceberg_engines.duckdb_rows(metadata(target), "id, v")
    assert dict(map(tuple, found)) == rows
    (late,) = opened(target).scan(row_filter="id == 99").to_arrow().to_pylist()
    assert late["v"] == "null"
    target.close()


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        (["day(v)"], "of type string cannot be partitioned by day"),
        (["nothing"], "'nothing' of target.partition_by is not in the rows"),
    ],
)
def test_partitions_that_cannot_be(tmp_path, terms, message):
    from millrace.schemas.errors import IncompatibleSchemaError

    target = Target("iceberg", tmp_path, {"partition_by": terms})
    with pytest.raises(IncompatibleSchemaError, match=message):
        target.apply(upsert(1, id=1, v="a"))
    target.close()


def test_a_partition_spec_that_another_engine_changed_is_followed(tmp_path):
    target = Target("iceberg", tmp_path, {"partition_by": ["bucket(2, id)"]})
    target.apply(*(upsert(1, id=n, v="a") for n in range(6)))
    with opened(target).update_spec() as update:
        update.add_identity("v")
    target.apply(*(upsert(2, id=n, v="b") for n in range(3)))
    assert target.rows() == [(n, "b" if n < 3 else "a") for n in range(6)]
    assert dict(map(tuple, iceberg_engines.duckdb_rows(metadata(target), "id, v"))) == dict(target.rows())
    target.sink.maintain("orders")
    assert target.rows() == [(n, "b" if n < 3 else "a") for n in range(6)]
    target.close()
