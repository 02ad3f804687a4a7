"""Plain upserts: the value is the row, a null value deletes; the position is the Kafka offset."""

import numpy as np
import pyarrow as pa

from ..encodings.message_reader import Failures, Group, MessageReader
from ..encodings.schema_store import SchemaStore
from ..encodings.wire_format import Framing
from ..model.change import DELETE, UPSERT
from ..model.change_batch import ChangeColumns, change_batch
from ..model.message_batch import MessageBatch
from ..model.position import pack
from ..model.route import Route
from .decoder import Decoded
from .key_columns import fitted, refuse_own_names


class UpsertDecoder:
    """Decodes one topic whose values are rows; the key is the message key's fields, or the route's columns.

    Key fields that the value lacks become columns too. A message key that is no record (one string, say) is the
    column `key`, or the route's only key column.
    """

    def __init__(self, contracts: SchemaStore, topic: str, route: Route, framing: Framing = Framing.AUTO) -> None:
        self._route = route
        self._reader = MessageReader(contracts, topic, framing)

    def decode(self, messages: MessageBatch) -> Decoded:
        """Changes, counts and dead letters of the messages; raises RegistryError, IncompatibleSchemaError."""
        done = Decoded.of(messages, self._route.key or ())
        failures = Failures(messages)
        source = self._route.number(messages.topic, messages.partition)
        for group in self._reader.read(messages, failures, keys_of_values=self._route.key is None):
            columns = self._columns(group, failures)
            if columns is None:
                continue
            key, row = columns
            whole = np.logical_and.reduce([np.asarray(row[name].is_valid()) for name in key])
            for i in np.flatnonzero(~whole):
                failures.add(int(group.rows[i]), "apply", f"no value for the key ({', '.join(key)})", group.schema_id)
            if not whole.all():
                row = {name: array.take(pa.array(np.flatnonzero(whole))) for name, array in row.items()}
            offset = messages.offset[group.rows[whole]]
            zeros = np.zeros(len(offset), np.uint64)
            op = np.full(len(offset), UPSERT if group.value is not None else DELETE, np.int8)
            time = messages.timestamp[group.rows[whole]] if self._route.timed else None
            marks = ChangeColumns(op=op, position=pack(zeros, zeros, offset), source=source, time=time)
            done.key = key
            done.changes.append(change_batch(row, marks))
        done.letters = failures.letters
        return done

    def _columns(self, group: Group, failures: Failures) -> tuple[tuple[str, ...], dict[str, pa.Array]] | None:
        """The key's names and the row's columns; None where the group became dead letters."""
        columns = {} if group.value is None else dict(zip(_names(group.value), group.value.flatten(), strict=True))
        refuse_own_names(self._route.table, columns)
        fields = {} if group.key is None else dict(zip(_names(group.key), group.key.flatten(), strict=True))
        if self._route.key is not None and len(self._route.key) == 1 and len(fields) == 1:
            fields = {self._route.key[0]: next(iter(fields.values()))}
        key = self._route.key or tuple(fields)
        for name in key:
            if name in fields:
                columns[name] = fitted(fields[name], columns.get(name))
        missing = [name for name in key if name not in columns]
        if key and not missing:
            return key, columns
        error = (
            f"no column {', '.join(missing)}, which the job file names as key"
            if missing
            else "the message has no key: name the key columns in the job file, "
            f"tables: - {{from: {failures.records.topic}, key: [...]}}"
        )
        for row in group.rows:
            failures.add(int(row), "apply", error, group.schema_id)
        return None


def _names(struct: pa.StructArray) -> list[str]:
    return [field.name for field in struct.type]
