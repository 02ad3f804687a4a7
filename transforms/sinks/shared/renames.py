"""Columns of a target's table that get another name (`tables.renames`), their values as they are."""

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

from ....schemas.errors import IncompatibleSchemaError
from ....schemas.merging.renaming import names_due
from .. import Sink
from .drift import inspect
from .lookup import columns_of


@runtime_checkable
class Renaming(Protocol):
    """A sink that renames columns."""

    def rename(self, table: str, names: Mapping[str, str]) -> None:
        """Rename these columns in one step, under the lock of a commit; values and ledger stay.

        What of it is done already is left alone, so that it may be repeated. Raises TableError, SinkError.
        """


def rename_columns(sink: Sink, table: str, renames: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Rename what the table still has under old names: what was renamed.

    Raises IncompatibleSchemaError where a new name is taken or the target cannot rename, SinkError.
    """
    held = columns_of(sink, table) if renames else None
    if held is None or not names_due(table, held.names, (), dict(renames)):
        return {}
    known = inspect(sink, table).table
    due = names_due(table, held.names, () if known is None else known.key, dict(renames))
    if not isinstance(sink, Renaming):
        raise IncompatibleSchemaError(f"table {table}: renames: this target cannot rename columns; take them out")
    sink.rename(table, due)
    return due
