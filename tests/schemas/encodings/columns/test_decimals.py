"""Decimals to words and to text are what Python's integers and decimals say."""

from decimal import Context, Decimal

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from millrace.schemas.encodings.columns.decimals import (
    FEW_BYTES,
    MAX_BYTES,
    MAX_SCALE,
    decimal_text,
    decimal_texts,
    fits_precision,
)

EXACT = Context(prec=100_000, Emax=100_000, Emin=-100_000)


def frozen(content: bytes):
    data = np.frombuffer(content, np.uint8)
    data.flags.writeable = False
    return data


def two_complement(number: int, more: int) -> bytes:
    return number.to_bytes(number.bit_length() // 8 + 1 + more, "big", signed=True)


@given(st.integers(1, 76), st.integers(-2, 2), st.integers(0, 40), st.booleans())
def test_precision_is_exact_at_its_edges(precision, beside, more, negative):
    number = (10**precision + beside) * (-1 if negative else 1)
    content = two_complement(number, more)
    words = np.zeros(4, np.uint64)
    assert fits_precision(frozen(content), 0, len(content), precision, words) == (abs(number) < 10**precision)


@given(st.integers(1 - 10**76, 10**76 - 1), st.integers(0, 40))
def test_words_hold_the_number(number, more):
    content = two_complement(number, more)
    words = np.zeros(4, np.uint64)
    assert fits_precision(frozen(b"?" + content), 1, len(content), 76, words)
    assert int.from_bytes(words.tobytes(), "little", signed=True) == number


@given(st.binary(max_size=80), st.integers(1, 76))
def test_any_bytes_fit_if_their_number_does(content, precision):
    words = np.zeros(4, np.uint64)
    fits = fits_precision(frozen(content), 0, len(content), precision, words)
    assert fits == (abs(int.from_bytes(content, "big", signed=True)) < 10**precision)


def test_a_power_of_two_beyond_the_words_does_not_pass_for_zero():
    for content in (b"\xff" + bytes(32), b"\xff\xff" + bytes(32), b"\x01" + bytes(32), b"\0\xff" + bytes(31)):
        assert not fits_precision(frozen(content), 0, len(content), 76, np.zeros(4, np.uint64))


def texts(pairs):
    contents = [content for content, _ in pairs]
    length = np.array([len(content) for content in contents], np.int64)
    scale = np.array([scale for _, scale in pairs], np.int64)
    offsets, text = decimal_texts(frozen(b"".join(contents)), np.cumsum(length) - length, length, scale)
    return [bytes(text[offsets[i] : offsets[i + 1]]).decode() for i in range(len(pairs))]


def expected(content: bytes, scale: int) -> str:
    number = Decimal(int.from_bytes(content, "big", signed=True))
    return f"{number.scaleb(-scale, EXACT):f}" if number or scale > 0 else "0"


PAIRS = st.tuples(
    st.binary(min_size=1, max_size=60) | st.integers(-1_000, 1_000).map(lambda number: two_complement(number, 0)),
    st.integers(-20, 40),
)


@given(st.lists(PAIRS, max_size=5))
def test_texts_are_plain_and_exact(pairs):
    assert texts(pairs) == [expected(*pair) for pair in pairs]


def test_texts_at_their_limits():
    for content in (b"\x80" + bytes(FEW_BYTES - 1), b"\x7f" + b"\xff" * (FEW_BYTES - 1), b"\0", b"\1", b"\xff"):
        for scale in (-MAX_SCALE, 0, MAX_SCALE):
            assert texts([(content, scale), (content, scale)]) == [expected(content, scale)] * 2


def test_a_decimal_of_any_length_is_written_out():
    long = Context(prec=400_000, Emax=1_000_000, Emin=-1_000_000)
    for content in (b"\x80" + bytes(MAX_BYTES - 1), b"\x7f" + b"\xff" * (FEW_BYTES + 1), b"\0" * FEW_BYTES, b"\xff"):
        for scale in (-MAX_SCALE, 0, 2, MAX_SCALE):
            number = Decimal(int.from_bytes(content, "big", signed=True))
            plain = f"{number.scaleb(-scale, long):f}" if number or scale > 0 else "0"
            assert decimal_text(content, scale) == plain


def test_texts_as_a_person_writes_them():
    assert texts([(b"\x04\xe2", 2), (b"\xff", 3), (b"\0", 2), (b"\1", -2), (b"\0", -2)]) == [
        "12.50",
        "-0.001",
        "0.00",
        "100",
        "0",
    ]
    assert texts([(b"", 2), (b"", 0), (b"\5", 0)]) == ["0.00", "0", "5"]
