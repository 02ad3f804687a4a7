"""JSON text of values whose type contains itself, which Arrow cannot describe.

Only for bytes that the interpreter has checked to the last byte, and for how deep they are nested. Logical
types are not applied. Bytes become text of one character each, as in Avro's JSON encoding; a union is its plain value;
floats that JSON lacks are the texts `NaN`, `Infinity`, `-Infinity`.
"""

import json
import math
import struct
from typing import Any, Final

from ..columns.types import Type

_FLOAT: Final = struct.Struct("<f")
_DOUBLE: Final = struct.Struct("<d")


def json_text(kind: Type, data: memoryview, at: int, length: int) -> str | None:
    """The value in `data[at:at+length]` as JSON, or None where it is null."""
    value = _Reader(data[at : at + length]).read(kind)
    return None if value is None else json.dumps(value, ensure_ascii=False, separators=(",", ":"))


class _Reader:
    def __init__(self, data: memoryview) -> None:
        self.data, self.at = data, 0

    def read(self, kind: Type) -> Any:
        match kind.kind:
            case "null":
                return None
            case "boolean":
                return self.bytes(1) == b"\1"
            case "int" | "long":
                return self.long()
            case "float" | "double":
                return self.number(kind.kind)
            case "string":
                return self.bytes(self.long()).decode()
            case "bytes":
                return self.bytes(self.long()).decode("latin-1")
            case "fixed":
                return self.bytes(kind.size).decode("latin-1")
            case "enum":
                return kind.names[self.long()]
            case "union":
                return self.read(kind.children[self.long()])
            case "record":
                return {name: self.read(child) for name, child in zip(kind.names, kind.children, strict=True)}
            case "array":
                return [self.read(kind.children[0]) for _ in self.items()]
        return {self.bytes(self.long()).decode(): self.read(kind.children[0]) for _ in self.items()}

    def items(self) -> Any:
        """One step for each item of all blocks."""
        while count := self.long():
            if count < 0:
                count = -count
                self.long()
            yield from range(count)

    def long(self) -> int:
        bits = shift = 0
        while True:
            byte = self.data[self.at]
            self.at += 1
            bits |= (byte & 127) << shift
            if byte < 128:
                return bits >> 1 ^ -(bits & 1)
            shift += 7

    def number(self, kind: str) -> float | str:
        layout = _FLOAT if kind == "float" else _DOUBLE
        value: float = layout.unpack(self.bytes(layout.size))[0]
        if math.isnan(value):
            return "NaN"
        return value if math.isfinite(value) else ("Infinity" if value > 0 else "-Infinity")

    def bytes(self, size: int) -> bytes:
        self.at += size
        return bytes(self.data[self.at - size : self.at])
