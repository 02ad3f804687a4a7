"""An item of the job file's `tables`: topics that go to one table, and what is said of that table alone."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator, WithJsonSchema, model_validator

from ...schemas.model.change import PREFIX
from ...schemas.model.declared_type import DeclaredType, declared_type
from ...schemas.model.epoch import OnNewSource
from ...schemas.model.incompatible_columns import OnIncompatible
from ...schemas.model.route import OnSnapshot, OnTruncate, OnTwoSources, OrderBy
from ...schemas.option_values import Words, read_name
from ...schemas.options import Options, mistake
from .source import TopicNames
from .target import Modes


def _check_table_name(name: str) -> str:
    if name.lower().startswith(PREFIX):
        raise ValueError(f"{name!r}: names that begin with {PREFIX} are Millrace's own")
    if len(name) > 200 or name in (".", "..") or re.search(r"[/\\\x00-\x1f\x7f]", name):
        raise ValueError(f"{name!r} cannot be a table: no '/', '\\' or control characters, at most 200 characters")
    return name


def _check_column_name(name: str) -> str:
    if not name or name.lower().startswith(PREFIX):
        raise ValueError(f"{name!r}: names that begin with {PREFIX} are Millrace's own")
    return name


def _last_part(found: Mapping[str, Any]) -> str:
    return str(found["topics"][0]).rpartition(".")[2]


TableName = Annotated[
    str,
    BeforeValidator(read_name, json_schema_input_type=str),
    AfterValidator(_check_table_name),
    WithJsonSchema({"type": "string", "pattern": r"^(?!_millrace_)[^/\\\x00-\x1f\x7f]{1,200}$"}),
]
ColumnName = Annotated[
    str,
    BeforeValidator(read_name, json_schema_input_type=str),
    AfterValidator(_check_column_name),
    WithJsonSchema({"type": "string", "pattern": "^(?!_millrace_)."}),
]
Renames = Mapping[ColumnName, ColumnName]


def _read_columns(value: Any) -> Mapping[str, DeclaredType]:
    """Types by column, each a text. Raises ValueError."""
    if not isinstance(value, Mapping):
        raise ValueError("is a mapping of columns to types, such as price: decimal(12,2)")
    found = {}
    for name, text in value.items():
        try:
            found[str(name)] = text if isinstance(text, DeclaredType) else declared_type(str(text))
        except ValueError as error:
            raise mistake(str(error), str(name)) from None
    return found


Columns = Annotated[Mapping[str, DeclaredType], PlainValidator(_read_columns, json_schema_input_type=dict[str, str])]


class TableEntry(Options):
    """Topics that go to one table. `key` None: the message key's fields. `modes` None: those of the target."""

    topics: TopicNames = Field(alias="from", description="A topic, or several that share the table.")
    to: TableName = Field(
        default_factory=_last_part, validate_default=False, description="The table; by default the topic's last part."
    )
    key: Words | None = Field(
        default=None, description="The columns of the key, instead of the fields of the message's key."
    )
    on_truncate: OnTruncate = Field(
        default=OnTruncate.FAIL, description="What a TRUNCATE in the stream does to the table."
    )
    order_by: OrderBy = Field(
        default=OrderBy.POSITION,
        description="What orders the changes of a key: the source's position, or the time of the message.",
    )
    on_snapshot: OnSnapshot = Field(
        default=OnSnapshot.UPSERT,
        description="What the end of a whole snapshot does to rows that it does not have: nothing, or it deletes them.",
    )
    on_two_sources: OnTwoSources = Field(
        default=OnTwoSources.STOP,
        description="Where two sources write into the table: stop it, no key is in both, or their clocks decide.",
    )
    on_new_source: OnNewSource | None = Field(
        default=None,
        description="What a new source does to the table, instead of the job's on_new_source.",
    )
    on_incompatible: OnIncompatible | None = Field(
        default=None,
        description="What becomes of values that the table's column cannot hold, instead of the job's on_incompatible.",
    )
    columns: Columns = Field(
        default={}, description="Types of columns, for messages that do not say them: price: decimal(12,2)."
    )
    renames: Renames = Field(
        default={}, description="By old name of a column its new one: values stay, and older messages go there too."
    )
    modes: Modes | None = Field(
        default=None, alias="mode", description="What the table keeps, instead of the target's mode."
    )

    @model_validator(mode="after")
    def _named(self) -> Self:
        if len(self.topics) > 1 and "to" not in self.model_fields_set:
            raise mistake("several topics need the table's name: add to: NAME")
        self._check_renames()
        return self

    def _check_renames(self) -> None:
        """Names that differ in case only are one name, as where the renames are carried out."""
        by_name: dict[str, str] = {}
        key = {name.casefold() for name in self.key or ()}
        for old in self.renames:
            other = by_name.setdefault(old.casefold(), old)
            if other != old:
                raise mistake(f"{other} and {old} are one name, for case does not count: take one out", "renames")
        for old, new in self.renames.items():
            if old == new:
                raise mistake(f"{old}: {new}: it has this name already; take it out", "renames")
            other = by_name.get(new.casefold(), old)
            if other != old:
                last = self.renames[other]
                raise mistake(f"{old}: {new} is renamed itself: write {{{old}: {last}, {new}: {last}}}", "renames")
            if {old.casefold(), new.casefold()} & key:
                raise mistake(f"{old}: {new}: a column of the key keeps its name", "renames")
