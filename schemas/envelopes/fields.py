"""Fields of values as an envelope asks for them: one that no message has had yet is null everywhere."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ..errors import SchemaError


def field_of(value: pa.StructArray, name: str, kind: pa.DataType) -> pa.Array:
    """The field of this type; NULLs where there is none. Raises SchemaError where it has another type."""
    if value.type.get_field_index(name) < 0:
        return pa.nulls(len(value), kind)
    # Not `field`: that does not know that a field of a null struct is null.
    found = pc.struct_field(value, name)
    if pa.types.is_null(found.type):
        return pa.nulls(len(value), kind)
    if found.type != kind:
        raise SchemaError(f"its field {name} is of the type {found.type}, not {kind}")
    return found


def text_of(value: pa.StructArray, name: str) -> pa.StringArray:
    """A field of texts."""
    return field_of(value, name, pa.string())


def number_of(value: pa.StructArray, name: str) -> NDArray[np.int64]:
    """A field of whole numbers, -1 where it is null."""
    return np.asarray(field_of(value, name, pa.int64()).fill_null(-1))


def struct_of(value: pa.StructArray, name: str) -> pa.StructArray:
    """A field of objects; one without fields where there is none."""
    if value.type.get_field_index(name) < 0 or pa.types.is_null(value.type.field(name).type):
        return pa.nulls(len(value), pa.struct([]))
    found = pc.struct_field(value, name)
    if not pa.types.is_struct(found.type):
        raise SchemaError(f"its field {name} is no object")
    return found


def kinds_of(texts: pa.StringArray, words: pa.StringArray) -> NDArray[np.int64]:
    """By row the number of its text among these, -1 where it is none of them."""
    return np.asarray(pc.index_in(texts, words).fill_null(-1)).astype(np.int64)


def same_names(lists: pa.ListArray, known: NDArray[np.bool_]) -> tuple[tuple[str, ...] | None, NDArray[np.bool_]]:
    """The names that the first of the `known` rows lists, and which of them do not; None where none lists any."""
    nothing = np.zeros(len(lists), np.bool_)
    lengths = np.asarray(pc.list_value_length(lists).fill_null(0))
    listed = np.flatnonzero(known & (lengths > 0))
    if not len(listed):
        return None, nothing
    names = tuple(lists[int(listed[0])].as_py())
    texts = pc.binary_join(lists, "\0")
    others = np.asarray(pc.not_equal(texts, texts[int(listed[0])]).fill_null(True))
    return names, others & known
