"""Debezium's messages as its transform ExtractNewRecordState leaves them, in each mode of deletes."""

import io
import json

import fastavro

ADDED = {
    "op": ["null", "string"],
    "source_lsn": ["null", "long"],
    "source_sequence": ["null", "string"],
    "source_ts_ms": ["null", "long"],
    "source_name": ["null", "string"],
}
"""`add.fields=op,source.lsn,source.sequence,source.ts_ms,source.name`."""
FIRST_ID = 1000
"""Flat schemas have the ids of the envelopes' from here on."""


def plain(schema):
    """Without logical types, so that values are read and written as they stand."""
    if isinstance(schema, list):
        return [plain(part) for part in schema]
    if isinstance(schema, dict):
        return {name: plain(part) for name, part in schema.items() if name not in ("logicalType", "default")}
    return schema


def flat_schema(envelope, rewrites):
    """The row's schema, from the `before` or `after` that defines it, with what is added."""
    types = [field["type"] for field in envelope["fields"] if field["name"] in ("before", "after")]
    (row,) = [part for branches in types for part in branches if isinstance(part, dict)]
    added = [{"name": f"__{name}", "type": kind} for name, kind in ADDED.items()]
    deleted = [{"name": "__deleted", "type": ["null", "string"]}] if rewrites else []
    return {**row, "name": "Flat", "fields": [*row["fields"], *deleted, *added]}


class Flattener:
    """`mode` is the transform's delete.tombstone.handling.mode; schemas of flat rows go into the folder as well."""

    def __init__(self, schemas, folder, mode):
        self._schemas, self._folder, self.mode = schemas, folder, mode
        self._rewrites = mode.startswith("rewrite")
        self._made = {}

    def flat(self, message):
        """The message, or None where the transform drops it."""
        if message.value is None:
            return None if self.mode == "rewrite" else message
        number = int.from_bytes(message.value[1:5], "big")
        schema = self._schemas.by_id(number)
        value = fastavro.schemaless_reader(io.BytesIO(message.value[5:]), plain(schema), None)
        deleted = value["after"] is None
        if deleted and not self._rewrites:
            return None
        row = dict(value["before"] if deleted else value["after"])
        row |= {"__op": value["op"]} | {
            f"__source_{name}": value["source"].get(name) for name in ("lsn", "sequence", "ts_ms", "name")
        }
        row |= {"__deleted": "true" if deleted else "false"} if self._rewrites else {}
        if number not in self._made:
            self._made[number] = flat_schema(schema, self._rewrites)
            (self._folder / f"flat.{FIRST_ID + number}.avsc").write_text(json.dumps(self._made[number]))
        out = io.BytesIO()
        fastavro.schemaless_writer(out, plain(self._made[number]), row)
        return message._replace(value=b"\0" + (FIRST_ID + number).to_bytes(4, "big") + out.getvalue())
