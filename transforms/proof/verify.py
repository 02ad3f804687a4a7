"""The proof: read the topics again up to the ledger's offsets, build a reference, compare the target with it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import pyarrow as pa

from ...schemas.errors import LostOffsetsError
from ...schemas.model.ledger import OffsetRange, TopicPartition
from ...schemas.model.message import Message, MessageLog
from ...schemas.model.modes import Mode
from .canonical import shown as readable
from .compare import Scan, compare
from .events import Key
from .log_order import Replays
from .reference_modes import marks_only, reference_for
from .reference_table import ReferenceTable
from .report import Example, Report, Verdict
from .rules import Rules

Tell = Callable[[str], None]

TOLD_EVERY: Final = 5_000
"""Messages between two calls of `tell`."""


@dataclass(frozen=True, slots=True)
class Proof:
    """What to prove: that `table` holds what the messages from `starts` to `stops` say.

    Both are the ledger's; a partition without a start is read from its beginning. `late`: windows may have been
    committed in another order than the source's, as those by event time are. `left_out` tells of a message, by its
    partition and offset, whether a person has discarded it.
    """

    table: str
    stops: Mapping[TopicPartition, int]
    rules: Rules
    starts: Mapping[TopicPartition, int] = field(default_factory=dict)
    key: tuple[str, ...] = ()
    examples: int = 5
    mode: Mode = Mode.MIRROR
    late: bool = False
    left_out: Callable[[TopicPartition, int], bool] | None = None


def verify(log: MessageLog, scan: Scan, proof: Proof, tell: Tell = lambda text: None) -> Report:
    """Build the reference of one table and compare with the rows that `scan` gives: the target's, as of the ledger.

    `tell` is called now and then with how far it is. Rows that rest on messages which the topics no longer hold are
    UNPROVEN. Raises SourceError, LostOffsetsError where a partition ends before its stop, RegistryError, TableError.
    """
    held = log.held(proof.stops)
    ranges = wanted_ranges(held, proof)
    reference = reference_for(proof.mode, proof.rules, proof.late)
    reference.gone = {part.source: part.first for part in ranges if part.first > proof.starts.get(part.source, 0)}
    total = sum(part.stop - part.first for part in ranges)

    def messages() -> Iterator[Message]:
        left_out = proof.left_out
        found = log.read(ranges)
        return found if left_out is None else (one for one in found if not left_out(one.source, one.offset))

    for number, message in enumerate(messages()):
        if number % TOLD_EVERY == 0:
            tell(f"{proof.table}: {number:,} of {total:,} messages read")
        reference.add(message)
    reference.end_snapshots(proof.stops)
    key = reference.key_names(proof.key)
    tell(f"{proof.table}: comparing with the rows of the target")

    def rows(columns: Sequence[str] | None) -> Iterator[pa.RecordBatch]:
        batches = scan(columns)
        return marks_only(batches, key) if proof.late and proof.mode is Mode.SOFT_DELETE else batches

    report = compare(proof.table, reference, rows, proof.key, proof.examples)
    tell(f"{proof.table}: comparing with the order of the log")
    add_disputed(report, reference, Replays(proof.rules, messages), proof.examples)
    report.offsets = {str(part.source): (part.first, part.stop) for part in ranges}
    report.ahead = sum(max(0, part.stop - max(part.first, proof.stops[source])) for source, part in held.items())
    report.cut = bool(reference.gone)
    return report


def add_disputed(report: Report, reference: ReferenceTable, replays: Replays, examples: int) -> None:
    """Count and show the keys on which positions and the order of the log disagree, or that two sources wrote.

    Where the log has lost its beginning, a replay cannot be told from news: nothing is disputed there.
    """
    for key, both in reference.shared.found.items():
        _dispute(report, reference, key, f"two sources wrote this key: {' and '.join(both)}", examples)
    for key, shown, last in reference.disputed(replays) if not reference.gone else ():
        at, other = last.position[-1], shown.position[-1]
        note = f"the last message of the key is at offset {at}, the table shows that at {other}"
        _dispute(report, reference, key, note, examples)


def _dispute(report: Report, reference: ReferenceTable, key: Key, note: str, examples: int) -> None:
    report.counts[Verdict.DISPUTED] += 1
    if report.counts[Verdict.DISPUTED] <= examples:
        named = dict(zip(reference.names or (), map(readable, key), strict=False))
        report.examples.append(Example(Verdict.DISPUTED, named, None, None, None, note))


def wanted_ranges(held: Mapping[TopicPartition, OffsetRange], proof: Proof) -> list[OffsetRange]:
    """The offsets from `starts` to `stops` that the log still holds. Raises LostOffsetsError."""
    ranges = []
    for source, stop in sorted(proof.stops.items()):
        if held[source].stop < stop:
            raise LostOffsetsError(
                f"{source} ends at offset {held[source].stop}, and the target holds it up to {stop}: "
                "the topic was recreated or cut, so the target cannot be proved against it"
            )
        if stop > 0:
            start = max(held[source].first, proof.starts.get(source, 0))
            ranges.append(OffsetRange(source.topic, source.partition, min(start, stop), stop))
    return ranges
