"""Find rows by key in batches that stream by: the memory is that of the keys looked for, not of the table."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Numbers = NDArray[np.int64]


class KeyIndex:
    """The distinct keys of some rows: a column for each part of the key. Nulls are equal to one another.

    A key of one column is numbered by Arrow's `index_in`. Of several, column after column is joined to the number so
    far: (number so far, number in the column) becomes one int64, and its place in the sorted `_levels` the new number.
    `_rows` is the indexed row of each number.
    """

    def __init__(self, columns: Sequence[pa.ChunkedArray]) -> None:
        whole = [column.combine_chunks() for column in columns]
        self._values = whole if len(whole) == 1 else [column.unique() for column in whole]
        self._levels: list[Numbers] = []
        self._rows: Numbers | None = None
        if len(whole) > 1:
            codes = self._codes(whole, learn=True)
            self._rows = np.empty(len(codes), np.int64)
            self._rows[codes] = np.arange(len(codes))

    def find(self, columns: Sequence[pa.Array]) -> tuple[Numbers, Numbers]:
        """(row of the indexed rows, row of `columns`) of each key that is in both."""
        if not len(self._values[0]):
            return np.empty(0, np.int64), np.empty(0, np.int64)
        codes = self._codes(columns, learn=False)
        there = np.flatnonzero(codes >= 0)
        found = codes[there]
        return (found if self._rows is None else self._rows[found]), there

    def _codes(self, columns: Sequence[pa.Array], learn: bool) -> Numbers:
        """A number for each row, -1 where its key is not known; with `learn` all are known from then on."""
        codes = self._column(0, columns[0])
        for number, column in enumerate(columns[1:], 1):
            inner = self._column(number, column)
            known = (codes >= 0) & (inner >= 0)
            pairs = np.where(known, codes * len(self._values[number]) + inner, -1)
            if learn:
                self._levels.append(np.unique(pairs))
            level = self._levels[number - 1]
            place = np.minimum(np.searchsorted(level, pairs), len(level) - 1)
            codes = np.where(known & (level[place] == pairs), place, -1)
        return codes

    def _column(self, number: int, column: pa.Array) -> Numbers:
        return np.asarray(pc.fill_null(pc.index_in(column, self._values[number]), -1)).astype(np.int64)
