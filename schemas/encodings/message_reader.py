"""Messages of one topic as groups of decoded keys and values; what cannot be decoded as dead letters."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ..errors import SchemaError, UnknownSchemaError
from ..model.dead_letter import DeadLetter
from ..model.message_batch import MessageBatch
from .avro import AvroDecoder, compile_decoder
from .schema_store import SchemaStore
from .wire_format import BAD, BARE, CONFLUENT, NULL, Framed, Framing, explain, frame

FEW: Final = 16
PRIMITIVE_KEY: Final = "key"

Keep = Callable[[tuple[str, ...]], bool]


@dataclass(frozen=True, slots=True)
class Group:
    """Messages that the same two schemas wrote: row i of `key` and `value` is record `rows[i]`.

    `value` is None for tombstones, `key` where it was null or not asked for.
    """

    rows: NDArray[np.int64]
    key: pa.StructArray | None
    value: pa.StructArray | None
    schema_id: int | None


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
            )
        )


class MessageReader:
    """Decodes the messages of one topic; keeps one compiled plan for each schema that it meets."""

    def __init__(self, contracts: SchemaStore, topic: str, framing: Framing, keep: Keep | None = None) -> None:
        self._contracts, self._topic, self._framing, self._keep = contracts, topic, framing, keep
        self._plans: dict[tuple[str, int, int], AvroDecoder | str] = {}

    def read(self, records: MessageBatch, failures: Failures, keys_of_values: bool) -> Iterator[Group]:
        """The block's messages in groups; keys of messages that have a value are read where `keys_of_values`."""
        value = frame(records.data, records.value_at, records.value_len, self._framing)
        key = frame(records.data, records.key_at, records.key_len, self._framing)
        if not keys_of_values:
            unread = value.kind != NULL
            key.kind[unread], key.schema[unread] = NULL, 0
        for rows in same_schemas(key, value):
            group = self._group(records, failures, rows, key, value)
            if group is not None and len(group.rows):
                yield group

    def _group(
        self, records: MessageBatch, failures: Failures, rows: NDArray[np.int64], key: Framed, value: Framed
    ) -> Group | None:
        schema_id = int(value.schema[rows[0]]) if value.kind[rows[0]] == CONFLUENT else None
        arrays: list[pa.StructArray | None] = []
        good = np.ones(len(rows), np.bool_)
        for side, framed in (("value", value), ("key", key)):
            arrays.append(self._side(records, failures, (side, schema_id), framed, rows, good))
        if not good.all():
            kept = pa.array(np.flatnonzero(good))
            arrays = [None if array is None else array.take(kept) for array in arrays]
            rows = rows[good]
        return Group(rows, arrays[1], arrays[0], schema_id)

    def _side(
        self,
        records: MessageBatch,
        failures: Failures,
        place: tuple[str, int | None],
        framed: Framed,
        rows: NDArray[np.int64],
        good: NDArray[np.bool_],
    ) -> pa.StructArray | None:
        """Decode one side of `rows`; rows that fail become dead letters and are unset in `good`."""
        side, schema_id = place
        kind = int(framed.kind[rows[0]])
        if kind == NULL:
            return None
        if kind == BAD:
            for i in np.flatnonzero(good):
                row = int(rows[i])
                payload = records.value(row) if side == "value" else records.key(row)
                failures.add(row, "frame", f"{side}: {explain(payload or b'')}")
            good[:] = False
            return None
        plan = self._plan(side, kind, int(framed.schema[rows[0]]))
        if isinstance(plan, str):
            for i in np.flatnonzero(good):
                failures.add(int(rows[i]), "schema", plan, schema_id)
            good[:] = False
            return None
        try:
            decoded = plan.decode(records.data, framed.at[rows], framed.length[rows])
        except SchemaError as error:
            for i in np.flatnonzero(good):
                failures.add(int(rows[i]), "decode", f"{side}: {error}", schema_id)
            good[:] = False
            return None
        for i in np.flatnonzero((decoded.errors != 0) & good):
            failures.add(int(rows[i]), "decode", f"{side}: {decoded.message(int(i))}", schema_id)
        good &= decoded.errors == 0
        return as_struct(decoded.array)

    def _plan(self, side: str, kind: int, schema: int) -> AvroDecoder | str:
        """The compiled plan of a writer schema, or why there is none."""
        known = self._plans.get((side, kind, schema))
        if known is not None:
            return known
        try:
            parsed = self._schema(side, kind, schema)
            plan: AvroDecoder | str = compile_decoder(parsed, self._keep if side == "value" else None)
        except UnknownSchemaError as error:
            return str(error)
        except SchemaError as error:
            plan = str(error)
        self._plans[side, kind, schema] = plan
        return plan

    def _schema(self, side: str, kind: int, schema: int) -> Any:
        if kind == CONFLUENT:
            return self._contracts.by_id(schema)
        if kind == BARE:
            return self._contracts.by_topic(self._topic, "value" if side == "value" else "key")
        return self._contracts.by_fingerprint(schema.to_bytes(8, "little"))


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
