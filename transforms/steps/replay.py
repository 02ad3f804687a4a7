"""Dead letters as changes again: decoded as their messages, merged, and committed without moving the ledger's offsets.

A commit counted each letter as dead. The replay's account takes it out of `dead` and into what became of it now, so
that read = applied + superseded + filtered + dead holds as before.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ...schemas.envelopes.decoded import Decoded
from ...schemas.errors import LostOffsetsError
from ...schemas.merging.log_order import Committed
from ...schemas.merging.newest_by_key import leans
from ...schemas.merging.renaming import of_table
from ...schemas.model.change import AFTER
from ...schemas.model.dead_letter import DeadLetter
from ...schemas.model.ledger import Account, Commit, Ledger, TopicPartition
from ...schemas.model.message_batch import Headers, MessageBatch
from ...schemas.model.route import Route
from ...schemas.model.source_mark import Replay
from ..retry import retried
from ..sinks import Sink
from .arrow_errors import told_of
from .block_decoders import BlockDecoders, MessagesDecoder, decode_block
from .commit import newest_truncate
from .decode import by_window, receipt
from .early_merge import marked
from .overtaken import log_tells, not_overtaken
from .ready_rows import WindowItems, ready_rows
from .stage import epochs_of, staged_behind

UNPLACED = (
    "its place in the order of the log cannot be told any more: the log has lost what stood before it, or its source "
    "has been replaced since"
)


@dataclass(slots=True)
class DecodedLetters:
    """What letters of one topic came to: `good` are those that are changes now, `dead` those that still are none."""

    parts: list[Decoded] = field(default_factory=list)
    good: list[DeadLetter] = field(default_factory=list)
    dead: list[DeadLetter] = field(default_factory=list)

    @property
    def leans(self) -> bool:
        """Whether some change needs the value of an older row."""
        return any(leans(batch) for part in self.parts for batch in part.changes)

    def add(self, letters: Sequence[DeadLetter], done: Decoded) -> None:
        """These letters were decoded together."""
        still = {letter.offset: letter for letter in done.letters}
        self.parts.append(done)
        self.good += [letter for letter in letters if letter.offset not in still]
        self.dead += [replace(still[one.offset], headers=one.headers) for one in letters if one.offset in still]


@dataclass(frozen=True, slots=True)
class LetterDecoder:
    """Decodes the letters of one topic. `ledger` is that of the table that the topic fills first."""

    decoders: BlockDecoders
    topic: str
    route: Route
    ledger: Ledger

    def decode(self, letters: Sequence[DeadLetter]) -> DecodedLetters:
        """Letters in any order. Raises RegistryError, TableError, SourceError; JobError for a source of no messages."""
        found = DecodedLetters()
        found.dead += [letter for letter in letters if letter.step == "split"]
        by_partition: dict[int, list[DeadLetter]] = {}
        for letter in sorted(letters, key=lambda letter: letter.offset):
            if letter.step != "split":
                by_partition.setdefault(letter.partition, []).append(letter)
        for partition, mine in by_partition.items():
            decoder = self.decoders.messages_of(self.topic, self.route)
            done = [(run, decoder.decode(messages_of(run))) for run in runs(mine)]
            if any(_placed_by_log(part) for _, part in done):
                self._in_log_order(found, TopicPartition(self.topic, partition), mine)
            else:
                for run, part in done:
                    found.add(run, part)
        return found

    def _in_log_order(self, found: DecodedLetters, source: TopicPartition, letters: Sequence[DeadLetter]) -> None:
        """Letters of which some are ordered by what stands before them in the log: that is read once more."""
        mark = self.ledger.marks.get(source)
        at, lost = self.ledger.start.get(source, 0), False
        decoder = self.decoders.messages_of(self.topic, self.route)
        for run in runs(letters, whole=True):
            try:
                if not lost:
                    self._read(decoder, source, at, run[0].offset)
            except LostOffsetsError:
                lost = True
            at = run[-1].offset + 1
            done = decoder.decode(messages_of(run))
            later = mark is not None and mark.epochs.at(run[0].offset) > 0
            if (lost or later) and _placed_by_log(done):
                found.dead += [replace(letter, step="apply", error=UNPLACED) for letter in run]
            else:
                found.add(run, done)

    def _read(self, decoder: MessagesDecoder, source: TopicPartition, first: int, stop: int) -> None:
        """Let the decoder see the messages of [first, stop). Raises LostOffsetsError where some are gone."""
        if first >= stop:
            return
        reader = self.decoders.source.reader(source, first, stop)
        try:
            while not reader.done:
                block = reader.read(1.0)
                if block is not None:
                    decode_block(decoder, block)
        finally:
            reader.close()


def runs(letters: Sequence[DeadLetter], whole: bool = False) -> Iterator[list[DeadLetter]]:
    """The letters of a partition, in the order of offsets, cut where a tombstone would follow what it did not follow.

    `whole`: cut wherever an offset is missing.
    """
    run: list[DeadLetter] = []
    for letter in letters:
        if run and letter.offset != run[-1].offset + 1 and (whole or letter.value is None):
            yield run
            run = []
        run.append(letter)
    if run:
        yield run


def messages_of(letters: Sequence[DeadLetter]) -> MessageBatch:
    """Letters of one partition, in the order of offsets, as the messages that they were."""
    data, size = bytearray(), len(letters)

    def placed(parts: Iterable[bytes | None], count: int) -> tuple[np.ndarray, np.ndarray]:
        at, length = np.zeros(count, np.int64), np.full(count, -1, np.int64)
        for i, part in enumerate(parts):
            at[i] = len(data)
            if part is not None:
                length[i] = len(part)
                data.extend(part)
        return at, length

    headers = [header for letter in letters for header in letter.headers]
    first = np.cumsum([0, *(len(letter.headers) for letter in letters)]).astype(np.int64)
    key_at, key_len = placed((letter.key for letter in letters), size)
    value_at, value_len = placed((letter.value for letter in letters), size)
    names = placed((name.encode() for name, _ in headers), len(headers))
    values = placed((value for _, value in headers), len(headers))
    return MessageBatch(
        topic=letters[0].topic,
        partition=letters[0].partition,
        first=letters[0].offset,
        stop=letters[-1].offset + 1,
        data=np.frombuffer(bytes(data) or b"\0", np.uint8),
        offset=np.array([letter.offset for letter in letters], np.int64),
        timestamp=np.array([letter.timestamp for letter in letters], np.int64),
        key_at=key_at,
        key_len=key_len,
        value_at=value_at,
        value_len=value_len,
        headers=Headers(first, *names, *values) if headers else None,
    )


def one_a_key(letters: Sequence[DeadLetter]) -> Iterator[list[DeadLetter]]:
    """The letters in pieces that hold no key twice: each takes the values that it lacks from the row before it."""
    piece: list[DeadLetter] = []
    keys: set[tuple[int, bytes | None]] = set()
    for letter in sorted(letters, key=lambda letter: (letter.partition, letter.offset)):
        mine = (letter.partition, letter.key)
        if piece and (letter.key is None or mine in keys):
            yield piece
            piece, keys = [], set()
        piece.append(letter)
        keys.add(mine)
    if piece:
        yield piece


def commit_letters(sink: Sink, job: str, route: Route, parts: Sequence[Decoded], replay: Replay) -> tuple[Account, ...]:
    """Commit decoded letters to one table; what became of them by partition, with a negative `dead`.

    The ledger keeps the name of the replay in the same transaction. Raises ReplayedError where it has it already,
    TableError, SinkError.
    """
    with told_of(route.table, "committing dead letters"):
        return _committed(sink, job, route, parts, replay)


def _committed(sink: Sink, job: str, route: Route, parts: Sequence[Decoded], replay: Replay) -> tuple[Account, ...]:
    mine = [of_table(route, part) for part in parts]
    ledger = sink.ledger(job, route.table, route.sources)
    batches, overtaken, tells = [], Counter[int](), log_tells(route, ledger)
    for part in mine:
        for piece in (piece for batch in part.changes for _, piece in by_window(batch, None)):
            kept, left = not_overtaken(sink, route.table, part.key, piece) if tells else (piece, Counter[int]())
            overtaken += left
            batches += [marked(kept, part.key, {})] if kept.num_rows else []
    # What stands before a letter was read with it: what the ledger has of later messages must not lift it.
    before = Committed({}, ledger.truncate, epochs_of(route, ledger))
    staged = [staged_behind(sink, route, batches, before)] if batches else []
    window = WindowItems([receipt(part) for part in mine], staged)
    ready = ready_rows(sink, route, window)
    accounts = _accounts(route, window, overtaken + Counter(ready.done.superseded), ready.done.applied)
    truncates: Counter[int] = Counter()
    for part in mine:
        truncates[route.number(part.topic, part.partition)] += part.truncates
    commit = Commit(
        job,
        accounts,
        newest_truncate(sink, job, route, window.receipts),
        dict(truncates),
        numbers=tuple(route.number(account.topic, account.partition) for account in accounts),
        replay=replay,
    )
    return retried(f"table {route.table}", lambda: sink.commit(ready.table, ready.staged, commit))


def _accounts(
    route: Route, window: WindowItems, superseded: Counter[int], applied: Mapping[int, int]
) -> tuple[Account, ...]:
    for part in window.parts:
        superseded.update(part.superseded)
    made = []
    for source in sorted({one.span.source for one in window.receipts}):
        number = route.number(source.topic, source.partition)
        receipts = [one for one in window.receipts if one.span.source == source]
        account = Account(
            *(source.topic, source.partition, -1, -1),
            applied=applied.get(number, 0),
            superseded=superseded[number],
            filtered=sum(one.filtered for one in receipts),
            dead=-sum(one.read for one in receipts),
        )
        made.append(account)
    return tuple(made)


def _placed_by_log(done: Decoded) -> bool:
    """Whether the place in the log orders some change: a snapshot row, a lone tombstone."""
    return any(AFTER in batch.schema.names and batch.column(AFTER).null_count < len(batch) for batch in done.changes)


def without_dead(parts: Sequence[Decoded]) -> list[Decoded]:
    """The parts, counted without the letters that are still dead."""
    return [replace(part, read=part.read - len(part.letters), letters=[]) for part in parts]
