"""The proof: read the topics again up to the ledger's offsets, fold them anew, compare with the target."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from ...schemas.model.ledger import TopicPartition
from ...schemas.model.modes import Mode
from .changes import Rules
from .compare import Scan, compare
from .messages import MessageLog
from .reference_modes import marks_only, reference_for
from .report import Report


@dataclass(frozen=True, slots=True)
class Proof:
    """What to prove: that `table` holds what the messages from `starts` to `stops` fold to.

    Both are the ledger's; a partition without a start is read from its beginning. `late`: windows may have been
    committed in another order than the source's, as those by event time are.
    """

    table: str
    stops: Mapping[TopicPartition, int]
    rules: Rules
    starts: Mapping[TopicPartition, int] = field(default_factory=dict)
    key: tuple[str, ...] = ()
    examples: int = 5
    mode: Mode = Mode.MIRROR
    late: bool = False


def verify(log: MessageLog, scan: Scan, proof: Proof) -> Report:
    """Fold the topics of one table and compare with the rows that `scan` gives: the target's, as of the ledger.

    Rows that only messages wrote which the topic no longer holds show as EXTRA: `report.offsets` tells where each
    partition begins. Raises SourceError, LostOffsetsError where a partition ends before its stop, RegistryError.
    """
    ranges = log.ranges(proof.stops, proof.starts)
    fold = reference_for(proof.mode, proof.rules, proof.late)
    for message in log.read(ranges):
        fold.add(message)
    key = fold.key_names(proof.key)

    def rows(columns: Sequence[str] | None) -> Iterator[pa.RecordBatch]:
        batches = scan(columns)
        return marks_only(batches, key) if proof.late and proof.mode is Mode.SOFT_DELETE else batches

    report = compare(proof.table, fold, rows, proof.key, proof.examples)
    report.offsets = {str(part.source): (part.first, part.stop) for part in ranges}
    return report
