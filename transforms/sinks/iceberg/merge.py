"""One attempt to commit a delta on top of the newest snapshot: judged, filled, written, and asked of the catalog."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ....schemas.model.change import OP, POSITION, UPSERT
from ....schemas.model.ledger import Account, Commit
from ..shared.guard import Match, Verdict, chosen, judge, partial_rows
from .evolve import spec_of
from .keys.keyed_table import Found, KeyedTable
from .rows import fill, key_arrays, write
from .table_format.columns import Shape
from .table_format.data_files import Numbers
from .table_format.manifests import united
from .table_format.snapshots import Change
from .tombstones import Buried, Tombstones

Kills = dict[int, list[Numbers]]


@dataclass(slots=True)
class MergeAttempt:
    """`floor` is the last TRUNCATE's position, and `fresh` the same where this commit brings it."""

    target: KeyedTable
    graves: Tombstones
    shape: Shape
    floor: bytes | None
    fresh: bytes | None
    change: Change = field(default_factory=Change)
    added: list[tuple[Any, list[pa.Array]]] = field(default_factory=list)
    dead: Found | None = None
    _kills: Kills = field(default_factory=dict)

    def apply(self, delta: pa.Table, commit: Commit) -> tuple[Account, ...]:
        """Add what the delta does to the change; the settled accounts. Tombstones are committed here.

        Raises AccountingError before any file is written.
        """
        keys = key_arrays(delta, self.shape.table)
        found = self.target.find(keys)
        positions = delta.column(POSITION).combine_chunks()
        rows = Match(found.row, self.target.newer(found, positions))
        verdict = _judged(delta, self.floor, rows, self.graves.find(self.shape, delta, keys))
        accounts = commit.settle(*verdict.counts(delta))
        if verdict.deletes.any():
            self.graves.bury(self.shape, chosen(delta, verdict.deletes))
        replaced = found.where(verdict.accepted[found.row])
        partial = verdict.upserts & partial_rows(delta)
        filled = fill(self.target, delta, replaced, partial, self.fresh)
        upserts = chosen(filled, verdict.upserts)
        self.added = write(self.target.files, self.shape, spec_of(self.target, self.change), upserts)
        self.change.files += [data for data, _ in self.added]
        for number, mine in replaced.by_file():
            self._kills.setdefault(number, []).append(replaced.at[mine])
        self.dead = replaced
        return accounts

    def _truncate(self) -> None:
        """Delete the rows at or below `fresh`: whole files by their bounds, others by reading the positions."""
        assert self.fresh is not None
        limit = pa.scalar(self.fresh, pa.binary())
        number = self.shape.position_id
        for file in list(self.target.layout.files.values()):
            lower, upper = ((bounds or {}).get(number) for bounds in (file.data.lower_bounds, file.data.upper_bounds))
            if upper is not None and upper <= self.fresh:
                self._kills.pop(file.number, None)
                self.target.drop(file, self.change)
            elif lower is None or lower <= self.fresh:
                held = self.target.files.read(file.path, self.target.fields([number])).column(0)
                below = np.flatnonzero(np.asarray(pc.less_equal(held, limit)))
                fresh = below[~np.isin(below, file.dead_rows(self.target.files))]
                self._kills.setdefault(file.number, []).append(fresh)

    def write_deletes(self) -> None:
        """Write position deletes of the rows that were replaced, deleted or truncated."""
        if self.fresh is not None:
            self._truncate()
        numbers = self.target.layout.numbers
        for number, parts in self._kills.items():
            self.target.kill(numbers[number], united(parts, numbers[number].rows), self.change)

    def learn(self) -> None:
        """After the commit: where rows stand now."""
        if self.fresh is not None:
            self.target.forget_index()
        elif self.dead is not None:
            self.target.learn(self.added, self.dead)


def _judged(delta: pa.Table, floor: bytes | None, rows: Match, buried: Buried) -> Verdict:
    """The guard. A delete whose tombstone is there already, by a commit that failed, is new while its row lives."""
    live = np.zeros(len(delta), np.bool_)
    live[rows.row] = True
    again = buried.same & (live & (np.asarray(delta.column(OP)) != UPSERT))[buried.match.row]
    return judge(delta, floor, rows, Match(buried.match.row, buried.match.newer | again))
