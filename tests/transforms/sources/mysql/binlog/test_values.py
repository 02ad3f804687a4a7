"""Values of all types as a real server writes them to its binlog, beside its own SELECT of the same rows."""

import random

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from support.binlog_events import written
from support.binlog_values import Kind, kinds_of
from support.mysql_server import DatabaseServer, server

from millrace.transforms.sources.mysql.binlog.columns import struct_of

ROWS = 60
MODE = "SET sql_mode = 'ALLOW_INVALID_DATES,NO_BACKSLASH_ESCAPES', time_zone = '+00:00'"


def written_and_read(database: DatabaseServer, kinds: list[Kind], seed: int):
    """By column our values as the server would print them, and what it printed."""
    some = random.Random(seed)
    name = f"types_{database.name}"
    database.sql(f"CREATE DATABASE IF NOT EXISTS {name}")
    with database.connect(database=name, charset="utf8mb4") as con, con.cursor() as cursor:
        cursor.execute(MODE)
        cursor.execute("DROP TABLE IF EXISTS t")
        columns = ", ".join(f"c{i} {kind.sql}" for i, kind in enumerate(kinds))
        cursor.execute(f"CREATE TABLE t (id INT PRIMARY KEY, {columns}) CHARACTER SET utf8mb4")
        cursor.execute("FLUSH BINARY LOGS")
        for row in range(ROWS):
            values = [kind.make(some) if some.random() > 0.1 else None for kind in kinds]
            places = [
                kind.place if kind.place else "NULL" if value is None else value
                for kind, value in zip(kinds, values, strict=True)
            ]
            given = [value for kind, value in zip(kinds, values, strict=True) if kind.place]
            cursor.execute(f"INSERT INTO t VALUES ({row}, {', '.join(places)})", given)
        cursor.execute(
            f"SELECT {', '.join(kind.read.format(f'c{i}') for i, kind in enumerate(kinds))} FROM t ORDER BY id"
        )
        wanted = list(zip(*cursor.fetchall(), strict=True))
    found = written(database)
    table, rows = found.rows("t")
    struct = struct_of(found.events.data, rows.after, table)
    ours = []
    for i, kind in enumerate(kinds):
        values = struct.field(f"c{i}")
        beside = struct.type.get_field_index(f"c{i}__text")
        texts = struct.field(beside).to_pylist() if beside >= 0 else [None] * len(values)
        pairs = zip(values, texts, strict=True)
        ours.append([kind.ours(value) if value.is_valid else _beside(text) for value, text in pairs])
    return ours, wanted


def _beside(text: str | None) -> str | None:
    return text if text is None else text.replace("T", " ").removesuffix("Z")


@pytest.mark.parametrize("kind", ["mysql", "mariadb"])
@given(seed=st.integers(0, 2**32))
@settings(max_examples=2, database=None, phases=(Phase.explicit, Phase.generate))
def test_each_value_is_the_one_that_the_server_selects(kind, seed):
    database = server(kind)
    kinds = kinds_of(kind)
    ours, wanted = written_and_read(database, kinds, seed)
    for column, values, expected in zip(kinds, ours, wanted, strict=True):
        expected = [one.decode() if isinstance(one, bytes) else one for one in expected]
        assert values == expected, column.sql
