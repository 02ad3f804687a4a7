"""Values that the source did not send: Debezium's placeholder for unchanged out-of-line columns."""

import base64
import hashlib
import json
import uuid
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ...model.change import names_by_row

UNAVAILABLE_VALUE: Final = "__debezium_unavailable_value"
"""Debezium's own text; a connector may be given another one (`unavailable.value.placeholder`)."""


@dataclass(frozen=True)
class Placeholders:
    """What Debezium sends in the place of a value that the source left out, by the column's type.

    Columns of text, JSON or bytes: the text; bytes that are sent as text: its base64 (plain or URL-safe) or hexadecimal
    form. hstore as JSON: an object of the text alone. Arrays: a list of the text
    alone, for UUIDs of the UUID that Java makes of it, for numbers and dates of the text's bytes as numbers. Maps: a
    map whose only key is the text. Source: io.debezium.connector.postgresql.UnchangedToastedReplicationMessageColumn.
    """

    text: str = UNAVAILABLE_VALUE

    @cached_property
    def forms(self) -> tuple[bytes, ...]:
        """The text, and what it becomes where bytes are sent as text: base64 of two alphabets, hexadecimal digits."""
        raw = self.text.encode()
        return raw, base64.b64encode(raw), base64.urlsafe_b64encode(raw), raw.hex().encode()

    @cached_property
    def texts(self) -> tuple[bytes, ...]:
        """The placeholders of a text column, and that of an hstore column."""
        hstore = json.dumps({self.text: self.text}, separators=(",", ":"), ensure_ascii=False)
        return *self.forms, hstore.encode()

    @cached_property
    def elements(self) -> tuple[bytes, ...]:
        """The only element of a list of texts or bytes, and that of a list of UUIDs (Java's UUID.nameUUIDFromBytes)."""
        digest = hashlib.md5(self.text.encode(), usedforsecurity=False).digest()
        return *self.forms, str(uuid.UUID(bytes=digest, version=3)).encode()

    @cached_property
    def numbers(self) -> NDArray[np.int64]:
        """The elements of a list of numbers."""
        return np.frombuffer(self.text.encode(), np.int8).astype(np.int64)

    def blank(self, columns: dict[str, pa.Array]) -> tuple[dict[str, pa.Array], pa.Array | None]:
        """The columns with placeholders as nulls, and by row the names of the columns that held one.

        The names are a `list<string>` array, null where the row is whole; None where all rows are.
        """
        masks = {name: mask for name, array in columns.items() if (mask := self._mask(array)) is not None}
        if not masks:
            return columns, None
        blanked = dict(columns)
        for name, mask in masks.items():
            array = columns[name]
            blanked[name] = array.take(pa.array(np.arange(len(array)), mask=mask))
        return blanked, names_by_row(masks, len(next(iter(columns.values()))))

    def _mask(self, array: pa.Array) -> NDArray[np.bool_] | None:
        """By row whether it holds a placeholder; None where no row does."""
        kind = array.type
        if is_text(kind):
            offsets = np.frombuffer(array.buffers()[1], np.int32, len(array) + 1, array.offset * 4)
            # Lengths first: nearly always no value is as long as a placeholder.
            if not np.isin(np.diff(offsets), [len(text) for text in self.texts]).any():
                return None
            return _any_of(array, self.texts)
        if pa.types.is_map(kind) or (pa.types.is_list(kind) and is_text(kind.value_type)):
            return self._single(array)
        if pa.types.is_list(kind) and (pa.types.is_integer(kind.value_type) or pa.types.is_date32(kind.value_type)):
            return self._numbers(array)
        return None

    def _single(self, array: pa.Array) -> NDArray[np.bool_] | None:
        """Lists, or the keys of maps, whose only element is a placeholder."""
        items = array.keys if pa.types.is_map(array.type) else array.values
        rows, firsts = _of_length(array, 1)
        if not len(rows) or not is_text(items.type):
            return None
        return _spread(rows, _any_of(items.take(pa.array(firsts)), self.elements), len(array))

    def _numbers(self, array: pa.Array) -> NDArray[np.bool_] | None:
        """Lists of numbers that are the placeholder's bytes."""
        rows, firsts = _of_length(array, len(self.numbers))
        if not len(rows):
            return None
        # One row a list of the placeholder's length, one column an element.
        places = firsts[:, None] + np.arange(len(self.numbers))
        values = array.values.take(pa.array(places.ravel()))
        values = values.cast(pa.int32()) if pa.types.is_date32(values.type) else values
        same = np.asarray(values.cast(pa.int64(), safe=False).fill_null(-1)).reshape(places.shape) == self.numbers
        return _spread(rows, same.all(axis=1), len(array))


def is_text(kind: pa.DataType) -> bool:
    """Whether values of the type are one run of bytes with 32-bit offsets."""
    return bool(pa.types.is_string(kind) or pa.types.is_binary(kind))


def _of_length(array: pa.Array, length: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows of a list or map array that have so many elements, and the place of the first of these."""
    offsets = np.asarray(array.offsets).astype(np.int64)
    rows = np.flatnonzero((np.diff(offsets) == length) & np.asarray(array.is_valid()))
    return rows, offsets[rows]


def _any_of(array: pa.Array, texts: tuple[bytes, ...]) -> NDArray[np.bool_] | None:
    wanted = pa.array(texts, pa.binary())
    mask = np.asarray(pc.is_in(array.cast(pa.binary()), value_set=wanted))
    return mask if mask.any() else None


def _spread(rows: NDArray[np.int64], hits: NDArray[np.bool_] | None, count: int) -> NDArray[np.bool_] | None:
    """`hits` of some rows as a mask of all; None where none hits."""
    if hits is None or not hits.any():
        return None
    mask = np.zeros(count, np.bool_)
    mask[rows] = hits
    return mask
