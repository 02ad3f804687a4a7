"""Values of every type that a decoder makes: nulls, extremes, nested; and what it means that they are the same."""

import math
from datetime import date

import pyarrow as pa

MICROS = 1 << 58


def whole(kind: pa.DataType, *numbers: int) -> pa.Array:
    """Values of a type that is stored as numbers."""
    width = pa.int32() if kind.bit_width == 32 else pa.int64()
    return pa.array([*numbers, None], width).view(kind)


def exact(kind: pa.DataType, *texts: str) -> pa.Array:
    return pa.array([*texts, None]).cast(kind)


VALUES = [
    *(pa.array([-(2 ** (bits - 1)), 0, 2 ** (bits - 1) - 1, None], f"int{bits}") for bits in (8, 16, 32, 64)),
    *(pa.array([0, 2**bits - 1, None], f"uint{bits}") for bits in (8, 16, 32, 64)),
    pa.array([1.5, -0.0, math.inf, None], pa.float16()),
    pa.array([-0.0, 0.0, math.inf, -math.inf, math.nan, 3.4e38, 1e-45, None], pa.float32()),
    pa.array([-0.0, 0.0, math.inf, -math.inf, math.nan, 1.8e308, 5e-324, 0.1, None], pa.float64()),
    pa.array([True, False, None]),
    pa.array(["", " ", "a\0b", "😀", "'\"\\", "x" * 100_000, "NULL", None]),
    pa.array(["", "x", None], pa.large_string()),
    pa.array([b"", b"\0", bytes(range(256)), b"x" * 100_000, None]),
    pa.array([b"\0" * 16, b"\xff" * 16, None], pa.binary(16)),
    exact(pa.decimal128(38, 0), "9" * 38, "-" + "9" * 38, "0"),
    exact(pa.decimal128(38, 38), "0." + "9" * 38, "-0." + "9" * 38),
    exact(pa.decimal128(4, 2), "12.30", "-99.99", "0"),
    exact(pa.decimal256(76, 10), "9" * 66 + "." + "9" * 10, "-1.5", "0"),
    pa.array([date(1, 1, 1), date(1970, 1, 1), date(9999, 12, 31), None]),
    whole(pa.time32("s"), 0, 86_399),
    whole(pa.time32("ms"), 0, 86_399_999),
    whole(pa.time64("us"), 0, 86_399_999_999),
    whole(pa.time64("ns"), 0, 1, 86_399_999_999_999),
    *(whole(pa.timestamp(unit, zone), -MICROS // 10**step, -1, 0, 1, MICROS // 10**step)
      for step, unit in ((6, "s"), (3, "ms"), (0, "us")) for zone in (None, "UTC")),
    *(whole(pa.timestamp("ns", zone), -MICROS, -1, 0, 1, 2**62) for zone in (None, "UTC")),
    *(whole(pa.duration(unit), -(2**63), -1, 0, 1, 2**63 - 1) for unit in ("s", "ms", "us", "ns")),
    pa.array([[1, None, 2], [], None], pa.list_(pa.int32())),
    pa.array([[["a", None], [], None], None], pa.list_(pa.list_(pa.string()))),
    pa.array([{"x": 1, "y z": None}, {"x": None, "y z": "b"}, None], pa.struct({"x": pa.int8(), "y z": pa.string()})),
    pa.array([[{"a": b"12"}, None], None], pa.list_(pa.struct([("a", pa.binary(2))]))),
    pa.array([[("a", 1), ("b", None)], [], None], pa.map_(pa.string(), pa.int64())),
    pa.array([[("a", [{"d": 5}])], None], pa.map_(pa.string(), pa.list_(pa.struct([("d", pa.duration("s"))])))),
    pa.array([{"t": 1, "u": 2**64 - 1, "n": 5}], pa.struct(
        [("t", pa.time64("ns")), ("u", pa.uint64()), ("n", pa.timestamp("ns", "UTC"))])),
    pa.nulls(3),
]  # fmt: skip


def same(left: pa.Array, right: pa.Array) -> bool:
    """Equal to the bit: NaN is NaN and -0.0 is not 0.0."""
    if not pa.types.is_floating(left.type):
        return left.equals(right)
    return [repr(value) for value in left.to_pylist()] == [repr(value) for value in right.to_pylist()]


def of_years_1_to_9999(values: pa.Array) -> pa.Array:
    """The same values, those of other years moved to the nearest moment of these."""
    if not pa.types.is_timestamp(values.type) or values.type.unit == "ns":
        return values
    unit = {"s": 1, "ms": 1000, "us": 1_000_000}[values.type.unit]
    first, last = -62_135_596_800 * unit, 253_402_300_800 * unit - 1
    numbers = [None if value is None else min(max(value, first), last) for value in values.cast(pa.int64()).to_pylist()]
    return pa.array(numbers, pa.int64()).cast(values.type)
