"""How the values of fields become Arrow columns: numbers and texts, and what Google's and Confluent's messages mean.

`google.protobuf.Timestamp` and `Duration` count microseconds; digits after the sixth are cut off. Wrappers are their
value, null where they are missing. An enum is the name of its number, or the number's digits where it has no name.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from ..columns.arrays import build_array
from ..columns.logical_types import Form
from ..columns.slots import Column, Slots
from . import program as ops


@dataclass(frozen=True, slots=True)
class Scalar:
    """How one value is read (operation and wire type) and written (form, Arrow type, slots)."""

    op: int
    wire: int
    form: Form
    arrow: pa.DataType
    slots: int = 1


_BIG: Final = pa.decimal128(20, 0)
"""Of unsigned numbers of 64 bits: the high word of a row is never written, and so it is zero."""

SCALARS: Final[Mapping[int, Scalar]] = {
    FieldDescriptor.TYPE_DOUBLE: Scalar(ops.EIGHT, ops.EIGHT_WIRE, Form.WORD, pa.float64()),
    FieldDescriptor.TYPE_FLOAT: Scalar(ops.FOUR, ops.FOUR_WIRE, Form.HALF, pa.float32()),
    FieldDescriptor.TYPE_INT64: Scalar(ops.WHOLE, ops.VARINT_WIRE, Form.WORD, pa.int64()),
    FieldDescriptor.TYPE_UINT64: Scalar(ops.WHOLE, ops.VARINT_WIRE, Form.DECIMAL, _BIG, 2),
    FieldDescriptor.TYPE_INT32: Scalar(ops.SIGNED, ops.VARINT_WIRE, Form.HALF, pa.int32()),
    FieldDescriptor.TYPE_FIXED64: Scalar(ops.EIGHT, ops.EIGHT_WIRE, Form.DECIMAL, _BIG, 2),
    FieldDescriptor.TYPE_FIXED32: Scalar(ops.FOUR, ops.FOUR_WIRE, Form.WORD, pa.int64()),
    FieldDescriptor.TYPE_BOOL: Scalar(ops.TRUTH, ops.VARINT_WIRE, Form.BOOLEAN, pa.bool_()),
    FieldDescriptor.TYPE_STRING: Scalar(ops.TEXT, ops.SPAN_WIRE, Form.SPAN, pa.string(), 2),
    FieldDescriptor.TYPE_BYTES: Scalar(ops.BYTES, ops.SPAN_WIRE, Form.SPAN, pa.binary(), 2),
    FieldDescriptor.TYPE_UINT32: Scalar(ops.UNSIGNED, ops.VARINT_WIRE, Form.WORD, pa.int64()),
    FieldDescriptor.TYPE_ENUM: Scalar(ops.SIGNED, ops.VARINT_WIRE, Form.MADE, pa.string()),
    FieldDescriptor.TYPE_SFIXED32: Scalar(ops.FOUR, ops.FOUR_WIRE, Form.HALF, pa.int32()),
    FieldDescriptor.TYPE_SFIXED64: Scalar(ops.EIGHT, ops.EIGHT_WIRE, Form.WORD, pa.int64()),
    FieldDescriptor.TYPE_SINT32: Scalar(ops.ZIGZAG_32, ops.VARINT_WIRE, Form.HALF, pa.int32()),
    FieldDescriptor.TYPE_SINT64: Scalar(ops.ZIGZAG, ops.VARINT_WIRE, Form.WORD, pa.int64()),
}


@dataclass(frozen=True, slots=True)
class EnumNames:
    """The texts of an enum's numbers."""

    names: Mapping[int, str]

    @classmethod
    def of(cls, enum: EnumDescriptor) -> "EnumNames":
        # Of several names of one number the first is its own.
        return cls({value.number: value.name for value in reversed(enum.values)})

    def __call__(self, column: Column, slots: Slots) -> pa.Array:
        numbers, codes = np.unique(slots.slot(column), return_inverse=True)
        texts = pa.array([self.names.get(number, str(number)) for number in numbers.tolist()], pa.string())
        codes = np.ascontiguousarray(codes, np.int64)
        return texts.take(pa.Array.from_buffers(pa.int64(), len(codes), [slots.validity(column), pa.py_buffer(codes)]))


def micros(column: Column, slots: Slots) -> pa.Array:
    """Timestamps and durations, of slots of seconds and nanoseconds, both of one sign or positive."""
    seconds, nanos = slots.slot(column), slots.slot(column, 1)
    return build_array(column, slots, seconds * 1_000_000 + np.sign(nanos) * (np.abs(nanos) // 1_000))


@dataclass(frozen=True, slots=True)
class Known:
    """A message that is one value: its fields with number and type, the check of them, their slots, and its column.

    Slots count from the first one; the column is put where it is used.
    """

    fields: Mapping[str, tuple[int, int]]
    check: int
    slots: Mapping[str, int]
    column: Column


_MOMENT: Final = {"seconds": (1, FieldDescriptor.TYPE_INT64), "nanos": (2, FieldDescriptor.TYPE_INT32)}
_AMOUNT: Final = {
    "value": (1, FieldDescriptor.TYPE_BYTES),
    "precision": (2, FieldDescriptor.TYPE_UINT32),
    "scale": (3, FieldDescriptor.TYPE_INT32),
}
_TIMES: Final = {"seconds": 0, "nanos": 1}
_KNOWN: Final[Mapping[str, Known]] = {
    "google.protobuf.Timestamp": Known(
        _MOMENT, ops.INSTANT, _TIMES, Column(Form.MADE, pa.timestamp("us", "UTC"), 0, 0, 0, make=micros)
    ),
    "google.protobuf.Duration": Known(
        _MOMENT, ops.SPAN, _TIMES, Column(Form.MADE, pa.duration("us"), 0, 0, 0, make=micros)
    ),
    "confluent.type.Decimal": Known(
        _AMOUNT,
        ops.NUMBER_TEXT,
        {"value": 0, "scale": 2},
        Column(Form.DECIMAL_TEXT, pa.string(), 0, 0, 0, own_scale=True),
    ),
}


def known_value(kind: Descriptor) -> Known | None:
    """What a message means that is one value; one that only has the name of such a message is as any other."""
    known = _KNOWN.get(kind.full_name)
    fields = {field.name: (field.number, field.type) for field in kind.fields}
    return known if known is not None and fields == known.fields else None


def is_wrapper(kind: Descriptor) -> bool:
    """Whether it is one of Google's messages that hold one value, so that it can be missing."""
    return bool(kind.file.name == "google/protobuf/wrappers.proto")


def is_json(kind: Descriptor) -> bool:
    """Whether it is one of Google's messages that stand for any JSON."""
    return bool(kind.file.name == "google/protobuf/struct.proto")
