"""Large transactions and large values of a Postgres source: what does not fit into memory waits in a file."""

import numpy as np
import pytest
from support.postgres_source import SourceDatabase

from millrace.pipelines.execution.job_parts import source_of
from millrace.transforms.sources import table_queues
from millrace.transforms.sources.postgres import changes, slot_stream, wal_stream
from millrace.transforms.sources.postgres.slot_stream import SlotStream


@pytest.fixture
def shop(tmp_path):
    found = SourceDatabase(tmp_path)
    found.sql("CREATE TABLE orders (id int PRIMARY KEY, name text); CREATE TABLE other (id int PRIMARY KEY, name text)")
    yield found
    found.close()


def assert_equal(shop, table):
    query = f"SELECT id, name FROM {table} ORDER BY id"
    assert shop.rows(query) == shop.sql(query)


def test_a_transaction_larger_than_what_waits_in_memory(shop, monkeypatch):
    """It waits in a file, is decoded in parts, and is committed whole, beside smaller ones and another table's."""
    monkeypatch.setattr(table_queues, "HELD_BYTES", 100_000)
    monkeypatch.setattr(table_queues, "BLOCK_BYTES", 200_000)
    monkeypatch.setattr(changes, "PART_RECORDS", 1_000)
    monkeypatch.setattr(slot_stream, "MESSAGES", 700)
    job = shop.job("public.orders, public.other", "tables: [{from: public.orders, on_truncate: apply}]")
    shop.run(job)
    shop.sql(
        "BEGIN; INSERT INTO orders SELECT i, repeat('x', 100) FROM generate_series(1, 9000) i; "
        "INSERT INTO other SELECT i, 'o' FROM generate_series(1, 50) i; "
        "UPDATE orders SET id = -id WHERE id % 3 = 0; DELETE FROM orders WHERE id % 7 = 0; COMMIT"
    )
    for number in range(30):
        shop.sql(f"INSERT INTO orders VALUES ({10_000 + number}, 's'); UPDATE other SET name = 'n{number}'")
    shop.sql("BEGIN; TRUNCATE orders; INSERT INTO orders SELECT i, 'after' FROM generate_series(1, 3000) i; COMMIT")
    done = shop.run(job)
    assert not done.failed
    assert_equal(shop, "orders")
    assert_equal(shop, "other")


def test_a_large_transaction_of_the_only_table(shop, monkeypatch):
    """More of it waits than a block has, before its end has come."""
    monkeypatch.setattr(wal_stream, "BLOCK_BYTES", 50_000)
    monkeypatch.setattr(slot_stream, "MESSAGES", 300)
    job = shop.job("public.orders")
    shop.run(job)
    shop.sql("INSERT INTO orders SELECT i, repeat('x', 100) FROM generate_series(1, 5000) i")
    shop.run(job)
    assert_equal(shop, "orders")


def test_the_compiled_reader_gives_the_bytes_that_libpq_gives_one_by_one(shop, monkeypatch):
    """Small messages, one larger than what a reading takes, and the end of the stream."""
    monkeypatch.setattr(slot_stream, "BYTES", 20_000)
    job = shop.job("public.orders")
    shop.run(job)
    shop.sql("INSERT INTO orders SELECT i, 'n' || i FROM generate_series(1, 2000) i")
    shop.sql("INSERT INTO orders VALUES (-1, repeat('x', 3000000)), (-2, 'y')")
    settings = source_of(job).settings
    both = []
    for functions in (True, False):
        stream = SlotStream(settings)
        assert stream._functions is not None
        if not functions:
            stream._functions = None
        data, sizes = [], []
        while sum(map(len, sizes)) < 2000 + 2 + 4 + 1:
            found = stream.messages()
            data.append(found.data.tobytes())
            sizes.append(np.diff(found.starts))
        stream.close()
        both.append((b"".join(data), np.concatenate(sizes).tolist()))
    assert both[0] == both[1] and max(both[0][1]) > 3_000_000
