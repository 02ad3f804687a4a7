"""Values as Trino's protocol shows them (`legacy_primitive_types`), worked out from the stream's own values and types.

A `real` is asked for as `double`: Java shows it with other digits than NumPy.
"""

import base64
import math
from typing import Any

import numpy as np
import pyarrow as pa


def shown(values: pa.Array, lake: str) -> list[Any]:
    """What Trino shows of values that are stored in an `iceberg` or a `delta` table."""
    return [_shown(value, lake) for value in values]


def _shown(value: pa.Scalar, lake: str) -> Any:
    kind = value.type
    if not value.is_valid:
        return None
    if pa.types.is_struct(kind):
        return [_shown(value[number], lake) for number in range(kind.num_fields)]
    if pa.types.is_map(kind):
        pairs = value.values
        return {_shown(pair["key"], lake): _shown(pair["value"], lake) for pair in pairs}
    if pa.types.is_list(kind):
        return [_shown(one, lake) for one in value.values]
    if pa.types.is_temporal(kind):
        return _moment(value, lake)
    if kind.equals(pa.uint64()):
        return str(value.as_py())
    if pa.types.is_decimal(kind):
        return f"{value.as_py():f}" if kind.precision <= 38 else str(value.as_py())
    if pa.types.is_floating(kind):
        return _float(value)
    given = value.as_py()
    return base64.b64encode(given).decode() if isinstance(given, bytes) else given


def _float(value: pa.Scalar) -> Any:
    given = float(value.as_py())
    if math.isfinite(given):
        return given
    return "NaN" if math.isnan(given) else "Infinity" if given > 0 else "-Infinity"


def _moment(value: pa.Scalar, lake: str) -> Any:
    kind = value.type
    if pa.types.is_date32(kind):
        return value.as_py().isoformat()
    number = value.cast(pa.int32() if kind.bit_width == 32 else pa.int64()).as_py()
    if pa.types.is_duration(kind) or kind.unit == "ns" or (lake == "delta" and pa.types.is_time(kind)):
        return number
    per_second = {"s": 1, "ms": 1000, "us": 1_000_000}[kind.unit]
    micros = number * (1_000_000 // per_second)
    if pa.types.is_time(kind):
        return str(np.datetime64(micros, "us")).partition("T")[2]
    if lake == "delta" and kind.tz is not None:
        # Trino has milliseconds there, rounded.
        return _text(np.datetime64((micros + 500) // 1000, "ms")) + " UTC"
    return _text(np.datetime64(micros, "us")) + (" UTC" if kind.tz else "")


def _text(moment: np.datetime64) -> str:
    text = str(moment).replace("T", " ")
    return f"+{text}" if len(text.partition("-")[0]) > 4 else text


def plain(value: Any) -> Any:
    """What a client gives, so that NaN, -0.0 and the digits of a decimal can be compared."""
    return [*map(plain, value)] if isinstance(value, list | tuple) else repr(value)
