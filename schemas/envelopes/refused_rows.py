"""Rows with a value that no target has, where the job makes them dead letters."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..encodings.message_reader import Group
from ..model.representable import Represented
from .decode_context import DecodeContext


def refuse(
    context: DecodeContext, group: Group, rows: NDArray[np.int64], checked: Sequence[Represented]
) -> NDArray[np.bool_] | None:
    """The rows that cannot be kept go to the dead letters; which of `rows` they are, None where there are none."""
    masks = [(one, one.refused) for one in checked]
    refused = np.zeros(len(rows), np.bool_)
    for one, mask in masks:
        if mask is not None:
            for i in np.flatnonzero(mask & ~refused):
                context.failures.add(int(group.rows[rows[i]]), "apply", one.reason(int(i)), group.schema_id)
            refused |= mask
    return refused if refused.any() else None
