"""`kafka_to_mysql` beside `executemany`: the same rows into one MariaDB, which writes each commit to the disk."""

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pymysql

from millrace.schemas.merging.newest_by_key import newest_changes
from millrace.schemas.model.change import DELETE, OP, POSITION

sys.path.append(str(Path(__file__).parents[1] / "tests"))

from support import mysql_target
from support.mysql_server import MariaDb

COLUMNS = ("id", "customer", "quantity", "amount", "updated_at")
BLOCKS_A_COMMIT = 64
PASSWORD = "MILLRACE_BENCH_PASSWORD"
TABLE = (
    "CREATE TABLE orders (id bigint PRIMARY KEY, customer longtext CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin, "
    "quantity int, amount decimal(12,2), updated_at datetime(6), position binary(32))"
)
KEPT = ", ".join(
    f"{name} = IF(VALUES(position) > position, VALUES({name}), {name})" for name in (*COLUMNS[1:], "position")
)
UPSERT = f"INSERT INTO orders VALUES (%s, %s, %s, %s, %s, %s) ON DUPLICATE KEY UPDATE {KEPT}"
DELETED = "DELETE FROM orders WHERE id = %s AND position < %s"


@contextmanager
def mariadb() -> Iterator[MariaDb | None]:
    """A server with 512 MB of its own memory that syncs its log; None, and why on stderr, where there is none."""
    reason = MariaDb.missing()
    if reason is not None:
        print(f"no figures of MySQL: {reason}", file=sys.stderr)
        yield None
        return
    durable = {"innodb_flush_log_at_trx_commit": "1", "innodb_flush_method": "fsync"}
    server = MariaDb(innodb_buffer_pool_size="512M", innodb_log_file_size="1G", **durable)
    mysql_target.make_user(server)
    try:
        yield server
    finally:
        server.close()


def fresh_database(server: MariaDb, name: str) -> dict[str, Any]:
    """An empty database; the sink's options for it."""
    server.sql(f"DROP DATABASE IF EXISTS `{name}`")
    return mysql_target.make_database(name, server)


def target(place: dict[str, Any]) -> str:
    """The job file's target."""
    os.environ[PASSWORD] = place["password"]
    return json.dumps({"type": "mysql", **place, "password": f"${{env:{PASSWORD}}}"})


def same_rows(server: MariaDb, left: str, right: str) -> bool:
    """Whether the tables `orders` of two databases hold the same rows."""
    same = " AND ".join(f"x.{name} <=> y.{name}" for name in COLUMNS)
    queries = (
        f"SELECT COUNT(*) FROM `{left}`.orders",
        f"SELECT COUNT(*) FROM `{right}`.orders",
        f"SELECT COUNT(*) FROM `{left}`.orders x JOIN `{right}`.orders y ON {same}",
    )
    return len({server.sql(query)[0][0] for query in queries}) == 1


def executemany(arguments: dict[str, Any], changes: Callable[[], list[pa.RecordBatch]]) -> Callable[[], int]:
    """The peer: Millrace's own decoding and merging, then `executemany` upserts and deletes, a commit a delta.

    PyMySQL makes of an INSERT for many rows statements of half a megabyte.
    """
    place = {**arguments["place"]}
    user, password = place.pop("username"), place.pop("password")

    def measured() -> int:
        held = changes()
        with pymysql.connect(**place, user=user, password=password, autocommit=False) as con, con.cursor() as cursor:
            cursor.execute(TABLE)
            for first in range(0, len(held), BLOCKS_A_COMMIT):
                rows = newest_changes("orders", ("id",), held[first : first + BLOCKS_A_COMMIT]).delta
                gone = pc.equal(rows.column(OP), DELETE)
                kept, dead = rows.filter(pc.invert(gone)), rows.filter(gone)
                values = zip(*(kept.column(name).to_pylist() for name in (*COLUMNS, POSITION)), strict=True)
                cursor.executemany(UPSERT, list(values))
                keys = zip(*(dead.column(name).to_pylist() for name in ("id", POSITION)), strict=True)
                cursor.executemany(DELETED, list(keys))
                con.commit()
        return int(arguments["changes"])

    return measured
