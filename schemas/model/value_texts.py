"""The texts of values that their column cannot hold, on their way to the column beside."""

import json
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from .unrepresentable import text_name

TEXT_OF: Final = b"millrace.text_of"
"""Metadata of a field that an encoding adds: the name of the field beside it whose values it writes out."""


def text_field(name: str) -> pa.Field:
    """The field that an encoding puts beside its field `name`, whose row is null there."""
    return pa.field(text_name(name), pa.string(), metadata={TEXT_OF: name.encode()})


def texts_at(rows: NDArray[np.int64], texts: list[str], count: int) -> pa.Array:
    """`texts` at these of `count` rows, null elsewhere."""
    index = np.full(count, -1, np.int64)
    index[rows] = np.arange(len(rows))
    return pa.array(texts, pa.string()).take(pa.array(index, mask=index < 0))


def items_of_texts(texts: pa.Array, lengths: NDArray[np.int64], keys: pa.Array | None = None) -> pa.Array:
    """By item what `texts_of_items` was given."""
    starts = np.cumsum(lengths) - lengths
    items: dict[int, str] = {}
    for owner in np.flatnonzero(np.asarray(texts.is_valid())):
        start, stop = int(starts[owner]), int(starts[owner] + lengths[owner])
        places = {str(n - start) if keys is None else str(keys[n].as_py()): n for n in range(start, stop)}
        items |= {places[name]: text for name, text in json.loads(texts[owner].as_py()).items()}
    return texts_at(np.array(list(items), np.int64), list(items.values()), int(lengths.sum()))


def texts_of_items(texts: pa.Array, lengths: NDArray[np.int64], keys: pa.Array | None = None) -> pa.Array:
    """The texts of a list's or map's items by row, as JSON: `{"2": "infinity"}`, by place or by the map's key.

    `texts` has a row an item, null where the item needs none; `lengths` are the numbers of items of each row.
    """
    owners = np.repeat(np.arange(len(lengths)), lengths)
    starts = np.cumsum(lengths) - lengths
    found: dict[int, dict[str, str]] = {}
    for item in np.flatnonzero(np.asarray(texts.is_valid())):
        owner = int(owners[item])
        name = str(item - starts[owner]) if keys is None else str(keys[item].as_py())
        found.setdefault(owner, {})[name] = texts[item].as_py()
    written = [json.dumps(items, ensure_ascii=False) for items in found.values()]
    return texts_at(np.array(list(found), np.int64), written, len(lengths))
