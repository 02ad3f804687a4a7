"""Eight bytes at once: loads that need not be aligned, and the comparison of texts; compiled by numba."""

from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .jit import compiled, inlined

_intrinsic: Any = intrinsic


@_intrinsic
def load_word(typing_context, data, at):  # type: ignore[no-untyped-def]
    """`data[at : at + 8]` as a number, the first byte lowest; the caller knows that there are eight."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        proxy: Any = cgutils.create_struct_proxy
        array = proxy(signature.args[0])(context, builder, value=arguments[0])
        place = builder.gep(array.data, [arguments[1]])
        return builder.load(builder.bitcast(place, ir.IntType(64).as_pointer()), align=1)

    return types.uint64(data, types.int64), generate


@_intrinsic
def trailing_zeros(typing_context, word):  # type: ignore[no-untyped-def]
    """How many of the lowest bits are zero; the word is not 0."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.uint64(types.uint64), generate


@compiled
def _same_bytes(data, p, names, q, size):  # type: ignore[no-untyped-def]
    i = 0
    while i < size and data[p + i] == names[q + i]:
        i += 1
    return i >= size


@inlined
def same(data, p, names, q, size):  # type: ignore[no-untyped-def]
    """Whether `size` bytes at `p` are those at `q` of `names`, which has eight more bytes behind its last text."""
    if p + size + 8 > len(data):
        return _same_bytes(data, p, names, q, size)
    while size >= 8:
        if load_word(data, p) != load_word(names, q):
            return False
        p, q, size = p + 8, q + 8, size - 8
    if size <= 0:
        return True
    return (load_word(data, p) ^ load_word(names, q)) << np.uint64(64 - 8 * size) == np.uint64(0)
