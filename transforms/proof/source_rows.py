"""The proof against the source's own rows: what the target holds is what the source shows at one moment of its log."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa

from ...schemas.model.change import of_row
from ...schemas.model.unrepresentable import text_name
from .canonical import moment, number
from .compare import Scan, compare
from .reference_table import ReferenceTable
from .report import Report
from .row_change import RowChange
from .rules import Rules

Row = Mapping[str, Any]


class _NoMessages:
    """There is no log to read: the rows are known."""

    def read(self, message: object) -> Sequence[RowChange]:
        return ()


def compare_rows(table: str, rows: Iterable[Row], columns: Sequence[str], scan: Scan, key: tuple[str, ...]) -> Report:
    """Compare the source's rows, plain Python values by column, with those that `scan` gives: the target's.

    `columns` are the source's: what else the target has (a column that the source dropped) is not judged. A value that
    no target has is None, with its text under `text_name`. Raises TableError where the target lacks a key column.
    """
    reference = ReferenceTable(Rules("own", None, key=key, reader=_NoMessages))
    for row in rows:
        values = {name: _canonical(value) for name, value in row.items()}
        reference.hold(tuple(values.get(name) for name in key), values)
    judged = {*columns, *map(text_name, columns)}

    def known(names: Sequence[str] | None) -> Iterator[pa.RecordBatch]:
        for batch in scan(names):
            yield batch.select([name for name in batch.schema.names if name in judged or not of_row(name)])

    return compare(table, reference, known, key)


def renamed_rows(
    rows: Iterable[Row], columns: Sequence[str], renames: Mapping[str, str]
) -> tuple[Iterable[Row], Sequence[str]]:
    """The rows and columns under the names that the target has."""
    if not renames:
        return rows, columns
    names = {**renames, **{text_name(old): text_name(new) for old, new in renames.items()}}
    moved = ({names.get(name, name): value for name, value in row.items()} for row in rows)
    return moved, [names.get(name, name) for name in columns]


def _canonical(value: Any) -> Any:
    if isinstance(value, list):
        return [_canonical(item) for item in value]
    if isinstance(value, timedelta):
        return moment("duration", (value // timedelta(microseconds=1)) * 1_000)
    if not isinstance(value, Decimal):
        return value
    sign, digits, exponent = value.as_tuple()
    unscaled = int("".join(map(str, digits)))
    return number(-unscaled if sign else unscaled, -int(exponent))
