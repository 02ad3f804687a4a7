"""Text in every character set of a server: all characters that it has, as the server itself converts them."""

import pytest
from support.binlog_events import written
from support.mysql_server import server

from millrace.transforms.sources.mysql.binlog.charsets import charset_of
from millrace.transforms.sources.mysql.binlog.columns import struct_of

A_ROW = 250
CHARACTERS = "".join(chr(code) for code in range(0x10000) if not 0xD800 <= code < 0xE000)
NOT_COLUMNS = ("binary", "filename")
CODES = "SELECT ID, CHARACTER_SET_NAME FROM information_schema."
COLLATIONS = {"mysql": f"{CODES}COLLATIONS", "mariadb": f"{CODES}COLLATION_CHARACTER_SET_APPLICABILITY"}


@pytest.mark.parametrize("kind", COLLATIONS)
def test_the_set_of_each_collation_is_known(kind):
    wanted = dict(server(kind).sql(COLLATIONS[kind]))
    assert {number: charset_of(number) for number in wanted} == wanted


@pytest.mark.parametrize("kind", COLLATIONS)
def test_each_character_is_read_as_the_server_converts_it(kind):
    database = server(kind)
    names = sorted({name for _, name in database.sql(COLLATIONS[kind])} - set(NOT_COLUMNS))
    database.sql(f"DROP DATABASE IF EXISTS {kind}_sets")
    database.sql(f"CREATE DATABASE {kind}_sets")
    rows = [CHARACTERS[first : first + A_ROW] for first in range(0, len(CHARACTERS), A_ROW)]
    if kind == "mysql":
        rows.append("😀🏴\U0010ffff")
    with database.connect(database=f"{kind}_sets", charset="utf8mb4") as con, con.cursor() as cursor:
        cursor.execute("SET sql_mode = ''")
        columns = ", ".join(f"`{name}` TEXT CHARACTER SET {name}" for name in names)
        cursor.execute(f"CREATE TABLE texts (id INT PRIMARY KEY, {columns}) ROW_FORMAT=DYNAMIC")
        cursor.execute("FLUSH BINARY LOGS")
        marks = ", ".join(["%s"] * (len(names) + 1))
        cursor.executemany(
            f"INSERT IGNORE INTO texts VALUES ({marks})", [(i, *[text] * len(names)) for i, text in enumerate(rows)]
        )
        read = ", ".join(f"CAST(CONVERT(`{name}` USING utf8mb4) AS BINARY)" for name in names)
        cursor.execute(f"SELECT {read} FROM texts ORDER BY id")
        wanted = list(zip(*cursor.fetchall(), strict=True))
    found = written(database)
    table, decoded = found.rows("texts")
    struct = struct_of(found.events.data, decoded.after, table)
    assert [field.name for field in struct.type] == ["id", *names], "texts of bytes that are no character"
    different = {}
    for name, texts in zip(names, wanted, strict=True):
        pairs = zip(struct.field(name).to_pylist(), texts, strict=True)
        wrong = {
            f"{ours!r} {theirs!r}"
            for one, text in pairs
            for ours, theirs in zip(one, text.decode(), strict=False)
            if ours != theirs
        }
        if wrong:
            different[name] = sorted(wrong)
    assert not different
