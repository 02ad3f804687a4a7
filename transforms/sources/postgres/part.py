"""The changes of a block that one schema describes."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ....schemas.model.position import pack
from .blocks import TableSchema
from .pgoutput import Rows

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
