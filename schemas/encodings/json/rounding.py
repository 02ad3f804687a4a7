"""Whether a double shows a number as it was written, digit for digit."""

from decimal import Decimal
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

ALWAYS_SHOWN: Final = 15
"""Digits that a double always shows."""


def rounded(texts: pa.Array, numbers: pa.Array) -> NDArray[np.int64]:
    """The rows whose text has digits that the double of it does not show.

    A double shows a text that is its shortest one, or its nearest decimal of as many digits (at most 17).
    """
    # Most are written as Arrow writes them, or have few digits, or were refused before: the others are looked at one
    # by one.
    others = np.flatnonzero(np.asarray(pc.not_equal(texts, numbers.cast(pa.large_string()))))
    doubles = np.asarray(numbers)
    normal = np.isfinite(doubles) & (np.abs(doubles) > 1e-290)
    # A text has no more digits than characters.
    brief = np.asarray(pc.less_equal(pc.binary_length(texts), ALWAYS_SHOWN)) & normal
    others = others[~brief[others]]
    others = others[~_short(texts.take(pa.array(others)), normal[others])]
    wrong = [row for row in others.tolist() if _is_rounded(texts[row].as_py(), numbers[row].as_py())]
    return np.array(wrong, np.int64)


def _short(texts: pa.Array, normal: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """By row whether it has so few digits that each double but the very small ones (not `normal`) shows them."""
    digits = pc.replace_substring(pc.replace_substring_regex(texts, "[eE].*$", ""), ".", "")
    count = np.asarray(pc.binary_length(pc.replace_substring_regex(digits, "^-?0*|0+$", "")))
    few: NDArray[np.bool_] = (count <= ALWAYS_SHOWN) & (normal | (count == 0))
    return few


def _is_rounded(text: str, number: float) -> bool:
    if text in ("NaN", "Infinity", "-Infinity"):
        return False
    exact = Decimal(text)
    if abs(number) == float("inf"):
        return True
    digits = len("".join(map(str, exact.normalize().as_tuple().digits)))
    if exact == Decimal(repr(number)):
        return False
    return digits > 17 or Decimal(f"{number:.{digits - 1}e}") != exact
