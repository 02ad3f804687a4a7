"""Decoded values that no target's type has: found by comparing whole columns, and then dealt with as the job says.

Only the rows that hold such a value are looked at one by one.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from .key_text import nested_as_text
from .unrepresentable import OnUnrepresentable, text_name
from .value_texts import TEXT_OF, items_of_texts, texts_at, texts_of_items

DAY: Final = 86_400
FIRST_DAY, LAST_DAY = -719_162, 2_932_896
"""Days from 1970-01-01 to 0001-01-01 and to 9999-12-31."""
FACTORS: Final = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
AT_AN_END: Final = r"^-?\+?(infinity$|\d{5,}-|0000-)|^-\d{4}-"
"""Of a text before all dates or behind them; one of a year between, such as 2024-00-10, is near to none."""
BEFORE: Final = r"^-|^\+?0000-"

Mask = NDArray[np.bool_]
Whole = NDArray[np.signedinteger[Any]]


@dataclass(frozen=True, slots=True)
class Represented:
    """`struct` with values that targets have.

    `texts` say by row why it cannot be kept, null where it can; None where all can.
    """

    struct: pa.StructArray
    texts: pa.Array | None

    @property
    def refused(self) -> Mask | None:
        """By row whether it cannot be kept; None where all can."""
        return None if self.texts is None else np.asarray(self.texts.is_valid())

    def reason(self, row: int) -> str:
        """Why a row cannot be kept, in one sentence."""
        return f"no target's type has this value: {self.texts[row].as_py()}" if self.texts is not None else ""


def represented(struct: pa.StructArray, policy: OnUnrepresentable) -> Represented:
    """The rows with each value that no target's type has as `policy` says; the same array where there is none.

    A text stands in the field `<name>__text` beside the field, inside structs and lists too. Items of lists and maps
    have no field beside them: their texts stand beside the list. Where the stream has a field of that name itself, the
    row is refused.
    """
    return Represented(*_struct(struct, policy))


def represented_key(struct: pa.StructArray, policy: OnUnrepresentable) -> Represented:
    """As `represented`, for the fields of a key: a key cannot be NULL, nor become another one, so its row is refused.

    Under `text` dates, times and timestamps are text, and every key arrives. An array, map or record is JSON text.
    """
    text = policy is OnUnrepresentable.TEXT
    found, texts = _struct(struct, policy if text else OnUnrepresentable.DEAD_LETTER)
    names = [field.name for field in struct.type if TEXT_OF not in (field.metadata or {})]
    beside = [field.name for field in found.type if field.name not in names]
    for name in beside:
        texts = _first(texts, found.field(name))
    if beside:
        found = pa.StructArray.from_arrays([found.field(name) for name in names], names)
    columns = [nested_as_text(found.field(i)) for i in range(found.type.num_fields)]
    if any(pa.types.is_nested(field.type) for field in found.type):
        mask = found.is_null() if found.null_count else None
        found = pa.StructArray.from_arrays(columns, [field.name for field in found.type], mask=mask)
    return Represented(found, texts)


def represented_before(struct: pa.StructArray, policy: OnUnrepresentable) -> pa.StructArray:
    """The rows before a change, whose key alone is read: NULL, or text, for what no key can be."""
    text = policy is OnUnrepresentable.TEXT
    found, _ = _struct(struct, policy if text else OnUnrepresentable.DEAD_LETTER)
    columns = [nested_as_text(found.field(i)) for i in range(found.type.num_fields)]
    mask = found.is_null() if found.null_count else None
    return pa.StructArray.from_arrays(columns, [field.name for field in found.type], mask=mask)


def _first(texts: pa.Array | None, others: pa.Array) -> pa.Array:
    return others if texts is None else pc.coalesce(texts, others)


def _struct(struct: pa.StructArray, policy: OnUnrepresentable) -> tuple[pa.StructArray, pa.Array | None]:
    fields: list[pa.Field] = []
    children: list[pa.Array] = []
    given = {
        field.metadata[TEXT_OF].decode(): struct.field(i)
        for i, field in enumerate(struct.type)
        if TEXT_OF in (field.metadata or {})
    }
    own = {field.name for field in struct.type if TEXT_OF not in (field.metadata or {})}
    changed, refused = bool(given), None
    for i, field in enumerate(struct.type):
        if field.name not in own or TEXT_OF in (field.metadata or {}):
            continue
        array = struct.field(i)
        fitted, texts = _fitted(array, given.get(field.name), policy)
        changed |= fitted is not array or texts is not None
        fields.append(field.with_type(fitted.type))
        children.append(fitted)
        if texts is None:
            continue
        beside = text_name(field.name)
        if policy is OnUnrepresentable.DEAD_LETTER or beside in own:
            refused = _first(refused, pc.binary_join_element_wise(field.name, texts, ": "))
        else:
            fields.append(pa.field(beside, pa.string()))
            children.append(texts)
    if not changed:
        return struct, None
    mask = struct.is_null() if struct.null_count else None
    return pa.StructArray.from_arrays(children, fields=fields, mask=mask), refused


def _fitted(array: pa.Array, given: pa.Array | None, policy: OnUnrepresentable) -> tuple[pa.Array, pa.Array | None]:
    """The column, and by row the text of a value that it cannot hold (None: of no row); `given` are the encoding's."""
    kind = array.type
    if pa.types.is_struct(kind):
        fitted, texts = _struct(array, policy)
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_map(kind):
        return _items(array, given, policy)
    else:
        fitted, texts = _scalars(array, given, policy)
        given = None
    return fitted, texts if given is None else _first(texts, given)


def _items(array: pa.Array, given: pa.Array | None, policy: OnUnrepresentable) -> tuple[pa.Array, pa.Array | None]:
    is_map = pa.types.is_map(array.type)
    # A list that is a slice says its offsets within a longer array: copied, it begins at 0.
    if given is not None and array.offset:
        return _items(array.take(pa.array(np.arange(len(array)))), given, policy)
    values, lengths = array.items if is_map else array.values, np.diff(np.asarray(array.offsets)).astype(np.int64)
    # An array that is NULL has no items: its text is of the whole.
    whole, inside = (None, None) if given is None else _apart(given, array)
    of_items = None if inside is None else items_of_texts(inside, lengths, array.keys if is_map else None)
    items, texts = _fitted(values, of_items, policy)
    if items is values and texts is None:
        return array, whole
    if array.offset:
        return _items(array.take(pa.array(np.arange(len(array)))), given, policy)
    mask = array.is_null() if array.null_count else None
    if is_map:
        fitted = pa.MapArray.from_arrays(array.offsets, array.keys, items, mask=mask)
    else:
        fitted = type(array).from_arrays(array.offsets, items, mask=mask)
    if texts is None:
        return fitted, whole
    noted = texts_of_items(texts, lengths, array.keys if is_map else None)
    return fitted, noted if whole is None else _first(noted, whole)


def _apart(texts: pa.Array, array: pa.Array) -> tuple[pa.Array | None, pa.Array | None]:
    """The texts of arrays that are NULL, and those of the others' items; None where there are none."""
    absent, nothing = array.is_null(), pa.scalar(None, texts.type)
    whole, inside = pc.if_else(absent, texts, nothing), pc.if_else(absent, nothing, texts)
    return tuple(part if part.null_count < len(part) else None for part in (whole, inside))  # type: ignore[return-value]


def _scalars(array: pa.Array, given: pa.Array | None, policy: OnUnrepresentable) -> tuple[pa.Array, pa.Array | None]:
    kind = array.type
    bounds = _bounds(kind)
    if bounds is None:
        if policy is OnUnrepresentable.CLAMP and given is not None and pa.types.is_decimal(kind):
            return _clamped_decimals(array, given)
        return array, given
    numbers = _numbers(array)
    bad = (numbers < bounds[0]) | (numbers > bounds[1])
    if array.null_count:
        bad &= np.asarray(array.is_valid())
    if policy is OnUnrepresentable.TEXT:
        return _as_text(array, numbers, bad, given), None
    if not bad.any() and given is None:
        return array, None
    if policy is OnUnrepresentable.CLAMP:
        return _clamped(array, numbers, bounds, given)
    return _blanked(array, numbers, bad, given)


def _blanked(array: pa.Array, numbers: Whole, bad: Mask, given: pa.Array | None) -> tuple[pa.Array, pa.Array | None]:
    if not bad.any():
        return array, given
    rows = np.flatnonzero(bad)
    texts = texts_at(rows, [text_of(array.type, int(numbers[row])) for row in rows], len(array))
    null = bad | np.asarray(array.is_null())
    return pa.array(numbers, mask=null).view(array.type), _first(given, texts)


def _clamped(
    array: pa.Array, numbers: Whole, bounds: tuple[int, int], given: pa.Array | None
) -> tuple[pa.Array, pa.Array | None]:
    numbers, null = np.clip(numbers, *bounds), np.array(array.is_null())
    if given is not None:
        near, low = (
            np.asarray(pc.fill_null(pc.match_substring_regex(given, end), False)) for end in (AT_AN_END, BEFORE)
        )
        numbers[near] = np.where(low[near], *bounds)
        null &= ~near
        given = pc.if_else(pa.array(near), pa.scalar(None, given.type), given)
        given = None if given.null_count == len(given) else given
    return pa.array(numbers, mask=null).view(array.type), given


def _clamped_decimals(array: pa.Array, given: pa.Array) -> tuple[pa.Array, pa.Array | None]:
    kind = array.type
    digits = "9" * kind.precision
    most = f"{digits[: kind.precision - kind.scale] or '0'}.{digits[: kind.scale]}"
    ends = pc.if_else(pc.starts_with(given, "-"), f"-{most}", most).cast(kind)
    return pc.coalesce(array, ends), None


def _as_text(array: pa.Array, numbers: Whole, bad: Mask, given: pa.Array | None) -> pa.Array:
    """All values as ISO 8601 text: Arrow writes those that it can."""
    kind, null = array.type, np.asarray(array.is_null())
    known = pa.array(numbers, mask=null | bad).view(kind)
    if pa.types.is_timestamp(kind) and kind.tz is not None:
        known = known.cast(pa.timestamp(kind.unit))
    texts = known.cast(pa.string())
    if not pa.types.is_date(kind):
        # Without the zeros at the end of the fraction.
        texts = pc.replace_substring_regex(texts, r"(\.[0-9]*[1-9])0+$|\.0+$", r"\1")
    if pa.types.is_timestamp(kind):
        texts = pc.replace_substring(texts, " ", "T")
        texts = texts if kind.tz is None else pc.binary_join_element_wise(texts, "Z", "")
    if bad.any():
        rows = np.flatnonzero(bad)
        texts = pc.coalesce(texts, texts_at(rows, [text_of(kind, int(numbers[row])) for row in rows], len(array)))
    return texts if given is None else pc.coalesce(texts, given)


def _bounds(kind: pa.DataType) -> tuple[int, int] | None:
    """The least and the greatest number that a target's date, time or timestamp has; None where it has them all."""
    if pa.types.is_date32(kind):
        return FIRST_DAY, LAST_DAY
    if pa.types.is_time(kind):
        return 0, DAY * FACTORS[kind.unit] - 1
    if pa.types.is_timestamp(kind) and kind.unit != "ns":
        return FIRST_DAY * DAY * FACTORS[kind.unit], (LAST_DAY + 1) * DAY * FACTORS[kind.unit] - 1
    return None


def _numbers(array: pa.Array) -> Whole:
    """The numbers of a date, time or timestamp column, as they lie in memory; those of NULLs mean nothing."""
    width = np.int32 if array.type.bit_width == 32 else np.int64
    if not len(array):
        return np.empty(0, width)
    return np.frombuffer(array.buffers()[1], width, len(array), array.offset * np.dtype(width).itemsize)


def text_of(kind: pa.DataType, number: int) -> str:
    """One date, time or timestamp as ISO 8601 text, in any year: `-0043-03-15`, `+10000-01-01T00:00:00`, `-838:59:59`.

    Year 0 is the one before year 1, as in ISO 8601; hours of a time may have more than two digits.
    """
    if pa.types.is_date32(kind):
        return _day(number)
    if pa.types.is_time(kind):
        return ("-" if number < 0 else "") + _clock(abs(number), kind.unit)
    day, rest = divmod(number, DAY * FACTORS[kind.unit])
    return f"{_day(day)}T{_clock(rest, kind.unit)}" + ("" if kind.tz is None else "Z")


def _clock(number: int, unit: str) -> str:
    seconds, fraction = divmod(number, FACTORS[unit])
    text = f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
    return f"{text}.{fraction:0{len(str(FACTORS[unit])) - 1}d}".rstrip("0") if fraction else text


def _day(days: int) -> str:
    """A day of the proleptic Gregorian calendar, counted from 1970-01-01 (Hinnant, civil_from_days)."""
    era, of_era = divmod(days + 719_468, 146_097)
    year_of_era = (of_era - of_era // 1460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    shifted = (5 * of_year + 2) // 153
    month = shifted + 3 if shifted < 10 else shifted - 9
    year = year_of_era + era * 400 + (month <= 2)
    sign = "-" if year < 0 else "+" if year > 9999 else ""
    return f"{sign}{abs(year):04d}-{month:02d}-{of_year - (153 * shifted + 2) // 5 + 1:02d}"
