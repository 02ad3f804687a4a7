"""Figures of lakes: a change log in Parquet, and how a lake table's commits grow with the table and its history."""

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
from deltalake import DeltaTable
from pyiceberg.catalog import load_catalog

from millrace.schemas.model.change import CHANGE_FIELDS, DELETE, UPSERT
from millrace.schemas.model.ledger import Account, Commit
from millrace.schemas.model.position import pack
from millrace.schemas.model.table import Table
from millrace.transforms.sinks import Sink, open_sink

CHANGES = 50_000
FILL = 500_000
HISTORY_ROWS, HISTORY_CHANGES, HISTORY_DELETES = 100_000, 1_000, 50
WARM_UP, WINDOW = 10, 50
TIME_TRAVEL = "5s"
COLUMNS = pa.schema([("id", pa.int64()), ("customer", pa.string()), ("quantity", pa.int32()), ("amount", pa.float64())])
NEWEST = """SELECT {columns} FROM (SELECT * FROM read_parquet('{log}/*/*.parquet', union_by_name = true)
QUALIFY row_number() OVER (PARTITION BY id ORDER BY _millrace_position DESC) = 1) WHERE _millrace_change <> 'delete'"""

Tell = Callable[..., None]


def same_as_log(log: Path, table: str, columns: str) -> bool:
    """Whether the newest change of each key in the log is what the table in the DuckDB file holds."""
    with duckdb.connect() as db:
        db.execute(f"ATTACH '{table}' AS held (READ_ONLY)")
        newest, rows = NEWEST.format(columns=columns, log=log), f"SELECT {columns} FROM held.orders"
        pairs = ((newest, rows), (rows, newest))
        return all(db.execute(f"SELECT count(*) FROM ({a} EXCEPT ALL {b})").fetchall() == [(0,)] for a, b in pairs)


def lake_growth(kind: str, tell: Tell, sizes: tuple[int, ...]) -> None:
    """The time of a commit of 50,000 changes while the table grows: of the newest keys, then of random ones."""
    found: dict[str, list[float]] = {}
    for size in sizes:
        for keys in ("newest", "random"):
            with tempfile.TemporaryDirectory(prefix="bench-lake-") as folder:
                seconds, cpu, files = _commit_time(kind, Path(folder), size, keys)
            found.setdefault(keys, []).append(seconds)
            tell(f"{kind}_growth", rows=size, keys=keys, seconds=seconds, cpu_seconds=cpu, files=files)
    for keys, seconds in found.items():
        tell(f"{kind}_growth_ratio", keys=keys, table=sizes[-1] // sizes[0], time=round(seconds[-1] / seconds[0], 1))


def _commit_time(kind: str, folder: Path, size: int, keys: str) -> tuple[float, float, int]:
    """(seconds, CPU seconds, data files of the table) of the second commit on a table of `size` rows."""
    catalog = _catalog(folder)
    options: dict[str, Any] = {"namespace": "shop", "catalog": catalog} if kind == "iceberg" else {}
    sink = open_sink(kind, options or {"path": str(folder / "lake")})
    dice, table, at = np.random.default_rng(1), Table("orders", ("id",), COLUMNS), 1
    for ids in _filling(size):
        _commit(sink, table, ids, at)
        at += 1
    for _ in range(2):
        ids = np.arange(size - CHANGES, size) if keys == "newest" else dice.choice(size, CHANGES, replace=False)
        clock, cpu = time.perf_counter(), time.process_time()
        _commit(sink, table, ids, at)
        taken = round(time.perf_counter() - clock, 2), round(time.process_time() - cpu, 2)
        at += 1
    sink.close()
    if kind == "iceberg":
        files = load_catalog("default", **catalog).load_table("shop.orders").inspect.data_files().num_rows
        return (*taken, files)
    return (*taken, len(DeltaTable(str(folder / "lake" / "orders")).file_uris()))


def lake_history(tell: Tell, commits: int) -> None:
    """A commit of 1,000 changes, some of them deletes, after few commits and after many, with its maintenance.

    An Iceberg table whose time travel is so short that all snapshots which it keeps are there before the end.
    """
    dice, table, times = np.random.default_rng(1), Table("orders", ("id",), COLUMNS), list[tuple[float, float]]()
    with tempfile.TemporaryDirectory(prefix="bench-lake-") as folder:
        options = {"namespace": "shop", "catalog": _catalog(Path(folder)), "time_travel": TIME_TRAVEL}
        sink = open_sink("iceberg", options)
        _commit(sink, table, np.arange(HISTORY_ROWS), 1)
        for at in range(2, commits + 2):
            clock, cpu = time.perf_counter(), time.process_time()
            _commit(sink, table, dice.choice(HISTORY_ROWS, HISTORY_CHANGES, replace=False), at, HISTORY_DELETES)
            times.append((time.perf_counter() - clock, time.process_time() - cpu))
        sink.close()
    ends = times[WARM_UP : WARM_UP + WINDOW], times[-WINDOW:]
    (first, first_cpu), (last, last_cpu) = (np.median(part, axis=0) for part in ends)
    ratios = {"time": round(last / first, 2), "cpu_time": round(last_cpu / first_cpu, 2)}
    tell("iceberg_history", commits=commits, first_ms=round(first * 1000), last_ms=round(last * 1000), **ratios)


def _catalog(folder: Path) -> dict[str, str]:
    return {"type": "sql", "uri": f"sqlite:///{folder}/lake/c.db", "warehouse": str(folder / "lake")}


def _filling(size: int) -> Iterator[Any]:
    return (np.arange(first, min(first + FILL, size)) for first in range(0, size, FILL))


def _commit(sink: Sink, table: Table, ids: Any, at: int, deletes: int = 0) -> None:
    count = len(ids)
    numbers = np.full(count, at, np.uint64)
    kinds = np.where(np.arange(count) < deletes, np.int8(DELETE), np.int8(UPSERT))
    columns = [
        pa.array(ids),
        pa.array(ids % 1_000).cast(pa.string()),
        pa.array((ids % 90).astype(np.int32)),
        pa.array(ids * 1.25 + at),
        pa.array(kinds),
        pack(numbers, numbers, np.arange(count)),
        pa.array(np.zeros(count, np.int32)),
    ]
    delta = pa.RecordBatch.from_arrays(columns, schema=pa.schema([*COLUMNS, *CHANGE_FIELDS]))
    sink.commit(table, [sink.stage(table, delta)], Commit("bench", (Account("orders", 0, -1, -1, read=count),)))
