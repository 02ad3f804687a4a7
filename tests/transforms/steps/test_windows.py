"""Blocks cut by windows: contiguous pieces, each record in the window of the newest time up to it."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from support.record_batches import batch

from millrace.schemas.model.block import Block
from millrace.transforms.sources.kafka.record_batches import split
from millrace.transforms.sources.kafka.settings import KafkaSettings
from millrace.transforms.sources.kafka.source import KafkaSource
from millrace.transforms.steps.windows import Cut

times = st.lists(st.integers(0, 20_000), min_size=1, max_size=40)

KAFKA = KafkaSource(KafkaSettings("nowhere:1"))


def block_of(stamps, first=5, reached=None, gap=0, each=40):
    """A batch for `each` records, or fewer at the end."""
    parts = [stamps[at : at + each] for at in range(0, len(stamps), each)]
    data = b"".join(
        batch(first + each * number, [(stamp, b"k", b"v", []) for stamp in part]) for number, part in enumerate(parts)
    )
    return Block("t", 0, first, first + len(stamps) + gap, data, reached)


def offsets(piece):
    return split(piece)[0].offset.tolist()


def test_by_arrival_a_block_is_one_piece_in_the_window_in_which_it_was_read():
    block = block_of([1, 2, 3])
    assert list(Cut(every=2000, source=KAFKA).pieces(block, 13.7)) == [(12.0, block)]


@given(times, st.integers(0, 25_000), st.integers(-5_000, 20_000), st.integers(0, 3), st.integers(1, 40))
def test_by_event_time_pieces_cover_the_block_in_order(stamps, clock, before, gap, each):
    reached = max(before, min(max(stamps), clock))
    block = block_of(stamps, reached=reached, gap=gap, each=each)
    pieces = list(Cut(every=1000, source=KAFKA, by_event=True).pieces(block, before / 1000))
    assert [piece.first for _, piece in pieces] == [block.first, *(piece.stop for _, piece in pieces[:-1])]
    assert pieces[-1][1].stop == block.stop
    assert [offset for _, piece in pieces for offset in offsets(piece)] == offsets(block)
    assert not any(split(piece)[1] for _, piece in pieces)
    starts = [start for start, _ in pieces]
    assert starts == sorted(starts)
    assert starts[0] >= before // 1000 and starts[-1] == reached // 1000
    newest = np.maximum.accumulate(np.clip(stamps, before, reached)) // 1000
    assert [start for start, piece in pieces for _ in offsets(piece)] == newest.tolist()


@given(st.lists(st.integers(0, 20_000), min_size=9, max_size=40), st.integers(0, 2), st.integers(0, 70))
def test_a_corrupt_batch_is_one_letter_of_one_piece(stamps, number, byte):
    block = block_of(stamps, reached=20_000, each=len(stamps) // 3)
    at = [0]
    while at[-1] < len(block.data):
        at.append(at[-1] + 12 + int.from_bytes(block.data[at[-1] + 8 : at[-1] + 12], "big"))
    place = at[number] + byte
    broken = bytearray(block.data)
    broken[place] ^= 0x55
    block = Block("t", 0, block.first, block.stop, bytes(broken), 20_000)
    whole, letters = split(block)
    parts = [split(piece) for _, piece in Cut(every=1000, source=KAFKA, by_event=True).pieces(block, 0.0)]
    assert [offset for part, _ in parts for offset in part.offset.tolist()] == whole.offset.tolist()
    assert [letter for _, found in parts for letter in found] == letters


def test_a_late_record_goes_with_the_window_that_is_open():
    block = block_of([1500, 2500, 900, 2600], reached=2600)
    pieces = list(Cut(every=1000, source=KAFKA, by_event=True).pieces(block, 1.0))
    assert [(start, offsets(piece)) for start, piece in pieces] == [(1.0, [5]), (2.0, [6, 7, 8])]


def test_a_record_from_the_future_goes_no_further_than_its_partition_reached():
    pieces = list(Cut(every=1000, source=KAFKA, by_event=True).pieces(block_of([1500, 99_000], reached=2600), 1.0))
    assert [(start, offsets(piece)) for start, piece in pieces] == [(1.0, [5]), (2.0, [6])]
