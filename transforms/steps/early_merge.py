"""Changes of a bundle gathered and merged before the shuffle: what one bundle supersedes never travels."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import pyarrow as pa

from ...schemas.errors import IncompatibleSchemaError
from ...schemas.merging.newest_by_key import NewestChanges, leans, newest_changes
from ...schemas.model.change import AFTER
from ...schemas.model.modes import OFFSET, VERSION

MOST_ROWS: Final = 400_000
WORTHWHILE: Final = 0.6
PATIENCE: Final = 16

KEY: Final = b"millrace.key"
SUPERSEDED: Final = b"millrace.superseded"

Stamp = float


@dataclass(slots=True)
class _Gathered:
    key: tuple[str, ...] = ()
    batches: list[pa.RecordBatch] = field(default_factory=list)
    rows: int = 0
    falls: bool = False


@dataclass(slots=True)
class EarlyMerge:
    """Batches by table and time stamp, until `MOST_ROWS` or the end of the bundle; not shared between threads.

    Where merging leaves more than `WORTHWHILE` of the rows, the table's next `PATIENCE` batches go as they are.
    Batches with partial rows, key changes or soft deletes always do: a value that they lack may stand in a row that
    would be superseded. So do batches with snapshot rows, whose order needs the whole window, those whose positions
    fall, for their epochs are not known here, and those of tables that keep every change.
    """

    _held: dict[tuple[str, Stamp], _Gathered] = field(default_factory=dict)
    _wait: Counter[str] = field(default_factory=Counter)

    def add(self, table: str, key: tuple[str, ...], stamp: Stamp, changes: pa.RecordBatch, falls: bool = False) -> None:
        """Hold a batch of changes; `falls` as in `Decoded`."""
        held = self._held.setdefault((table, stamp), _Gathered())
        held.key = key
        held.falls |= falls
        held.batches.append(changes)
        held.rows += changes.num_rows

    def full(self) -> Iterator[tuple[str, Stamp, pa.RecordBatch]]:
        """What has reached `MOST_ROWS`, merged."""
        for place in [place for place, held in self._held.items() if held.rows >= MOST_ROWS]:
            yield from self._released(place)

    def all(self) -> Iterator[tuple[str, Stamp, pa.RecordBatch]]:
        """All that is held; nothing is held afterwards."""
        for place in list(self._held):
            yield from self._released(place)

    def _released(self, place: tuple[str, Stamp]) -> Iterator[tuple[str, Stamp, pa.RecordBatch]]:
        (table, stamp), held = place, self._held.pop(place)
        done = self._merged(table, held)
        if done is not None:
            yield table, stamp, marked(done.delta, held.key, done.superseded)
            return
        for batch in held.batches:
            yield table, stamp, marked(batch, held.key, {})

    def _merged(self, table: str, held: _Gathered) -> NewestChanges | None:
        """The newest changes; None where they travel as they are."""
        if self._wait[table] > 0:
            self._wait[table] -= len(held.batches)
            return None
        if (
            held.falls
            or {OFFSET, VERSION} & set(held.key)
            or any(leans(batch) or AFTER in batch.schema.names for batch in held.batches)
            or _retyped(held.batches)
        ):
            return None
        try:
            done = newest_changes(table, held.key, held.batches)
        except (IncompatibleSchemaError, pa.ArrowException):
            # The same changes fail again at the commit of their table, where it is told.
            return None
        if done.delta.num_rows > WORTHWHILE * held.rows:
            self._wait[table] = PATIENCE
        return done


def _retyped(batches: Sequence[pa.RecordBatch]) -> bool:
    """Whether a column has several types: which of them the table's column can hold is found out behind the shuffle."""
    first = batches[0].schema
    kinds = {field.name: field.type for field in first}
    return any(
        not kinds.setdefault(field.name, field.type).equals(field.type)
        for batch in batches
        if not batch.schema.equals(first)
        for field in batch.schema
    )


def marked(changes: pa.RecordBatch, key: tuple[str, ...], superseded: Mapping[int, int]) -> pa.RecordBatch:
    """The batch with the table's key, and the changes already left out by source number, in its schema's metadata."""
    counts = json.dumps({str(number): rows for number, rows in superseded.items()})
    return changes.replace_schema_metadata({KEY: json.dumps(key).encode(), SUPERSEDED: counts.encode()})


def table_key(changes: pa.RecordBatch) -> tuple[str, ...]:
    """The table's key that `marked` wrote down."""
    return tuple(json.loads(changes.schema.metadata[KEY]))


def superseded_before(changes: pa.RecordBatch) -> dict[int, int]:
    """The changes that were left out before the shuffle, by source number."""
    return {int(number): rows for number, rows in json.loads(changes.schema.metadata[SUPERSEDED]).items()}
