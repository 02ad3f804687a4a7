"""Payloads with a key twice in an object: written once more with the last value alone, as other readers have it."""

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import DEPTH, SYNTAX
from .work import Rows


class _Literal(str):
    """A number or word as it was written."""


def without_repeated_keys(
    data: NDArray[np.uint8], rows: Rows, suspects: NDArray[np.int64]
) -> tuple[NDArray[np.uint8], Rows]:
    """The data with those of the suspects that have such a key written anew behind them, and where they are.

    Whether they are JSON is left to the loop: Python's reader takes more than that.
    """
    at, length, errors = rows.at.copy(), rows.length.copy(), rows.errors.copy()
    texts, place = [], len(data)
    for row in suspects.tolist():
        try:
            value, repeats = _read(data[at[row] : at[row] + length[row]].tobytes())
            text = _written(value).encode() if repeats else b""
        except RecursionError:
            errors[row] = DEPTH
        except ValueError:
            errors[row] = SYNTAX
        else:
            if repeats:
                at[row], length[row], errors[row] = place, len(text), 0
                texts.append(text)
                place += len(text)
    whole = np.concatenate([data, np.frombuffer(b"".join(texts), np.uint8)]) if texts else data
    for array in (whole, at, length):
        array.flags.writeable = False
    return whole, Rows(at, length, errors)


def _read(text: bytes) -> tuple[Any, bool]:
    """The value, and whether a key stands twice in an object of it."""
    repeats = []

    def object_of(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            repeats.append(True)
        return found

    value = json.loads(
        text.decode(), object_pairs_hook=object_of, parse_int=_Literal, parse_float=_Literal, parse_constant=_Literal
    )
    return value, bool(repeats)


def _written(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(name)}:{_written(part)}" for name, part in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_written, value)) + "]"
    return str(value) if isinstance(value, _Literal) else json.dumps(value)
