"""Partitions of an Iceberg table: the option `partition_by`, the spec it makes, and rows split by it."""

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from .....schemas.errors import IncompatibleSchemaError, TerminalSinkError
from .....schemas.model.key import number_keys
from ..pyiceberg import PartitionField, PartitionSpec, Record, parse_transform
from .columns import Shape

FIRST_FIELD: Final = 1000


def new_spec(found: Sequence[tuple[str, str]], shape: Shape) -> Any:
    """The partition spec of a new table. Raises IncompatibleSchemaError where a column is missing or does not fit."""
    ids = dict(zip(shape.table.columns.names, shape.ids, strict=True))
    fields = []
    for number, (transform, column) in enumerate(found):
        kind = shape.schema.find_type(ids[column]) if column in ids else None
        made = parse_transform(transform)
        if kind is None or not made.can_transform(kind):
            why = "is not in the rows" if kind is None else f"of type {kind} cannot be partitioned by {transform}"
            raise IncompatibleSchemaError(
                f"table {shape.table.name}: the column {column!r} of target.partition_by {why}; correct it"
            )
        suffix = "" if transform == "identity" else f"_{re.sub(r'[^a-z].*', '', transform)}"
        fields.append(PartitionField(ids[column], FIRST_FIELD + number, made, f"{column}{suffix}"))
    return PartitionSpec(*fields, spec_id=1)


def split(rows: pa.Table, shape: Shape, spec: Any) -> Iterator[tuple[Any, NDArray[np.int64] | None]]:
    """(partition, row numbers) of each partition that `rows` (stored types, the stream's names) fall in; None: all."""
    if not spec.fields or not len(rows):
        if len(rows):
            yield Record(*(None for _ in spec.fields)), None
        return
    values = [transformed(rows, shape, field) for field in spec.fields]
    # `codes` numbers the partition of each row; sorted by it, each partition is one run of `order`.
    codes, count = number_keys(values)
    order = np.argsort(codes, kind="stable")
    starts = np.searchsorted(codes[order], np.arange(count + 1))
    firsts = pa.array(order[starts[:-1]])
    records = zip(*(internal(value.take(firsts)) for value in values), strict=True)
    for number, record in enumerate(records):
        yield Record(*record), order[starts[number] : starts[number + 1]]


def transformed(rows: pa.Table, shape: Shape, field: Any) -> pa.Array:
    """The partition value of each row. Raises TerminalSinkError for a spec by something that is no column."""
    if field.source_id not in shape.ids:
        raise TerminalSinkError(
            f"the Iceberg table of {shape.table.name} is partitioned by {field.name}, which is no column of its own; "
            "Millrace cannot write to it"
        )
    column = rows.column(shape.table.columns.names[shape.ids.index(field.source_id)]).combine_chunks()
    if str(field.transform) == "identity":
        return column
    if str(field.transform) == "void":
        return pa.nulls(len(column), pa.int32())
    return field.transform.pyarrow_transform(shape.schema.find_type(field.source_id))(column)


def internal(values: pa.Array) -> list[Any]:
    """Partition values as manifests hold them: dates and times are numbers."""
    kind = values.type
    if pa.types.is_date32(kind):
        values = values.cast(pa.int32())
    elif pa.types.is_time64(kind) or pa.types.is_timestamp(kind):
        values = values.cast(pa.int64())
    return values.to_pylist()
