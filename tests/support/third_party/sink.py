"""A target that keeps each table as a pickle: enough to show what a sink takes."""

import pickle
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa

from millrace.schemas.errors import TableError
from millrace.schemas.model.change import OP, POSITION, SOURCE, UPSERT
from millrace.schemas.model.ledger import Account, Commit, Ledger, TopicPartition
from millrace.schemas.model.table import Table
from millrace.transforms.sinks import Staged, TableSnapshot
from millrace.transforms.sinks.shared.ledger import JobLedger

from .specs import JsonTablesOptions

NOTHING: dict[str, Any] = {"schema": None, "rows": {}, "deleted": {}, "ledgers": {}}


class PickleSink:
    """Keeps the contract of a sink, but for tables that grow and values that the source left out."""

    def __init__(self, options: JsonTablesOptions) -> None:
        self._folder = Path(options.path)
        self._folder.mkdir(parents=True, exist_ok=True)

    def _read(self, table: str) -> dict[str, Any]:
        file = self._folder / f"{table}.pickle"
        return pickle.loads(file.read_bytes()) if file.exists() else dict(NOTHING)

    def _write(self, name: str, content: Any) -> Path:
        """As a whole or not at all."""
        new = self._folder / f".{name}.new"
        new.write_bytes(pickle.dumps(content))
        return new.rename(self._folder / f"{name}.pickle")

    def stage(self, table: Table, delta: pa.RecordBatch) -> Staged:
        file = self._write(f"staged-{id(delta)}", delta.to_pylist())
        return Staged(table, str(file), delta.num_rows)

    def commit(self, table: Table, staged: Sequence[Staged], commit: Commit) -> tuple[Account, ...]:
        held = self._read(table.name)
        rows, deleted = dict(held["rows"]), dict(held["deleted"])
        applied, superseded = Counter[int](), Counter[int]()
        for part in staged:
            for change in pickle.loads(Path(part.uri).read_bytes()):
                key = tuple(change[name] for name in part.table.key)
                known = max(rows.get(key, {}).get(POSITION, b""), deleted.get(key, b""))
                if change[POSITION] <= known:
                    superseded[change[SOURCE]] += 1
                    continue
                applied[change[SOURCE]] += 1
                rows.pop(key, None)
                deleted.pop(key, None)
                if change[OP] == UPSERT:
                    rows[key] = {name: value for name, value in change.items() if name not in (OP, SOURCE)}
                else:
                    deleted[key] = change[POSITION]
        accounts = commit.full_accounts(applied, superseded)
        ledger = held["ledgers"].get(commit.job, JobLedger()).advanced(table.name, commit, accounts)
        ledgers = {**held["ledgers"], commit.job: ledger}
        schema = staged[0].table.columns if staged else held["schema"]
        self._write(table.name, {"schema": schema, "rows": rows, "deleted": deleted, "ledgers": ledgers})
        return accounts

    def ledger(self, job: str, table: str, partitions: Sequence[TopicPartition]) -> Ledger:
        ledger: JobLedger = self._read(table)["ledgers"].get(job, JobLedger())
        return ledger.of(partitions, None)

    def scan(self, table: str, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        held = self._read(table)
        if held["schema"] is None:
            raise TableError(f"table {table}: there is none in {self._folder}")
        names = held["schema"].names if columns is None else columns
        yield pa.RecordBatch.from_pylist([{name: row[name] for name in names} for row in held["rows"].values()])

    @contextmanager
    def snapshot(self, table: str) -> Iterator[TableSnapshot]:
        yield TableSnapshot(
            table in self.tables(),
            lambda job, partitions: self.ledger(job, table, partitions),
            lambda columns: self.scan(table, columns),
        )

    def tables(self) -> tuple[str, ...]:
        return tuple(sorted(file.stem for file in self._folder.glob("*.pickle") if not file.stem.startswith("staged-")))

    def describe(self, table: str) -> str:
        return str(self._folder / f"{table}.pickle")

    def close(self) -> None:
        for file in self._folder.glob("staged-*.pickle"):
            file.unlink()
