"""Values that hold lists of rows: one event for each row, and one for a value without any."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ..errors import SchemaError

EMPTY: pa.DataType = pa.list_(pa.struct([]))


@dataclass(frozen=True, slots=True, eq=False)
class RowEvents:
    """n events of the values of a list: `of_value` is the number of each one's value.

    `inside` is the number of its row in the list of its value, -1 for a value without any.
    """

    of_value: NDArray[np.int64]
    inside: NDArray[np.int64]

    @classmethod
    def of(cls, lengths: NDArray[np.int64]) -> "RowEvents":
        """From the lengths of the lists."""
        counts = np.maximum(lengths, 1)
        of_value = np.repeat(np.arange(len(lengths)), counts)
        inside = np.arange(len(of_value)) - np.repeat(np.cumsum(counts) - counts, counts)
        return cls(of_value, np.where(lengths[of_value] > 0, inside, -1))

    def rows(self, lists: pa.ListArray) -> pa.StructArray:
        """By event the row of its value's list, null where there is none there."""
        lengths = lengths_of(lists)
        starts = np.cumsum(lengths) - lengths
        known = (self.inside >= 0) & (self.inside < lengths[self.of_value])
        places = np.where(known, starts[self.of_value] + self.inside, -1)
        items = lists.flatten()
        if not len(items):
            return pa.nulls(len(places), items.type)
        if len(items) == len(places) and known.all():
            return items
        return items.take(pa.array(places, mask=places < 0))


def lengths_of(lists: pa.ListArray) -> NDArray[np.int64]:
    """How many rows each list has; 0 for null."""
    return np.asarray(pc.list_value_length(lists).fill_null(0)).astype(np.int64)


def lists_of(value: pa.StructArray, name: str) -> pa.ListArray:
    """A field of lists of rows. Raises SchemaError where it holds something else."""
    if value.type.get_field_index(name) < 0 or pa.types.is_null(value.type.field(name).type):
        return pa.nulls(len(value), EMPTY)
    found = pc.struct_field(value, name)
    if not pa.types.is_list(found.type) or not pa.types.is_struct(found.type.value_type):
        raise SchemaError(f"its field {name} is no list of objects")
    return found
