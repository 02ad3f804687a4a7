"""A commit to a Postgres table: all verbs in one transaction, under the lock of the table's row in `_millrace_tables`.

The guard decides in SQL, over all staged rows at once.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import pyarrow as pa

from ....schemas.errors import IncompatibleSchemaError, TransientSinkError
from ....schemas.model.ledger import Account, TopicPartition
from ....schemas.model.spelling import spellings
from ....schemas.model.table import Table
from .. import Staged
from ..shared.commit import Counts, HeldTable, TableChanges
from ..shared.ledger import JobLedger, LedgerChange
from . import catalog, ledger, merge, staging
from .catalog import Kept
from .client import DataError, Session
from .columns import converted, is_limited
from .merge import Delta, RowCounts
from .staging import Part


@dataclass(frozen=True, slots=True)
class StagedRows:
    """The staged rows as one query, and how many there are."""

    delta: Delta
    count: int


@dataclass(frozen=True, slots=True)
class JudgedRows:
    """How many rows there are of each source and kind, by whether the guard accepts them; the floor that it used."""

    by_kind: RowCounts
    floor: bytes | None

    @property
    def counts(self) -> Counts:
        """By source number; rows without a source are not counted."""
        counts = Counts(Counter(), Counter())
        for (source, _, accepted), rows in self.by_kind.items():
            if source >= 0:
                (counts.applied if accepted else counts.superseded)[source] += rows
        return counts


@dataclass(slots=True)
class PostgresCommit:
    """The session is in a transaction, which its owner ends."""

    session: Session
    retention: timedelta
    changes: TableChanges
    kept: Kept | None = None

    @property
    def place(self) -> str:
        """The schema."""
        return f"schema {self.session.schema}"

    def already_committed(self) -> tuple[Account, ...] | None:
        """Nothing tells: the guard and the ledger refuse what is repeated."""
        return None

    def held(self) -> HeldTable:
        """Locks the table's row: other commits of the table wait from here on."""
        held = catalog.lock_table(self.session, self.changes.name)
        self.kept = None if held.table is None else Kept(held.table, frozenset())
        return held

    def names(self) -> tuple[str, ...]:
        """Under the lock of the schema, so that no other transaction makes one of these names now."""
        catalog.lock_schema(self.session)
        return catalog.names(self.session)

    def grow(self, table: Table) -> None:
        """CREATE TABLE or ALTER TABLE."""
        self.kept = catalog.grow(self.session, None if self.kept is None else self.kept.table, table)

    def job_ledger(self, job: str, partitions: Sequence[TopicPartition]) -> JobLedger:
        """From `_millrace_ledger`."""
        return ledger.read(self.session, job, self.changes.name)

    def read(self, table: Table, staged: Sequence[Staged]) -> StagedRows:
        """The staged tables as one query, in the columns of the table. Raises TransientSinkError."""
        with self._values():
            parts = self._parts(staged)
            self.kept = catalog.with_beyond(self.session, self._there, _beyond(self._there, parts))
            return StagedRows(merge.combined(self._there, parts), sum(part.rows for part in staged))

    def judge(self, rows: StagedRows, floor: bytes | None) -> JudgedRows:
        """One query; a crash of the server, which empties staged tables, is noticed by the number of rows."""
        with self._values():
            judged = JudgedRows(merge.judge(self.session, self._there, rows.delta, floor), floor)
        if sum(judged.by_kind.values()) != rows.count:
            raise self._gone()
        return judged

    def truncate(self, position: bytes) -> None:
        """Two DELETEs."""
        catalog.save_truncate(self.session, self.changes.name, position)
        if self.kept is not None:
            merge.truncate(self.session, self.kept, position)

    def write(self, rows: StagedRows, judged: JudgedRows) -> None:
        """One MERGE, and two statements for the tombstones."""
        with self._values():
            changed = merge.write(self.session, self._there, rows.delta, judged.floor)
        merge.check_changed(self._there, judged.by_kind, changed)

    def prune_tombstones(self) -> None:
        """One DELETE."""
        merge.prune(self.session, self._there, self.retention)

    def write_ledger(self, change: LedgerChange) -> None:
        """The job's rows anew."""
        ledger.write(self.session, change)

    @property
    def _there(self) -> Kept:
        assert self.kept is not None
        return self.kept

    def _parts(self, staged: Sequence[Staged]) -> list[Part]:
        """The staged tables; those whose nested values are written in another way by now are staged again."""
        parts = staging.find(self.session, [part.uri for part in staged], [part.table for part in staged])
        if parts is None:
            raise self._gone()
        table = self._there.table
        return [
            staging.put_again(self.session, table, part) if _needs_arrow(part.table.columns, table.columns) else part
            for part in parts
        ]

    def _gone(self) -> TransientSinkError:
        return TransientSinkError(
            f"the staged rows of table {self.changes.name} are gone: their worker was stopped, or the server crashed; "
            "run the job again"
        )

    @contextmanager
    def _values(self) -> Iterator[None]:
        """A value that Postgres refuses is a matter of the table's columns."""
        try:
            yield
        except DataError as error:
            raise IncompatibleSchemaError(
                f"table {self.changes.name}: a value does not fit the table's column ({error.diag.message_primary}); "
                "write to a new table"
            ) from error


def _castable(part: Part, kept: Kept) -> bool:
    """Whether SQL can turn the part's values into those of the table's columns."""
    columns = kept.table.columns
    return all(converted(field.type, columns.field(field.name).type, "v") is not None for field in part.table.columns)


def _beyond(kept: Kept, parts: Sequence[Part]) -> frozenset[int]:
    """The numbers of the table's columns for which a part holds values beyond Postgres' range."""
    names = [part.table.columns.names[int(column[1:])] for part in parts for column in part.columns if column[0] == "b"]
    fields = kept.table.columns
    return frozenset(fields.get_field_index(name) for name in names if is_limited(fields.field(name).type))


def _needs_arrow(staged: pa.Schema, columns: pa.Schema) -> bool:
    """Whether SQL cannot bring staged rows into these columns: a type is converted by Arrow, or a name respelled."""
    if spellings(staged.names, columns.names):
        return True
    return any(converted(field.type, columns.field(field.name).type, "v") is None for field in staged)
