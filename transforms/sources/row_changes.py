"""Rows of a database's log to changes: what is the same whichever server wrote them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ...schemas.envelopes.decoded import Decoded
from ...schemas.errors import TableError, TruncateError
from ...schemas.model.change import DELETE, names_by_row
from ...schemas.model.change_batch import ChangeColumns, change_batch
from ...schemas.model.dead_letter import DeadLetter
from ...schemas.model.representable import represented, represented_key
from ...schemas.model.route import OnTruncate, Route

Whole = NDArray[np.int64]
Mask = NDArray[np.bool_]


class Part(Protocol):
    """n changes that one schema describes: arrays of n."""

    @property
    def offset(self) -> Whole:
        """Where each stands in the log."""

    @property
    def time(self) -> Whole:
        """Milliseconds since the epoch, -1 where unknown."""

    def letter_value(self, row: int, values: pa.StructScalar) -> bytes:
        """A row that cannot be kept, as JSON by column; `values` are what was made of it."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows that can be kept: their columns, and `numbers`, which rows of the part they are.

    `good` are their places among those that were chosen.
    """

    columns: dict[str, pa.Array]
    numbers: Whole
    good: Whole


@dataclass(frozen=True, slots=True)
class PartChanges:
    """Puts rows of `part` among the changes that its block comes to.

    `unsent_key` ends the sentence that says that a key has no value: why, and the statement that mends it.
    """

    done: Decoded
    route: Route
    part: Part
    unsent_key: str

    def representable(self, chosen: Whole, struct: pa.StructArray) -> Rows:
        """These rows and their keys as the job wants odd values; those that cannot be kept are dead letters.

        Raises TableError where the key names a column that there is not.
        """
        done, key, policy = self.done, self.done.key, self.route.on_unrepresentable
        missing = [name for name in key if struct.type.get_field_index(name) < 0]
        if missing:
            raise TableError(f"table {self.route.table}: {done.topic} has no column {missing[0]}, which the key names")
        row = represented(struct, policy)
        names = [field.name for field in struct.type if field.name in key or field.name.removesuffix("__text") in key]
        fields = [struct.type.field(name) for name in names]
        only = pa.StructArray.from_arrays([struct.field(name) for name in names], fields=fields)
        keys = represented_key(only, policy)
        refused = np.zeros(len(chosen), np.bool_)
        for one in (row, keys):
            if one.refused is not None:
                for i in np.flatnonzero(one.refused & ~refused).tolist():
                    done.letters.append(self._letter(int(chosen[i]), struct[i], one.reason(i)))
                refused |= one.refused
        whole = np.all([np.asarray(keys.struct.field(name).is_valid()) for name in key], axis=0)
        for i in np.flatnonzero(~whole & ~refused).tolist():
            error = f"no value for the key ({', '.join(key)}): {self.unsent_key}"
            done.letters.append(self._letter(int(chosen[i]), struct[i], error))
        good = np.flatnonzero(~refused & whole)
        columns = dict(zip(row.struct.type.names, row.struct.flatten(), strict=True))
        columns |= {name: keys.struct.field(name) for name in key}
        if len(good) < len(chosen):
            columns = {name: column.take(pa.array(good)) for name, column in columns.items()}
        return Rows(columns, chosen[good], good)

    def add(
        self,
        op: int,
        rows: Rows,
        position: pa.Array,
        masks: Mapping[str, Mask],
        moved: pa.Array | None = None,
    ) -> None:
        """Changes of these rows at these positions.

        Of the rows that were chosen, `masks` are by column those whose value was not sent, and `moved` is the other key
        of a key change. The delete of a key change does not count, and goes without a source.
        """
        if not len(rows.good):
            return
        counted = op != DELETE or moved is None
        kept = {name: mask[rows.good] for name, mask in masks.items()}
        marks = ChangeColumns(
            op=np.full(len(rows.good), op, np.int8),
            position=position,
            source=self.route.number(self.done.topic, self.done.partition) if counted else -1,
            unavailable=names_by_row(kept, len(rows.good)) if kept else None,
            moved=None if moved is None else moved.take(pa.array(rows.good)),
            time=self.part.time[rows.numbers] if self.route.timed else None,
        )
        self.done.changes.append(change_batch(rows.columns, marks))

    def _letter(self, row: int, values: pa.StructScalar, error: str) -> DeadLetter:
        offset, time = int(self.part.offset[row]), int(self.part.time[row])
        value = self.part.letter_value(row, values)
        return DeadLetter(self.done.topic, self.done.partition, offset, time, None, value, None, "apply", error)


def key_of(topic: str, own: tuple[str, ...], route: Route) -> tuple[str, ...]:
    """The key of a table: the job's, else its own. Raises TableError where there is none."""
    key = route.key or own
    if not key:
        raise TableError(
            f"table {route.table}: {topic} has no primary key; name its key in the job file, "
            f"tables: - {{from: {topic}, key: [...]}}"
        )
    return key


def add_truncates(done: Decoded, route: Route, position: pa.Array, time: Whole, said: str) -> None:
    """Statements that leave no row, at these positions; `said` is what stands where. Raises TruncateError."""
    if route.on_truncate is OnTruncate.FAIL:
        raise TruncateError(
            f"table {route.table}: {said}; say in the job file under tables what it does: on_truncate: apply (empties "
            "the table) or on_truncate: ignore"
        )
    if route.on_truncate is OnTruncate.IGNORE:
        done.filtered += len(position)
        return
    done.truncates += len(position)
    done.truncate = max(max(position.to_pylist()), done.truncate or b"")
    marks = ChangeColumns(
        op=np.full(len(position), DELETE, np.int8),
        position=position,
        source=route.number(done.topic, done.partition),
        time=time if route.timed else None,
    )
    done.emptied.append(change_batch({}, marks))
