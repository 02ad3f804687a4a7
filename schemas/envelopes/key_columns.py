"""The columns of a key, whatever the envelope."""

import pyarrow as pa

from ..errors import IncompatibleSchemaError
from ..model.change import PREFIX


def fitted(key: pa.Array, column: pa.Array | None) -> pa.Array:
    """A key field of the message key in the type of the row's column of that name."""
    return key if column is None or column.type == key.type else key.cast(column.type)


def refuse_own_names(table: str, columns: dict[str, pa.Array]) -> None:
    """Raise where a column of the stream has a name that is Millrace's."""
    for name in columns:
        if name.startswith(PREFIX):
            raise IncompatibleSchemaError(
                f"table {table}: column {name} cannot be kept, names that begin with {PREFIX} are Millrace's; "
                "rename it at the source"
            )
