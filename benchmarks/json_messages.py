"""JSON to Arrow in this process: our decoder beside orjson, message by message, as one writes it by hand."""

import base64
import decimal
import json
import time
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import orjson
import pyarrow as pa

from millrace.schemas.encodings import ENCODINGS
from millrace.schemas.encodings.message_reader import Failures, MessageReader
from millrace.schemas.envelopes import ENVELOPES
from millrace.schemas.envelopes.expected_columns import ExpectedColumns
from millrace.schemas.model.declared_type import declared_type
from millrace.schemas.model.message_batch import MessageBatch
from millrace.schemas.model.route import Route

DECIMAL: Final = {
    "name": "org.apache.kafka.connect.data.Decimal",
    "parameters": {"scale": "2", "connect.decimal.precision": "12"},
}
COLUMNS: Final[dict[str, tuple[str, dict[str, Any], pa.DataType, str]]] = {
    "id": ("int64", {}, pa.int64(), "int64"),
    "customer": ("string", {}, pa.string(), "string"),
    "quantity": ("int32", {}, pa.int32(), "int32"),
    "amount": ("bytes", DECIMAL, pa.decimal128(12, 2), "decimal(12,2)"),
    "updated_at": ("int64", {"name": "io.debezium.time.MicroTimestamp"}, pa.timestamp("us"), "timestamp"),
    "score": ("double", {}, pa.float64(), "float64"),
    "gift": ("boolean", {}, pa.bool_(), "bool"),
    "note": ("string", {}, pa.string(), "string"),
}
"""By column Connect's type and names, Arrow's, and the declared one."""
SOURCE: Final = {
    **dict.fromkeys(("version", "connector", "name", "snapshot", "db", "sequence", "schema", "table"), "string"),
    **dict.fromkeys(("ts_ms", "txId", "lsn", "xmin"), "int64"),
}


def _field(kind: str, field: str, more: Mapping[str, Any] = MappingProxyType({})) -> dict[str, Any]:
    return {"type": kind, "optional": True, **more, "field": field}


def _schema() -> dict[str, Any]:
    row = [_field(kind, name, more) for name, (kind, more, _, _) in COLUMNS.items()]
    source = [_field(kind, name) for name, kind in SOURCE.items()]
    parts = [_field("struct", name, {"fields": row}) for name in ("before", "after")]
    parts += [_field("struct", "source", {"fields": source}), _field("string", "op"), _field("int64", "ts_ms")]
    return {"type": "struct", "optional": False, "name": "shop.Envelope", "fields": parts}


def _event(i: int) -> dict[str, Any]:
    row = {
        "id": i,
        "customer": f"customer{i % 1000:05d}",
        "quantity": i % 90,
        "amount": base64.b64encode((i * 7 % 2_000_000 + 100_000).to_bytes(4, "big")).decode(),
        "updated_at": 1_760_000_000_000_000 + i * 20,
        "score": i / 8,
        "gift": i % 2 == 0,
        "note": "a note of some length " + "x" * (i % 40),
    }
    source = {
        "version": "3.3.1.Final",
        "connector": "postgresql",
        "name": "shop",
        "snapshot": "false",
        "db": "shop",
        "sequence": f'["{i * 48}","{i * 48 + 8}"]',
        "schema": "public",
        "table": "orders",
        "ts_ms": 1_760_000_000_000 + i,
        "txId": i // 3,
        "lsn": 23_000_000 + i * 48,
        "xmin": None,
    }
    return {"before": None, "after": row, "source": source, "op": "u", "ts_ms": 1_760_000_000_123 + i}


def _batch(values: list[bytes]) -> MessageBatch:
    length = np.array([len(value) for value in values], np.int64)
    count = np.arange(len(values), dtype=np.int64)
    nothing = np.full(len(values), -1, np.int64)
    data = np.frombuffer(b"".join(values), np.uint8)
    at = np.cumsum(length) - length
    return MessageBatch("t", 0, 0, len(values), data, count, nothing, np.zeros_like(count), nothing, at, length)


def _ours(values: list[bytes], framing: str) -> Callable[[], pa.Table]:
    spec, envelope = ENCODINGS["json"], ENVELOPES["debezium"].open()
    encoding = spec.open(spec.options(framing=framing, decimals="precise"), None)
    route = Route(table="orders", columns={name: declared_type(parts[3]) for name, parts in COLUMNS.items()})
    reader = MessageReader(
        encoding,
        "t",
        lambda path: envelope.keep(path, route),
        lambda side: ExpectedColumns(envelope, route, side, None),
    )
    batch = _batch(values)

    def decode() -> pa.Table:
        rows = [group.value for group in reader.read(batch, Failures(batch), keys_of_values=False)]
        return pa.Table.from_batches([pa.RecordBatch.from_struct_array(one.field("after")) for one in rows])

    return decode


def _by_hand(values: list[bytes]) -> pa.Table:
    """orjson.loads of each message, its row to lists, and each list to an array."""
    columns: dict[str, list[Any]] = {name: [] for name in COLUMNS}
    for value in values:
        event = orjson.loads(value)
        event = event.get("payload", event)
        event["op"], event["source"]["lsn"], event["source"]["sequence"]
        for name, found in columns.items():
            found.append(event["after"][name])
    cents = decimal.Decimal("0.01")
    columns["amount"] = [int.from_bytes(base64.b64decode(one), "big", signed=True) * cents for one in columns["amount"]]
    return pa.table({name: pa.array(found, COLUMNS[name][2]) for name, found in columns.items()})


def figures(count: int) -> Iterator[dict[str, Any]]:
    """One figure for each framing; ends the process where the tables differ."""
    head = b'{"schema":' + json.dumps(_schema(), separators=(",", ":")).encode() + b',"payload":'
    payloads = [json.dumps(_event(i), separators=(",", ":")).encode() for i in range(count)]
    for framing in ("embedded", "plain"):
        values = [head + one + b"}" for one in payloads] if framing == "embedded" else payloads
        decode = _ours(values, framing)
        decode()
        (ours, mine), (theirs, peer) = _timed(decode), _timed(lambda values=values: _by_hand(values))
        if not ours.cast(theirs.schema).equals(theirs):
            raise SystemExit("the two tables differ: the figures mean nothing")
        yield {
            "framing": framing,
            "payload_bytes": round(sum(map(len, payloads)) / count),
            "message_bytes": round(sum(map(len, values)) / count),
            "messages_per_cpu_second": round(count / mine),
            "orjson_per_cpu_second": round(count / peer),
            "cpu_ratio_to_orjson": round(peer / mine, 1),
            "same_table": True,
        }


def _timed(run: Callable[[], pa.Table]) -> tuple[pa.Table, float]:
    """What it gives, and the least CPU-seconds of three runs."""
    best, found = float("inf"), None
    for _ in range(3):
        cpu = time.process_time()
        found = run()
        best = min(best, time.process_time() - cpu)
    return found, best
