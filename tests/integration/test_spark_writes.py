"""Spark reads our lakes, and writes them between two of our commits: nothing is lost or doubled."""

from pathlib import Path

import pytest
from support import delta_engines, iceberg_engines
from support.lake_history import SCHEMA, SELECT, history
from support.mode_tables import ModeTable
from support.targets import Placed, Target, delete, upsert

from millrace.schemas.model.modes import Mode
from millrace.transforms.sinks.iceberg.pyiceberg import load_catalog

pytestmark = [pytest.mark.java, pytest.mark.timeout(900)]
LOG = ("id", "v", "_millrace_change", "_millrace_offset")


def test_iceberg_goes_on_after_sparks_procedures(rest_catalog, tmp_path):
    """Its delete files then are for several data files at once; ours are for one each."""
    url, folder = rest_catalog
    options = {"namespace": "spark", "catalog": {"type": "rest", "uri": url}, "staging": f"file://{folder}"}
    options["partition_by"] = {"parts": ["bucket(2, id)"]}
    targets = [Placed("iceberg", tmp_path, options, name=name, topic=name) for name in ("orders", "parts")]
    tables = [ModeTable(target, Mode.MIRROR) for target in targets]
    for table in tables:
        for at in range(1, 6):
            table.feed(*(upsert(at, id=number, v=f"a{at}") for number in range(at, 12)), delete(at, id=30 + at))
    changes = ("UPDATE {} SET v = 'people' WHERE id IN (6, 7)", "DELETE FROM {} WHERE id IN (8, 9)")
    of_spark(url, "CALL lake.system.rewrite_position_delete_files(table => '{}', options => {all})", *changes)
    left = [(n, f"a{n}") for n in range(1, 5)] + [(5, "a5"), (6, "people"), (7, "people"), (10, "a5"), (11, "a5")]
    window = (upsert(6, id=6, v="b"), upsert(6, id=8, v="b"), delete(6, id=1), upsert(4, id=5, v="late"))
    for table in tables:
        assert sorted(table.rows("id", "v")) == left
        (account,) = table.feed(*window).accounts
        assert (account.applied, account.superseded) == (3, 1)
    of_spark(
        url,
        "CALL lake.system.rewrite_data_files(table => '{}', options => {all})",
        "CALL lake.system.rewrite_position_delete_files(table => '{}', options => {all})",
        "CALL lake.system.rewrite_manifests(table => '{}')",
        "CALL lake.system.expire_snapshots(table => '{}', older_than => TIMESTAMP '2100-01-01 00:00:00')",
    )
    late = (upsert(5, id=6, v="late"), upsert(5, id=1, v="late"), upsert(5, id=31, v="new"), upsert(7, id=7, v="c"))
    expected = [(2, "a2"), (3, "a3"), (4, "a4"), (5, "a5"), (6, "b"), (7, "c"), (8, "b"), (10, "a5"), (11, "a5")]
    for target, table in zip(targets, tables, strict=True):
        (account,) = table.feed(*late).accounts
        assert (account.applied, account.superseded) == (2, 2)
        assert sorted(table.rows("id", "v")) == [*expected, (31, "new")]
        metadata = load_catalog("default", type="rest", uri=url).load_table(f"spark.{target.name}").metadata_location
        assert sorted(map(tuple, iceberg_engines.duckdb_rows(metadata, "id, v"))) == [*expected, (31, "new")]
        target.sink.maintain(target.name)
        assert sorted(table.rows("id", "v")) == [*expected, (31, "new")]
        assert target.next == table.next
        target.close()


def of_spark(url: str, *statements: str) -> None:
    """Run each statement for both tables."""
    names = {"CALL": "spark.", "UPDA": "lake.spark.", "DELE": "lake.spark."}
    said = [
        statement.format(names[statement[:4]] + table, all="map('rewrite-all', 'true')")
        for table in ("orders", "parts")
        for statement in statements
    ]
    iceberg_engines.spark_sql(url, *said)


def change_log(folder: Path) -> Path:
    """A table of the target `files`, of two commits."""
    target = Target("files", folder)
    log = ModeTable(target, Mode.APPEND)
    log.feed(upsert(0, id=1, v="a"), upsert(1, ["v"], id=1), delete(2, id=1))
    log.feed(upsert(3, id=2, v="e"))
    target.close()
    return folder / "logs" / "orders"


def test_delta_goes_on_after_sparks_writes_and_a_change_log_is_a_table_of_spark(tmp_path):
    """All values come to Spark and back as they were, microseconds and bytes among them."""
    reason = iceberg_engines.missing_for_java()
    if reason is not None:
        pytest.skip(reason)
    target = Target("delta", tmp_path, schema=SCHEMA)
    rows = history(target)
    reached = target.next
    at = f"delta.`{tmp_path}/lake/orders`"
    kept, changed, gone = (row[0] for row in rows[:3])
    log, before, *_, after = delta_engines.spark_sql(
        f"SELECT {', '.join(LOG)} FROM parquet.`{change_log(tmp_path)}` ORDER BY _millrace_offset",
        f"SELECT {SELECT['spark']} FROM {at}",
        f"UPDATE {at} SET name = 'people' WHERE id = {changed}",
        f"DELETE FROM {at} WHERE id = {gone}",
        f"INSERT INTO {at} (id, name) VALUES (1000, 'people'), (1001, 'people')",
        f"OPTIMIZE {at}",
        f"VACUUM {at} RETAIN 0 HOURS",
        f"SELECT {SELECT['spark']} FROM {at}",
    )
    assert log == [[1, "a", "upsert", 0], [1, None, "upsert", 1], [1, None, "delete", 2], [2, "e", "upsert", 3]]
    assert sorted(before) == rows
    people = [[number, None, "people", None, None, None, None] for number in (1000, 1001)]
    touched = [[*rows[1][:2], "people", *rows[1][3:]]]
    expected = sorted([rows[0], *touched, *rows[3:], *people])
    assert sorted(after) == expected
    assert sorted(delta_engines.duckdb_rows(tmp_path / "lake" / "orders", SELECT["duckdb"])) == expected
    target.reopen()
    assert target.apply(upsert(30, id=gone, name="b"), upsert(30, id=1000, name="b"), upsert(1, id=kept)) == (2, 1)
    names = {row["id"]: row["name"] for row in target.read(["id", "name"]).to_pylist()}
    assert names == {**{row[0]: row[2] for row in expected}, gone: "b", 1000: "b"}
    assert target.next == reached + 3
    target.close()
