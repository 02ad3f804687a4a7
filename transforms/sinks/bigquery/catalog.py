"""What Millrace knows of its tables in a data set, in two tables of its own that take changes as the others do.

    _millrace_tables    by job and table: key (JSON) and columns (the stream's schema as Arrow IPC) as this job had
                        them, NULL before the first row; the newest TRUNCATE's position; a version, which is the
                        sequence number; format, the version of positions
    _millrace_ledger    by job, table, topic and partition: next (offset, and the sequence number), start, first and
                        stop of the last commit, its time, the sums of all accounts, and how far its source has come
                        (`schemas.model.source_mark`)

A row is replaced as a whole, and an older one never replaces a newer: a writer that was thought dead cannot take the
ledger back. Each job writes rows of its own; a table is what all jobs' rows say together.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import pyarrow as pa

from ....schemas.model.stored_format import POSITIONS
from ....schemas.model.table import Table, unify
from ..shared.ledger import COLUMNS, JobLedger, LedgerChange, from_rows, to_rows
from .client import Dataset, bigquery
from .columns import schema_fields
from .merge import Changes, write

TABLES: Final = "_millrace_tables"
LEDGER: Final = "_millrace_ledger"
TEXT: Final = pa.string()
NUMBER: Final = pa.int64()
TABLES_SCHEMA: Final = pa.schema(
    {
        "job": TEXT,
        "table_name": TEXT,
        "key": TEXT,
        "columns": pa.binary(),
        "truncate": pa.binary(),
        "version": NUMBER,
        "format": NUMBER,
    }
)
PLACE_SCHEMA: Final = {"job": TEXT, "table_name": TEXT}
ROW_SCHEMA: Final = {name: TEXT if name in ("topic", "mark") else NUMBER for name in COLUMNS}
LEDGER_SCHEMA: Final = pa.schema({**PLACE_SCHEMA, **ROW_SCHEMA, "committed_at": pa.timestamp("us", "UTC")})
KEYS: Final = {
    TABLES: ("job", "table_name"),
    LEDGER: ("job", "table_name", "topic", "partition"),
}


@dataclass(frozen=True, slots=True)
class Known:
    """A table as all jobs have it, None before its first row; its newest TRUNCATE; the rows that say so, by job."""

    table: Table | None
    floor: bytes | None
    rows: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Catalog:
    """The two tables of a data set. They are made with the first row; without them nothing is known."""

    dataset: Dataset

    def names(self) -> tuple[str, ...]:
        """The tables that have rows, sorted. Raises SinkError."""
        return tuple(
            sorted({row["table_name"] for row in self._read(TABLES, ["table_name", "columns"], {}) if row["columns"]})
        )

    def known(self, name: str) -> Known:
        """What is known of a table. Raises SinkError."""
        rows = {row["job"]: row for row in self._read(TABLES, TABLES_SCHEMA.names, {"table_name": name})}
        for row in rows.values():
            POSITIONS.check(row["format"], f"BigQuery {self.dataset}.{TABLES}, table {name}")
        made = sorted((row for row in rows.values() if row["columns"]), key=lambda row: row["job"])
        floor = max((row["truncate"] for row in rows.values() if row["truncate"]), default=None)
        if not made:
            return Known(None, floor, rows)
        schemas = [pa.ipc.read_schema(pa.py_buffer(row["columns"])) for row in made]
        return Known(Table(name, tuple(json.loads(made[0]["key"])), unify(name, schemas)), floor, rows)

    def save(self, job: str, name: str, before: Known, table: Table | None, floor: bytes | None) -> None:
        """Keep the job's view of a table where it differs from what was known before. Raises SinkError."""
        old = before.rows.get(job)
        version = 1 + (old["version"] if old else 0)
        row = {
            "job": job,
            "table_name": name,
            "key": None if table is None else json.dumps(table.key),
            "columns": None if table is None else table.columns.serialize().to_pybytes(),
            "truncate": floor,
            "version": version,
            "format": POSITIONS.newest,
        }
        if old is None or any(old[part] != row[part] for part in ("key", "columns", "truncate")):
            self._write(TABLES, TABLES_SCHEMA, [row], [version])

    def job_ledger(self, job: str, name: str) -> JobLedger:
        """The job's ledger of a table. Raises SinkError."""
        rows = self._read(LEDGER, COLUMNS, {"job": job, "table_name": name})
        return from_rows(rows, f"BigQuery {self.dataset}.{LEDGER}", name)

    def advance(self, change: LedgerChange) -> None:
        """Write the entries that changed. Raises SinkError."""
        own = {"job": change.job, "table_name": change.table, "committed_at": datetime.now(UTC)}
        rows = [{**own, **row} for row in to_rows(change.after, change.changed())]
        if rows:
            self._write(LEDGER, LEDGER_SCHEMA, rows, [row["next"] or 0 for row in rows])

    def _read(self, table: str, columns: Sequence[str], where: Mapping[str, str]) -> list[dict[str, Any]]:
        conditions = " AND ".join(f"`{name}` = @{name}" for name in where)
        sql = f"SELECT {', '.join(f'`{name}`' for name in columns)} FROM {self.dataset.sql(table)}"
        parameters = [bigquery.ScalarQueryParameter(name, "STRING", value) for name, value in where.items()]
        batches = self.dataset.query(f"{sql} WHERE {conditions}" if where else sql, parameters)
        return [row for batch in batches for row in batch.to_pylist()]

    def _write(self, table: str, schema: pa.Schema, rows: list[dict[str, Any]], numbers: list[int]) -> None:
        if self.dataset.get(table) is None:
            self.dataset.create(table, schema_fields(schema), KEYS[table], {})
        sequence = pa.array([f"{number:X}" for number in numbers])
        write(self.dataset, table, Changes(pa.RecordBatch.from_pylist(rows, schema), sequence))
