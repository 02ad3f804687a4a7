"""Messages of each envelope to changes in this process, beside plain upserts of such rows: JSON without a schema."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import numpy as np

from millrace.schemas.encodings import ENCODINGS
from millrace.schemas.envelopes import ENVELOPES
from millrace.schemas.envelopes.decoder import TopicDecoder
from millrace.schemas.model.declared_type import declared_type
from millrace.schemas.model.ledger import TopicPartition
from millrace.schemas.model.message_batch import MessageBatch
from millrace.schemas.model.route import Route

COLUMNS: Final = {"id": "int64", "quantity": "int32", "amount": "decimal(12,2)", "updated_at": "timestamp"}
ROUNDS: Final = 5
Sent = Callable[[int], Any]


def _row(i: int, length: int = 180) -> dict[str, Any]:
    return {
        "id": i,
        "customer": f"customer{i % 1000:05d}",
        "quantity": i % 90,
        "amount": f"{i % 20_000}.25",
        "updated_at": 1_760_000_000_000_000 + i * 20,
        "note": "x" * (length + i % 40),
    }


def _maxwell(i: int) -> dict[str, Any]:
    value = {"database": "shop", "table": "t", "type": "update", "ts": 1_477_053_217 + i, "xid": i, "xoffset": 0}
    value |= {"position": f"master.000006:{800_000 + i * 10}", "server_id": 1, "primary_key_columns": ["id"]}
    return value | {"data": _row(i), "old": {"quantity": 1}}


def _canal(i: int) -> dict[str, Any]:
    value = {"database": "shop", "table": "t", "type": "UPDATE", "es": 1_589_373_560_000 + i, "isDdl": False}
    value |= {"mysqlType": {"id": "int"}, "sqlType": {"id": 4}, "pkNames": ["id"], "old": [{"quantity": "1"}]}
    return value | {"data": [{name: str(part) for name, part in _row(i).items()}]}


def _dms(i: int) -> dict[str, Any]:
    metadata = {"record-type": "data", "operation": "update", "schema-name": "shop", "table-name": "t"}
    metadata |= {"timestamp": "2024-07-29T00:58:44.895275Z", "transaction-id": i}
    return {"data": _row(i), "before-image": {}, "metadata": metadata}


def _goldengate(i: int) -> dict[str, Any]:
    value = {"table": "SHOP.T", "op_type": "U", "op_ts": "2015-11-05 18:45:36.000000", "pos": f"{i:020}"}
    return value | {"primary_keys": ["id"], "before": {"id": i}, "after": _row(i)}


FORMATS: Final[Mapping[str, Sent]] = {"maxwell": _maxwell, "canal": _canal, "dms": _dms, "goldengate": _goldengate}


def figures(count: int) -> Iterator[dict[str, Any]]:
    """One figure for each envelope; both ways take turns. Ends the process where a message is a dead letter."""
    plain = _reader("upsert", lambda i: _row(i, 360), count)
    for name, sent in FORMATS.items():
        reader = _reader(name, sent, count)
        rounds = [(plain[0](), reader[0]()) for _ in range(ROUNDS + 1)][1:]
        yield {
            "envelope": name,
            "message_bytes": reader[1],
            "messages_per_cpu_second": round(count / min(mine for _, mine in rounds)),
            "upsert_message_bytes": plain[1],
            "upserts_per_cpu_second": round(count / min(other for other, _ in rounds)),
            "cpu_ratio_to_upserts": round(float(np.median([mine / other for other, mine in rounds])), 2),
        }


def _reader(name: str, sent: Sent, count: int) -> tuple[Callable[[], float], int]:
    """What decodes the messages and tells the CPU-seconds, and their mean length."""
    values = [json.dumps(sent(i), separators=(",", ":")).encode() for i in range(count)]
    length = np.array([len(value) for value in values], np.int64)
    offset, nothing = np.arange(count, dtype=np.int64), np.full(count, -1, np.int64)
    data, at = np.frombuffer(b"".join(values), np.uint8), np.cumsum(length) - length
    batch = MessageBatch("t", 0, 0, count, data, offset, offset, np.zeros_like(offset), nothing, at, length)
    columns = {column: declared_type(kind) for column, kind in COLUMNS.items()}
    spec = ENCODINGS["json"]
    encoding = spec.open(spec.options(framing="plain"), None)
    route = Route(table="t", key=("id",), sources=(TopicPartition("t", 0),), columns=columns)
    decoder = TopicDecoder(encoding, ENVELOPES[name].open(), "t", route)

    def decode() -> float:
        cpu = time.process_time()
        done = decoder.decode(batch)
        cpu = time.process_time() - cpu
        if done.letters or done.read != count:
            raise SystemExit(f"{name}: a message is no change: the figures mean nothing")
        return cpu

    return decode, round(float(length.mean()))
