"""What a job file says of the copies of a database's tables."""

import difflib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field, WithJsonSchema

from ...schemas.errors import JobError
from ...schemas.options import Options

Sync = Literal["hybrid", "incremental", "full"]
SYNC: Final = (
    "A copy of each table and then its changes; only the changes from the first run on; or a copy that each run makes "
    "anew, without a log, and that removes rows which the source does not have any more."
)


def _checked(conditions: Mapping[str, str]) -> Mapping[str, str]:
    for table, condition in conditions.items():
        if not condition.strip():
            raise ValueError(f"{table}: the condition is empty; write one, or leave the table out")
    return conditions


Conditions = Annotated[
    Mapping[str, str],
    AfterValidator(_checked),
    WithJsonSchema({"type": "object", "additionalProperties": {"type": "string", "pattern": r"\S"}}),
]


class CopyOptions(Options):
    """How tables are copied."""

    chunk_rows: int | None = Field(
        default=None, ge=1, le=1_000_000, description="The rows of a chunk; by default as many as make about 4 MB."
    )
    parallel: int = Field(default=1, ge=1, le=32, description="How many tables are copied at once.")
    where: Conditions = Field(
        default={}, description="By table an SQL condition of the rows that are copied; the log has all rows."
    )

    @property
    def settings(self) -> "CopySettings":
        """The same as a source keeps it."""
        return CopySettings(self.chunk_rows, self.parallel, tuple(sorted(self.where.items())))


class DatabaseOptions(Options):
    """What all databases have in common."""

    sync: Sync = Field(default="hybrid", description=SYNC)
    snapshot: CopyOptions = Field(default=CopyOptions(), description="How tables are copied.")


@dataclass(frozen=True, slots=True)
class CopySettings:
    """How tables are copied; `conditions` are (table, condition)."""

    chunk_rows: int | None = None
    parallel: int = 1
    conditions: tuple[tuple[str, str], ...] = field(default=())

    def where(self, table: str) -> str | None:
        """The condition of a table's rows, for SQL."""
        found = dict(self.conditions).get(table)
        # On a line of its own, for it may end with a comment.
        return None if found is None else f"({found}\n)"


def check_conditions(copies: CopySettings, tables: Collection[str]) -> None:
    """Raises JobError for a condition of a table that is not among these."""
    for table, _ in copies.conditions:
        if table not in tables:
            near = difflib.get_close_matches(table, tables, 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise JobError(f"source.snapshot.where: there is no table {table!r}{hint}")
