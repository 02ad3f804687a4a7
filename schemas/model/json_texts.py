"""Arrays and records as JSON texts by Arrow's kernels, for the types that most keys have."""

import pyarrow as pa
import pyarrow.compute as pc

ESCAPED = r'[\x00-\x1f"\\]'
"""Characters that a JSON text has not as they are."""
NULL = "null"


def json_texts(array: pa.Array) -> pa.Array | None:
    """By row the JSON of a value, null for NULL; None for types and texts that are written one by one.

    As `json.dumps` writes them, without spaces and with sorted names; dates and times are the numbers of their unit.
    """
    kind = array.type
    if pa.types.is_struct(kind):
        return _records(array)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return _lists(array)
    if pa.types.is_boolean(kind) or pa.types.is_integer(kind):
        return array.cast(pa.string())
    if pa.types.is_temporal(kind) and not pa.types.is_interval(kind):
        return array.cast(pa.int32() if kind.bit_width == 32 else pa.int64()).cast(pa.string())
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        text = array.cast(pa.string())
        if pc.any(pc.match_substring_regex(text, ESCAPED)).as_py():
            return None
        return pc.binary_join_element_wise('"', text, '"', "")
    return None


def _records(array: pa.StructArray) -> pa.Array | None:
    names = array.type.names
    if not names or len(set(names)) < len(names) or not all(name.isidentifier() and name.isascii() for name in names):
        return None
    parts: list[pa.Array | str] = []
    for name in sorted(names):
        values = json_texts(array.field(name))
        if values is None:
            return None
        parts += [f'{"," if parts else "{"}"{name}":', pc.fill_null(values, NULL)]
    texts = pc.binary_join_element_wise(*parts, "}", "")
    return pc.if_else(array.is_valid(), texts, pa.scalar(None, pa.string()))


def _lists(array: pa.ListArray) -> pa.Array | None:
    # Of a slice, `values` are those of the whole: flattened, they are its own, without those of NULLs.
    values = json_texts(array.flatten())
    if values is None:
        return None
    lengths = pc.fill_null(pc.list_value_length(array), 0).cast(pa.int32())
    offsets = pa.concat_arrays([pa.array([0], pa.int32()), pc.cumulative_sum(lengths)])
    items = pa.ListArray.from_arrays(offsets, pc.fill_null(values, NULL))
    texts = pc.binary_join_element_wise("[", pc.binary_join(items, ","), "]", "")
    return pc.if_else(array.is_valid(), texts, pa.scalar(None, pa.string()))
