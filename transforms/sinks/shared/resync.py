"""A table that was built again beside the live one takes its place: the rules, for every target that can do it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, runtime_checkable

from ....schemas.errors import LedgerGapError, TableError
from ....schemas.model.ledger import TopicPartition
from .ledger import JobLedger, PartitionEntry


@dataclass(frozen=True, slots=True, kw_only=True)
class Swap:
    """The table `beside` takes the place of `table`, with its tombstones and its ledger.

    `starts` are the offsets at which it was begun, `sources` the partitions of the job. `lost`: the job cannot go on
    with the live table's ledger, which is not looked at. `older` are the offsets that older rows rest on, where such
    rows were carried over.
    """

    job: str
    table: str
    beside: str
    sources: Sequence[TopicPartition]
    starts: Mapping[TopicPartition, int] = field(default_factory=dict)
    lost: bool = False
    older: Mapping[TopicPartition, int] = field(default_factory=dict)


@runtime_checkable
class Resyncing(Protocol):
    """A sink that can put one of its tables in the place of another."""

    def jobs(self, table: str) -> tuple[str, ...]:
        """The jobs that have a ledger of the table, sorted. Raises SinkError."""

    def swap(self, swap: Swap) -> None:
        """In one step: readers and commits find the live table as it was, or the one that was built, whole.

        Where it is killed, it may be repeated. Raises LedgerGapError where the live table's ledger is further than the
        other's: nothing was done; TableError, SinkError.
        """

    def drop(self, table: str) -> None:
        """Remove a table of Millrace with its tombstones and ledger; nothing where there is none. Raises SinkError."""


def handed_over(swap: Swap, live: JobLedger, built: JobLedger) -> JobLedger:
    """The ledger after the swap; `live` is what the job has in the live table's.

    Raises TableError where another resync has swapped meanwhile, so that what stands beside is not whole.
    """
    for source, first in swap.starts.items():
        entry = built.entries.get(source)
        if entry is None or entry.next is None or entry.start != first:
            raise TableError(
                f"table {swap.table}: {swap.beside} is not what this resync has built: another one was faster. "
                "Nothing was swapped: run resync again"
            )
    entries = {
        source: _handed_over(swap, source, live.entries.get(source), one) for source, one in built.entries.items()
    }
    known = {source for source in swap.sources if source in live.entries} - entries.keys()
    if known and not swap.lost:
        raise _behind(swap, min(known))
    return JobLedger(entries, built.topic_ids)


def _handed_over(
    swap: Swap, source: TopicPartition, live: PartitionEntry | None, built: PartitionEntry
) -> PartitionEntry:
    starts = [one for one in (built.start, swap.older.get(source)) if one is not None]
    built = replace(built, start=min(starts, default=None))
    if swap.lost or live is None or live.next is None:
        return built
    if built.next is None or built.next < live.next:
        raise _behind(swap, source)
    return replace(built, mark=built.mark.raised(live.mark))


def _behind(swap: Swap, source: TopicPartition) -> LedgerGapError:
    return LedgerGapError(f"table {swap.table}: a run has brought {source} further than {swap.beside} is")
