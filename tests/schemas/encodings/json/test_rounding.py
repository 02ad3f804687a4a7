"""Digits that a double does not show: the answer is that of exact numbers, however the digits are found."""

from fractions import Fraction

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from millrace.schemas.encodings.json.rounding import rounded


def numbers(texts):
    return pa.array([float(text) for text in texts], pa.float64())


def shown(text):
    """Whether the double nearest to a text is, written with as many digits as the text has, the text's number."""
    number, exact = float(text), Fraction(text)
    if abs(number) == float("inf"):
        return False
    digits = len(text.lower().partition("e")[0].replace(".", "").lstrip("-0").rstrip("0"))
    if exact == 0:
        return True
    return Fraction(repr(number)) == exact or (digits <= 17 and Fraction(f"{number:.{digits - 1}e}") == exact)


def written():
    whole = st.integers(0, 10**20).map(str)
    fraction = st.one_of(st.just(""), st.text("0123456789", min_size=1, max_size=22).map(lambda text: f".{text}"))
    power = st.one_of(st.just(""), st.integers(-420, 420).map(lambda number: f"e{number}"))
    return st.builds(lambda *parts: "".join(parts), st.sampled_from(["", "-"]), whole, fraction, power)


@given(st.lists(written(), min_size=1, max_size=20))
@example(["12.50", "0.00", "-0.0", "1e-400", "5e-324", "1e3", "10.000000000000000000000", "0.1000000000000000055511"])
@example(["1e400", "123456789012345678", "12345678901234567", "9007199254740993", "100000000000000000000"])
def test_what_is_rounded_is_what_exact_numbers_say(texts):
    found = rounded(pa.array(texts, pa.large_string()), numbers(texts))
    assert found.tolist() == [row for row, text in enumerate(texts) if not shown(text)]


def test_prices_are_not_looked_at_one_by_one(monkeypatch):
    monkeypatch.setattr("millrace.schemas.encodings.json.rounding._is_rounded", pytest.fail)
    texts = [f"{number / 10:.2f}" for number in range(1000)] + ["12.500000000000000000"]
    assert rounded(pa.array(texts, pa.large_string()), numbers(texts)).tolist() == []
    assert np.dtype(np.int64) == rounded(pa.array([], pa.large_string()), numbers([])).dtype
