"""Compiles an Avro type to bytecode, and to the columns that the bytecode fills."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

import pyarrow as pa

from ...errors import SchemaError
from ..columns.decimals import MAX_BYTES, MAX_SCALE
from ..columns.layout import BYTES, DECIMAL, FIXED, INTEGER, NONE, ROOT, ZONED
from ..columns.logical_types import Form, field_metadata, is_variable_decimal, scalar
from ..columns.slots import Column
from ..columns.types import Type
from . import bytecode as ops
from .bytecode import JUMP, LEVEL, A, B, ExpectedField, Program
from .recursive_json import json_text
from .schema_types import MAX_DEPTH, MAX_NODES, endless_records, nearest_records

Path = tuple[str, ...]
Keep = Callable[[Path], bool]

MAX_ARROW_DEPTH = 60
"""Arrow's IPC refuses types nested deeper than 64."""


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a value is written: the path and level of its column, and the slot of its validity.

    `own`: no other column shares that slot. Without `write` the value is checked and dropped. `ask`: whether `keep` is
    asked about fields below (not inside arrays, maps and unions of several types).
    """

    path: Path = ()
    level: int = 0
    valid: int = ROOT
    own: bool = False
    write: bool = True
    ask: bool = True
    depth: int = 0

    def place(self, what: str = "") -> ExpectedField:
        return ExpectedField(self.path, what)


class Compiler:
    """Compiles one type into `program` and `column`.

    `endless`: ids of records that contain themselves. `open`: the records being compiled, outermost first. `calls`:
    (row of the program, record) of each CALL, whose jumps `_subroutines` sets. `count`: types so far.
    """

    def __init__(self, root: Type, keep: Keep | None) -> None:
        self.program = Program()
        self.keep = keep
        self.endless = endless_records(root)
        self.open: list[Type] = []
        self.calls: list[tuple[int, Type]] = []
        self.count = 0
        column = self._emit(root, Destination())
        assert column is not None
        self.column: Column = column
        self.program.add(ops.END, ExpectedField((), ""))
        self._subroutines()
        if _arrow_depth(self.column.arrow) > MAX_ARROW_DEPTH:
            raise SchemaError(f"the schema is nested more than {MAX_ARROW_DEPTH} deep")

    def _emit(self, kind: Type, dest: Destination) -> Column | None:
        self.count += 1
        if self.count > MAX_NODES:
            raise SchemaError(f"the schema has more than {MAX_NODES} types where each use of a named type counts")
        if dest.depth > MAX_DEPTH:
            raise SchemaError(f"the schema is nested more than {MAX_DEPTH} deep")
        dest = replace(dest, depth=dest.depth + 1)
        match kind.kind:
            case "record":
                return self._record(kind, dest)
            case "union":
                return self._union(kind, dest)
            case "array" | "map":
                return self._items(kind, dest)
            case "null":
                return Column(Form.NULL, pa.null(), NONE, dest.valid, dest.level) if dest.write else None
        return self._scalar(kind, dest)

    def _scalar(self, kind: Type, dest: Destination) -> Column | None:
        how = scalar(kind)
        program, slot, valid = self.program, NONE, dest.valid
        if dest.write:
            slot = program.slots(dest.level, how.slots)
            if how.op == ZONED and not dest.own:
                valid = program.valid_slot(dest.level)
        if how.op != FIXED or how.a:
            program.add(
                how.op, dest.place(how.what), slot, valid if how.op == ZONED and dest.write else NONE, how.a, how.b
            )
        if not dest.write:
            return None
        symbols = pa.array(kind.names, pa.string()) if how.form is Form.ENUM else None
        size = how.a if how.op == DECIMAL else -1
        return Column(how.form, how.arrow, slot, valid, dest.level, scale=how.scale, symbols=symbols, size=size)

    def _record(self, kind: Type, dest: Destination) -> Column | None:
        if not dest.write and id(kind) in self.endless:
            self.calls.append((self.program.add(ops.CALL, dest.place(f"records of {kind.name} in one another")), kind))
            return None
        if is_variable_decimal(kind):
            return self._variable_decimal(kind, dest)
        return self._fields(kind, dest)

    def _fields(self, kind: Type, dest: Destination) -> Column | None:
        columns: list[Column] = []
        fields: list[pa.Field] = []
        with self._opened(kind):
            for name, child in zip(kind.names, kind.children, strict=True):
                path = (*dest.path, name)
                write = dest.write and (not dest.ask or self.keep is None or self.keep(path))
                inner = replace(dest, path=path, own=False, write=write)
                back = write and any(record in self.open for record in nearest_records(child))
                column = self._json(child, inner) if back else self._emit(child, inner)
                if column is not None:
                    columns.append(column)
                    fields.append(pa.field(name, column.arrow, metadata=field_metadata(child)))
        if not dest.write:
            return None
        return Column(Form.STRUCT, pa.struct(fields), NONE, dest.valid, dest.level, tuple(columns))

    def _variable_decimal(self, kind: Type, dest: Destination) -> Column | None:
        slot = self.program.slots(dest.level, 3) if dest.write else NONE
        for name in kind.names:
            place = replace(dest, path=(*dest.path, name)).place("a scale that becomes text" if name == "scale" else "")
            if name == "scale":
                self.program.add(INTEGER, place, slot + 2 if dest.write else NONE, NONE, -MAX_SCALE, MAX_SCALE)
            else:
                self.program.add(BYTES, place, slot, NONE, MAX_BYTES)
        if not dest.write:
            return None
        return Column(Form.DECIMAL_TEXT, pa.string(), slot, dest.valid, dest.level, own_scale=True)

    def _json(self, kind: Type, dest: Destination) -> Column:
        slot = self.program.slots(dest.level, 2)
        self.program.add(ops.OPEN, dest.place(), slot)
        self._emit(kind, replace(dest, write=False))
        self.program.add(ops.CLOSE, dest.place(), slot)
        return Column(Form.JSON, pa.string(), slot, dest.valid, dest.level, as_json=partial(json_text, kind))

    def _union(self, kind: Type, dest: Destination) -> Column | None:
        branches = [branch for branch in kind.children if branch.kind != "null"]
        nulls = len(kind.children) - len(branches)
        if nulls and branches and dest.write:
            dest = replace(dest, valid=self.program.valid_slot(dest.level), own=True)
        if nulls == 1 and len(branches) == 1:
            null = 0 if kind.children[0].kind == "null" else 1
            row = self.program.add(ops.NULLABLE, dest.place("2"), NONE, dest.valid if dest.write else NONE, null)
            column = self._emit(branches[0], dest)
            self.program.land(row)
            return column
        if branches and all(scalar_of(branch) == pa.int64() for branch in branches):
            return self._whole_numbers(kind, dest)
        return self._members(kind, dest, alone=len(branches) < 2)

    def _branches(self, kind: Type, dest: Destination) -> Iterator[Type]:
        """Each branch in turn, at the place where its program goes."""
        size = len(kind.children)
        first = self.program.add(ops.UNION, dest.place(str(size)), a=size) + 1
        ends = []
        for _ in range(size):
            self.program.add(ops.GOTO, dest.place())
        for i, branch in enumerate(kind.children):
            self.program.land(first + i)
            if dest.own and dest.write and branch.kind != "null":
                self.program.add(ops.MARK, dest.place(), valid=dest.valid)
            yield branch
            ends.append(self.program.add(ops.GOTO, dest.place()))
        for end in ends:
            self.program.land(end)

    def _whole_numbers(self, kind: Type, dest: Destination) -> Column | None:
        slot = self.program.slots(dest.level, 1) if dest.write else NONE
        for branch in self._branches(kind, dest):
            if branch.kind != "null":
                how = scalar(branch)
                self.program.add(how.op, dest.place(how.what), slot, NONE, how.a, how.b)
        return Column(Form.WORD, pa.int64(), slot, dest.valid, dest.level) if dest.write else None

    def _members(self, kind: Type, dest: Destination, alone: bool) -> Column | None:
        """A union of many types; with `alone` there is one at most, whose column stands for the union."""
        columns: list[Column] = []
        for branch in self._branches(kind, dest):
            inner = dest
            if dest.write and not alone and branch.kind != "null":
                inner = replace(dest, valid=self.program.valid_slot(dest.level), own=True, ask=False)
                self.program.add(ops.MARK, dest.place(), valid=inner.valid)
            column = self._emit(branch, inner)
            if column is not None and (branch.kind != "null" or len(kind.children) == 1):
                columns.append(column)
        if not dest.write:
            return None
        if alone and columns:
            return columns[0]
        if alone:
            return Column(Form.NULL, pa.null(), NONE, dest.valid, dest.level)
        arrow = pa.struct([pa.field(f"member{i}", column.arrow) for i, column in enumerate(columns)])
        return Column(Form.STRUCT, arrow, NONE, dest.valid, dest.level, tuple(columns))

    def _items(self, kind: Type, dest: Destination) -> Column | None:
        program = self.program
        level = program.new_level() if dest.write else NONE
        slot = program.slots(dest.level, 1) if dest.write else NONE
        program.add(ops.REPEAT, dest.place())
        step = program.add(ops.NEXT, dest.place("items"), slot)
        inner = replace(dest, level=level, valid=NONE, own=False, ask=False)
        key = self._emit(Type("string"), inner) if kind.kind == "map" else None
        item = self._emit(kind.children[0], inner)
        # An item that added nothing to the program takes no bytes.
        empty = program.here() == step + 1
        program.rows[program.add(ops.GOTO, dest.place())][JUMP] = step
        program.land(step)
        program.rows[step][LEVEL] = level
        program.rows[step][A] = int(empty)
        if item is None:
            return None
        program.rows[step][B] = program.cells[level]
        if key is None:
            arrow = pa.list_(pa.field("item", item.arrow, metadata=field_metadata(kind.children[0])))
            return Column(Form.LIST, arrow, slot, dest.valid, dest.level, (item,))
        return Column(Form.MAP, pa.map_(key.arrow, item.arrow), slot, dest.valid, dest.level, (key, item))

    def _subroutines(self) -> None:
        """Append the programs of the records that are called, and let the calls go there."""
        entries: dict[int, int] = {}
        done = 0
        while done < len(self.calls):
            row, kind = self.calls[done]
            done += 1
            if id(kind) not in entries:
                entries[id(kind)] = self.program.here()
                self._fields(kind, Destination(path=(kind.name,), write=False))
                self.program.add(ops.RETURN, ExpectedField((kind.name,), ""))
            self.program.rows[row][JUMP] = entries[id(kind)]

    @contextmanager
    def _opened(self, kind: Type) -> Iterator[None]:
        self.open.append(kind)
        yield
        self.open.pop()


def scalar_of(kind: Type) -> pa.DataType | None:
    """int64 for plain `int` and `long`, which a union of both becomes."""
    if kind.kind in ("int", "long") and scalar(kind).arrow in (pa.int32(), pa.int64()):
        return pa.int64()
    return None


def _arrow_depth(arrow: pa.DataType) -> int:
    return 1 + max((_arrow_depth(arrow.field(i).type) for i in range(arrow.num_fields)), default=0)
