"""What a target keeps of its tables, torn: by kind of target a way to tear each thing."""

import shutil
from collections.abc import Callable
from pathlib import Path

import duckdb
import psycopg
from pyiceberg.catalog import load_catalog

from support import mysql_target
from support.targets import PLACES, Target

Tear = Callable[[Target], object]


def cut(path: Path) -> None:
    """The first half of the file is left."""
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def newest(target: Target, pattern: str) -> Path:
    return max(target.folder.rglob(pattern), key=lambda path: (path.stat().st_mtime, path.name))


def in_duckdb(*statements: str) -> Tear:
    def tear(target: Target) -> None:
        with duckdb.connect(str(target.folder / "warehouse.duckdb")) as con:
            for statement in statements:
                con.execute(statement)

    return tear


def in_postgres(*statements: str) -> Tear:
    def tear(target: Target) -> None:
        place = PLACES["postgres"](target.folder)
        with psycopg.connect(place["dsn"], autocommit=True) as con:
            con.execute(f'SET search_path TO "{place["schema"]}"'.encode())
            for statement in statements:
                con.execute(statement.encode())

    return tear


def in_mysql(statement: str) -> Tear:
    return lambda target: mysql_target.sql(target, statement)


def catalog(target: Target):
    return load_catalog("default", **PLACES["iceberg"](target.folder)["catalog"])


def with_property(name: str, text: str) -> Tear:
    def tear(target: Target) -> None:
        with catalog(target).load_table(("shop", "orders")).transaction() as change:
            change.set_properties(**{name: text})

    return tear


IN_SQL = {
    "mark": ['UPDATE _millrace_ledger SET mark = \'{"connectors":{"a\''],
    "mark of another": ["UPDATE _millrace_ledger SET mark = '{}'"],
    "counts": ["UPDATE _millrace_ledger SET read = NULL"],
    "key": ["UPDATE _millrace_tables SET key = NULL"],
    "tombstones": ["DROP TABLE _millrace_tombstones_orders"],
    "position of tombstones": ["ALTER TABLE _millrace_tombstones_orders DROP COLUMN _millrace_position"],
    "position": ["ALTER TABLE orders DROP COLUMN _millrace_position"],
    "table": ["DROP TABLE orders"],
}
METADATA, TOMBSTONES = "lake/shop/orders/metadata", "lake/shop/_millrace_tombstones_orders/metadata"
MENDED: dict[str, dict[str, Tear]] = {
    "duckdb": {name: in_duckdb(*statements) for name, statements in IN_SQL.items()}
    | {
        "columns": in_duckdb("UPDATE _millrace_tables SET columns = 'abc'::BLOB"),
    },
    "postgres": {name: in_postgres(*statements) for name, statements in IN_SQL.items()}
    | {"columns": in_postgres("UPDATE _millrace_tables SET columns = substring(columns from 1 for 20)")},
    "mysql": {name: in_mysql(IN_SQL[name][0]) for name in ("mark", "mark of another", "table")},
    "delta": {
        "tombstones": lambda target: shutil.rmtree(target.folder / "lake" / "_millrace_tombstones"),
        "log of tombstones": lambda target: cut(newest(target, "_millrace_tombstones/orders/_delta_log/*.json")),
        "data": lambda target: [cut(path) for path in (target.folder / "lake" / "orders").glob("*.parquet")],
    },
    "iceberg": {
        "ledger": with_property("millrace.ledger.shop", '{"format": 1, "topics": {"or'),
        "ledger of another": with_property("millrace.ledger.shop", '{"format": 1}'),
        "truncate": with_property("millrace.truncate", "0a0"),
        "tombstones": lambda target: catalog(target).drop_table(("shop", "_millrace_tombstones_orders")),
        "metadata of tombstones": lambda target: cut(newest(target, f"{TOMBSTONES}/*.metadata.json")),
        "manifest list of tombstones": lambda target: cut(newest(target, f"{TOMBSTONES}/snap-*.avro")),
        "data": lambda target: [cut(path) for path in (target.folder / "lake/shop/orders/data").rglob("*.parquet")],
    },
}
"""What `millrace resync` mends."""
LOST: dict[str, dict[str, Tear]] = {
    "duckdb": {
        "file": lambda target: cut(target.folder / "warehouse.duckdb"),
        "column of the ledger": in_duckdb("ALTER TABLE _millrace_ledger DROP COLUMN mark"),
        "ledger": in_duckdb("DROP TABLE _millrace_ledger"),
    },
    "postgres": {"tables": in_postgres("DROP TABLE _millrace_tables")},
    "mysql": {"key": in_mysql("UPDATE _millrace_tables SET `key` = '['")},
    "delta": {
        "log": lambda target: cut(newest(target, "orders/_delta_log/*.json")),
        "first of the log": lambda target: min((target.folder / "lake/orders/_delta_log").glob("*.json")).unlink(),
    },
    "iceberg": {
        "table": with_property("millrace.table", '{"format": 1, "na'),
        "metadata": lambda target: cut(newest(target, f"{METADATA}/*.metadata.json")),
        "manifest list": lambda target: cut(newest(target, f"{METADATA}/snap-*.avro")),
        "manifests": lambda target: [cut(path) for path in (target.folder / METADATA).glob("*-m*.avro")],
        "catalog": lambda target: cut(target.folder / "lake" / "catalog.db"),
    },
}
"""What a backup mends, or nothing."""
ELSEWHERE = {
    "bigquery": "its tables are the server's own",
    "ducklake": "the code of duckdb",
    "files": "tests/transforms/sinks/files/test_crashes.py",
    "memory": "nothing outlives the process",
}
"""Targets of which nothing is torn here, and why."""
