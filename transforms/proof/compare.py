"""A table against its reference: counts and sums of digests by bucket first, then the rows of the buckets that differ.

Of the target, only sums are kept in memory, and the keys of rows in unequal buckets.
"""

import struct
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import md5
from itertools import islice
from typing import Any, Final
from zlib import crc32

import pyarrow as pa

from ...schemas.errors import TableError
from ...schemas.model.change import POSITION, of_row
from .canonical import UNKNOWN, encode, shown
from .events import Key, Position
from .reference_table import ReferenceTable
from .report import Example, Report, Verdict
from .type_coercion import Cast, from_stream, from_target

Scan = Callable[[Sequence[str] | None], Iterator[pa.RecordBatch]]
Sums = tuple[list[int], list[int]]

BUCKETS: Final = 4096
CHUNK: Final = 10_000
SUM: Final = (1 << 128) - 1
WINDOW: Final = 40
ABSENT: Final = "(no such column)"


def compare(table: str, reference: ReferenceTable, scan: Scan, key: Sequence[str] = (), examples: int = 5) -> Report:
    """Compare the reference's rows with the target's.

    `scan(columns)` gives the target's live rows, and may be called twice; None is all columns but `_millrace_position`.
    `key` names the stream's key columns; without it, those of the reference. `examples` is how many rows of each
    verdict are kept. A column that one side lacks counts as NULL there. Raises TableError where the target lacks a key
    column.
    """
    report = Report(table, read=reference.read, undecodable=reference.undecodable)
    names = _columns(reference)
    batches = scan(None)
    first = next(batches, None)
    schema = pa.schema([] if first is None else [part for part in first.schema if of_row(part.name)])
    form = Form.of(reference.key_names(tuple(key)), names, schema)
    if first is not None and (lacking := [name for name in form.key if name not in schema.names]):
        raise TableError(f"{table}: the target has no column {lacking[0]!r}, which is a key column")
    wanted = sums(rows for rows, _ in form.expected(_rows(reference)))
    found = sums(form.actual(batch) for batch in ([] if first is None else _chain(first, batches)))
    report.expected, report.actual = sum(wanted[0]), sum(found[0])
    unequal = differing(wanted, found)
    report.counts[Verdict.MATCH] = sum(wanted[0][b] for b in range(BUCKETS) if b not in unequal)
    if unequal:
        columns = [*schema.names, POSITION]
        _Search(report, reference, form, unequal, examples).run(scan(columns) if first is not None else iter(()))
    return report


@dataclass(frozen=True, slots=True)
class _Row:
    """Canonical bytes of a row's key, the digest of all its values, and the bucket of its key."""

    key: bytes
    digest: bytes
    bucket: int


@dataclass(frozen=True, slots=True)
class Form:
    """How rows of both sides become canonical bytes: columns in one order, each by the target's type."""

    key: tuple[str, ...]
    columns: tuple[str, ...]
    casts: Mapping[str, Cast]
    schema: pa.Schema

    @classmethod
    def of(cls, key: tuple[str, ...], names: Iterable[str], schema: pa.Schema) -> "Form":
        columns = tuple(sorted({*names, *schema.names, *key}))
        types = {part.name: part.type for part in schema}
        casts = {name: from_stream(types.get(name, pa.null())) for name in columns}
        return cls(key, columns, casts, schema)

    def expected(self, held: Iterable[tuple[Key, Mapping[str, Any]]]) -> Iterator[tuple[list[_Row], list[Key]]]:
        """The reference's rows, a chunk at a time."""
        rows = iter(held)
        while chunk := list(islice(rows, CHUNK)):
            columns = {name: [encode(cast(row.get(name))) for _, row in chunk] for name, cast in self.casts.items()}
            yield self._rows(columns, len(chunk)), [key for key, _ in chunk]

    def actual(self, batch: pa.RecordBatch) -> list[_Row]:
        """The target's rows."""
        columns = {}
        for name in self.columns:
            index = batch.schema.get_field_index(name)
            values = [] if index < 0 else from_target(batch.column(index))
            columns[name] = [encode(value) for value in values] or [b"n"] * batch.num_rows
        return self._rows(columns, batch.num_rows)

    def values(self, batch: pa.RecordBatch, row: int) -> dict[str, Any]:
        one = batch.slice(row, 1)
        found = {}
        for name in self.schema.names:
            found[name] = from_target(one.column(one.schema.get_field_index(name)))[0]
        return found

    def _rows(self, columns: Mapping[str, list[bytes]], count: int) -> list[_Row]:
        keys = [b"".join(parts) for parts in zip(*(columns[name] for name in self.key), strict=True)] or [b""] * count
        whole = zip(*(columns[name] for name in self.columns), strict=True)
        return [
            _Row(key, md5(b"".join(parts), usedforsecurity=False).digest(), crc32(key) % BUCKETS)
            for key, parts in zip(keys, whole, strict=True)
        ]


@dataclass(slots=True)
class _Search:
    """The rows of unequal buckets, one by one."""

    report: Report
    reference: ReferenceTable
    form: Form
    unequal: set[int]
    examples: int
    shown: Counter[Verdict] = field(default_factory=Counter)

    def run(self, batches: Iterator[pa.RecordBatch]) -> None:
        wanted: dict[bytes, tuple[bytes, Key]] = {}
        for rows, keys in self.form.expected(_rows(self.reference)):
            for row, key in zip(rows, keys, strict=True):
                if row.bucket in self.unequal:
                    wanted[row.key] = (row.digest, key)
        seen: set[bytes] = set()
        for batch in batches:
            for number, row in enumerate(self.form.actual(batch)):
                if row.bucket in self.unequal:
                    self._judge(row, wanted.get(row.key), row.key in seen, batch, number)
                    seen.add(row.key)
        for encoded, (_, key) in wanted.items():
            if encoded not in seen and self.reference.may_lack(key):
                self.report.counts[Verdict.UNPROVEN] += 1
            elif encoded not in seen:
                self._add(Verdict.MISSING, self._named(self.reference.row(key) or {}))

    def _judge(
        self, row: _Row, wanted: tuple[bytes, Key] | None, again: bool, batch: pa.RecordBatch, number: int
    ) -> None:
        if wanted is not None and not again and wanted[0] == row.digest:
            self.report.counts[Verdict.MATCH] += 1
            return
        values = self.form.values(batch, number)
        index = batch.schema.get_field_index(POSITION)
        held = batch.column(index)[number].as_py() if index >= 0 else None
        if wanted is None and not again and self.reference.may_be_older(values, held):
            self.report.counts[Verdict.UNPROVEN] += 1
            return
        if wanted is None or again:
            note = "a second row of this key" if again else "no row in the stream has this key"
            self._add(Verdict.EXTRA, self._named(values), note=note)
            return
        differences = self._differences(wanted[1], values)
        if not differences:
            self.report.counts[Verdict.UNPROVEN] += 1
            return
        newest = _packed(self.reference.position(wanted[1]) or (0, 0, 0, 0))
        stale = held is not None and held < newest
        verdict = Verdict.STALE if stale else Verdict.DIFFERS
        note = f"position {held.hex()}, the stream is at {newest.hex()}" if stale and held is not None else ""
        self._add(verdict, self._named(values), differences, note)

    def _differences(self, key: Key, values: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
        row = self.reference.row(key) or {}
        differences = []
        for name, cast in self.form.casts.items():
            expected, actual = cast(row.get(name)), values.get(name)
            if expected is not UNKNOWN and encode(expected) != encode(actual):
                here = shown(actual) if name in values else ABSENT
                differences.append((name, *_windows(shown(expected), here)))
        return differences

    def _add(
        self, verdict: Verdict, key: Mapping[str, Any], differences: Sequence[tuple[str, Any, Any]] = (), note: str = ""
    ) -> None:
        self.report.counts[verdict] += 1
        self.shown[verdict] += 1
        if self.shown[verdict] > self.examples:
            return
        if not differences:
            self.report.examples.append(Example(verdict, key, None, None, None, note))
        for column, expected, actual in differences:
            self.report.examples.append(Example(verdict, key, column, expected, actual, note))

    def _named(self, row: Mapping[str, Any]) -> dict[str, Any]:
        return {name: shown(self.form.casts[name](row.get(name))) for name in self.form.key}


def _columns(reference: ReferenceTable) -> set[str]:
    """The names of the columns that some row has a value in."""
    return {
        name for _, _, row in reference.rows() if row is not None for name, value in row.items() if value is not None
    }


def _rows(reference: ReferenceTable) -> Iterator[tuple[Key, Mapping[str, Any]]]:
    return ((key, row) for key, _, row in reference.rows() if row is not None)


def sums(parts: Iterable[list[_Row]]) -> Sums:
    """By bucket the number of rows, and the sum of their digests."""
    counts, totals = [0] * BUCKETS, [0] * BUCKETS
    for rows in parts:
        for row in rows:
            counts[row.bucket] += 1
            totals[row.bucket] = (totals[row.bucket] + int.from_bytes(row.digest, "big")) & SUM
    return counts, totals


def differing(wanted: Sums, found: Sums) -> set[int]:
    """The buckets whose numbers of rows or sums are not the same."""
    return {b for b in range(BUCKETS) if wanted[0][b] != found[0][b] or wanted[1][b] != found[1][b]}


def _chain(first: pa.RecordBatch, rest: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    yield first
    yield from rest


def _packed(position: Position) -> bytes:
    return struct.pack(">QQQQ", *(min(number, (1 << 64) - 1) for number in position))


def _windows(expected: Any, actual: Any) -> tuple[Any, Any]:
    """Long texts cut to where they differ."""
    if not (isinstance(expected, str) and isinstance(actual, str)) or max(len(expected), len(actual)) <= 3 * WINDOW:
        return expected, actual
    at = next((i for i, (a, b) in enumerate(zip(expected, actual, strict=False)) if a != b), 0)
    at = at or min(len(expected), len(actual))
    start = max(at - WINDOW, 0)
    return tuple(  # type: ignore[return-value]
        f"{'…' if start else ''}{text[start : at + WINDOW]}{'…' if len(text) > at + WINDOW else ''}"
        for text in (expected, actual)
    )
