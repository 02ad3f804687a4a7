"""`kafka_to_postgres` beside `executemany`: the same rows into one Postgres, a cluster of its own with fsync on."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.compute as pc

from millrace.schemas.merging.newest_by_key import newest_changes
from millrace.schemas.model.change import DELETE, OP, POSITION

sys.path.append(str(Path(__file__).parents[1] / "tests"))

from support.postgres_server import PostgresServer, missing

COLUMNS = ("id", "customer", "quantity", "amount", "updated_at")
BLOCKS_A_COMMIT = 64
TABLE = (
    "CREATE TABLE {schema}.orders (id bigint PRIMARY KEY, customer text, quantity integer, amount numeric(12,2), "
    "updated_at timestamp, position bytea)"
)
UPSERT = (
    "INSERT INTO {schema}.orders VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT (id) DO UPDATE SET customer = "
    "excluded.customer, quantity = excluded.quantity, amount = excluded.amount, updated_at = excluded.updated_at, "
    "position = excluded.position WHERE orders.position < excluded.position"
)
DELETED = "DELETE FROM {schema}.orders WHERE id = %s AND position < %s"


@contextmanager
def postgres() -> Iterator[PostgresServer | None]:
    """A server with fsync on and 256 MB of its own memory; None, and why on stderr, where there is none to be had."""
    reason = missing()
    if reason is not None:
        print(f"no figures of Postgres: {reason}", file=sys.stderr)
        yield None
        return
    server = PostgresServer(fsync="on", shared_buffers="256MB", max_wal_size="4GB")
    try:
        yield server
    finally:
        server.close()


def fresh_schema(server: PostgresServer, name: str) -> str:
    """An empty schema; the job file's target for it."""
    server.sql(f"DROP SCHEMA IF EXISTS {name} CASCADE")
    server.sql(f"CREATE SCHEMA {name} AUTHORIZATION millrace")
    return f'{{type: postgres, dsn: "{server.job_dsn()}", schema: {name}}}'


def same_rows(server: PostgresServer, left: str, right: str) -> bool:
    """Whether the tables `orders` of two schemas hold the same rows."""
    names = ", ".join(COLUMNS)
    pairs = ((left, right), (right, left))
    queries = (
        f"SELECT count(*) FROM (SELECT {names} FROM {x}.orders EXCEPT ALL SELECT {names} FROM {y}.orders) e"
        for x, y in pairs
    )
    return all(server.sql(query) == [(0,)] for query in queries)


def executemany(arguments: dict[str, Any], changes: Callable[[], list[pa.RecordBatch]]) -> Callable[[], int]:
    """The peer: Millrace's own decoding and merging, then `executemany` upserts and deletes, a commit a delta."""
    schema = arguments["schema"]

    def measured() -> int:
        held = changes()
        with psycopg.connect(arguments["dsn"]) as con:
            con.execute(TABLE.format(schema=schema).encode())
            for first in range(0, len(held), BLOCKS_A_COMMIT):
                rows = newest_changes("orders", ("id",), held[first : first + BLOCKS_A_COMMIT]).delta
                gone = pc.equal(rows.column(OP), DELETE)
                kept, dead = rows.filter(pc.invert(gone)), rows.filter(gone)
                with con.cursor() as cursor:
                    values = zip(*(kept.column(name).to_pylist() for name in (*COLUMNS, POSITION)), strict=True)
                    cursor.executemany(UPSERT.format(schema=schema).encode(), values)
                    keys = zip(*(dead.column(name).to_pylist() for name in ("id", POSITION)), strict=True)
                    cursor.executemany(DELETED.format(schema=schema).encode(), keys)
                con.commit()
        return int(arguments["changes"])

    return measured
