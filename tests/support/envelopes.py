"""A place for each envelope of the registry: what a source sends of a row's changes, and what is no change at all."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

Row = dict[str, Any]
Sent = tuple[bytes | None, bytes | None]
"""The key and the value of a message."""
TOPIC = "shop.orders"


def text(value: Any) -> bytes:
    return json.dumps(value).encode()


class EnvelopePlace(Protocol):
    """What the contract suite needs of an envelope: messages of a table with `id` (the key), `name` and `note`.

    `at` grows with the source's log. `columns` are declared, `key` is that of the job file. `positions`: messages tell
    where they stand in the source's log, so that a repeated one is known; else the last in the topic counts.
    """

    options: dict[str, Any]
    columns: dict[str, str]
    key: tuple[str, ...] | None
    positions: bool

    def insert(self, row: Row, at: int) -> list[Sent]: ...

    def update(self, before: Row, after: Row, at: int) -> list[Sent]:
        """The key may differ."""

    def delete(self, row: Row, at: int) -> list[Sent]: ...

    def snapshot(self, row: Row) -> list[Sent]:
        """A row that was copied, not changed; nothing where the format has no such rows."""

    def nothing(self) -> list[Sent]:
        """Messages that are no change of a row."""

    def wrong(self) -> list[Sent]:
        """Messages that are none of the format's, or say what cannot be: each is a dead letter."""


@dataclass
class DebeziumPlace:
    options: dict[str, Any] = field(default_factory=dict)
    columns: dict[str, str] = field(default_factory=dict)
    key: tuple[str, ...] | None = None
    positions: bool = True

    def _sent(self, op: str, before: Row | None, after: Row | None, at: int) -> Sent:
        source = {"name": "shop", "ts_ms": at, "server_id": 1, "file": "binlog.000007", "pos": at, "row": 0}
        key = text({"id": (after or before or {"id": None})["id"]})
        return key, text({"before": before, "after": after, "op": op, "source": source})

    def insert(self, row: Row, at: int) -> list[Sent]:
        return [self._sent("c", None, row, at)]

    def update(self, before: Row, after: Row, at: int) -> list[Sent]:
        if before["id"] != after["id"]:
            return [*self.delete(before, at), *self.insert(after, at)]
        return [self._sent("u", before, after, at)]

    def delete(self, row: Row, at: int) -> list[Sent]:
        return [self._sent("d", row, None, at), (text({"id": row["id"]}), None)]

    def snapshot(self, row: Row) -> list[Sent]:
        return [self._sent("r", None, row, 1)]

    def nothing(self) -> list[Sent]:
        return [self._sent("m", None, None, 1)]

    def wrong(self) -> list[Sent]:
        return [self._sent("x", None, {"id": 1, "name": "x", "note": None}, 1)]


@dataclass
class DocumentPlace:
    """Debezium's connector for MongoDB; a document is told by its `id`, and the row is what its text holds."""

    options: dict[str, Any] = field(default_factory=lambda: {"documents": True})
    columns: dict[str, str] = field(default_factory=dict)
    key: tuple[str, ...] | None = None
    positions: bool = True
    documents: bool = True

    def sent(self, op: str, row: Row, at: int, **more: Any) -> Sent:
        source = {"connector": "mongodb", "name": "shop", "ts_ms": 1_558_965_508_000 + at // 4 * 1000, "ord": at % 4}
        source |= {"snapshot": str(op == "r").lower(), "db": "shop", "collection": "orders", "wallTime": None}
        after = None if op == "d" else json.dumps({"_id": row["id"], "name": row["name"], "note": row["note"]})
        update = {"removedFields": None, "updatedFields": after, "truncatedArrays": None} if op == "u" else None
        value = {"before": None, "after": after, "updateDescription": update, "source": source, "op": op, "ts_ms": 1}
        return text({"id": str(row["id"])}), text(value | more)

    def insert(self, row: Row, at: int) -> list[Sent]:
        return [self.sent("c", row, at)]

    def update(self, before: Row, after: Row, at: int) -> list[Sent]:
        # The id of a document never changes.
        if before["id"] != after["id"]:
            return [*self.delete(before, at), *self.insert(after, at)]
        return [self.sent("u", after, at)]

    def delete(self, row: Row, at: int) -> list[Sent]:
        return [self.sent("d", row, at), (text({"id": str(row["id"])}), None)]

    def snapshot(self, row: Row) -> list[Sent]:
        return [self.sent("r", row, 1)]

    def nothing(self) -> list[Sent]:
        return [self.sent("m", {"id": 1, "name": None, "note": None}, 1)]

    def wrong(self) -> list[Sent]:
        row = {"id": 1, "name": "x", "note": None}
        return [
            self.sent("x", row, 1),
            self.sent("u", row, 1, after=None),
            self.sent("c", row, 1, after={"_id": 1}),
            self.sent("c", row, 1, source=5),
            (None, self.sent("c", row, 1)[1]),
        ]


@dataclass
class UpsertPlace:
    options: dict[str, Any] = field(default_factory=dict)
    columns: dict[str, str] = field(default_factory=dict)
    key: tuple[str, ...] | None = None
    positions: bool = False

    def insert(self, row: Row, at: int) -> list[Sent]:
        return [(text({"id": row["id"]}), text(row))]

    def update(self, before: Row, after: Row, at: int) -> list[Sent]:
        moved = self.delete(before, at) if before["id"] != after["id"] else []
        return [*moved, *self.insert(after, at)]

    def delete(self, row: Row, at: int) -> list[Sent]:
        return [(text({"id": row["id"]}), None)]

    def snapshot(self, row: Row) -> list[Sent]:
        return []

    def nothing(self) -> list[Sent]:
        return []

    def wrong(self) -> list[Sent]:
        return [(None, text({"id": 1, "name": "keyless", "note": None}))]


@dataclass
class MaxwellPlace:
    options: dict[str, Any] = field(default_factory=dict)
    columns: dict[str, str] = field(default_factory=dict)
    key: tuple[str, ...] | None = None
    positions: bool = True
    tells_key: bool = True

    def sent(self, kind: str, data: Any, at: int | None, **more: Any) -> Sent:
        value = {"database": "shop", "table": "orders", "type": kind, "ts": 1_477_053_217, "xid": 23_396, "data": data}
        if at is not None:
            # The last row of a transaction tells that it is, and not its number.
            value |= {"position": f"master.000006:{800_000 + at // 4 * 10}", "server_id": 23_042}
            value |= {"commit": True} if at % 4 == 3 else {"xoffset": at % 4}
        if self.tells_key:
            value["primary_key_columns"] = ["id"]
        return text({"database": "shop", "table": "orders", "pk.id": 1}), text(value | more)

    def insert(self, row: Row, at: int) -> list[Sent]:
        return [self.sent("insert", row, at)]

    def update(self, before: Row, after: Row, at: int) -> list[Sent]:
        return [
            self.sent("update", after, at, old={name: before[name] for name in before if before[name] != after[name]})
        ]

    def delete(self, row: Row, at: int) -> list[Sent]:
        return [self.sent("delete", row, at)]

    def snapshot(self, row: Row) -> list[Sent]:
        return [self.sent("bootstrap-start", {}, None), self.sent("bootstrap-insert", row, None)]

    def nothing(self) -> list[Sent]:
        ddl = {"type": "table-alter", "database": "shop", "table": "orders", "old": {"charset": "utf8mb4"}}
        return [
            self.sent("bootstrap-complete", {}, None),
            (None, text({**ddl, "def": {"columns": []}, "ts": 1_477_053_308_000, "sql": "alter table orders"})),
        ]

    def wrong(self) -> list[Sent]:
        row = {"id": 1, "name": "x", "note": None}
        return [
            self.sent("replace", row, 1),
            self.sent("insert", None, 1),
            self.sent("insert", row, 1, position="800000"),
            self.sent("insert", row, 1, position="master.7:99999999999999"),
            self.sent("insert", row, 1, position=5),
            self.sent("insert", row, 1, xoffset=1 << 24),
            self.sent("insert", {**row, "id": None}, 1),
            self.sent("insert", [row], 1),
            self.sent("insert", {**row, "id": {"nested": 1}}, 1),
            (text({"database": "shop", "table": "orders", "pk.id": 1}), None),
        ]


@dataclass
class CanalPlace:
    options: dict[str, Any] = field(default_factory=dict)
    columns: dict[str, str] = field(default_factory=lambda: {"id": "int64"})
    key: tuple[str, ...] | None = None
    positions: bool = False
    tells_key: bool = True

    def sent(self, kind: str, data: Any, **more: Any) -> Sent:
        rows = [_texts(row) for row in data] if isinstance(data, list) else data
        value = {"data": rows, "database": "shop", "es": 1_589_373_560_000, "id": 9, "isDdl": False, "old": None}
        value |= {"mysqlType": {"id": "int"}, "pkNames": ["id"] if self.tells_key else None, "sql": ""}
        return None, text(value | {"sqlType": {"id": 4}, "table": "orders", "ts": 1, "type": kind} | more)

    def several(self, deed: str, changes: Sequence[tuple[Row | None, Row]]) -> list[Sent]:
        """The changes of one statement in one message."""
        if deed == "delete":
            return [self.sent("DELETE", [old for old, _ in changes])]
        if deed == "insert":
            return [self.sent("INSERT", [row for _, row in changes])]
        old = [{name: part for name, part in (was or {}).items() if part != row[name]} for was, row in changes]
        return [self.sent("UPDATE", [row for _, row in changes], old=[_texts(one) for one in old])]

    def insert(self, row: Row, at: int) -> list[Sent]:
        return self.several("insert", [(None, row)])

    def update(self, before: Row, after: Row, at: int) -> list[Sent]:
        return self.several("update", [(before, after)])

    def delete(self, row: Row, at: int) -> list[Sent]:
        return self.several("delete", [(row, row)])

    def snapshot(self, row: Row) -> list[Sent]:
        return []

    def nothing(self) -> list[Sent]:
        return [
            self.sent("ALTER", None, isDdl=True, sql="alter table orders", pkNames=None, mysqlType=None),
            self.sent("QUERY", None, isDdl=True, table=""),
        ]

    def wrong(self) -> list[Sent]:
        row = {"id": 1, "name": "x", "note": None}
        return [
            self.sent("INSERT", []),
            self.sent("INSERT", None),
            self.sent("REPLACE", [row]),
            self.sent("INSERT", [row], table=None),
            self.sent("UPDATE", [row, row], old=[{}]),
            self.sent("INSERT", {"id": "1"}),
            self.sent("INSERT", [{**row, "id": None}]),
            self.sent("INSERT", [{**row, "id": "one"}]),
            self.sent("INSERT", [row, {**row, "id": "one"}]),
            self.sent("INSERT", [row], isDdl="no"),
            (None, None),
        ]


@dataclass
class DmsPlace:
    options: dict[str, Any] = field(default_factory=dict)
    columns: dict[str, str] = field(default_factory=dict)
    key: tuple[str, ...] | None = ("id",)
    positions: bool = False

    def sent(self, operation: str, data: Any, kind: str = "data", **more: Any) -> Sent:
        metadata = {"timestamp": "2024-07-29T00:58:44.895275Z", "record-type": kind, "operation": operation}
        metadata |= {"partition-key-type": "schema-table", "schema-name": "shop", "table-name": "orders"}
        # NULLs are left out, unless the endpoint is told to send them.
        row = {name: part for name, part in data.items() if part is not None} if isinstance(data, dict) else data
        return b"shop.orders", text({"data": row, "metadata": metadata | {"transaction-id": 1140}} | more)

    def insert(self, row: Row, at: int) -> list[Sent]:
        return [self.sent("insert", row)]

    def update(self, before: Row, after: Row, at: int) -> list[Sent]:
        image = {"id": before["id"]} if before["id"] != after["id"] else {}
        return [self.sent("update", after, **{self.options.get("before_image", "before-image"): image})]

    def delete(self, row: Row, at: int) -> list[Sent]:
        return [self.sent("delete", row)]

    def snapshot(self, row: Row) -> list[Sent]:
        return [self.sent("load", row)]

    def nothing(self) -> list[Sent]:
        table = {"table-def": {"columns": {"id": {"type": "INT32", "nullable": False}}, "primary-key": ["id"]}}
        return [self.sent("create-table", None, "control", control=table), self.sent("drop-table", None, "control")]

    def wrong(self) -> list[Sent]:
        row = {"id": 1, "name": "x", "note": None}
        return [
            self.sent("upsert", row),
            self.sent("insert", None),
            self.sent("insert", [row]),
            self.sent("insert", row, metadata=None),
            self.sent("insert", row, metadata={"operation": "insert"}),
            self.sent("insert", {"name": "x"}),
            self.sent("insert", {"id": "text"}),
            (b"shop.orders", None),
        ]


@dataclass
class GoldenGatePlace:
    options: dict[str, Any] = field(default_factory=dict)
    columns: dict[str, str] = field(default_factory=dict)
    key: tuple[str, ...] | None = None
    positions: bool = True
    tells_key: bool = True

    def sent(self, kind: str, before: Any, after: Any, at: int, **more: Any) -> Sent:
        value = {"table": "SHOP.ORDERS", "op_type": kind, "op_ts": "2015-11-05 18:45:36.000000"}
        value |= {"current_ts": "2016-10-05T10:15:51.267000", "pos": f"{7 + at // 10:010}{at % 10 * 1_000:010}"}
        value |= {"primary_keys": ["id"]} if self.tells_key else {}
        images = {name: part for name, part in (("before", before), ("after", after)) if part is not None}
        return b"1", text(value | images | more)

    def insert(self, row: Row, at: int) -> list[Sent]:
        return [self.sent("I", None, row, at)]

    def update(self, before: Row, after: Row, at: int) -> list[Sent]:
        return [self.sent("U", before, after, at)]

    def partial(self, before: Row, after: Row, at: int) -> list[Sent]:
        """An update that tells the key and what it changed."""
        names = [name for name in after if name == "id" or before[name] != after[name]]
        return [self.sent("U", {name: before[name] for name in names}, {name: after[name] for name in names}, at)]

    def delete(self, row: Row, at: int) -> list[Sent]:
        return [self.sent("D", {"id": row["id"]}, None, at)]

    def snapshot(self, row: Row) -> list[Sent]:
        return []

    def nothing(self) -> list[Sent]:
        return []

    def wrong(self) -> list[Sent]:
        row = {"id": 1, "name": "x", "note": None}
        return [
            self.sent("X", row, row, 1),
            self.sent("I", row, None, 1),
            self.sent("D", None, row, 1),
            self.sent("I", None, row, 1, pos="1"),
            self.sent("I", None, row, 1, pos="0000000000000000000x"),
            self.sent("I", None, row, 1, pos=5),
            self.sent("I", None, row, 1, table=None),
            self.sent("I", None, {"name": "x"}, 1),
            self.sent("U", {"id": 2}, {"id": 1, "name": "x"}, 1),
            self.sent("I", None, [row], 1),
            (b"1", None),
        ]


def _texts(row: Row) -> Row:
    return {name: None if part is None else str(part) for name, part in row.items()}


ENVELOPE_PLACES: dict[str, Sequence[EnvelopePlace]] = {
    "debezium": [DebeziumPlace(), DebeziumPlace(key=("id",)), DocumentPlace()],
    "upsert": [UpsertPlace()],
    "maxwell": [MaxwellPlace(), MaxwellPlace({"only": "shop.orders"}, key=("id",), tells_key=False)],
    "canal": [CanalPlace(), CanalPlace({"only": "sh*.orders"}, key=("id",), tells_key=False)],
    "goldengate": [GoldenGatePlace(), GoldenGatePlace({"only": "SHOP.*"}, key=("id",), tells_key=False)],
    "dms": [DmsPlace(), DmsPlace({"only": "shop.orders", "before_image": "before"})],
}
