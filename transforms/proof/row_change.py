"""The contract of a reader for the proof that a package brings with its envelope."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from ...schemas.model.message import Message


class RowChange(NamedTuple):
    """What a message says of one row.

    `row` has plain Python values by column (None, bool, int, float, str, bytes, lists and dicts of them); of a delete
    those of the key are enough. `order` is (commit order, order inside it) in the source, both 0 where the place in the
    log is all there is.
    """

    row: Mapping[str, Any]
    deleted: bool = False
    order: tuple[int, int] = (0, 0)


class MessageReader(Protocol):
    """Reads messages of one encoding and one envelope, one by one and in plain Python.

    The proof is worth what the reader shares with the job's decoder: nothing, where it is written for the proof alone.
    Made without arguments for each reading of the log; it sees each partition in its order.
    """

    def read(self, message: Message) -> Sequence[RowChange]:
        """What the message says; nothing where it says nothing. Raises ValueError where it cannot be read."""
