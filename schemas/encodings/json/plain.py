"""Decodes JSON without a schema: by what is declared, and by what the messages so far looked like.

A block is decoded as if the shape were known. Payloads with something new are then read one by one, which teaches the
shape, and the block is decoded again. So Python looks at a payload only where it is the first of its kind, or wrong.
"""

import json
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..encoding import Expected, Keep
from .declared import Forms
from .decoder import CODE, DecodedJson, JsonDecoder
from .errors import FIELDS, KIND, RANGE, TWICE
from .options import JsonOptions
from .shape import Learner, Real

FIRST: Final = 1_000
"""Payloads that are read one by one before the block is decoded again; then four times as many, and so on."""


class PlainDecoder:
    """Decodes payloads of one side of a topic. Not for several threads: it learns."""

    def __init__(self, options: JsonOptions, keep: Keep | None, expected: Expected | None) -> None:
        self._learner, self._keep = Learner(keep, expected, Forms(options)), keep
        self._decoder: JsonDecoder | None = None

    def decode(self, data: NDArray[np.uint8], at: NDArray[np.int64], length: NDArray[np.int64]) -> DecodedJson:
        """Decode `data[at[i] : at[i] + length[i]]` as row i. Raises SchemaError where no column can hold them."""
        most, looked = FIRST, 0
        while True:
            if self._decoder is None:
                self._decoder = JsonDecoder(self._learner.schema(), self._keep)
            done = self._decoder.decode(data, at, length, learning=True)
            codes = done.errors & CODE
            odd = np.flatnonzero(np.isin(codes, (KIND, RANGE, TWICE)) | ((done.strange == 1) & (codes == 0)))
            if self._learner.full:
                break
            if self._learned(data, at, length, odd[looked:most]):
                self._decoder, looked = None, 0
            elif most >= len(odd):
                break
            else:
                looked = most
            most *= 4
        if codes.any():
            done = self._decoder.decode(data, at, length)
        # What is still strange has fields that cannot be learnt.
        lost = (done.strange == 1) & (done.errors == 0)
        return self._decoder.decode(data, at, length, np.where(lost, FIELDS, done.errors)) if lost.any() else done

    def _learned(
        self, data: NDArray[np.uint8], at: NDArray[np.int64], length: NDArray[np.int64], rows: NDArray[np.int64]
    ) -> bool:
        """Whether these payloads changed the shape; those that are no JSON do not."""
        learned = False
        for row in rows.tolist():
            try:
                text = data[at[row] : at[row] + length[row]].tobytes().decode()
                learned |= self._learner.learn(json.loads(text, parse_float=Real))
            except (ValueError, RecursionError):
                continue
        return learned
