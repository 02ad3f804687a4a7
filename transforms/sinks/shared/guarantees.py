"""What a target may declare that it cannot promise: the contract suite and the table in the docs read it from here.

A connector's `SPEC` has in `exceptions` a sentence for each promise that it does not keep.
"""

from enum import StrEnum


class Promise(StrEnum):
    """The promises that every target keeps unless it says otherwise."""

    ATOMIC = "rows and ledger appear together"
    COUNTS = "a change that the guard refuses is counted as superseded"
    TIES = "a change at the very position that its row has is refused"
    RETENTION = "deletes are remembered for tombstone_retention"
    NULL_KEYS = "a key column may hold NULL"
    ANY_KEY = "a key may be of any scalar type and of any number of columns"
    REWRITES = "a column grows also where its values are stored in another way then"
    YEARS = "dates and timestamps of any year"
    REPLAYS = "dead letters can be brought in again"
    REWINDS = "a table's ledger can go back to an earlier offset"
    RESYNCS = "a table built again beside takes its place in one step"
    RENAMES = "a column can be renamed, with its values"
    EVENT_TIME = "windows may be cut by event time"
