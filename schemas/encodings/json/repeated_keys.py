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
    data: NDArray[np.uint8], rows: Rows, twice: NDArray[np.int64]
) -> tuple[NDArray[np.uint8], Rows]:
    """The data with these payloads written anew behind them, and where they are; what cannot be read keeps an error.

    Whether they are JSON is left to the loop: Python's reader takes more than that.
    """
    at, length, errors = rows.at.copy(), rows.length.copy(), rows.errors.copy()
    texts, place = [], len(data)
    for row in twice.tolist():
        errors[row] = 0
        try:
            text = _written(_read(data[at[row] : at[row] + length[row]].tobytes())).encode()
        except RecursionError:
            errors[row] = DEPTH
        except ValueError:
            errors[row] = SYNTAX
        else:
            at[row], length[row] = place, len(text)
            texts.append(text)
            place += len(text)
    whole = np.concatenate([data, np.frombuffer(b"".join(texts), np.uint8)])
    for array in (whole, at, length):
        array.flags.writeable = False
    return whole, Rows(at, length, errors)


def _read(text: bytes) -> Any:
    return json.loads(text.decode(), parse_int=_Literal, parse_float=_Literal, parse_constant=_Literal)


def _written(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(name)}:{_written(part)}" for name, part in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_written, value)) + "]"
    return str(value) if isinstance(value, _Literal) else json.dumps(value)
