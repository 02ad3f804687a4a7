"""Spark's procedures and statements between two of our commits to Iceberg: nothing is lost or doubled."""

import pytest
from support import iceberg_engines
from support.mode_tables import ModeTable
from support.targets import Placed, delete, upsert

from millrace.schemas.model.modes import Mode
from millrace.transforms.sinks.iceberg.pyiceberg import load_catalog

pytestmark = [pytest.mark.java, pytest.mark.timeout(900)]


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
