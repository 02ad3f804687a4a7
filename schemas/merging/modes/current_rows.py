"""How a commit looks up what the target holds of its keys just before it."""

from collections.abc import Sequence
from typing import Any, Protocol

import pyarrow as pa

Row = dict[str, Any]
KeyValues = tuple[Any, ...]


class CurrentRows(Protocol):
    """The rows of one table of the target. One commit of a table follows the other: nothing else may write meanwhile.

    All of it is empty where there is no table.
    """

    def columns(self) -> pa.Schema | None:
        """The table's columns; None where there is no table."""

    def find(self, keys: pa.Table, columns: Sequence[str], upto: bytes | None = None) -> pa.Table:
        """The rows whose values in the columns of `keys` are those of a row of it; NULL equals NULL.

        The rows of `keys` differ from one another. `columns` may name `_millrace_position`; with `upto`, rows of a
        larger one are left out.
        """

    def find_named(self, key: Sequence[str], keys: set[KeyValues]) -> dict[KeyValues, Row]:
        """The rows of keys as headers name them (`model.key_text.comparable`), of several versions the last one.

        For the rare key change that needs an old value: a scan.
        """
