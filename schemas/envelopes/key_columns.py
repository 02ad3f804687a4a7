"""The columns of a key, whatever the envelope: from the message's key, or from the row."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ..encodings.message_reader import Failures
from ..errors import IncompatibleSchemaError
from ..model.change import PREFIX
from ..model.change_batch import take_positions

NO_CAST: Final = (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError)
"""What Arrow raises where a value, or each value of a type, cannot become one of another type."""
COMPARED: Final = ("ii", "tt", "bb", "yy", "it", "ti")
KEYLESS: Final = "the message has no key: name the key columns in the job file, tables: - {{from: {topic}, key: [...]}}"


@dataclass(frozen=True, slots=True, eq=False)
class KeyedRows:
    """n rows on the way to changes: their columns, which are deletes, their messages' numbers, their positions.

    Where a message may hold several changes, `events` numbers the rows in the order in which they happened. `absent`
    has by column the rows that do not tell it.
    """

    columns: dict[str, pa.Array]
    deletes: NDArray[np.bool_]
    rows: NDArray[np.int64]
    position: pa.Array
    events: NDArray[np.int64] | None = None
    absent: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)

    def take(self, kept: NDArray[np.int64]) -> "KeyedRows":
        """These of the rows."""
        columns = {name: array.take(pa.array(kept)) for name, array in self.columns.items()}
        events = None if self.events is None else self.events[kept]
        absent = {name: lacks[kept] for name, lacks in self.absent.items()}
        position = take_positions(self.position, kept)
        return KeyedRows(columns, self.deletes[kept], self.rows[kept], position, events, absent)

    def with_whole_keys(self, key: tuple[str, ...], failures: Failures, schema_id: int | None) -> "KeyedRows":
        """The rows that have a value in each key column; the others become dead letters."""
        whole = _whole([self.columns[name] for name in key])
        if whole.all():
            return self
        failures.add_all(self.rows[~whole], "apply", f"no value for the key ({', '.join(key)})", schema_id)
        return self.take(np.flatnonzero(whole))


def keyed_by_message(
    found: KeyedRows, key: Mapping[str, pa.Array], failures: Failures, schema_id: int | None
) -> KeyedRows:
    """The rows with the message key's fields as columns, in the type of the row's column where there is one.

    Rows whose key that type cannot hold, and those that have another value there, become dead letters.
    """
    columns, good = dict(found.columns), np.ones(len(found.rows), np.bool_)
    for name, array in key.items():
        columns[name], fits = fitted(array, found.columns.get(name))
        for row in np.flatnonzero(good & ~fits):
            kind = found.columns[name].type
            error = (
                f"the message key's {name} is {array[int(row)].as_py()!r}, which the row's column ({kind}) cannot be"
            )
            failures.add(int(found.rows[row]), "apply", error, schema_id)
        good &= fits
        other = differing(columns[name], array.type, found.columns.get(name)) & good & ~found.deletes
        for row in np.flatnonzero(other):
            key_says, row_says = array[int(row)].as_py(), found.columns[name][int(row)].as_py()
            error = f"the message key's {name} is {key_says!r}, and the row's is {row_says!r}: which row is it?"
            failures.add(int(found.rows[row]), "apply", error, schema_id)
        good &= ~other
    keyed = replace(found, columns=columns)
    return keyed if good.all() else keyed.take(np.flatnonzero(good))


def keyed_by_columns(
    found: KeyedRows, key: tuple[str, ...], before: pa.StructArray | None, failures: Failures, schema_id: int | None
) -> tuple[KeyedRows, KeyedRows | None] | None:
    """The rows with the route's key in place: of deletes it stands in the row before.

    Rows without a full key become dead letters. Where an update's key differs from the one before, the second result
    holds the old keys, which are to be deleted. None where the row lacks a column of the key.
    """
    missing = [name for name in key if name not in found.columns]
    if missing:
        error = f"no column {', '.join(missing)}, which the job file names as key"
        failures.add_all(found.rows, "apply", error, schema_id)
        return None
    columns, olds = dict(found.columns), dict[str, pa.Array]()
    for name in key:
        olds[name] = pa.nulls(len(found.rows), columns[name].type)
        if before is not None and before.type.get_field_index(name) >= 0:
            olds[name] = before.field(name)
        columns[name] = pc.if_else(pa.array(found.deletes), olds[name], columns[name])
    differs = np.logical_or.reduce(
        [np.asarray(pc.not_equal(olds[name], columns[name]).fill_null(False)) for name in key]
    )
    whole = _whole([columns[name] for name in key])
    left = np.flatnonzero(whole & ~found.deletes & _whole(list(olds.values())) & differs)
    departures = None
    if len(left):
        old = {name: olds[name].take(pa.array(left)) for name in key}
        departures = KeyedRows(
            old,
            np.ones(len(left), np.bool_),
            found.rows[left],
            take_positions(found.position, left),
            None if found.events is None else found.events[left],
        )
    keyed = replace(found, columns=columns)
    return keyed.with_whole_keys(key, failures, schema_id), departures


def message_key(
    fields: dict[str, pa.Array], key: tuple[str, ...] | None, any_name: bool
) -> tuple[tuple[str, ...], dict[str, pa.Array] | None]:
    """The key of messages without a value: its names and columns; no columns where the message lacks one.

    With `any_name` the only field of a message key is the route's only key column, whatever its name.
    """
    if any_name and key is not None and len(key) == 1 and len(fields) == 1:
        fields = {key[0]: next(iter(fields.values()))}
    key = key or tuple(fields)
    if not key or not set(key) <= set(fields):
        return key, None
    return key, {name: fields[name] for name in key}


def fitted(key: pa.Array, column: pa.Array | None) -> tuple[pa.Array, NDArray[np.bool_]]:
    """A key field of the message key in the type of the row's column of that name, and by row whether it fits.

    An array, map or record is text by now, whatever the column is.
    """
    whole = np.ones(len(key), np.bool_)
    if column is None or column.type == key.type or pa.types.is_nested(column.type):
        return key, whole
    try:
        return key.cast(column.type), whole
    except NO_CAST:
        return _fitted_by_halves(key, column.type)


def differing(key: pa.Array, was: pa.DataType, column: pa.Array | None) -> NDArray[np.bool_]:
    """By row whether key and column say two things; `was` is the type of the key before it was that of the column.

    Compared are whole numbers, texts, bytes and booleans, and a number with its text.
    """
    if column is None or column.type != key.type or _kind(was) + _kind(key.type) not in COMPARED:
        return np.zeros(len(key), np.bool_)
    found: NDArray[np.bool_] = np.asarray(pc.not_equal(key, column).fill_null(False))
    return found


def _kind(kind: pa.DataType) -> str:
    """A letter for what a type holds; a blank for what is not compared."""
    tests = {"i": pa.types.is_integer, "t": pa.types.is_string, "b": pa.types.is_binary, "y": pa.types.is_boolean}
    return next((letter for letter, test in tests.items() if test(kind)), " ")


def _fitted_by_halves(key: pa.Array, kind: pa.DataType) -> tuple[pa.Array, NDArray[np.bool_]]:
    """Of values that do not all fit: halves are cut until a part fits, or is one value that does not."""
    parts, fits = [], np.ones(len(key), np.bool_)
    spans = [(0, len(key))]
    while spans:
        low, high = spans.pop()
        try:
            parts.append(key.slice(low, high - low).cast(kind))
        except NO_CAST:
            if high - low > 1:
                spans += [((low + high) // 2, high), (low, (low + high) // 2)]
            else:
                parts.append(pa.nulls(1, kind))
                fits[low] = False
    return pa.concat_arrays(parts), fits


def refuse_own_names(table: str, columns: dict[str, pa.Array]) -> None:
    """Raise where a column of the stream has a name that is Millrace's."""
    for name in columns:
        if name.startswith(PREFIX):
            raise IncompatibleSchemaError(
                f"table {table}: column {name} cannot be kept, names that begin with {PREFIX} are Millrace's; "
                "rename it at the source"
            )


def _whole(columns: list[pa.Array]) -> NDArray[np.bool_]:
    """By row whether all columns have a value."""
    found: NDArray[np.bool_] = np.logical_and.reduce([np.asarray(column.is_valid()) for column in columns])
    return found
