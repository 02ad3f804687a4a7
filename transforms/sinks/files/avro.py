"""Avro container files of changes. Every column may be null; names that Avro does not allow are written with `_xHH_`.

Written in columns by `avro_columns`, in blocks compressed by Snappy; read again by fastavro, one record after
the other, which only `scan` and a commit after a crash do. Source of the format: the Avro specification, 1.12.
"""

import io
import json
import os
import re
import zlib
from collections.abc import Iterator, Mapping
from decimal import Context, Decimal
from itertools import count
from typing import Any, Final

import cramjam
import fastavro
import numpy as np
import pyarrow as pa

from .avro_columns import Encoded, encode_rows

MAGIC: Final = b"Obj\x01"
BLOCK_BYTES: Final = 1 << 20
STORED: Final = "millrace.stored"
ROWS: Final = "millrace.rows"
EXACT: Final = Context(prec=76)
UNITS: Final = {"ms": "millis", "us": "micros", "ns": "nanos"}


class Avro:
    """One record a change."""

    ending = "avro"

    def write(self, rows: pa.Table, metadata: Mapping[str, str]) -> pa.Buffer:
        """The file's bytes."""
        sync, schema = os.urandom(16), json.dumps(avro_schema(rows.schema))
        texts = {**metadata, "avro.schema": schema, "avro.codec": "snappy"}
        texts[ROWS] = str(len(rows))
        texts[STORED] = rows.schema.remove_metadata().serialize().to_pybytes().hex()
        head = b"".join(_text(name) + _text(text) for name, text in texts.items())
        parts = [MAGIC, _long(len(texts)), head, b"\0", sync]
        for batch in rows.to_batches():
            for number, data in _blocks(encode_rows(batch)):
                packed = bytes(cramjam.snappy.compress_raw(data)) + zlib.crc32(data).to_bytes(4, "big")
                parts += [_long(number), _long(len(packed)), packed, sync]
        return pa.py_buffer(b"".join(parts))

    def read(self, data: pa.Buffer) -> tuple[pa.Table, Mapping[str, str]]:
        """Rows in stored types, and the metadata. Raises ValueError where the bytes are no whole file."""
        blocks: Any = fastavro.block_reader(io.BytesIO(data.to_pybytes()))
        metadata: dict[str, str] = dict(blocks.metadata)
        schema = pa.ipc.read_schema(pa.py_buffer(bytes.fromhex(metadata[STORED])))
        raw: Any = fastavro.parse_schema(_without_meanings(json.loads(metadata["avro.schema"])))
        names = [field["name"] for field in raw["fields"]]
        records = _records(blocks, raw)
        if len(records) != int(metadata[ROWS]):
            raise ValueError(f"{len(records)} changes of {metadata[ROWS]}")
        columns = [
            [_value(record[name], field.type) for record in records] for name, field in zip(names, schema, strict=True)
        ]
        arrays = [pa.array(values, field.type) for values, field in zip(columns, schema, strict=True)]
        return pa.Table.from_arrays(arrays, schema=schema), metadata


def _records(blocks: Any, schema: Any) -> list[Any]:
    try:
        return [
            fastavro.schemaless_reader(block.bytes_, schema, None) for block in blocks for _ in range(block.num_records)
        ]
    except cramjam.DecompressionError as error:
        raise ValueError(str(error)) from error


def avro_schema(schema: pa.Schema) -> dict[str, Any]:
    """The record of a row."""
    return _record(list(schema), count())


def _record(fields: list[pa.Field], numbers: Iterator[int]) -> dict[str, Any]:
    name, taken = f"r{next(numbers)}", set[str]()
    parts = []
    for field in fields:
        safe = re.sub(r"[^A-Za-z0-9_]|^(?=[0-9])", lambda found: f"_x{ord(found[0] or ' '):X}_", field.name) or "_"
        while safe in taken:
            safe += "_"
        taken.add(safe)
        parts.append({"name": safe, "type": ["null", _type(field.type, numbers)], "default": None})
        if safe != field.name:
            parts[-1]["doc"] = field.name
    return {"type": "record", "name": name, "fields": parts}


def _type(kind: pa.DataType, numbers: Iterator[int]) -> Any:
    """Avro's type for a stored one (`types.in_files`)."""
    if pa.types.is_struct(kind):
        return _record(list(kind), numbers)
    if pa.types.is_map(kind):
        pair = _record([pa.field("key", kind.key_type), pa.field("value", kind.item_type)], numbers)
        return {"type": "array", "items": ["null", pair]}
    if pa.types.is_list(kind):
        return {"type": "array", "items": ["null", _type(kind.value_type, numbers)]}
    if pa.types.is_decimal128(kind):
        fixed = {"type": "fixed", "name": f"f{next(numbers)}", "size": 16, "logicalType": "decimal"}
        return {**fixed, "precision": kind.precision, "scale": kind.scale}
    if pa.types.is_fixed_size_binary(kind):
        return {"type": "fixed", "name": f"f{next(numbers)}", "size": kind.byte_width}
    if pa.types.is_temporal(kind):
        return _time(kind)
    if pa.types.is_integer(kind):
        return "long" if kind.bit_width == 64 else "int"
    plain = {"bool": "boolean", "float": "float", "double": "double", "string": "string", "binary": "bytes"}
    return plain[str(kind)]


def _time(kind: pa.DataType) -> dict[str, str]:
    if pa.types.is_date32(kind):
        return {"type": "int", "logicalType": "date"}
    if pa.types.is_time(kind):
        base = "int" if kind.bit_width == 32 else "long"
        return {"type": base} if kind.unit == "ns" else {"type": base, "logicalType": f"time-{UNITS[kind.unit]}"}
    local = "local-" if kind.tz is None else ""
    return {"type": "long", "logicalType": f"{local}timestamp-{UNITS[kind.unit]}"}


def _without_meanings(schema: Any) -> Any:
    """The schema without logical types: fastavro then gives plain numbers and bytes, and no value is out of range."""
    if isinstance(schema, list):
        return [_without_meanings(part) for part in schema]
    if isinstance(schema, dict):
        return {name: _without_meanings(part) for name, part in schema.items() if name != "logicalType"}
    return schema


def _value(raw: Any, kind: pa.DataType) -> Any:
    """What pyarrow makes a value of this type of."""
    if raw is None:
        return None
    if pa.types.is_struct(kind):
        return {field.name: _value(part, field.type) for field, part in zip(kind, raw.values(), strict=True)}
    if pa.types.is_map(kind):
        return [(_value(pair["key"], kind.key_type), _value(pair["value"], kind.item_type)) for pair in raw]
    if pa.types.is_list(kind):
        return [_value(item, kind.value_type) for item in raw]
    if pa.types.is_decimal128(kind):
        return Decimal(int.from_bytes(raw, "big", signed=True)).scaleb(-kind.scale, EXACT)
    return raw


def _blocks(rows: Encoded) -> Iterator[tuple[int, bytes]]:
    """(rows, their bytes) of about a megabyte each."""
    low = 0
    while low < len(rows):
        limit = rows.offsets[low] + BLOCK_BYTES
        high = max(low + 1, int(np.searchsorted(rows.offsets, limit, side="right")) - 1)
        yield high - low, rows.data[rows.offsets[low] : rows.offsets[high]].tobytes()
        low = high


def _long(number: int) -> bytes:
    out, number = bytearray(), number << 1
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def _text(text: str) -> bytes:
    data = text.encode()
    return _long(len(data)) + data
