"""Declared types as schemas for `plan`: which forms of JSON a column of the type reads."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from ...model.declared_type import DeclaredType
from ..columns.logical_types import VARIABLE_SCALE, ZONED
from .nodes import AS_BASE64, AS_HEX, AS_NUMBER, AS_TEXT, AS_URL, IN_CLOCK, IN_DAYS, IN_MOMENTS
from .options import JsonBinary, JsonDecimals, JsonOptions
from .plan import CONNECT_DECIMAL, PRECISION

NANOS: Final = {"ms": 1_000_000, "us": 1_000, "ns": 1}
_NAMES: Final = {"ms": "", "us": "Micro", "ns": "Nano"}
_SIMPLE: Final[Mapping[str, dict[str, Any]]] = {
    "bool": {"type": "boolean"},
    "int8": {"type": "int8", "forms": AS_TEXT},
    "int16": {"type": "int16", "forms": AS_TEXT},
    "int32": {"type": "int32", "forms": AS_TEXT},
    "int64": {"type": "int64", "forms": AS_TEXT},
    "float32": {"type": "float", "forms": AS_TEXT},
    "float64": {"type": "double", "forms": AS_TEXT},
    "string": {"type": "string"},
    "date": {"type": "int32", "name": "io.debezium.time.Date", "forms": AS_TEXT | IN_DAYS},
    "timestamptz": {"type": "string", "name": ZONED, "forms": AS_NUMBER},
}


@dataclass(frozen=True, slots=True)
class Forms:
    """How texts stand for decimals and bytes."""

    options: JsonOptions

    def schema(self, kind: DeclaredType) -> dict[str, Any]:
        """The schema of a declared type, in the words of Kafka Connect and Debezium."""
        if kind.item is not None:
            return {"type": "array", "items": {**self.schema(kind.item), "optional": True}}
        if kind.word == "decimal":
            return self._decimal(kind)
        if kind.word == "binary":
            forms = {JsonBinary.HEX: AS_HEX, JsonBinary.BASE64_URL: AS_URL}
            return {"type": "bytes", "forms": forms.get(self.options.binary, 0)}
        return _in_units(kind) if kind.unit else _SIMPLE[kind.word]

    def _decimal(self, kind: DeclaredType) -> dict[str, Any]:
        precise = self.options.decimals is JsonDecimals.PRECISE
        if kind.digits:
            parameters = {"scale": str(kind.scale), PRECISION: str(kind.digits)}
            forms = AS_NUMBER | (AS_BASE64 if precise else AS_TEXT)
            return {"type": "bytes", "name": CONNECT_DECIMAL, "parameters": parameters, "forms": forms}
        if not precise:
            return {"type": "string", "forms": AS_NUMBER}
        parts = [{"type": "int32", "field": "scale"}, {"type": "bytes", "field": "value"}]
        return {"type": "struct", "name": VARIABLE_SCALE, "fields": parts}


def _in_units(kind: DeclaredType) -> dict[str, Any]:
    unit, nanos = _NAMES[kind.unit], NANOS[kind.unit]
    if kind.word == "time":
        base = "int32" if kind.unit == "ms" else "int64"
        return {
            "type": base,
            "name": f"io.debezium.time.{unit}Time",
            "forms": AS_TEXT | IN_CLOCK,
            "unit": nanos,
        }
    if kind.word == "timestamp":
        name = f"io.debezium.time.{unit}Timestamp"
        return {"type": "int64", "name": name, "forms": AS_TEXT | IN_MOMENTS, "unit": nanos}
    return {"type": "int64", "name": f"io.debezium.time.{unit}Duration"}
