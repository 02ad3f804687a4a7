"""A log of messages through the steps of a job, without a broker: decode, compact, commit; then the proof."""

import tempfile
from collections import defaultdict
from dataclasses import astuple, dataclass, field, replace
from datetime import UTC, datetime
from random import Random

import pyarrow as pa

from millrace.schemas.encodings.schema_store import SchemaStore
from millrace.schemas.errors import EpochBegunError
from millrace.schemas.merging.modes.decoded_rows import shaped
from millrace.schemas.model.block import Block
from millrace.schemas.model.epoch import OnNewSource
from millrace.schemas.model.ledger import Account, Commit, Ledger, TopicPartition
from millrace.schemas.model.message import Message
from millrace.schemas.model.modes import DELETED, IS_CURRENT, Mode
from millrace.schemas.model.route import OnSnapshot, OnTruncate, OnTwoSources, Route
from millrace.schemas.model.table import Table
from millrace.transforms.dead_letters import DeadLetterFiles, letters_at
from millrace.transforms.proof.compare import compare
from millrace.transforms.proof.log_order import Replays
from millrace.transforms.proof.reference_modes import reference_for
from millrace.transforms.proof.report import Report
from millrace.transforms.proof.rules import Rules
from millrace.transforms.proof.verify import add_disputed
from millrace.transforms.sinks import Sink
from millrace.transforms.sinks.target import Target
from millrace.transforms.steps.commit import CommitSettings, Item, Outcome, commit
from millrace.transforms.steps.decode import by_shard, by_window, receipt
from millrace.transforms.steps.early_merge import EarlyMerge
from millrace.transforms.steps.stage import stage
from support.decoders import avro_format
from support.log_source import LogSource, block_of

JOB = "test"
TABLE = "t"
SHARDS = 2


@dataclass
class LogReader:
    """Reads the messages of one topic into `TABLE` of a sink, a commit at a time."""

    sink: Sink
    contracts: SchemaStore
    topic: str
    partitions: int
    random: Random
    follow: bool = False
    mode: Mode = Mode.MIRROR
    on_snapshot: OnSnapshot = OnSnapshot.UPSERT
    on_two_sources: OnTwoSources = OnTwoSources.STOP
    route: Route = field(init=False)
    source: LogSource = field(init=False)

    def __post_init__(self) -> None:
        sources = tuple(TopicPartition(self.topic, number) for number in range(self.partitions))
        policy = OnNewSource.FOLLOW if self.follow else OnNewSource.STOP
        truncate = OnTruncate.APPLY if self.mode is Mode.MIRROR else OnTruncate.IGNORE
        self.route = Route(
            table=TABLE,
            sources=sources,
            on_truncate=truncate,
            on_new_source=policy,
            mode=self.mode,
            on_snapshot=self.on_snapshot,
            on_two_sources=self.on_two_sources,
        )
        self.source = LogSource.new(self.partitions)
        self._restart()

    def _restart(self) -> None:
        """A new process, which knows of the log what the ledger tells alone."""
        self.decoders = avro_format("debezium", self.contracts, source=self.source)
        self.decoder = self.decoders.decoder(self.topic, self.route)

    def run(self, log: list[Message], stop: int) -> None:
        """Commits up to the message number `stop` of the log, from where the ledger stands; with a crash now and then.

        Where the ledger learns of an epoch, it goes on from the ledger, as a job does.
        """
        while True:
            ledger = self.ledger
            left = [one for one in log[:stop] if one.offset >= ledger.next.get(one.source, 0)]
            if not left:
                return
            try:
                self.commit(left[: self.random.randint(1, len(left))])
            except EpochBegunError:
                continue

    @property
    def ledger(self) -> Ledger:
        return self.sink.ledger(JOB, TABLE, self.route.sources)

    def accept(self) -> None:
        """What `millrace accept-source` does."""
        known, none = self.ledger.next, Table(TABLE, (), pa.schema([]))
        fresh = tuple(Account(*astuple(source), 0, 0) for source in self.route.sources if source not in known)
        self.sink.commit(none, [], Commit(JOB, fresh))
        accounts = tuple(Account(*astuple(source), -1, -1) for source in self.route.sources)
        self.sink.commit(none, [], Commit(JOB, accounts, accept=True))

    def commit(self, messages: list[Message]) -> Outcome | None:
        """One commit of these messages, each partition's in its order, cut into blocks at random."""
        self.route = replace(self.route, epochs=any(mark.epochs.begins for mark in self.ledger.marks.values()))
        if self.random.random() < 0.5:
            self._restart()
        items: list[Item] = []
        gathered, shards = EarlyMerge(), defaultdict(list)
        for block in self._blocks(messages):
            done = shaped(self.mode, self.decoder(block))
            assert not done.letters, done.letters
            items.append(receipt(done))
            for changes in done.changes:
                for _, piece in by_window(changes, None):
                    gathered.add(TABLE, done.key, 0.0, piece, done.falls)
        for _, _, changes in gathered.all():
            for number, piece in by_shard(changes, SHARDS):
                shards[number].append(piece)
        items += [stage(self.sink, JOB, self.route, batches) for batches in shards.values()]
        return commit(self.sink, self._settings(), TABLE, items) if items else None

    def _blocks(self, messages: list[Message]) -> list[Block]:
        lanes: dict[int, list[Message]] = defaultdict(list)
        self.source.know(messages)
        for message in messages:
            lanes[message.partition].append(message)
        blocks = []
        for lane in lanes.values():
            while lane:
                size = self.random.randint(1, len(lane))
                part, lane = lane[:size], lane[size:]
                blocks.append(block_of(part))
        return blocks

    def _settings(self) -> CommitSettings:
        letters = DeadLetterFiles(letters_at(tempfile.gettempdir()), "none", datetime.now(UTC))
        return CommitSettings(
            job=JOB, routes={TABLE: self.route}, target=Target("duckdb"), dead_letters=letters, decoders=self.decoders
        )

    def rows(self) -> dict[int, dict]:
        """The target's rows by key."""
        if TABLE not in self.sink.tables():
            return {}
        found = [row for part in self.sink.scan(TABLE) for row in part.to_pylist()]
        found = [row for row in found if not row.get(DELETED) and row.get(IS_CURRENT, True)]
        rows = {row["id"]: row for row in found}
        assert len(rows) == len(found)
        return rows

    def proof(self, messages: list[Message]) -> Report:
        """The proof of the target by the messages that have been committed."""
        epochs = {source: mark.epochs.begins for source, mark in self.ledger.marks.items()}
        ended = {name: one for mark in self.ledger.marks.values() for name, one in mark.ended.items()}
        replaces, truncate = self.on_snapshot is OnSnapshot.REPLACE, self.mode is Mode.MIRROR
        rules = Rules("debezium", self.contracts, truncate=truncate, epochs=epochs, replaces=replaces, ended=ended)
        by_clock = self.on_two_sources is OnTwoSources.NEWEST_TIME
        separate = self.on_two_sources is OnTwoSources.SEPARATE_KEYS
        rules = replace(rules, by_clock=by_clock, separate_keys=separate)
        fold = reference_for(self.route.mode, rules).add_all(messages)
        fold.end_snapshots(self.route.sources)
        report = compare(
            TABLE, fold, lambda columns: self.sink.scan(TABLE, columns) if TABLE in self.sink.tables() else iter(())
        )
        if self.mode is Mode.MIRROR:
            add_disputed(report, fold, Replays(rules, lambda: messages), examples=5)
        return report
