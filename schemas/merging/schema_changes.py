"""What new schemas would do to a table: each change by column, and whether it loses anything or needs a decision."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import pyarrow as pa

from ..errors import IncompatibleSchemaError
from ..model.incompatible_columns import OnIncompatible, columns_beside
from ..model.modes import MODE_COLUMNS, mode_of
from ..model.spelling import spellings
from ..model.table import Table, check_columns, widened
from ..model.unrepresentable import text_name
from .placing import Widen, place


class Label(StrEnum):
    """What a change needs of a person."""

    SAFE = "safe"
    DECIDE = "needs a decision"
    LOSES = "loses"


@dataclass(frozen=True, slots=True)
class PlannedChange:
    """One change of a table; `column` is empty for one of the whole table. `hint` names what may be behind it.

    `acts`: there is something to do in the target.
    """

    column: str
    label: Label
    said: str
    hint: str = ""
    acts: bool = True


@dataclass(frozen=True, slots=True)
class Policies:
    """What the job says of types that do not fit, and what the target's columns can grow to."""

    on_incompatible: OnIncompatible = OnIncompatible.STOP
    widen: Widen = widened


@dataclass(slots=True)
class _Plan:
    """The table's columns as they would be after the changes found so far."""

    held: Table
    policies: Policies
    kinds: dict[str, pa.DataType] = field(init=False)
    added: dict[str, pa.DataType] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.kinds = {column.name: column.type for column in self.held.columns}

    def of(self, wanted: Table) -> Iterator[PlannedChange]:
        """What one schema does."""
        yield from _other_table(self.held, wanted)
        spelled = spellings(wanted.columns.names, list(self.kinds))
        for column in wanted.columns:
            name = spelled.get(column.name, column.name)
            if name.casefold() not in MODE_COLUMNS:
                yield from self._column(name, column.type, wanted)

    def _column(self, name: str, kind: pa.DataType, wanted: Table) -> Iterator[PlannedChange]:
        if name not in self.kinds:
            self.kinds[name] = self.added[name] = kind
            yield PlannedChange(name, Label.SAFE, f"new column, {kind}; rows that are there have NULL")
            return
        old = self.kinds[name]
        wider = self.policies.widen(old, kind)
        if wider is None:
            yield from self._misfit(name, kind, wanted)
        elif not wider.equals(old):
            self.kinds[name] = wider
            yield PlannedChange(name, Label.SAFE, f"grows from {old} to {wider}")

    def _misfit(self, name: str, kind: pa.DataType, wanted: Table) -> Iterator[PlannedChange]:
        old, policy = self.kinds[name], self.policies.on_incompatible
        said = f"is {old} in the table and would be {kind}"
        if widened(old, kind) is not None:
            said += ", which the target stores in another way and does not rewrite"
        if name in self.held.key:
            yield PlannedChange(name, Label.DECIDE, f"{said}; a key column that cannot grow stops the table")
        elif policy is OnIncompatible.NEW_COLUMN:
            yield from self._beside(name, kind, wanted, said)
        elif policy is OnIncompatible.DEAD_LETTER and widened(old, kind) is None:
            yield PlannedChange(name, Label.LOSES, f"{said}; messages with such a value become dead letters")
        else:
            fix = "on_incompatible: new_column | dead_letter" if policy is OnIncompatible.STOP else "new_column"
            yield PlannedChange(name, Label.DECIDE, f"{said}, which stops the table; decide: {fix}")

    def _beside(self, name: str, kind: pa.DataType, wanted: Table, said: str) -> Iterator[PlannedChange]:
        one = pa.schema([(column.name, kind if column.name == name else column.type) for column in wanted.columns])
        placing = place(wanted.key, pa.schema(list(self.kinds.items())), [one], self.policies.widen)
        beside = placing.names[0][name]
        old, new = self.kinds.get(beside), placing.columns.field(beside).type
        self.kinds[beside] = new
        if old is None:
            yield PlannedChange(name, Label.SAFE, f"{said}; its values go to the new column {beside}")
        elif not new.equals(old):
            yield PlannedChange(beside, Label.SAFE, f"grows from {old} to {new}")


@dataclass(frozen=True, slots=True)
class PlannedTable:
    """The changes, and the table once those that need no decision and lose nothing are made."""

    changes: list[PlannedChange]
    table: Table


def schema_changes(held: Table | None, wanted: Sequence[Table], policies: Policies) -> PlannedTable:
    """What these schemas, one after the other, would do to the table; `held` None is one that is not there yet.

    A column that vanished beside one that appeared of the same type bears a hint: it may have been renamed.
    """
    found: list[PlannedChange] = []
    if held is None:
        held = wanted[0]
        columns = ", ".join(f"{column.name} {column.type}" for column in held.columns)
        found.append(PlannedChange("", Label.SAFE, f"new table, key ({', '.join(held.key)}): {columns}"))
    plan = _Plan(held, policies)
    for table in wanted:
        found += plan.of(table)
    made = Table(held.name, held.key, pa.schema(list(plan.kinds.items())))
    try:
        check_columns(made)
    except IncompatibleSchemaError as error:
        found.append(PlannedChange("", Label.DECIDE, str(error)))
        made = held
    return PlannedTable([*found, *_vanished(held, wanted, plan.added)], made)


def _other_table(held: Table, wanted: Table) -> Iterator[PlannedChange]:
    """A key or a mode that the table was not begun with."""
    before, now = mode_of(held.columns.names), mode_of(wanted.columns.names)
    if before != now:
        yield PlannedChange("", Label.DECIDE, f"the table was begun with mode: {before} and the job says mode: {now}")
    elif {name.casefold() for name in held.key} != {name.casefold() for name in wanted.key}:
        keys = f"is ({', '.join(held.key)}) in the table and would be ({', '.join(wanted.key)})"
        yield PlannedChange("", Label.DECIDE, f"the key {keys}, which stops the table; set key, or another table")


def _vanished(held: Table, wanted: Sequence[Table], added: dict[str, pa.DataType]) -> Iterator[PlannedChange]:
    sent = {name.casefold() for table in wanted for name in table.columns.names}
    beside = {text_name(name).casefold() for name in sent}
    for name in held.columns.names:
        beside.update(one.casefold() for one in columns_beside(name, held.columns.names))
    for column in held.columns:
        if column.name.casefold() in sent | beside or column.name in MODE_COLUMNS:
            continue
        alike = [name for name, kind in added.items() if kind.equals(column.type)]
        hint = "; or ".join(f"was it renamed? renames: {{{column.name}: {name}}} keeps its values" for name in alike)
        said = "is sent no more; it stays, and rows that change have NULL there"
        yield PlannedChange(column.name, Label.SAFE, said, hint, acts=False)
