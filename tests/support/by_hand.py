"""What people do to a target's table without Millrace: columns added, dropped and retyped, the table dropped."""

import duckdb
import pyarrow as pa

from support import mysql_target, postgres_tables
from support.iceberg_tables import catalog_of, opened
from support.targets import Target, bigquery_tables

CHANGES = {
    "add": "ALTER TABLE orders ADD COLUMN mine INTEGER",
    "drop": "ALTER TABLE orders DROP COLUMN v",
    "retype": "ALTER TABLE orders ALTER COLUMN n TYPE BIGINT",
    "gone": "DROP TABLE orders",
}


def _duckdb(target: Target, what: str) -> None:
    target.close()
    with duckdb.connect(str(target.folder / "warehouse.duckdb")) as con:
        con.execute(CHANGES[what])


def _postgres(target: Target, what: str) -> None:
    postgres_tables.sql(target, CHANGES[what])


def _mysql(target: Target, what: str) -> None:
    change = "ALTER TABLE orders MODIFY COLUMN n BIGINT" if what == "retype" else CHANGES[what]
    mysql_target.sql(target, change)


def _delta(target: Target, what: str) -> None:
    from deltalake import DeltaTable, Field, write_deltalake

    table = DeltaTable(str(target.folder / "lake" / "orders"))
    if what == "add":
        table.alter.add_columns([Field("mine", "integer")])
        return
    rows = pa.table(table.to_pyarrow_table())
    if what == "drop":
        rows = rows.drop_columns(["v"])
    else:
        at = rows.schema.get_field_index("n")
        rows = rows.set_column(at, rows.schema.field(at).with_type(pa.int64()), rows.column("n").cast(pa.int64()))
    write_deltalake(table, rows, mode="overwrite", schema_mode="overwrite")


def _iceberg(target: Target, what: str) -> None:
    from pyiceberg.types import IntegerType, LongType

    if what == "gone":
        catalog_of(target).drop_table(("shop", "orders"))
        return
    with opened(target).update_schema() as update:
        if what == "add":
            update.add_column("mine", IntegerType())
        elif what == "drop":
            update.delete_column("v")
        elif what == "rename":
            update.rename_column("v", "mine")
        else:
            update.update_column("n", LongType())


def _bigquery(target: Target, what: str) -> None:
    tables = bigquery_tables(target.folder)
    if what == "gone":
        del tables["orders"]
        return
    table = tables["orders"]
    column = type(table.columns[0])
    if what == "add":
        table.columns += (column("mine", "INTEGER"),)
    elif what == "drop":
        table.columns = tuple(part for part in table.columns if part.name != "v")
    else:
        table.columns = tuple(column("n", "NUMERIC") if part.name == "n" else part for part in table.columns)


BY_HAND = {
    "bigquery": _bigquery,
    "delta": _delta,
    "duckdb": _duckdb,
    "iceberg": _iceberg,
    "mysql": _mysql,
    "postgres": _postgres,
}
CANNOT = {("delta", "gone"), ("iceberg", "gone")}
"""A table that is dropped there is gone with its ledger: Millrace begins it anew."""


def change_by_hand(target: Target, what: str) -> None:
    """Do it as another program would, to the table `orders` with the columns id, v and n (int32)."""
    BY_HAND[target.kind](target, what)
    target.reopen()


def insert_by_hand(target: Target, key: int, value: str) -> None:
    """A new row (id, v) without a position, as another program would insert it."""
    row = pa.table({"id": [key], "v": [value]})
    if target.kind == "duckdb":
        target.close()
        with duckdb.connect(str(target.folder / "warehouse.duckdb")) as con:
            con.execute("INSERT INTO orders (id, v) VALUES (?, ?)", [key, value])
    elif target.kind == "delta":
        from deltalake import write_deltalake

        row = row.append_column("_millrace_position", pa.nulls(1, pa.binary()))
        write_deltalake(str(target.folder / "lake" / "orders"), row, mode="append")
    else:
        opened(target).append(row)
    target.reopen()


INSERTS = ("delta", "duckdb", "iceberg")
"""Targets where others can insert a row without a position; Postgres has a NOT NULL there."""
