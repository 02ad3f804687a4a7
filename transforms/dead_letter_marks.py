"""What became of dead letters: replayed, discarded, or read again; and the replay that is under way.

    <job>/marks/ID.json       letters of these offsets, written up to a moment, are done with
    <job>/replay.json         the letters that a replay is bringing in; it is there until they are marked

A replay is written down before the first table is committed. Each table's ledger then keeps its name in the commit of
the rows, so that the next one goes on where a killed one stopped: no letter is left out, and none counts twice.
"""

import json
import re
import uuid
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

import pyarrow as pa

from ..schemas.errors import JobError
from ..schemas.model.dead_letter import DeadLetter
from ..schemas.model.ledger import OffsetRange, TopicPartition
from ..schemas.model.stored_format import LETTER_MARKS
from .stores import Address, Store, open_store

MARKS: Final = "marks"
UNDER_WAY: Final = "replay.json"


class State(StrEnum):
    """Whether a dead letter still waits for somebody, or what became of it."""

    OPEN = "open"
    REPLAYED = "replayed"
    DISCARDED = "discarded"
    READ_AGAIN = "read again"


@dataclass(frozen=True, slots=True, kw_only=True)
class LetterMark:
    """The letters of these offsets, written until `until` (UTC), are in this state; `reason` is what a person said."""

    state: State
    ranges: tuple[OffsetRange, ...]
    reason: str = ""
    until: datetime = field(default_factory=lambda: datetime.now(UTC))
    id: str = field(default_factory=lambda: uuid.uuid4().hex)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayUnderWay:
    """The letters of a replay, written until `until`, and by table and partition (as text) the replay before it."""

    ranges: tuple[OffsetRange, ...]
    before: Mapping[str, Mapping[str, str]]
    until: datetime = field(default_factory=lambda: datetime.now(UTC))
    id: str = field(default_factory=lambda: uuid.uuid4().hex)

    def holds(self, letter: DeadLetter, written_at: datetime) -> bool:
        """Whether it brings in this letter."""
        return written_at <= self.until and Places(self.ranges).hold(letter)


class Places:
    """Offset ranges that are asked for single offsets."""

    def __init__(self, ranges: Iterable[OffsetRange]) -> None:
        self._by_source: dict[TopicPartition, list[tuple[int, int]]] = {}
        for part in sorted(ranges):
            self._by_source.setdefault(part.source, []).append((part.first, part.stop))

    def hold(self, letter: DeadLetter) -> bool:
        """Whether the letter's offset is in one of them."""
        return self.hold_offset(TopicPartition(letter.topic, letter.partition), letter.offset)

    def hold_offset(self, source: TopicPartition, offset: int) -> bool:
        """Whether this offset is."""
        spans = self._by_source.get(source, [])
        at = bisect_right(spans, (offset, 1 << 63)) - 1
        return at >= 0 and offset < spans[at][1]


class LetterMarks:
    """All marks of a job; of several that cover a letter the last one counts."""

    def __init__(self, marks: Sequence[LetterMark]) -> None:
        newest_first = sorted(marks, key=lambda mark: mark.until, reverse=True)
        self._marks = [(mark, Places(mark.ranges)) for mark in newest_first]

    def of(self, letter: DeadLetter, written_at: datetime) -> LetterMark | None:
        """The mark that says what became of it; None while it is open."""
        found = (mark for mark, places in self._marks if written_at <= mark.until and places.hold(letter))
        return next(found, None)

    def discarded(self, source: TopicPartition, offset: int) -> bool:
        """Whether a person said that the message there does not count, and it was not read again since."""
        marks = (mark.state for mark, places in self._marks if places.hold_offset(source, offset))
        return next(marks, State.OPEN) is State.DISCARDED

    def any_discarded(self) -> bool:
        """Whether there is such a message."""
        return any(mark.state is State.DISCARDED for mark, _ in self._marks)


def folder_of(job: str) -> str:
    """The folder of a job, below the place of dead letters: several jobs may share that."""
    return re.sub(r"[^\w.-]", "_", job)


def places_of(letters: Iterable[DeadLetter]) -> tuple[OffsetRange, ...]:
    """The offsets of these letters, those that follow one another as one range."""
    ranges: list[OffsetRange] = []
    for topic, partition, offset in sorted({(one.topic, one.partition, one.offset) for one in letters}):
        last = ranges[-1] if ranges else None
        if last is not None and last.source == TopicPartition(topic, partition) and last.stop == offset:
            ranges[-1] = OffsetRange(topic, partition, last.first, offset + 1)
        else:
            ranges.append(OffsetRange(topic, partition, offset, offset + 1))
    return tuple(ranges)


def read_marks(address: Address, job: str) -> LetterMarks:
    """All marks of a job. Raises SinkError; JobError for a mark that is damaged."""
    store = open_store(address.resolved())
    names = [name for name in store.names(f"{folder_of(job)}/{MARKS}") if name.endswith(".json")]
    return LetterMarks([mark for name in names if (mark := _mark(store, name)) is not None])


def write_mark(address: Address, job: str, mark: LetterMark) -> None:
    """Keep a mark; it is durable when this returns. The same one again changes nothing. Raises SinkError."""
    content = {**_content(mark.id, mark.until, mark.ranges), "state": str(mark.state), "reason": mark.reason}
    name = f"{folder_of(job)}/{MARKS}/{mark.until:%Y%m%dT%H%M%S%fZ}-{mark.id}.json"
    open_store(address.resolved()).create(name, _json(content))


def begin_replay(address: Address, job: str, replay: ReplayUnderWay) -> None:
    """Write down what the replay brings in. Raises JobError where another one is under way, SinkError."""
    content = {**_content(replay.id, replay.until, replay.ranges), "before": replay.before}
    if not open_store(address.resolved()).create(f"{folder_of(job)}/{UNDER_WAY}", _json(content)):
        raise JobError(f"another replay of the dead letters of the job {job} is under way: wait for it, and run again")


def replay_under_way(address: Address, job: str) -> ReplayUnderWay | None:
    """The replay that is under way, or was broken off. Raises SinkError, JobError."""
    store = open_store(address.resolved())
    name = f"{folder_of(job)}/{UNDER_WAY}"
    found = _read(store, name)
    if found is None:
        return None
    with_before = {table: dict(marks) for table, marks in found["before"].items()}
    return ReplayUnderWay(ranges=_ranges(found), before=with_before, until=_moment(found), id=found["id"])


def end_replay(address: Address, job: str) -> None:
    """The letters are marked: the next replay may begin. Raises SinkError."""
    open_store(address.resolved()).delete(f"{folder_of(job)}/{UNDER_WAY}")


def _content(id: str, until: datetime, ranges: Sequence[OffsetRange]) -> dict[str, Any]:
    spans = [[part.topic, part.partition, part.first, part.stop] for part in ranges]
    return {"format": LETTER_MARKS.newest, "id": id, "until": until.isoformat(), "offsets": spans}


def _json(content: Mapping[str, Any]) -> pa.Buffer:
    return pa.py_buffer(json.dumps(content, indent=2).encode(errors="surrogatepass"))


def _mark(store: Store, name: str) -> LetterMark | None:
    found = _read(store, name)
    if found is None:
        return None
    state = State(found["state"])
    return LetterMark(state=state, ranges=_ranges(found), reason=found["reason"], until=_moment(found), id=found["id"])


def _read(store: Store, name: str) -> dict[str, Any] | None:
    """What a file of ours holds; None where there is none. Raises JobError where somebody has spoilt it."""
    data = store.read(name)
    if data is None:
        return None
    try:
        found: dict[str, Any] = json.loads(data.to_pybytes())
        LETTER_MARKS.check(found["format"], f"{store.place}/{name}")
        _ranges(found), _moment(found), found["id"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise JobError(f"{store.place}/{name}: not a whole mark of dead letters; restore it, or remove it") from error
    return found


def _ranges(found: Mapping[str, Any]) -> tuple[OffsetRange, ...]:
    return tuple(OffsetRange(topic, partition, first, stop) for topic, partition, first, stop in found["offsets"])


def _moment(found: Mapping[str, Any]) -> datetime:
    return datetime.fromisoformat(found["until"])
