"""Replay of a job's dead letters: chosen letters, chunk by chunk, into every table that their topic fills."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from ...schemas.errors import JobError, ReplayedError, TableError
from ...schemas.model.dead_letter import DeadLetter
from ...schemas.model.ledger import Account, Ledger
from ...schemas.model.route import Route
from ...schemas.model.source_mark import Replay, SourceMark
from ...transforms.dead_letter_marks import (
    LetterMark,
    ReplayUnderWay,
    State,
    begin_replay,
    end_replay,
    places_of,
    read_marks,
    replay_under_way,
    write_mark,
)
from ...transforms.dead_letters import Written, read
from ...transforms.sinks import SINKS, Sink
from ...transforms.sinks.shared.guarantees import Promise
from ...transforms.steps.block_decoders import BlockDecoders
from ...transforms.steps.replay import DecodedLetters, LetterDecoder, commit_letters, one_a_key, without_dead
from ..job.model import Job
from .job_decoders import decoders_of
from .job_parts import source_of, target_of
from .start_offsets import find_read_plan, find_routes, with_epochs

CHUNK: Final = 5_000
"""Letters that are committed together."""

Chosen = Callable[[DeadLetter], bool]


@dataclass(slots=True)
class ReplaySummary:
    """What became of the letters: `tables` has applied, superseded and filtered by table, `dead` what is still dead.

    `waiting` have not been committed yet: the next run reads them itself. `unread` are of topics that the job reads no
    more.
    """

    replayed: int = 0
    waiting: int = 0
    unread: int = 0
    dead: list[DeadLetter] = field(default_factory=list)
    tables: dict[str, Counter[str]] = field(default_factory=dict)

    def add(self, table: str, accounts: Sequence[Account]) -> None:
        """What one commit said."""
        counts = self.tables.setdefault(table, Counter())
        for account in accounts:
            counts.update(applied=account.applied, superseded=account.superseded, filtered=account.filtered)


@dataclass(slots=True)
class _Replaying:
    """One replay of a job while it goes on; `routes` by topic."""

    job: Job
    sink: Sink
    routes: Mapping[str, Route]
    decoders: BlockDecoders
    summary: ReplaySummary = field(default_factory=ReplaySummary)

    def ledger(self, route: Route) -> Ledger:
        return self.sink.ledger(self.job.job, route.table, route.sources)

    def passed(self, letters: Iterable[DeadLetter]) -> Iterator[DeadLetter]:
        """The letters that every table of their topic has committed; the next run reads the others itself."""
        next = {
            (topic, source.partition): min(ledger.next.get(source, 0) for ledger in ledgers)
            for topic, route in self.routes.items()
            if (ledgers := [self.ledger(part) for part in route.tables])
            for source in route.sources
            if source.topic == topic
        }
        for letter in letters:
            reached = next.get((letter.topic, letter.partition))
            if reached is None:
                self.summary.unread += 1
            elif letter.offset >= reached:
                self.summary.waiting += 1
            else:
                yield letter

    def decoded(self, letters: Sequence[DeadLetter]) -> dict[str, DecodedLetters]:
        """By topic."""
        found = {}
        for topic in sorted({letter.topic for letter in letters}):
            route, mine = self.routes[topic], [letter for letter in letters if letter.topic == topic]
            found[topic] = LetterDecoder(self.decoders, topic, route, self.ledger(route)).decode(mine)
        return found

    def bring_in(self, letters: Sequence[DeadLetter]) -> None:
        """A chunk: decode, write down, commit, mark."""
        done = self.decoded(letters)
        for topic, found in done.items():
            pieces = list(one_a_key(found.good)) if found.leans else []
            self.summary.dead += found.dead
            if len(pieces) > 1:
                for piece in pieces:
                    self._written_down(piece, self.decoded(piece)[topic])
            elif found.good:
                self._written_down(found.good, found)

    def _written_down(self, letters: Sequence[DeadLetter], done: DecodedLetters) -> None:
        """Letters of one topic."""
        job, route = self.job, self.routes[letters[0].topic]
        ranges = places_of(letters)
        before = {part.table: self._names(part, {place.source for place in ranges}) for part in route.tables}
        replay = ReplayUnderWay(ranges=ranges, before=before)
        begin_replay(job.dead_letters, job.job, replay)
        marks = read_marks(job.dead_letters, job.job)
        if any(marks.of(letter, replay.until) for letter in letters):
            end_replay(job.dead_letters, job.job)
            raise JobError("another replay has brought in some of these dead letters meanwhile: run again")
        self.carry_out(replay, letters, done)

    def _names(self, route: Route, sources: Iterable[object]) -> dict[str, str]:
        marks = self.ledger(route).marks
        return {str(source): mark.replay for source, mark in marks.items() if source in sources and mark.replay}

    def carry_out(self, replay: ReplayUnderWay, letters: Sequence[DeadLetter], done: DecodedLetters) -> None:
        """Commit to each table that has not got it yet, then mark the letters."""
        job, route = self.job, self.routes[letters[0].topic]
        for part in route.tables:
            order = Replay(replay.id, replay.before.get(part.table, {}))
            if self._has(part, replay):
                continue
            try:
                accounts = commit_letters(self.sink, job.job, part, without_dead(done.parts), order)
            except ReplayedError:
                if not self._has(part, replay):
                    raise
            else:
                self.summary.add(part.table, accounts)
        mark = LetterMark(state=State.REPLAYED, ranges=replay.ranges, until=replay.until, id=replay.id)
        write_mark(job.dead_letters, job.job, mark)
        end_replay(job.dead_letters, job.job)
        self.summary.replayed += len(letters)

    def _has(self, route: Route, replay: ReplayUnderWay) -> bool:
        """Whether the table's ledger names this replay: its rows are in."""
        marks = self.ledger(route).marks
        return any(marks.get(place.source, SourceMark()).replay == replay.id for place in replay.ranges)


def replay_letters(job: Job, chosen: Chosen = lambda letter: True) -> ReplaySummary:
    """Bring the open dead letters that are chosen in again; first what a killed replay left undone.

    The guard of the target refuses what is older than the row. Raises JobError, RegistryError, SourceError, SinkError,
    TableError; letters that were not marked by then are open, and are not in, or are finished by the next replay.
    """
    refusal = SINKS.find(job.target.type).exceptions.get(Promise.REPLAYS)
    if refusal is not None:
        raise JobError(f"target: {job.target.type} cannot take dead letters again: {refusal}")
    with (
        closing(source_of(job)) as source,
        closing(source.connect()) as connection,
        closing(target_of(job).open()) as sink,
    ):
        routes = find_routes(job, connection)
        plan = find_read_plan(job, connection, sink, routes)
        replaying = _Replaying(job, sink, with_epochs(routes, plan), decoders_of(job))
        _finish(replaying)
        for chunk in _chunks(replaying.passed(one.letter for one in open_letters_of(job) if chosen(one.letter))):
            for table in {part.table for letter in chunk for part in routes[letter.topic].tables}:
                if table in plan.lost:
                    raise plan.lost[table]
            replaying.bring_in(chunk)
        return replaying.summary


def open_letters_of(job: Job) -> Iterator[Written]:
    """The letters that still wait for somebody, in the order in which they were written."""
    marks = read_marks(job.dead_letters, job.job)
    return (one for one in read(job.dead_letters, job.job) if marks.of(one.letter, one.written_at) is None)


def _finish(replaying: _Replaying) -> None:
    """Carry out what a killed replay had written down."""
    job = replaying.job
    replay = replay_under_way(job.dead_letters, job.job)
    if replay is None:
        return
    letters = [one.letter for one in read(job.dead_letters, job.job) if replay.holds(one.letter, one.written_at)]
    if not letters or letters[0].topic not in replaying.routes:
        end_replay(job.dead_letters, job.job)
        return
    (done,) = replaying.decoded(letters).values()
    if done.dead:
        raise TableError(
            f"a replay that was broken off brings in {len(letters):,} dead letters, and {len(done.dead):,} of them can "
            f"be decoded no more: {done.dead[0].error}; mend that, and run again"
        )
    replaying.carry_out(replay, letters, done)


def _chunks(letters: Iterator[DeadLetter]) -> Iterator[list[DeadLetter]]:
    while chunk := list(islice(letters, CHUNK)):
        yield chunk
