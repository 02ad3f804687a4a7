"""Records that wait for their tables' readers: whole transactions come out, in memory or from a file."""

import numpy as np
import pytest

from millrace.transforms.sources import table_queues
from millrace.transforms.sources.log_records import OFFSET, SCHEMA, read_records, record
from millrace.transforms.sources.table_queues import Piece, TableQueues

S = record(SCHEMA, 0, -1, b"{}")


def piece(*offsets):
    return Piece(offsets[0], offsets[-1], S + b"".join(record(ord("I"), at, 0, b"x" * 100) for at in offsets))


def offsets_of(data):
    _, found = read_records(data)
    return found[found[:, 0] != SCHEMA][:, OFFSET].tolist() if data else []


@pytest.mark.parametrize("held", [64 << 20, 150, 0])
@pytest.mark.parametrize("block", [1, 300, 4 << 20])
def test_what_is_taken_piece_by_piece_is_what_was_added(monkeypatch, held, block):
    """Transactions of many sizes over many pieces: each offset once, in order, no transaction in two takings."""
    monkeypatch.setattr(table_queues, "HELD_BYTES", held)
    monkeypatch.setattr(table_queues, "BLOCK_BYTES", block)
    random = np.random.default_rng(7)
    offsets = np.sort(random.integers(100, 160, 400)).tolist()
    queues, pieces = TableQueues(), []
    queues.ask("t")
    while offsets:
        size = int(random.integers(1, 9))
        pieces.append(piece(*offsets[:size]))
        offsets = offsets[size:]
    first, found, edges = 100, [], []
    for number, one in enumerate(pieces):
        queues.add("t", one)
        # What the last piece ends with may go on in the next one.
        taken = queues.taken("t", first, 1 << 40, one.last) if number % 3 == 0 else None
        if taken is not None:
            first = taken[0]
            edges.append(first)
            found += offsets_of(taken[1])
            assert all(at < first for at in found)
    while (taken := queues.taken("t", first, 200, 200)) is not None:
        first = taken[0]
        found += offsets_of(taken[1])
        assert all(at < first for at in found)
    assert found == [at for one in pieces for at in offsets_of(one.data)]
    assert first == 200 and queues.size("t") == 0 and len(edges) > 5
    queues.close()


def test_an_open_transaction_is_not_taken():
    queues = TableQueues()
    queues.ask("t")
    queues.add("t", piece(5, 5, 9))
    reached, data = queues.taken("t", 0, 100, 6)
    assert (reached, offsets_of(data)) == (6, [5, 5])
    assert queues.taken("t", 6, 100, 6) is None
    queues.add("t", piece(9, 9))
    reached, data = queues.taken("t", 6, 100, 10)
    assert (reached, offsets_of(data)) == (10, [9, 9, 9])


def test_too_much_for_a_table_that_nobody_reads_is_thrown_away_and_known(monkeypatch):
    monkeypatch.setattr(table_queues, "WAITING_BYTES", 500)
    queues = TableQueues()
    for offset in range(10, 20):
        queues.add("idle", piece(offset))
    assert queues.served("idle") > 10 and queues.size("idle") < 500
    queues.ask("read")
    for offset in range(10, 20):
        queues.add("read", piece(offset))
    assert offsets_of(queues.taken("read", 0, 100, 20)[1]) == list(range(10, 20))


def test_what_a_reader_does_not_need_does_not_wait():
    """The stream may begin before the reader's place; one that comes later for an earlier place is told."""
    queues = TableQueues()
    queues.begin("t", 105)
    queues.add("t", piece(101, 104))
    assert queues.size("t") == 0 and queues.served("t") == 105
    queues.add("t", piece(103, 105, 106))
    reached, data = queues.taken("t", 105, 1 << 40, 107)
    assert reached == 107 and offsets_of(data) == [105, 106]
