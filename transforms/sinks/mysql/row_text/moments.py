"""Dates, times and timestamps between Arrow's numbers and MySQL's texts, and what is out of MySQL's range."""

from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ..columns import unit_of

DAY_MICROS: Final = 86_400 * 1_000_000
PER_SECOND: Final = {"s": 1, "ms": 1_000, "us": 1_000_000}
DAYS: Final = (-719_162, 2_932_896)
"""The first day of year 1 and the last of year 9999, counted from 1970."""
CLOCK: Final = 839 * 3_600 * 1_000_000 - 1_000_000
"""Microseconds: the longest time, 838:59:59, to either side."""
TIME: Final = r"^(?P<sign>-?)(?P<hours>\d+):(?P<minutes>\d\d):(?P<seconds>\d\d)(?P<fraction>\.\d+)?$"


def _range(kind: pa.DataType) -> tuple[int, int]:
    """The first and last number of this type that MySQL holds."""
    if pa.types.is_date32(kind):
        return DAYS
    if pa.types.is_time(kind):
        most = CLOCK * PER_SECOND[unit_of(kind)] // PER_SECOND["us"]
        return -most, most
    day = 86_400 * PER_SECOND[unit_of(kind)]
    return DAYS[0] * day, (DAYS[1] + 1) * day - 1


def held_moments(column: pa.Array) -> tuple[pa.Array, pa.Array | None]:
    """The numbers of the nearest moments that MySQL holds, and those of the ones that it does not; None: no such."""
    numbers = column.view(pa.int32() if column.type.bit_width == 32 else pa.int64())
    first, last = _range(column.type)
    ends = pc.min_max(numbers)
    if ends["min"].as_py() is None or (ends["min"].as_py() >= first and ends["max"].as_py() <= last):
        return numbers, None
    wide = numbers.cast(pa.int64())
    out = pc.or_(pc.less(wide, first), pc.greater(wide, last))
    near = pc.max_element_wise(pc.min_element_wise(wide, last, skip_nulls=False), first, skip_nulls=False)
    return near.cast(numbers.type), pc.if_else(out, wide, pa.scalar(None, pa.int64()))


def moment_texts(kind: pa.DataType, numbers: pa.Array) -> pa.Array:
    """The texts of numbers that MySQL holds."""
    if pa.types.is_time(kind):
        return _clock_texts(numbers.cast(pa.int64()), PER_SECOND["us"] // PER_SECOND[unit_of(kind)])
    return numbers.view(pa.date32() if pa.types.is_date32(kind) else pa.timestamp(unit_of(kind))).cast(pa.string())


def _clock_texts(numbers: pa.Array, step: int) -> pa.Array:
    """Times of a day as Arrow writes them; others, which are hours of several days or below zero, with their hours."""
    micros = pc.multiply(numbers, step)
    outside = pc.or_(pc.less(micros, 0), pc.greater_equal(micros, DAY_MICROS))
    if not pc.any(outside).as_py():
        return micros.view(pa.time64("us")).cast(pa.string())
    values = micros.fill_null(0).to_numpy()
    size = np.abs(values)
    hours = pa.array(size // 3_600_000_000).cast(pa.string())
    rest = pa.array(size % 3_600_000_000).view(pa.time64("us")).cast(pa.string())
    sign = pc.if_else(pa.array(values < 0), "-", "")
    texts = pc.binary_join_element_wise(sign, hours, pc.binary_slice(rest.cast(pa.binary()), 2).cast(pa.string()), "")
    return pc.if_else(micros.is_valid(), texts, pa.scalar(None, pa.string()))


def of_texts(kind: pa.DataType, texts: pa.Array) -> NDArray[np.int64]:
    """The numbers of MySQL's texts, 0 where there is none."""
    if pa.types.is_time(kind):
        micros = _micros(texts)
        return micros // (PER_SECOND["us"] // PER_SECOND[unit_of(kind)])
    if pa.types.is_date32(kind):
        return _numbers(texts.cast(pa.date32()), np.int32)
    return _numbers(texts.cast(pa.timestamp("us")), np.int64) // (PER_SECOND["us"] // PER_SECOND[unit_of(kind)])


def _numbers(column: pa.Array, width: Any) -> NDArray[np.int64]:
    kind = pa.int32() if width is np.int32 else pa.int64()
    values: NDArray[np.int64] = column.view(kind).fill_null(0).to_numpy().astype(np.int64)
    return values


def _micros(texts: pa.Array) -> NDArray[np.int64]:
    """Of `-838:59:59.999999`, below zero and beyond a day too."""
    sign, *clock, fractions = pc.extract_regex(texts, TIME).flatten()
    hours, minutes, seconds = (part.cast(pa.int64()).fill_null(0).to_numpy() for part in clock)
    padded = pc.utf8_rpad(pc.utf8_slice_codeunits(fractions, 1), 6, "0")
    fraction = padded.cast(pa.int64()).fill_null(0).to_numpy()
    whole = ((hours * 60 + minutes) * 60 + seconds) * 1_000_000 + fraction
    below = pc.equal(sign, "-").fill_null(False).to_numpy(zero_copy_only=False)
    found: NDArray[np.int64] = np.where(below, -whole, whole)
    return found
