"""The changes of a block in the shape that a table's mode keeps; from here on they are changes of that table."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ...envelopes.decoded import Decoded
from ...model.change import CHANGE_FIELDS, DELETE, OP, POSITION, SOURCE, TIME, UNAVAILABLE, UPSERT, own_columns
from ...model.modes import FIELDS, LOG_KEY, MOMENT, NOT_SENT, NUMBER, NUMBERED_LOG_KEY, VERSION, Mode
from ...model.position import to_hexadecimal, unpack

LAST_MOMENT: Final = 253_402_300_799_999
"""9999-12-31 23:59:59.999 in milliseconds: what every target can hold."""
WORDS: Final = pa.array(["upsert", "delete", "truncate"])
TRUNCATE: Final = 2


def shaped(mode: Mode, done: Decoded) -> Decoded:
    """What the block came to for a table of this mode; its changes carry `_millrace_time` (but for mirror).

    Accounts stay as they are: a change is one row that counts, whatever the mode.
    """
    return _SHAPES[mode](done) if mode in _SHAPES else done


def _soft_deletes(done: Decoded) -> Decoded:
    return replace(done, changes=[_marked(batch) for batch in done.changes])


def _marked(changes: pa.RecordBatch) -> pa.RecordBatch:
    """`_millrace_deleted` and its time beside each change. Deletes stay deletes until the commit (`at_commit`)."""
    deletes = np.asarray(changes.column(OP)) == DELETE
    return with_columns(changes, [pa.array(deletes), moments(changes.column(TIME), ~deletes)], Mode.SOFT_DELETE)


def _log(done: Decoded) -> Decoded:
    """One row a change, a TRUNCATE too; the rows have nothing unavailable and are never deleted."""
    logged = [_logged(batch, done, np.asarray(batch.column(OP))) for batch in done.changes]
    logged += [_logged(batch, done, np.full(batch.num_rows, TRUNCATE, np.int8)) for batch in done.emptied]
    key = NUMBERED_LOG_KEY if done.several else LOG_KEY
    return replace(done, key=key, changes=logged, truncates=0, truncate=None)


def _logged(changes: pa.RecordBatch, done: Decoded, words: NDArray[np.int8]) -> pa.RecordBatch:
    count = changes.num_rows
    names = changes.schema.names
    columns = [
        WORDS.take(pa.array(words)),
        pa.repeat(pa.scalar(done.topic, pa.string()), count),
        pa.repeat(pa.scalar(done.partition, pa.int32()), count),
        pa.array(unpack(changes.column(POSITION))[:, 3].astype(np.int64)),
        moments(changes.column(TIME)),
        changes.column(UNAVAILABLE) if UNAVAILABLE in names else pa.nulls(count, pa.list_(pa.string())),
    ]
    own = [OP, POSITION, SOURCE, TIME]
    row = changes.select([*own_columns(changes), *own])
    row = row.set_column(row.schema.get_field_index(OP), CHANGE_FIELDS[0], pa.array(np.full(count, UPSERT, np.int8)))
    logged = with_columns(row, columns, Mode.APPEND)
    if not done.several:
        return logged
    # Behind the columns of the mode; the second word of a position tells the changes of a transaction apart.
    place = logged.schema.get_field_index(NOT_SENT) + 1
    numbers = pa.array(unpack(changes.column(POSITION))[:, 2].astype(np.int64))
    return logged.add_column(place, pa.field(NUMBER, pa.int64()), numbers)


def _versions(done: Decoded) -> Decoded:
    """Each change keyed by its position too; when versions end, the commit finds out (`versions`)."""
    return replace(done, key=(*done.key, VERSION), changes=[_versioned(batch) for batch in done.changes])


def _versioned(changes: pa.RecordBatch) -> pa.RecordBatch:
    count = changes.num_rows
    columns = [
        to_hexadecimal(unpack(changes.column(POSITION))),
        moments(changes.column(TIME)),
        pa.nulls(count, MOMENT),
        pa.array(np.ones(count, np.bool_)),
        pa.array(np.zeros(count, np.bool_)),
    ]
    return with_columns(changes, columns, Mode.SCD2)


_SHAPES: Final[Mapping[Mode, Callable[[Decoded], Decoded]]] = {
    Mode.SOFT_DELETE: _soft_deletes,
    Mode.APPEND: _log,
    Mode.SCD2: _versions,
}


def with_columns(changes: pa.RecordBatch, arrays: list[pa.Array], mode: Mode) -> pa.RecordBatch:
    """The changes with the mode's columns after the stream's own."""
    own = own_columns(changes)
    rest = [name for name in changes.schema.names if name not in own]
    fields = [changes.schema.field(name) for name in own] + [*FIELDS[mode]]
    fields += [changes.schema.field(name) for name in rest]
    columns = [changes.column(name) for name in own] + arrays + [changes.column(name) for name in rest]
    return pa.RecordBatch.from_arrays(columns, schema=pa.schema(fields))


def moments(milliseconds: pa.Array, hidden: NDArray[np.bool_] | None = None) -> pa.Array:
    """Times of Kafka records as timestamps; NULL for unknown ones (-1), for those too late, and where `hidden`."""
    numbers = np.asarray(milliseconds)
    mask = (numbers < 0) | (numbers > LAST_MOMENT)
    return pa.array(numbers, mask=mask if hidden is None else mask | hidden).cast(MOMENT)
