"""The contract of a reader for the proof that is brought with an envelope, by a package or by Millrace."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

from ...schemas.model.message import Message


class RowChange(NamedTuple):
    """What a message says of one row.

    `row` has plain Python values by column (None, bool, int, float, str, bytes, lists and dicts of them); of a delete
    those of the key are enough. `order` is (commit order, order inside it) in the source, both 0 where the place in the
    log is all there is.

    These are for readers of JSON: `before` is the row before an update, as far as it is told; `key` names the key's
    columns, where the message does; `by_log`: it is newer than all that its partition held before, whatever its order;
    `truncates`: it is no row, but a TRUNCATE; `partial`: columns that the row lacks were not sent; `table` is the
    source's, as SCHEMA.TABLE.
    """

    row: Mapping[str, Any]
    deleted: bool = False
    order: tuple[int, int] = (0, 0)
    before: Mapping[str, Any] | None = None
    key: tuple[str, ...] = ()
    by_log: bool = False
    truncates: bool = False
    partial: bool = False
    table: str = ""


class MessageReader(Protocol):
    """Reads messages of one encoding and one envelope, one by one and in plain Python.

    The proof is worth what the reader shares with the job's decoder: nothing, where it is written for the proof alone.
    Made for each reading of the log; it sees each partition in its order.
    """

    def read(self, message: Message) -> Sequence[RowChange]:
        """What the message says; nothing where it says nothing. Raises ValueError where it cannot be read."""


@runtime_checkable
class JsonMessageReader(Protocol):
    """As `MessageReader`, of values that are JSON without a schema: the types of rows are what the job says of them."""

    def changes(self, value: Mapping[str, Any]) -> Sequence[RowChange]:
        """What a message says whose value has these fields, as `json_reader` reads them. Raises ValueError."""
