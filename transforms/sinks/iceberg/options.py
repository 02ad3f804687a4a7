"""Options of an Iceberg target, and the terms of `partition_by`."""

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BeforeValidator, ValidationInfo

from ....schemas.options import (
    Duration,
    Location,
    Options,
    Size,
    Texts,
    folder_of,
    has_reference,
    located,
    unless_reference,
)
from ....schemas.suggestions import guess

TERM: Final = re.compile(r"(bucket|truncate|year|month|day|hour)\(\s*(?:(\d+)\s*,\s*)?(.+?)\s*\)")
TRANSFORMS: Final = ("bucket", "truncate", "year", "month", "day", "hour")
CALL: Final = re.compile(r"(\w+)\(.*\)")
SIZED: Final = ("bucket", "truncate")
SQLITE: Final = re.compile(r"(sqlite(?:\+\w+)?:///(?:file:)?)(?!/|:memory:|file:/)(.+)")

PartitionTerm = tuple[str, str]
"""(transform, column), as (`bucket[8]`, `id`)."""


def read_term(text: Any) -> PartitionTerm:
    """A column, `year(c)`, `month(c)`, `day(c)`, `hour(c)`, `bucket(N, c)` or `truncate(N, c)`. Raises ValueError."""
    if not isinstance(text, str) or not text.strip():
        raise ValueError(f"{text!r} is not a column or a term like day(created) or bucket(8, id)")
    match = TERM.fullmatch(text.strip())
    if match is None:
        if call := CALL.fullmatch(text.strip()):
            raise ValueError(f"{text!r}: {call[1]!r} is not one of {', '.join(TRANSFORMS)}{guess(call[1], TRANSFORMS)}")
        return "identity", text.strip()
    name, size, column = match.groups()
    if (name in SIZED) != (size is not None) or size == "0":
        form = f"{name}(8, {column})" if name in SIZED else f"{name}({column})"
        raise ValueError(f"{text!r} is written like {form}")
    return (f"{name}[{size}]" if size else name), column


def read_partition_by(value: Any) -> Any:
    """Each table's terms checked; one text alone is a list of one. Raises ValueError."""
    if isinstance(value, Mapping):
        return {table: read_partition_by(listed) for table, listed in value.items()}
    listed = (value,) if isinstance(value, str) else tuple(value or ())
    for text in listed:
        if not has_reference(text):
            read_term(text)
    return listed


def _namespace(name: str) -> str:
    if not all(name.split(".")):
        raise ValueError(f"{name!r} is not a name")
    return name


def _in_folder(catalog: Mapping[str, str], info: ValidationInfo) -> Mapping[str, str]:
    """Paths of SQLite files and of warehouses are relative to the job file.

    A warehouse without a scheme is a path for a SQL catalog, or where it begins with a dot; for others it is a name.
    """
    folder = folder_of(info)
    if folder is None:
        return catalog
    found = {**catalog}
    if database := SQLITE.fullmatch(catalog.get("uri", "")):
        found["uri"] = database[1] + located(database[2], folder)
    warehouse = catalog.get("warehouse", "")
    if warehouse.startswith((".", "~")) or (warehouse and catalog.get("type") == "sql"):
        found["warehouse"] = located(warehouse, folder)
    return found


PartitionBy = Annotated[Mapping[str, tuple[str, ...]] | tuple[str, ...], BeforeValidator(read_partition_by)]
"""Terms for all tables, or lists of them by table."""


class IcebergOptions(Options):
    """Tables of `namespace`; `catalog` are pyiceberg's catalog properties, such as type, uri and warehouse.

    `partition_by` is for new tables: terms for all of them, or a list for each. Snapshots are kept for `time_travel`.
    The index of keys takes at most `index_memory`. Workers put rows for the commit in `staging`, a folder or URL that
    all of them reach; without it that is the warehouse.
    """

    namespace: Annotated[str, unless_reference(_namespace)]
    catalog: Annotated[Texts, AfterValidator(_in_folder)]
    partition_by: PartitionBy = ()
    tombstone_retention: Duration = timedelta(days=7)
    time_travel: Duration = timedelta(days=1)
    staging: Location | None = None
    index_memory: Size = 512 << 20

    def partition_terms(self, table: str) -> tuple[PartitionTerm, ...]:
        """What a new table of this name is partitioned by."""
        listed = self.partition_by.get(table, ()) if isinstance(self.partition_by, Mapping) else self.partition_by
        return tuple(map(read_term, listed))
