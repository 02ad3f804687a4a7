"""Compiles a message to tables for the loop, and to the columns that the loop fills."""

from dataclasses import dataclass, replace
from functools import partial
from typing import Final

import pyarrow as pa
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from ...errors import SchemaError
from ..columns.layout import NONE, ROOT
from ..columns.logical_types import Form
from ..columns.slots import Column
from ..encoding import Keep
from . import program as ops
from .columns import SCALARS, EnumNames, Known, is_json, is_wrapper, known_value
from .json_text import json_text
from .program import NOTED, ONCE, PACKABLE, REPEATED, SINGULAR, Program

MAX_DEPTH: Final = 60
"""Arrow's IPC refuses types nested deeper than 64."""
MAX_USES: Final = 100_000

Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a field's values are written: their level, and the slot of their validity.

    Without `write` they are checked and dropped. `ask`: whether `keep` is asked about fields below. `inside` are the
    messages that are open, outermost first.
    """

    path: Path = ()
    level: int = 0
    valid: int = ROOT
    write: bool = True
    ask: bool = True
    inside: tuple[str, ...] = ()


DROPPED: Final = Destination(level=NONE, valid=NONE, write=False)


class Compiler:
    """Compiles one message into `program` and `column`. `checks` are the tables that only check, by message."""

    def __init__(self, root: Descriptor, keep: Keep | None) -> None:
        self.program = Program()
        self.keep = keep
        self.checks: dict[str, int] = {}
        self.uses = 0
        _, columns = self._message(root, Destination())
        if not columns:
            raise SchemaError(f"the message {root.full_name} has no fields that are needed")
        self.column = _struct(columns, Destination())

    def _message(self, kind: Descriptor, dest: Destination) -> tuple[int, list[tuple[str, Column]]]:
        """The number of its table, and the columns of its fields."""
        self.uses += 1
        if self.uses > MAX_USES:
            raise SchemaError(f"the schema has more than {MAX_USES} messages where each use counts")
        if len(dest.inside) > MAX_DEPTH:
            raise SchemaError(f"the schema is nested more than {MAX_DEPTH} deep")
        number = self.program.add_message()
        if not dest.write:
            self.checks[kind.full_name] = number
        fields = sorted(kind.fields, key=lambda field: field.number)
        first = self.program.reserve(len(fields))
        oneofs = self._oneofs(kind)
        dest = replace(dest, inside=(*dest.inside, kind.full_name))
        made: dict[str, Column] = {}
        for at, field in enumerate(fields, first):
            path = (*dest.path, field.name)
            write = dest.write and (not dest.ask or self.keep is None or self.keep(path))
            row, column = self._field(field, replace(dest, path=path, write=write))
            row[ops.ONEOF] = oneofs.get(field.name, NONE)
            self.program.fields[at], self.program.places[at] = row, path
            if column is not None:
                made[field.name] = column
        required = sum(row[ops.MUST] for row in self.program.fields[first : first + len(fields)])
        known = known_value(kind)
        check, entry = ops.UNCHECKED if known is None else known.check, int(kind.GetOptions().map_entry)
        self.program.messages[number] = [first, first + len(fields), 0, 0, required, check, entry]
        # Columns stand as they do in the file, rows by number.
        return number, [(field.name, made[field.name]) for field in kind.fields if field.name in made]

    def _oneofs(self, kind: Descriptor) -> dict[str, int]:
        """The number of its oneof by field; one of a single field cannot be broken."""
        found: dict[str, int] = {}
        for oneof in kind.oneofs:
            if len(oneof.fields) > 1:
                found |= {field.name: self.program.oneofs for field in oneof.fields}
                self.program.oneofs += 1
        return found

    def _field(self, field: FieldDescriptor, dest: Destination) -> tuple[list[int], Column | None]:
        """Its row of the table, and its column where it is written."""
        if field.type == FieldDescriptor.TYPE_GROUP:
            raise SchemaError(f"field {field.full_name} is a group, which Millrace does not read")
        row = [NONE] * ops.FIELD_COLUMNS
        row[ops.NUMBER], row[ops.MUST], row[ops.ITEM_CELLS] = field.number, int(field.is_required), 0
        if field.is_repeated:
            return row, self._items(field, dest, row)
        is_message = field.type == FieldDescriptor.TYPE_MESSAGE
        row[ops.KIND] = ONCE if is_message else NOTED if field.is_required else SINGULAR
        if dest.write and field.has_presence:
            dest = replace(dest, valid=self.program.valid_slot(dest.level))
            row[ops.VALID] = dest.valid
        return row, self._value(field, dest, row)

    def _items(self, field: FieldDescriptor, dest: Destination, row: list[int]) -> Column | None:
        numbers = field.type not in (
            FieldDescriptor.TYPE_MESSAGE,
            FieldDescriptor.TYPE_STRING,
            FieldDescriptor.TYPE_BYTES,
        )
        row[ops.KIND] = PACKABLE if numbers else REPEATED
        if not dest.write:
            self._value(field, dest, row)
            return None
        counts, level = self.program.slots(dest.level, 1), self.program.new_level()
        row[ops.COUNTS], row[ops.LEVEL] = counts, level
        item = self._value(field, replace(dest, level=level, valid=NONE, ask=False), row)
        row[ops.ITEM_CELLS] = self.program.cells[level]
        assert item is not None
        entry = field.message_type
        if entry is not None and entry.GetOptions().map_entry and pa.types.is_string(item.arrow.field(0).type):
            arrow = pa.map_(pa.string(), item.arrow.field(1).type)
            return Column(Form.MAP, arrow, counts, dest.valid, dest.level, item.children)
        return Column(Form.LIST, pa.list_(pa.field("item", item.arrow)), counts, dest.valid, dest.level, (item,))

    def _value(self, field: FieldDescriptor, dest: Destination, row: list[int]) -> Column | None:
        if field.type == FieldDescriptor.TYPE_MESSAGE:
            return self._inner(field.message_type, dest, row)
        how = SCALARS[field.type]
        row[ops.OP], row[ops.WIRE] = how.op, how.wire
        if not dest.write:
            return None
        row[ops.SLOT] = slot = self.program.slots(dest.level, how.slots)
        make = EnumNames.of(field.enum_type) if field.enum_type is not None else None
        return Column(how.form, how.arrow, slot, dest.valid, dest.level, make=make)

    def _inner(self, kind: Descriptor, dest: Destination, row: list[int]) -> Column | None:
        """A field that holds a message."""
        row[ops.OP], row[ops.WIRE] = ops.MESSAGE, ops.SPAN_WIRE
        if not dest.write:
            row[ops.CHILD] = self._check(kind)
            return None
        if kind.full_name in dest.inside or is_json(kind) or not kind.fields:
            row[ops.OP], row[ops.CHILD] = ops.JSON, self._check(kind)
            row[ops.SLOT] = slot = self.program.slots(dest.level, 2)
            as_json = partial(json_text, kind)
            return Column(Form.JSON, pa.string(), slot, dest.valid, dest.level, as_json=as_json)
        known = known_value(kind)
        if known is not None:
            return self._known(kind, known, dest, row)
        if is_wrapper(kind):
            row[ops.CHILD], columns = self._message(kind, replace(dest, ask=False))
            return columns[0][1]
        row[ops.CHILD], columns = self._message(kind, dest)
        return _struct(columns, dest) if columns else None

    def _check(self, kind: Descriptor) -> int:
        """The table that checks a message and writes nothing: one for each, so that it may contain itself."""
        if kind.full_name not in self.checks:
            self._message(kind, replace(DROPPED, path=(kind.name,)))
        return self.checks[kind.full_name]

    def _known(self, kind: Descriptor, known: Known, dest: Destination, row: list[int]) -> Column:
        """A message that is one value: a table of its own, whose fields go to the value's slots."""
        slot = self.program.slots(dest.level, 1 + max(known.slots.values()))
        number, _ = self._message(kind, replace(DROPPED, path=dest.path))
        del self.checks[kind.full_name]
        first, stop = self.program.messages[number][:2]
        for at in range(first, stop):
            place = known.slots.get(self.program.places[at][-1])
            self.program.fields[at][ops.SLOT] = NONE if place is None else slot + place
        row[ops.CHILD] = number
        return replace(known.column, slot=slot, valid=dest.valid, level=dest.level)


def _struct(columns: list[tuple[str, Column]], dest: Destination) -> Column:
    arrow = pa.struct([pa.field(name, column.arrow) for name, column in columns])
    children = tuple([column for _, column in columns])
    return Column(Form.STRUCT, arrow, NONE, dest.valid, dest.level, children)
