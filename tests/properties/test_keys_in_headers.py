"""A row whose key changes keeps its large value, whatever type the key has: a header in JSON names its old key.

The headers are written as Kafka Connect's JsonConverter writes them, by hand; the oracle is the row that moved.
"""

import base64
import json
import math
import struct
import tempfile
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.debezium_stream import ENVELOPE, GONE, ROW, datum
from support.log_reader import LogReader

from millrace.schemas.encodings.avro.schema_text import AVRO
from millrace.schemas.encodings.schema_store import FolderSchemaStore
from millrace.schemas.model.message import Message
from millrace.transforms.sinks.memory.sink import MemorySink

MONEY = {"type": "bytes", "logicalType": "decimal", "precision": 19, "scale": 2}
VARIABLE = {
    "type": "record",
    "name": "VariableScaleDecimal",
    "namespace": "io.debezium.data",
    "connect.name": "io.debezium.data.VariableScaleDecimal",
    "fields": [{"name": "scale", "type": "int"}, {"name": "value", "type": "bytes"}],
}
ZONED = {"type": "string", "connect.name": "io.debezium.time.ZonedTimestamp"}
LOCAL = {"type": "long", "connect.name": "io.debezium.time.MicroTimestamp"}
DATE = {"type": "int", "connect.name": "io.debezium.time.Date"}


def two_complement(number):
    return number.to_bytes(number.bit_length() // 8 + 1, "big", signed=True)


def base64_text(raw):
    return base64.b64encode(raw).decode()


def number_text(value):
    """Jackson quotes what is no JSON number; a float is written with as many digits as it needs."""
    if math.isnan(value):
        return "NaN"
    return ("-" if value < 0 else "") + "Infinity" if math.isinf(value) else value


def shortest(value):
    """The shortest text that is this float of 32 bits."""
    if not math.isfinite(value):
        return number_text(value)
    return float(np.format_float_scientific(np.float32(value)))


CENTS = st.integers(-(10**18), 10**18)
KINDS = {
    "long": ("long", st.integers(-(1 << 63), (1 << 63) - 1), lambda value: value, lambda value: value),
    "text": ("string", st.text(max_size=5), lambda value: value, lambda value: value),
    "bytes": ("bytes", st.binary(max_size=5), lambda value: value, base64_text),
    "double": ("double", st.floats(), lambda value: value, number_text),
    "real": ("float", st.floats(width=32), lambda value: value, shortest),
    "money": (MONEY, CENTS, two_complement, lambda cents: base64_text(two_complement(cents))),
    "money as a number": (MONEY, CENTS, two_complement, lambda cents: Decimal(cents).scaleb(-2)),
    "numeric": (
        VARIABLE,
        st.tuples(st.integers(-5, 30), st.integers(-(10**30), 10**30)),
        lambda value: {"scale": value[0], "value": two_complement(value[1])},
        lambda value: {"scale": value[0], "value": base64_text(two_complement(value[1]))},
    ),
    "timestamptz": (
        ZONED,
        st.datetimes().map(lambda value: f"{value.isoformat()}Z"),
        lambda value: value,
        lambda value: value,
    ),
    "timestamp": (LOCAL, st.integers(-(10**16), 10**17), lambda value: value, lambda value: value),
    "date": (DATE, st.integers(-700_000, 2_900_000), lambda value: value, lambda value: value),
}


def plain(schema):
    """Without logical types: fastavro's writers take the raw values then."""
    return {name: part for name, part in schema.items() if name != "logicalType"} if "type" in schema else schema


def schemas(kind):
    kind = plain(kind) if isinstance(kind, dict) else kind
    key = {"type": "record", "name": "Key", "fields": [{"name": "id", "type": kind}]}
    fields = [{**part, "type": kind} if part["name"] == "id" else part for part in ROW["fields"]]
    parts = [{**ENVELOPE["fields"][0], "type": ["null", {**ROW, "fields": fields}]}, *ENVELOPE["fields"][1:]]
    return key, {**ENVELOPE, "fields": parts}


class Moves:
    """Messages of a table whose key is of one type."""

    def __init__(self, kind, folder):
        self.kind, _, self.sent, self.told = KINDS[kind]
        self.key, self.envelope = schemas(self.kind)
        for number, schema in enumerate(self._declared(), 1):
            (folder / f"{number}.avsc").write_text(json.dumps(schema))
        self.store, self.messages = FolderSchemaStore(folder, AVRO), []

    def _declared(self):
        text = json.dumps([self.key, self.envelope])
        if isinstance(self.kind, dict) and "logicalType" in self.kind:
            text = text.replace(json.dumps(plain(self.kind)), json.dumps(self.kind))
        return json.loads(text)

    def change(self, op, key, lsn, raw=None, header=None):
        """A change of the row of this key, with the other key of a key change."""
        sent = self.sent(key)
        row = {"id": sent, "text": None, "raw": raw, "tags": None, "attrs": None}
        value = {"before": None, "after": None if op == "d" else row, "op": op}
        value["source"] = {"lsn": lsn, "sequence": json.dumps([str(lsn), str(lsn)])}
        headers = []
        if header is not None:
            name = "__debezium.newkey" if op == "d" else "__debezium.oldkey"
            headers = [(name, self._json({"id": self.told(header)}).encode())]
        body = struct.pack(">bI", 0, 2) + datum(self.envelope, value)
        at = struct.pack(">bI", 0, 1) + datum(self.key, {"id": sent})
        self.messages.append(Message("t", 0, len(self.messages), at, body, headers, 1_000 + lsn))

    @staticmethod
    def _json(named):
        (value,) = named.values()
        text = format(value, "f") if isinstance(value, Decimal) else json.dumps(value, ensure_ascii=False)
        return f'{{"schema": null, "payload": {{"id": {text}}}}}'


def different(kind):
    return st.lists(KINDS[kind][1], min_size=3, max_size=3, unique_by=repr)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("commits", [1, 2])
def test_the_value_comes_from_the_row_of_the_old_key(kind, commits):
    @settings(max_examples=15, deadline=None)
    @given(keys=different(kind))
    def check(keys):
        if len({repr(key_of(kind, one)) for one in keys}) < 3:
            return
        old, new, other = keys
        with tempfile.TemporaryDirectory() as folder, closing(MemorySink(folder)) as sink:
            moves = Moves(kind, Path(folder))
            moves.change("c", old, 10, b"large")
            moves.change("c", other, 11, b"another")
            first = list(moves.messages)
            moves.change("d", old, 20, header=new)
            moves.change("c", new, 20, GONE.encode(), header=old)
            moves.change("u", other, 30, b"third")
            reader = LogReader(sink, moves.store, "t", 1, Random(1))
            for part in [moves.messages] if commits == 1 else [first, moves.messages[len(first) :]]:
                reader.commit(part)
            rows = [row for batch in sink.scan("t") for row in batch.to_pylist()]
            assert sorted(row["raw"] for row in rows) == [b"large", b"third"]
            report = reader.proof(moves.messages)
            assert report.ok, report.to_json()

    if kind in ("double", "real"):
        check = example(keys=[math.nan, 1.5, math.inf])(check)
        check = example(keys=[-math.inf, math.inf, math.nan])(check)
    check()


def key_of(kind, value):
    """Keys that are one: -0.0 is 0.0, and a numeric has its value whatever its scale."""
    if kind in ("double", "real"):
        return value + 0.0
    return Decimal(value[1]).scaleb(-value[0]).normalize() if kind == "numeric" else value
