"""A place for each encoding of the registry: rows of three fields to bytes, and what a hostile hand would send."""

import io
import json
from pathlib import Path
from typing import Any, Protocol

import fastavro
from google.protobuf.message_factory import GetMessageClass

from millrace.schemas.encodings import ENCODINGS
from millrace.schemas.encodings.avro.schema_text import AVRO
from millrace.schemas.encodings.encoding import Encoding
from millrace.schemas.encodings.protobuf.messages import main_file, message_at
from millrace.schemas.encodings.protobuf.protoc import descriptors
from millrace.schemas.encodings.schema_store import FolderSchemaStore

SCHEMA = {
    "type": "record",
    "name": "Row",
    "fields": [
        {"name": "id", "type": "long"},
        {"name": "name", "type": ["null", "string"]},
        {"name": "price", "type": "double"},
    ],
}
NODE = {
    "type": "record",
    "name": "Node",
    "fields": [{"name": "next", "type": ["null", "Node"]}],
}


class EncodingPlace(Protocol):
    """What the contract suite needs of an encoding."""

    encoding: Encoding

    def encode(self, row: dict[str, Any]) -> bytes:
        """A row of `id` (64 bits), `name` (text or null) and `price` (64-bit float) as a message's value."""

    def hostile(self) -> list[bytes]:
        """Values that are nested deeply, or tell huge lengths: each is a dead letter."""


class AvroPlace:
    def __init__(self, folder: Path) -> None:
        for number, schema in ((1, SCHEMA), (2, NODE), (3, {"type": "array", "items": "null"}), (4, "bytes")):
            (folder / f"schema.{number}.avsc").write_text(json.dumps(schema))
        spec = ENCODINGS["avro"]
        self.encoding = spec.open(spec.options(), FolderSchemaStore(folder, AVRO))
        self._schema = fastavro.parse_schema(json.loads(json.dumps(SCHEMA)))

    def encode(self, row: dict[str, Any]) -> bytes:
        body = io.BytesIO()
        fastavro.schemaless_writer(body, self._schema, row)
        return b"\0\0\0\0\1" + body.getvalue()

    def hostile(self) -> list[bytes]:
        head = b"\0\0\0\0"
        return [
            head + b"\1" + b"\x02" * 200_000,
            head + b"\2" + b"\x02" * 200_000 + b"\0",
            head + b"\3" + b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01",
            head + b"\4" + b"\xfe\xff\xff\xff\xff\xff\xff\xff\x7f",
            head + b"\x63" + b"\0" * 10,
        ]


class JsonPlace:
    HEAD = b'{"schema":{"type":"struct","optional":false,"fields":[' + b",".join(
        b'{"type":"%b","optional":%b,"field":"%b"}' % part
        for part in ((b"int64", b"false", b"id"), (b"string", b"true", b"name"), (b"double", b"false", b"price"))
    )

    def __init__(self, folder: Path) -> None:
        spec = ENCODINGS["json"]
        self.encoding = spec.open(spec.options(), None)

    def encode(self, row: dict[str, Any]) -> bytes:
        return self.HEAD + b']},"payload":' + json.dumps(row).encode() + b"}"

    def hostile(self) -> list[bytes]:
        open_head = self.HEAD + b']},"payload":'
        return [
            open_head + b"[" * 200_000,
            open_head + b"[" * 200_000 + b"]" * 200_000 + b"}",
            open_head + b'{"id":1,"name":null,"price":0,"more":' + b'{"a":' * 5_000 + b"1" + b"}" * 5_002,
            b'{"schema":' + b"[" * 100_000 + b"]" * 100_000 + b',"payload":1}',
            open_head + b'{"id":' + b"9" * 100_000 + b',"price":0}}',
            open_head + b'{"id":1,"name":"\\ud800","price":0}}',
        ]


class PlainJsonPlace:
    def __init__(self, folder: Path) -> None:
        spec = ENCODINGS["json"]
        self.encoding = spec.open(spec.options(framing="plain"), None)

    def encode(self, row: dict[str, Any]) -> bytes:
        return json.dumps(row).encode()

    def hostile(self) -> list[bytes]:
        head = b'{"id":1,"name":null,"price":0.5,"more":'
        return [
            b"[" * 200_000,
            b"[" * 200_000 + b"]" * 200_000,
            head + b'{"a":' * 5_000 + b"1" + b"}" * 5_001,
            b'{"id":' + b"9" * 100_000 + b',"price":0}',
            head + b'"\\ud800"}',
            head + b"1}" + b"}" * 1_000,
            b"",
        ]


class ProtobufPlace:
    """Of proto2: a required field that stands last tells a message that was cut."""

    WIDE = " ".join(f"optional int32 f{number} = {number};" for number in range(1, 201))
    ROW = f"""syntax = "proto2";
    message Row {{ required int64 id = 1; optional string name = 2; required double price = 3; }}
    message Node {{ optional Node next = 1; }}
    message Holder {{ repeated Wide wide = 1; message Wide {{ {WIDE} }} }}
    """

    def __init__(self, folder: Path) -> None:
        (folder / "row.1.proto").write_text(self.ROW)
        spec = ENCODINGS["protobuf"]
        self.encoding = spec.open(spec.options(), FolderSchemaStore(folder, spec.schema_language()))
        self._row = GetMessageClass(message_at(main_file(descriptors("row.proto", {"row.proto": self.ROW})), (0,)))

    def encode(self, row: dict[str, Any]) -> bytes:
        given = {name: value for name, value in row.items() if value is not None}
        return b"\0\0\0\0\1\0" + self._row(**given).SerializeToString()

    def hostile(self) -> list[bytes]:
        head, whole = b"\0\0\0\0\1\0", b"\x08\x01\x19" + b"\0" * 8
        node, holder = b"\0\0\0\0\1\2\2", b"\0\0\0\0\1\2\4"
        nested = b""
        for _ in range(110):
            nested = b"\x0a" + self._varint(len(nested)) + nested
        return [
            node + nested,
            node + b"\x0a\0\x0a\0",
            node + b"\x0a\xff\xff\xff\xff\x07",
            holder + b"\x0a\x00" * 40_000,
            head + whole + b"\x23" * 200_000,
            head + whole + b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
            head + whole + b"\x80" * 11,
            b"\0\0\0\0\1\x0a" + b"\x02" * 5 + whole,
            b"\0\0\0\0\1\2\x12" + whole,
            b"\0\0\0\0\1",
            b"\0\0\0\0\x63\0" + whole,
        ]

    @staticmethod
    def _varint(number: int) -> bytes:
        low, high = number & 127, number >> 7
        return bytes([low | 128]) + ProtobufPlace._varint(high) if high else bytes([low])


ENCODING_PLACES = {"avro": AvroPlace, "json": JsonPlace, "json:plain": PlainJsonPlace, "protobuf": ProtobufPlace}
