"""Numbers of rows to words, by compiled loops: integers, decimals, bits. Values of other rows than these are 0."""

from typing import Final

import numba
import numpy as np

from .....schemas.loops import array, compile_ahead, read_only

_GROUP: Final = np.array([0, 1, 1, 2, 2, 3, 3, 4, 4, 4], np.int64)
_POWERS: Final = 10 ** np.arange(10, dtype=np.int64)


@compile_ahead((read_only(np.uint8), array(np.int64), array(np.int64), (1, True), array(np.int64)))
@numba.njit(cache=True, nogil=True)
def whole_numbers(data, at, size, shape, out):  # type: ignore[no-untyped-def]
    """Numbers of `shape[0]` bytes, the lowest first, with a sign where `shape[1]`; 8 bytes wrap."""
    width, signed = shape
    shift = 64 - 8 * width
    for i in range(len(at)):
        value = np.int64(0)
        if size[i] >= 0:
            p = at[i]
            for j in range(width):
                value |= np.int64(data[p + j]) << (8 * j)
            if signed:
                value = value << shift >> shift
        out[i] = value


@compile_ahead((read_only(np.uint8), array(np.int64), array(np.int64), array(np.uint8, 2), False))
@numba.njit(cache=True, nogil=True)
def cells(data, at, size, out, backwards):  # type: ignore[no-untyped-def]
    """The bytes of values that all have as many as `out` has columns, the last first where `backwards`."""
    width = out.shape[1]
    for i in range(len(at)):
        for j in range(width):
            k = width - 1 - j if backwards else j
            out[i, k] = data[at[i] + j] if size[i] >= 0 else np.uint8(0)


@numba.njit(cache=True, nogil=True)
def _group(data, p, size, flip, first):  # type: ignore[no-untyped-def]
    """Up to nine digits: a number of `size` bytes, the highest first, all bits turned where `flip`."""
    value = np.int64(0)
    for j in range(size):
        byte = np.int64(data[p + j]) ^ flip
        if first and j == 0:
            byte ^= 128
        value = value << 8 | byte
    return value


@numba.njit(cache=True, nogil=True)
def _store(limbs, negative, out, i):  # type: ignore[no-untyped-def]
    """Words of a magnitude in limbs of 32 bits, with its sign."""
    carry = np.uint64(1)
    for w in range(out.shape[1]):
        word = limbs[2 * w] | limbs[2 * w + 1] << np.uint64(32)
        if negative:
            word = ~word + carry
            carry = np.uint64(1) if carry and word == 0 else np.uint64(0)
        out[i, w] = word


@compile_ahead((read_only(np.uint8), array(np.int64), array(np.int64), (10, 2), array(np.uint64, 2), array(np.uint64)))
@numba.njit(cache=True, nogil=True)
def decimals(data, at, size, shape, out, limbs):  # type: ignore[no-untyped-def]
    """Unscaled numbers of `shape` (precision, scale), as words of 64 bits, the lowest first.

    `limbs`: 8 words to work in. Gives the first row whose digits are none, or -1.
    """
    precision, scale = shape
    before, words = precision - scale, out.shape[1]
    for i in range(len(at)):
        out[i, :] = 0
        if size[i] < 0:
            continue
        p, first = at[i], True
        negative = data[p] < 128
        flip = np.int64(255 if negative else 0)
        small = np.int64(0)
        limbs[:] = 0
        done = 0
        while done < precision:
            # The digits before the point begin with the group that is not full, those behind it end with it.
            if done < before:
                digits = before % 9 if done == 0 and before % 9 else 9
            else:
                digits = min(9, precision - done)
            group = _group(data, p, _GROUP[digits], flip, first)
            p += _GROUP[digits]
            first = False
            if group >= _POWERS[digits] or group < 0:
                return i
            if precision <= 18:
                small = small * _POWERS[digits] + group
            else:
                carry = np.uint64(group)
                for w in range(2 * words):
                    value = limbs[w] * np.uint64(_POWERS[digits]) + carry
                    limbs[w] = value & np.uint64(0xFFFFFFFF)
                    carry = value >> np.uint64(32)
            done += digits
        if precision <= 18:
            signed = -small if negative else small
            for w in range(words):
                out[i, w] = np.uint64(signed if w == 0 else signed >> 63)
        else:
            _store(limbs, negative, out, i)
    return -1
