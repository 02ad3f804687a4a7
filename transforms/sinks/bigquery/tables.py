"""Make a BigQuery table, or let it grow by new columns; look that it is still as Millrace left it."""

import re
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

from ....schemas.errors import TableError, TerminalSinkError
from ....schemas.model.change import POSITION
from ....schemas.model.table import Table
from .client import LABEL, Dataset, bigquery
from .columns import bigquery_name, clustering, columns_in_bigquery, schema_fields

ONE_NAME: Final = {"INT64": "INTEGER", "FLOAT64": "FLOAT", "BOOL": "BOOLEAN", "STRUCT": "RECORD"}

Field = bigquery.SchemaField


def ensure(dataset: Dataset, name: str, old: Table | None, new: Table, staleness: timedelta) -> None:
    """Make the table, or widen it by the columns that it lacks.

    `old` is what Millrace knows of it. Raises TerminalSinkError where it is another one by now.
    """
    found, fields = dataset.get(name), wanted(new)
    if found is None:
        if old is not None:
            raise TerminalSinkError(
                f"BigQuery {dataset}: the table {name} was dropped, but its ledger stands; to fill it anew, delete "
                "its rows from _millrace_tables and _millrace_ledger, or set another `job` and another `to`"
            )
        found = dataset.create(name, fields, [bigquery_name(part) for part in new.key], _options(new, staleness))
    if LABEL not in found.labels:
        raise TerminalSinkError(
            f"BigQuery {dataset} has a table {name} that Millrace did not make: rename it, or set another `to`"
        )
    if old is not None:
        _check_untouched(dataset, name, found.schema, wanted(old), fields)
    merged = _merged(found.schema, fields)
    if merged is not None:
        dataset.widen(found, merged)


def check_fresh(dataset: Dataset, name: str, what: str) -> None:
    """Refuse `what` where queries may answer with older rows. Raises TableError."""
    found = dataset.get(name)
    if found is not None and re.search(r"[1-9]", found.max_staleness or ""):
        raise TableError(
            f"BigQuery {dataset}: {what} needs the newest rows of table {name}, which max_staleness may keep back; set "
            f"it to NULL: ALTER TABLE {dataset.sql(name)} SET OPTIONS (max_staleness = NULL)"
        )


def wanted(table: Table) -> list[Field]:
    """The columns as BigQuery describes them."""
    return [*schema_fields(columns_in_bigquery(table.columns)), Field(POSITION, "BYTES", "NULLABLE")]


def described(part: Field) -> str:
    """A column's type in one word, with what is inside."""
    kind = ONE_NAME.get(part.field_type, part.field_type)
    inner = f"<{', '.join(f'{one.name} {described(one)}' for one in part.fields)}>" if part.fields else ""
    return f"{kind}{inner}{' repeated' if part.mode == 'REPEATED' else ''}"


def _options(table: Table, staleness: timedelta) -> dict[str, Any]:
    options: dict[str, Any] = {}
    if sorted_by := clustering(table):
        options["clustering_fields"] = sorted_by
    if staleness:
        seconds = int(staleness.total_seconds())
        options["max_staleness"] = f"0-0 0 {seconds // 3600}:{seconds // 60 % 60}:{seconds % 60}"
    return options


def _check_untouched(
    dataset: Dataset, name: str, found: Sequence[Field], old: Sequence[Field], new: Sequence[Field]
) -> None:
    there, before = {part.name: part for part in found}, {part.name for part in old}
    gone = sorted(before - set(there))
    odd = sorted(set(there) - {part.name for part in new})
    if gone or odd:
        state = f"the column {gone[0]!r} of table {name} is gone" if gone else f"the column {odd[0]!r} of table {name}"
        raise TerminalSinkError(
            f"BigQuery {dataset}: {state}{'' if gone else ' is not Millrace' + chr(39) + 's'}; put the table's columns "
            "back as they were"
        )


def _merged(found: Sequence[Field], wanted: Sequence[Field]) -> list[Field] | None:
    """The found columns in their order, widened, and the new ones after them; None where nothing is new."""
    ours, changed, merged = {part.name: part for part in wanted}, False, []
    for part in found:
        inner = _merged(part.fields, ours[part.name].fields) if part.name in ours else None
        changed |= inner is not None
        merged.append(part if inner is None else Field(part.name, part.field_type, part.mode, fields=inner))
    names = {part.name for part in found}
    added = [part for part in wanted if part.name not in names]
    return [*merged, *added] if changed or added else None
