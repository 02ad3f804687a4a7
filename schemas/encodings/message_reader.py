"""Messages of one topic as groups of decoded keys and values; what cannot be decoded as dead letters."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ..errors import SchemaError, UnknownSchemaError
from ..model.dead_letter import DeadLetter
from ..model.message_batch import MessageBatch
from .encoding import BAD, BY_ID, NULL, PRIMITIVE_KEY, ColumnDecoder, Encoding, Expected, Framed, Keep, WriterSchema
from .schema_store import Side

ExpectedOfSide = Callable[[Side], Expected]

FEW: Final = 16
"""Groups that `same_schemas` looks for one by one, before it sorts what is left."""


@dataclass(frozen=True, slots=True)
class Group:
    """Messages that the same two schemas wrote: row i of `key` and `value` is record `rows[i]`.

    `value` is None for tombstones, `key` where it was null or not asked for. `fields` are all that the value's schema
    has, those too that nobody keeps.
    """

    rows: NDArray[np.int64]
    key: pa.StructArray | None
    value: pa.StructArray | None
    schema_id: int | None
    fields: frozenset[str] = frozenset()


@dataclass(slots=True)
class Failures:
    """Dead letters of one block, gathered while it is decoded."""

    records: MessageBatch
    letters: list[DeadLetter] = field(default_factory=list)

    def add(self, row: int, step: str, error: str, schema_id: int | None = None) -> None:
        """Record `row` goes to the dead letters, with its bytes."""
        records = self.records
        self.letters.append(
            DeadLetter(
                records.topic,
                records.partition,
                int(records.offset[row]),
                int(records.timestamp[row]),
                records.key(row),
                records.value(row),
                schema_id,
                step,
                error,
                tuple(records.headers_of(row)),
            )
        )

    def add_all(self, rows: NDArray[np.int64], step: str, error: str, schema_id: int | None = None) -> None:
        """All of `rows` go to the dead letters for one reason."""
        for row in rows:
            self.add(int(row), step, error, schema_id)


@dataclass(slots=True)
class _Block:
    """One block while it is read: its messages, how each side is framed, and where dead letters go."""

    messages: MessageBatch
    framed: dict[Side, Framed]
    failures: Failures


class MessageReader:
    """Decodes the messages of one topic; keeps a decoder for each schema that it meets."""

    def __init__(
        self, encoding: Encoding, topic: str, keep: Keep | None = None, expected: ExpectedOfSide | None = None
    ) -> None:
        self._encoding, self._topic, self._keep, self._expected = encoding, topic, keep, expected
        self._decoders: dict[tuple[Side, int, int], ColumnDecoder | str] = {}
        self._fields: dict[tuple[int, int], frozenset[str]] = {}

    def read(
        self,
        messages: MessageBatch,
        failures: Failures,
        keys_of_values: bool,
        keys_of_nulls: bool = True,
        chosen: NDArray[np.bool_] | None = None,
    ) -> Iterator[Group]:
        """The block's messages in groups, `chosen` ones where it says so.

        Keys of messages with a value, and of those without, are read where asked.
        """
        value = self._encoding.frame(messages, "value")
        key = self._encoding.frame(messages, "key")
        for asked, unread in ((keys_of_values, value.kind != NULL), (keys_of_nulls, value.kind == NULL)):
            if not asked:
                key.kind[unread], key.schema[unread] = NULL, 0
        block = _Block(messages, {"value": value, "key": key}, failures)
        for rows in same_schemas(key, value):
            rows = rows if chosen is None else rows[chosen[rows]]
            if not len(rows):
                continue
            group = self._group(block, rows)
            if len(group.rows):
                yield group

    def key_fields(self, messages: MessageBatch) -> frozenset[str]:
        """The fields of the first key there is among these messages; none where there is no key that can be read."""
        framed = self._encoding.frame(messages, "key")
        for row in np.flatnonzero((framed.kind != NULL) & (framed.kind != BAD))[:1]:
            decoder = self._decoder("key", int(framed.kind[row]), int(framed.schema[row]))
            if not isinstance(decoder, str):
                rows = slice(row, row + 1)
                array = as_struct(decoder.decode(messages.data, framed.at[rows], framed.length[rows]).array)
                return frozenset(field.name for field in array.type)
        return frozenset()

    def _group(self, block: _Block, rows: NDArray[np.int64]) -> Group:
        value, first = block.framed["value"], rows[0]
        schema_id = int(value.schema[first]) if value.kind[first] == BY_ID else None
        # By row of the group: whether both sides could be decoded so far.
        good = np.ones(len(rows), np.bool_)
        values = self._side(block, "value", rows, good, schema_id)
        keys = self._side(block, "key", rows, good, schema_id)
        if not good.all():
            kept = pa.array(np.flatnonzero(good))
            values = None if values is None else values.take(kept)
            keys = None if keys is None else keys.take(kept)
            rows = rows[good]
        fields = self._fields.get((int(value.kind[first]), int(value.schema[first])), frozenset())
        return Group(rows, keys, values, schema_id, fields)

    def _side(
        self, block: _Block, side: Side, rows: NDArray[np.int64], good: NDArray[np.bool_], schema_id: int | None
    ) -> pa.StructArray | None:
        """Decode one side of `rows`; rows that fail become dead letters and are unset in `good`."""
        framed = block.framed[side]
        kind = int(framed.kind[rows[0]])
        if kind == NULL:
            return None
        if kind == BAD:
            for i in np.flatnonzero(good):
                row = int(rows[i])
                message = block.messages.value(row) if side == "value" else block.messages.key(row)
                block.failures.add(row, "frame", f"{side}: {self._encoding.explain(message or b'')}")
            good[:] = False
            return None
        decoder = self._decoder(side, kind, int(framed.schema[rows[0]]))
        if isinstance(decoder, str):
            block.failures.add_all(rows[good], "schema", decoder, schema_id)
            good[:] = False
            return None
        try:
            decoded = decoder.decode(block.messages.data, framed.at[rows], framed.length[rows])
        except SchemaError as error:
            block.failures.add_all(rows[good], "decode", f"{side}: {error}", schema_id)
            good[:] = False
            return None
        for i in np.flatnonzero((decoded.errors != 0) & good):
            block.failures.add(int(rows[i]), "decode", f"{side}: {decoded.message(int(i))}", schema_id)
        good &= decoded.errors == 0
        return as_struct(decoded.array)

    def _decoder(self, side: Side, kind: int, number: int) -> ColumnDecoder | str:
        """The decoder of a writer schema, or why there is none."""
        known = self._decoders.get((side, kind, number))
        if known is not None:
            return known
        expected = None if self._expected is None else self._expected(side)
        schema = WriterSchema(self._topic, side, kind, number, expected)
        fields: set[str] = set()

        def keep(path: tuple[str, ...]) -> bool:
            fields.add(path[0])
            return self._keep is None or self._keep(path)

        try:
            made: ColumnDecoder | str = self._encoding.decoder(schema, keep if side == "value" else None)
        except UnknownSchemaError as error:
            return str(error)
        except SchemaError as error:
            made = str(error)
        self._decoders[side, kind, number] = made
        if side == "value":
            self._fields[kind, number] = frozenset(fields)
        return made


def as_struct(array: pa.Array) -> pa.StructArray:
    """A datum that is no record (a key that is one string, say) as a struct of one field named `key`."""
    if pa.types.is_struct(array.type):
        return array
    return pa.StructArray.from_arrays([array], [PRIMITIVE_KEY])


def same_schemas(key: Framed, value: Framed) -> Iterator[NDArray[np.int64]]:
    """Row numbers that agree in the kind and schema of key and value, ascending in each group."""
    columns = (key.kind, key.schema, value.kind, value.schema)
    left = np.arange(len(key.kind))
    for _ in range(FEW):
        if not len(left):
            return
        same = np.ones(len(left), np.bool_)
        for column in columns:
            same &= column[left] == column[left[0]]
        yield left[same]
        left = left[~same]
    table = np.stack([column[left].astype(np.uint64) for column in columns], axis=1)
    _, numbers = np.unique(table, axis=0, return_inverse=True)
    order = np.argsort(numbers.ravel(), kind="stable")
    borders = np.flatnonzero(np.diff(numbers.ravel()[order])) + 1
    yield from np.split(left[order], borders) if len(left) else ()
