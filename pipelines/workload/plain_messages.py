"""Rows of the made-up orders table as messages of JSON without a schema: what Maxwell and GoldenGate send."""

import json
from datetime import timedelta
from typing import Final, Literal

from .orders import EPOCH, Op, OrderRow

PlainForm = Literal["maxwell", "goldengate"]
STEP: Final = 64
"""How far a change is from the next in the source's log."""
SERVER: Final = 1_001
KINDS: Final = {"c": ("insert", "I"), "u": ("update", "U"), "d": ("delete", "D")}


class PlainEncoder:
    """Keeps the contract of `MessageEncoder`; `table` is the source's, as SCHEMA.TABLE."""

    tombstones = False

    def __init__(self, form: PlainForm, table: str) -> None:
        self._form, self._table = form, table

    def key(self, key: int) -> bytes:
        """The message key of a row."""
        if self._form == "goldengate":
            return str(key).encode()
        schema, _, table = self._table.rpartition(".")
        return json.dumps({"database": schema, "table": table, "pk.id": key}).encode()

    def row(self, row: OrderRow) -> bytes:
        """A row that is inserted."""
        return self.envelope("c", None, row, (1, 0))

    def envelope(self, op: Op, before: OrderRow | None, after: OrderRow | None, place: tuple[int, int]) -> bytes:
        """A change of a row; `place` is its number."""
        message = self._goldengate if self._form == "goldengate" else self._maxwell
        return ("{" + ",".join(message(op, before, after, place[0])) + "}").encode()

    def _maxwell(self, op: Op, before: OrderRow | None, after: OrderRow | None, clock: int) -> list[str]:
        schema, _, table = self._table.rpartition(".")
        row = after or before
        assert row is not None
        head = {"database": schema, "table": table, "type": KINDS[op][0], "ts": row.updated_at // 1_000_000}
        head |= {"xid": clock, "commit": True, "position": f"binlog.000001:{clock * STEP}", "server_id": SERVER}
        parts = [*_parts({**head, "primary_key_columns": ["id"]}), f'"data":{_object(_fields(row))}']
        if op == "u" and before is not None:
            new, old = _fields(row), _fields(before)
            parts.append(f'"old":{_object({name: part for name, part in old.items() if part != new[name]})}')
        return parts

    def _goldengate(self, op: Op, before: OrderRow | None, after: OrderRow | None, clock: int) -> list[str]:
        row = after or before
        assert row is not None
        head = {"table": self._table, "op_type": KINDS[op][1], "op_ts": _moment(row), "pos": f"{clock * STEP:020}"}
        images = [(name, image) for name, image in (("before", before), ("after", after)) if image is not None]
        parts = [f'"{name}":{_object(_fields(image))}' for name, image in images]
        return [*_parts({**head, "primary_keys": ["id"]}), *parts]


def _parts(head: dict[str, object]) -> list[str]:
    return [f'"{name}":{json.dumps(part)}' for name, part in head.items()]


def _object(fields: dict[str, str]) -> str:
    return "{" + ",".join(f'"{name}":{part}' for name, part in fields.items()) + "}"


def _fields(row: OrderRow) -> dict[str, str]:
    """The row's values as JSON; an amount has both digits behind its point."""
    values = row.values()
    return {
        name: json.dumps(_moment(row)) if name == "updated_at" else str(part) if name == "amount" else json.dumps(part)
        for name, part in values.items()
    }


def _moment(row: OrderRow) -> str:
    return (EPOCH + timedelta(microseconds=row.updated_at)).isoformat(" ", "microseconds")
