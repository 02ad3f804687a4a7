"""Rows that move while a Postgres table is copied, and servers that are not the one that was read."""

import pytest
from support.postgres_server import PostgresServer, missing
from support.postgres_source import SourceDatabase

from millrace.pipelines.cli.verify import verify_job
from millrace.schemas.errors import LostOffsetsError
from millrace.transforms.proof.report import Outcome
from millrace.transforms.sources.postgres import copies
from millrace.transforms.sources.postgres.client import STREAM
from millrace.transforms.sources.postgres.reader import TableReader

QUERY = "SELECT id, name, body FROM orders ORDER BY 1"


@pytest.fixture
def shop(tmp_path, monkeypatch):
    """900 rows with a large value each, copied in chunks of 100 rows or 4 pages."""
    for name, value in (("FIRST_ROWS", 100), ("MOST_ROWS", 100), ("CHUNK_PAGES", 4)):
        monkeypatch.setattr(copies, name, value)
    found = SourceDatabase(tmp_path)
    found.sql("CREATE TABLE orders (id int PRIMARY KEY, name text, body text)")
    found.sql("ALTER TABLE orders ALTER body SET STORAGE EXTERNAL")
    found.sql("INSERT INTO orders SELECT i, repeat('n', 200), repeat(md5(i::text), 90) FROM generate_series(1, 900) i")
    yield found
    found.close()


def between_chunks(monkeypatch, shop, statements):
    """Behind each of the first chunks of the copy one of these; what is left of them."""
    read, left = TableReader.block, list(statements)

    def then(self, wait):
        block = read(self, wait)
        if left and self.next < STREAM:
            shop.sql(left.pop(0))
        return block

    monkeypatch.setattr(TableReader, "block", then)
    return left


MOVES = {
    "rows to pages that were read": [
        "DELETE FROM orders WHERE id <= 60",
        "VACUUM orders",
        "UPDATE orders SET name = 'moved' WHERE id > 840",
    ],
    "the table is written anew": ["DELETE FROM orders WHERE id % 2 = 1", "VACUUM FULL orders"],
    "keys backward": ["UPDATE orders SET id = -id WHERE id > 840"],
    "keys of rows that were deleted": [
        "DELETE FROM orders WHERE id <= 20; UPDATE orders SET id = id - 880 WHERE id > 880",
        "UPDATE orders SET id = 5000 WHERE id = 3; UPDATE orders SET id = 3 WHERE id = 870",
    ],
    "keys that move on later": [
        "UPDATE orders SET id = -id WHERE id > 850",
        "UPDATE orders SET id = id - 1000 WHERE id < -860; UPDATE orders SET body = 'short' WHERE id = -855",
    ],
}


@pytest.mark.parametrize("statements", MOVES.values(), ids=MOVES)
def test_rows_that_move_while_the_table_is_copied(shop, monkeypatch, statements):
    left = between_chunks(monkeypatch, shop, statements)
    job = shop.job("public.orders")
    shop.run(job)
    assert not left
    shop.sql("UPDATE orders SET name = 'after', id = id + 100000 WHERE id % 5 = 0")
    shop.run(job)
    assert shop.rows(QUERY) == shop.sql(QUERY)
    (report,) = verify_job(job)
    assert report.outcome is Outcome.EQUAL, (report.error, report.reason, report.examples)


def test_rows_that_move_between_the_look_and_the_log(shop, monkeypatch):
    """What is looked up has moved again meanwhile, and another row has come to its place."""
    from millrace.transforms.sources.postgres import moved_rows

    between_chunks(monkeypatch, shop, ["UPDATE orders SET id = -id WHERE id > 850"])
    looks, there = [], moved_rows._there

    def meanwhile(*asked):
        if not looks:
            shop.sql("UPDATE orders SET id = id - 1000 WHERE id < -850")
            shop.sql("UPDATE orders SET id = -851 WHERE id = 1; UPDATE orders SET id = -852 WHERE id = 840")
        looks.append(asked)
        return there(*asked)

    monkeypatch.setattr(moved_rows, "_there", meanwhile)
    job = shop.job("public.orders")
    for _ in range(3):
        assert not shop.run(job).failed
    assert looks and shop.rows(QUERY) == shop.sql(QUERY)


KEYS = {
    "texts": ('a text COLLATE "C"', "chr(97 + i % 26) || '''\\é' || i"),
    "numbers": ("a numeric", "i / 7.0"),
    "raw": ("a bytea", "decode(md5(i::text), 'hex')"),
    "moments": ("a timestamptz", "'2024-01-01'::timestamptz + i * interval '1 s 1 us'"),
    "choices": ("a mood", "(ARRAY['z', 'b', 'a'])[1 + i % 3]::mood"),
    "floats": ("a float8", "i / 7.0"),
    "padded": ("a char(9)", "'k' || i % 50"),
}


def test_chunks_by_every_kind_of_key(shop, monkeypatch):
    """Each chunk begins behind the key of the one before, of several columns too."""
    monkeypatch.setattr(copies, "FIRST_ROWS", 7)
    monkeypatch.setattr(copies, "MOST_ROWS", 7)
    shop.sql("CREATE TYPE mood AS ENUM ('z', 'b', 'a')")
    for name, (column, value) in KEYS.items():
        shop.sql(f"CREATE TABLE {name} ({column}, b int, v int, PRIMARY KEY (a, b))")
        shop.sql(f"INSERT INTO {name} SELECT {value}, i % 5 + 10 * (i / 5), i FROM generate_series(1, 60) i")
    shop.sql("CREATE TABLE parts (id int, day date, PRIMARY KEY (id, day)) PARTITION BY RANGE (day)")
    for year in (2024, 2025):
        shop.sql(f"CREATE TABLE p{year} PARTITION OF parts FOR VALUES FROM ('{year}-01-01') TO ('{year + 1}-01-01')")
    shop.sql("INSERT INTO parts SELECT i, '2024-06-01'::date + 6 * i FROM generate_series(1, 60) i")
    job = shop.job(", ".join(f"public.{name}" for name in (*KEYS, "parts")))
    summary = shop.run(job)
    assert {table.error for table in summary.tables.values()} == {None}
    assert {(report.outcome, report.expected) for report in verify_job(job)} == {(Outcome.EQUAL, 60)}


def test_a_table_without_a_key_that_is_written_anew_is_told(shop, monkeypatch):
    shop.sql("CREATE TABLE bare AS SELECT * FROM orders; ALTER TABLE bare REPLICA IDENTITY FULL")
    between_chunks(monkeypatch, shop, ["DELETE FROM bare WHERE id <= 400", "VACUUM FULL bare"])
    job = shop.job("public.bare", "tables: [{from: public.bare, key: [id]}]")
    with pytest.raises(LostOffsetsError, match=r"was written anew while it was copied"):
        shop.run(job)


def test_a_table_that_has_another_name_within_a_transaction(shop):
    job = shop.job("public.orders")
    shop.run(job)
    shop.sql("BEGIN; ALTER TABLE orders RENAME TO hidden; INSERT INTO hidden VALUES (-1, 'hidden', 'x'); "
             "DELETE FROM hidden WHERE id = 5; ALTER TABLE hidden RENAME TO orders; COMMIT")  # fmt: skip
    shop.run(job)
    assert shop.rows(QUERY) == shop.sql(QUERY)


@pytest.fixture
def own(tmp_path):
    """On a server that the test may stop."""
    if (reason := missing()) is not None:
        pytest.skip(reason)
    found = SourceDatabase(tmp_path, PostgresServer())
    found.sql("CREATE TABLE orders (id int PRIMARY KEY, name text, body text)")
    found.sql("INSERT INTO orders SELECT i, 'n', 'b' FROM generate_series(1, 300) i")
    yield found
    found.server.close()


def promote(shop):
    shop.server.stand_by()
    shop.server.sql("SELECT pg_promote()")


def test_a_standby_that_has_all_is_followed_when_it_is_promoted(own):
    job = own.job("public.orders")
    own.run(job)
    own.sql("UPDATE orders SET name = 'before' WHERE id < 10")
    promote(own)
    own.sql("UPDATE orders SET name = 'promoted' WHERE id BETWEEN 5 AND 20")
    own.run(job)
    assert own.rows(QUERY) == own.sql(QUERY)
    own.sql("DELETE FROM orders WHERE id = 7")
    own.run(job)
    assert own.rows(QUERY) == own.sql(QUERY)


def test_a_promoted_standby_that_lacks_what_was_read_is_an_error(own):
    """The same cluster by its number, and LSNs that grow past what was read; its changes are other ones."""
    job = own.job("public.orders")
    own.run(job)
    own.server.stop()
    own.server.keep()
    own.server.start()
    own.sql("UPDATE orders SET name = 'lost' WHERE id = 1")
    own.run(job)
    own.server.stop()
    own.server.put_back()
    own.server.start()
    promote(own)
    own.sql("UPDATE orders SET name = 'other' WHERE id = 2")
    for _ in range(3):
        own.sql("UPDATE orders SET body = repeat('w', 500); SELECT pg_switch_wal()")
    with pytest.raises(LostOffsetsError, match=r"which left timeline 1 at .* For a new copy"):
        own.run(job)
