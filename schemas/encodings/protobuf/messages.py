"""Descriptors of messages: where a schema's bytes become what the compiler reads."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from google.protobuf.descriptor import Descriptor, FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool

from ...errors import SchemaError

SHOWN: Final = 5


@lru_cache(256)
def main_file(descriptors: bytes) -> FileDescriptor:
    """The last file of a serialized FileDescriptorSet, whose others are what it imports."""
    pool, files = DescriptorPool(), FileDescriptorSet.FromString(descriptors)
    for file in files.file:
        pool.Add(file)
    try:
        return pool.FindFileByName(files.file[-1].name)
    except (KeyError, TypeError) as error:
        raise SchemaError(f"the schema does not hold together: {error}") from None


def message_at(file: FileDescriptor, path: Sequence[int]) -> Descriptor:
    """The message at these indexes, outermost first; entries of maps do not count. Raises SchemaError."""
    inside: Sequence[Descriptor] = [file.message_types_by_name[name] for name in _in_order(file)]
    found = None
    for index in path:
        if index >= len(inside):
            raise SchemaError(f"the message indexes {list(path)} are beyond the schema's messages")
        found = inside[index]
        inside = [one for one in found.nested_types if not one.GetOptions().map_entry]
    assert found is not None
    return found


def message_named(file: FileDescriptor, name: str | None) -> Descriptor:
    """The message of this full name, else the only one. Raises SchemaError."""
    messages = {one.full_name: one for one in _all(list(file.message_types_by_name.values()))}
    if name is not None and name in messages:
        return messages[name]
    top = [file.message_types_by_name[one] for one in _in_order(file)]
    if name is None and len(top) == 1:
        return top[0]
    known = ", ".join(list(messages)[:SHOWN])
    if name is None:
        raise SchemaError(f"which message is it? Set format.message to one of {known}")
    raise SchemaError(f"format.message: there is no message {name!r}; the schema has {known}")


def _in_order(file: FileDescriptor) -> list[str]:
    """The names of the messages at the top, as they stand in the file."""
    return [one.name for one in FileDescriptorSet.FromString(_set_of(file)).file[0].message_type]


def _set_of(file: FileDescriptor) -> bytes:
    found = FileDescriptorSet()
    file.CopyToProto(found.file.add())
    return found.SerializeToString()


def _all(messages: Sequence[Descriptor]) -> list[Descriptor]:
    return [
        one
        for message in messages
        if not message.GetOptions().map_entry
        for one in (message, *_all(message.nested_types))
    ]
