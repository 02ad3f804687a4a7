"""Trino reads what Millrace wrote: every type, every mode, in each catalog; the same rows as our own scan."""

import pyarrow as pa
import pytest
from support import trino_catalogs
from support.iceberg_tables import live_files
from support.mode_tables import ModeTable
from support.targets import Placed, Target, delete, delta, upsert
from support.trino_catalogs import Lake
from support.trino_values import plain, shown
from support.values import VALUES

from millrace.schemas.model.modes import Mode
from millrace.transforms.sinks.iceberg.pyiceberg import load_catalog

pytestmark = [pytest.mark.java, pytest.mark.timeout(600)]
LAKES = {"iceberg": trino_catalogs.iceberg_in_postgres, "delta": trino_catalogs.delta}


@pytest.fixture(params=LAKES)
def lake(request, trino, tmp_path) -> Lake:
    return LAKES[request.param](trino, tmp_path)


@pytest.fixture
def target(lake, tmp_path):
    found = Placed(lake.kind, tmp_path, lake.options)
    yield found
    found.close()


def test_every_type(lake, target):
    count = max(map(len, VALUES))
    columns = {f"c{n}": pa.concat_arrays([v, pa.nulls(count - len(v), v.type)]) for n, v in enumerate(VALUES)}
    target.schema = pa.schema([("id", pa.int64()), *((name, values.type) for name, values in columns.items())])
    rows = delta(target.schema, [upsert(1, id=number) for number in range(count)])
    for number, (name, values) in enumerate(columns.items(), 1):
        rows = rows.set_column(number, name, values)
    target.commit([target.sink.stage(target.table(), rows)])
    asked = [f"CAST({name} AS double)" if pa.types.is_floating(v.type) else name for name, v in columns.items()]
    found = lake.sql(f"SELECT {', '.join(asked)} FROM orders ORDER BY id")
    for column, (name, values) in zip(zip(*found, strict=True), columns.items(), strict=True):
        assert plain(column) == plain(shown(values, lake.kind)), f"{name}: {values.type}"


MODES = {
    Mode.MIRROR: ("id", "v"),
    Mode.SOFT_DELETE: ("id", "v", "_millrace_deleted", "_millrace_deleted_at"),
    Mode.SCD2: ("id", "v", "_millrace_version", "_millrace_valid_from", "_millrace_valid_to", "_millrace_is_current"),
}


def ours(target: Target, lake: Lake, names) -> list:
    """Our scan, as Trino would show it."""
    table = target.read(names).combine_chunks()
    columns = [shown(table[name].combine_chunks(), lake.kind) for name in names]
    return sorted(map(plain, zip(*columns, strict=True)))


def theirs(lake: Lake, names) -> list:
    return sorted(map(plain, lake.sql(f"SELECT {', '.join(map(lake.column, names))} FROM orders")))


@pytest.mark.parametrize("mode", MODES)
def test_every_mode(lake, target, mode):
    table, names = ModeTable(target, mode), MODES[mode]
    table.feed(*(upsert(1, id=number, v="a") for number in range(8)))
    table.feed(upsert(2, id=1, v="b"), delete(3, id=2), upsert(4, id=9, v="ä"))
    table.feed(upsert(5, ["v"], id=1), delete(6, id=9), upsert(7, id=2, v=None), delete(8, id=3))
    assert theirs(lake, names) == ours(target, lake, names)
    live = {Mode.MIRROR: "true", Mode.SOFT_DELETE: 'NOT "_millrace_deleted"', Mode.SCD2: '"_millrace_is_current"'}
    now = sorted(map(tuple, lake.sql(f"SELECT id, v FROM orders WHERE {live[mode]}")), key=repr)
    assert now == sorted([(0, "a"), (1, "b"), (2, None), *((n, "a") for n in range(4, 8))], key=repr)


def test_growth_names_and_partitions(lake, tmp_path):
    options = {**lake.options, **({"partition_by": ["bucket(2, id)"]} if lake.kind == "iceberg" else {})}
    target = Placed(lake.kind, tmp_path, options, name="orders of 1")
    narrow = pa.schema([("id", pa.int32()), ("a b", pa.string())])
    wide = pa.schema([("id", pa.int64()), ("a b", pa.string()), ("new", pa.list_(pa.struct([("x", pa.float64())])))])
    target.apply(*(upsert(1, id=number, **{"a b": str(number)}) for number in range(6)), schema=narrow)
    target.apply(upsert(2, id=2**40, **{"a b": "w"}, new=[{"x": 1.5}]), delete(2, id=3), upsert(2, id=4), schema=wide)
    if lake.kind == "iceberg":
        assert live_files(load_catalog("default", **lake.options["catalog"]).load_table("shop.orders~20of~201"))[1]
    names = ", ".join(map(lake.column, wide.names))
    found = lake.trino.sql(f"SELECT {names} FROM {lake.table(target.name)} ORDER BY id", legacy_primitive_types=True)
    expected = [(0, "0", None), (1, "1", None), (2, "2", None), (4, None, None), (5, "5", None), (2**40, "w", [[1.5]])]
    assert found == expected
    target.close()


@pytest.mark.parametrize("type", ["iceberg", "delta"])
def test_tables_in_a_hive_metastore(trino, hive_settings, type, tmp_path):
    if type == "iceberg":
        lake = trino_catalogs.iceberg_in_hive(trino, hive_settings, "read")
    else:
        lake = trino_catalogs.delta_in_hive(trino, tmp_path, hive_settings["uri"], "read_delta")
    target = Placed(lake.kind, tmp_path, lake.options)
    target.apply(*(upsert(1, id=number, v="a") for number in range(8)))
    target.apply(upsert(2, id=1, v="b"), delete(3, id=2))
    assert theirs(lake, ("id", "v")) == ours(target, lake, ("id", "v")) != []
    target.close()


def test_a_table_in_a_rest_catalog(trino, rest_catalog, tmp_path):
    url, folder = rest_catalog
    lake = trino_catalogs.iceberg_by_rest(trino, url, folder, "read")
    target = Placed("iceberg", tmp_path, {**lake.options, "partition_by": ["truncate(1, v)"]})
    target.apply(*(upsert(1, id=number, v="a") for number in range(8)))
    target.apply(upsert(2, id=1, v="b"), delete(3, id=2))
    assert theirs(lake, ("id", "v")) == ours(target, lake, ("id", "v")) != []
    target.close()


def test_a_change_log_as_a_hive_table(trino, tmp_path):
    """Parquet files of the target `files`, their folders of dates as partitions that Trino finds itself."""
    target = Target("files", tmp_path)
    log = ModeTable(target, Mode.APPEND)
    log.feed(upsert(0, id=1, v="a"), upsert(1, ["v"], id=1), delete(2, id=1), upsert(3, id=2, v=None))
    log.feed(upsert(4, id=1, v="e"))
    catalog = trino.catalog("hive", {
        "hive.metastore": "file", "hive.metastore.catalog.dir": f"file://{tmp_path}/meta", "fs.hadoop.enabled": "true",
        "hive.non-managed-table-writes-enabled": "true",
    })  # fmt: skip
    trino.sql(f"CREATE SCHEMA {catalog}.shop")
    trino.sql(
        f'CREATE TABLE {catalog}.shop.orders (id bigint, v varchar, "_millrace_change" varchar, '
        '"_millrace_offset" bigint, "_millrace_not_sent" array(varchar), "date" varchar) WITH (format = \'PARQUET\', '
        f"partitioned_by = ARRAY['date'], external_location = 'file://{tmp_path}/logs/orders')"
    )
    trino.sql(f"CALL {catalog}.system.sync_partition_metadata('shop', 'orders', 'ADD')")
    names = ["id", "v", "_millrace_change", "_millrace_offset", "_millrace_not_sent"]
    found = trino.sql(f'SELECT {", ".join(names)} FROM {catalog}.shop.orders ORDER BY "_millrace_offset"')
    assert found == [
        (1, "a", "upsert", 0, None), (1, None, "upsert", 1, ["v"]), (1, None, "delete", 2, None),
        (2, None, "upsert", 3, None), (1, "e", "upsert", 4, None),
    ]  # fmt: skip
    assert sorted(found, key=repr) == log.rows(*names)
    target.close()
