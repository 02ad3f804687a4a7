"""The records of each table: of transactions that are unpacked in parts, and of statements that leave no row."""

from functools import partial

import numpy as np
import pytest
from support.binlog_events import event, written
from support.mysql_server import DatabaseServer, server

from millrace.transforms.sources.log_records import KIND, read_records
from millrace.transforms.sources.mysql import log_tables
from millrace.transforms.sources.mysql.binlog import event_types as types
from millrace.transforms.sources.mysql.binlog import payloads
from millrace.transforms.sources.mysql.binlog.events import Events, Place, split
from millrace.transforms.sources.mysql.log_tables import EMPTIED, LOST, ROWS, UNTOLD, LogTables, Stretch
from millrace.transforms.sources.mysql.statements import EMPTIES, LOSES, Effect, effects
from millrace.transforms.sources.mysql.transactions import transactions


def logged(database: DatabaseServer, *statements: str) -> Events:
    """What the server logs of these statements on a table `t` of 500 rows."""
    name = f"sorted_{database.name}"
    database.sql(f"DROP DATABASE IF EXISTS {name}")
    database.sql(f"CREATE DATABASE {name}")
    with database.connect(database=name) as con, con.cursor() as cursor:
        cursor.execute("CREATE TABLE t (id INT PRIMARY KEY, note TEXT)")
        cursor.executemany("INSERT INTO t VALUES (%s, %s)", [(i, f"note {i} " * 40) for i in range(500)])
        cursor.execute("FLUSH BINARY LOGS")
        for statement in statements:
            cursor.execute(statement)
    return written(database).stored


def kinds_of(events: Events, topic: str, *, mariadb: bool) -> list[int]:
    """The kinds of the records of a table."""
    nothing = np.zeros(len(events), np.int64)
    tables = LogTables({topic}, mariadb=mariadb)
    pieces = tables.sort(Stretch(events, nothing, nothing, transactions(events)))[topic]
    return read_records(b"".join(piece.data for piece in pieces))[1][:, KIND].tolist()


def test_a_table_is_known_in_each_part_of_a_transaction_that_is_unpacked(monkeypatch):
    database = server("mysql")
    events = logged(database, "SET binlog_transaction_compression = ON", "UPDATE t SET note = CONCAT(note, 'more')")
    whole = kinds_of(events, "sorted_mysql.t", mariadb=False)
    monkeypatch.setattr(payloads, "CHUNK", 1000)
    monkeypatch.setattr(log_tables, "plain", partial(payloads.plain, most=20_000))
    assert len(list(log_tables.plain(events))) > 5
    parts = kinds_of(events, "sorted_mysql.t", mariadb=False)
    assert parts.count(ROWS) == whole.count(ROWS) > 20


def test_a_table_that_is_replaced_leaves_no_row():
    events = logged(server("mariadb"), "DELETE FROM t WHERE id = 1", "CREATE OR REPLACE TABLE t (id INT PRIMARY KEY)")
    assert kinds_of(events, "sorted_mariadb.t", mariadb=True)[-2:] == [ROWS, EMPTIED]


@pytest.mark.parametrize("kind", UNTOLD)
def test_events_of_changes_that_the_log_does_not_hold_are_told_to_each_table(kind):
    block = event(types.XID, b"12345678") + event(kind, bytes(30)) + event(types.XID, b"12345678")
    events = split(block, Place("binlog.000001", 4), checksum=True)
    for topic in ("d.t", "d.other"):
        assert kinds_of(events, topic, mariadb=True) == [LOST]


@pytest.mark.parametrize(
    ("text", "how"),
    [
        ("create or replace table `t` (id INT)", EMPTIES),
        ("CREATE OR REPLACE TABLE d.t SELECT 1 AS id", EMPTIES),
        ("WITH a AS (SELECT 1) DELETE FROM t WHERE id IN (SELECT * FROM a)", LOSES),
    ],
)
def test_what_statements_do(text, how):
    assert list(effects("d", text, {"d.t"})) == [Effect("d.t", how)]
    assert not list(effects("d", text, {"d.other"}))
