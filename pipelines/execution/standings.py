"""How far each table of a job is: its offsets in the ledger beside those of the source."""

from dataclasses import dataclass

from ...schemas.model.ledger import TopicPartition
from ...transforms.sinks import Sink
from ...transforms.sources.source import SourceConnection
from ..job.model import Job
from .start_offsets import by_table, find_routes


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One partition: `committed` is the next offset in the table's ledger, None where there is none yet.

    `behind` is the age of the oldest record that is not committed, in seconds; 0 where none waits, None where not asked
    for, or where the source does not hold it any more.
    """

    source: TopicPartition
    table: str
    committed: int | None
    first: int
    end: int
    behind: float | None = None

    @property
    def lag(self) -> int:
        """Offsets that are not committed yet."""
        return max(0, self.end - (self.first if self.committed is None else self.committed))


def standings(job: Job, connection: SourceConnection, sink: Sink) -> list[Standing]:
    """All partitions of the job's topics, in order. Raises SourceError, SinkError, JobError."""
    found: list[Standing] = []
    routes = find_routes(job, connection)
    held = connection.offsets(sorted({source for route in routes.values() for source in route.sources}))
    for table, route in by_table(routes).items():
        known = sink.ledger(job.job, table, route.sources).next
        for source in route.sources:
            first, end = held[source]
            found.append(Standing(source=source, table=table, committed=known.get(source), first=first, end=end))
    return sorted(found, key=lambda standing: (standing.source, standing.table))
