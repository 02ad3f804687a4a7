"""Compressed transactions, rows and statements of real servers, and such as no server writes."""

import pytest
from support.binlog_events import event, written
from support.mysql_server import DatabaseServer, server

from millrace.schemas.errors import SourceError
from millrace.transforms.sources.mysql.binlog import event_types as types
from millrace.transforms.sources.mysql.binlog import payloads
from millrace.transforms.sources.mysql.binlog.columns import column_of
from millrace.transforms.sources.mysql.binlog.control import query
from millrace.transforms.sources.mysql.binlog.events import Place, split
from millrace.transforms.sources.mysql.binlog.payloads import plain
from millrace.transforms.sources.mysql.binlog.rows import find_rows

PLACE = Place("binlog.000001", 4)
ROWS = 2000


def changed(database: DatabaseServer, *settings: str) -> None:
    """A table of ROWS rows, of which half are updated and a few deleted, with these settings on."""
    name = f"packed_{database.name}"
    database.sql(f"DROP DATABASE IF EXISTS {name}")
    database.sql(f"CREATE DATABASE {name}")
    with database.connect(database=name, client_flag=1 << 16) as con, con.cursor() as cursor:
        cursor.execute("CREATE TABLE t (id INT PRIMARY KEY, note VARCHAR(200))")
        for setting in settings:
            cursor.execute(setting)
        cursor.execute("FLUSH BINARY LOGS")
        cursor.execute("BEGIN")
        cursor.executemany("INSERT INTO t VALUES (%s, %s)", [(i, f"note {i} " * 9) for i in range(ROWS)])
        cursor.execute("UPDATE t SET note = CONCAT('new ', id) WHERE id % 2 = 0")
        cursor.execute("DELETE FROM t WHERE id < 10")
        cursor.execute("COMMIT")


def texts_of(found, name: str = "t"):
    table, rows = found.rows(name)
    at, size = rows.after.at, rows.after.size
    ids, notes = (column_of(found.events.data, at[i], size[i], table.columns[i])[0].to_pylist() for i in (0, 1))
    return rows, ids, notes


def check(found) -> None:
    rows, ids, notes = texts_of(found)
    assert bytes(rows.kind.astype("u1")) == b"I" * ROWS + b"U" * (ROWS // 2) + b"D" * 10
    assert ids == [*range(ROWS), *range(0, ROWS, 2), *[None] * 10]
    assert notes[:ROWS] == [f"note {i} " * 9 for i in range(ROWS)]
    assert notes[ROWS:-10] == [f"new {i}" for i in range(0, ROWS, 2)]


def test_a_transaction_that_mysql_compressed_is_unpacked_in_parts(monkeypatch):
    database = server("mysql")
    changed(database, "SET binlog_transaction_compression = ON")
    found = written(database)
    assert len(found.stored.of_kind(types.TRANSACTION_PAYLOAD)) == 1
    assert not len(found.stored.of_kind(*types.ROWS))
    check(found)
    payload = found.stored.of_kind(types.TRANSACTION_PAYLOAD)[0]
    inner = found.events.of_kind(types.TABLE_MAP)
    assert set(found.events.next[inner]) == {found.stored.next[payload]}
    monkeypatch.setattr(payloads, "CHUNK", 1000)
    parts = list(plain(found.stored, most=20_000))
    assert len(parts) > 5 and max(len(part.data) for part in parts) < 40_000
    assert b"".join(part.data.tobytes() for part in parts) == found.events.data.tobytes()


def test_rows_and_statements_that_mariadb_compressed_are_unpacked():
    database = server("mariadb")
    database.sql("SET GLOBAL log_bin_compress = ON")
    database.sql("SET GLOBAL log_bin_compress_min_len = 10")
    try:
        changed(database)
        database.sql("CREATE TABLE packed_mariadb.other (id INT PRIMARY KEY, `ü` INT COMMENT 'a long statement')")
    finally:
        database.sql("SET GLOBAL log_bin_compress = OFF")
    found = written(database)
    assert set(found.stored.kind) >= {166, 167, 168, types.QUERY_COMPRESSED}
    check(found)
    statements = [query(found.events.body(int(i))) for i in found.events.of_kind(types.QUERY)]
    assert "`ü` INT COMMENT" in statements[-1].text


@pytest.mark.parametrize("kind", [types.TRANSACTION_PAYLOAD, *types.PLAIN_OF])
@pytest.mark.parametrize("body", [b"", b"\0" * 40, b"\2\1\0\0" + b"\x28\xb5\x2f\xfd" + b"\xff" * 30, bytes(range(60))])
def test_bytes_that_cannot_be_unpacked_are_refused_with_their_place(kind, body):
    events = split(event(types.XID, b"12345678") + event(kind, body), PLACE, checksum=True)
    with pytest.raises(SourceError, match=r"^binlog binlog.000001, position 35: "):
        list(plain(events))


def stored_payload(inner: bytes) -> bytes:
    """A TRANSACTION_PAYLOAD whose events are not compressed."""
    return b"\2\3" + b"\xfc\xff\0" + b"\0" + inner


def test_a_transaction_within_a_transaction_is_refused():
    inner = event(types.XID, b"12345678", checksum=False)
    (found,) = plain(split(event(types.TRANSACTION_PAYLOAD, stored_payload(inner)), PLACE, checksum=True))
    assert found.kind.tolist() == [types.XID] and found.body(0) == b"12345678"
    nested = event(types.TRANSACTION_PAYLOAD, stored_payload(inner), checksum=False)
    events = split(event(types.TRANSACTION_PAYLOAD, stored_payload(nested)), PLACE, checksum=True)
    with pytest.raises(SourceError, match="position 4: a transaction that was unpacked holds another"):
        list(plain(events))


def test_parts_of_json_values_are_refused_by_name():
    database = server("mysql")
    database.sql("DROP DATABASE IF EXISTS packed_mysql")
    database.sql("CREATE DATABASE packed_mysql")
    with database.connect(database="packed_mysql") as con, con.cursor() as cursor:
        cursor.execute("SET binlog_row_value_options = 'PARTIAL_JSON'")
        cursor.execute("CREATE TABLE t (id INT PRIMARY KEY, doc JSON)")
        cursor.execute("""INSERT INTO t VALUES (1, '{"a": 1, "b": "a long text that is not sent again"}')""")
        cursor.execute("FLUSH BINARY LOGS")
        cursor.execute("UPDATE t SET doc = JSON_SET(doc, '$.a', 2)")
        cursor.execute("INSERT INTO t VALUES (2, NULL)")
    found = written(database)
    table, rows = found.rows("t")
    assert len(rows) == 1
    numbers = found.events.tables()
    partial = found.events.of_kind(types.PARTIAL_UPDATE)
    assert numbers[partial].tolist() == numbers[found.events.of_kind(types.TABLE_MAP)][:1].tolist()
    with pytest.raises(SourceError, match=r"PARTIAL_UPDATE_ROWS.* is not read; SET GLOBAL binlog_row_value_options"):
        find_rows(found.events.only(partial), table)
