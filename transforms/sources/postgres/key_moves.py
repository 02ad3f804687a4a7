"""Updates that change the key: which ones do, and their old keys in the form of Debezium's header."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ....schemas.model.key_text import in_header
from .blocks import Column
from .columns import column_of
from .part import Part, Whole
from .pgoutput import UNCHANGED


def differing_keys(part: Part, rows: Whole, numbers: Sequence[int]) -> NDArray[np.bool_]:
    """By row whether its key (the columns of these numbers) is another one than before."""
    differs = np.zeros(len(rows), np.bool_)
    for number in numbers:
        text = replace(part.schema.columns[number], type_name="text")
        new = _values(part, text, part.rows.at[number, rows], part.rows.size[number, rows])
        was = _values(part, text, part.rows.old_at[number, rows], part.rows.old_size[number, rows])
        unchanged = part.rows.size[number, rows] == UNCHANGED
        same = np.asarray(pc.fill_null(pc.equal(new, was), False))
        differs |= ~same & ~unchanged & (part.rows.old_size[number, rows] >= 0)
    return differs


def old_keys(part: Part, rows: Whole, numbers: Mapping[str, int]) -> list[bytes]:
    """By row the key before, as JSON; `numbers` are of the key's columns."""
    olds = [
        _values(part, part.schema.columns[number], part.rows.old_at[number, rows], part.rows.old_size[number, rows])
        for number in numbers.values()
    ]
    texts = []
    for place in range(len(rows)):
        values = [in_header(old[place].as_py(), old.type) for old in olds]
        texts.append(json.dumps(dict(zip(numbers, values, strict=True))).encode())
    return texts


def _values(part: Part, column: Column, at: Whole, size: Whole) -> pa.Array:
    return column_of(part.data, np.ascontiguousarray(at), np.ascontiguousarray(size), column)[0]
