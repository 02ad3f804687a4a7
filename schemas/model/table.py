"""A table of the target: its name, key and columns, and how it may grow without losing a value."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Final

import pyarrow as pa

from ..errors import IncompatibleSchemaError, TableError
from .change import POSITION, POSITION_TYPE, PREFIX
from .modes import MODE_COLUMNS, mode_of
from .spelling import respelled, respelled_names, respelled_rows

UNITS: Final = ("s", "ms", "us", "ns")
MAX_DIGITS: Final = 76
DIGITS: Final = {8: 3, 16: 5, 32: 10, 64: 19}
"""The decimal digits of a signed integer by its bits."""


@dataclass(frozen=True, slots=True)
class Table:
    """`columns` are the stream's and those of the mode (see `modes`); `key` names those that identify a row."""

    name: str
    key: tuple[str, ...]
    columns: pa.Schema


def grow(table: str, old: pa.Schema, new: pa.Schema) -> pa.Schema:
    """The columns of both, the old ones first, each of the narrowest type that holds all values of both.

    The types do not depend on which schema is the old one. Numbers widen where no value is lost (`int64` to
    `float64` would lose some), units of time get finer, structs and lists grow inside, null becomes anything.
    A column that is nullable or missing on one side is nullable; one whose name differs in case only keeps the old
    name. Raises IncompatibleSchemaError, also where the two are of different modes.
    """
    if old.equals(new):
        return old
    new = respelled(new, old.names)
    _check_mode(table, old.names, new.names)
    grown = [_grown(table, field, new) for field in old]
    added = [field.with_nullable(True) for field in new if field.name not in old.names]
    return pa.schema([*grown, *added])


def _check_mode(table: str, old: Sequence[str], new: Sequence[str]) -> None:
    before, now = mode_of(old), mode_of(new)
    if old and new and before != now:
        raise IncompatibleSchemaError(
            f"table {table}: it was begun with mode: {before} and the job says mode: {now}, which keeps other rows; "
            "write to a new table, or take the mode back"
        )


def unify(table: str, schemas: Sequence[pa.Schema]) -> pa.Schema:
    """All schemas of one table in one, by `grow`; their order decides nothing but the columns' order."""
    return reduce(lambda old, new: grow(table, old, new), schemas)


def enlarged(place: str, old: Table | None, table: Table, parts: Sequence[Table]) -> Table:
    """The table that holds the rows of `old`, which is at `place`, of `table` and of all `parts`, by `grow`.

    Raises IncompatibleSchemaError, also for names that `check_columns` refuses, and where the key is not that of `old`.
    """
    columns = unify(table.name, [one.columns for one in (*([old] if old else []), table, *parts)])
    # A key is a set of named columns: their order, and the case of their names, is that of the target.
    key = old.key if old is not None else respelled_names(table.key, columns.names)
    wanted = Table(table.name, key, columns)
    keys = [{name.casefold() for name in one.key} for one in (table, old or table)]
    if old is not None and keys[0] != keys[1]:
        raise IncompatibleSchemaError(
            f"table {table.name}: its key in {place} is ({', '.join(old.key)}) and that of the stream is "
            f"({', '.join(table.key)}); write to a new table, or set `key` in the job file"
        )
    check_columns(wanted)
    return wanted


def _grown(table: str, field: pa.Field, new: pa.Schema) -> pa.Field:
    if field.name not in new.names:
        return field.with_nullable(True)
    other = new.field(field.name)
    kind = widened(field.type, other.type)
    if kind is None:
        raise IncompatibleSchemaError(
            f"table {table}: column {field.name!r} was {field.type} and is now {other.type}, which would lose values; "
            "say in the job file what happens: on_incompatible: new_column (the new values go to a column beside) or "
            "on_incompatible: dead_letter"
        )
    return pa.field(field.name, kind, nullable=field.nullable or other.nullable)


def widened(old: pa.DataType, new: pa.DataType) -> pa.DataType | None:
    """The narrowest type that holds every value of both; None where there is none. Symmetric and associative."""
    if old.equals(new):
        return old
    if pa.types.is_null(old) or pa.types.is_null(new):
        return new if pa.types.is_null(old) else old
    for rule in (_number, _decimal, _whole_decimal, _bytes, _time, _day_and_time, _nested):
        kind = rule(old, new)
        if kind is not None:
            return kind
    return None


def _number(old: pa.DataType, new: pa.DataType) -> pa.DataType | None:
    kinds = (old, new)
    for is_kind in (pa.types.is_signed_integer, pa.types.is_unsigned_integer, pa.types.is_floating):
        if all(map(is_kind, kinds)):
            return max(kinds, key=lambda kind: kind.bit_width)
    floats = sum(map(pa.types.is_floating, kinds))
    narrow = sum(pa.types.is_signed_integer(kind) and kind.bit_width <= 32 for kind in kinds)
    return pa.float64() if floats == narrow == 1 else None


def _decimal(old: pa.DataType, new: pa.DataType) -> pa.DataType | None:
    if not (pa.types.is_decimal(old) and pa.types.is_decimal(new)):
        return None
    scale = max(old.scale, new.scale)
    digits = max(old.precision - old.scale, new.precision - new.scale) + scale
    if digits > MAX_DIGITS:
        return None
    wide = digits > 38 or 256 in (old.bit_width, new.bit_width)
    return pa.decimal256(digits, scale) if wide else pa.decimal128(digits, scale)


def _whole_decimal(old: pa.DataType, new: pa.DataType) -> pa.DataType | None:
    """A signed integer is a decimal of as many digits as it may have."""
    for decimal, whole in ((old, new), (new, old)):
        if pa.types.is_decimal(decimal) and pa.types.is_signed_integer(whole):
            digits = pa.decimal128(DIGITS[whole.bit_width], 0)
            return _decimal(decimal, digits)
    return None


def _bytes(old: pa.DataType, new: pa.DataType) -> pa.DataType | None:
    kinds = (old, new)
    if all(pa.types.is_string(kind) or pa.types.is_large_string(kind) for kind in kinds):
        return pa.large_string()
    binary = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_fixed_size_binary)
    if all(any(is_kind(kind) for is_kind in binary) for kind in kinds):
        return pa.large_binary() if any(map(pa.types.is_large_binary, kinds)) else pa.binary()
    return None


def _time(old: pa.DataType, new: pa.DataType) -> pa.DataType | None:
    if pa.types.is_timestamp(old) and pa.types.is_timestamp(new) and old.tz == new.tz:
        return pa.timestamp(_finer(old, new), old.tz)
    if pa.types.is_duration(old) and pa.types.is_duration(new):
        return pa.duration(_finer(old, new))
    if pa.types.is_time(old) and pa.types.is_time(new):
        unit = _finer(old, new)
        return pa.time32(unit) if unit in ("s", "ms") else pa.time64(unit)
    return None


def _day_and_time(old: pa.DataType, new: pa.DataType) -> pa.DataType | None:
    """A date is a timestamp at midnight; one with a time zone is none, for whose midnight would it be?"""
    for day, moment in ((old, new), (new, old)):
        if pa.types.is_date32(day) and pa.types.is_timestamp(moment) and moment.tz is None:
            return moment
    return None


def _finer(old: pa.DataType, new: pa.DataType) -> str:
    return max(old.unit, new.unit, key=UNITS.index)


def _nested(old: pa.DataType, new: pa.DataType) -> pa.DataType | None:
    if pa.types.is_struct(old) and pa.types.is_struct(new):
        return _struct(old, new)
    if pa.types.is_map(old) and pa.types.is_map(new):
        key, item = widened(old.key_type, new.key_type), widened(old.item_type, new.item_type)
        return None if key is None or item is None else pa.map_(key, item)
    lists = (pa.types.is_list, pa.types.is_large_list)
    if all(any(is_kind(kind) for is_kind in lists) for kind in (old, new)):
        value = widened(old.value_type, new.value_type)
        large = pa.types.is_large_list(old) or pa.types.is_large_list(new)
        return None if value is None else pa.large_list(value) if large else pa.list_(value)
    return None


def _struct(old: pa.DataType, new: pa.DataType) -> pa.DataType | None:
    fields = {field.name: field for field in old}
    for field in new:
        kind = widened(fields[field.name].type, field.type) if field.name in fields else field.type
        if kind is None:
            return None
        fields[field.name] = pa.field(field.name, kind)
    return pa.struct([field.with_nullable(True) for field in fields.values()])


def selected(place: str, table: Table, names: Sequence[str] | None) -> pa.Schema:
    """The named columns, among them `_millrace_position` where it is named; without names, all that the table has.

    `place` begins the TableError that is raised where there is no such column.
    """
    if names is None:
        return table.columns
    fields = {field.name: field for field in [*table.columns, pa.field(POSITION, POSITION_TYPE)]}
    missing = [name for name in names if name not in fields]
    if missing:
        raise TableError(f"{place}: table {table.name!r} has no column {missing[0]!r}")
    return pa.schema([fields[name] for name in names])


def conform(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """The batch with exactly the columns of `schema`, in its order: values cast, missing columns null, others left out.

    A column whose name differs in case only is the same one.
    `schema` is one that `grow` made of the batch's own. Raises IncompatibleSchemaError where a value does not
    fit (a year beyond what a finer unit of time can count).
    """
    if batch.schema.equals(schema):
        return batch
    batch, columns = respelled_rows(batch, schema.names), []
    for field in schema:
        if field.name not in batch.schema.names:
            columns.append(pa.nulls(batch.num_rows, field.type))
            continue
        try:
            columns.append(cast(batch.column(field.name), field.type))
        except pa.ArrowInvalid as error:
            raise IncompatibleSchemaError(
                f"column {field.name!r}: a value does not fit {field.type}: {error}"
            ) from error
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def cast(array: pa.Array, kind: pa.DataType) -> pa.Array:
    """The array as `kind`, inside lists, maps and structs too; fields that a struct lacks become null."""
    if array.type.equals(kind):
        return array
    if pa.types.is_null(kind):
        return pa.nulls(len(array))
    if not pa.types.is_nested(kind) or pa.types.is_null(array.type):
        return array.cast(kind)
    array = array.take(pa.array(range(len(array)), pa.int64())) if array.offset else array
    if pa.types.is_struct(kind):
        parts = dict(zip((field.name for field in array.type), array.flatten(), strict=True))
        children = [
            cast(parts[field.name], field.type) if field.name in parts else pa.nulls(len(array), field.type)
            for field in kind
        ]
        return pa.StructArray.from_arrays(children, fields=list(kind), mask=array.is_null())
    offsets = array.offsets
    if pa.types.is_map(kind):
        keys, items = cast(array.keys, kind.key_type), cast(array.items, kind.item_type)
        return pa.MapArray.from_arrays(offsets, keys, items, type=kind, mask=array.is_null())
    shape = pa.LargeListArray if pa.types.is_large_list(kind) else pa.ListArray
    if shape is pa.LargeListArray:
        offsets = offsets.cast(pa.int64())
    return shape.from_arrays(offsets, cast(array.values, kind.value_type), type=kind, mask=array.is_null())


def check_columns(table: Table) -> None:
    """Refuse names that a target cannot keep apart, or that are Millrace's own. Raises IncompatibleSchemaError.

    The columns of exactly one mode are allowed.
    """
    seen: dict[str, str] = {}
    allowed: frozenset[str] = MODE_COLUMNS if mode_of(table.columns.names) is not None else frozenset()
    for name in table.columns.names:
        if name not in allowed and (trouble := _trouble(name)) is not None:
            raise IncompatibleSchemaError(f"table {table.name}: column {name!r} {trouble}; rename it at the source")
        twin = seen.setdefault(name.lower(), name)
        if twin is not name:
            raise IncompatibleSchemaError(
                f"table {table.name}: columns {twin!r} and {name!r} differ in case only, which targets do not keep "
                "apart; rename one at the source"
            )
    missing = [name for name in table.key if name not in table.columns.names]
    if missing:
        raise IncompatibleSchemaError(f"table {table.name}: the key column {missing[0]!r} is not in the rows")


def check_name(name: str, existing: Iterable[str]) -> None:
    """Refuse a table name that is Millrace's own, or an existing one in other case. Raises TableError."""
    if (trouble := _trouble(name)) is not None:
        raise TableError(f"table {name!r}: the name {trouble}; set another `to` in the job file")
    twin = next((other for other in existing if other.lower() == name.lower() and other != name), None)
    if twin is not None:
        raise TableError(
            f"table {name!r}: {twin!r} exists in the target and differs in case only; set another `to` in the job file"
        )


def _trouble(name: str) -> str | None:
    if not name:
        return "is empty"
    if "\0" in name:
        return "holds a NUL character"
    if name.lower().startswith(PREFIX):
        return f"begins with {PREFIX}, which is kept for Millrace's own"
    return None
