"""What one window brings to one table, and its rows once they are whole and staged."""

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from ...schemas.merging.modes.at_commit import CompleteRows, IncompleteRows, TableRows, complete
from ...schemas.model.dead_letter import DeadLetter
from ...schemas.model.route import Route
from ...schemas.model.table import Table
from ..retry import retried
from ..sinks import Sink, Staged
from ..sinks.shared.lookup import TargetRows
from ..sinks.shared.renames import rename_columns
from .decode import Receipt
from .stage import Part


@dataclass(frozen=True, slots=True)
class WindowItems:
    """What one window brings to one table: what its blocks came to, and what its shards did."""

    receipts: Sequence[Receipt]
    parts: Sequence[Part]

    @property
    def letters(self) -> list[DeadLetter]:
        """The dead letters, in the order of their places."""
        letters = (letter for receipt in self.receipts for letter in receipt.letters)
        return sorted(letters, key=lambda letter: (letter.topic, letter.partition, letter.offset))

    @property
    def incomplete(self) -> IncompleteRows:
        """The rows that need what the target holds."""
        return IncompleteRows(
            [TableRows(part.table, part.new_key_rows) for part in self.parts if part.new_key_rows is not None],
            [part.old_key_rows for part in self.parts if part.old_key_rows is not None],
            [TableRows(part.table, part.need_target) for part in self.parts if part.need_target is not None],
        )


@dataclass(frozen=True, slots=True)
class ReadyRows:
    """The rows of a window, whole and staged."""

    table: Table
    staged: Sequence[Staged]
    done: CompleteRows


def ready_rows(sink: Sink, route: Route, window: WindowItems) -> ReadyRows:
    """Complete what needs the target's rows, and stage it; columns that the table has under old names get the new ones.

    Raises TableError, SinkError.
    """
    retried(f"table {route.table}", lambda: rename_columns(sink, route.table, route.renames))
    done = complete(TargetRows(sink, route.table), window.incomplete)
    staged = [part.staged for part in window.parts if part.staged.rows]
    staged += [sink.stage(part.table, part.rows) for part in done.parts]
    key = window.parts[0].table.key if window.parts else ()
    return ReadyRows(staged[0].table if staged else Table(route.table, key, pa.schema([])), staged, done)
