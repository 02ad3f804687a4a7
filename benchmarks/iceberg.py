"""Figures of Iceberg: changes from Kafka into a table of many keys, beside `pyiceberg.upsert` on the same deltas."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.catalog import load_catalog

from millrace.pipelines.execution import pass_ranges
from millrace.schemas.merging.newest_by_key import newest_changes
from millrace.schemas.model.change import CHANGE_FIELDS, OP, POSITION, SOURCE, UPSERT
from millrace.schemas.model.ledger import Account, Commit
from millrace.schemas.model.position import pack
from millrace.schemas.model.table import Table
from millrace.transforms.sinks import open_sink

COMMIT = 200_000
FILL = 1_000_000
UPSERTS = 2
UPSERT_ROWS = 20_000
CATALOG = "{{type: sql, uri: 'sqlite:///{folder}/c.db', warehouse: '{folder}'}}"


def place(folder: Path) -> str:
    """The target of a job file."""
    return f"{{type: iceberg, namespace: shop, catalog: {CATALOG.format(folder=folder)}}}"


def catalog(folder: Path) -> Any:
    """pyiceberg's own."""
    return load_catalog("default", type="sql", uri=f"sqlite:///{folder}/c.db", warehouse=f"file://{folder}")


def fill(folder: Path, columns: pa.Schema, keys: int) -> None:
    """A table of `keys` rows that are older than every change; all but the key is NULL in them."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = {"type": "sql", "uri": f"sqlite:///{folder}/c.db", "warehouse": str(folder)}
    sink = open_sink("iceberg", {"namespace": "shop", "catalog": settings})
    table = Table("orders", ("id",), columns)
    for first in range(0, keys, FILL):
        ids = np.random.default_rng(first).permutation(np.arange(first, min(first + FILL, keys)))
        zeros = np.zeros(len(ids), np.uint64)
        own = [pa.array(np.full(len(ids), UPSERT, np.int8)), pack(zeros, zeros, np.arange(len(ids)))]
        values = [pa.array(ids) if field.name == "id" else pa.nulls(len(ids), field.type) for field in columns]
        rows = [*values, *own, pa.array(np.zeros(len(ids), np.int32))]
        delta = pa.RecordBatch.from_arrays(rows, schema=pa.schema([*columns, *CHANGE_FIELDS]))
        commit = Commit("fill", (Account("fill", 0, -1, -1, read=len(ids)),))
        sink.commit(table, [sink.stage(table, delta)], commit)
    sink.close()


def commits_of(changes: int) -> None:
    """Passes of this many changes, in this process."""
    pass_ranges.FEWEST = pass_ranges.MOST = changes  # type: ignore[misc]


def deltas(batches: list[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The newest change of each key, of stretches of `COMMIT` changes."""
    held, rows = [], 0
    for batch in batches:
        held.append(batch)
        rows += len(batch)
        if rows >= COMMIT:
            yield newest_changes("orders", ("id",), held).delta
            held, rows = [], 0


def pyiceberg_upsert(folder: Path, batches: list[pa.RecordBatch], keys: int) -> Callable[[], int]:
    """`Table.upsert`, and `Table.delete` for deletes, of the first rows of the first deltas: it is too slow for all."""
    found = [delta.slice(0, UPSERT_ROWS) for delta, _ in zip(deltas(batches), range(UPSERTS), strict=False)]
    columns = pa.schema([field for field in found[0].schema if not field.name.startswith("_millrace_")])
    fill(folder, columns, keys)
    table = catalog(folder).load_table("shop.orders")

    def measured() -> int:
        from pyiceberg.expressions import In

        for delta in found:
            mask = pc.equal(delta.column(OP), UPSERT)
            rows = pa.Table.from_batches([delta.filter(mask)]).drop_columns([OP, SOURCE])
            position = pc.cast(rows.column(POSITION), pa.binary())
            at = rows.schema.get_field_index(POSITION)
            rows = rows.set_column(at, POSITION, position).cast(table.schema().as_arrow(), safe=False)
            table.upsert(rows, join_cols=["id"])
            gone = delta.filter(pc.invert(mask)).column("id").to_pylist()
            table.delete(In("id", gone))
        return sum(map(len, found))

    return measured


def changed_rows(folder: Path, columns: str) -> pa.Table:
    """The rows that some change has written."""
    rows = catalog(folder).load_table("shop.orders").scan(selected_fields=tuple(columns.split(", "))).to_arrow()
    return rows.filter(pc.is_valid(rows.column("updated_at")))
