"""The changes of a block that one schema describes."""

import json
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ....schemas.model.position import pack
from .blocks import DELETED, TableSchema
from .pgoutput import NULL, Rows

Whole = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Part:
    """Changes of one schema: offsets, times, positions and kinds by row of `rows`."""

    data: NDArray[np.uint8]
    schema: TableSchema
    rows: Rows
    offset: Whole
    time: Whole
    commit: NDArray[np.uint64]
    inner: NDArray[np.uint64]

    def position(self, chosen: Whole, after: int = 1) -> pa.Array:
        """Positions of these rows; `after` 0 stands just before the row's own."""
        return pack(self.commit[chosen], self.inner[chosen] + np.uint64(after), self.offset[chosen])

    def letter_value(self, row: int, values: pa.StructScalar) -> bytes:
        """The texts of the row that came, as JSON by column."""
        rows = self.rows
        at, size = (rows.old_at, rows.old_size) if rows.kind[row] == DELETED else (rows.at, rows.size)
        texts = {
            column.name: bytes(self.data[at[i, row] : at[i, row] + size[i, row]]).decode(errors="replace")
            for i, column in enumerate(self.schema.columns)
            if size[i, row] > NULL
        }
        return json.dumps(texts).encode()
