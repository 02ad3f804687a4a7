"""The made-up orders table: its rows, and their Avro bytes put together from pieces that are encoded once."""

import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, Protocol

SCHEMAS: Final = Path(__file__).parent / "schemas"
STATUSES: Final = ("new", "paid", "packed", "sent", "returned")
NOTES: Final = (None, None, None, "ring twice", "leave at the door", "Grüße aus Köln", "注意", "")
NAMES: Final = ("Ada", "Émile", "Grace", "Jürgen", "Lin", "Mary", "Søren", "Yuki", "Zoë", "Ömer")
CUSTOMERS: Final = tuple(f"{name} {number}" for name in NAMES for number in range(100))
EPOCH: Final = datetime(1970, 1, 1)
BEGIN_MS: Final = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp() * 1000)
FIRST_LSN: Final = 0x1_0000_0000
LSN_STEP: Final = 64
CHANGES_PER_COMMIT: Final = 4

Op = Literal["c", "u", "d"]


class OrderRow(NamedTuple):
    """A row; `customer`, `status` and `note` are numbers in the lists above, `amount` is in cents."""

    id: int
    customer: int
    status: int
    quantity: int
    amount: int
    note: int
    updated_at: int

    def values(self) -> dict[str, Any]:
        """The row as a table holds it; `updated_at` is without a zone."""
        return {
            "id": self.id,
            "customer": CUSTOMERS[self.customer],
            "status": STATUSES[self.status],
            "quantity": self.quantity,
            "amount": Decimal(self.amount).scaleb(-2),
            "note": NOTES[self.note],
            "updated_at": EPOCH + timedelta(microseconds=self.updated_at),
        }


def random_row(key: int, clock: int, chance: random.Random) -> OrderRow:
    """Any row; the amount may be negative."""
    draw = chance.random()
    return OrderRow(
        key,
        int(draw * len(CUSTOMERS)),
        int(draw * 7919) % len(STATUSES),
        int(draw * 104_729) % 100,
        int(draw * 1_299_709) - 100_000,
        int(draw * 15_485_863) % len(NOTES),
        (BEGIN_MS + clock) * 1000 + int(draw * 1000),
    )


class MessageEncoder(Protocol):
    """Makes messages of rows. With `tombstones` one follows a delete, and a key change is a delete and an insert."""

    @property
    def tombstones(self) -> bool:
        """Whether a null value follows a delete."""

    def key(self, key: int) -> bytes:
        """The message key of a row."""

    def row(self, row: OrderRow) -> bytes:
        """A message value that is the row alone."""

    def envelope(self, op: Op, before: OrderRow | None, after: OrderRow | None, place: tuple[int, int]) -> bytes:
        """A message value that says what happened; `place` is the number of the change, and the event inside it."""


class Encoder:
    """Rows and envelopes in the Confluent wire format, for the schemas in `schemas/workload`."""

    tombstones = True

    def __init__(self, key_id: int, value_id: int) -> None:
        self._key_head = b"\x00" + key_id.to_bytes(4, "big")
        self._value_head = b"\x00" + value_id.to_bytes(4, "big")
        self._customers = [text(name) for name in CUSTOMERS]
        self._statuses = [text(status) for status in STATUSES]
        self._notes = [b"\x00" if note is None else b"\x02" + text(note) for note in NOTES]
        self._numbers = [long(number) for number in range(100)]
        self._source_head = text("3.3.1.Final") + text("postgresql") + text("shop")
        self._source_table = text("public") + text("orders")
        self._database = text("shop") + b"\x02"

    def key(self, key: int) -> bytes:
        """The message key of a row."""
        return self._key_head + long(key)

    def row(self, row: OrderRow) -> bytes:
        """A message value in the format `upsert`."""
        return self._value_head + self._datum(row)

    def envelope(self, op: Op, before: OrderRow | None, after: OrderRow | None, place: tuple[int, int]) -> bytes:
        """A message value in the format `debezium`; `place` is the number of the change, and the event inside it."""
        clock, event = place
        lsn = FIRST_LSN + clock * LSN_STEP + event
        commit = FIRST_LSN + clock // CHANGES_PER_COMMIT * CHANGES_PER_COMMIT * LSN_STEP - 1
        time = long(BEGIN_MS + clock)
        return b"".join(
            (
                self._value_head,
                b"\x00" if before is None else b"\x02" + self._datum(before),
                b"\x00" if after is None else b"\x02" + self._datum(after),
                self._source_head,
                time,
                self._database,
                text(f'["{commit}","{lsn}"]'),
                self._source_table,
                b"\x02",
                long(clock // CHANGES_PER_COMMIT),
                b"\x02",
                long(lsn),
                b"\x02",
                op.encode(),
                b"\x02",
                time,
            )
        )

    def _datum(self, row: OrderRow) -> bytes:
        amount = row.amount.to_bytes((row.amount + (row.amount < 0)).bit_length() // 8 + 1, "big", signed=True)
        return b"".join(
            (
                long(row.id),
                self._customers[row.customer],
                self._statuses[row.status],
                self._numbers[row.quantity],
                self._numbers[len(amount)],
                amount,
                self._notes[row.note],
                long(row.updated_at),
            )
        )


def long(number: int) -> bytes:
    """Avro's variable-length zigzag number, for numbers that are not negative."""
    number <<= 1
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def text(value: str) -> bytes:
    """An Avro string."""
    data = value.encode()
    return long(len(data)) + data
