"""Small Debezium streams for tests: `Stream().put(1, 10, "text").delete(1, 20)`; LSNs are positions."""

import io
import json
import struct

import fastavro

from millrace.schemas.encodings.avro.schema_text import AVRO
from millrace.schemas.encodings.schema_store import FolderSchemaStore
from millrace.schemas.model.message import Message

ROW = {
    "type": "record",
    "name": "Value",
    "fields": [
        {"name": "id", "type": "long"},
        {"name": "text", "type": ["null", "string"]},
        {"name": "raw", "type": ["null", "bytes"]},
        {"name": "tags", "type": ["null", {"type": "array", "items": "string"}]},
        {"name": "attrs", "type": ["null", {"type": "map", "values": "string"}]},
    ],
}
KEY = {"type": "record", "name": "Key", "fields": [{"name": "id", "type": "long"}]}
NULLABLE = [("lsn", "long"), ("sequence", "string"), ("file", "string"), ("pos", "long"), ("row", "int")]
SOURCE = {
    "type": "record",
    "name": "Source",
    "fields": [{"name": name, "type": ["null", kind], "default": None} for name, kind in NULLABLE[:2]],
}
ENVELOPE = {
    "type": "record",
    "name": "Envelope",
    "namespace": "t",
    "fields": [
        {"name": "before", "type": ["null", ROW], "default": None},
        {"name": "after", "type": ["null", "Value"], "default": None},
        {"name": "source", "type": SOURCE},
        {"name": "op", "type": "string"},
    ],
}
SCHEMAS = {1: KEY, 2: ENVELOPE, 3: ROW}
GONE = "__debezium_unavailable_value"


def datum(schema, value):
    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, schema, value)
    return buffer.getvalue()


def wire(schema_id, value):
    return struct.pack(">bI", 0, schema_id) + datum(SCHEMAS[schema_id], value)


def row(key, text=None, **more):
    return {"id": key, "text": text, "raw": None, "tags": None, "attrs": None, **more}


class Stream:
    """Messages of one partition, with offsets as they come."""

    def __init__(self, partition=0):
        self.partition, self.messages = partition, []

    def raw(self, key, value, headers=()):
        self.messages.append(Message("t", self.partition, len(self.messages), key, value, headers))
        return self

    def change(self, op, key, lsn, after=None, before=None, commit=None, headers=()):
        source = {"lsn": lsn, "sequence": json.dumps([str(commit or lsn), str(lsn)])}
        value = {"before": before, "after": after, "source": source, "op": op}
        return self.raw(None if key is None else wire(1, {"id": key}), wire(2, value), headers)

    def put(self, key, lsn, text=None, op="u", headers=(), **more):
        return self.change(op, key, lsn, row(key, text, **more), headers=headers)

    def delete(self, key, lsn, new_key=None, tombstone=True):
        headers = [] if new_key is None else [("__debezium.newkey", json.dumps({"id": new_key}).encode())]
        self.change("d", key, lsn, before=row(key), headers=headers)
        return self.tombstone(key) if tombstone else self

    def tombstone(self, key):
        return self.raw(wire(1, {"id": key}), None)


def old_key(key):
    return [("__debezium.oldkey", json.dumps({"id": key}).encode())]


def contracts_in(folder):
    """The schemas of these streams as a folder of .avsc files."""
    for schema_id, schema in SCHEMAS.items():
        (folder / f"{schema_id}.avsc").write_text(json.dumps(schema))
    return FolderSchemaStore(folder, AVRO)
