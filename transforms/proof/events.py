"""What the proof knows of one change: its key, its position, its row."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from ...schemas.model.ledger import TopicPartition
from .avro_values import Convert
from .column_placement import Placing

Key = tuple[Any, ...]
Position = tuple[int, int, int, int]

NO_POSITION: Final = (0, 0)


class Event(NamedTuple):
    """One change of one key.

    row           fastavro's plain values, None for a delete
    convert       makes canonical values of `row`
    extra         fields of the message key that the row lacks
    missing       columns whose value the source left out
    old_key       the key that the row had before
    moved         a delete with which the row went to another key
    timestamp     the record's, milliseconds since the epoch
    snapshot_at   of a row of a snapshot: the position that its own `source` names
    source        the partition that the message is in
    placing       where its columns stand in the target, if not all under their own names
    not_sent      the columns of `missing`, by their names in the message
    sent_by       the connector, or the topic where there are no positions; None for unknown
    table         the source's table, with its schema and database; empty for unknown
    snapshot      of a row of a snapshot: the connector, and what `source.snapshot` says
    """

    position: Position
    row: Mapping[str, Any] | None
    convert: Convert | None = None
    extra: Mapping[str, Any] | None = None
    missing: tuple[str, ...] = ()
    old_key: Key | None = None
    moved: bool = False
    timestamp: int = -1
    snapshot_at: Position | None = None
    source: TopicPartition | None = None
    placing: Placing | None = None
    not_sent: tuple[str, ...] = ()
    snapshot: tuple[str, str] | None = None
    sent_by: str | None = None
    table: str = ""


class Change(NamedTuple):
    """An event and its key; without a key it is a TRUNCATE."""

    key: Key | None
    event: Event


def plain_row(event: Event) -> dict[str, Any] | None:
    """The row of an event, canonical but for the units of its moments; None for a delete."""
    if event.row is None:
        return None
    row = event.convert(event.row) if event.convert is not None else event.row
    row = row if event.placing is None else event.placing.row(row)
    given = {name: value for name, value in (event.extra or {}).items() if row.get(name) is None}
    return {**row, **given}
