"""How far each table of a job is: its offsets in the ledger beside those of the source."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ...schemas.errors import TableError
from ...schemas.model.ledger import TopicPartition
from ...schemas.model.route import Route
from ...transforms.sinks import Sink
from ...transforms.sources.database import Repeating
from ...transforms.sources.source import SourceConnection
from ...transforms.stop_notes import StopNote, StopNotes
from ..job.model import Job
from .snapshot_notes import snapshot_note
from .start_offsets import by_table, find_routes, held_offsets


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One partition: `committed` is the next offset in the table's ledger, None where there is none yet.

    `behind` is the age of the oldest record that is not committed, in seconds; 0 where none waits, None where not asked
    for, or where the source does not hold it any more. `note` is what snapshots may have left in the table.
    """

    source: TopicPartition
    table: str
    committed: int | None
    first: int
    end: int
    behind: float | None = None
    note: str = ""

    @property
    def lag(self) -> int:
        """Offsets that are not committed yet."""
        return max(0, self.end - (self.first if self.committed is None else self.committed))


def stopped_tables(job: Job, found: Sequence[Standing]) -> dict[str, StopNote]:
    """The tables of these standings that stopped and have not gone on since, each with its note."""
    stopped = {}
    for table, note in StopNotes(job.dead_letters, job.job).read().items():
        mine = [standing for standing in found if standing.table == table]
        reached = {standing.source: standing.committed for standing in mine if standing.committed is not None}
        if note.stands(reached) and any(standing.committed != standing.end for standing in mine):
            stopped[table] = note
    return stopped


def standings(job: Job, connection: SourceConnection, sink: Sink) -> list[Standing]:
    """All partitions of the job's topics, in order. Raises SourceError, SinkError, JobError."""
    found: list[Standing] = []
    routes = find_routes(job, connection)
    held, _ = held_offsets(connection, routes)
    for table, route in by_table(routes).items():
        sources = [source for source in route.sources if source in held]
        known, note = _known(job, sink, route, sources)
        for source in sources:
            first, end = held[source]
            at = known.get(source)
            if isinstance(connection, Repeating) and connection.repeats:
                end = (at or first) + connection.unread(at or first)
            found.append(Standing(source=source, table=table, committed=at, first=first, end=end, note=note))
    return sorted(found, key=lambda standing: (standing.source, standing.table))


def _known(
    job: Job, sink: Sink, route: Route, sources: Sequence[TopicPartition]
) -> tuple[Mapping[TopicPartition, int], str]:
    """The next offsets in the table's ledger, and the note; where the ledger is damaged, that is the note."""
    try:
        ledger = sink.ledger(job.job, route.table, sources)
    except TableError as error:
        return {}, str(error).removeprefix(f"table {route.table}: ")
    return ledger.next, snapshot_note(route, ledger)
