"""Decimals: big-endian two's complement bytes to words and to text, compiled by numba."""

from decimal import Decimal
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ...loops import array, compile_ahead, read_only
from .jit import compiled

MAX_PRECISION: Final = 76
MAX_SCALE: Final = 20_000
"""Digits after the point, or zeros before it, of a decimal that carries its own scale: Postgres has 16,383."""
MAX_BYTES: Final = 65_536
"""Bytes of a decimal that becomes text: Postgres has 131,072 digits before the point and 16,383 behind it."""
FEW_BYTES: Final = 1_024
"""Bytes of a decimal that the compiled loop writes out: its time grows with their square."""

_WORD: Final = (1 << 64) - 1
# _POWERS[n] is 10**n as four words, lowest first.
_POWERS: Final = np.array(
    [[10**digits >> 64 * word & _WORD for word in range(4)] for digits in range(MAX_PRECISION + 1)], np.uint64
)
_GROUP: Final = 9


@compiled
def fits_precision(data, p, length, precision, words):  # type: ignore[no-untyped-def]
    """Load a big-endian two's complement number into four 64-bit words, lowest first; whether it fits.

    It fits with at most `precision` digits. Bytes beyond the last 32 may only repeat the sign.
    """
    negative = length > 0 and data[p] >= 128
    fill = np.uint8(255) if negative else np.uint8(0)
    extra = max(length - 32, 0)
    for i in range(p, p + extra):
        if data[i] != fill:
            return False
    if extra and (data[p + extra] >= 128) != negative:
        return False
    last = p + length - 1
    for word in range(4):
        bits = np.uint64(0)
        for i in range(8):
            k = word * 8 + i
            byte = data[last - k] if k < length - extra else fill
            bits |= np.uint64(byte) << np.uint64(8 * i)
        words[word] = bits
    return is_below(words, precision, negative)


@compiled
def is_below(words, precision, negative):  # type: ignore[no-untyped-def]
    """Whether the magnitude of a number of four words, in two's complement, is less than ten to the `precision`.

    The magnitude of a negative number is its complement plus one, made word by word. The highest word that differs is
    the last one looked at, and decides.
    """
    carry = np.uint64(1)
    below = False
    for i in range(4):
        word = words[i]
        if negative:
            word = ~word + carry
            carry = np.uint64(1) if carry and word == 0 else np.uint64(0)
        if word != _POWERS[precision, i]:
            below = word < _POWERS[precision, i]
    return below


def decimal_text(raw: bytes, scale: int) -> str:
    """The exact plain text of one decimal of any length."""
    unscaled = int.from_bytes(raw, "big", signed=True)
    # Python's own text of a whole number ends at 4,300 digits.
    digits = str(Decimal(abs(unscaled)))
    if scale > 0:
        digits = digits.rjust(scale + 1, "0")
        digits = f"{digits[:-scale]}.{digits[-scale:]}"
    elif unscaled:
        digits += "0" * -scale
    return f"-{digits}" if unscaled < 0 else digits


def decimal_texts(
    data: NDArray[np.uint8], at: NDArray[np.int64], length: NDArray[np.int64], scale: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Offsets and bytes of the exact plain texts: `12.50`, `-0.001`; a number of no bytes is zero.

    None is longer than FEW_BYTES.
    """
    # A byte has log10(256), less than 2.41, digits; beside them sign, point, leading zero and the scale's zeros.
    most = length * 241 // 100 + np.abs(scale) + 4
    text = np.empty(int(most.sum()), np.uint8)
    offsets = np.zeros(len(at) + 1, np.int64)
    limbs = np.empty(FEW_BYTES // 4 + 2, np.uint64)
    digits = np.empty(FEW_BYTES * 241 // 100 + 2 * _GROUP + 2, np.uint8)
    _write_texts(data, (at, length, scale), (limbs, digits), offsets, text)
    return offsets, text[: offsets[-1]]


@compile_ahead(
    (
        read_only(np.uint8),
        (array(np.int64), array(np.int64), array(np.int64)),
        (array(np.uint64), array(np.uint8)),
        array(np.int64),
        array(np.uint8),
    )
)
@compiled
def _write_texts(data, numbers, scratch, offsets, text):  # type: ignore[no-untyped-def]
    at, length, scale = numbers
    limbs, digits = scratch
    q = 0
    for row in range(len(at)):
        negative = length[row] > 0 and data[at[row]] >= 128
        used = _limbs(data, at[row], length[row], negative, limbs)
        first = _digits(limbs, used, digits)
        if negative:
            text[q] = 45
            q += 1
        q = _plain(digits, first, scale[row], text, q)
        offsets[row + 1] = q


@compiled
def _limbs(data, p, length, negative, limbs):  # type: ignore[no-untyped-def]
    """The magnitude in limbs of 32 bits, the lowest first; how many."""
    used = (length + 3) // 4
    carry = np.uint64(1)
    for limb in range(used):
        bits = np.uint64(0)
        for i in range(4):
            k = limb * 4 + i
            byte = data[p + length - 1 - k] if k < length else np.uint8(255 if negative else 0)
            bits |= np.uint64(byte) << np.uint64(8 * i)
        if negative:
            bits = (bits ^ np.uint64(0xFFFFFFFF)) + carry
            carry = bits >> np.uint64(32)
            bits &= np.uint64(0xFFFFFFFF)
        limbs[limb] = bits
    return used


@compiled
def _digits(limbs, used, digits):  # type: ignore[no-untyped-def]
    """Write the digits to the end of `digits`; where they begin. Divides by 10**9 until nothing is left."""
    first = len(digits)
    while True:
        while used > 0 and limbs[used - 1] == 0:
            used -= 1
        rest = np.uint64(0)
        for i in range(used - 1, -1, -1):
            part = (rest << np.uint64(32)) | limbs[i]
            limbs[i] = part // np.uint64(1_000_000_000)
            rest = part % np.uint64(1_000_000_000)
        for _ in range(_GROUP):
            first -= 1
            digits[first] = np.uint8(48) + np.uint8(rest % np.uint64(10))
            rest //= np.uint64(10)
        while used > 0 and limbs[used - 1] == 0:
            used -= 1
        if used == 0:
            break
    while first < len(digits) - 1 and digits[first] == 48:
        first += 1
    return first


@compiled
def _plain(digits, first, scale, text, q):  # type: ignore[no-untyped-def]
    """Write the digits with their point or zeros; the position after them."""
    count = len(digits) - first
    if scale >= count:
        text[q] = 48
        text[q + 1] = 46
        q += 2
        for _ in range(scale - count):
            text[q] = 48
            q += 1
        scale = 0
    for i in range(count):
        if scale > 0 and i == count - scale:
            text[q] = 46
            q += 1
        text[q] = digits[first + i]
        q += 1
    if scale < 0 and not (count == 1 and digits[first] == 48):
        for _ in range(-scale):
            text[q] = 48
            q += 1
    return q
