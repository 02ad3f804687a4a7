"""Modes: what a table keeps of a change stream, and the columns that each mode adds after the stream's own.

    mirror       one row a key, as the source has it now; deletes delete
    soft_delete  one row a key; a delete leaves the row's values and marks it
    append       a row a change, nothing is ever replaced: a log
    scd2         a row a version of a row: a slowly changing dimension of type 2

The columns, besides `_millrace_position` which every table has (named where it is to be read: `Sink.scan`):

    soft_delete  _millrace_deleted      bool                whether the newest change of the key is a delete
                 _millrace_deleted_at   timestamp[ms, UTC]  when that delete was written to Kafka; NULL for live rows
    append       _millrace_change       string              upsert, delete or truncate
                 _millrace_topic        string              where the change stands in Kafka
                 _millrace_partition    int32
                 _millrace_offset       int64
                 _millrace_timestamp    timestamp[ms, UTC]  the Kafka record's time
                 _millrace_not_sent     list<string>        columns whose value the source did not send; NULL for none
                 _millrace_number       int64               of a database's log, where an offset has several changes
    scd2         _millrace_version      string              the position that began the version, 64 hexadecimal digits
                 _millrace_valid_from   timestamp[ms, UTC]  the Kafka record's time of the change that began it
                 _millrace_valid_to     timestamp[ms, UTC]  and of the change that ended it; NULL for the current one
                 _millrace_is_current   bool                whether no newer change of the key is known
                 _millrace_deleted      bool                true for a delete that no version stands before

The keys: append (`_millrace_topic`, `_millrace_partition`, `_millrace_offset`, `_millrace_change`), because a change of
a row's key is a delete and an upsert at one offset; of a database's log `_millrace_number` too, for a transaction has
one offset; scd2 the stream's key and `_millrace_version`. In append, `_millrace_position` is the change's position; a
deleted or truncated row has the key's columns or none, the others are NULL. Times that Kafka does not know, or beyond
the year 9999, are NULL: nothing is ordered by them.
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Final

import pyarrow as pa

DELETED: Final = "_millrace_deleted"
DELETED_AT: Final = "_millrace_deleted_at"
CHANGE: Final = "_millrace_change"
TOPIC: Final = "_millrace_topic"
PARTITION: Final = "_millrace_partition"
OFFSET: Final = "_millrace_offset"
TIMESTAMP: Final = "_millrace_timestamp"
NOT_SENT: Final = "_millrace_not_sent"
VERSION: Final = "_millrace_version"
VALID_FROM: Final = "_millrace_valid_from"
VALID_TO: Final = "_millrace_valid_to"
IS_CURRENT: Final = "_millrace_is_current"

MOMENT: Final = pa.timestamp("ms", "UTC")
NUMBER: Final = "_millrace_number"
LOG_KEY: Final = (TOPIC, PARTITION, OFFSET, CHANGE)
NUMBERED_LOG_KEY: Final = (*LOG_KEY, NUMBER)


class Mode(StrEnum):
    """What a table keeps of its change stream."""

    MIRROR = "mirror"
    SOFT_DELETE = "soft_delete"
    APPEND = "append"
    SCD2 = "scd2"


FIELDS: Final[Mapping[Mode, tuple[pa.Field, ...]]] = {
    Mode.MIRROR: (),
    Mode.SOFT_DELETE: (pa.field(DELETED, pa.bool_()), pa.field(DELETED_AT, MOMENT)),
    Mode.APPEND: (
        pa.field(CHANGE, pa.string()),
        pa.field(TOPIC, pa.string()),
        pa.field(PARTITION, pa.int32()),
        pa.field(OFFSET, pa.int64()),
        pa.field(TIMESTAMP, MOMENT),
        pa.field(NOT_SENT, pa.list_(pa.string())),
    ),
    Mode.SCD2: (
        pa.field(VERSION, pa.string()),
        pa.field(VALID_FROM, MOMENT),
        pa.field(VALID_TO, MOMENT),
        pa.field(IS_CURRENT, pa.bool_()),
        pa.field(DELETED, pa.bool_()),
    ),
}
NAMES: Final[Mapping[Mode, frozenset[str]]] = {
    mode: frozenset(field.name for field in fields) for mode, fields in FIELDS.items()
}
MODE_COLUMNS: Final = frozenset((NUMBER,)).union(*NAMES.values())
SUFFIXES: Final[Mapping[Mode, str]] = {
    Mode.MIRROR: "_mirror",
    Mode.SOFT_DELETE: "_soft_deletes",
    Mode.APPEND: "_changes",
    Mode.SCD2: "_history",
}
"""The ending of the table of each further mode of a job, after the name of the first mode's table."""


def mode_of(names: Iterable[str]) -> Mode | None:
    """The mode of a table with these columns; None where its columns of modes are of none."""
    found = MODE_COLUMNS.intersection(names) - {NUMBER}
    return next((mode for mode, own in NAMES.items() if own == found), None)
