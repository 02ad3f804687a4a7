"""What others changed in a Delta table: its columns against those of the version that Millrace committed last."""

from collections.abc import Mapping
from dataclasses import replace

import pyarrow as pa

from ....schemas.model.change import POSITION
from ..shared.drift import Drift, InspectedTable, drift_of
from ..shared.types import stored
from . import client
from .client import DeltaTable
from .columns import FIELD, column_name, read_table
from .types import in_delta


def inspect(target: DeltaTable, name: str, options: Mapping[str, str]) -> InspectedTable:
    """The columns that bear Millrace's metadata, in this version or in that of the last commit, against all columns.

    A growth that was not followed by its commit is Millrace's own.
    """
    now = client.columns(target)
    before = client.columns_of_last_commit(target, options)
    ours = {field.name: field for field in (*before, *now) if FIELD in (field.metadata or {})}
    table = read_table(name, pa.schema(list(ours.values())))
    if table is None:
        return InspectedTable()
    left = {column_name(field.name): stored(field.type, in_delta) for field in table.columns}
    there = {field.name: _plain(field.type) for field in now}
    found = [_made_again(one) for one in drift_of(there, {**left, POSITION: pa.binary()})]
    bare = [one for one in left if one in now.names and FIELD not in (now.field(one).metadata or {})]
    lost = [Drift(one, "was written anew by hand, without Millrace's metadata") for one in bare]
    return InspectedTable(table, (*found, *lost))


def _made_again(drift: Drift) -> Drift:
    """A column that is gone with what was known of it is a new one to the next commit."""
    if not drift.loses or drift.column == POSITION:
        return drift
    return replace(drift, said=f"{drift.said}; the next commit makes it again, NULL in all rows", stops=False)


def _plain(kind: pa.DataType) -> pa.DataType:
    """Without the metadata and the nullability inside, which say nothing of the type."""
    return stored(kind, in_delta)
