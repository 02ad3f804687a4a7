"""The proof against the source's own rows: what the target holds is what the source shows at one moment of its log."""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from itertools import islice
from typing import Any, Final

import pyarrow as pa

from ...schemas.errors import TableError
from ...schemas.model.change import of_row
from ...schemas.model.unrepresentable import text_name
from .canonical import moment, number
from .compare import BUCKETS, CHUNK, Form, Scan, compare, differing, sums
from .events import Key
from .reference_table import ReferenceTable
from .report import Report, Verdict
from .row_change import RowChange
from .rules import Rules

ROWS_AT_ONCE: Final = 500_000
EXAMPLES: Final = 5
Row = Mapping[str, Any]


class _NoMessages:
    """There is no log to read: the rows are known."""

    def read(self, message: object) -> Sequence[RowChange]:
        return ()


@dataclass(frozen=True, slots=True)
class SourceTable:
    """A table of the source at one moment.

    `rows()` gives its rows anew each time, plain Python values by column. A value that no target has is None, with its
    text under `text_name`.
    """

    rows: Callable[[], Iterable[Row]]
    columns: Sequence[str]
    key: tuple[str, ...]

    def keyed(self) -> Iterator[tuple[Key, Row]]:
        """The rows as canonical values, with their keys."""
        for row in self.rows():
            values = {name: _canonical(value) for name, value in row.items()}
            yield tuple(values.get(name) for name in self.key), values


def compare_rows(table: str, source: SourceTable, scan: Scan) -> Report:
    """Compare the source's rows with those that `scan` gives: the target's.

    What else the target has (a column that the source dropped) is not judged. In memory are sums by bucket of the keys;
    then the rows of buckets that differ, so many buckets at once as have `ROWS_AT_ONCE` rows, each time in one reading
    of both sides. Raises TableError where the target lacks a key column.
    """
    judged = {*source.columns, *map(text_name, source.columns)}

    def known(names: Sequence[str] | None) -> Generator[pa.RecordBatch]:
        for batch in scan(names):
            yield batch.select([name for name in batch.schema.names if name in judged or not of_row(name)])

    with closing(known(None)) as batches:
        first = next(batches, None)
    schema = pa.schema([] if first is None else [part for part in first.schema if of_row(part.name)])
    if first is not None and (lacking := [name for name in source.key if name not in schema.names]):
        raise TableError(f"{table}: the target has no column {lacking[0]!r}, which is a key column")
    form = Form.of(source.key, judged, schema)
    wanted = sums(rows for rows, _ in form.expected(source.keyed()))
    found = sums(form.actual(batch) for batch in known(None))
    report = Report(table, expected=sum(wanted[0]), actual=sum(found[0]))
    unequal = differing(wanted, found)
    report.counts[Verdict.MATCH] = sum(wanted[0][b] for b in range(BUCKETS) if b not in unequal)
    sizes = {bucket: max(wanted[0][bucket], found[0][bucket]) for bucket in unequal}
    for group in _groups(sizes):
        part = compare(table, _held(source, form, group), _within(known, form, group), source.key)
        for verdict, count in part.counts.items():
            shown = sum(one.verdict is verdict for one in report.examples)
            report.counts[verdict] += count
            report.examples += [one for one in part.examples if one.verdict is verdict][: max(0, EXAMPLES - shown)]
    return report


def _groups(sizes: Mapping[int, int]) -> Iterator[set[int]]:
    """The buckets, so many together as have `ROWS_AT_ONCE` rows."""
    group: set[int] = set()
    count = 0
    for bucket, size in sorted(sizes.items()):
        if group and count + size > ROWS_AT_ONCE:
            yield group
            group, count = set(), 0
        group.add(bucket)
        count += size
    if group:
        yield group


def _held(source: SourceTable, form: Form, group: set[int]) -> ReferenceTable:
    """The source's rows of these buckets."""
    reference = ReferenceTable(Rules("own", None, key=source.key, reader=_NoMessages))
    rows = source.keyed()
    while chunk := list(islice(rows, CHUNK)):
        ((placed, keys),) = form.expected(chunk)
        for one, key, (_, values) in zip(placed, keys, chunk, strict=True):
            if one.bucket in group:
                reference.hold(key, values)
    return reference


def _within(scan: Scan, form: Form, group: set[int]) -> Scan:
    """The target's rows of these buckets."""

    def some(names: Sequence[str] | None) -> Iterator[pa.RecordBatch]:
        for batch in scan(names):
            mine = [row.bucket in group for row in form.actual(batch)]
            yield batch.filter(pa.array(mine, pa.bool_()))

    return some


def renamed(source: SourceTable, renames: Mapping[str, str]) -> SourceTable:
    """The table under the names that the target has for its columns."""
    if not renames:
        return source
    names = {**renames, **{text_name(old): text_name(new) for old, new in renames.items()}}

    def rows() -> Iterator[Row]:
        return ({names.get(name, name): value for name, value in row.items()} for row in source.rows())

    columns, key = ([names.get(name, name) for name in some] for some in (source.columns, source.key))
    return SourceTable(rows, columns, tuple(key))


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
