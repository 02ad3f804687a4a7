"""What is known of a topic's fields where its messages do not say their types."""

from dataclasses import dataclass

import pyarrow as pa

from ..encodings.schema_store import Side
from ..model.declared_type import STRUCT, DeclaredType
from ..model.route import Route
from ..model.table_types import HeldColumns
from .envelope import Envelope


@dataclass(slots=True)
class ExpectedColumns:
    """Keeps the contract of `encodings.encoding.Expected`, for one side of a topic's messages.

    The fields of a key are columns. `columns` tells those of the target; it is asked when a field is first seen.
    """

    envelope: Envelope
    route: Route
    side: Side
    columns: HeldColumns | None
    _held: pa.Schema | None = None

    def declared(self, path: tuple[str, ...]) -> DeclaredType | None:
        if not path:
            return STRUCT if self.side == "value" else None
        if self.side == "key":
            return self.route.columns.get(path[0]) if len(path) == 1 else None
        return self.envelope.declared(path, self.route)

    def held(self, path: tuple[str, ...]) -> pa.DataType | None:
        if not path or self.columns is None:
            return None
        name = self.envelope.column(path) if self.side == "value" else path[0] if len(path) == 1 else None
        if name is None:
            return None
        self._held = self.columns() or self._held
        return None if self._held is None or name not in self._held.names else self._held.field(name).type
