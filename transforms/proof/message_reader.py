"""Who reads the messages for the proof: its own reader, or one that a package brings with its envelope."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, Protocol

from ...schemas.errors import JobError
from ...schemas.model.message import Message
from .avro_validator import Malformed
from .changes import ChangeReader
from .events import Change, Event
from .row_change import JsonMessageReader, MessageReader, RowChange
from .row_messages import RowMessages
from .rules import Rules

FORMATS: Final[Mapping[tuple[str, str], Literal["debezium", "upsert"]]] = {
    ("avro", "debezium"): "debezium",
    ("avro", "upsert"): "upsert",
    ("json", "debezium"): "debezium",
    ("json", "upsert"): "upsert",
    ("protobuf", "debezium"): "debezium",
    ("protobuf", "upsert"): "upsert",
}
"""The encodings and envelopes that the proof reads, by code of its own."""


def with_format(rules: Rules, envelope: str, options: Mapping[str, Any]) -> Rules:
    """The rules with the format of this envelope, of which these are the options; `own` where it is unknown."""
    if (rules.encoding, envelope) in FORMATS:
        rules = replace(rules, format=FORMATS[rules.encoding, envelope])
    if rules.format == "debezium" and options.get("flat") is not None:
        rules = replace(rules, format="debezium" if options["flat"] == "rewrite" else "upsert", flat=True)
    rules = replace(rules, documents=options.get("documents") is True)
    unavailable = options.get("unavailable_value", rules.unavailable_value)
    return replace(rules, unavailable_value=unavailable, only=options.get("only"))


class ProofReader(Protocol):
    """Messages to changes. `names` are the key's columns, once they are known."""

    names: tuple[str, ...] | None

    @property
    def connectors(self) -> set[str]:
        """The connectors whose streamed changes were read."""

    def read(self, message: Message) -> list[Change]:
        """The changes of one message; raises one of UNREADABLE where it cannot be read."""


def reader_of(rules: Rules) -> ProofReader:
    """A reader of one table's messages, which has seen none yet. Raises JobError."""
    if rules.reader is None:
        return ChangeReader(rules)
    reader = rules.reader()
    if isinstance(reader, JsonMessageReader):
        return RowMessages(rules, reader=reader)
    if rules.key is None:
        raise JobError("tables: the proof of such a format needs the key's columns: add key: [...] to the table")
    return PackageReader(rules.key, reader, rules.renames)


@dataclass(slots=True)
class PackageReader:
    """What a package's reader says, as the proof takes it."""

    key: tuple[str, ...]
    reader: MessageReader
    renames: Mapping[str, str]
    names: tuple[str, ...] | None = field(init=False)

    def __post_init__(self) -> None:
        self.names = self.key

    @property
    def connectors(self) -> set[str]:
        return set()

    def read(self, message: Message) -> list[Change]:
        return [self._change(message, one) for one in self.reader.read(message)]

    def _change(self, message: Message, said: RowChange) -> Change:
        key = tuple([said.row.get(name) for name in self.key])
        if None in key:
            raise Malformed("a key column is NULL")
        row = None if said.deleted else {self.renames.get(name, name): value for name, value in said.row.items()}
        position = (0, *said.order, message.offset)
        return Change(key, Event(position, row, timestamp=message.timestamp, source=message.source))
