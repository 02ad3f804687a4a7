"""Tables in a mode, fed with changes by the steps of the job that follow the decoder, and what they should hold."""

import tempfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pyarrow as pa

from millrace.schemas.envelopes.decoded import Decoded
from millrace.schemas.merging.modes.decoded_rows import shaped
from millrace.schemas.model.change import TIME
from millrace.schemas.model.ledger import TopicPartition
from millrace.schemas.model.modes import Mode
from millrace.schemas.model.route import Route
from millrace.transforms.dead_letters import DeadLetterFiles, letters_at
from millrace.transforms.sinks.target import Target as Place
from millrace.transforms.steps.commit import CommitSettings, Outcome, commit
from millrace.transforms.steps.decode import by_shard, by_window, receipt
from millrace.transforms.steps.early_merge import marked
from millrace.transforms.steps.stage import stage
from support.targets import ROW, Change, Target, delta, position


def time_of(at: int) -> int:
    """Milliseconds of a change's record: not in the order of positions."""
    return 1_700_000_000_000 + (at * 7919) % 1000


def moment(at: int) -> datetime:
    return datetime.fromtimestamp(time_of(at) / 1000, UTC)


@dataclass
class ModeTable:
    """A table of the target in one mode; its offsets are counted on, whatever the positions are."""

    target: Target
    mode: Mode
    shards: int = 2
    next: int = 0

    def feed(self, *changes: Change, schema: pa.Schema = ROW, again: int = 0) -> Outcome:
        """One window; `again`: its offsets begin so far below the ledger's, as they do after a crash."""
        done = self.decoded(changes, schema, self.next - again)
        self.next = max(self.next, done.stop)
        mine = shaped(self.mode, done)
        pieces: dict[int, list[pa.RecordBatch]] = defaultdict(list)
        for batch in mine.changes:
            for _, cut in by_window(batch, None):
                for number, piece in by_shard(marked(cut, mine.key, {}), self.shards):
                    pieces[number].append(piece)
        parts = [
            stage(self.target.sink, self.target.job, self._settings().routes[self.target.name], batches)
            for batches in pieces.values()
        ]
        return commit(self.target.sink, self._settings(), self.target.name, [receipt(mine), *parts])

    def decoded(self, changes: Sequence[Change], schema: pa.Schema, first: int) -> Decoded:
        batch = delta(schema, changes)
        batch = batch.append_column(TIME, pa.array([time_of(change.at) for change in changes], pa.int64()))
        counted = sum(change.source >= 0 for change in changes)
        stop = first + max(counted, 1)
        return Decoded(self.target.topic, 0, first, stop, self.target.key, [batch] if changes else [], read=counted)

    def _settings(self) -> CommitSettings:
        route = Route(table=self.target.name, sources=(TopicPartition(self.target.topic, 0),), mode=self.mode)
        letters = DeadLetterFiles(letters_at(tempfile.gettempdir()), "none", datetime.now(UTC))
        return CommitSettings(
            job=self.target.job,
            routes={self.target.name: route},
            target=Place(self.target.kind),
            dead_letters=letters,
        )

    def rows(self, *columns: str) -> list[tuple]:
        """Named columns of all rows, sorted."""
        return sorted((tuple(row.values()) for row in self.target.read(list(columns)).to_pylist()), key=repr)


def counts(outcome: Outcome) -> tuple[int, int]:
    (account,) = outcome.accounts
    assert account.balance == 0
    return account.applied, account.superseded


@dataclass
class Versions:
    """The oracle of scd2: every change by key and position; versions are read off in order."""

    seen: dict[int, dict[int, Change]] = field(default_factory=lambda: defaultdict(dict))

    def add(self, change: Change) -> bool:
        line = self.seen[change.row["id"]]
        new = change.at not in line
        line.setdefault(change.at, change)
        return new

    def rows(self) -> list[tuple]:
        """(id, v, version, from, to, current, deleted) of each version and of each delete behind none, sorted."""
        found = []
        for key, line in self.seen.items():
            ordered = sorted(line)
            for before, at, end in zip([None, *ordered[:-1]], ordered, [*ordered[1:], None], strict=True):
                version = (position(at).hex(), moment(at))
                if not line[at].op:
                    to = None if end is None else moment(end)
                    found.append((key, line[at].row["v"], *version, to, end is None, False))
                elif before is None or line[before].op:
                    found.append((key, None, *version, moment(at), False, True))
        return sorted(found, key=repr)
