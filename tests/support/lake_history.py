"""A table of a lake with a history, and its rows as engines that are not ours give them (`SELECT`)."""

import random
from decimal import Decimal
from typing import Any

import pyarrow as pa

from support.targets import Change, Target, delete, upsert

SELECT = {
    "duckdb": "id, n, name, CAST(amount AS VARCHAR), epoch_us(made), flag, hex(raw)",
    "spark": "id, n, name, CAST(amount AS STRING), unix_micros(made), flag, hex(raw)",
}
SCHEMA = pa.schema(
    [
        ("id", pa.int64()),
        ("n", pa.int32()),
        ("name", pa.string()),
        ("amount", pa.decimal128(12, 2)),
        ("made", pa.timestamp("us", "UTC")),
        ("flag", pa.bool_()),
        ("raw", pa.binary()),
    ]
)


def history(target: Target) -> list[list]:
    """Twenty commits of inserts, updates, deletes and new columns; the rows in the end."""
    dice, held = random.Random(7), {}
    for at in range(1, 21):
        changes = {}
        for _ in range(40):
            key = dice.randrange(150)
            if dice.random() < 0.2:
                changes[key] = delete(at, id=key)
                continue
            changes[key] = upsert(
                at, id=key, n=dice.choice([None, at, -(2**31)]), name=f"näme {dice.randrange(9)}",
                amount=f"{dice.randrange(-(10**6), 10**6) / 100:.2f}", made=dice.randrange(10**15),
                flag=dice.choice([None, True, False]), raw=bytes([at, key]),
            )  # fmt: skip
        rows = [_typed(change) for change in changes.values()]
        target.apply(*rows)
        for change in rows:
            held.pop(change.row["id"], None)
            if not change.op:
                held[change.row["id"]] = change.row
    return sorted(expected(row) for row in held.values())


def _typed(change: Change) -> Change:
    if change.op:
        return change
    return upsert(change.at, **{**change.row, "amount": Decimal(change.row["amount"])})


def expected(row: dict[str, Any]) -> list:
    """A row as the readers give it."""
    return [row["id"], row["n"], row["name"], str(row["amount"]), row["made"], row["flag"], row["raw"].hex().upper()]
