"""A change log under test: rows as `mode: append` shapes them, and the places where logs can be kept."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import pyarrow as pa

from millrace.schemas.model.change import CHANGE_FIELDS, POSITION_TYPE, UPSERT
from millrace.schemas.model.ledger import Account, Commit
from millrace.schemas.model.modes import FIELDS, LOG_KEY, OFFSET, Mode
from millrace.schemas.model.position import ZERO
from millrace.schemas.model.table import Table
from millrace.transforms.sinks import Staged
from support.targets import PLACES, Target

ROW = (pa.field("id", pa.int64()), pa.field("v", pa.string()))
NOON = 1_795_564_800_000
"""2026-11-25 00:00 UTC in milliseconds."""
DAY = 86_400_000


@dataclass(frozen=True)
class Logged:
    """One change: where it stands, and the row."""

    offset: int
    row: dict[str, Any]
    word: str = "upsert"
    partition: int = 0
    topic: str = "orders"
    time: int | None = NOON
    source: int | None = None


def logged(offset: int, word: str = "upsert", **more: Any) -> Logged:
    """A change whose row is what `more` holds besides the fields of Logged."""
    places = {name: more.pop(name) for name in ("partition", "topic", "time", "source") if name in more}
    return Logged(offset, more, word, **places)


def log_schema(*columns: pa.Field) -> pa.Schema:
    return pa.schema([*(columns or ROW), *FIELDS[Mode.APPEND]])


def log_delta(schema: pa.Schema, changes: Sequence[Logged]) -> pa.RecordBatch:
    own = list(schema)[: -len(FIELDS[Mode.APPEND])]
    columns = [pa.array([change.row.get(part.name) for change in changes], part.type) for part in own]
    columns += [
        pa.array([change.word for change in changes], pa.string()),
        pa.array([change.topic for change in changes], pa.string()),
        pa.array([change.partition for change in changes], pa.int32()),
        pa.array([change.offset for change in changes], pa.int64()),
        pa.array([change.time for change in changes], pa.int64()).cast(pa.timestamp("ms", "UTC")),
        pa.nulls(len(changes), pa.list_(pa.string())),
        pa.array([UPSERT] * len(changes), pa.int8()),
        pa.array([ZERO[:24] + change.offset.to_bytes(8, "big") for change in changes], POSITION_TYPE),
        pa.array([change.partition if change.source is None else change.source for change in changes], pa.int32()),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=pa.schema([*schema, *CHANGE_FIELDS]))


@dataclass
class LogTarget(Target):
    """A sink, and one job's log in it."""

    key: tuple[str, ...] = LOG_KEY
    schema: pa.Schema = field(default_factory=log_schema)

    def put(self, *changes: Logged, schema: pa.Schema | None = None) -> Staged:
        table = Table(self.name, self.key, schema or self.schema)
        return self.sink.stage(table, log_delta(table.columns, changes))

    def log(self, *changes: Logged, first: int | None = None, stop: int | None = None, **more: Any) -> Account:
        """Commit changes of partition 0 as the range from the ledger's offset to behind the last of them."""
        staged = [self.put(*changes, schema=more.pop("schema", None))]
        first = (self.next or 0) if first is None else first
        stop = max(change.offset for change in changes) + 1 if stop is None else stop
        counted = sum(change.source is None or change.source >= 0 for change in changes)
        return self.commit(staged, Account(self.topic, 0, first, stop, read=counted), **more)

    def order(self, *accounts: Account, **more: Any) -> Commit:
        return Commit(self.job, accounts, **more)

    def offsets(self) -> list[int]:
        """Of every change that `scan` gives."""
        return sorted(self.read([OFFSET]).column(OFFSET).to_pylist()) if self.sink.tables() else []


def places(folder: Path, fixture: Callable[[str], Any]) -> dict[str, Callable[[], tuple[str, dict[str, Any]]]]:
    """Options of the sink by the place's name; a server is started by the first one that asks for it."""

    def bucket(server: Any) -> str:
        return str(server.create_bucket(f"log-{uuid4().hex[:12]}"))

    def s3() -> dict[str, Any]:
        server = fixture("s3")
        options = {"aws_access_key_id": server.key, "aws_secret_access_key": server.secret}
        options |= {"aws_endpoint_url": server.endpoint, "aws_region": server.region}
        return {"path": f"s3://{bucket(server)}/a/log", "storage_options": options}

    def gcs() -> dict[str, Any]:
        server = fixture("gcs")
        return {
            "path": f"gs://{bucket(server)}/a/log",
            "storage_options": {"endpoint": server.endpoint, "anonymous": "true"},
        }

    files = {
        "local": lambda: {"path": str(folder / "logs")},
        "avro": lambda: {"path": str(folder / "logs"), "format": "avro"},
        "s3": s3,
        "gcs": gcs,
        "hdfs": lambda: {"path": f"{fixture('hdfs')}/{uuid4().hex}/log"},
    }
    found = {kind: lambda kind=kind: (kind, PLACES[kind](folder)) for kind in PLACES if kind != "files"}
    found |= {f"files-{name}": lambda make=make: ("files", make()) for name, make in files.items()}
    return found
