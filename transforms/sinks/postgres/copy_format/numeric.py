"""Decimals between Arrow's little-endian integers and the digits of Postgres' `numeric` in its binary format.

A numeric is four 16-bit numbers - how many digits, the weight of the first one, the sign, how many decimal places are
shown - and digits to the base 10,000, the decimal point between two of them
(https://github.com/postgres/postgres/blob/REL_15_STABLE/src/backend/utils/adt/numeric.c, numeric_send).
"""

from typing import Any, Final

import numba
import numpy as np
from numpy.typing import NDArray

from .....schemas.loops import array, compile_ahead, read_only

HEAD: Final = 8
_BASE: Final = np.uint64(10_000)
_LOW: Final = np.uint64(0xFFFFFFFF)
_HALF: Final = np.uint64(32)
_ZERO: Final = np.uint64(0)
_ONE: Final = np.uint64(1)


def to_numeric(limbs: NDArray[np.uint64], scale: int, present: NDArray[np.bool_]) -> tuple[Any, Any, Any]:
    """(bytes, starts, sizes) of numbers of 64-bit limbs, the lowest first, in two's complement; size -1 for NULL."""
    width = HEAD + 2 * (5 * limbs.shape[1] + 2)
    raw = np.zeros(len(limbs) * width, np.uint8)
    sizes = np.empty(len(limbs), np.int64)
    _write(limbs, scale, present, raw, sizes)
    return raw, np.arange(len(limbs)) * width, sizes


def from_numeric(data: Any, starts: Any, sizes: Any, shape: tuple[int, int]) -> NDArray[np.uint64]:
    """Limbs of the numerics at these places; `shape` is (limbs, scale). Every value has to fit."""
    limbs = np.zeros((len(starts), shape[0]), np.uint64)
    _read(data, starts, sizes, shape[1], limbs)
    return limbs


@compile_ahead(
    (array(np.uint64, 2), 1, array(np.bool_), array(np.uint8), array(np.int64)),
    (np.frombuffer(bytes(32), np.uint64).reshape(2, 2), 1, array(np.bool_), array(np.uint8), array(np.int64)),
)
@numba.njit(cache=True, nogil=True)
def _write(limbs, scale, present, raw, sizes):  # type: ignore[no-untyped-def]
    pad = -scale % 4
    fraction = (scale + pad) // 4
    words = np.zeros(2 * limbs.shape[1] + 1, np.uint64)
    digits = np.zeros(5 * limbs.shape[1] + 2, np.uint16)
    width = HEAD + 2 * len(digits)
    for row in range(len(limbs)):
        if not present[row]:
            sizes[row] = -1
            continue
        negative = _magnitude(limbs[row], words)
        for _ in range(pad):
            _multiply(words, np.uint64(10), _ZERO)
        count, low = _digits(words, digits)
        sizes[row] = HEAD + 2 * (count - low)
        p = row * width
        _put(raw, p, count - low)
        _put(raw, p + 2, count - 1 - fraction if count else 0)
        _put(raw, p + 4, 0x4000 if negative and count else 0)
        _put(raw, p + 6, max(scale, 0))
        for number in range(count - low):
            _put(raw, p + HEAD + 2 * number, digits[count - 1 - number])


@numba.njit(cache=True, nogil=True)
def _magnitude(limbs, words):  # type: ignore[no-untyped-def]
    """The absolute value in words of 32 bits, one more than needed; whether it was negative."""
    negative = limbs[-1] >> np.uint64(63) != _ZERO
    carry = _ONE
    for number in range(len(limbs)):
        limb = ~limbs[number] if negative else limbs[number]
        for half in range(2):
            word = (limb >> _HALF) if half else (limb & _LOW)
            if negative:
                word += carry
                carry = word >> _HALF
            words[2 * number + half] = word & _LOW
    words[-1] = _ZERO
    return negative


@numba.njit(cache=True, nogil=True)
def _multiply(words, factor, more):  # type: ignore[no-untyped-def]
    carry = more
    for number in range(len(words)):
        value = words[number] * factor + carry
        words[number] = value & _LOW
        carry = value >> _HALF


@numba.njit(cache=True, nogil=True)
def _digits(words, digits):  # type: ignore[no-untyped-def]
    """Digits to the base 10,000, the lowest first; how many, and how many zeros come first. Uses the words up."""
    top, count, low = len(words) - 1, 0, 0
    while top >= 0 and words[top] == _ZERO:
        top -= 1
    while top >= 0:
        rest = _ZERO
        for number in range(top, -1, -1):
            value = (rest << _HALF) | words[number]
            words[number] = value // _BASE
            rest = value % _BASE
        digits[count] = rest
        low += low == count and rest == _ZERO
        count += 1
        while top >= 0 and words[top] == _ZERO:
            top -= 1
    return count, low


@numba.njit(cache=True, nogil=True)
def _put(raw, p, value):  # type: ignore[no-untyped-def]
    raw[p] = (value >> 8) & 0xFF
    raw[p + 1] = value & 0xFF


@numba.njit(cache=True, nogil=True)
def _get(data, p):  # type: ignore[no-untyped-def]
    return (np.int64(data[p]) << 8) | np.int64(data[p + 1])


@compile_ahead((read_only(np.uint8), array(np.int64), array(np.int64), 1, array(np.uint64, 2)))
@numba.njit(cache=True, nogil=True)
def _read(data, starts, sizes, scale, limbs):  # type: ignore[no-untyped-def]
    words = np.zeros(2 * limbs.shape[1] + 1, np.uint64)
    for row in range(len(starts)):
        if sizes[row] < 0:
            continue
        p = starts[row]
        count, weight = _get(data, p), _get(data, p + 2)
        weight -= 65536 if weight >= 32768 else 0
        words[:] = _ZERO
        for number in range(count):
            _multiply(words, _BASE, np.uint64(_get(data, p + HEAD + 2 * number)))
        places = 4 * (weight - count + 1) + scale
        for _ in range(places if count else 0):
            _multiply(words, np.uint64(10), _ZERO)
        for _ in range(-places if count else 0):
            _divide(words)
        _join(words, _get(data, p + 4) == 0x4000, limbs[row])


@numba.njit(cache=True, nogil=True)
def _divide(words):  # type: ignore[no-untyped-def]
    rest = _ZERO
    for number in range(len(words) - 1, -1, -1):
        value = (rest << _HALF) | words[number]
        words[number] = value // np.uint64(10)
        rest = value % np.uint64(10)


@numba.njit(cache=True, nogil=True)
def _join(words, negative, limbs):  # type: ignore[no-untyped-def]
    carry = _ONE
    for number in range(len(limbs)):
        limb = words[2 * number] | (words[2 * number + 1] << _HALF)
        if negative:
            limb = ~limb + carry
            carry = _ONE if carry != _ZERO and limb == _ZERO else _ZERO
        limbs[number] = limb
