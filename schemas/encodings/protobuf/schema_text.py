"""Protobuf schemas as text: `.proto` files, made whole with the files that they import."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from ...errors import SchemaError
from . import confluent_files
from .protoc import brings, descriptors

_COMMENT: Final = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
_IMPORT: Final = re.compile(r"""\bimport\s+(?:public\s+|weak\s+)?["']([^"'\n]+)["']\s*;""")
_FILE: Final = "schema.proto"
"""What a file is called that nobody imports."""


@dataclass(frozen=True, slots=True)
class ProtoFile:
    """One file as text, and the names of the files that it imports."""

    text: str
    imports: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ProtoSchema:
    """A file with all that it imports: `descriptors` is a serialized FileDescriptorSet, the file itself last."""

    descriptors: bytes


class ProtobufSchemas:
    """Keeps the contract of `SchemaLanguage`: a schema is a file, and others import it by its name."""

    registry_type = "PROTOBUF"
    suffix = ".proto"

    def parse(self, text: str) -> ProtoFile:
        return ProtoFile(text, tuple(_IMPORT.findall(_COMMENT.sub(" ", text))))

    def types(self, name: str, schema: ProtoFile) -> Iterator[tuple[str, ProtoFile]]:
        yield name, schema

    def complete(self, schema: ProtoFile, types: Mapping[str, ProtoFile]) -> ProtoSchema:
        texts: dict[str, str] = {}
        waiting = list(schema.imports)
        while waiting:
            name = waiting.pop()
            if name in texts or brings(name):
                continue
            found = _imported(name, types)
            texts[name] = found.text
            waiting += found.imports
        file = _FILE if _FILE not in texts else f"_{_FILE}"
        return ProtoSchema(descriptors(file, {**texts, file: schema.text}))

    def fingerprint(self, schema: ProtoFile) -> None:
        return None


PROTOBUF: Final = ProtobufSchemas()


def _imported(name: str, types: Mapping[str, ProtoFile]) -> ProtoFile:
    """A file by the name in an import: a folder's files are known by their last part."""
    known = types.get(name) or types.get(name.rpartition("/")[2])
    if known is not None:
        return known
    if name in confluent_files.TEXTS:
        return PROTOBUF.parse(confluent_files.TEXTS[name])
    raise SchemaError(f"it imports {name!r}, which is defined nowhere")
