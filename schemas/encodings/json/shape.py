"""What values of plain JSON look like: learnt from messages, one kind of value a field, and only ever grown.

A shape becomes a schema for `plan`. A number without a fraction is a whole one until another comes; what was text once
stays text. A value of another kind changes nothing: its message is an error.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import pyarrow as pa

from ...model.change import PREFIX
from ...model.declared_type import STRUCT, DeclaredType
from ..encoding import Expected, Keep
from .declared import Forms
from .nodes import AS_NUMBER
from .plan import CONNECT_DECIMAL, PRECISION

MAX_FIELDS: Final = 2_000
DEEPEST: Final = 50
LONG: Final = 1 << 63
FEW_DIGITS, MANY_DIGITS = 38, 76
Path = tuple[str, ...]


class Real(str):
    """A number with a fraction or an exponent, as it was written."""


@dataclass(slots=True)
class Shape:
    """`kind` is null, boolean, integer, wide, number, string, object or array; `skip` and `declared` learn nothing.

    `rows`: the items of an array are rows, whose fields are asked about as those outside of arrays. `partial`: an
    object tells which fields it lacks.
    """

    kind: str = "null"
    digits: int = FEW_DIGITS
    fields: dict[str, "Shape"] = field(default_factory=dict)
    item: "Shape | None" = None
    rows: bool = False
    partial: bool = False
    declared: DeclaredType | None = None


@dataclass(slots=True)
class Learner:
    """Grows one shape. `fields` counts those of it; beyond MAX_FIELDS nothing is learnt."""

    keep: Keep | None
    expected: Expected | None
    forms: Forms
    root: Shape = field(default_factory=Shape)
    fields: int = 0

    def __post_init__(self) -> None:
        if self.expected is not None and self.expected.declared(()) == STRUCT:
            self.root.kind = "object"

    def learn(self, value: Any) -> bool:
        """Whether the value, as Python's `json` reads it, changed the shape."""
        return self._learn(self.root, value, (), True)

    @property
    def full(self) -> bool:
        """Whether there are as many fields as there may be."""
        return self.fields >= MAX_FIELDS

    def schema(self) -> dict[str, Any]:
        """The schema of the shape, as `plan` takes it."""
        return {**self._schema(self.root), "optional": False}

    def _learn(self, shape: Shape, value: Any, path: Path, ask: bool) -> bool:
        if (shape.declared is not None and shape.declared != STRUCT) or shape.kind == "skip" or value is None:
            return False
        kind = _kind(value)
        grown = self._grown(shape, kind, path)
        if shape.kind == "wide" and kind in ("integer", "wide") and len(str(abs(value))) > shape.digits:
            grown, shape.digits = grown or shape.digits == FEW_DIGITS, MANY_DIGITS
        if shape.kind == "object" and kind == "object" and len(path) < DEEPEST:
            refused = self._no_columns(value, path) if ask else ()
            for name, part in value.items():
                if name not in refused:
                    grown |= self._learn_field(shape, name, part, path, ask)
        if shape.kind == "array" and kind == "array" and len(path) < DEEPEST:
            inner = (*path, "[]")
            if shape.item is None:
                shape.rows = ask and self.expected is not None and self.expected.declared(inner) == STRUCT
                shape.item = Shape("object" if shape.rows else "null")
            for part in value:
                grown |= self._learn(shape.item, part, inner, shape.rows)
        return grown

    def _no_columns(self, value: Mapping[str, Any], path: Path) -> set[str]:
        """The fields that would be columns and cannot: those of Millrace's names, and the later of two names of which
        only the case differs."""
        if self.expected is None:
            return set()
        refused, seen = set[str](), set[str]()
        for name in value:
            if self.expected.column((*path, name)) is not None:
                if name.startswith(PREFIX) or name.casefold() in seen:
                    refused.add(name)
                seen.add(name.casefold())
        return refused

    def _learn_field(self, shape: Shape, name: str, part: Any, path: Path, ask: bool) -> bool:
        inner, known = (*path, name), shape.fields.get(name)
        if known is not None:
            return self._learn(known, part, inner, ask)
        if self.full or not name or any("\ud800" <= letter <= "\udfff" for letter in name):
            return False
        self.fields += 1
        made = shape.fields[name] = Shape()
        if ask and self.keep is not None and not self.keep(inner):
            made.kind = "skip"
        elif ask and self.expected is not None:
            made.declared = self.expected.declared(inner)
            if made.declared == STRUCT:
                made.kind = "object"
            self._add_held(made, inner)
        self._learn(made, part, inner, ask)
        return True

    def _add_held(self, shape: Shape, path: Path) -> None:
        """Make it an object that tells what it lacks, where that is asked: also of the columns that the table has."""
        columns = None if self.expected is None else self.expected.may_lack(path)
        shape.partial = columns is not None
        for name in columns or ():
            self._learn_field(shape, name, None, path, True)

    def _grown(self, shape: Shape, kind: str, path: Path) -> bool:
        """Make the shape one that holds values of this kind too; whether that changed it."""
        if kind == "integer" and shape.kind == "null" and self.expected is not None:
            held = self.expected.held(path)
            # What the table holds as numbers with fractions may come without one.
            kind = "number" if held is not None and pa.types.is_float64(held) else kind
        wider = {("integer", "number"), ("integer", "wide"), ("wide", "number")}
        if shape.kind == "null" or (shape.kind, kind) in wider:
            changed, shape.kind = shape.kind != kind, kind
            return changed
        return False

    def _schema(self, shape: Shape) -> dict[str, Any]:
        if shape.declared is not None and shape.declared != STRUCT:
            return {**self.forms.schema(shape.declared), "optional": True}
        made: dict[str, Any] = {"optional": True}
        match shape.kind:
            case "object":
                parts = [{**self._schema(part), "field": name} for name, part in shape.fields.items()]
                return {**made, "type": "struct", "fields": parts, "partial": shape.partial}
            case "array":
                return {**made, "type": "array", "items": {**self._schema(shape.item or Shape()), "rows": shape.rows}}
            case "wide":
                return {**made, **_wide(shape.digits)}
        return {**made, **SIMPLE[shape.kind]}


SIMPLE: Final[Mapping[str, dict[str, Any]]] = {
    "null": {"type": "null"},
    "skip": {"type": "null"},
    "boolean": {"type": "boolean"},
    "integer": {"type": "int64"},
    "number": {"type": "double", "exact": True},
    "string": {"type": "string"},
}


def _wide(digits: int) -> dict[str, Any]:
    parameters = {"scale": "0", PRECISION: str(digits)}
    return {"type": "bytes", "name": CONNECT_DECIMAL, "parameters": parameters, "forms": AS_NUMBER}


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "integer" if -LONG <= value < LONG else "wide"
    if isinstance(value, Real):
        return "number"
    if isinstance(value, str):
        return "string"
    return "object" if isinstance(value, dict) else "array"
