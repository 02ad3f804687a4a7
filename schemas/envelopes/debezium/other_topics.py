"""Topics of Debezium that hold no table: what their messages are, by the fields of their schema.

Heartbeats (`heartbeat.interval.ms`), the metadata of transactions (`provide.transaction.metadata`), DDL statements
(`include.schema.changes`) and logical decoding messages. A pattern of topics may match theirs too.
"""

from collections.abc import Set
from typing import Final

ALL_OF: Final = (
    (frozenset({"status", "id", "event_count"}), "the metadata of transactions"),
    (frozenset({"databaseName", "ddl"}), "schema changes"),
    (frozenset({"op", "source", "message"}), "logical decoding messages"),
)
HEARTBEAT: Final = frozenset({"ts_ms"})


def other_messages(fields: Set[str]) -> str:
    """What values with these fields are, where they are no changes of a table; else empty."""
    if fields == HEARTBEAT:
        return "heartbeats"
    if "after" in fields:
        return ""
    return next((said for known, said in ALL_OF if known <= fields), "")
