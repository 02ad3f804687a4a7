"""A target in memory: the sink's contract in plain Python, row by row, to compare the real ones with."""

import copy
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field

import pyarrow as pa

from millrace.schemas.model.change import CHANGE_FIELDS, OP, POSITION, SOURCE, UNAVAILABLE, UPSERT
from millrace.schemas.model.table import Table, conform, grow
from millrace.transforms.sinks import Staged, TableSnapshot
from millrace.transforms.sinks.shared.ledger import JobLedger


@dataclass
class _Held:
    table: Table | None = None
    rows: dict = field(default_factory=dict)
    tombstones: dict = field(default_factory=dict)
    truncate: bytes | None = None
    ledger: JobLedger = field(default_factory=JobLedger)


@dataclass
class MemorySink:
    """Keeps rows by key with their positions, tombstones and the ledger; nothing outlives the object."""

    held: dict = field(default_factory=dict)
    staged: dict = field(default_factory=dict)

    def stage(self, table, delta):
        uri = f"memory:{len(self.staged)}"
        self.staged[uri] = delta
        return Staged(table, uri, delta.num_rows)

    def commit(self, table, staged, commit):
        mine = self.held.setdefault(table.name, _Held())
        for part in staged:
            columns = (
                part.table.columns if mine.table is None else grow(table.name, mine.table.columns, part.table.columns)
            )
            mine.table = Table(table.name, part.table.key, columns)
        floor = max(filter(None, (mine.truncate, commit.truncate)), default=None)
        rows, tombstones = dict(mine.rows), dict(mine.tombstones)
        if floor is not None:
            rows = {key: row for key, row in rows.items() if row[POSITION] > floor}
            tombstones = {key: at for key, at in tombstones.items() if at > floor}
        applied, superseded = Counter(), Counter()
        for part in staged:
            for change in self.staged[part.uri].to_pylist():
                key = tuple(change[name] for name in part.table.key)
                held = max(rows.get(key, {}).get(POSITION, b""), tombstones.get(key, b""), floor or b"")
                if change[POSITION] <= held:
                    superseded[change[SOURCE]] += 1
                    continue
                applied[change[SOURCE]] += 1
                old = rows.pop(key, {})
                tombstones.pop(key, None)
                if change[OP] != UPSERT:
                    tombstones[key] = change[POSITION]
                    continue
                kept = {name: old.get(name) for name in change.get(UNAVAILABLE) or ()}
                rows[key] = {
                    name: value for name, value in {**change, **kept}.items() if name not in (OP, SOURCE, UNAVAILABLE)
                }
        applied.pop(-1, None)
        superseded.pop(-1, None)
        accounts = commit.full_accounts(applied, superseded)
        mine.ledger = mine.ledger.advanced(table.name, commit, accounts)
        mine.rows, mine.tombstones, mine.truncate = rows, tombstones, floor
        return accounts

    def ledger(self, job, table, partitions):
        mine = self.held.get(table, _Held())
        return mine.ledger.of(partitions, mine.truncate)

    @contextmanager
    def snapshot(self, table):
        then = MemorySink(copy.deepcopy(self.held))
        yield TableSnapshot(
            table in then.tables(),
            lambda job, partitions: then.ledger(job, table, partitions),
            lambda columns: then.scan(table, columns),
        )

    def scan(self, table, columns=None):
        mine = self.held[table]
        schema = mine.table.columns
        whole = pa.schema([*schema, CHANGE_FIELDS[1]])
        rows = [{name: row.get(name) for name in whole.names} for row in mine.rows.values()]
        batch = pa.RecordBatch.from_pylist(rows, schema=whole)
        wanted = schema if columns is None else pa.schema([whole.field(name) for name in columns])
        yield conform(batch, wanted)

    def tables(self):
        return tuple(name for name, held in self.held.items() if held.table is not None)

    def describe(self, table):
        return f"memory: {table}"

    def close(self):
        pass
