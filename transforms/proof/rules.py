"""How the proof reads the messages of one table."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import pyarrow as pa

from ...schemas.encodings.schema_store import SchemaStore
from ...schemas.model.declared_type import DeclaredType
from ...schemas.model.ledger import TopicPartition
from ...schemas.model.message import Message
from ...schemas.model.unrepresentable import OnUnrepresentable
from .debezium import PLACEHOLDER
from .framing import Framing
from .row_change import JsonMessageReader, MessageReader


@dataclass(frozen=True, slots=True)
class Rules:
    """How messages are read. `key` names columns of the row where the job says so, else the message key's fields.

    `by_time`: the time of a message orders it, then its offset, and nothing of its source does.
    `by_clock`: the source's clock orders a change first, its position next, and a snapshot's rows are below all others.
    `separate_keys`: several sources write into the table, and no key is in two of them.
    `epochs` are by partition the beginnings of epochs, (offset, epoch) in the order of offsets, as the ledger has them.
    `columns` are those of the target, which tell where a value of another type stands; with `refuses_others` a message
    with one that no column can hold is a dead letter of the job's. `renames` lead from names in the messages to those
    of columns. `encoding` is a name of the registry; `schemas` are None where a message holds its own. `reader` makes
    the reader of a format that is brought with its envelope: `format` is `own` then. `only` is the table of the source
    that is read, of topics with several; `*` in it stands for any letters.
    `documents`: Debezium's messages are documents of MongoDB. `flat`: Debezium's transform made its messages flat;
    their deletes are rewritten where `format` is `debezium`.
    `declared` are the types that the job declares, for JSON without a schema; `json_decimals` and `json_binary` say how
    texts stand for decimals and bytes there. `message` and `key_message` are the names of bare Protobuf's messages.
    `replaces`: rows that a whole snapshot does not have end with it; `ended` is by connector
    what the ledger says of the last one: the time of its end, and why rows stayed, if they did.
    """

    format: Literal["debezium", "upsert", "own"]
    schemas: SchemaStore | None
    key: tuple[str, ...] | None = None
    truncate: bool = False
    framing: Framing = "auto"
    encoding: str = "avro"
    unavailable_value: str = PLACEHOLDER
    on_unrepresentable: OnUnrepresentable = OnUnrepresentable.NULL_AND_NOTE
    reader: Callable[[], MessageReader | JsonMessageReader] | None = None
    only: str | None = None
    flat: bool = False
    documents: bool = False
    by_time: bool = False
    by_clock: bool = False
    separate_keys: bool = False
    columns: pa.Schema | None = None
    refuses_others: bool = False
    renames: Mapping[str, str] = field(default_factory=dict)
    declared: Mapping[str, DeclaredType] = field(default_factory=dict)
    json_decimals: str = "string"
    json_binary: str = "base64"
    message: str | None = None
    key_message: str | None = None
    epochs: Mapping[TopicPartition, Sequence[tuple[int, int]]] = field(default_factory=dict)
    replaces: bool = False
    ended: Mapping[str, tuple[int, str]] = field(default_factory=dict)

    def epoch(self, message: Message) -> int:
        """The epoch of a message: that of the last beginning at or before its offset."""
        found = 0
        for begin, epoch in self.epochs.get(message.source, ()) if self.epochs else ():
            if begin <= message.offset:
                found = epoch
        return found

    def with_reader(self, reader: Callable[[], MessageReader | JsonMessageReader] | None) -> "Rules":
        """The same, read by what comes with the envelope."""
        return replace(self, reader=reader)
