"""Rows to and from a BigQuery table: changes with their sequence numbers, and what the table holds of some keys."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ....schemas.errors import IncompatibleSchemaError, TableError
from ....schemas.model.change import DELETE, OP, POSITION, POSITION_TYPE
from ....schemas.model.table import Table
from ..shared.partial_rows import HeldRows, filled_from_target
from ..shared.types import stored as stored_type
from .client import REQUEST_BYTES, Dataset, bigquery
from .columns import bigquery_name, columns_in_bigquery, from_bigquery, message, to_bigquery
from .encoding import Rows, RowTooLargeError, encode
from .types import in_bigquery

CHANGE_TYPE: Final = "_CHANGE_TYPE"
CHANGE_SEQUENCE_NUMBER: Final = "_CHANGE_SEQUENCE_NUMBER"
KEYS_IN_A_QUERY: Final = 10_000
BYTES_IN_A_QUERY: Final = 1 << 20
DIGITS: Final = np.frombuffer(b"0123456789ABCDEF", np.uint8)
POSITION_BYTES: Final = pa.field(POSITION, pa.binary())


@dataclass(frozen=True, slots=True)
class Changes:
    """Rows of one table as BigQuery stores them, one row a key, and the sequence number of each; None: all upserts."""

    rows: pa.RecordBatch
    sequence: pa.Array
    deletes: pa.Array | None = None


def sequence_numbers(positions: pa.Array) -> pa.Array:
    """Positions as BigQuery compares them: four sections of 16 hexadecimal digits, joined by `/`."""
    # `halves` (32 bytes of each row, 2) are its hexadecimal digits, `text` (rows, 4, 17) sections of them with a `/`.
    raw = np.frombuffer(positions.buffers()[1], np.uint8, 32 * len(positions), positions.offset * 32)
    halves = np.stack([raw >> 4, raw & 15], axis=1)
    text = np.full((len(positions), 4, 17), ord("/"), np.uint8)
    text[:, :, :16] = DIGITS[halves].reshape(-1, 4, 16)
    text = np.ascontiguousarray(text.reshape(-1, 68)[:, :67])
    ends = np.arange(0, 67 * len(positions) + 1, 67, dtype=np.int32)
    return pa.Array.from_buffers(pa.string(), len(positions), [None, pa.py_buffer(ends), pa.py_buffer(text)])


def write(dataset: Dataset, table: str, *parts: Changes) -> None:
    """Send changes and wait until all are acknowledged. Raises SinkError, TableError for a row that is too large."""
    parts = tuple(part for part in parts if part.rows.num_rows)
    if not parts:
        return
    batches = [_with_pseudo_columns(part) for part in parts]

    def rows() -> Iterator[Rows]:
        return chain.from_iterable(encode(batch, REQUEST_BYTES) for batch in batches)

    try:
        dataset.append(table, message("Row", batches[0].schema), rows)
    except RowTooLargeError as error:
        raise TableError(
            f"table {table}: a row of {error.size:,} bytes is more than the {REQUEST_BYTES:,} that go into one "
            "request to BigQuery; leave its large column out at the source"
        ) from None


def _with_pseudo_columns(changes: Changes) -> pa.RecordBatch:
    count = changes.rows.num_rows
    deletes = pa.repeat(False, count) if changes.deletes is None else changes.deletes
    kinds = pc.if_else(deletes, "DELETE", "UPSERT")
    rows = changes.rows.append_column(CHANGE_TYPE, kinds)
    return rows.append_column(CHANGE_SEQUENCE_NUMBER, changes.sequence)


def changes(table: Table, delta: pa.Table) -> list[Changes]:
    """The delta as BigQuery takes it, in as few requests as hold it. Raises IncompatibleSchemaError."""
    found = []
    for batch in delta.combine_chunks().to_batches():
        rows = to_bigquery(batch, table.columns)
        rows = rows.append_column(POSITION_BYTES, batch.column(POSITION).cast(pa.binary()))
        deletes = pc.equal(batch.column(OP), DELETE)
        found.append(Changes(rows, sequence_numbers(batch.column(POSITION)), deletes))
    return found


def check_keys(table: Table, delta: pa.Table) -> None:
    """Refuse keys that hold NULL: BigQuery does not say which row they are. Raises IncompatibleSchemaError."""
    for name in table.key:
        if delta.column(name).null_count:
            raise IncompatibleSchemaError(
                f"table {table.name}: the key column {name!r} holds NULL, which no primary key of BigQuery may; set "
                "another `key` in the job file"
            )


def truncated(dataset: Dataset, name: str, table: Table, floor: bytes) -> None:
    """Delete the rows up to this position, each by its key and with the TRUNCATE's own sequence number.

    So a row that a newer change writes meanwhile stays. Raises SinkError.
    """
    keys = pa.schema([table.columns.field(part) for part in table.key])
    sql, place = f"SELECT {_list(keys.names)} FROM {dataset.sql(name)} WHERE `{POSITION}` <= @floor", cast(Any, floor)
    stored, position = columns_in_bigquery(keys), pa.array([floor], POSITION_TYPE)
    number = sequence_numbers(position)[0]
    for batch in dataset.query(sql, [bigquery.ScalarQueryParameter("floor", "BYTES", place)]):
        rows = batch.select(stored.names).cast(stored)
        count = rows.num_rows
        write(dataset, name, Changes(rows, pa.repeat(number, count), pa.repeat(True, count)))


def filled(dataset: Dataset, name: str, table: Table, delta: pa.Table) -> pa.Table:
    """The delta with unavailable values as the table's rows, after a TRUNCATE, have them; NULL where there is none.

    BigQuery replaces rows as a whole. Raises SinkError.
    """

    def find_rows(rows: pa.Table, names: list[str]) -> Iterator[pa.RecordBatch]:
        schema = pa.schema([table.columns.field(part) for part in [*table.key, *names]])
        return select(dataset, name, schema, rows.select(list(table.key)))

    return filled_from_target(delta, HeldRows(table.key, find_rows))


def select(dataset: Dataset, name: str, columns: pa.Schema, keys: pa.Table | None = None) -> Iterator[pa.RecordBatch]:
    """These columns of a table's rows, in the stream's types; with `keys`, all rows that have them, and others.

    Raises SinkError.
    """
    stored = [field.name for field in columns if not pa.types.is_null(field.type)]
    conditions, parameters = ("", []) if keys is None else _conditions(keys)
    sql = f"SELECT {_list(stored or [POSITION])} FROM {dataset.sql(name)}{conditions}"
    for batch in dataset.query(sql, parameters):
        yield from_bigquery(batch, columns)


def _conditions(keys: pa.Table) -> tuple[str, list[Any]]:
    """What leaves out most rows of other keys: the values of the columns that are numbers, texts or bytes."""
    found, parameters = [], []
    for number, field in enumerate(keys.schema):
        kind = stored_type(field.type, in_bigquery)
        name = {pa.int64(): "INT64", pa.string(): "STRING", pa.binary(): "BYTES"}.get(kind)
        values = keys.column(number).unique()
        small = len(values) <= KEYS_IN_A_QUERY and values.nbytes <= BYTES_IN_A_QUERY
        if name is not None and small and not values.null_count:
            values = values.cast(kind)
            found.append(f"`{bigquery_name(field.name)}` IN UNNEST(@k{number})")
            parameters.append(bigquery.ArrayQueryParameter(f"k{number}", name, values.to_pylist()))
    return (f" WHERE {' AND '.join(found)}" if found else ""), parameters


def _list(names: Sequence[str]) -> str:
    return ", ".join(f"`{bigquery_name(name)}`" for name in names)
