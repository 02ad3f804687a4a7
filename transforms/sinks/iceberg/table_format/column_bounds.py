"""Counts and bounds of columns as Iceberg keeps them beside each file: little-endian numbers, truncated texts.

The form is appendix D of the Iceberg specification, "Single-value serialization". Bounds are taken from Arrow, not from
Parquet's statistics: those of timestamps beyond the year 9999 cannot be read in Python.
"""

import struct
from dataclasses import dataclass, field
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

LONGEST: Final = 16
NUMBERS: Final = {"int32": "<i", "int64": "<q", "float": "<f", "double": "<d", "bool": "<?"}
LAST_CHARACTER: Final = 0x10FFFF
SURROGATES: Final = range(0xD800, 0xE000)


@dataclass(slots=True)
class Metrics:
    """By field id. `whole` are ids whose bounds are not truncated."""

    whole: frozenset[int] = frozenset()
    values: dict[int, int] = field(default_factory=dict)
    nulls: dict[int, int] = field(default_factory=dict)
    nans: dict[int, int] = field(default_factory=dict)
    lower: dict[int, bytes] = field(default_factory=dict)
    upper: dict[int, bytes] = field(default_factory=dict)

    def add(self, number: int, column: pa.ChunkedArray) -> None:
        """Count a column and take its bounds; nested ones have none."""
        if pa.types.is_nested(column.type):
            return
        self.values[number], self.nulls[number] = len(column), column.null_count
        if pa.types.is_floating(column.type):
            nan = pc.is_nan(column)
            self.nans[number] = pc.sum(nan).as_py() or 0
            column = column.filter(pc.invert(nan))
        if len(column) > column.null_count:
            ends = pc.min_max(_plain(column))
            lower, upper = encoded(ends["min"]), encoded(ends["max"])
            if pa.types.is_floating(column.type):
                lower, upper = _signed_zero(lower, upper)
            if number not in self.whole:
                lower, cut = _truncated(lower, column.type), _raised(upper, column.type)
                if cut is None:
                    self.lower[number] = lower
                    return
                upper = cut
            self.lower[number], self.upper[number] = lower, upper


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Dates and times as numbers: Python has no years beyond 9999."""
    kind = column.type
    if pa.types.is_date32(kind):
        return column.cast(pa.int32())
    return column.cast(pa.int64()) if pa.types.is_time64(kind) or pa.types.is_timestamp(kind) else column


def encoded(value: pa.Scalar) -> bytes:
    """One value, of a stored type, as Iceberg writes it."""
    kind = value.type
    if str(kind) in NUMBERS:
        return struct.pack(NUMBERS[str(kind)], value.as_py())
    if pa.types.is_decimal(kind):
        unscaled = int(value.as_py().scaleb(kind.scale))
        return unscaled.to_bytes((unscaled + (unscaled < 0)).bit_length() // 8 + 1, "big", signed=True)
    held: Any = value.as_py()
    return held.encode() if isinstance(held, str) else held


def decoded(raw: bytes, kind: pa.DataType) -> pa.Scalar:
    """A bound as a scalar of the stored type; one of a narrower type, written before the column grew, too."""
    if pa.types.is_decimal(kind):
        number = int.from_bytes(raw, "big", signed=True)
        return (
            pa.scalar(number, pa.decimal128(38, 0)).cast(pa.decimal128(38, 0))
            if not kind.scale
            else _scaled(number, kind)
        )
    if pa.types.is_floating(kind):
        return pa.scalar(struct.unpack("<f" if len(raw) == 4 else "<d", raw)[0], pa.float64())
    if pa.types.is_boolean(kind):
        return pa.scalar(bool(raw[0]))
    if pa.types.is_string(kind):
        return pa.scalar(raw.decode())
    if pa.types.is_binary(kind):
        return pa.scalar(raw, pa.binary())
    return pa.scalar(int.from_bytes(raw, "little", signed=True), pa.int64())


def _scaled(number: int, kind: pa.DataType) -> pa.Scalar:
    from decimal import Context, Decimal

    return pa.scalar(Decimal(number).scaleb(-kind.scale, Context(prec=60)), pa.decimal128(38, kind.scale))


def _signed_zero(lower: bytes, upper: bytes) -> tuple[bytes, bytes]:
    """A zero of either sign is within bounds of -0.0 and 0.0."""
    zero = bytes(len(lower))
    negative = zero[:-1] + b"\x80"
    return (negative if lower == zero else lower), (zero if upper == negative else upper)


def _truncated(bound: bytes, kind: pa.DataType) -> bytes:
    if pa.types.is_string(kind):
        return bound.decode()[:LONGEST].encode()
    return bound[:LONGEST] if pa.types.is_binary(kind) else bound


def _raised(bound: bytes, kind: pa.DataType) -> bytes | None:
    """An upper bound cut to the length and made larger than all that begin with it; None where nothing is larger."""
    if pa.types.is_string(kind) and len(text := bound.decode()) > LONGEST:
        for length in range(LONGEST, 0, -1):
            last = ord(text[length - 1]) + 1
            last = SURROGATES.stop if last in SURROGATES else last
            if last <= LAST_CHARACTER:
                return (text[: length - 1] + chr(last)).encode()
        return None
    if pa.types.is_binary(kind) and len(bound) > LONGEST:
        for length in range(LONGEST, 0, -1):
            if bound[length - 1] < 255:
                return bound[: length - 1] + bytes([bound[length - 1] + 1])
        return None
    return bound
