"""Positions of deleted rows: an Iceberg table of keys beside the table itself, kept for `tombstone_retention`.

They are written before the commit that deletes. Each such write has a number, the time of its deletes, which that
commit keeps among the table's properties. Tombstones of a write whose commit never came are *void*: they would refuse
changes that stand before the deletes, when the next run commits them apart.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ....schemas.errors import TableError
from ....schemas.model.change import POSITION
from ....schemas.model.table import Table, widened
from ..shared.commit import Conflict
from ..shared.damage import way_out
from ..shared.guard import NOTHING, Mask, Match
from .catalog.catalog import IcebergCatalog
from .catalog.names import catalog_name
from .evolve import fit, opened
from .keys.keyed_table import KeyedTable
from .maintenance import Maintenance
from .rows import read_all, write
from .table_format.columns import Shape
from .table_format.snapshots import Change

PREFIX: Final = "_millrace_tombstones_"
DELETED_AT: Final = pa.field("_millrace_deleted_at", pa.timestamp("us", "UTC"))
ATTEMPTS: Final = 8
WRITTEN: Final = "millrace.tombstones"
"""The number of the last write: a property of the tombstones, and of the table as of its last commit."""
VOID: Final = "millrace.void"
"""Numbers of writes before the last one whose commit never came, a JSON list."""


SINCE: Final = "millrace.tombstones.since"
"""The first number that counts: those before are of a table that this one has taken the place of."""


class Tombstones:
    """Those of one table. They are written before the commit that deletes, and read after its base was.

    So a writer that does not see a tombstone of another loses the race for the table itself, and looks again.
    """

    def __init__(self, catalog: IcebergCatalog, table: str, memory: int, retention: timedelta) -> None:
        self.keyed = KeyedTable(catalog, PREFIX + catalog_name(table), memory)
        self._name, self._retention = PREFIX + table, retention

    @property
    def maintenance(self) -> Maintenance:
        """Nobody reads old snapshots of tombstones, so a few stay; rewritten files lose what is too old."""
        return Maintenance(timedelta(0), (DELETED_AT.name, self._limit()))

    def find(self, shape: Shape, delta: pa.Table, keys: list[pa.Array], properties: Mapping[str, str]) -> Match:
        """Compare the delta's positions with those of its keys' tombstones that are not too old, and not void.

        `properties` are those of the table itself.
        """
        if not self.keyed.known():
            if properties.get(WRITTEN):
                name = shape.table.name
                raise TableError(f"table {name}: its tombstones, {self.keyed.name}, are gone; {way_out(name)}")
            return NOTHING
        self._fit(shape)
        found = self.keyed.find(keys)
        if not len(found.row) or self.keyed.shape is None:
            return NOTHING
        held = self.keyed.values(found, [self.keyed.shape.position_id, self._deleted_at])
        young = np.asarray(pc.greater_equal(held.column(1), self._limit()))
        young &= self._valid(held.column(1), properties)
        mine = delta.column(POSITION).combine_chunks().take(pa.array(found.row[young]))
        theirs = held.column(0).combine_chunks().filter(pa.array(young))
        newer, same = np.asarray(pc.greater(mine, theirs)), np.asarray(pc.equal(mine, theirs))
        return Match(found.row[young], newer, same)

    def write(self, shape: Shape, deleted: pa.Table, properties: Mapping[str, str]) -> dict[str, str]:
        """Add tombstones of these rows, in a commit of their own; files of which all are too old are dropped.

        `properties` are those of the table itself; gives what its commit has to add to them.
        """
        for _ in range(ATTEMPTS):
            try:
                return {WRITTEN: self._write(shape, deleted, properties)}
            except Conflict:
                self.keyed.recent = False
        raise Conflict(f"tombstones of {shape.table.name}")

    def all(self, shape: Shape, properties: Mapping[str, str]) -> pa.Table | None:
        """Those that count, with the key columns in the stream's names, and the position; None where there is none."""
        if not self.keyed.refresh() or self.keyed.shape is None or not self.keyed.shape.ids:
            return None
        mine = self.keyed.shape
        names = [*mine.table.key, POSITION, DELETED_AT.name]
        parts = []
        for rows in read_all(self.keyed, mine, names):
            parts.append(rows.filter(pa.array(self._valid(rows.column(DELETED_AT.name), properties))))
        return pa.concat_tables(parts).drop_columns([DELETED_AT.name]) if parts else None

    def put(self, shape: Shape, deleted: pa.Table | None, properties: Mapping[str, str]) -> dict[str, str]:
        """Add these, which alone count once the table has the properties that this gives.

        `properties` are those of the table as it is. Tombstones of another key are dropped: no job goes on with them.
        """
        try:
            fits = not self.keyed.refresh() or self.keyed.shape is None or _fits(self.keyed.shape.table, shape.table)
        except TableError:  # they are damaged
            fits = False
        if not fits:
            self.keyed.catalog.drop(self.keyed.name)
            self.keyed.recent = False
        if deleted is None or not len(deleted):
            return {WRITTEN: "", SINCE: str(pa.scalar(datetime.now(UTC), DELETED_AT.type).value)}
        written = self.write(shape, deleted, properties)
        return {**written, SINCE: written[WRITTEN]}

    def _valid(self, numbers: pa.ChunkedArray, properties: Mapping[str, str]) -> Mask:
        """Which of these numbers of writes count; `properties` are those of the table itself."""
        found = np.asarray(numbers.cast(pa.int64()))
        return (found >= int(properties.get(SINCE, 0))) & ~np.isin(found, self._void(properties))

    def _write(self, shape: Shape, deleted: pa.Table, properties: Mapping[str, str]) -> str:
        opened(self.keyed, self._name, pa.schema([DELETED_AT]))
        change = self._fit(shape)
        mine = self.keyed.shape
        assert mine is not None
        rows = deleted.select([*mine.table.columns.names, POSITION])
        now = pa.scalar(datetime.now(UTC), DELETED_AT.type)
        rows = rows.append_column(DELETED_AT, pa.repeat(now, len(rows)))
        added = write(self.keyed.files, mine, self.keyed.table.spec(), rows)
        change.files += [data for data, _ in added]
        limit = self._limit().value
        for file in self.keyed.layout.files.values():
            upper = (file.data.upper_bounds or {}).get(self._deleted_at)
            if upper is not None and int.from_bytes(upper, "little", signed=True) < limit:
                self.keyed.drop(file, change)
        change.expired = self.maintenance.expired(self.keyed.table)
        void = [number for number in self._void(properties) if number >= limit]
        change.properties |= {WRITTEN: str(now.value), VOID: json.dumps(void)}
        self.keyed.commit(change, "")
        return str(now.value)

    def _void(self, properties: Mapping[str, str]) -> list[int]:
        """The numbers of writes whose commit never came; `properties` are those of the table itself."""
        mine, committed = self.keyed.table.properties, properties.get(WRITTEN)
        last = mine.get(WRITTEN)
        # A write that was thought lost may have been committed since.
        void = {int(number) for number in json.loads(mine.get(VOID, "[]")) if str(number) != committed}
        return sorted(void if last in (None, committed or None) else {*void, int(last)})

    def _fit(self, shape: Shape) -> Change:
        """The key columns as the table has them by now."""
        columns = pa.schema([shape.table.columns.field(name) for name in shape.table.key])
        change = Change()
        fit(self.keyed, Table(self._name, shape.table.key, columns), (), change)
        return change

    @property
    def _deleted_at(self) -> int:
        assert self.keyed.shape is not None
        return next(f.field_id for f in self.keyed.shape.schema.fields if f.name == DELETED_AT.name)

    def _limit(self) -> pa.Scalar:
        return pa.scalar(datetime.now(UTC) - self._retention, DELETED_AT.type)


def _fits(held: Table, table: Table) -> bool:
    """Whether these tombstones can grow to the key of the table."""
    if not held.columns.names:
        return True
    kinds = {name: table.columns.field(name).type for name in table.key}
    same = set(kinds) == set(held.columns.names)
    return same and all(
        kinds[field.name].equals(widened(field.type, kinds[field.name]) or pa.null()) for field in held.columns
    )
