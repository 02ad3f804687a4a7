"""A target under test: a place for each sink of the registry, and short ways to feed it and to read it back."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import postgres_server
import pyarrow as pa

from millrace.schemas.change import CHANGE_FIELDS, DELETE, UNAVAILABLE, UNAVAILABLE_TYPE, UPSERT
from millrace.schemas.ledger import Account, Commit, Ledger, TopicPartition
from millrace.schemas.modes import Mode
from millrace.schemas.table import Table
from millrace.transforms.sinks import SINKS, Sink, Staged, modes_of, open_sink

PLACES = {
    "delta": lambda folder: {"path": str(folder / "lake")},
    "duckdb": lambda folder: {"path": str(folder / "warehouse.duckdb")},
    "files": lambda folder: {"path": str(folder / "logs")},
    "postgres": postgres_server.place,
    "iceberg": lambda folder: {
        "namespace": "shop",
        "catalog": {
            "type": "sql",
            "uri": f"sqlite:///{folder / 'lake' / 'catalog.db'}",
            "warehouse": f"file://{folder / 'lake'}",
        },
    },
}
MIRRORS = [kind for kind in sorted(SINKS) if Mode.MIRROR in modes_of(kind)]
ROW = pa.schema([("id", pa.int64()), ("v", pa.string())])


@dataclass(frozen=True)
class Change:
    """One row of a delta: `at` is its position, a number."""

    row: dict[str, Any]
    at: int
    op: int = UPSERT
    source: int = 0
    unavailable: Sequence[str] | None = None


def upsert(at: int, /, unavailable: Sequence[str] | None = None, source: int = 0, **row: Any) -> Change:
    return Change(row, at, UPSERT, source, unavailable)


def delete(at: int, /, source: int = 0, **key: Any) -> Change:
    return Change(key, at, DELETE, source)


def position(number: int) -> bytes:
    return number.to_bytes(24, "big")


def delta(schema: pa.Schema, changes: Iterable[Change]) -> pa.RecordBatch:
    changes = list(changes)
    columns = [pa.array([change.row.get(item.name) for change in changes], item.type) for item in schema]
    columns += [
        pa.array([change.op for change in changes], pa.int8()),
        pa.array([position(change.at) for change in changes], pa.binary(24)),
        pa.array([change.source for change in changes], pa.int32()),
    ]
    fields = [*schema, *CHANGE_FIELDS]
    if any(change.unavailable is not None for change in changes):
        columns.append(pa.array([change.unavailable for change in changes], UNAVAILABLE_TYPE))
        fields.append(pa.field(UNAVAILABLE, UNAVAILABLE_TYPE))
    return pa.RecordBatch.from_arrays(columns, schema=pa.schema(fields))


@dataclass
class Target:
    """A sink, opened at the first use, and one job's table in it."""

    kind: str
    folder: Path
    options: dict[str, Any] = field(default_factory=dict)
    name: str = "orders"
    key: tuple[str, ...] = ("id",)
    schema: pa.Schema = ROW
    topic: str = "orders"
    job: str = "shop"
    _sink: Sink | None = None

    @property
    def sink(self) -> Sink:
        if self._sink is None:
            self._sink = open_sink(self.kind, {**PLACES[self.kind](self.folder), **self.options})
        return self._sink

    def reopen(self) -> None:
        """As a new process would find it."""
        self.close()
        self._sink = None

    def close(self) -> None:
        if self._sink is not None:
            self._sink.close()

    def table(self, schema: pa.Schema | None = None) -> Table:
        return Table(self.name, self.key, schema or self.schema)

    def stage(self, *changes: Change, schema: pa.Schema | None = None) -> Staged:
        table = self.table(schema)
        return self.sink.stage(table, delta(table.columns, changes))

    def commit(self, staged: Sequence[Staged], account: Account | None = None, **more: Any) -> Account:
        account = account or self.account(sum(part.rows for part in staged))
        table = staged[0].table if staged else Table(self.name, (), pa.schema([]))
        return self.sink.commit(table, staged, Commit(self.job, (account,), **more))[0]

    def account(self, read: int, first: int | None = None, stop: int | None = None) -> Account:
        """The range that follows the ledger."""
        first = self.next or 0 if first is None else first
        return Account(self.topic, 0, first, first + read if stop is None else stop, read=read)

    def apply(self, *changes: Change, schema: pa.Schema | None = None, **more: Any) -> tuple[int, int]:
        """Stage and commit; how many were applied and how many superseded."""
        settled = self.commit([self.stage(*changes, schema=schema)], **more)
        return settled.applied, settled.superseded

    @property
    def ledger(self) -> Ledger:
        return self.sink.ledger(self.job, self.name, [TopicPartition(self.topic, 0)])

    @property
    def next(self) -> int | None:
        return self.ledger.next.get(TopicPartition(self.topic, 0))

    def read(self, columns: Sequence[str] | None = None) -> pa.Table:
        batches = list(self.sink.scan(self.name, columns))
        return pa.Table.from_batches(batches) if batches else pa.table({})

    def rows(self) -> list[tuple[Any, ...]]:
        """The rows as tuples, sorted."""
        return sorted((tuple(row.values()) for row in self.read().to_pylist()), key=repr)
