"""Texts as loops read them."""

from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ..loops import array

TEXTS: Final = (array(np.uint8), array(np.int32), array(np.bool_))
"""What `text_parts` gives, as arguments for `compile_ahead`."""


def text_parts(texts: pa.Array) -> tuple[NDArray[np.uint8], NDArray[np.int32], NDArray[np.bool_]]:
    """The bytes, the n + 1 offsets and the validity of a string array; other types read as their text."""
    if texts.type != pa.string():
        texts = texts.cast(pa.string())
    buffers = texts.buffers()
    offsets = np.frombuffer(buffers[1], np.int32, len(texts) + 1, texts.offset * 4)
    data = np.frombuffer(buffers[2], np.uint8) if buffers[2] is not None and buffers[2].size else np.zeros(1, np.uint8)
    return data, offsets, np.asarray(texts.is_valid())
