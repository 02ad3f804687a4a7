"""Names of columns that differ in case only: no target keeps them apart, and a source that renames a column so means
the same one. The spelling that a table has first stays.
"""

from collections.abc import Sequence

import pyarrow as pa

from .change import UNAVAILABLE, masks_by_name, names_by_row


def spellings(names: Sequence[str], known: Sequence[str]) -> dict[str, str]:
    """Of `names` those that `known` has in other case only, with its spelling. No name is given twice."""
    lacking = [name for name in names if name not in known]
    if not lacking:
        return {}
    by_fold = {name.casefold(): name for name in reversed(known)}
    given, found = set(names), dict[str, str]()
    for name in lacking:
        other = by_fold.get(name.casefold())
        if other is not None and other not in given:
            found[name] = other
            given.add(other)
    return found


def respelled_names(names: Sequence[str], known: Sequence[str]) -> tuple[str, ...]:
    """The names as `known` spells them."""
    found = spellings(names, known)
    return tuple([found.get(name, name) for name in names])


def respelled(schema: pa.Schema, known: Sequence[str]) -> pa.Schema:
    """The schema with its names as `known` spells them."""
    names = spellings(schema.names, known)
    if not names:
        return schema
    return pa.schema([field.with_name(names.get(field.name, field.name)) for field in schema], schema.metadata)


def respelled_rows(rows: pa.RecordBatch, known: Sequence[str]) -> pa.RecordBatch:
    """The rows with their columns, and the names of unavailable ones, as `known` spells them."""
    names = spellings(rows.schema.names, known)
    if not names:
        return rows
    if UNAVAILABLE in rows.schema.names:
        at = rows.schema.get_field_index(UNAVAILABLE)
        masks = {names.get(name, name): mask for name, mask in masks_by_name(rows).items()}
        rows = rows.set_column(at, rows.schema.field(at), names_by_row(masks, rows.num_rows))
    return pa.RecordBatch.from_arrays(rows.columns, schema=respelled(rows.schema, known))
