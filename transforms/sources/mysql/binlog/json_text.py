"""A column of MySQL's binary JSON as the text that the server prints."""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from .....schemas.errors import SourceError
from .json_binary import DEPTH, FRAME, write_documents
from .texts import spans, validity

Whole = NDArray[np.int64]


def json_of(data: NDArray[np.uint8], at: Whole, size: Whole, name: str) -> pa.Array:
    """The texts; a value without bytes is `null`, as for the server. Raises SourceError for bytes that are no JSON."""
    stack = np.empty((DEPTH, FRAME), np.int64)
    used, offsets = np.zeros(1, np.int64), np.empty(len(at) + 1, np.int64)
    no_words, no_text = np.empty(0, np.int64), _frozen(np.empty(0, np.uint8))
    nothing = np.empty(0, np.uint8)
    bad = int(write_documents(data, (at, size), stack, (used, no_words, no_words, no_text), (offsets, nothing)))
    if bad >= 0:
        raise _refused(name, bad)
    words, texts = np.empty(int(used[0]), np.int64), (no_words, no_text)
    if len(words):
        used[0] = 0
        write_documents(data, (at, size), stack, (used, words, no_words, no_text), (offsets, nothing))
        texts = _double_texts(words)
        used[0] = 0
        write_documents(data, (at, size), stack, (used, no_words, *texts), (offsets, nothing))
    used[0] = 0
    content = np.empty(int(offsets[-1]), np.uint8)
    bad = int(write_documents(data, (at, size), stack, (used, no_words, *texts), (offsets, content)))
    if bad >= 0:
        raise _refused(name, bad)
    made = spans(offsets, content, validity(size), text=True)
    try:
        made.validate(full=True)
    except pa.ArrowInvalid:
        raise SourceError(f"column {name}: a JSON value holds text that is not UTF-8") from None
    return made


def _refused(name: str, row: int) -> SourceError:
    return SourceError(f"column {name}: the bytes of row {row} are no JSON")


def _double_texts(words: Whole) -> tuple[Whole, NDArray[np.uint8]]:
    """Offsets and bytes of the shortest text of each double. JSON has no infinite ones."""
    numbers = np.where(np.isfinite(words.view(np.float64)), words.view(np.float64), 0.0)
    texts = pa.array(numbers).cast(pa.large_string())
    offsets = np.frombuffer(texts.buffers()[1], np.int64, len(texts) + 1)
    return offsets.copy(), _frozen(np.frombuffer(texts.buffers()[2], np.uint8))


def _frozen(text: NDArray[np.uint8]) -> NDArray[np.uint8]:
    text.flags.writeable = False
    return text
