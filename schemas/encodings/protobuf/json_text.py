"""Messages that contain themselves, and Google's JSON values, as JSON text: one value at a time, and rare.

The loop has checked the bytes before. Fields have their names, enums theirs, bytes are base64, 64-bit numbers keep
their digits; fields that a message lacks are left out. Struct, Value and ListValue are the JSON that they stand for.
"""

import base64
import json
import math
from typing import Any, Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from .columns import is_json

_STRUCT: Final = "google.protobuf.Struct"
_LIST: Final = "google.protobuf.ListValue"
_VALUE: Final = "google.protobuf.Value"


def json_text(kind: Descriptor, data: memoryview, begin: int, size: int) -> str:
    """The JSON of a message whose length and bytes stand at `begin`, both together `size` bytes."""
    at = begin
    while data[at] >= 128:
        at += 1
    message = GetMessageClass(kind).FromString(bytes(data[at + 1 : begin + size]))
    return json.dumps(_value(message), ensure_ascii=False, separators=(",", ":"))


def _value(message: Message) -> Any:
    name = message.DESCRIPTOR.full_name if is_json(message.DESCRIPTOR) else ""
    parts = {field.name: (field, value) for field, value in message.ListFields()}
    if name == _STRUCT:
        return {key: _value(value) for key, value in sorted(parts["fields"][1].items())} if parts else {}
    if name == _LIST:
        return [_value(value) for value in parts["values"][1]] if parts else []
    if name == _VALUE:
        return _of_value(parts)
    return {one: _field(field, value) for one, (field, value) in parts.items()}


def _of_value(parts: dict[str, Any]) -> Any:
    for name, (_, value) in parts.items():
        if name == "null_value":
            return None
        if name == "number_value":
            return _number(value)
        return _value(value) if isinstance(value, Message) else value
    return None


def _number(value: float) -> Any:
    if not math.isfinite(value):
        return str(value)
    return int(value) if value.is_integer() and abs(value) < 1 << 53 else value


def _field(field: FieldDescriptor, value: Any) -> Any:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        item = field.message_type.fields_by_name["value"]
        return {str(key): _single(item, one) for key, one in sorted(value.items())}
    return [_single(field, one) for one in value] if field.is_repeated else _single(field, value)


def _single(field: FieldDescriptor, value: Any) -> Any:
    if isinstance(value, Message):
        return _value(value)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if field.enum_type is not None:
        known = field.enum_type.values_by_number.get(value)
        return str(value) if known is None else known.name
    return _number(value) if isinstance(value, float) else value
