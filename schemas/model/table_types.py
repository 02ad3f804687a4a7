"""Values that the table's column of their name cannot hold, found while decoding (`on_incompatible: dead_letter`)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from .table import widened

HeldColumns = Callable[[], pa.Schema | None]
"""The table's columns in the target; None where there is no table yet."""


@dataclass(slots=True)
class TableTypes:
    """The types of a table's columns: those of the target, and of columns that this decoder was the first to meet."""

    held: HeldColumns
    _kinds: dict[str, pa.DataType] = field(default_factory=dict)

    def ask(self) -> None:
        """Look at the target again. Raises SinkError."""
        for column in self.held() or ():
            self._kinds[column.name] = column.type

    def other(self, name: str, array: pa.Array) -> pa.DataType | None:
        """The table's type of a column that cannot hold the array's; None where it can, which is then known."""
        known = self._kinds.get(name)
        kind = array.type if known is None else widened(known, array.type)
        if kind is None:
            return known
        self._kinds[name] = kind
        return None


@dataclass(frozen=True, slots=True)
class FittingColumns:
    """The columns with NULL where the table's cannot hold their type. `refused`: rows that have a value there."""

    columns: dict[str, pa.Array]
    refused: NDArray[np.bool_]
    reason: str


def fitting(types: TableTypes, key: Sequence[str], columns: dict[str, pa.Array], count: int) -> FittingColumns:
    """Check `count` rows. Key columns are left to the commit: it stops the table."""
    found, refused, reason = dict(columns), np.zeros(count, np.bool_), ""
    for name, array in columns.items():
        held = None if name in key else types.other(name, array)
        if held is None:
            continue
        found[name] = pa.nulls(count, held)
        refused |= np.asarray(array.is_valid())
        reason = reason or (
            f"column {name!r} was {held} and is now {array.type}: the table's column cannot hold this value "
            "(on_incompatible: dead_letter)"
        )
    return FittingColumns(found, refused, reason)
