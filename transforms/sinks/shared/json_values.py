"""Lists, structs and maps as JSON for a database's own type of it, and back, without a loss.

    struct                    object; a field that is null is null
    list                      array
    map with texts as keys    object; a database orders its keys. Where a key stands twice: array of [key, value]
    any other map             array of [key, value]
    integer, bool             number, true or false
    decimal                   number with all digits, or text where the database keeps only some (`JsonForm`)
    float                     number; "nan", "inf", "-inf" and "-0" as text
    string                    text, NUL as in the database's text columns
    binary                    text of hexadecimal digits
    date, time, timestamp, duration    number in its own unit

Writing works on whole columns. Reading builds Python values: it serves `scan` only.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ....schemas.errors import TerminalSinkError
from .types import plain

Reader = Callable[[Any], Any]

HEX: Final = np.frombuffer("".join(f"{byte:02x}" for byte in range(256)).encode(), np.uint16)
CONTROLS: Final = [chr(code) for code in range(32)]


@dataclass(frozen=True, slots=True)
class JsonForm:
    """How a database wants JSON: what it does to texts and names, and back; whether it keeps all digits of a number."""

    escape_texts: Callable[[pa.Array], pa.Array]
    escape: Callable[[str], str]
    unescape: Callable[[str], str]
    all_digits: bool


def to_json(array: pa.Array, form: JsonForm) -> pa.Array:
    """The values as text of JSON, null where they are null."""
    kind = array.type
    if pa.types.is_dictionary(kind):
        return to_json(array.dictionary_decode(), form)
    if isinstance(kind, pa.BaseExtensionType):
        return to_json(array.storage, form)
    if not pa.types.is_nested(kind):
        return _leaf(array, form)
    if array.offset:
        array = array.take(pa.array(np.arange(len(array))))
    if pa.types.is_struct(kind):
        return _struct(array, form)
    if pa.types.is_map(kind):
        return _map(array, form)
    if pa.types.is_fixed_size_list(kind):
        array = array.cast(pa.list_(kind.value_type))
    return _wrapped("[", _joined(array, to_json(array.values, form)), "]")


def _wrapped(before: str, texts: pa.Array, after: str) -> pa.Array:
    return pc.binary_join_element_wise(before, texts, after, "")


def _joined(array: pa.Array, items: pa.Array) -> pa.Array:
    """The items of each list with commas between them; null for a list that is null."""
    shape = pa.LargeListArray if pa.types.is_large_list(array.type) else pa.ListArray
    return pc.binary_join(shape.from_arrays(array.offsets, items.fill_null("null"), mask=array.is_null()), ",")


def _struct(array: pa.Array, form: JsonForm) -> pa.Array:
    parts: list[Any] = []
    for number, field in enumerate(array.type):
        name = json.dumps(form.escape(field.name), ensure_ascii=False)
        parts += [f"{',' if number else '{'}{name}:", to_json(array.field(number), form).fill_null("null")]
    texts = pc.binary_join_element_wise(*parts, "}", "") if parts else pa.array(["{}"] * len(array))
    return pc.if_else(array.is_valid(), texts, pa.scalar(None, pa.string()))


def _map(array: pa.Array, form: JsonForm) -> pa.Array:
    keys, items = to_json(array.keys, form), to_json(array.items, form).fill_null("null")
    pairs = _wrapped("[", _joined(array, pc.binary_join_element_wise("[", keys, ",", items, "]", "")), "]")
    key = plain(array.type.key_type)
    if not (pa.types.is_string(key) or pa.types.is_large_string(key)):
        return pairs
    objects = _wrapped("{", _joined(array, pc.binary_join_element_wise(keys, ":", items, "")), "}")
    parents = pc.list_parent_indices(pa.ListArray.from_arrays(array.offsets, keys))
    first = array.offsets[0].as_py() if len(array.offsets) else 0
    counts = pa.table({"map": parents, "key": keys.slice(first, len(parents))}).group_by(["map", "key"])
    twice = counts.aggregate([([], "count_all")]).filter(pc.field("count_all") > 1)["map"]
    return pc.if_else(pc.is_in(pa.array(np.arange(len(array))), twice.cast(pa.int64())), pairs, objects)


def _leaf(array: pa.Array, form: JsonForm) -> pa.Array:
    kind = array.type
    if pa.types.is_null(kind):
        return pa.nulls(len(array), pa.string())
    if pa.types.is_floating(kind):
        texts = (array.cast(pa.float32()) if pa.types.is_float16(kind) else array).cast(pa.string())
        odd = pc.or_(pc.invert(pc.is_finite(array.cast(pa.float64()))), pc.equal(texts, "-0"))
        return pc.if_else(odd, _wrapped('"', texts, '"'), texts)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return _text(array.cast(pa.string()), form)
    if pa.types.is_decimal(kind) and not form.all_digits:
        return _wrapped('"', array.cast(pa.string()), '"')
    if pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_decimal(kind):
        return array.cast(pa.string())
    if pa.types.is_temporal(kind) and not pa.types.is_interval(kind):
        return array.cast(pa.int32() if kind.bit_width == 32 else pa.int64()).cast(pa.string())
    if pa.types.is_interval(kind):
        raise TerminalSinkError(f"the type {kind} cannot be stored; cast it to a duration or to text at the source")
    return _hexadecimal(array.cast(pa.large_binary()))


def _text(texts: pa.Array, form: JsonForm) -> pa.Array:
    texts = form.escape_texts(texts)
    texts = pc.replace_substring(pc.replace_substring(texts, "\\", "\\\\"), '"', '\\"')
    if pc.any(pc.match_substring_regex(texts, "[\x00-\x1f]")).as_py():
        for control in CONTROLS:
            texts = pc.replace_substring(texts, control, f"\\u{ord(control):04x}")
    return _wrapped('"', texts, '"')


def _hexadecimal(array: pa.Array) -> pa.Array:
    _, offsets, data = array.buffers()
    ends = np.frombuffer(offsets, np.int64, len(array) + 1, array.offset * 8)
    raw = np.frombuffer(data, np.uint8) if data is not None else np.empty(0, np.uint8)
    texts = pa.py_buffer(HEX[raw[ends[0] : ends[-1]]].tobytes())
    places = pa.py_buffer(((ends - ends[0]) * 2).tobytes())
    known = pa.Array.from_buffers(pa.large_string(), len(array), [None, places, texts]).cast(pa.string())
    return pc.if_else(array.is_valid(), _wrapped('"', known, '"'), pa.scalar(None, pa.string()))


def from_json(texts: Sequence[str | bytes | None], kind: pa.DataType, form: JsonForm) -> pa.Array:
    """What `to_json` was given; a struct's missing fields are null."""
    read = _reader(kind, form)
    values = [None if text is None else json.loads(text, parse_float=str) for text in texts]
    return pa.array([None if value is None else read(value) for value in values], kind)


def _reader(kind: pa.DataType, form: JsonForm) -> Reader:
    """What makes of a value of JSON, which is not null, what `pa.array` takes."""
    if pa.types.is_struct(kind):
        fields = [(field.name, form.escape(field.name), _optional(field.type, form)) for field in kind]
        return lambda value: {name: read(value.get(written)) for name, written, read in fields}
    if pa.types.is_map(kind):
        key, item = _reader(kind.key_type, form), _optional(kind.item_type, form)
        named = _reader(kind.key_type, form)
        return lambda value: (
            [(named(name), item(part)) for name, part in value.items()]
            if isinstance(value, dict)
            else [(key(name), item(part)) for name, part in value]
        )
    if pa.types.is_nested(kind):
        part = _optional(kind.value_type, form)
        return lambda value: [part(one) for one in value]
    return _leaf_reader(plain(kind), form)


def _optional(kind: pa.DataType, form: JsonForm) -> Reader:
    read = _reader(kind, form)
    return lambda value: None if value is None else read(value)


def _leaf_reader(kind: pa.DataType, form: JsonForm) -> Reader:
    if pa.types.is_floating(kind):
        return np.float16 if pa.types.is_float16(kind) else float
    if pa.types.is_decimal(kind):
        return Decimal
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return form.unescape
    if pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_temporal(kind) or pa.types.is_null(kind):
        return lambda value: value
    return bytes.fromhex


def same_json(old: pa.DataType, new: pa.DataType) -> bool:
    """Whether all values of `old` are written as those of `new` are."""
    old, new = plain(old), plain(new)
    if old.equals(new) or pa.types.is_null(old):
        return True
    if pa.types.is_struct(old) and pa.types.is_struct(new):
        fields = {field.name: field.type for field in new}
        return all(field.name in fields and same_json(field.type, fields[field.name]) for field in old)
    if pa.types.is_map(old) and pa.types.is_map(new):
        return same_json(old.key_type, new.key_type) and same_json(old.item_type, new.item_type)
    lists = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    if all(any(is_kind(kind) for is_kind in lists) for kind in (old, new)):
        return same_json(old.value_type, new.value_type)
    return pa.types.is_integer(old) and pa.types.is_integer(new)
