"""What is known of a topic's fields where its messages do not say their types."""

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from ..encodings.schema_store import Side
from ..model.change import PREFIX
from ..model.declared_type import STRUCT, DeclaredType
from ..model.route import Route
from ..model.table_types import HeldColumns
from .envelope import Envelope


@dataclass(slots=True)
class Remembered:
    """Called, it asks for the columns of the target; `last` are those that were told last."""

    ask: HeldColumns
    last: pa.Schema | None = None

    def __call__(self) -> pa.Schema | None:
        found = self.ask()
        self.last = self.last if found is None else found
        return found


@dataclass(frozen=True, slots=True)
class ExpectedColumns:
    """Keeps the contract of `encodings.encoding.Expected`, for one side of a topic's messages.

    The fields of a key are columns. `columns` tells those of the target; it is asked when a field is first seen.
    """

    envelope: Envelope
    route: Route
    side: Side
    columns: Remembered | None

    def declared(self, path: tuple[str, ...]) -> DeclaredType | None:
        if not path:
            return STRUCT if self.side == "value" else None
        if self.side == "key":
            return self.route.columns.get(path[0]) if len(path) == 1 else None
        return self.envelope.declared(path, self.route)

    def may_lack(self, path: tuple[str, ...]) -> Sequence[str] | None:
        if self.side == "key" or path not in self.envelope.partial:
            return None
        columns = self._columns()
        return [] if columns is None else [name for name in columns.names if not name.startswith(PREFIX)]

    def column(self, path: tuple[str, ...]) -> str | None:
        if not path:
            return None
        return self.envelope.column(path) if self.side == "value" else path[0] if len(path) == 1 else None

    def held(self, path: tuple[str, ...]) -> pa.DataType | None:
        name = None if self.columns is None else self.column(path)
        if name is None:
            return None
        columns = self._columns()
        return None if columns is None or name not in columns.names else columns.field(name).type

    def _columns(self) -> pa.Schema | None:
        if self.columns is None:
            return None
        self.columns()
        return self.columns.last
