"""Whether a double shows a number as it was written, digit for digit."""

from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray


def rounded(texts: pa.Array, numbers: pa.Array) -> NDArray[np.int64]:
    """The rows whose text has digits that the double of it does not show.

    A double shows a text that is its shortest one, or its nearest decimal of as many digits (at most 17).
    """
    # Most are written as Arrow writes them, or were refused before: the others are looked at one by one.
    others = np.flatnonzero(np.asarray(pc.not_equal(texts, numbers.cast(pa.large_string()))))
    wrong = [row for row in others.tolist() if _is_rounded(texts[row].as_py(), numbers[row].as_py())]
    return np.array(wrong, np.int64)


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
