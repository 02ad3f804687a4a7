"""Rows and tables as servers with other settings write them, and bytes that no server writes."""

import random
from dataclasses import replace

import numpy as np
import pytest
from support.binlog_events import Written, written
from support.binlog_values import kinds_of
from support.mysql_server import DatabaseServer, server

from millrace.schemas.errors import SourceError
from millrace.transforms.sources.mysql.binlog import event_types as types
from millrace.transforms.sources.mysql.binlog.columns import column_of, struct_of
from millrace.transforms.sources.mysql.binlog.events import Place, split
from millrace.transforms.sources.mysql.binlog.payloads import plain
from millrace.transforms.sources.mysql.binlog.rows import NULL, UNAVAILABLE, find_rows
from millrace.transforms.sources.mysql.binlog.table_map import table_map

SERVERS = ("mysql", "mariadb")
MUTATIONS = 400
MODE = "SET sql_mode = 'ALLOW_INVALID_DATES,NO_BACKSLASH_ESCAPES', time_zone = '+00:00'"


def placed(database: DatabaseServer, columns: str, *statements: str) -> Written:
    """What the log holds of these statements on a table `t`."""
    name = f"rows_{database.name}"
    database.sql(f"DROP DATABASE IF EXISTS {name}")
    database.sql(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
    with database.connect(database=name, charset="utf8mb4") as con, con.cursor() as cursor:
        cursor.execute(f"CREATE TABLE t ({columns})")
        cursor.execute("FLUSH BINARY LOGS")
        for statement in statements:
            cursor.execute(statement)
    return written(database)


@pytest.mark.parametrize("kind", SERVERS)
@pytest.mark.parametrize("image", ["MINIMAL", "NOBLOB"])
def test_what_an_image_leaves_out_is_unavailable_and_not_null(kind, image):
    found = placed(
        server(kind),
        "id INT PRIMARY KEY, a INT, b TEXT, c INT",
        f"SET binlog_row_image = '{image}'",
        "INSERT INTO t VALUES (1, NULL, 'text', 3)",
        "UPDATE t SET c = NULL",
        "DELETE FROM t",
    )
    _, rows = found.rows("t")
    assert bytes(rows.kind.astype("u1")) == b"IUD"
    minimal = image == "MINIMAL"
    there = [4, UNAVAILABLE, UNAVAILABLE, UNAVAILABLE] if minimal else [4, NULL, UNAVAILABLE, 4]
    assert rows.before.size.T.tolist()[1] == there
    assert rows.after.size.T.tolist()[1] == ([UNAVAILABLE] * 3 if minimal else [4, NULL, UNAVAILABLE]) + [NULL]
    assert rows.after.size.T.tolist()[2] == rows.before.size.T.tolist()[0] == [UNAVAILABLE] * 4


@pytest.mark.parametrize("kind", SERVERS)
def test_keys_names_sets_and_values_of_a_table_are_read(kind):
    found = placed(
        server(kind),
        "a INT UNSIGNED, `b ü` VARCHAR(20) CHARACTER SET latin1, c VARCHAR(30), d TEXT CHARACTER SET ucs2, "
        "e ENUM('x','ü') CHARACTER SET latin1, f SET('p','q'), g VARBINARY(10), h POINT, i INT, "
        "PRIMARY KEY (i, c(3), a)",
        "INSERT INTO t VALUES (1, 'ü', 'c', 'd', 'ü', 'p,q', 'g', NULL, 2)",
    )
    table, rows = found.rows("t")
    assert [column.name for column in table.columns] == ["a", "b ü", "c", "d", "e", "f", "g", "h", "i"]
    assert [column.unsigned for column in table.columns if column.unsigned is not None] == [True, False]
    sets = ["latin1", "utf8mb4", "ucs2", "latin1", "utf8mb4", "binary"]
    assert [column.charset for column in table.columns[1:7]] == sets
    assert table.columns[4].values == ("x", "ü") and table.columns[5].values == ("p", "q")
    assert (table.key, table.prefixed, table.missing) == ((8, 2, 0), (2,), ())
    assert table.columns[7].geometry == 1
    struct = struct_of(found.events.data, rows.after, table)
    assert struct[0].as_py() == dict(zip(struct.type.names, (1, "ü", "c", "d", "ü", "p,q", b"g", None, 2), strict=True))


@pytest.mark.parametrize(("kind", "setting"), [("mysql", "MINIMAL"), ("mariadb", "MINIMAL"), ("mariadb", "NO_LOG")])
def test_what_the_server_does_not_say_of_a_table_is_named(kind, setting):
    database = server(kind)
    database.sql(f"SET GLOBAL binlog_row_metadata = '{setting}'")
    try:
        found = placed(database, "id INT PRIMARY KEY, e ENUM('x'), v TEXT", "INSERT INTO t VALUES (1, 'x', 'v')")
    finally:
        database.sql("SET GLOBAL binlog_row_metadata = 'FULL'")
    table, rows = found.rows("t")
    said = "the columns' names, the values of ENUM and SET"
    if setting == "NO_LOG":
        said = "the columns' names, which numbers are unsigned, the character sets, the values of ENUM and SET"
    with pytest.raises(SourceError, match=f"the binlog does not say {said}; SET GLOBAL binlog_row_metadata = 'FULL'"):
        struct_of(found.events.data, rows.after, table)
    assert column_of(found.events.data, rows.after.at[0], rows.after.size[0], table.columns[0])[0].to_pylist() == [1]


def test_wide_tables_and_many_rows_keep_their_order():
    columns = ", ".join(f"c{i} INT" for i in range(300))
    rows = ", ".join(f"({row}, {', '.join(str(row * i) for i in range(300))})" for row in range(40))
    found = placed(server("mariadb"), f"id INT PRIMARY KEY, {columns}", f"INSERT INTO t VALUES {rows}", "DELETE FROM t")
    table, events = found.table("t")
    changes = find_rows(events, table)
    struct = struct_of(events.data, changes.before, table, np.flatnonzero(changes.kind == ord("D")))
    assert struct.field("c299").to_pylist() == [row * 299 for row in range(40)]
    assert (np.diff(changes.event) >= 0).all()


def test_a_row_that_ends_too_early_is_refused_with_its_place():
    found = placed(
        server("mysql"),
        "id INT PRIMARY KEY, a VARCHAR(9), b BLOB, c BIGINT",
        "INSERT INTO t VALUES (1, 'text', 'blob', 7)",
    )
    table, events = found.table("t")
    row = 1 + 4 + 5 + 6 + 8
    for cut in range(1, row):
        short = replace(events, stop=events.stop - cut)
        with pytest.raises(SourceError, match=r"^binlog binlog\.\d+, position \d+: the rows are not those"):
            find_rows(short, table)
    assert len(find_rows(replace(events, stop=events.stop - row), table)) == 0


def decoded(data: bytes, *, mariadb: bool) -> None:
    """Decode all that there is, each table's rows by the description before them."""
    for part in plain(split(data, Place("binlog.000001", 4), checksum=False)):
        numbers, known = part.tables(), {}
        for i in range(len(part)):
            if part.kind[i] == types.TABLE_MAP:
                known[numbers[i]] = table_map(part.body(i), mariadb=mariadb)
            elif numbers[i] in known:
                table = known[numbers[i]]
                rows = find_rows(part.only(np.array([i])), table)
                struct_of(part.data, rows.before, table)
                struct_of(part.data, rows.after, table)


@pytest.mark.parametrize("kind", SERVERS)
def test_mutated_bytes_are_read_or_refused(kind):
    some = random.Random(7)
    kinds = kinds_of(kind)
    columns = ", ".join(f"c{i} {column.sql}" for i, column in enumerate(kinds))
    made = [column.make(some) for column in kinds]
    places = [value if not column.place else column.place for column, value in zip(kinds, made, strict=True)]
    database = server(kind)
    found = placed(
        database, f"id INT PRIMARY KEY, {columns}", "SET sql_mode = 'ALLOW_INVALID_DATES,NO_BACKSLASH_ESCAPES'"
    )
    with database.connect(database=f"rows_{kind}", charset="utf8mb4") as con, con.cursor() as cursor:
        cursor.execute(MODE)
        given = [value for column, value in zip(kinds, made, strict=True) if column.place]
        cursor.execute(f"INSERT INTO t VALUES (1, {', '.join(places)})", given)
        cursor.execute("UPDATE t SET id = 2")
    found = written(database)
    chosen = np.flatnonzero(found.events.tables() >= 0)
    starts, stops = found.events.start[chosen] - types.HEADER, found.events.stop[chosen]
    spans = zip(starts, stops, strict=True)
    whole = [bytearray(found.events.data[start:stop].tobytes()) for start, stop in spans]
    for event in whole:
        event[9:13] = len(event).to_bytes(4, "little")
    decoded(b"".join(whole), mariadb=kind == "mariadb")
    refused = 0
    for _ in range(MUTATIONS):
        block = [bytearray(event) for event in whole]
        for _ in range(some.randint(1, 3)):
            event = some.choice(block)
            event[some.randrange(types.HEADER, len(event))] = some.choice((0, 1, 127, 128, 255, some.randrange(256)))
        if some.random() < 0.2:
            event = some.choice(block)
            del event[some.randrange(types.HEADER, len(event)) :]
            event[9:13] = len(event).to_bytes(4, "little")
        try:
            decoded(b"".join(block), mariadb=kind == "mariadb")
        except SourceError:
            refused += 1
    assert refused > MUTATIONS // 4
