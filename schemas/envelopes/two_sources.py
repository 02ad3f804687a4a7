"""Which sources the changes of a block are of, and their order where clocks decide between sources."""

from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..model.source_mark import named_source
from .decode_context import DecodeContext
from .envelope import NOTHING, Events

TIMELESS: Final = "the source block holds no ts_ms, which on_two_sources: newest_time compares"


def sources_of(context: DecodeContext, events: Events) -> set[str]:
    """Positions of all changes of one connector can be compared; without positions, those of one topic can."""
    if events.order is None or not events.one_log:
        return {f"the topic {context.messages.topic}"}
    if events.connector is None:
        return {named_source("")}
    names = {named_source(name or "") for name in events.connector.dictionary.to_pylist()}
    return names | {named_source("")} if events.connector.null_count else names


def timed(context: DecodeContext, rows: NDArray[np.int64], events: Events) -> tuple[Events, NDArray[np.uint64] | None]:
    """The events as times order them, where the job says so, and the first number of their positions, None for 0.

    By the sources' clocks (`on_two_sources: newest_time`) it is the time of the change. A row of a snapshot does not
    say when it was written: it is older than all that was streamed, and the one read later is the newer.
    """
    unplaced = np.zeros(len(rows), np.bool_)
    if context.by_time:
        return replace(events, order=context.moment(rows), placed=unplaced, snapshot=None, marks=None), None
    if not context.by_clock:
        return events, None
    time = np.full(len(rows), -1, np.int64) if events.time is None else events.time
    copied = unplaced if events.copied is None else events.copied
    known, zeros = np.maximum(time, 0).astype(np.uint64), np.zeros(len(rows), np.uint64)
    commit, inner = events.order or (zeros, zeros)
    order = np.where(copied, known, commit), np.where(copied, zeros, inner)
    timeless = ((time < 0) & ~copied & (events.what != NOTHING), TIMELESS)
    events = replace(events, order=order, placed=unplaced, snapshot=None, wrong=(*events.wrong, timeless))
    return events, np.where(copied, zeros, np.maximum(known, np.uint64(1)))
