"""A target under test: a place for each sink of the registry, and short ways to feed it and to read it back."""

import atexit
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any
from zlib import crc32

import pyarrow as pa
import pytest

from millrace.schemas.model.change import CHANGE_FIELDS, DELETE, POSITION_TYPE, UNAVAILABLE, UNAVAILABLE_TYPE, UPSERT
from millrace.schemas.model.ledger import Account, Commit, Ledger, TopicPartition
from millrace.schemas.model.modes import Mode
from millrace.schemas.model.table import Table
from millrace.transforms.sinks import SINKS, Sink, Staged, open_sink
from millrace.transforms.sinks.iceberg import table_cache
from millrace.transforms.sinks.memory.sink import MemorySink
from millrace.transforms.sinks.shared.guarantees import Promise
from support import mysql_target, postgres_server
from support.bigquery_server import BigQueryServer


@cache
def bigquery_server() -> BigQueryServer:
    """One for all tests of this process; each folder has a data set of its own, where the folder exists."""
    server = BigQueryServer().__enter__()
    atexit.register(server.__exit__)
    return server


def bigquery_dataset(folder: Path) -> str:
    return f"d{crc32(str(folder).encode()):08x}"


def bigquery_tables(folder: Path) -> dict[str, Any]:
    """What the server holds of the folder's data set, by name."""
    return bigquery_server().datasets[bigquery_dataset(folder)]


def bigquery_place(folder: Path) -> dict[str, Any]:
    server, dataset = bigquery_server(), bigquery_dataset(folder)
    if folder.is_dir():
        server.datasets.setdefault(dataset, {})
    return {"project": server.project, "dataset": dataset, "emulator": server.emulator}


@contextmanager
def bigquery_without_rights() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        bigquery_server().forbidden.add(bigquery_dataset(Path(folder)))
        yield Path(folder)


@contextmanager
def folder_without_rights() -> Iterator[Path]:
    user = os.geteuid()
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o555)
        try:
            os.seteuid(user or 65_534)
            yield Path(folder)
        finally:
            os.seteuid(user)


def memory_place(folder: Path) -> dict[str, Any]:
    """A name for each folder that exists, as a test would make it before its job."""
    if folder.is_dir():
        MemorySink(str(folder))
    return {"name": str(folder)}


PLACES = {
    "bigquery": bigquery_place,
    "delta": lambda folder: {"path": str(folder / "lake")},
    "duckdb": lambda folder: {"path": str(folder / "warehouse.duckdb")},
    "ducklake": lambda folder: {"catalog": f"sqlite:{folder / 'lake.db'}", "data_path": str(folder / "lake")},
    "files": lambda folder: {"path": str(folder / "logs")},
    "memory": memory_place,
    "mysql": mysql_target.place,
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
IN_FOLDER = {"ducklake": 2}
"""How many files and folders a kind of target makes in the folder of its place, where they are more than one."""
MIRRORS = [kind for kind in sorted(SINKS) if Mode.MIRROR in SINKS[kind].modes]
SHOWN = {"bigquery": bigquery_dataset}
WITHOUT_RIGHTS = {"bigquery": bigquery_without_rights}
NO_RIGHTS = {"memory"}
"""Kinds of targets whose places have no rights that could be missing."""
ROW = pa.schema([("id", pa.int64()), ("v", pa.string())])


def skip_without_ducklake(kind: str) -> None:
    """DuckLake needs an older DuckDB: `tests/deploy` runs its tests in an environment of its own."""
    if kind == "ducklake" and not installed("duckdb-extension-ducklake"):
        pytest.skip("no DuckLake beside this DuckDB: tests/deploy/test_package.py runs its tests")


def installed(name: str) -> bool:
    """Whether this package is installed."""
    try:
        distribution(name)
    except PackageNotFoundError:
        return False
    return True


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
    return number.to_bytes(32, "big")


def delta(schema: pa.Schema, changes: Iterable[Change]) -> pa.RecordBatch:
    changes = list(changes)
    columns = [pa.array([change.row.get(item.name) for change in changes], item.type) for item in schema]
    columns += [
        pa.array([change.op for change in changes], pa.int8()),
        pa.array([position(change.at) for change in changes], POSITION_TYPE),
        pa.array([change.source for change in changes], pa.int32()),
    ]
    fields = [*schema, *CHANGE_FIELDS]
    if any(change.unavailable is not None for change in changes):
        columns.append(pa.array([change.unavailable for change in changes], UNAVAILABLE_TYPE))
        fields.append(pa.field(UNAVAILABLE, UNAVAILABLE_TYPE))
    return pa.RecordBatch.from_arrays(columns, schema=pa.schema(fields))


class AnyCounts(tuple[int, int]):
    """(applied, superseded) of a target that does not know what was refused: that counts as applied too."""

    __hash__ = tuple.__hash__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, tuple) and sum(self) == sum(other) and self[1] <= other[1]


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
            skip_without_ducklake(self.kind)
            self._sink = open_sink(self.kind, {**PLACES[self.kind](self.folder), **self.options})
        return self._sink

    @property
    def exceptions(self) -> Mapping[Promise, str]:
        """What this target declares that it cannot promise."""
        return SINKS[self.kind].exceptions

    @property
    def shown(self) -> str:
        """How errors name the target's place."""
        return SHOWN.get(self.kind, lambda folder: "/".join(folder.parts[-2:]))(self.folder)

    def reopen(self) -> None:
        """As a new process would find it."""
        self.close()
        table_cache.clear()
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
        return self.counts(self.commit([self.stage(*changes, schema=schema)], **more))

    def counts(self, settled: Account) -> tuple[int, int]:
        """(applied, superseded), to be compared with what an exact guard would count."""
        kind = AnyCounts if Promise.COUNTS in self.exceptions else tuple
        return kind((settled.applied, settled.superseded))

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


class Placed(Target):
    """A target with options of its own, not those of `PLACES`."""

    @property
    def sink(self) -> Sink:
        if self._sink is None:
            self._sink = open_sink(self.kind, self.options)
        return self._sink
